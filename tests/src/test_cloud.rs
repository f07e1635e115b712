//! A local cloud of a test's own, that shares the base image and the Python environment with the usual one.

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::Result;

use crate::clients::{Local, home, repository};

/// The cloud, which ends with the test, however that ends.
#[derive(Debug)]
pub struct TestCloud {
    /// Its clients.
    pub local: Local,
    /// The folder of this cloud alone; it is deleted at the end.
    pub home: PathBuf,
    operator: BTreeMap<String, String>,
}

impl Drop for TestCloud {
    fn drop(&mut self) {
        // A failed assertion must not leave machines behind.
        let _ = self.local.ovenbird(&["local", "down", "--yes"]);
        let _ = fs::remove_dir_all(&self.home);
    }
}

impl TestCloud {
    /// Starts it; none when something is missing for it, which is said, and which CI takes for a failure.
    pub fn up(name: &str, port: u16) -> Result<Option<Self>> {
        if let Some(missing) = missing() {
            assert!(std::env::var_os("CI").is_none(), "CI must run this test, and it can't: {missing}");
            eprintln!("SKIPPED: {missing}");
            return Ok(None);
        }
        let home = home().join(name);
        let local = Local { port, home: Some(home.clone()) };
        // What a test before this one may have left when it was killed.
        local.ovenbird(&["local", "down", "--yes"])?;
        if home.exists() {
            fs::remove_dir_all(&home)?;
        }
        fs::create_dir_all(&home)?;
        for shared in ["venv", "base"] {
            fs::create_dir_all(crate::clients::home().join(shared))?;
            std::os::unix::fs::symlink(crate::clients::home().join(shared), home.join(shared))?;
        }
        local.ovenbird(&["local", "up"])?;
        let operator = local.operator()?;
        Ok(Some(Self { local, home, operator }))
    }

    /// The stack's bucket.
    pub fn bucket(&self) -> &str {
        &self.operator["bucket"]
    }

    /// The ARN of a state machine, `bake` or `prune`.
    pub fn machine(&self, name: &str) -> &str {
        &self.operator[name]
    }
}

fn missing() -> Option<&'static str> {
    if !nix::unistd::geteuid().is_root() {
        return Some("it needs root");
    }
    if !home().join("venv/bin/aws").is_file() {
        return Some("it needs `make setup`");
    }
    if !repository().join("build/prune/bootstrap").is_file() {
        return Some("it needs `make build`");
    }
    None
}
