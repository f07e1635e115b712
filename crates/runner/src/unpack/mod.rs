//! Unpacking archives that somebody uploaded: an entry that leaves its folder, links or makes a device is refused,
//! and so is an archive that would fill the disk.

mod tarball;
#[cfg(test)]
mod tests;
mod zipped;

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    path::{Component, Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};

/// What an archive may unpack to.
#[derive(Debug, Clone, Copy)]
struct Limits {
    bytes: u64,
    entries: u64,
}

/// More than any artifact, and less than what harms.
const LIMITS: Limits = Limits { bytes: 20 << 30, entries: 1_000_000 };

/// Set-user-id and the like: whoever may upload an artifact doesn't thereby become root on its machines.
const SPECIAL_BITS: u32 = 0o7000;

/// Unpacks a `tar`, `tar.gz` or `zip` (`war`, `jar`) into a folder. Every entry is judged before the first is written.
pub fn unpack(archive: &Path, folder: &Path) -> Result<()> {
    unpack_within(archive, folder, LIMITS)
}

fn unpack_within(archive: &Path, folder: &Path, limits: Limits) -> Result<()> {
    let mut file = File::open(archive).with_context(|| format!("open {}", archive.display()))?;
    let mut magic = Vec::new();
    file.by_ref().take(6).read_to_end(&mut magic)?;
    file.seek(SeekFrom::Start(0))?;
    match magic.as_slice() {
        // The second is a zip of nothing.
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => zipped::unpack(file, folder, limits),
        [0x1f, 0x8b, ..] => tarball::unpack(file, true, folder, limits),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => bail!("it is compressed by xz: use gzip, or a zip archive"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => bail!("it is compressed by zstd: use gzip, or a zip archive"),
        [b'B', b'Z', b'h', ..] => bail!("it is compressed by bzip2: use gzip, or a zip archive"),
        _ => tarball::unpack(file, false, folder, limits),
    }
}

/// What was seen of an archive so far.
#[derive(Debug)]
struct Tally {
    limits: Limits,
    bytes: u64,
    entries: u64,
}

impl Tally {
    fn new(limits: Limits) -> Self {
        Self { limits, bytes: 0, entries: 0 }
    }

    fn entry(&mut self) -> Result<()> {
        self.entries += 1;
        let most = self.limits.entries;
        ensure!(self.entries <= most, "it has more than {most} entries, and no more are unpacked");
        Ok(())
    }

    fn bytes(&mut self, count: u64) -> Result<()> {
        self.bytes = self.bytes.saturating_add(count);
        let most = self.limits.bytes;
        ensure!(self.bytes <= most, "it unpacks to more than {most} bytes, and no more are unpacked");
        Ok(())
    }
}

/// Judges an entry's name.
fn inside(name: &Path) -> Result<()> {
    let plain = name.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    ensure!(plain && !name.as_os_str().is_empty(), "`{}` would leave the folder", name.display());
    Ok(())
}

/// Creates a folder below another, and every one between; what is there already and links is refused.
fn create_below(folder: &Path, name: &Path) -> Result<PathBuf> {
    let mut path = folder.to_owned();
    for part in name.components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::CurDir => continue,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                bail!("`{}` would leave the folder", name.display())
            }
        }
        match fs::symlink_metadata(&path) {
            Ok(there) => ensure!(there.is_dir(), "{} is there, and is no folder", path.display()),
            Err(_) => fs::create_dir(&path).with_context(|| format!("create {}", path.display()))?,
        }
    }
    Ok(path)
}
