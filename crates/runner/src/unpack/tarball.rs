//! `tar`, as it is or compressed by gzip.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufReader, Read, Seek as _, SeekFrom},
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use flate2::read::MultiGzDecoder;
use sha2::{Digest as _, Sha256};
use tar::{Archive, EntryType};

use super::{
    Facts, Limits, Tally, Target, Writer,
    budget::{Budget, Within},
    inside,
};

/// What may stand between two files: their headers, long names, and the blocks of a sparse file. The library reads it
/// into memory before anybody sees it, and a gigabyte of it compresses to a megabyte.
const BETWEEN: u64 = 1 << 20;

/// What an entry is to us.
enum Kind {
    File,
    Sparse,
    Folder,
    /// Another name of a file before it.
    Link(PathBuf),
    /// Says something of the archive, which is nothing to us: git writes its commit there.
    Remark,
}

/// One entry, judged by itself.
struct Entry {
    name: PathBuf,
    kind: Kind,
    size: u64,
    mode: u32,
    modified: SystemTime,
}

pub fn unpack(mut file: File, gzip: bool, target: &Target<'_>, limits: Limits) -> Result<()> {
    let mut links = judge(&mut file, gzip, limits)?;
    let mut tally = Tally::new(limits);
    let mut writer = Writer::new(target)?;
    walk(&mut file, gzip, |entry, content| {
        let Entry { name, mode, modified, .. } = &entry;
        let mut facts = Facts { name, mode: *mode, modified: Some(*modified), holes: false };
        let written = match &entry.kind {
            Kind::Remark => return Ok(()),
            Kind::Folder => return writer.folder(name, *mode),
            Kind::File => writer.file(&facts, content, &mut tally)?,
            Kind::Sparse => {
                facts.holes = true;
                writer.file(&facts, content, &mut tally)?
            }
            Kind::Link(to) => {
                let mut original = writer.read(to)?;
                let there = original.metadata()?;
                // Somebody who may write in the folder could have put another file in its place.
                let same = links.get(&key(to)) == Some(&Some((there.dev(), there.ino())));
                ensure!(same, "`{}` in {} was changed while it was unpacked", to.display(), writer.shown());
                facts.mode = there.mode();
                facts.holes = true;
                writer.file(&facts, &mut original, &mut tally)?
            }
        };
        if let Some(identity) = links.get_mut(&key(name)) {
            let written = written.metadata()?;
            *identity = Some((written.dev(), written.ino()));
        }
        Ok(())
    })
}

/// What hard links lead to, by the hash of its name, and which file that turned out to be: device and inode.
type Links = HashMap<Key, Option<(u64, u64)>>;

/// The SHA-256 of a name: of a million names, that is all there is room for.
type Key = [u8; 32];

/// Judges every entry. What is kept of each file is small, so that no archive fills the memory.
fn judge(file: &mut File, gzip: bool, limits: Limits) -> Result<Links> {
    let mut tally = Tally::new(limits);
    let mut sizes: HashMap<Key, u64> = HashMap::new();
    let mut links = Links::new();
    walk(file, gzip, |entry, content| {
        tally.entry()?;
        let size = match &entry.kind {
            Kind::Folder | Kind::Remark => return Ok(()),
            Kind::File | Kind::Sparse => entry.size,
            Kind::Link(to) => {
                let size = sizes.get(&key(to)).with_context(|| {
                    format!(
                        "`{}` is a hard link to `{}`, which is no file before it in the archive: pack the file itself \
                         (`tar --hard-dereference`)",
                        entry.name.display(),
                        to.display()
                    )
                })?;
                links.insert(key(to), None);
                *size
            }
        };
        // Before the entry is read over: what a header promises is what unpacking would write.
        tally.bytes(size)?;
        sizes.insert(key(&entry.name), size);
        io::copy(content, &mut io::sink()).with_context(broken)?;
        Ok(())
    })?;
    Ok(links)
}

fn key(name: &Path) -> Key {
    Sha256::digest(name.as_os_str().as_bytes()).into()
}

fn broken() -> String {
    "it is neither a tar, tar.gz nor zip archive, or it is broken".to_owned()
}

/// Goes through an archive from its beginning.
fn walk(
    file: &mut File,
    gzip: bool,
    mut visit: impl FnMut(Entry, &mut tar::Entry<'_, Within<Box<dyn Read + '_>>>) -> Result<()>,
) -> Result<()> {
    let budget = Budget::default();
    let what =
        "what stands between two files of the archive (names, attributes, the blocks of a sparse file)";
    let mut archive = Archive::new(Within { budget: budget.clone(), what, inner: reader(file, gzip)? });
    let mut entries = archive.entries()?;
    loop {
        budget.allow(BETWEEN);
        let Some(entry) = entries.next() else { return Ok(()) };
        let mut content = entry.with_context(broken)?;
        let entry = judged(&mut content)?;
        // Its content, whose size was told; and then what comes before the next one.
        budget.allow(u64::MAX);
        visit(entry, &mut content)?;
        // What nobody wanted of it is read over here, and not out of what the next header may take.
        io::copy(&mut content, &mut io::sink()).with_context(broken)?;
    }
}

/// What an entry is, and whether it can be one of ours.
fn judged<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<Entry> {
    let name = entry.path()?.into_owned();
    let header = entry.header();
    let size = entry.size();
    let modified = SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_secs(header.mtime().unwrap_or(0)))
        .unwrap_or(SystemTime::UNIX_EPOCH);
    let kind = header.entry_type();
    let shown = name.display().to_string();
    let kind = match kind {
        EntryType::XGlobalHeader => Kind::Remark,
        EntryType::Directory => Kind::Folder,
        // As the tar of old BSDs wrote folders.
        EntryType::Regular | EntryType::Continuous if entry.path_bytes().ends_with(b"/") => Kind::Folder,
        EntryType::Regular | EntryType::Continuous => Kind::File,
        EntryType::GNUSparse => Kind::Sparse,
        EntryType::Link => {
            let to = entry.link_name()?.ok_or_else(|| anyhow!("`{shown}` is a hard link to nothing"))?;
            Kind::Link(inside(&to)?)
        }
        EntryType::Symlink => bail!(
            "`{shown}` is a symbolic link, and only files, folders and hard links are unpacked: pack what it leads to \
             (`tar --dereference`), make the link in a `shell` step, or {}",
            super::BY_HAND
        ),
        EntryType::Char | EntryType::Block | EntryType::Fifo => bail!(
            "`{shown}` is a device or a named pipe, and only files, folders and hard links are unpacked: leave it out \
             (`tar --exclude`), and make it in a `shell` step"
        ),
        other => bail!(
            "`{shown}` is an entry of kind {:?}, and only files, folders and hard links are unpacked: pack it again \
             (`tar --format=pax`), or {}",
            char::from(other.as_byte()),
            super::BY_HAND
        ),
    };
    if let Kind::Remark = kind {
        ensure!(size <= BETWEEN, "its global header has {size} bytes: pack it again without that");
        return Ok(Entry { name, kind, size, mode: 0, modified });
    }
    let mode = header.mode()?;
    if let Some(extensions) = entry.pax_extensions()? {
        for extension in extensions {
            let sparse = extension?.key_bytes().starts_with(b"GNU.sparse.");
            ensure!(
                !sparse,
                "`{shown}` is a sparse file as `tar --format=pax --sparse` writes it: pack it with `--format=gnu`, or \
                 without `--sparse`"
            );
        }
    }
    Ok(Entry { name: inside(&name)?, kind, size, mode, modified })
}

/// From the beginning; a gzip file may have several members, one after the other.
fn reader(file: &mut File, gzip: bool) -> Result<Box<dyn Read + '_>> {
    file.seek(SeekFrom::Start(0))?;
    let file = BufReader::with_capacity(1 << 16, file);
    Ok(if gzip { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) })
}
