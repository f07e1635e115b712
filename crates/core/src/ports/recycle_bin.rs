//! EC2's Recycle Bin, which keeps what was deregistered and deleted if a rule of the account says so; and the locks that
//! keep snapshots from being deleted.

use std::collections::BTreeSet;

use crate::domain::{
    error::Result,
    id::{AmiId, SnapshotId},
};

/// What there is to be had back, and what can't be deleted.
pub trait RecycleBin {
    /// The name of an image, if the bin has it.
    async fn binned_image(&self, image: &AmiId) -> Result<Option<String>>;
    /// Those of the snapshots that the bin has.
    async fn binned_snapshots(&self, snapshots: &[SnapshotId]) -> Result<BTreeSet<SnapshotId>>;
    /// Those of the snapshots that are there, in no bin: each with whether it is whole. One that comes out of the bin
    /// isn't yet.
    async fn there(&self, snapshots: &[SnapshotId]) -> Result<Vec<(SnapshotId, bool)>>;
    /// Takes a snapshot out of the bin; one that isn't in it is no error.
    async fn return_snapshot(&self, snapshot: &SnapshotId) -> Result<()>;
    /// Takes an image out of the bin, with its tags and with whom it was shared when it was deregistered. EC2 wants all
    /// its snapshots whole first. One that isn't in the bin is no error.
    async fn return_image(&self, image: &AmiId) -> Result<()>;
    /// Those of the snapshots that somebody locked: EC2 deletes none of them.
    async fn locked(&self, snapshots: &[SnapshotId]) -> Result<BTreeSet<SnapshotId>>;
}
