//! Volumes, as prune sees them.

use std::collections::BTreeMap;

use crate::domain::id::{InstanceId, VolumeId};

/// How a volume stands, in EC2's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VolumeState {
    /// Being made.
    Creating,
    /// Attached to nothing: it can be deleted.
    Available,
    /// Attached to an instance.
    InUse,
    /// On its way out, or out.
    Deleting,
    /// Broken.
    Error,
}

impl VolumeState {
    /// Whether nothing uses it and it is still there.
    pub fn is_left(self) -> bool {
        match self {
            Self::Available | Self::Error => true,
            Self::Creating | Self::InUse | Self::Deleting => false,
        }
    }
}

/// A volume that carries our tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its id: `vol-…`.
    pub id: VolumeId,
    /// Whether something uses it, in EC2's words.
    pub state: VolumeState,
    /// The instance it is attached to.
    pub attached: Option<InstanceId>,
    /// Its tags. They say which stack and which bake it belongs to.
    pub tags: BTreeMap<String, String>,
}
