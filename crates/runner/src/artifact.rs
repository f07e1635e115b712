//! The artifact: fetched to our own folder, checked there, and only then put in its place.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

use anyhow::{Context as _, Result};
use ovenbird_core::domain::{
    plan::{Download, FOLDER},
    recipe::{Artifact, HEAD, Head, Placement},
};

use crate::{
    fetch,
    folder::{Folder, Owner, dress},
    machine::Machine,
    owner,
    unpack::{self, Target},
};

/// A folder of our own, closed to others: an artifact may be for its owner's eyes alone.
const FETCHED: &str = "fetched";
const NAME: &str = "artifact";

/// Fetches the artifact, and puts it in its place whole or not at all; gives what there is to say about it.
pub fn place(machine: &Machine, download: &Download, artifact: &Artifact) -> Result<String> {
    let fetched = machine.own_folder(FETCHED)?.join(NAME);
    fetch::download(download, &fetched).context("fetch the artifact")?;
    let owner = owner::find(machine, artifact.owner.as_deref()).context("place the artifact")?;
    match &artifact.place {
        Placement::To(path) => {
            let (mode, said) = match artifact.mode {
                Some(mode) => (mode, String::new()),
                None => guess(&fetched, path)?,
            };
            put(machine, Path::new(path), mode, owner).context("place the artifact")?;
            Ok(said)
        }
        Placement::UnpackTo(path) => {
            let target = Target { root: &machine.path("/"), folder: Path::new(path), owner };
            unpack::unpack(&fetched, &target).context("unpack the artifact")?;
            fs::remove_file(&fetched)?;
            Ok(String::new())
        }
    }
}

/// The mode of an artifact that the recipe gives none: an upload has no permission bits, and a program without the right
/// to be executed is never what was meant.
fn guess(fetched: &Path, path: &str) -> Result<(u32, String)> {
    let mut bytes = Vec::new();
    File::open(fetched)?.take(HEAD as u64).read_to_end(&mut bytes)?;
    let head = Head::of(&bytes);
    if !head.is_program() {
        return Ok((0o644, String::new()));
    }
    let mut said = format!(
        "{path} is something to run, so its mode is 0755; `mode` in `[artifact]` gives it another one"
    );
    if let Some((what, hint)) = head.flaw() {
        said.push_str(&format!("\n{path} {what}: {hint}"));
    }
    Ok((0o755, said))
}

fn put(machine: &Machine, path: &Path, mode: u32, owner: Owner) -> Result<()> {
    let root = machine.path("/");
    let name = path.file_name().with_context(|| format!("`{}` names no file", path.display()))?;
    let folder = Folder::create(&root, path.parent().unwrap_or(Path::new("/")))?;
    let own = Folder::create(&root, &Path::new(FOLDER).join(FETCHED))?;
    let mut fetched = own.read(OsStr::new(NAME))?;
    // What was fetched gets its owner and mode where nobody else can reach it.
    dress(&fetched, Some(mode), owner)?;
    if folder.adopt(&own, OsStr::new(NAME), name)?.is_some() {
        return Ok(());
    }
    let mut part = folder.begin()?;
    io::copy(&mut fetched, &mut part.file)?;
    part.finish(name, mode, owner)?;
    Ok(fs::remove_file(machine.own(FETCHED).join(NAME))?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn placed(content: &[u8], mode: Option<u32>) -> u32 {
        let root = tempfile::tempdir().unwrap();
        let machine = Machine::new(root.path().to_str().unwrap());
        let fetched = machine.own_folder(FETCHED).unwrap().join(NAME);
        fs::write(&fetched, content).unwrap();
        let (guessed, said) = guess(&fetched, "/opt/app").unwrap();
        assert_eq!(said.contains("/opt/app is something to run"), guessed == 0o755, "{said}");
        put(&machine, Path::new("/opt/app"), mode.unwrap_or(guessed), Owner::default()).unwrap();
        assert!(!fetched.exists());
        let path = machine.path("/opt/app");
        assert_eq!(fs::read(&path).unwrap(), content);
        fs::metadata(&path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_program_can_be_run_unless_the_recipe_says_otherwise() {
        assert_eq!(placed(b"\x7fELF\x02", None), 0o755);
        assert_eq!(placed(b"#!/bin/sh\necho\n", None), 0o755);
        assert_eq!(placed(b"PK\x03\x04", None), 0o644);
        assert_eq!(placed(b"\x7fELF\x02", Some(0o640)), 0o640);
    }
}
