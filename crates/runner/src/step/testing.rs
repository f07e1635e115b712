//! A stage for the tests of steps: a machine in a folder, with stand-ins for its programs.

use std::{collections::BTreeMap, fs, path::Path, process::Command, time::Duration};

use ovenbird_core::domain::{
    recipe::{Action, Step},
    report::Exit,
};

use super::{Try, Unlocked, act};
use crate::{machine::Machine, mask::Mask, output::Output};

pub struct Stage {
    pub machine: Machine,
    root: tempfile::TempDir,
}

impl Stage {
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        Self { machine: Machine::new(root.path().to_str().unwrap()), root }
    }

    /// Writes a file of the runner's own folder.
    pub fn write(&self, name: &str, text: &str) {
        self.place(&self.machine.own(name), text, 0o644);
    }

    /// Puts a shell script in a program's place; `$ROOT` is the machine's root.
    pub fn program(&self, path: &str, script: &str) {
        let script = format!("#!/bin/sh\nROOT={}\n{script}", self.root.path().display());
        self.place(&self.root.path().join(path), &script, 0o755);
    }

    /// By another process: one that another test starts just then would hold a file of ours open for writing,
    /// and what is open for writing can't be run.
    fn place(&self, path: &Path, text: &str, mode: u32) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let draft = self.root.path().join("draft");
        fs::write(&draft, text).unwrap();
        let mode = format!("{mode:o}");
        let status = Command::new("install").args(["-m", &mode]).arg(&draft).arg(path).status().unwrap();
        assert!(status.success());
    }

    pub fn act(&self, action: Action) -> (Exit, String) {
        self.act_with(action, None)
    }

    pub fn act_with(&self, action: Action, vault_password: Option<&str>) -> (Exit, String) {
        let step = Step {
            name: "it".into(),
            action,
            timeout: Duration::from_secs(20),
            environment: BTreeMap::new(),
            secrets: BTreeMap::new(),
            only_if: None,
            retries: 0,
            reboot: false,
        };
        let unlocked = Unlocked { vault_password: vault_password.map(Into::into), ..Unlocked::default() };
        let mask = Mask::default();
        let mut kept = Output::new(mask.clone(), None);
        let exit = act(&mut Try::begin(&self.machine, &step, &unlocked, &mask, &mut kept));
        let exit = exit.unwrap_or_else(|error| Exit::Failed(format!("{error:#}")));
        (exit, kept.last_lines())
    }
}
