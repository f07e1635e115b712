//! Boots: which one this is, how the next one comes, and how the work goes on after it.
//!
//! User data runs at an instance's first boot alone. So the runner leaves a unit that starts it at each later one: it
//! goes on after a boot that a step asked for, and says so after one that nobody did. The seal removes it.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    fcntl::{Flock, FlockArg},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
};
use ovenbird_core::domain::plan::{FOLDER, quote};

use crate::{
    machine::{Machine, create_parents},
    openrc,
    seal::orders,
};

/// What starts the runner at a boot.
pub const UNIT: &str = "/etc/systemd/system/ovenbird-resume.service";
pub const WANTED: &str = "/etc/systemd/system/multi-user.target.wants/ovenbird-resume.service";
pub const CRON: &str = "/etc/cron.d/ovenbird-resume";

/// Where runners of one machine find each other.
const LOCK: &str = "/run/ovenbird-runner.lock";

/// Which boot went down in order, on the disk.
const DOWN: &str = "down";

/// How long a machine that was told to boot again may still run.
const GOING: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(100);

/// How long it takes at most until a signal has come, after another process of the machine got its own.
const TOLD: Duration = Duration::from_millis(500);

/// Which boot of the machine this is.
///
/// The kernel's own number alone does not tell: a machine that is a container shares its kernel, and then its first
/// process began anew.
pub fn this(machine: &Machine) -> String {
    let kernel = fs::read_to_string(machine.path("/proc/sys/kernel/random/boot_id")).unwrap_or_default();
    let first = fs::read_to_string(machine.path("/proc/1/stat")).unwrap_or_default();
    // The name before may have spaces; `starttime` is the 22nd field of all, the 20th after it.
    let began =
        first.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(19)).unwrap_or_default();
    format!("{} {began}", kernel.trim())
}

/// Has the runner started at each later boot; gives whether that is so.
pub fn prepare(machine: &Machine) -> Result<bool> {
    if orders::has_systemd(machine) {
        let (unit, wanted) = (machine.path(UNIT), machine.path(WANTED));
        create_parents(&unit)?;
        create_parents(&wanted)?;
        fs::write(&unit, text(machine)).with_context(|| format!("write {UNIT}"))?;
        if fs::symlink_metadata(&wanted).is_err() {
            symlink(UNIT, &wanted).with_context(|| format!("write {WANTED}"))?;
        }
        return Ok(true);
    }
    if openrc::is_at_work(machine) {
        return openrc::prepare(machine).map(|()| true);
    }
    let cron = machine.path(CRON);
    if !cron.parent().is_some_and(std::path::Path::is_dir) {
        return Ok(false);
    }
    fs::write(&cron, format!("@reboot root {}\n", command(machine)))
        .with_context(|| format!("write {CRON}"))?;
    Ok(true)
}

/// Nothing in it is newer than systemd 219. A shell starts the program: where `SELinux` is enforced, systemd may start
/// what is in `/bin` alone, and a shell may start the rest.
fn text(machine: &Machine) -> String {
    // systemd would take `%` for a specifier, and `$` for a variable.
    let command = command(machine).replace('%', "%%").replace('$', "$$");
    format!(
        "[Unit]\nDescription=Ovenbird works on this machine\nWants=network-online.target\n\
         After=network-online.target\nConditionPathExists={FOLDER}/ovenbird-runner\n\n\
         [Service]\nExecStart=/bin/sh -c \"exec {command}\"\n\n[Install]\nWantedBy=multi-user.target\n"
    )
}

fn command(machine: &Machine) -> String {
    let program = quote(&format!("{FOLDER}/ovenbird-runner"));
    match machine.other_root() {
        None => format!("{program} work"),
        Some(root) => format!("{program} work --root {}", quote(&root.to_string_lossy())),
    }
}

/// Makes this the machine's only runner; none when there is one already.
pub fn alone(machine: &Machine) -> Result<Option<Flock<File>>> {
    let path = machine.path(LOCK);
    create_parents(&path)?;
    let file = File::create(&path).with_context(|| format!("open {LOCK}"))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(error).context("look for another runner"),
    }
}

/// Boots the machine again. It comes back only when that went wrong.
pub fn reboot(machine: &Machine, told: &Told) -> Result<()> {
    note_down(machine)?;
    if orders::has_systemd(machine) {
        orders::systemctl(machine, &["reboot"])?;
    } else {
        orders::reboot(machine)?;
    }
    let start = Instant::now();
    while start.elapsed() < GOING {
        if told.to_end() {
            return Ok(());
        }
        std::thread::sleep(LOOK);
    }
    bail!("the machine was told to boot again, and still runs {} s later", GOING.as_secs())
}

/// Notes that this boot ends in order.
pub fn note_down(machine: &Machine) -> Result<()> {
    machine.write_kept(DOWN, this(machine).as_bytes())
}

/// Whether a boot ended in order.
pub fn ended_in_order(machine: &Machine, boot: &str) -> bool {
    fs::read_to_string(machine.own(DOWN)).is_ok_and(|noted| noted == boot)
}

/// What to say of a boot that nobody asked for.
pub fn told(in_order: bool, when: &str) -> String {
    let how = match in_order {
        true => "something on it, or somebody, had it shut down and start",
        false => "it was not shut down before: it crashed, or was reset",
    };
    format!("the machine booted again {when}; {how}")
}

/// Where a machine is going.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It runs on.
    On,
    /// It goes down, to boot again.
    Again,
    /// It goes down.
    Down,
}

/// Where this machine is going, as far as its systemd says.
pub fn way(machine: &Machine) -> Way {
    if !orders::has_systemd(machine) || orders::ask(machine, &["is-system-running"]).trim() != "stopping" {
        return Way::On;
    }
    let jobs = orders::ask(machine, &["list-jobs", "--no-legend", "--no-pager", "--full"]);
    let again = ["reboot.target", "kexec.target", "soft-reboot.target"];
    match jobs.split_whitespace().any(|word| again.contains(&word)) {
        true => Way::Again,
        false => Way::Down,
    }
}

/// Has signals end this program as usual, whatever the one that started it holds back.
pub fn heed() -> Result<()> {
    SigSet::empty().thread_set_mask().context("take signals")
}

/// Tells when this program is to end: systemd says so when the machine goes down.
#[derive(Debug)]
pub struct Told(SignalFd);

impl Told {
    /// From here on, the signal does not end this program by itself. The programs that it starts inherit that: see `heed`.
    pub fn listen() -> Result<Self> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGTERM);
        signals.thread_block().context("hold signals back")?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Self(SignalFd::with_flags(&signals, flags).context("listen to signals")?))
    }

    /// Whether it is to end. It is said once.
    pub fn to_end(&self) -> bool {
        matches!(self.0.read_signal(), Ok(Some(_)))
    }

    /// The same, of somebody who has seen another process end, which may have got its signal a moment earlier.
    pub fn to_end_soon(&self) -> bool {
        let start = Instant::now();
        loop {
            if self.to_end() {
                return true;
            }
            if start.elapsed() > TOLD {
                return false;
            }
            std::thread::sleep(LOOK / 10);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What systemd 219 knows, and this unit uses.
    const KNOWN: &[&str] = &["Description", "Wants", "After", "ConditionPathExists", "ExecStart", "WantedBy"];

    fn machine() -> (tempfile::TempDir, Machine) {
        let root = tempfile::tempdir().unwrap();
        let machine = Machine::new(root.path().to_str().unwrap());
        (root, machine)
    }

    #[test]
    fn the_unit_is_one_that_systemd_219_knows() {
        let unit = text(&Machine::new("/"));
        for line in unit.lines().filter(|line| !line.is_empty() && !line.starts_with('[')) {
            let (key, _) = line.split_once('=').unwrap();
            assert!(KNOWN.contains(&key), "{line}");
        }
        assert!(unit.contains("-c \"exec '/var/lib/ovenbird/ovenbird-runner' work\"\n"), "{unit}");
    }

    #[test]
    fn the_runner_comes_back_by_systemd_or_by_cron_or_not_at_all() {
        let (_root, machine) = machine();
        assert!(!prepare(&machine).unwrap());
        fs::create_dir_all(machine.path("/etc/cron.d")).unwrap();
        assert!(prepare(&machine).unwrap());
        let line = fs::read_to_string(machine.path(CRON)).unwrap();
        assert!(line.starts_with("@reboot root '/var/lib/ovenbird/ovenbird-runner' work"), "{line}");
        fs::create_dir_all(machine.path("/run/systemd/system")).unwrap();
        // Again, as after a boot.
        assert!(prepare(&machine).unwrap() && prepare(&machine).unwrap());
        assert_eq!(fs::read_link(machine.path(WANTED)).unwrap().to_str(), Some(UNIT));
        assert!(machine.path(UNIT).is_file());
    }

    #[test]
    fn a_boot_is_another_when_the_kernel_or_the_first_process_is() {
        let (_root, machine) = machine();
        let write = |path: &str, text: &str| {
            let path = machine.path(path);
            create_parents(&path).unwrap();
            fs::write(path, text).unwrap();
        };
        let stat =
            |began: &str| format!("1 (a) b) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 {began} 22 33\n");
        write("/proc/sys/kernel/random/boot_id", "one\n");
        write("/proc/1/stat", &stat("700"));
        assert_eq!(this(&machine), "one 700");
        fs::create_dir_all(machine.own("")).unwrap();
        note_down(&machine).unwrap();
        assert!(ended_in_order(&machine, "one 700") && !ended_in_order(&machine, "one 701"));
        write("/proc/1/stat", &stat("800"));
        assert_eq!(this(&machine), "one 800");
    }

    #[test]
    fn a_second_runner_finds_the_first() {
        let (_root, machine) = machine();
        let first = alone(&machine).unwrap();
        assert!(first.is_some() && alone(&machine).unwrap().is_none());
        drop(first);
        assert!(alone(&machine).unwrap().is_some());
    }

    #[test]
    fn where_a_machine_goes_is_what_its_systemd_says() {
        let (root, machine) = machine();
        assert_eq!(way(&machine), Way::On);
        fs::create_dir_all(machine.path("/run/systemd/system")).unwrap();
        for (state, job, expected) in [
            ("running", "", Way::On),
            ("stopping", "12 reboot.target start waiting", Way::Again),
            ("stopping", "12 poweroff.target start waiting", Way::Down),
        ] {
            let script = format!(
                "#!/bin/sh\ncase \"$1\" in is-system-running) echo {state}; exit 1;; list-jobs) echo '{job}';; esac\n"
            );
            let (draft, path) = (root.path().join("draft"), machine.path("/usr/bin/systemctl"));
            create_parents(&path).unwrap();
            fs::write(&draft, script).unwrap();
            let installed =
                std::process::Command::new("install").args(["-m", "755"]).args([&draft, &path]).status();
            assert!(installed.unwrap().success());
            assert_eq!(way(&machine), expected, "{state} {job}");
        }
    }
}
