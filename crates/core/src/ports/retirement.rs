//! What only prune may do, and all that it looks at first.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    groups::Templates,
    images::{Image, ImageAttributes},
    instances::{Builders, Instance},
    objects::Bucket,
    parameters::Parameters,
    recycle_bin::RecycleBin,
    references::References,
    table::Table,
    volume::Volume,
    workflow::Workflow,
};
use crate::domain::{
    error::Result,
    id::{AmiId, BakeId, Digest, SnapshotId, StackId, VolumeId},
    retirement::Floors,
    signature::Signers,
};

/// Whose resources these are.
pub trait Stack {
    /// This deployment of the template.
    fn stack(&self) -> &StackId;
    /// What it retains at least, as it was deployed.
    fn floors(&self) -> Result<Floors>;
    /// How many bakes may have a builder at the same time, as it was deployed.
    fn most_builders(&self) -> Result<u32>;
    /// The hashes of the runners that bakes may use, as it was deployed; with none, they may use any.
    fn runners(&self) -> Vec<Digest>;
    /// Who must have signed the recipes that bakes use, as it was deployed; with none, they need no signature.
    fn signers(&self) -> &Signers;
}

/// A snapshot that carries our tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its id: `snap-…`.
    pub id: SnapshotId,
    /// What EC2 or a person wrote to it. `CreateImage` writes which instance it was made of.
    pub description: String,
    /// How large all its blocks are together, in bytes; none where EC2 doesn't say. It shares some with others.
    pub bytes: Option<u64>,
    /// Its tags. They say which stack and which bake made it.
    pub tags: BTreeMap<String, String>,
}

/// Something that names an image, as EC2's own `DescribeImageReferences` says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Witness {
    /// EC2's word for what kind of thing it is: `ec2:LaunchTemplate`.
    pub kind: String,
    /// Its id or name, without the account's number.
    pub id: String,
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.id)
    }
}

/// Somebody outside of this account who may start an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Permission {
    /// Everybody.
    Everybody,
    /// An account, by its number.
    Account(String),
    /// An organization, by its ARN.
    Organization(String),
    /// An organizational unit, by its ARN.
    Unit(String),
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everybody => f.write_str("everybody"),
            Self::Account(id) => write!(f, "account {id}"),
            Self::Organization(arn) => write!(f, "organization {arn}"),
            Self::Unit(arn) => write!(f, "organizational unit {arn}"),
        }
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
    /// The instances of this account that were started from an image and aren't gone, ours or not.
    async fn instances_of(&self, image: &AmiId) -> Result<Vec<Instance>>;
    /// What of this account EC2 itself knows to name an image: instances in any state, launch templates in every
    /// version, parameters, Image Builder's recipes.
    async fn witnesses(&self, image: &AmiId) -> Result<Vec<Witness>>;
    /// The images of this account that one of the snapshots belongs to, with their snapshots.
    async fn images_with(&self, snapshots: &[SnapshotId]) -> Result<Vec<Image>>;
    /// Who outside of this account may start an image. None of an image that is gone.
    async fn permissions(&self, image: &AmiId) -> Result<Vec<Permission>>;
    /// Marks an image as deprecated from about this moment on. Who knows its id starts it as before.
    async fn deprecate(&self, image: &AmiId, now: Timestamp) -> Result<()>;
    /// Takes that mark away; an image without it is no error.
    async fn undeprecate(&self, image: &AmiId) -> Result<()>;
    /// Disables an image: nothing can be started from it, and it is shared with nobody any more. One that is disabled
    /// already is no error.
    async fn disable(&self, image: &AmiId) -> Result<()>;
    /// Enables a disabled image; one that isn't disabled is no error.
    async fn enable(&self, image: &AmiId) -> Result<()>;
    /// Lets others start an image, beside those who may already.
    async fn permit(&self, image: &AmiId, permissions: &[Permission]) -> Result<()>;
    /// Lifts the protection against deregistration; an image that has none is no error.
    async fn unprotect(&self, image: &AmiId) -> Result<()>;
    /// Deregisters; one that is gone already is no error. False for one that EC2 says is protected.
    async fn deregister(&self, image: &AmiId) -> Result<bool>;
    /// Deletes; one that is gone already is no error, one still in use by an image is [`crate::Error::TryAgain`].
    async fn delete_snapshot(&self, snapshot: &SnapshotId) -> Result<()>;
    /// Deletes versions of one launch template, by its id; one that is gone already is no error. EC2 deletes each for
    /// itself, so an error says which are left.
    async fn delete_versions(&self, template: &str, versions: &[u64]) -> Result<()>;
    /// Deletes; one that is gone already is no error, one still attached is [`crate::Error::TryAgain`].
    async fn delete_volume(&self, volume: &VolumeId) -> Result<()>;
}

/// What prune works with.
pub trait PrunePorts:
    Bucket
    + Builders
    + ImageAttributes
    + Retirement
    + RecycleBin
    + References
    + Parameters
    + Templates
    + Table
    + Workflow
    + Stack
{
}

impl<
    C: Bucket
        + Builders
        + ImageAttributes
        + Retirement
        + RecycleBin
        + References
        + Parameters
        + Templates
        + Table
        + Workflow
        + Stack,
> PrunePorts for C
{
}
