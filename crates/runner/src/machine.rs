//! Where things are on the machine; a test gives another root.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use ovenbird_core::plan::{FOLDER, Plan};
use serde::Serialize;

/// A machine, by its root.
#[derive(Debug)]
pub struct Machine {
    root: PathBuf,
}

impl Machine {
    pub fn new(root: &str) -> Self {
        Self { root: root.into() }
    }

    /// Whether this is the machine itself and not a test's folder.
    pub fn is_real(&self) -> bool {
        self.root == Path::new("/")
    }

    /// An absolute path of the machine.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A path in the runner's own folder.
    pub fn own(&self, name: &str) -> PathBuf {
        self.path(FOLDER).join(name)
    }

    pub fn plan(&self) -> Result<Plan> {
        let path = self.own("plan.json");
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_str(&text).context("the plan is of another version")
    }

    /// Writes a report whole or not at all.
    pub fn write_report(&self, name: &str, report: &impl Serialize) -> Result<PathBuf> {
        let (path, part) = (self.own(name), self.own(&format!("{name}.part")));
        fs::write(&part, serde_json::to_vec(report)?).with_context(|| format!("write {}", part.display()))?;
        fs::rename(&part, &path)?;
        Ok(path)
    }
}

/// Removes a file or folder; one that isn't there is no error.
pub fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(file) if file.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
