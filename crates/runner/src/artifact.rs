//! The artifact: fetched to our own folder, checked there, and only then put in its place.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    path::Path,
};

use anyhow::{Context as _, Result};
use ovenbird_core::domain::{
    plan::{Download, FOLDER},
    recipe::Placement,
};

use crate::{
    fetch,
    folder::{Folder, Owner, dress},
    machine::Machine,
    unpack::{self, Target},
};

const FETCHED: &str = "artifact";

/// Fetches the artifact, and puts it in its place whole or not at all.
pub fn place(machine: &Machine, download: &Download, placement: &Placement) -> Result<()> {
    let fetched = machine.own(FETCHED);
    fetch::download(download, &fetched).context("fetch the artifact")?;
    let owner = Owner::default();
    match placement {
        Placement::To(path) => put(machine, Path::new(path), 0o644, owner).context("place the artifact"),
        Placement::UnpackTo(path) => {
            let target = Target { root: &machine.path("/"), folder: Path::new(path), owner };
            unpack::unpack(&fetched, &target).context("unpack the artifact")?;
            Ok(fs::remove_file(&fetched)?)
        }
    }
}

fn put(machine: &Machine, path: &Path, mode: u32, owner: Owner) -> Result<()> {
    let root = machine.path("/");
    let name = path.file_name().with_context(|| format!("`{}` names no file", path.display()))?;
    let folder = Folder::create(&root, path.parent().unwrap_or(Path::new("/")))?;
    let own = Folder::create(&root, Path::new(FOLDER))?;
    // What was fetched gets its owner and mode where nobody else can reach it.
    dress(own.read(OsStr::new(FETCHED))?, Some(mode), owner)?;
    if folder.adopt(&own, OsStr::new(FETCHED), name)?.is_some() {
        return Ok(());
    }
    let mut part = folder.begin()?;
    io::copy(&mut File::open(machine.own(FETCHED))?, &mut part.file)?;
    part.finish(name, mode, owner)?;
    Ok(fs::remove_file(machine.own(FETCHED))?)
}
