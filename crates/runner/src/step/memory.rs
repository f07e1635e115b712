//! A file in memory, for a secret that a tool wants to read from a file.
//!
//! A pipe (`/dev/fd/…`) would have no name at all, but Ansible before 2.8 resolves the path it is given to one that
//! can't be opened. A file of a `tmpfs` works with every version, is on no disk and in no snapshot, can be read by
//! root only, and is gone with the step; whatever happens to this program, it is gone with the machine's power.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use secrecy::{ExposeSecret as _, SecretString};

use crate::machine::remove;

/// Where Linux has memory for files.
const FOLDERS: [&str; 2] = ["/run", "/dev/shm"];

/// The file; it is removed when this goes.
#[derive(Debug)]
pub struct MemoryFile(PathBuf);

impl MemoryFile {
    pub fn new(name: &str, secret: &SecretString) -> Result<Self> {
        let name = format!("ovenbird-{}-{name}", std::process::id());
        for folder in FOLDERS.map(Path::new) {
            if !statfs(folder).is_ok_and(|kind| kind.filesystem_type() == TMPFS_MAGIC) {
                continue;
            }
            let path = folder.join(&name);
            if remove(&path).is_err() {
                continue;
            }
            let Ok(mut file) = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) else {
                continue;
            };
            let this = Self(path);
            file.write_all(secret.expose_secret().as_bytes()).context("write a secret to memory")?;
            return Ok(this);
        }
        bail!("neither {} is a `tmpfs`, and a secret goes to no disk", FOLDERS.join(" nor "))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        // It was ours alone; gone already is what is wanted.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_is_one_s_own_and_goes() {
        let file = MemoryFile::new("test", &"hunter2".into()).unwrap();
        let path = file.path().to_owned();
        assert_eq!(fs::read_to_string(&path).unwrap(), "hunter2");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(file);
        assert!(!path.exists());
    }
}
