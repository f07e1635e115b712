//! Images: make one of an instance, look at one, find one.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::domain::{
    error::Result,
    id::{AmiId, ImageName, InstanceId, SnapshotId},
};

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

/// EC2's protection of an image against its deregistration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// None.
    Off,
    /// Whoever may lift it may deregister the image right after.
    On,
    /// For 24 hours after it is lifted it protects all the same.
    WithCooldown,
}

/// An AMI as EC2 describes it, reduced to what decisions need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its id: `ami-…`.
    pub id: AmiId,
    /// Its name, which is unique among the images of its owner.
    pub name: String,
    /// The account that owns it: 12 digits.
    pub owner: String,
    /// Whether instances can be started from it.
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
    /// Whether it is protected against deregistration.
    pub protection: Protection,
    /// Whether its instances accept IMDSv2 alone, unless their launch says otherwise.
    pub imdsv2: bool,
    /// When it was last started, as far as EC2 tells: a day late.
    pub launched: Option<Timestamp>,
    /// The snapshots that its devices are made from. They outlive it unless they are deleted.
    pub snapshots: Vec<SnapshotId>,
    /// Its tags; none for an image of another account.
    pub tags: BTreeMap<String, String>,
}

/// Making images and looking at them.
pub trait Images {
    /// One image; none when EC2 doesn't know it or it was deregistered.
    async fn image(&self, id: &AmiId) -> Result<Option<Image>>;
    /// Our image of this name.
    async fn named(&self, name: &ImageName) -> Result<Option<Image>>;
    /// The available images of an owner whose names match the pattern.
    async fn matching(&self, owner: &str, pattern: &str) -> Result<Vec<Image>>;
    /// Makes an image of an instance: of a stopped one as it is, of a running one with a `reboot`, so that its
    /// disk is taken while it is down. The description is for people. A taken name is [`crate::Error::TryAgain`]: look again.
    async fn create(
        &self,
        builder: &InstanceId,
        name: &ImageName,
        description: &str,
        reboot: bool,
        tags: &BTreeMap<String, String>,
    ) -> Result<AmiId>;
}

/// What an image can be given after it was made.
pub trait ImageAttributes {
    /// Lets its instances accept IMDSv2 alone, unless their launch says otherwise. Nothing takes that back.
    async fn require_imdsv2(&self, image: &AmiId) -> Result<()>;
    /// Protects it against deregistration, without a cooldown; one that is protected already is no error.
    async fn protect(&self, image: &AmiId) -> Result<()>;
}
