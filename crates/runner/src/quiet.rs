//! A quiet machine: nothing of the base's own installs or updates packages while the steps do.
//!
//! A machine that just booted starts its daily updates, which hold the package manager's locks and restart services.
//! They are held by a condition in a drop-in below `/run`, and not masked: whoever enables or starts such a unit in a
//! step succeeds, and nothing of it is in the image, as `/run` is memory and gone with the boot.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::{machine::Machine, process::ask, systemd};

/// What begins by itself, by a timer or by D-Bus, and works on packages.
const HELD: [&str; 14] = [
    "apt-daily.service",
    "apt-daily-upgrade.service",
    "apt-news.service",
    "esm-cache.service",
    "update-notifier-download.service",
    "dnf-automatic.service",
    "dnf-automatic-download.service",
    "dnf-automatic-install.service",
    "dnf-automatic-notifyonly.service",
    "dnf5-automatic.service",
    "dnf-makecache.service",
    "packagekit.service",
    "packagekit-background.service",
    "transactional-update.service",
];

const UNITS: &str = "/run/systemd/system";
const DROP_IN: &str = "ovenbird-hold.conf";

/// It never holds: the root is there on every machine.
const HOLD: &str = "[Unit]\nConditionPathExists=!/\n";

/// For every `apt-get` of a step, also one in a `shell` step: it waits for another that holds the lock, so many seconds.
const APT: &str = "DPkg::Lock::Timeout \"300\";\nAcquire::Retries \"3\";\n";
const APT_FILE: &str = "/run/ovenbird-apt.conf";

/// How long an update that runs already is waited for. It is not stopped: half an upgrade is worse than a late one.
const PATIENCE: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(500);

/// Holds back what would disturb the steps, until the next boot.
pub fn begin(machine: &Machine) -> Result<()> {
    if machine.program("apt-get", &[]).is_some() {
        fs::create_dir_all(machine.path("/run"))?;
        fs::write(machine.path(APT_FILE), APT).with_context(|| format!("write {APT_FILE}"))?;
    }
    if !machine.path(UNITS).is_dir() || machine.program("systemctl", &[]).is_none() {
        return Ok(());
    }
    for unit in HELD {
        let folder = machine.path(&format!("{UNITS}/{unit}.d"));
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(DROP_IN), HOLD).with_context(|| format!("hold {unit}"))?;
    }
    systemd::systemctl(machine, &["daemon-reload"])?;
    let start = Instant::now();
    let mut told = false;
    while let Some(unit) = running(machine) {
        if start.elapsed() > PATIENCE {
            println!("ovenbird: {unit} still runs; the steps begin beside it");
            break;
        }
        if !told {
            println!("ovenbird: {unit} runs since the boot; the steps begin when it is done");
            told = true;
        }
        thread::sleep(LOOK);
    }
    Ok(())
}

/// Lets go of a unit that a step sets up: the recipe wants it to run.
pub fn release(machine: &Machine, service: &str) -> Result<()> {
    let unit = format!("{}.service", service.trim_end_matches(".service"));
    let held = machine.path(&format!("{UNITS}/{unit}.d/{DROP_IN}"));
    if !HELD.contains(&unit.as_str()) || !held.exists() {
        return Ok(());
    }
    fs::remove_file(held)?;
    systemd::systemctl(machine, &["daemon-reload"]).map(drop)
}

/// The variable by which `apt-get` finds its settings, where there are some.
pub fn apt_config(machine: &Machine) -> Option<(&'static str, String)> {
    let path = machine.path(APT_FILE);
    path.exists().then(|| ("APT_CONFIG", path.display().to_string()))
}

/// One of the jobs that is at work now. What can't be asked is taken for not running.
fn running(machine: &Machine) -> Option<&'static str> {
    // packagekit waits for orders when it runs, and is not at work.
    HELD.into_iter().filter(|unit| *unit != "packagekit.service").find(|unit| {
        let mut command = machine.command("systemctl");
        command.args(["show", "--property=ActiveState", "--", unit]);
        let answer = ask(command, b"", Duration::from_secs(30));
        answer.is_ok_and(|answer| answer.text().trim() == "ActiveState=activating")
    })
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt as _, process::Command};

    use super::*;

    fn program(machine: &Machine, name: &str, script: &str) {
        let (draft, path) = (machine.path("/draft"), machine.path(&format!("/usr/bin/{name}")));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&draft, format!("#!/bin/sh\n{script}")).unwrap();
        assert!(
            Command::new("install").args(["-m", "755"]).args([&draft, &path]).status().unwrap().success()
        );
    }

    fn machine(systemctl: &str) -> (tempfile::TempDir, Machine) {
        let root = tempfile::tempdir().unwrap();
        let machine = Machine::new(root.path().to_str().unwrap());
        fs::create_dir_all(machine.path(UNITS)).unwrap();
        program(
            &machine,
            "systemctl",
            &format!("cd {}\necho \"$@\" >> calls\n{systemctl}", root.path().display()),
        );
        (root, machine)
    }

    #[test]
    fn updates_are_held_below_run_until_a_step_wants_one() {
        let (root, machine) = machine("");
        begin(&machine).unwrap();
        let held = |unit: &str| machine.path(&format!("{UNITS}/{unit}.service.d/{DROP_IN}")).exists();
        assert!(held("apt-daily") && held("packagekit") && held("dnf-automatic"));
        let outside: Vec<_> = fs::read_dir(root.path()).unwrap().flatten().map(|e| e.file_name()).collect();
        assert!(
            outside.iter().all(|name| ["run", "usr", "draft", "calls"].iter().any(|own| name == own)),
            "{outside:?}"
        );
        let calls = || fs::read_to_string(machine.path("/calls")).unwrap().matches("daemon-reload").count();
        assert_eq!(calls(), 1);
        release(&machine, "packagekit").unwrap();
        release(&machine, "nginx").unwrap();
        assert!(!held("packagekit") && held("apt-daily"));
        assert_eq!(calls(), 2);
    }

    #[test]
    fn an_update_that_runs_already_is_waited_for_and_not_stopped() {
        let script = "case \"$*\" in *apt-daily-upgrade*) n=$(cat n 2>/dev/null || echo 0); echo $((n + 1)) > n
            [ $n -lt 2 ] && echo ActiveState=activating || echo ActiveState=inactive;; *show*) echo ActiveState=inactive;; esac";
        let (_root, machine) = machine(script);
        begin(&machine).unwrap();
        assert_eq!(fs::read_to_string(machine.path("/n")).unwrap().trim(), "3");
        let calls = fs::read_to_string(machine.path("/calls")).unwrap();
        assert!(!calls.contains("stop") && !calls.contains("mask"), "{calls}");
    }

    #[test]
    fn apt_waits_for_its_lock_in_every_step() {
        let root = tempfile::tempdir().unwrap();
        let machine = Machine::new(root.path().to_str().unwrap());
        begin(&machine).unwrap();
        assert_eq!(apt_config(&machine), None);
        program(&machine, "apt-get", "");
        begin(&machine).unwrap();
        let (name, path) = apt_config(&machine).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o044, 0o044, "apt's own user can't read it");
        // The machine's own apt reads it so.
        let Ok(output) =
            Command::new("apt-config").args(["dump", "DPkg::Lock::Timeout"]).env(name, path).output()
        else {
            return println!("SKIPPED: no apt-config");
        };
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "DPkg::Lock::Timeout \"300\";");
    }

    /// A condition that systemd does not know would hold nothing.
    #[test]
    fn systemd_knows_the_condition() {
        let Ok(output) =
            Command::new("systemd-analyze").args(["condition", "ConditionPathExists=!/"]).output()
        else {
            return println!("SKIPPED: no systemd-analyze");
        };
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("Conditions failed"), "{said}");
    }
}
