//! Where things are on the machine; a test gives another root.

use std::{
    ffi::OsStr,
    fs,
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Component, Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use ovenbird_core::domain::{
    mailbox::Urls,
    plan::{FOLDER, Plan},
};
use serde::Serialize;

/// Where programs are, on every base alike.
const PROGRAMS: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// A machine, by its root.
#[derive(Debug)]
pub struct Machine {
    root: PathBuf,
}

impl Machine {
    pub fn new(root: &str) -> Self {
        Self { root: root.into() }
    }

    /// Whether this is the machine itself and not a test's folder.
    pub fn is_real(&self) -> bool {
        self.root == Path::new("/")
    }

    /// An absolute path of the machine.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A path in the runner's own folder.
    pub fn own(&self, name: &str) -> PathBuf {
        self.path(FOLDER).join(name)
    }

    /// A folder in the runner's own, for one tool's private files; nobody else looks into it.
    pub fn own_folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.own(name);
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
        Ok(folder)
    }

    /// The folder of the recipe's files, in which steps and tests run.
    pub fn files(&self) -> Result<PathBuf> {
        let folder = self.own("files");
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        Ok(folder)
    }

    /// One of the recipe's files or folders.
    pub fn source(&self, source: &str) -> Result<PathBuf> {
        let inside = Path::new(source)
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        ensure!(inside, "`{source}` is not beside the recipe");
        let path = self.files()?.join(source);
        ensure!(path.exists(), "`{source}` did not come with the recipe; push the recipe again");
        Ok(path)
    }

    /// A program of the machine, in the usual folders or in these.
    pub fn program(&self, name: &str, folders: &[&str]) -> Option<PathBuf> {
        PROGRAMS.iter().chain(folders).map(|folder| self.path(folder).join(name)).find(|path| {
            fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
        })
    }

    /// A program without the runner's own environment: a step sees the same on every base.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs([
            ("PATH", self.program_path().as_str()),
            ("HOME", "/root"),
            ("LANG", "C.UTF-8"),
            ("DEBIAN_FRONTEND", "noninteractive"),
        ]);
        command
    }

    fn program_path(&self) -> String {
        let usual = PROGRAMS.join(":");
        if self.is_real() {
            return usual;
        }
        // A test's own programs come first, and the host's make its scripts run.
        let own: Vec<String> =
            PROGRAMS.iter().map(|folder| self.path(folder).display().to_string()).collect();
        format!("{}:{usual}", own.join(":"))
    }

    pub fn plan(&self) -> Result<Plan> {
        let path = self.own("plan.json");
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_str(&text).context("the plan is of another version")
    }

    /// The mailbox's URLs, as they were fetched last.
    pub fn urls(&self) -> Result<Urls> {
        let path = self.own("urls.json");
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_str(&text).context("the URLs are of another version")
    }

    /// The root, where it is not the machine's own.
    pub fn other_root(&self) -> Option<&Path> {
        (!self.is_real()).then_some(&self.root)
    }

    /// Writes a report whole or not at all.
    pub fn write_report(&self, name: &str, report: &impl Serialize) -> Result<()> {
        self.write_own(name, &serde_json::to_vec(report)?)
    }

    /// Writes a file of the runner's own, for root alone, whole or not at all.
    pub fn write_own(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.write(name, bytes, false)
    }

    /// The same, and on the disk when this returns: it is there after a crash.
    pub fn write_kept(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.write(name, bytes, true)
    }

    fn write(&self, name: &str, bytes: &[u8], kept: bool) -> Result<()> {
        let (path, part) = (self.own(name), self.own(&format!("{name}.part")));
        let _ = fs::remove_file(&part);
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&part)
            .with_context(|| format!("write {}", part.display()))?;
        file.write_all(bytes)?;
        if kept {
            file.sync_all()?;
        }
        fs::rename(&part, &path)?;
        if kept {
            fs::File::open(self.own(""))?.sync_all()?;
        }
        Ok(())
    }
}

/// Creates the folders that a path is in.
pub fn create_parents(path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) => fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display())),
        None => Ok(()),
    }
}

/// Removes a file or folder; one that isn't there is no error.
pub fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(file) if file.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_beside_the_recipe() {
        let root = tempfile::tempdir().unwrap();
        let machine = Machine::new(root.path().to_str().unwrap());
        fs::create_dir_all(machine.own("files/a")).unwrap();
        fs::write(machine.own("plan.json"), "").unwrap();
        assert!(machine.source("a").is_ok());
        for bad in ["../plan.json", "/etc/passwd", "a/../../plan.json", "nothing"] {
            assert!(machine.source(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_program_is_one_that_can_be_run() {
        let root = tempfile::tempdir().unwrap();
        let machine = Machine::new(root.path().to_str().unwrap());
        let path = machine.path("/opt/tool/bin/tool");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "").unwrap();
        assert_eq!(machine.program("tool", &["/opt/tool/bin"]), None);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(machine.program("tool", &[]), None);
        assert_eq!(machine.program("tool", &["/opt/tool/bin"]), Some(path));
    }
}
