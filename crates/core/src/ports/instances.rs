//! Instances of bakes: launch them, look at them, terminate them.

use std::collections::BTreeMap;

use crate::domain::{
    error::Result,
    id::{AmiId, BakeId, InstanceId},
    offer::{Loss, Offer, RootVolume},
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

/// The instance profile of an instance: what whatever runs on it may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Profile {
    /// None: it may call nothing. That is the usual one, for all that a builder needs comes by presigned URL.
    None,
    /// The stack's own: it reads the secrets below one path, and lets Session Manager in.
    Stack,
    /// One that the recipe names.
    Named(String),
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

/// An instance as EC2 describes it, reduced to what decisions need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its id: `i-…`.
    pub id: InstanceId,
    /// The image it was started from.
    pub image: AmiId,
    /// Where it is between launch and termination.
    pub state: InstanceState,
    /// EC2's reason for the state, or empty.
    pub reason: String,
    /// What that reason means, for an instance that is down.
    pub loss: Loss,
    /// Whether it is a spot instance, which EC2 can't stop, and may take back.
    pub spot: bool,
    /// Its tags. They say which stack and which bake it belongs to.
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
    /// The instance profile.
    pub profile: Profile,
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

/// Instances of bakes.
pub trait Builders {
    /// The stack's subnets, in order of preference; none means those of the account's default network.
    fn stack_subnets(&self) -> Vec<String>;
    /// Launches one instance, or finds the one the token already made.
    ///
    /// It asks EC2 once, for one offer. A shortage is [`crate::Error::NoCapacity`], whatever else EC2 refuses is not:
    /// it would refuse that for every other offer, too.
    async fn launch(&self, order: &LaunchOrder) -> Result<InstanceId>;
    /// The instances of this stack that carry the bake's tag, gone ones included while EC2 shows them.
    async fn of_bake(&self, bake: &BakeId) -> Result<Vec<Instance>>;
    /// Every instance of any bake of this stack that isn't gone.
    async fn all(&self) -> Result<Vec<Instance>>;
    /// One instance; none when EC2 doesn't know it.
    async fn instance(&self, id: &InstanceId) -> Result<Option<Instance>>;
    /// Terminates; one that is gone already is no error.
    async fn terminate(&self, id: &InstanceId) -> Result<()>;
    /// What the console showed, or empty.
    async fn console(&self, id: &InstanceId) -> Result<String>;
}
