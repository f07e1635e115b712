//! `ovenbird recipe pull`: a version that was pushed, as files again.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _},
    path::{Component, Path, PathBuf},
};

use flate2::read::GzDecoder;
use ovenbird_core::{
    Error, Result,
    domain::{
        digest,
        id::{Digest, PipelineName},
    },
    store::{
        keys,
        recipes::{self, Files},
    },
};
use serde::Serialize;

use super::history::{SHORT, meant};
use crate::target::Deployment;

/// No bundle that was pushed is larger when it is unpacked: a bucket that somebody else writes to fills no disk.
const LARGEST: u64 = 1 << 30;

/// What was written.
#[derive(Debug, Serialize)]
pub struct Pulled {
    /// The version.
    version: Digest,
    /// Where it is now.
    folder: PathBuf,
    /// How many files are beside it.
    files: usize,
}

impl Pulled {
    /// For people.
    pub fn text(&self) -> String {
        let (count, version) = (self.files, &self.version.as_str()[..SHORT]);
        let files = super::files(count);
        format!("wrote version {version} to {}: recipe.toml and {files}", self.folder.display())
    }
}

/// Writes a version into a folder that has no recipe yet; without one that is named, the current version.
pub async fn pull(
    deployment: &Deployment,
    pipeline: &PipelineName,
    wanted: Option<&str>,
    folder: &Path,
) -> Result<Pulled> {
    let wanted = meant(deployment, pipeline, wanted).await?;
    let (pointer, text) = recipes::recipe_text(&deployment.cloud, pipeline, &wanted).await?;
    let files = recipes::files(&deployment.cloud, pipeline, &pointer).await?;
    let mut contents = BTreeMap::new();
    if let Some(sha256) = &pointer.bundle {
        let archive = deployment.cloud.bytes(&keys::bundle(pipeline, &wanted)).await?.unwrap_or_default();
        if digest::sha256(&archive) != *sha256 {
            return Err(recipes::changed(pipeline, &wanted, "the archive of its files"));
        }
        let broken = |_| recipes::changed(pipeline, &wanted, "the archive of its files");
        contents = unpacked(&archive).map_err(broken)?;
        // What the version's hash says of the files is believed, and nothing that the archive says beside it.
        let whole = files.len() == contents.len()
            && files.iter().all(|(path, facts)| {
                contents.get(path).is_some_and(|bytes| digest::sha256(bytes) == facts.sha256)
            });
        if !whole {
            return Err(recipes::changed(pipeline, &wanted, "the archive of its files"));
        }
    }
    write(folder, &text, &contents, &files)?;
    Ok(Pulled { version: wanted, folder: folder.to_owned(), files: files.len() })
}

/// The plain files of an archive, by their path.
fn unpacked(archive: &[u8]) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut archive = tar::Archive::new(GzDecoder::new(archive).take(LARGEST));
    for entry in archive.entries()? {
        let mut entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path()?.into_owned();
        let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        let name = path.to_str().filter(|_| plain);
        let name = name.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a path that climbs"))?;
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        files.insert(name.to_owned(), bytes);
    }
    Ok(files)
}

/// Writes a recipe and its files; nothing that is there is written over.
fn write(folder: &Path, text: &str, contents: &BTreeMap<String, Vec<u8>>, files: &Files) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let there = std::iter::once("recipe.toml").chain(contents.keys().map(String::as_str));
    for name in there {
        if folder.join(name).symlink_metadata().is_ok() {
            return Err(Error::bad_input(
                format!("file `{}`", folder.join(name).display()),
                "is there already, and nothing is written over",
                "Name an empty folder: `--to FOLDER`",
            ));
        }
    }
    let put = |name: &str, bytes: &[u8], mode: u32| -> io::Result<()> {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&path)?;
        io::Write::write_all(&mut file, bytes)
    };
    let written = put("recipe.toml", text.as_bytes(), 0o644).and_then(|()| {
        contents.iter().try_for_each(|(name, bytes)| {
            let mode = files.get(name).map_or(0o644, |facts| facts.mode & 0o777);
            put(name, bytes, mode)
        })
    });
    written.map_err(|error| {
        let fix = "Name a folder that you may write to: `--to FOLDER`";
        Error::bad_input(format!("folder `{}`", folder.display()), error.to_string(), fix)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (BTreeMap<String, Vec<u8>>, Files) {
        let contents = BTreeMap::from([("a/run.sh".to_owned(), b"#!/bin/sh\n".to_vec())]);
        let facts = recipes::FileFacts { sha256: digest::sha256(b"#!/bin/sh\n"), mode: 0o755 };
        (contents, Files::from([("a/run.sh".to_owned(), facts)]))
    }

    #[test]
    fn what_is_pulled_is_what_was_pushed_and_overwrites_nothing() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let (contents, files) = sample();
        write(folder.path(), "pipeline = \"a\"\n", &contents, &files).unwrap();
        let script = folder.path().join("a/run.sh");
        assert_eq!(fs::read(&script).unwrap(), b"#!/bin/sh\n");
        assert_eq!(fs::metadata(&script).unwrap().permissions().mode() & 0o777, 0o755);
        fs::remove_file(folder.path().join("recipe.toml")).unwrap();
        // The file beside it is left, and would be written over.
        let error = write(folder.path(), "other", &contents, &files).unwrap_err();
        assert!(error.to_string().contains("run.sh") && error.to_string().contains("already"), "{error}");
        assert!(!folder.path().join("recipe.toml").exists(), "half of it was written");
    }

    #[test]
    fn an_archive_that_climbs_is_refused() {
        let mut archive =
            tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        header.set_mode(0o644);
        // `tar` itself refuses to write such a path.
        header.as_old_mut().name[..7].copy_from_slice(b"../evil");
        header.set_cksum();
        archive.append(&header, &b"x"[..]).unwrap();
        let bytes = archive.into_inner().unwrap().finish().unwrap();
        assert!(unpacked(&bytes).is_err());
    }
}
