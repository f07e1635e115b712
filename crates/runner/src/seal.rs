//! `seal`: makes the machine an image. Nothing stays that is this machine's own, or ours, and it powers off.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use ovenbird_core::plan::FOLDER;

use crate::{
    machine::{Machine, remove},
    process,
};

/// How long the order to power off may take.
const ORDER: Duration = Duration::from_secs(60);

/// What goes whole: each instance makes its own, or nobody must have it.
const GONE: &[&str] = &[
    "/root/.bash_history",
    "/root/.lesshst",
    "/root/.viminfo",
    "/root/.wget-hsts",
    "/var/lib/dbus/machine-id",
    "/var/lib/dhcp",
    "/var/lib/systemd/credential.secret",
    "/var/lib/systemd/random-seed",
    // The agent's registration is the builder's; an instance that kept it would answer to its name.
    "/var/lib/amazon/ssm",
];

/// Folders whose contents go, but which must be there.
const EMPTIED: &[&str] = &["/var/lib/cloud", "/tmp", "/var/tmp", "/var/cache/apt/archives"];

/// Seals; the machine powers off a moment after this has answered.
pub fn run(machine: &Machine) -> Result<()> {
    if machine.is_real() {
        // Journald would write on, and a log of this machine is none of the image's.
        for arguments in [&["--rotate"][..], &["--vacuum-time=1s"]] {
            let _ = Command::new("journalctl").args(arguments).output();
        }
    }
    clean(machine)?;
    if machine.is_real() {
        power_off()?;
    }
    Ok(())
}

fn clean(machine: &Machine) -> Result<()> {
    for path in GONE {
        remove(&machine.path(path)).with_context(|| format!("remove {path}"))?;
    }
    for path in EMPTIED {
        empty(&machine.path(path)).with_context(|| format!("empty {path}"))?;
    }
    host_keys(&machine.path("/etc/ssh"))?;
    truncate_logs(&machine.path("/var/log"))?;
    histories(&machine.path("/home"))?;
    // Empty and not gone: systemd then makes a new one at boot, and does not ask.
    let id = machine.path("/etc/machine-id");
    if id.exists() {
        fs::write(&id, "").context("empty /etc/machine-id")?;
    }
    // Last: until here a second try can still run.
    remove(&machine.path(FOLDER)).with_context(|| format!("remove {FOLDER}"))
}

fn empty(folder: &Path) -> std::io::Result<()> {
    for entry in entries(folder)? {
        // systemd's private folders are mounts of running services; they go with them.
        if !entry.file_name().to_string_lossy().starts_with("systemd-private-") {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

fn host_keys(folder: &Path) -> Result<()> {
    for entry in entries(folder)? {
        if entry.file_name().to_string_lossy().starts_with("ssh_host_") {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Logs are emptied and not removed: some services want their file to be there, with its owner.
fn truncate_logs(folder: &Path) -> Result<()> {
    for entry in entries(folder)? {
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() && entry.file_name() == "journal" {
            empty(&path)?;
        } else if kind.is_dir() {
            truncate_logs(&path)?;
        } else if kind.is_file() {
            fs::File::create(&path).with_context(|| format!("empty {}", path.display()))?;
        }
    }
    Ok(())
}

fn histories(homes: &Path) -> Result<()> {
    for home in entries(homes)? {
        for name in [".bash_history", ".lesshst", ".viminfo", ".wget-hsts"] {
            remove(&home.path().join(name))?;
        }
    }
    Ok(())
}

/// The entries of a folder; none when it isn't there.
fn entries(folder: &Path) -> std::io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Powers off by a timer of systemd, so that this command's own answer still gets out.
fn power_off() -> Result<()> {
    let mut command = Command::new("systemd-run");
    command.args([
        "--quiet",
        "--collect",
        "--on-active=300ms",
        "--timer-property=AccuracySec=10ms",
        "systemctl",
        "poweroff",
    ]);
    let answer = process::ask(command, b"", ORDER)?;
    ensure!(answer.exit.is_success(), "can't power off: {}\n{}", answer.exit, answer.complaint());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_ours_and_nothing_of_the_machine_s_own_stays() {
        let root = tempfile::tempdir().unwrap();
        let machine = Machine::new(root.path().to_str().unwrap());
        let secrets = [
            "/var/lib/ovenbird/plan.json",
            "/var/lib/ovenbird/ovenbird-runner",
            "/var/lib/cloud/instance/user-data.txt",
            "/etc/ssh/ssh_host_ed25519_key",
            "/root/.bash_history",
            "/home/admin/.bash_history",
            "/tmp/x",
            "/var/log/journal/abc/system.journal",
        ];
        let kept = ["/etc/ssh/sshd_config", "/opt/app.jar", "/etc/machine-id", "/var/log/app/app.log"];
        for path in secrets.iter().chain(&kept) {
            let path = machine.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "secret").unwrap();
        }
        run(&machine).unwrap();
        for path in secrets {
            assert!(!machine.path(path).exists(), "{path} is still there");
        }
        for path in kept {
            assert!(machine.path(path).exists(), "{path} is gone");
        }
        assert_eq!(fs::read(machine.path("/etc/machine-id")).unwrap(), b"");
        assert_eq!(fs::read(machine.path("/var/log/app/app.log")).unwrap(), b"");
        run(&machine).unwrap();
    }
}
