//! A configuration tool: where it is, or how it gets there.

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use ovenbird_core::domain::report::Exit;

use super::{
    Try,
    package::{self, Extras, Manager},
};

/// A tool that a step needs.
#[derive(Debug)]
pub struct Tool {
    /// What people call it.
    pub name: &'static str,
    /// The program.
    pub program: &'static str,
    /// Where its maker's own packages put it, beside the usual folders.
    pub folders: &'static [&'static str],
    /// The distributions' packages of it, the first that there is.
    pub packages: &'static [&'static str],
    /// What comes with them.
    pub extras: Extras,
}

/// The tool's program; it is installed when it is missing and the recipe allows it.
pub fn find(this: &mut Try<'_>, tool: &Tool, install: bool) -> Result<PathBuf> {
    let Tool { name, program, folders, .. } = tool;
    if let Some(path) = this.machine.program(program, folders) {
        return Ok(path);
    }
    ensure!(
        install,
        "the machine has no `{program}`: set `install = true` in this step, or {}",
        instead(name)
    );
    bring(this, tool)
}

/// The tool's program, with the first of its packages that there is; the package manager knows whether that is there.
pub fn bring(this: &mut Try<'_>, tool: &Tool) -> Result<PathBuf> {
    let Tool { name, program, folders, packages, extras } = tool;
    let instead = instead(name);
    let Some(manager) = Manager::of(this) else {
        bail!("the machine has no `{program}`, and no package manager to install it with: {instead}");
    };
    let mut exit = Exit::Status(0);
    for package in *packages {
        exit = package::install(this, manager, &[package], *extras)?;
        if let Some(path) = this.machine.program(program, folders).filter(|_| exit.is_success()) {
            return Ok(path);
        }
    }
    let packages = packages.join("` or `");
    bail!(
        "the machine's package manager could not install `{packages}` ({exit}), which `{program}` is in: add a repository \
         that has it in a step before this one, or {instead}"
    )
}

fn instead(name: &str) -> String {
    format!(
        "bake {name} into the base: a pipeline of its own whose recipe installs it, which this one names as base"
    )
}
