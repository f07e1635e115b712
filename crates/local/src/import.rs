//! `ovenbird local import`: a root file system of the operator's becomes an image, as a base beside the usual one.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use crate::{
    error::{LocalError, Result},
    machine::init::program_in,
    operator::{post, status},
    options::Options,
    root_settings,
};

/// The attributes that files of an archive may bring: capabilities, and users' own. One of overlayfs's would change what
/// a machine sees.
const ATTRIBUTES: [&str; 2] = ["--xattrs-include=security.capability", "--xattrs-include=user.*"];

/// An image that was made of a root file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// Its id: `ami-…`.
    pub image: String,
    /// Its name, by which a recipe's base finds it.
    pub name: String,
    /// Its snapshot: `snap-…`.
    pub snapshot: String,
    /// The program that its machines begin with.
    pub init: String,
}

/// What the supervisor is asked for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    /// The image's name.
    pub name: String,
    /// Where the root was unpacked, as a name in the home's folder of imports.
    pub folder: String,
    /// The program that its machines begin with.
    pub init: String,
}

/// Makes an image of a root file system: an archive that `tar` reads, or a folder. The local cloud must be up.
pub async fn import(options: &Options, root: &Path, name: &str) -> Result<Imported> {
    status(options).await?;
    if !geteuid().is_root() {
        let missing = vec!["the files of a root have owners, and only root may give them".to_owned()];
        return Err(LocalError::Missing { missing, fix: "sudo ovenbird local import …".to_owned() });
    }
    let folder = std::process::id().to_string();
    let unpacked = options.home.imports().join(&folder);
    let (from, to) = (root.to_owned(), unpacked.clone());
    let prepared = tokio::task::spawn_blocking(move || prepare(&from, &to)).await;
    let prepared = prepared.map_err(io::Error::other).flatten();
    let done = match prepared {
        Ok(init) => post(options, "import", &Request { name: name.to_owned(), folder, init }).await,
        Err(source) => Err(LocalError::Import { root: root.to_owned(), source }),
    };
    let done = done.map_err(|error| match error {
        LocalError::Refused { status: 409, body, .. } => {
            LocalError::NotImported { name: name.to_owned(), problem: body.trim().to_owned() }
        }
        error => error,
    });
    if done.is_err() {
        // Gigabytes, and nobody's.
        let _ = tokio::task::spawn_blocking(move || fs::remove_dir_all(unpacked)).await;
    }
    done
}

/// Unpacks a root and makes it ready; gives the program that its machines begin with.
fn prepare(from: &Path, to: &Path) -> io::Result<String> {
    fs::create_dir_all(to)?;
    let folder = fs::metadata(from)?.is_dir();
    let mut command = Command::new(if folder { "cp" } else { "tar" });
    match folder {
        true => command
            .args(["--archive", "--one-file-system", "--reflink=auto", "--"])
            .arg(from.join("."))
            .arg(to),
        false => command
            .args(["--extract", "--numeric-owner", "--preserve-permissions"])
            .args(ATTRIBUTES)
            .arg("--directory")
            .arg(to)
            .arg("--file")
            .arg(from),
    };
    succeeded(&command.output()?)?;
    let init = program_in(to).ok_or_else(|| {
        let problem =
            "it has neither `/sbin/init` nor systemd: a container's root has no first process for a machine";
        io::Error::other(problem)
    })?;
    root_settings::apply(to)?;
    Ok(init.display().to_string())
}

fn succeeded(output: &Output) -> io::Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let first: Vec<&str> = text.lines().take(3).collect();
    Err(io::Error::other(first.join("\n")))
}

/// A folder of imports, from its name in a request.
pub(crate) fn folder(imports: &Path, name: &str) -> Option<PathBuf> {
    let number = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    number.then(|| imports.join(name))
}
