//! Disks: an instance's own layer over the layers of its image, and how it becomes a layer itself.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use ovenbird_core::domain::id::{InstanceId, SnapshotId};
use serde::{Deserialize, Serialize};

/// What lies under an instance's own layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Layer {
    /// The base root file system.
    Base,
    /// A snapshot.
    Snapshot(SnapshotId),
}

/// The folders of layers and of instances' disks, all on one file system: freezing is a rename.
#[derive(Debug, Clone)]
pub struct Disks {
    home: PathBuf,
    base: PathBuf,
}

impl Disks {
    /// Disks under a folder, over a base.
    pub fn new(home: &Path, base: &Path) -> Self {
        Self { home: home.to_owned(), base: base.to_owned() }
    }

    /// The folder of an instance.
    pub fn instance(&self, instance: &InstanceId) -> PathBuf {
        self.home.join("instances").join(instance.as_str())
    }

    /// The folder of a snapshot.
    pub fn snapshot(&self, snapshot: &SnapshotId) -> PathBuf {
        self.home.join("snapshots").join(snapshot.as_str())
    }

    /// Makes an instance's disk ready; what it wrote before a stop is kept. Gives its folder.
    pub fn prepare(&self, instance: &InstanceId) -> io::Result<PathBuf> {
        let disk = self.instance(instance);
        // The work folder belongs to one mount: a new one wants it empty.
        remove(&disk.join("work"))?;
        for part in ["upper", "work", "root"] {
            fs::create_dir_all(disk.join(part))?;
        }
        Ok(disk)
    }

    /// The folders of the layers, the uppermost first, as overlayfs wants them. `layers` begins with the lowest.
    pub fn lower(&self, layers: &[Layer]) -> Vec<PathBuf> {
        let folder = |layer: &Layer| match layer {
            Layer::Base => self.base.clone(),
            Layer::Snapshot(snapshot) => self.snapshot(snapshot),
        };
        layers.iter().rev().map(folder).collect()
    }

    /// Turns a stopped instance's own layer into a snapshot, and gives it a new empty one on top.
    pub fn freeze(&self, instance: &InstanceId, snapshot: &SnapshotId) -> io::Result<()> {
        let upper = self.instance(instance).join("upper");
        let frozen = self.snapshot(snapshot);
        fs::create_dir_all(self.home.join("snapshots"))?;
        fs::rename(&upper, &frozen)?;
        fs::create_dir_all(&upper)
    }

    /// Takes a folder of the same file system for a snapshot's layer.
    pub fn adopt(&self, snapshot: &SnapshotId, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(self.home.join("snapshots"))?;
        fs::rename(folder, self.snapshot(snapshot))
    }

    /// Deletes an instance's disk.
    pub fn delete_instance(&self, instance: &InstanceId) -> io::Result<()> {
        remove(&self.instance(instance))
    }

    /// Deletes a snapshot's layer.
    pub fn delete_snapshot(&self, snapshot: &SnapshotId) -> io::Result<()> {
        remove(&self.snapshot(snapshot))
    }

    /// The snapshots that have layers here.
    pub fn snapshots(&self) -> io::Result<Vec<SnapshotId>> {
        let entries = match fs::read_dir(self.home.join("snapshots")) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for entry in entries {
            found.extend(entry?.file_name().to_str().and_then(|name| SnapshotId::parse(name).ok()));
        }
        Ok(found)
    }

    /// Deletes the disks of every instance: after a crash none of them runs any more.
    pub fn delete_instances(&self) -> io::Result<()> {
        remove(&self.home.join("instances"))
    }
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
