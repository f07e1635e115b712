//! An image of a disk that comes from elsewhere, as VM Import makes one.

use std::collections::BTreeSet;

use jiff::Timestamp;
use ovenbird_core::domain::id::{AmiId, SnapshotId};

use crate::{
    Disk, Layer, RegisterImage, Result, Snapshot, SnapshotState, Tags, World, copies::volume_of_a_copy,
};

/// A disk that comes from elsewhere, and the image that it becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportDisk {
    /// The image's name.
    pub name: String,
    /// A text for people.
    pub description: String,
    /// `x86_64` or `arm64`.
    pub architecture: String,
    /// What the disk holds, in bytes.
    pub bytes: u64,
}

impl World {
    /// Makes a snapshot of it, on nothing, and an image of the account's own. The layer is the caller's to put in place.
    pub fn import_disk(&mut self, now: Timestamp, request: &ImportDisk) -> Result<(AmiId, SnapshotId)> {
        self.check_name(&request.name)?;
        let id = self.fresh(SnapshotId::parse, "snap");
        let snapshot = Snapshot {
            id: id.clone(),
            state: SnapshotState::Completed,
            progress: 100,
            started: now,
            volume: volume_of_a_copy(),
            size: Disk::new(8).size,
            kms_key: None,
            bytes: request.bytes,
            description: request.description.clone(),
            layers: vec![Layer::Snapshot(id.clone())],
            tags: Tags::new(),
            copied: None,
            permissions: BTreeSet::new(),
        };
        self.snapshots.insert(id.clone(), snapshot);
        let image = RegisterImage {
            name: request.name.clone(),
            description: Some(request.description.clone()),
            snapshot: id.to_string(),
            architecture: Some(request.architecture.clone()),
            ..RegisterImage::default()
        };
        Ok((self.register_image(now, &image)?, id))
    }
}
