//! Forgetting everything: what that is, told before it is done.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use ovenbird_sim::{ApiError, DescribeImages, InstanceState, Paging, World};
use serde::{Deserialize, Serialize};

use crate::{
    error::{LocalError, Result},
    operator::{end, is_up},
    options::Options,
    store,
};

/// What a reset destroys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResetPlan {
    /// The folder of the local cloud that is reset.
    pub home: PathBuf,
    /// Whether the local cloud runs, and would be ended.
    pub running: bool,
    /// The instances that aren't terminated; those that run are ended.
    pub instances: Vec<String>,
    /// The images, the base aside, by id and name.
    pub images: Vec<ResetImage>,
    /// Whether there may be more instances and images, because their list can't be read.
    pub unreadable: bool,
    /// The folders that are deleted, with all in them.
    pub folders: Vec<ResetFolder>,
}

/// An image that a reset destroys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResetImage {
    /// Its id: `ami-…`.
    pub image: String,
    /// The name that its bake gave it.
    pub name: String,
}

/// A folder that a reset deletes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResetFolder {
    /// The whole path of the folder.
    pub path: PathBuf,
    /// What is in it.
    pub holds: String,
    /// What it takes of the disk, in bytes.
    pub bytes: u64,
}

impl ResetPlan {
    /// Looks; nothing is changed, and the local cloud may run or not.
    pub fn of(options: &Options) -> Result<Self> {
        let home = &options.home;
        // A world that can't be read is a reason for a reset, and must not stand in its way.
        let (known, unreadable) = match store::look(home) {
            Ok(None) => (None, false),
            Ok(Some(world)) => in_world(&world).map_or((None, true), |known| (Some(known), false)),
            Err(LocalError::Corrupt { .. }) => (None, true),
            Err(error) => return Err(error),
        };
        let (instances, images) = known.unwrap_or_default();
        let folders = home.forgotten().into_iter().filter(|(path, _)| path.exists());
        let folders = folders.map(|(path, holds)| {
            let bytes = size(&path).map_err(LocalError::io(format!("look through {}", path.display())))?;
            Ok(ResetFolder { path, holds: holds.to_owned(), bytes })
        });
        Ok(Self {
            home: home.root().to_owned(),
            running: is_up(home)?,
            instances,
            images,
            unreadable,
            folders: folders.collect::<Result<_>>()?,
        })
    }

    /// Whether there is nothing to destroy.
    pub fn is_empty(&self) -> bool {
        !self.running && self.folders.is_empty()
    }
}

/// What the home of a local cloud takes of the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskUse {
    /// The home.
    pub home: PathBuf,
    /// Its folders, in bytes.
    pub folders: Vec<ResetFolder>,
    /// All of it, in bytes.
    pub bytes: u64,
}

/// What a home takes of the disk; nothing is changed, and the local cloud may run or not.
pub fn disk_use(options: &Options) -> Result<DiskUse> {
    let home = &options.home;
    let holds = home.forgotten().into_iter().chain(home.kept());
    let folders = holds.filter(|(path, _)| path.exists()).map(|(path, holds)| {
        let bytes = size(&path).map_err(LocalError::io(format!("look through {}", path.display())))?;
        Ok(ResetFolder { path, holds: holds.to_owned(), bytes })
    });
    let folders = folders.collect::<Result<Vec<_>>>()?;
    let bytes = folders.iter().map(|folder| folder.bytes).sum();
    Ok(DiskUse { home: home.root().to_owned(), folders, bytes })
}

/// Ends the local cloud if it runs, and forgets every image, bucket and table; bases and the operator's key stay.
pub async fn reset(options: &Options) -> Result<()> {
    // Held until all is gone: none shall come up in a home that is half forgotten.
    let (_ran, _lock) = end(options).await?;
    options.home.forget()
}

fn in_world(world: &World) -> Result<(Vec<String>, Vec<ResetImage>), ApiError> {
    let instances = world.describe_instances(Timestamp::now(), &[], &[], &Paging::default())?.items;
    let alive = instances.iter().filter(|instance| instance.state != InstanceState::Terminated);
    let own = DescribeImages { owners: vec!["self".into()], ..DescribeImages::default() };
    let images = world.describe_images(&own)?.items;
    let images =
        images.iter().map(|image| ResetImage { image: image.id.to_string(), name: image.name.to_string() });
    Ok((alive.map(|instance| instance.id.to_string()).collect(), images.collect()))
}

/// What a folder takes of the disk. What disappears meanwhile takes nothing.
fn size(path: &Path) -> io::Result<u64> {
    let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let about = match fs::symlink_metadata(path) {
        Ok(about) => about,
        Err(error) if gone(&error) => return Ok(0),
        Err(error) => return Err(error),
    };
    let own = about.blocks().saturating_mul(512);
    if !about.is_dir() {
        return Ok(own);
    }
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if gone(&error) => return Ok(own),
        Err(error) => return Err(error),
    };
    entries.into_iter().try_fold(own, |sum, entry| match entry {
        Ok(entry) => Ok(sum.saturating_add(size(&entry.path())?)),
        Err(error) if gone(&error) => Ok(sum),
        Err(error) => Err(error),
    })
}
