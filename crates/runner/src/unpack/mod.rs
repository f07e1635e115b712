//! Unpacking archives that somebody uploaded.
//!
//! Whoever may upload doesn't thereby become root on the machine, and can't fill its memory or disk. Every entry is
//! judged before the first is written, and no more of an archive is held in memory than a name.

mod budget;
mod tarball;
#[cfg(test)]
mod tests;
mod zipped;

use std::{
    fs::File,
    io::{self, Read, Seek as _, SeekFrom, Write as _},
    path::{Component, Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::folder::{Folder, Owner};

/// What an archive may unpack to.
#[derive(Debug, Clone, Copy)]
struct Limits {
    bytes: u64,
    entries: u64,
}

/// More than any artifact, and less than what harms. `docs/recipe.md` names both.
const LIMITS: Limits = Limits { bytes: 20 << 30, entries: 500_000 };

/// The permission bits that an entry keeps: none that makes its program another user's, and none that lets everybody
/// write what is root's.
const MODE: u32 = 0o755;

/// What to do about an archive that can't be unpacked here.
const BY_HAND: &str = "give it a place by `artifact = { to = … }` and unpack it in a `shell` step";

/// Where an archive goes.
#[derive(Debug)]
pub struct Target<'a> {
    /// The machine's root.
    pub root: &'a Path,
    /// The folder on it; it is made when it isn't there.
    pub folder: &'a Path,
    /// Whose everything is that is unpacked.
    pub owner: Owner,
}

/// Unpacks a `tar`, `tar.gz` or `zip` (`war`, `jar`) into a folder. Every entry is judged before the first is written.
pub fn unpack(archive: &Path, target: &Target<'_>) -> Result<()> {
    unpack_within(archive, target, LIMITS)
}

fn unpack_within(archive: &Path, target: &Target<'_>, limits: Limits) -> Result<()> {
    let mut file = File::open(archive).with_context(|| format!("open {}", archive.display()))?;
    let mut magic = Vec::new();
    (&file).take(6).read_to_end(&mut magic)?;
    file.seek(SeekFrom::Start(0))?;
    match magic.as_slice() {
        // The second is a zip of nothing.
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => zipped::unpack(file, target, limits),
        [0x1f, 0x8b, ..] => tarball::unpack(file, true, target, limits),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => bail!("it is compressed by xz: use gzip, or a zip archive"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => bail!("it is compressed by zstd: use gzip, or a zip archive"),
        [b'B', b'Z', b'h', ..] => bail!("it is compressed by bzip2: use gzip, or a zip archive"),
        _ => tarball::unpack(file, false, target, limits),
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
        ensure!(self.entries <= most, "it has more than {most} entries, and no more are unpacked: {BY_HAND}");
        Ok(())
    }

    fn bytes(&mut self, count: u64) -> Result<()> {
        self.bytes = self.bytes.saturating_add(count);
        let most = self.limits.bytes;
        ensure!(
            self.bytes <= most,
            "it unpacks to more than {most} bytes, and no more are unpacked: {BY_HAND}"
        );
        Ok(())
    }

    fn left(&self) -> u64 {
        self.limits.bytes - self.bytes
    }
}

/// Judges an entry's name; gives it without the parts that say nothing.
fn inside(name: &Path) -> Result<PathBuf> {
    let hint = "pack it with names that are relative to the folder (`tar -C FOLDER -czf ARCHIVE .`)";
    ensure!(!name.as_os_str().is_empty(), "it has an entry without a name: {hint}");
    let mut plain = PathBuf::new();
    for part in name.components() {
        match part {
            Component::Normal(part) => plain.push(part),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                bail!("`{}` would leave the folder: {hint}", name.display())
            }
        }
    }
    Ok(plain)
}

/// Writes entries below the target's folder.
struct Writer<'t> {
    folder: Folder,
    owner: Owner,
    /// The folder of the last file, which is most often that of the next one.
    last: Option<(PathBuf, Folder)>,
    target: &'t Target<'t>,
}

/// An entry's file, but for its content.
struct Facts<'e> {
    name: &'e Path,
    mode: u32,
    modified: Option<SystemTime>,
    /// Whether runs of zeros become holes.
    holes: bool,
}

impl<'t> Writer<'t> {
    fn new(target: &'t Target<'t>) -> Result<Self> {
        let folder = Folder::create(target.root, target.folder)?;
        folder.dress(None, target.owner)?;
        Ok(Self { folder, owner: target.owner, last: None, target })
    }

    /// Makes a folder. The archive's own is there already, with the permissions that it should have.
    fn folder(&mut self, name: &Path, mode: u32) -> Result<()> {
        if name.as_os_str().is_empty() {
            return Ok(());
        }
        self.parents(name)?;
        self.folder.below(name)?.dress(Some(mode & MODE), self.owner)
    }

    /// Writes a file, and at most as much as the tally has left; gives the file.
    fn file(&mut self, facts: &Facts<'_>, content: &mut impl Read, tally: &mut Tally) -> Result<File> {
        let Some(last) = facts.name.file_name() else { bail!("`{}` names no file", facts.name.display()) };
        let parent = facts.name.parent().unwrap_or(Path::new(""));
        self.parents(facts.name)?;
        let folder = match self.last.take() {
            Some((path, folder)) if path == parent => folder,
            _ => self.folder.below(parent)?,
        };
        let (_, folder) = self.last.insert((parent.to_owned(), folder));
        let mut part = folder.begin()?;
        // One byte more than is left, to see that there is more.
        let content = content.take(tally.left().saturating_add(1));
        let shown = || format!("unpack `{}`", facts.name.display());
        let written = copy(content, &mut part.file, facts.holes).with_context(shown)?;
        tally.bytes(written)?;
        if let Some(modified) = facts.modified {
            part.file.set_modified(modified).with_context(shown)?;
        }
        part.finish(last, facts.mode & MODE, self.owner).with_context(shown)
    }

    /// Gives the folders that an entry is in to the owner: an archive need not name them.
    fn parents(&self, name: &Path) -> Result<()> {
        if self.owner == Owner::default() {
            return Ok(());
        }
        let above: Vec<&Path> =
            name.ancestors().skip(1).filter(|path| !path.as_os_str().is_empty()).collect();
        above.into_iter().rev().try_for_each(|path| self.folder.below(path)?.dress(None, self.owner))
    }

    /// A file that was unpacked before.
    fn read(&self, name: &Path) -> Result<File> {
        let Some(last) = name.file_name() else { bail!("`{}` names no file", name.display()) };
        self.folder.below(name.parent().unwrap_or(Path::new("")))?.read(last)
    }

    fn shown(&self) -> String {
        self.target.folder.display().to_string()
    }
}

/// Copies a content; where nothing but zeros comes, it may leave a hole.
fn copy(mut content: impl Read, file: &mut File, holes: bool) -> io::Result<u64> {
    if !holes {
        return io::copy(&mut content, file);
    }
    let mut buffer = vec![0; 1 << 16];
    let mut written = 0;
    loop {
        let count = match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if buffer[..count].iter().all(|byte| *byte == 0) {
            file.seek(SeekFrom::Current(i64::try_from(count).unwrap_or(i64::MAX)))?;
        } else {
            file.write_all(&buffer[..count])?;
        }
        written += count as u64;
    }
    file.set_len(written)?;
    Ok(written)
}
