//! A machine in a folder, for the tests of checks.

use std::{fs, path::Path, process::Command};

use crate::machine::Machine;

pub fn machine() -> (tempfile::TempDir, Machine) {
    let root = tempfile::tempdir().unwrap();
    let machine = Machine::new(root.path().to_str().unwrap());
    (root, machine)
}

/// Puts a shell script in a program's place, by another process: see the stage of the steps.
pub fn program(machine: &Machine, path: &str, script: &str) {
    let (file, draft) = (machine.path(path), machine.path("/draft"));
    fs::create_dir_all(file.parent().unwrap_or(Path::new("/"))).unwrap();
    fs::write(&draft, format!("#!/bin/sh\n{script}")).unwrap();
    let status = Command::new("install").args(["-m", "755"]).arg(&draft).arg(&file).status().unwrap();
    assert!(status.success());
}
