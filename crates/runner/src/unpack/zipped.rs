//! `zip`, and what is one by another name: `war`, `jar`, `ear`.

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use zip::{CompressionMethod, ZipArchive};

use super::{
    BY_HAND, Facts, Limits, Tally, Target, Writer,
    budget::{Budget, Within},
    inside,
};

/// The part of a mode that says what kind of thing it is, and the kinds that are unpacked.
const KIND: u32 = 0o170_000;
const FILE: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;

/// So much of the archive's directory for each entry that it may have: the library holds the whole of it in memory
/// before anybody can count.
const DIRECTORY: u64 = 128;

type Zip = ZipArchive<Within<BufReader<File>>>;

pub fn unpack(file: File, target: &Target<'_>, limits: Limits) -> Result<()> {
    let budget = Budget::default();
    budget.allow((limits.entries * DIRECTORY).max(1 << 20));
    let inner = BufReader::with_capacity(1 << 16, file);
    let reader = Within { budget: budget.clone(), what: "the archive's directory", inner };
    let mut zip = ZipArchive::new(reader).context("read the zip archive")?;
    budget.allow(u64::MAX);
    let mut promised = Tally::new(limits);
    for index in 0..zip.len() {
        judge(&mut zip, index, &mut promised)?;
    }
    let mut writer = Writer::new(target)?;
    // What a directory promises is one thing, what comes out another: both are held to the limits.
    let mut seen = Tally::new(limits);
    for index in 0..zip.len() {
        write(&mut zip, index, &mut writer, &mut seen)?;
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
        "`{name:?}` is no name: folders are separated by `/`. Pack it with another program, such as `zip -r`"
    );
    inside(Path::new(&name))?;
    ensure!(!entry.encrypted(), "`{name}` is encrypted: pack it without a password");
    let method = entry.compression();
    let known = matches!(method, CompressionMethod::Stored | CompressionMethod::Deflated);
    ensure!(known, "`{name}` is compressed by {method}: use deflate (`zip -Z deflate`)");
    let kind = entry.unix_mode().unwrap_or(0) & KIND;
    let plain = matches!((kind, entry.is_dir()), (0, _) | (FILE, false) | (FOLDER, true));
    ensure!(
        plain,
        "`{name}` is a link, a device or the like, and only files and folders are unpacked: pack what it leads to (`zip \
         -r` without `-y`), make the link in a `shell` step, or {BY_HAND}"
    );
    tally.bytes(entry.size())
}

fn write(zip: &mut Zip, index: usize, writer: &mut Writer<'_>, tally: &mut Tally) -> Result<()> {
    let mut entry = zip.by_index(index)?;
    let name: PathBuf = inside(Path::new(entry.name()?.as_ref()))?;
    let mode = entry.unix_mode().map(|mode| mode & 0o777).filter(|mode| *mode != 0);
    if entry.is_dir() {
        return writer.folder(&name, mode.unwrap_or(0o755));
    }
    let facts = Facts { name: &name, mode: mode.unwrap_or(0o644), modified: None, holes: false };
    writer.file(&facts, &mut entry, tally).map(drop)
}
