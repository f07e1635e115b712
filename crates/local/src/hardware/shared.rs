//! What all machines of a local cloud share: addresses, and the layers that their disks lie on.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::Ipv4Addr,
    path::PathBuf,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError, Weak},
};

use ovenbird_core::domain::id::SnapshotId;
use ovenbird_sim::MachineEvent;
use tokio::sync::mpsc;

use crate::{
    endpoint::Endpoint,
    machine::{Addresses, Disks, Metadata},
};

/// What all machines share.
#[derive(Debug)]
pub(super) struct Shared {
    pub disks: Disks,
    pub cgroup: PathBuf,
    /// Whether machines have user namespaces.
    pub user_namespaces: bool,
    pub port: u16,
    /// The endpoint, once it is there: it answers from the world, which this hardware is of.
    pub endpoint: OnceLock<Weak<Endpoint>>,
    pub network_pid: u32,
    pub metadata: Metadata,
    pub addresses: Mutex<Addresses>,
    pub layer_use: Mutex<LayerUse>,
    pub events: mpsc::UnboundedSender<MachineEvent>,
}

/// Which layers lie under disks.
#[derive(Debug, Default)]
pub(super) struct LayerUse {
    /// How many disks lie on each.
    pub used: HashMap<SnapshotId, usize>,
    /// Those to delete when the last disk on them goes.
    pub dropped: HashSet<SnapshotId>,
}

impl Shared {
    /// Deletes a snapshot's layer, or has it deleted once no disk lies on it any more.
    pub(super) fn drop_snapshot(&self, snapshot: &SnapshotId) {
        let mut layer_use = lock(&self.layer_use);
        if layer_use.used.contains_key(snapshot) {
            layer_use.dropped.insert(snapshot.clone());
            return;
        }
        drop(layer_use);
        self.delete_layer(snapshot);
    }

    /// Deletes a layer away from the world's lock: it may have hundreds of megabytes.
    pub(super) fn delete_layer(&self, snapshot: &SnapshotId) {
        let (disks, snapshot) = (self.disks.clone(), snapshot.clone());
        tokio::task::spawn_blocking(move || {
            if let Err(error) = disks.delete_snapshot(&snapshot) {
                tracing::warn!("the layer of {snapshot} could not be deleted: {error}");
            }
        });
    }

    /// A free address.
    pub(super) fn take_address(&self) -> io::Result<Ipv4Addr> {
        let mut addresses: MutexGuard<'_, Addresses> = lock(&self.addresses);
        addresses.take().ok_or_else(|| io::Error::other("the network has no free address"))
    }
}

/// Locks; a panic of another holder leaves plain data whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
