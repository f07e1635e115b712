//! What follows a channel: each follower is brought to the channel's current image, and back.
//!
//! All four acts may be done twice. What a follower should be is read from the channel each time, never remembered: two
//! promotions at once, or a promotion and its undoing, end with every follower at what the channel then points at.

mod parameter;
mod template;

use jiff::Timestamp;

use crate::{
    domain::{
        destination::Destination,
        error::{Error, Result},
        id::{AmiId, ParameterName, TemplateName},
    },
    ports::{Parameters, Table, Templates},
    store::Ledger,
};

/// Something that follows a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Follower {
    /// An SSM parameter that holds the image's id.
    Parameter(ParameterName),
    /// A launch template whose default version has the image.
    Template(TemplateName),
}

/// Whether a follower has what its channel points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed {
    /// It has.
    Settled,
    /// Not yet, and how it stands.
    Behind(String),
}

/// What became of a follower that was brought to its channel's image; what is left to do most comes last.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Applied {
    /// It was seen to have the image, or AWS answers only when it has.
    Settled,
    /// It was changed, and AWS may still look at that.
    Written,
    /// AWS refuses it for now, and why: it is to be done again.
    Refused(String),
}

/// What is taken back of a failed bake.
#[derive(Debug, Clone, Copy)]
pub struct Reverting<'a> {
    /// Its image, which goes after this.
    pub image: Option<&'a AmiId>,
    /// When the image was written into parameters last.
    pub written: Option<Timestamp>,
    /// This moment.
    pub now: Timestamp,
}

/// What follows a channel and runs no machine itself, in the order in which it is brought there. Auto Scaling groups follow
/// by a rollout, before any of these.
pub fn followers(to: &Destination) -> Vec<Follower> {
    let templates = to.launch_templates.iter().cloned().map(Follower::Template);
    templates.chain(to.parameter.iter().cloned().map(Follower::Parameter)).collect()
}

/// How often a channel may move while something is brought to it, before the step is tried again as a whole.
const MOST_MOVES: usize = 3;

/// Brings something to the channel's image, whoever moved the channel last. `bring` is given the image and the channel's
/// generation, and says whether it had to change anything.
///
/// Two promotions may bring it at once, and the slower one would leave its older image there: after each change the channel
/// is read again. So the last change of all is one that was seen to agree with the channel. Where the channel points at
/// nothing, nothing is brought.
async fn bring_to(
    to: &Destination,
    table: &impl Table,
    bring: impl AsyncFn(&AmiId, u64) -> Result<bool>,
) -> Result<()> {
    let ledger = Ledger(table);
    for _ in 0..MOST_MOVES {
        let Some(channel) = ledger.channel(&to.pipeline, &to.channel).await? else { return Ok(()) };
        let Some(current) = &channel.current else { return Ok(()) };
        if !bring(&current.image, channel.generation).await? {
            return Ok(());
        }
        let after = ledger.channel(&to.pipeline, &to.channel).await?;
        if after.is_some_and(|after| after.generation == channel.generation) {
            return Ok(());
        }
    }
    Err(Error::changed(format!("channel {}", to.name())))
}

impl Follower {
    /// Refuses what [`Follower::apply`] would refuse, before anything is launched or moved.
    pub async fn preflight(&self, to: &Destination, cloud: &(impl Parameters + Table)) -> Result<()> {
        match self {
            Self::Parameter(name) => parameter::preflight(name, to, cloud).await,
            // Whether it is there is seen when it is changed: launch-builder may not look at templates.
            Self::Template(_) => Ok(()),
        }
    }

    /// Brings it to what the channel points at now, whoever moved that last.
    pub async fn apply(
        &self,
        to: &Destination,
        cloud: &(impl Parameters + Templates + Table),
    ) -> Result<Applied> {
        match self {
            Self::Parameter(name) => parameter::apply(name, to, cloud).await,
            Self::Template(name) => template::apply(name, to, cloud).await.map(|()| Applied::Settled),
        }
    }

    /// Brings it back to what the channel points at now. What somebody deleted meanwhile needs no bringing back.
    pub async fn bring_back(
        &self,
        to: &Destination,
        cloud: &(impl Parameters + Templates + Table),
    ) -> Result<Applied> {
        match self {
            Self::Parameter(name) => parameter::apply(name, to, cloud).await,
            Self::Template(name) => template::bring_back(name, to, cloud).await.map(|()| Applied::Settled),
        }
    }

    /// Looks whether it has what the channel points at.
    pub async fn observe(&self, to: &Destination, cloud: &(impl Parameters + Table)) -> Result<Observed> {
        match self {
            Self::Parameter(name) => parameter::observe(name, to, cloud).await,
            // EC2 answers when it has happened.
            Self::Template(_) => Ok(Observed::Settled),
        }
    }

    /// Brings it to what the channel points at now, and sees that it is there.
    ///
    /// # Errors
    /// `ParameterBusy` as long as SSM doesn't show it.
    pub async fn settle(
        &self,
        to: &Destination,
        cloud: &(impl Parameters + Templates + Table),
    ) -> Result<()> {
        match self {
            Self::Parameter(name) => parameter::settle(name, to, cloud).await,
            Self::Template(name) => template::apply(name, to, cloud).await,
        }
    }

    /// Whether what is taken back may still come into it, by a write that AWS does not show yet.
    pub async fn may_take(&self, what: Reverting<'_>, cloud: &impl Parameters) -> Result<bool> {
        match self {
            Self::Parameter(name) => parameter::may_take(name, what, cloud).await,
            Self::Template(_) => Ok(false),
        }
    }

    /// What a promotion waits for, in words; none when its [`Follower::apply`] waits for all there is.
    pub fn awaited(&self) -> Option<&'static str> {
        match self {
            Self::Parameter(_) => Some("the parameter to take the image"),
            Self::Template(_) => None,
        }
    }

    /// Brings it to where it was, once this image is out of the channel again.
    pub async fn revert(
        &self,
        to: &Destination,
        what: Reverting<'_>,
        cloud: &(impl Parameters + Templates + Table),
    ) -> Result<()> {
        match self {
            Self::Parameter(name) => parameter::revert(name, to, what, cloud).await,
            Self::Template(name) => template::bring_back(name, to, cloud).await,
        }
    }
}
