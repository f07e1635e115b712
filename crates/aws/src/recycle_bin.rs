//! EC2's Recycle Bin and the locks of snapshots.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::{Filter, LockState, SnapshotState};
use ovenbird_core::{
    Result,
    domain::id::{AmiId, SnapshotId},
    ports::RecycleBin,
};

use crate::{
    Cloud,
    errors::{code, translate},
    images::NO_IMAGE,
    retirement::MOST_VALUES,
};

impl RecycleBin for Cloud {
    async fn binned_image(&self, image: &AmiId) -> Result<Option<String>> {
        // All are listed: what EC2 says when it is asked for one that isn't there is documented nowhere.
        let mut pages = self.ec2.list_images_in_recycle_bin().into_paginator().send();
        while let Some(page) = pages.next().await {
            let page =
                page.map_err(|error| translate("ec2:ListImagesInRecycleBin", image.as_str(), &error))?;
            let found = page.images().iter().find(|one| one.image_id() == Some(image.as_str()));
            if let Some(found) = found {
                return Ok(Some(found.name().unwrap_or_default().to_owned()));
            }
        }
        Ok(None)
    }

    async fn binned_snapshots(&self, snapshots: &[SnapshotId]) -> Result<BTreeSet<SnapshotId>> {
        let operation = "ec2:ListSnapshotsInRecycleBin";
        let mut pages = self.ec2.list_snapshots_in_recycle_bin().into_paginator().send();
        let mut found = BTreeSet::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| translate(operation, "our snapshots", &error))?;
            found.extend(among(snapshots, page.snapshots().iter().filter_map(|one| one.snapshot_id())));
        }
        Ok(found)
    }

    async fn there(&self, snapshots: &[SnapshotId]) -> Result<Vec<(SnapshotId, bool)>> {
        let mut found = Vec::new();
        for snapshots in snapshots.chunks(MOST_VALUES) {
            // By a filter: by ids, one that is gone would be an error.
            let ids = snapshots.iter().map(ToString::to_string).collect();
            let named = Filter::builder().name("snapshot-id").set_values(Some(ids)).build();
            let mut pages = self.ec2.describe_snapshots().filters(named).into_paginator().send();
            while let Some(page) = pages.next().await {
                let page =
                    page.map_err(|error| translate("ec2:DescribeSnapshots", "our snapshots", &error))?;
                for one in
                    page.snapshots().iter().filter(|one| one.state() != Some(&SnapshotState::Recoverable))
                {
                    let whole = one.state() == Some(&SnapshotState::Completed);
                    found.extend(among(snapshots, one.snapshot_id()).into_iter().map(|id| (id, whole)));
                }
            }
        }
        Ok(found)
    }

    async fn return_snapshot(&self, snapshot: &SnapshotId) -> Result<()> {
        match self.ec2.restore_snapshot_from_recycle_bin().snapshot_id(snapshot.as_str()).send().await {
            Ok(_) => Ok(()),
            Err(error) if code(&error) == "InvalidSnapshot.NotFound" => Ok(()),
            Err(error) => Err(translate("ec2:RestoreSnapshotFromRecycleBin", snapshot.as_str(), &error)),
        }
    }

    async fn return_image(&self, image: &AmiId) -> Result<()> {
        match self.ec2.restore_image_from_recycle_bin().image_id(image.as_str()).send().await {
            Ok(_) => Ok(()),
            Err(error) if NO_IMAGE.contains(&code(&error)) => Ok(()),
            Err(error) => Err(translate("ec2:RestoreImageFromRecycleBin", image.as_str(), &error)),
        }
    }

    async fn locked(&self, snapshots: &[SnapshotId]) -> Result<BTreeSet<SnapshotId>> {
        let (mut found, mut token) = (BTreeSet::new(), None);
        loop {
            let request = self.ec2.describe_locked_snapshots().set_next_token(token);
            let page = request.send().await;
            let page =
                page.map_err(|error| translate("ec2:DescribeLockedSnapshots", "our snapshots", &error))?;
            let holding = page.snapshots().iter().filter(|one| one.lock_state() != Some(&LockState::Expired));
            found.extend(among(snapshots, holding.filter_map(|one| one.snapshot_id())));
            token = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
            if token.is_none() {
                return Ok(found);
            }
        }
    }
}

/// Those of the snapshots that are named.
fn among<'n>(snapshots: &[SnapshotId], named: impl IntoIterator<Item = &'n str>) -> Vec<SnapshotId> {
    let of = |id: &str| snapshots.iter().find(|one| one.as_str() == id).cloned();
    named.into_iter().filter_map(of).collect()
}
