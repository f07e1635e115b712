//! Snapshots: look, delete, and how one is made.

use std::collections::BTreeSet;

use jiff::Timestamp;
use ovenbird_core::domain::id::{SnapshotId, VolumeId};
use serde::{Deserialize, Serialize};

use crate::{
    ApiError, Filter, ImageState, LaunchPermission, Layer, Page, Paging, Result, Tags, World,
    filters::Filters, refuse_dry_run,
};

/// The states of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotState {
    /// Under way.
    Pending,
    /// Whole.
    Completed,
    /// Failed.
    Error,
    /// On its way out of the Recycle Bin.
    Recovering,
}

impl SnapshotState {
    /// EC2's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Completed => "completed",
            Self::Error => "error",
            Self::Recovering => "recovering",
        }
    }
}

/// A snapshot of an instance's disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The id that EC2 gave it: `snap-…`.
    pub id: SnapshotId,
    /// Whether it can be used.
    pub state: SnapshotState,
    /// How far it is, in percent.
    pub progress: u8,
    /// When it began.
    pub started: Timestamp,
    /// The volume it was made of.
    pub volume: VolumeId,
    /// The volume's size in GiB.
    pub size: u32,
    /// The ARN of the key that it is encrypted with; none for one that isn't.
    #[serde(default)]
    pub kms_key: Option<String>,
    /// What the layer takes, in bytes.
    pub bytes: u64,
    /// The text that its maker gave it. `CreateImage` writes the instance and the image into it.
    pub description: String,
    /// The layers that it lies on, itself last: what an image of it boots from.
    pub layers: Vec<Layer>,
    /// Its tags: at most 50.
    pub tags: Tags,
    /// When it is whole, if it is a copy, or comes out of the Recycle Bin.
    #[serde(default)]
    pub copied: Option<Timestamp>,
    /// Who may make volumes of it beside its owner.
    #[serde(default)]
    pub permissions: BTreeSet<LaunchPermission>,
}

impl World {
    /// Snapshots of this account by id and filter.
    pub fn describe_snapshots(
        &self,
        ids: &[String],
        owners: &[String],
        restorable_by: &[String],
        filters: &[Filter],
        paging: &Paging,
    ) -> Result<Page<Snapshot>> {
        let filters = Filters::<Snapshot>::read(filters)?;
        for id in ids {
            self.own_snapshot(id)?;
        }
        let ours = owners.is_empty() || owners.iter().any(|owner| owner == "self" || *owner == self.account);
        let named = |snapshot: &Snapshot| ids.is_empty() || ids.iter().any(|id| id == snapshot.id.as_str());
        let found = self.snapshots.paged(paging);
        let restorable = |snapshot: &Snapshot| {
            restorable_by.is_empty()
                || restorable_by.iter().any(|one| match one.as_str() {
                    // Its owner may, without anybody's permission.
                    "self" => true,
                    "all" => snapshot.permissions.contains(&LaunchPermission::All),
                    account => {
                        account == self.account
                            || snapshot.permissions.contains(&LaunchPermission::User(account.to_owned()))
                    }
                })
        };
        let found = found.filter(|snapshot| {
            ours && named(snapshot) && restorable(snapshot) && filters.pass(self, snapshot)
        });
        Ok(paging.cut(found, 5, |snapshot| snapshot.id.to_string())?.cloned())
    }

    /// Deletes a snapshot that no image uses, and nobody locked. The Recycle Bin may keep it.
    ///
    /// Its layer stays on disk while something lies on it, as at EBS a deleted snapshot's blocks do.
    pub fn delete_snapshot(&mut self, now: Timestamp, id: &str, dry_run: bool) -> Result<()> {
        let snapshot = self.own_snapshot(id)?.id.clone();
        if let Some(image) = self.images.values().find(|image| image.snapshots().any(|one| *one == snapshot))
        {
            let message = format!("The snapshot {snapshot} is currently in use by {}", image.id);
            return Err(ApiError::new("InvalidSnapshot.InUse", message));
        }
        self.check_lock(now, &snapshot)?;
        refuse_dry_run(dry_run)?;
        if let Some(snapshot) = self.snapshots.remove(&snapshot) {
            self.bin_snapshot(now, snapshot);
        }
        Ok(())
    }

    /// Whether anything still lies on a layer: an image, a snapshot or an instance.
    pub fn is_layer_in_use(&self, snapshot: &SnapshotId) -> bool {
        let layer = Layer::Snapshot(snapshot.clone());
        let on_image = self.images.values().any(|image| image.layers.contains(&layer));
        let binned = self.recycle_bin.snapshots.values().map(|one| &one.thing);
        let on_snapshot = self.snapshots.values().chain(binned).any(|one| one.layers.contains(&layer));
        let mut instances = self.instances.values().filter(|instance| instance.terminated.is_none());
        let on_instance = instances.any(|instance| instance.layers.contains(&layer));
        on_image || on_snapshot || on_instance
    }

    pub(crate) fn own_snapshot(&self, id: &str) -> Result<&Snapshot> {
        self.snapshots.get(&parsed(id)?).ok_or_else(|| ApiError::no_snapshot(id))
    }

    pub(crate) fn own_snapshot_mut(&mut self, id: &str) -> Result<&mut Snapshot> {
        self.snapshots.get_mut(&parsed(id)?).ok_or_else(|| ApiError::no_snapshot(id))
    }

    pub(crate) fn frozen(&mut self, _now: Timestamp, id: &SnapshotId, bytes: u64) {
        let Some(snapshot) = self.snapshots.get_mut(id) else { return };
        snapshot.state = SnapshotState::Completed;
        snapshot.progress = 100;
        snapshot.bytes = bytes;
        for image in self.images.filter_mut(|image| image.snapshot.as_ref() == Some(id)) {
            image.state = ImageState::Available;
        }
    }

    pub(crate) fn freeze_failed(&mut self, id: &SnapshotId, reason: &str) {
        let Some(snapshot) = self.snapshots.get_mut(id) else { return };
        snapshot.state = SnapshotState::Error;
        // There is no such layer: its instance's disk is as it was.
        let layer = Layer::Snapshot(id.clone());
        for instance in self.instances.filter_mut(|instance| instance.layers.contains(&layer)) {
            instance.layers.retain(|one| *one != layer);
        }
        for image in self.images.filter_mut(|image| image.snapshot.as_ref() == Some(id)) {
            image.state = ImageState::Failed;
            image.state_reason =
                Some(("Server.InternalError".into(), format!("Server.InternalError: {reason}")));
        }
    }

    pub(crate) fn progressed(&mut self, id: &SnapshotId, percent: u8) {
        if let Some(snapshot) = self.snapshots.get_mut(id) {
            snapshot.progress = percent.min(100).max(snapshot.progress);
        }
    }

    pub(crate) fn fail_unfinished(&mut self, reason: &str) {
        // A copy is no machine's: it goes on.
        let unfinished = self.snapshots.values();
        let unfinished = unfinished.filter(|one| one.state == SnapshotState::Pending && one.copied.is_none());
        let ids: Vec<SnapshotId> = unfinished.map(|snapshot| snapshot.id.clone()).collect();
        for id in ids {
            self.freeze_failed(&id, reason);
        }
    }
}

fn parsed(id: &str) -> Result<SnapshotId> {
    SnapshotId::parse(id).map_err(|_| ApiError::malformed("InvalidSnapshotID.Malformed", id))
}
