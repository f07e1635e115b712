//! What follows a channel: each follower is brought to the channel's current image, and back.
//!
//! All four acts may be done twice. What a follower should be is read from the channel each time, never remembered: two
//! promotions at once, or a promotion and its undoing, end with every follower at what the channel then points at.

mod parameter;

use crate::{
    domain::{
        bake::{Bake, BakeSpec},
        error::Result,
        id::ParameterName,
    },
    ports::{Parameters, Table},
};

/// Something that follows a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Follower {
    /// An SSM parameter that holds the image's id.
    Parameter(ParameterName),
}

/// Whether a follower has what its channel points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed {
    /// It has.
    Settled,
    /// Not yet, and how it stands.
    Behind(String),
}

/// What follows the channel that a bake promotes to, in the order in which it is brought there.
pub fn followers(spec: &BakeSpec) -> Vec<Follower> {
    spec.settings.parameter.iter().cloned().map(Follower::Parameter).collect()
}

impl Follower {
    /// Refuses what [`Follower::apply`] would refuse, before anything is launched or moved.
    pub async fn preflight(&self, spec: &BakeSpec, table: &impl Table) -> Result<()> {
        match self {
            Self::Parameter(name) => parameter::preflight(name, spec, table).await,
        }
    }

    /// Brings it to what the channel points at now, whoever moved that last.
    pub async fn apply(&self, spec: &BakeSpec, cloud: &(impl Parameters + Table)) -> Result<()> {
        match self {
            Self::Parameter(name) => parameter::apply(name, spec, cloud).await,
        }
    }

    /// Looks whether it has what the channel points at.
    pub async fn observe(&self, spec: &BakeSpec, cloud: &(impl Parameters + Table)) -> Result<Observed> {
        match self {
            Self::Parameter(name) => parameter::observe(name, spec, cloud).await,
        }
    }

    /// What a promotion waits for, in words.
    pub fn awaited(&self) -> &'static str {
        match self {
            Self::Parameter(_) => "the parameter to take the image",
        }
    }

    /// Brings it to where it was, once the bake's promotion is out of the channel.
    pub async fn revert(&self, bake: &Bake, cloud: &(impl Parameters + Table)) -> Result<()> {
        match self {
            Self::Parameter(name) => parameter::revert(name, bake, cloud).await,
        }
    }
}
