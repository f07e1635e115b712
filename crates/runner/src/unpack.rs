//! Unpacking archives that somebody uploaded: an entry that leaves its folder, links or makes a device is refused.

use std::{
    fs::{self, File},
    io::{Read, Seek as _, SeekFrom},
    path::{Component, Path},
};

use anyhow::{Context as _, Result, bail, ensure};
use flate2::read::GzDecoder;
use tar::{Archive, EntryType};

/// Unpacks a `tar` or `tar.gz` into a folder. Every entry is judged before the first is written.
pub fn unpack(archive: &Path, folder: &Path) -> Result<()> {
    for entry in Archive::new(open(archive)?).entries()? {
        let entry = entry.context("no tar archive")?;
        let path = entry.path()?.into_owned();
        let kind = entry.header().entry_type();
        let plain = matches!(kind, EntryType::Regular | EntryType::Directory | EntryType::Continuous);
        ensure!(plain, "{} is a {kind:?}: only files and folders are unpacked", path.display());
        let inside = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        ensure!(inside, "{} would leave the folder", path.display());
    }
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let mut archive = Archive::new(open(archive)?);
    archive.set_preserve_permissions(true);
    for entry in archive.entries()? {
        let mut entry = entry?;
        if !entry.unpack_in(folder)? {
            bail!("{} would leave the folder", entry.path()?.display());
        }
    }
    Ok(())
}

fn open(archive: &Path) -> Result<Box<dyn Read>> {
    let mut file = File::open(archive).with_context(|| format!("open {}", archive.display()))?;
    let mut magic = [0; 2];
    let read = file.read(&mut magic)?;
    file.seek(SeekFrom::Start(0))?;
    let gzip = read == 2 && magic == [0x1f, 0x8b];
    Ok(if gzip { Box::new(GzDecoder::new(file)) } else { Box::new(file) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tar::{Builder, Header};

    fn archive(entries: &[(&str, EntryType)]) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar");
        let mut builder = Builder::new(File::create(&path).unwrap());
        for (name, kind) in entries {
            let mut header = Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_size(0);
            header.set_mode(0o644);
            // The library refuses such names itself: the bytes are set past it.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            if *kind == EntryType::Symlink {
                header.set_link_name("/etc/passwd").unwrap();
            }
            header.set_cksum();
            builder.append(&header, std::io::empty()).unwrap();
        }
        builder.finish().unwrap();
        (folder, path)
    }

    #[test]
    fn plain_files_are_unpacked() {
        let (folder, path) = archive(&[("a/b.txt", EntryType::Regular)]);
        unpack(&path, &folder.path().join("to")).unwrap();
        assert!(folder.path().join("to/a/b.txt").is_file());
    }

    #[test]
    fn whatever_would_leave_the_folder_is_refused_before_anything_is_written() {
        for bad in [
            ("../evil", EntryType::Regular),
            ("/etc/evil", EntryType::Regular),
            ("a/../../evil", EntryType::Regular),
            ("link", EntryType::Symlink),
            ("device", EntryType::Char),
        ] {
            let (folder, path) = archive(&[("good", EntryType::Regular), bad]);
            assert!(unpack(&path, &folder.path().join("to")).is_err(), "{bad:?}");
            assert!(!folder.path().join("to/good").exists(), "{bad:?}");
        }
    }
}
