//! The Recycle Bin and the locks of snapshots, by the world's EC2.

use std::collections::BTreeSet;

use ovenbird_core::{
    Result,
    domain::id::{AmiId, SnapshotId},
    ports::RecycleBin,
};
use ovenbird_sim::{Asked, Filter, Paging, SnapshotState};

use super::{super::Cloud, translate};

impl RecycleBin for Cloud {
    async fn binned_image(&self, image: &AmiId) -> Result<Option<String>> {
        self.call(&["ec2:ListImagesInRecycleBin"], |state| {
            let page = state.world.list_images_in_recycle_bin(&[image.to_string()], &Paging::default());
            let page =
                page.map_err(|error| translate("ec2:ListImagesInRecycleBin", image.as_str(), &error))?;
            Ok(page.items.into_iter().next().map(|one| one.thing.name))
        })
        .await
    }

    async fn binned_snapshots(&self, snapshots: &[SnapshotId]) -> Result<BTreeSet<SnapshotId>> {
        self.call(&["ec2:ListSnapshotsInRecycleBin"], |state| {
            let page = state.world.list_snapshots_in_recycle_bin(&[], &Paging::default());
            let page = page.map_err(|error| translate("ec2:ListSnapshotsInRecycleBin", "", &error))?;
            let binned = page.items.into_iter().map(|one| one.thing.id);
            Ok(binned.filter(|one| snapshots.contains(one)).collect())
        })
        .await
    }

    async fn there(&self, snapshots: &[SnapshotId]) -> Result<Vec<(SnapshotId, bool)>> {
        self.call(&["ec2:DescribeSnapshots"], |state| {
            let values = snapshots.iter().map(ToString::to_string).collect();
            let named = Filter { name: "snapshot-id".into(), values };
            let world = state.shown(Asked::Snapshots);
            let page = world.describe_snapshots(&[], &[], &[], &[named], &Paging::default());
            let page = page.map_err(|error| translate("ec2:DescribeSnapshots", "", &error))?;
            let found = page.items.into_iter();
            Ok(found.map(|one| (one.id, one.state == SnapshotState::Completed)).collect())
        })
        .await
    }

    async fn return_snapshot(&self, snapshot: &SnapshotId) -> Result<()> {
        self.call(&["ec2:RestoreSnapshotFromRecycleBin"], |state| {
            match state.world.restore_snapshot_from_recycle_bin(state.now, snapshot.as_str(), false) {
                Ok(_) => Ok(()),
                Err(error) if error.code == "InvalidSnapshot.NotFound" => Ok(()),
                Err(error) => Err(translate("ec2:RestoreSnapshotFromRecycleBin", snapshot.as_str(), &error)),
            }
        })
        .await
    }

    async fn return_image(&self, image: &AmiId) -> Result<()> {
        self.call(&["ec2:RestoreImageFromRecycleBin"], |state| {
            match state.world.restore_image_from_recycle_bin(image.as_str(), false) {
                Ok(()) => Ok(()),
                Err(error) if error.code == "InvalidAMIID.NotFound" => Ok(()),
                Err(error) => Err(translate("ec2:RestoreImageFromRecycleBin", image.as_str(), &error)),
            }
        })
        .await
    }

    async fn locked(&self, snapshots: &[SnapshotId]) -> Result<BTreeSet<SnapshotId>> {
        self.call(&["ec2:DescribeLockedSnapshots"], |state| {
            let page = state.world.describe_locked_snapshots(state.now, &[], &[], &Paging::default());
            let page = page.map_err(|error| translate("ec2:DescribeLockedSnapshots", "", &error))?;
            let holding = page.items.into_iter().filter(|one| one.state != "expired");
            Ok(holding.map(|one| one.lock.snapshot).filter(|one| snapshots.contains(one)).collect())
        })
        .await
    }
}
