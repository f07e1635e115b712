//! What the steps ask of the outside world, in domain words.
//!
//! `crates/aws` answers with the SDK, `crates/world` with its model. An answer is never a success that isn't
//! known to be one: a lost reply is an error, and the step looks before it does again.

#![expect(
    async_fn_in_trait,
    reason = "the ports are used as generics in this workspace; no trait object needs Send bounds"
)]

mod prune;
mod table;
mod tags;
mod volume;
mod workflow;

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;

pub use self::{
    prune::{PrunePorts, Reference, Retirement, Snapshot, Stack},
    table::{Expect, Index, Key, Row, Table, Write},
    tags::{TAG_BAKE, TAG_DIGEST, TAG_EXPIRES, TAG_KEEP, TAG_PIPELINE, TAG_ROLE, TAG_STACK, tags},
    volume::{Volume, VolumeState},
    workflow::{Execution, Workflow},
};
use crate::{
    error::Result,
    id::{AmiId, BakeId, CommandId, Digest, ImageName, InstanceId, ParameterName, SnapshotId},
    launch::Offer,
    plan::PresignedUrl,
};

/// EC2's states of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceState {
    /// Starting.
    Pending,
    /// Up.
    Running,
    /// Being stopped.
    Stopping,
    /// Stopped; its disk is kept.
    Stopped,
    /// Being terminated.
    ShuttingDown,
    /// Gone.
    Terminated,
}

impl InstanceState {
    /// Whether the instance is on its way out, or out: it costs nothing and uses nothing any more.
    pub fn is_gone(self) -> bool {
        match self {
            Self::ShuttingDown | Self::Terminated => true,
            Self::Pending | Self::Running | Self::Stopping | Self::Stopped => false,
        }
    }

    /// EC2's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::ShuttingDown => "shutting-down",
            Self::Terminated => "terminated",
        }
    }
}

/// What an instance is for; its tag `ovenbird:role`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It is configured and becomes the image.
    Builder,
    /// It was started from the finished image, to test that.
    Verifier,
}

impl Role {
    /// The tag's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Builder => "builder",
            Self::Verifier => "verifier",
        }
    }
}

/// An instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// The image it was started from.
    pub image: AmiId,
    /// Its state.
    pub state: InstanceState,
    /// EC2's reason for the state, or empty.
    pub reason: String,
    /// Whether it is a spot instance, which EC2 can't stop, and may take back.
    pub spot: bool,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// What to launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchOrder {
    /// The image to start from.
    pub image: AmiId,
    /// As what, and where.
    pub offer: Offer,
    /// Security groups; none means the one of the stack.
    pub security_groups: Vec<String>,
    /// The instance profile, by name; none means the one of the stack.
    pub instance_profile: Option<String>,
    /// The image's EBS devices: the volume of each goes with the instance, whatever the image says.
    pub devices: Vec<String>,
    /// The root volume, where the image's own won't do.
    pub volume: Option<RootVolume>,
    /// What cloud-init runs.
    pub user_data: String,
    /// The same token gives the same instance, however often it is asked (at most 64 characters).
    pub token: String,
    /// Tags, set with the launch and not after it.
    pub tags: BTreeMap<String, String>,
}

/// A root volume that differs from the image's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootVolume {
    /// The image's root device: `/dev/xvda`.
    pub device: String,
    /// Its size in GiB.
    pub gib: Option<u32>,
    /// Its type in EC2's word.
    pub kind: Option<String>,
    /// Its operations per second.
    pub iops: Option<u32>,
    /// The KMS key that encrypts it; none leaves it as the image and the account have it.
    pub kms_key: Option<String>,
}

/// Instances of bakes.
pub trait Builders {
    /// Launches one instance, or finds the one the token already made.
    ///
    /// It asks EC2 once, for one offer. A shortage is [`crate::Error::NoCapacity`], as [`crate::launch::refusal`]
    /// tells it.
    async fn launch(&self, order: &LaunchOrder) -> Result<InstanceId>;
    /// The instances of this stack that carry the bake's tag, gone ones included while EC2 shows them.
    async fn of_bake(&self, bake: &BakeId) -> Result<Vec<Instance>>;
    /// Every instance of any bake of this stack that isn't gone.
    async fn all(&self) -> Result<Vec<Instance>>;
    /// One instance; none when EC2 doesn't know it.
    async fn look(&self, id: &InstanceId) -> Result<Option<Instance>>;
    /// Terminates; one that is gone already is no error.
    async fn terminate(&self, id: &InstanceId) -> Result<()>;
    /// What the console showed, or empty.
    async fn console(&self, id: &InstanceId) -> Result<String>;
}

/// EC2's states of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageState {
    /// Being made.
    Pending,
    /// Usable.
    Available,
    /// Not usable and never will be.
    Failed,
    /// Not usable until its owner enables it again.
    Disabled,
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its id.
    pub id: AmiId,
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: ImageState,
    /// EC2's reason for the state, or empty.
    pub reason: String,
    /// When it was made.
    pub created: Timestamp,
    /// Its CPU architecture in EC2's word: `x86_64`, `arm64`.
    pub architecture: String,
    /// The device that its root volume is; none for an image whose root isn't a volume.
    pub root_device: Option<String>,
    /// The size of its root volume in GiB.
    pub gib: Option<u32>,
    /// Its EBS devices, the root among them: each is a volume of every instance of it.
    pub devices: Vec<String>,
    /// From when on its owner advises against it.
    pub deprecated: Option<Timestamp>,
    /// Its snapshots.
    pub snapshots: Vec<SnapshotId>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// Making images and looking at them.
pub trait Images {
    /// One image; none when EC2 doesn't know it or it was deregistered.
    async fn look(&self, id: &AmiId) -> Result<Option<Image>>;
    /// Our image of this name.
    async fn named(&self, name: &ImageName) -> Result<Option<Image>>;
    /// The available images of an owner whose names match the pattern.
    async fn matching(&self, owner: &str, pattern: &str) -> Result<Vec<Image>>;
    /// Makes an image of an instance: of a stopped one as it is, of a running one with a `reboot`, so that its
    /// disk is taken while it is down. A taken name is [`crate::Error::TryAgain`]: look again.
    async fn create(
        &self,
        builder: &InstanceId,
        name: &ImageName,
        reboot: bool,
        tags: &BTreeMap<String, String>,
    ) -> Result<AmiId>;
}

/// How a command stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandState {
    /// Not ended yet.
    Running,
    /// Ended with exit status 0.
    Succeeded,
    /// Ended badly.
    Failed {
        /// How it ended.
        exit: CommandExit,
        /// The last lines of its output.
        output: String,
    },
}

/// How a command ended badly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandExit {
    /// By itself, with this status; -1 where SSM never learned it.
    Status(i32),
    /// It took longer than it was given.
    TimedOut,
    /// Somebody cancelled it.
    Cancelled,
}

impl CommandExit {
    /// As a command ends whose instance goes down: SSM calls it failed, and has no status of it.
    pub const CUT_SHORT: Self = Self::Status(-1);
}

impl fmt::Display for CommandExit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(formatter, "exit {status}"),
            Self::TimedOut => formatter.write_str("timed out"),
            Self::Cancelled => formatter.write_str("cancelled"),
        }
    }
}

/// Commands in instances, through SSM.
pub trait Commands {
    /// Whether the instance's agent answers.
    async fn online(&self, instance: &InstanceId) -> Result<bool>;
    /// The command that was sent to the instance with this comment.
    async fn find(&self, instance: &InstanceId, comment: &str) -> Result<Option<CommandId>>;
    /// Sends a shell script.
    async fn send(
        &self,
        instance: &InstanceId,
        comment: &str,
        script: &str,
        timeout_seconds: i64,
    ) -> Result<CommandId>;
    /// How it stands; `None` when SSM doesn't know it (yet).
    async fn outcome(&self, instance: &InstanceId, command: &CommandId) -> Result<Option<CommandState>>;
}

/// SSM parameters.
pub trait Parameters {
    /// The value.
    async fn get(&self, name: &ParameterName) -> Result<Option<String>>;
    /// The values of those of the names that exist.
    async fn values(&self, names: &[ParameterName]) -> Result<BTreeMap<ParameterName, String>>;
    /// Writes an image's id. AWS answers before it has validated it: read it back.
    async fn put_image(&self, name: &ParameterName, image: &AmiId) -> Result<()>;
    /// Removes; one that is gone already is no error.
    async fn remove(&self, name: &ParameterName) -> Result<()>;
}

/// An object of the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Its version, on a versioned bucket.
    pub version: Option<String>,
    /// Its size.
    pub bytes: u64,
    /// When it was written.
    pub written: Timestamp,
    /// SHA-256 of its bytes, when S3 was given it or made it at the upload, and it is of the whole object.
    pub sha256: Option<Digest>,
}

/// The bucket.
pub trait Bucket {
    /// A small text object.
    async fn text(&self, key: &str) -> Result<Option<String>>;
    /// Writes a small text object.
    async fn put_text(&self, key: &str, text: &str) -> Result<()>;
    /// An object's facts.
    async fn head(&self, key: &str, version: Option<&str>) -> Result<Option<Object>>;
    /// The newest object under a prefix.
    async fn newest(&self, prefix: &str) -> Result<Option<Object>>;
    /// SHA-256 of an object's bytes, streamed.
    async fn sha256(&self, key: &str, version: Option<&str>) -> Result<Digest>;
    /// The names directly under a prefix that ends in `/`.
    async fn folders(&self, prefix: &str) -> Result<Vec<String>>;
}

/// URLs that let a builder read and write single objects without any permission of its own.
pub trait Presigner {
    /// For one GET of the object (or of one version of it).
    async fn get_url(&self, key: &str, version: Option<&str>, seconds: u64) -> Result<PresignedUrl>;
    /// Where a builder reaches the cloud, when it isn't AWS's own.
    fn endpoint(&self) -> Option<String>;
    /// For one PUT of the object.
    async fn put_url(&self, key: &str, seconds: u64) -> Result<PresignedUrl>;
}

/// All ports at once: what a function is given.
pub trait Ports: Images + Commands + Bucket + Presigner + PrunePorts {}

impl<C: Images + Commands + Bucket + Presigner + PrunePorts> Ports for C {}
