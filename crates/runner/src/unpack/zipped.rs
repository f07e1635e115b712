//! `zip`, and what is one by another name: `war`, `jar`, `ear`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use zip::{CompressionMethod, ZipArchive};

use super::{Limits, SPECIAL_BITS, Tally, create_below, inside};

/// The part of a mode that says what kind of thing it is, and the kinds that are unpacked.
const KIND: u32 = 0o170_000;
const FILE: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;

type Zip = ZipArchive<BufReader<File>>;

pub fn unpack(file: File, folder: &Path, limits: Limits) -> Result<()> {
    let mut zip = ZipArchive::new(BufReader::with_capacity(1 << 16, file)).context("read the zip archive")?;
    let mut promised = Tally::new(limits);
    for index in 0..zip.len() {
        judge(&mut zip, index, &mut promised)?;
    }
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    // What a directory promises is one thing, what comes out another: both are held to the limits.
    let mut seen = Tally::new(limits);
    for index in 0..zip.len() {
        write(&mut zip, index, folder, &mut seen)?;
    }
    Ok(())
}

fn judge(zip: &mut Zip, index: usize, tally: &mut Tally) -> Result<()> {
    tally.entry()?;
    let entry = zip.by_index_raw(index)?;
    let name = entry.name().context("an entry's name")?.into_owned();
    // Some packers write it for `/`; then it would become a part of a name here.
    ensure!(
        !name.contains('\\') && !name.contains('\0'),
        "`{name:?}` is no name: folders are separated by `/`"
    );
    inside(Path::new(&name))?;
    ensure!(!entry.encrypted(), "`{name}` is encrypted");
    let method = entry.compression();
    let known = matches!(method, CompressionMethod::Stored | CompressionMethod::Deflated);
    ensure!(known, "`{name}` is compressed by {method}: use deflate");
    let kind = entry.unix_mode().unwrap_or(0) & KIND;
    let plain = matches!((kind, entry.is_dir()), (0, _) | (FILE, false) | (FOLDER, true));
    ensure!(plain, "`{name}` is a link, a device or the like: only files and folders are unpacked");
    tally.bytes(entry.size())
}

fn write(zip: &mut Zip, index: usize, folder: &Path, tally: &mut Tally) -> Result<()> {
    let mut entry = zip.by_index(index)?;
    let name = PathBuf::from(entry.name()?.into_owned());
    let mode = entry.unix_mode().map(|mode| mode & 0o777 & !SPECIAL_BITS).filter(|mode| *mode != 0);
    if entry.is_dir() {
        let path = create_below(folder, &name)?;
        return Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode.unwrap_or(0o755)))?);
    }
    let Some(last) = name.file_name() else { bail!("`{}` names no file", name.display()) };
    let path = create_below(folder, name.parent().unwrap_or(Path::new("")))?.join(last);
    // A link that is there already is replaced, and not followed.
    if let Ok(there) = fs::symlink_metadata(&path) {
        ensure!(!there.is_dir(), "{} is there, and is a folder", path.display());
        fs::remove_file(&path)?;
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("create {}", path.display()))?;
    // One byte more than is left, to see that there is more.
    let left = tally.limits.bytes - tally.bytes;
    let written = io::copy(&mut entry.by_ref().take(left.saturating_add(1)), &mut file)
        .with_context(|| format!("unpack `{}`", name.display()))?;
    tally.bytes(written)?;
    Ok(fs::set_permissions(&path, fs::Permissions::from_mode(mode.unwrap_or(0o644)))?)
}
