//! The recipe's files on the builder, compared with what was pushed.
//!
//! The bucket is not believed: the image's digest was made of these files, so they must be these files.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use anyhow::{Context as _, Result, bail, ensure};
use ovenbird_core::{
    domain::id::Digest,
    store::recipes::{FileFacts, Files, files_digest},
};

use crate::{fetch, machine::Machine};

/// Lets other users of the machine through to the recipe's files, and to nothing else of the runner's.
///
/// A step may give its rights up for its own user's (`runuser`, `sudo -u`, Puppet's `exec`), and its working folder is
/// there. Whoever may pass through a folder, but not list it, reaches only what its own mode lets him.
pub fn open_way(machine: &Machine) -> Result<()> {
    fs::create_dir_all(machine.own(""))?;
    fs::set_permissions(machine.own(""), Permissions::from_mode(0o711))?;
    for private in PRIVATE {
        match fs::set_permissions(machine.own(private), Permissions::from_mode(0o600)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| private.to_owned());
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// The plan has URLs by which anybody could report in this machine's name; reports have outputs of root's.
const PRIVATE: [&str; 4] = ["plan.json", "report.json", "test-report.json", "junit.xml"];

/// Refuses files that are not those of this digest: by path, content and mode.
pub fn check(folder: &Path, wanted: &Digest) -> Result<()> {
    let mut files = Files::new();
    collect(folder, folder, &mut files)?;
    let seen = files_digest(&files);
    ensure!(
        seen == *wanted,
        "the {} files in the bundle have the digest {seen} and should have {wanted}: they are not what was pushed. Push \
         the recipe again, and see who else may write `recipes/` of the bucket",
        files.len()
    );
    Ok(())
}

fn collect(root: &Path, folder: &Path, files: &mut Files) -> Result<()> {
    let mut empty = true;
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
        empty = false;
        if kind.is_dir() {
            collect(root, &path, files)?;
            continue;
        }
        let name = path.strip_prefix(root).unwrap_or(&path);
        let Some(name) = name.to_str().filter(|_| kind.is_file()) else {
            bail!("`{}` is no plain file", name.display());
        };
        let mode = fs::metadata(&path)?.permissions().mode() & 0o7777;
        files.insert(name.to_owned(), FileFacts { sha256: fetch::sha256(&path)?, mode });
    }
    // Folders are in no digest: they are there for their files alone.
    ensure!(!empty, "folder `{}` of the bundle is empty, and nobody pushed it", folder.display());
    Ok(())
}
