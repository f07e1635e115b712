//! What only prune may do, and all that it looks at first.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use super::{
    groups::Templates,
    images::Image,
    instances::{Builders, Instance},
    parameters::Parameters,
    table::Table,
    volume::Volume,
    workflow::Workflow,
};
use crate::domain::{
    error::Result,
    id::{AmiId, BakeId, SnapshotId, StackId, VolumeId},
};

/// Whose resources these are.
pub trait Stack {
    /// This deployment of the template.
    fn stack(&self) -> &StackId;
}

/// A snapshot that carries our tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its id: `snap-…`.
    pub id: SnapshotId,
    /// What EC2 or a person wrote to it. `CreateImage` writes which instance it was made of.
    pub description: String,
    /// Its tags. They say which stack and which bake made it.
    pub tags: BTreeMap<String, String>,
}

/// Something that names an image, as EC2's own `DescribeImageReferences` says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reference {
    /// EC2's word for what kind of thing it is: `ec2:LaunchTemplate`.
    pub kind: String,
    /// Its id or name, without the account's number.
    pub id: String,
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.id)
    }
}

/// What only prune may do to images, snapshots and volumes. Nothing outside [`crate::steps::guard`] calls what destroys.
pub trait Retirement {
    /// The images of this stack, all of them or one bake's.
    async fn images(&self, bake: Option<&BakeId>) -> Result<Vec<Image>>;
    /// The snapshots of this stack, all of them or one bake's.
    async fn snapshots(&self, bake: Option<&BakeId>) -> Result<Vec<Snapshot>>;
    /// The volumes of this stack, all of them or one bake's.
    async fn volumes(&self, bake: Option<&BakeId>) -> Result<Vec<Volume>>;
    /// Every image that an instance of this account was started from and that isn't gone, ours or not.
    async fn in_use(&self) -> Result<BTreeSet<AmiId>>;
    /// The instances of this account that were started from an image and aren't gone, ours or not.
    async fn instances_of(&self, image: &AmiId) -> Result<Vec<Instance>>;
    /// What of this account EC2 itself knows to name an image: instances in any state, launch templates in every
    /// version, parameters, Image Builder's recipes.
    async fn references(&self, image: &AmiId) -> Result<Vec<Reference>>;
    /// The images of this account that one of the snapshots belongs to, with their snapshots.
    async fn images_with(&self, snapshots: &[SnapshotId]) -> Result<Vec<Image>>;
    /// Deregisters; one that is gone already is no error.
    async fn deregister(&self, image: &AmiId) -> Result<()>;
    /// Deletes; one that is gone already is no error, one still in use by an image is [`crate::Error::TryAgain`].
    async fn delete_snapshot(&self, snapshot: &SnapshotId) -> Result<()>;
    /// Deletes; one that is gone already is no error, one still attached is [`crate::Error::TryAgain`].
    async fn delete_volume(&self, volume: &VolumeId) -> Result<()>;
}

/// What prune works with.
pub trait PrunePorts: Builders + Retirement + Parameters + Templates + Table + Workflow + Stack {}

impl<C: Builders + Retirement + Parameters + Templates + Table + Workflow + Stack> PrunePorts for C {}
