//! The folder in which a local cloud keeps everything.

use std::{
    env, fs, io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::error::{LocalError, Result};

/// The variable that names another home than the usual one.
pub(crate) const VARIABLE: &str = "OVENBIRD_HOME";

/// The home of a local cloud: `OVENBIRD_HOME`, or `/var/lib/ovenbird`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Home(PathBuf);

impl Home {
    /// A home in the given folder.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    /// The folder that the environment names, or the default one.
    pub fn from_env() -> Self {
        Self(env::var_os(VARIABLE).map_or_else(|| PathBuf::from("/var/lib/ovenbird"), PathBuf::from))
    }

    /// The folder itself; disks and layers lie right below it.
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// The Python of the environment that has `MiniStack`.
    pub fn python(&self) -> PathBuf {
        self.0.join("venv/bin/python")
    }

    /// The cache of base images.
    pub fn bases(&self) -> PathBuf {
        self.0.join("base")
    }

    /// The world, row by row.
    pub fn world(&self) -> PathBuf {
        self.state().join("world.redb")
    }

    /// The world as older versions saved it: whole.
    pub fn older_world(&self) -> PathBuf {
        self.state().join("world.json")
    }

    /// What was deployed last.
    pub fn deployed(&self) -> PathBuf {
        self.state().join("deployed.json")
    }

    /// The functions' programs as they were deployed last.
    pub fn functions(&self) -> PathBuf {
        self.state().join("functions")
    }

    /// What `MiniStack` saves.
    pub fn ministack(&self) -> PathBuf {
        self.state().join("ministack")
    }

    /// Where `MiniStack` and the functions put what they need for a moment.
    pub fn temporary(&self) -> PathBuf {
        self.0.join("run/tmp")
    }

    /// Where key pairs are made: each private half is there for a moment.
    pub fn new_keys(&self) -> PathBuf {
        self.0.join("run/keys")
    }

    /// Where roots are unpacked that become images: on the file system of all layers.
    pub fn imports(&self) -> PathBuf {
        self.0.join("run/imports")
    }

    /// What the load balancers' processes need for a moment.
    pub fn balancer(&self) -> PathBuf {
        self.0.join("run/lb")
    }

    /// The supervisor's log.
    pub fn log(&self) -> PathBuf {
        self.0.join("log/supervisor.log")
    }

    /// `MiniStack`'s log.
    pub fn ministack_log(&self) -> PathBuf {
        self.0.join("log/ministack.log")
    }

    /// What the supervisor tells while it starts.
    pub fn progress(&self) -> PathBuf {
        self.0.join("run/progress.jsonl")
    }

    /// The supervisor's process id, in a file that it holds locked.
    pub fn pid_file(&self) -> PathBuf {
        self.0.join("run/supervisor.pid")
    }

    /// The operator's key, as AWS's tools read it.
    pub fn credentials(&self) -> PathBuf {
        self.0.join("aws/credentials")
    }

    /// The profile that goes with the key.
    pub fn aws_config(&self) -> PathBuf {
        self.0.join("aws/config")
    }

    /// What the functions' keys are made from.
    pub fn function_seed(&self) -> PathBuf {
        self.state().join("functions.seed")
    }

    /// The socket at which `MiniStack` listens.
    pub fn ministack_socket(&self) -> PathBuf {
        self.0.join("run/ministack.sock")
    }

    fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    /// Makes the folders, and closes the home to everybody but its owner: disks of machines have programs of root's
    /// with the setuid bit, the world has every machine's user data, and a socket in it asks for no key.
    pub(crate) fn prepare(&self) -> Result<()> {
        let close = || {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
            fs::set_permissions(&self.0, fs::Permissions::from_mode(0o700))
        };
        close().map_err(LocalError::io(format!("close {} to others", self.0.display())))?;
        let aws = self.0.join("aws");
        for folder in [self.state(), self.ministack(), self.temporary(), self.0.join("log"), aws] {
            fs::create_dir_all(&folder)
                .map_err(LocalError::io(format!("make folder {}", folder.display())))?;
        }
        Ok(())
    }

    /// What a reset leaves, with what is in each.
    pub(crate) fn kept(&self) -> [(PathBuf, &'static str); 3] {
        [
            (self.bases(), "base images"),
            (self.0.join("venv"), "the Python environment"),
            (self.0.join("log"), "logs"),
        ]
    }

    /// What a reset deletes, with what is in each: all but the base images, the Python environment, logs and the key.
    pub(crate) fn forgotten(&self) -> [(PathBuf, &'static str); 4] {
        [
            (self.0.join("state"), "instances, images, buckets, tables, stacks, functions"),
            (self.0.join("snapshots"), "the disks of images"),
            (self.0.join("instances"), "the disks of instances"),
            (self.0.join("run"), "what a running local cloud needs for a moment"),
        ]
    }

    /// Forgets everything but what is costly to get.
    pub(crate) fn forget(&self) -> Result<()> {
        for (folder, _) in self.forgotten() {
            match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(LocalError::io(format!("remove {}", folder.display()))(error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Replaces a file by a whole new one: a crash leaves either the old or the new.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("unfinished");
    let mut file = fs::File::create(&unfinished)?;
    io::Write::write_all(&mut file, bytes)?;
    file.sync_all()?;
    fs::rename(unfinished, path)
}
