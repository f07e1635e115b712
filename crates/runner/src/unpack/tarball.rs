//! `tar`, as it is or compressed by gzip.

use std::{
    fs::{self, File},
    io::{BufReader, Read, Seek as _, SeekFrom},
    path::Path,
};

use anyhow::{Context as _, Result, bail, ensure};
use flate2::read::MultiGzDecoder;
use tar::{Archive, EntryType};

use super::{Limits, SPECIAL_BITS, Tally, inside};

pub fn unpack(mut file: File, gzip: bool, folder: &Path, limits: Limits) -> Result<()> {
    let mut tally = Tally::new(limits);
    for entry in Archive::new(reader(&mut file, gzip)?).entries()? {
        let entry = entry.context("it is neither a tar, tar.gz nor zip archive, or it is broken")?;
        tally.entry()?;
        let path = entry.path()?.into_owned();
        let kind = entry.header().entry_type();
        let plain = matches!(kind, EntryType::Regular | EntryType::Directory | EntryType::Continuous);
        ensure!(plain, "`{}` is a {kind:?}: only files and folders are unpacked", path.display());
        inside(&path)?;
        // Before the entry is read over: what a header promises is what unpacking would write.
        tally.bytes(entry.size())?;
    }
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let mut archive = Archive::new(reader(&mut file, gzip)?);
    archive.set_preserve_permissions(true);
    archive.set_mask(SPECIAL_BITS);
    for entry in archive.entries()? {
        let mut entry = entry?;
        if !entry.unpack_in(folder)? {
            bail!("`{}` would leave the folder", entry.path()?.display());
        }
    }
    Ok(())
}

/// From the beginning; a gzip file may have several members, one after the other.
fn reader(file: &mut File, gzip: bool) -> Result<Box<dyn Read + '_>> {
    file.seek(SeekFrom::Start(0))?;
    let file = BufReader::with_capacity(1 << 16, file);
    Ok(if gzip { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) })
}
