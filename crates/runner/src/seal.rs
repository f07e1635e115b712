//! `seal`: makes the machine an image. Nothing stays that is this machine's own, or ours.
//!
//! The seal reports that it is whole, and only then is the machine an image. It powers off then, or runs on until EC2 takes it down for the image. What its services write until
//! they are stopped goes when it goes down.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use nix::fcntl::{Flock, FlockArg};
use ovenbird_core::domain::{
    plan::{FOLDER, PresignedUrl, quote},
    report::SealReport,
};

use crate::{
    fetch,
    machine::{Machine, create_parents, remove},
    process,
};

/// How long an order to the machine may take.
const ORDER: Duration = Duration::from_secs(60);

/// How long the report is tried: a network that is away for a moment costs no bake. A failure is told once.
const TRIES: Duration = Duration::from_secs(120);
const ONE_TRY: Duration = Duration::ZERO;

/// What becomes of the machine once it is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It powers off, a moment after the seal has answered.
    PowerOff,
    /// It runs on, as a spot instance must: EC2 can't stop it, and takes it down for the image by itself.
    KeepRunning,
}

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
];

/// The agent's registration is the builder's; an instance that kept it would answer to its name. A running agent
/// keeps the seal's own answer there, too, until it has been told.
const AGENT: &str = "/var/lib/amazon/ssm";

/// Folders whose contents go, but which must be there.
const EMPTIED: &[&str] = &["/var/lib/cloud", "/tmp", "/var/tmp", "/var/cache/apt/archives"];

/// Histories of those who worked on the machine, by their home.
const HISTORIES: &[&str] = &[".bash_history", ".lesshst", ".viminfo", ".wget-hsts"];

/// Where systemd looks for units of this boot only: nothing of it is in the image.
const UNITS: &str = "/run/systemd/system";
const LAST_WORD: &str = "ovenbird-last-word.service";

/// Where the seals of one machine wait for each other: a command may be delivered twice.
const LOCK: &str = "/run/ovenbird-seal.lock";

/// Seals, and reports.
pub fn run(machine: &Machine, then: Then) -> Result<()> {
    let _lock = lock(machine)?;
    if !machine.own("").exists() {
        println!("ovenbird: this machine is sealed already; nothing is left to do");
        return Ok(());
    }
    let plan = machine.plan()?;
    let url =
        plan.reports.seal.context("the plan has no place for the seal's report: it is no builder's plan")?;
    if let Err(error) = seal(machine, then) {
        // It is said here, too, in case that the command's own answer is lost; more than try we can't.
        let _ = report(&url, Some(format!("{error:#}")), ONE_TRY);
        return Err(error);
    }
    // The order is what makes the report worth something: a builder that is found stopped is imaged if it is there.
    // Everything is removed by now, or an error has said otherwise; and it is on the disk, for whoever stops the
    // machine by force from here on takes what is there. The URL was read from the plan before that was removed, and
    // goes to `curl` by a pipe: nothing that knows it is on the disk any more, and nothing writes it there again.
    // What services write until they are stopped is removed by the last word, which knows no secret.
    report(&url, None, TRIES).context("the machine is sealed, but could not report it")?;
    if machine.is_real() && then == Then::PowerOff {
        power_off()?;
    }
    Ok(())
}

fn lock(machine: &Machine) -> Result<Flock<fs::File>> {
    let path = machine.path(LOCK);
    create_parents(&path)?;
    let file = fs::File::create(&path).with_context(|| format!("open {LOCK}"))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| error).context("wait for another seal")
}

fn report(url: &PresignedUrl, problem: Option<String>, tries: Duration) -> Result<()> {
    fetch::put(url, &serde_json::to_string(&SealReport { ended: Timestamp::now(), problem })?, tries)
}

fn seal(machine: &Machine, then: Then) -> Result<()> {
    if machine.is_real() {
        // Journald would write on, and a log of this machine is none of the image's: from here on it writes to
        // memory, where it knows how to (systemd 242).
        for arguments in [&["--relinquish-var"][..], &["--rotate"], &["--vacuum-time=1s"]] {
            let _ = Command::new("journalctl").args(arguments).output();
        }
        have_the_last_word(machine)?;
    }
    if then == Then::PowerOff {
        remove(&machine.path(AGENT)).with_context(|| format!("remove {AGENT}"))?;
    }
    clean(machine)?;
    if machine.is_real() {
        nix::unistd::sync();
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
    // Last: until here a second try can still run, and knows where to report.
    remove(&machine.path(FOLDER)).with_context(|| format!("remove {FOLDER}"))
}

/// Sets a unit up that cleans once more when the machine goes down, after all that writes has been stopped.
fn have_the_last_word(machine: &Machine) -> Result<()> {
    let script = machine.path("/run/ovenbird-last-word.sh");
    fs::write(&script, last_word(machine)).with_context(|| format!("write {}", script.display()))?;
    let units = machine.path(UNITS);
    fs::create_dir_all(&units)?;
    // Units are stopped in the reverse order of their start, and this one starts before nearly all others.
    let unit = format!(
        "[Unit]\nDescription=What was written since the seal goes\nDefaultDependencies=no\n\
         Conflicts=shutdown.target\nAfter=local-fs.target systemd-remount-fs.service\n\
         Before=sysinit.target systemd-random-seed.service shutdown.target\nRequiresMountsFor=/etc /var /home /root\n\n\
         [Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\nExecStop=/bin/sh {}\n",
        script.display()
    );
    fs::write(units.join(LAST_WORD), unit).with_context(|| format!("write {LAST_WORD}"))?;
    systemctl(&["daemon-reload"])?;
    systemctl(&["start", LAST_WORD])
}

/// The shell's way to do what `clean` does: the runner is gone by then, and what it says is heard by nobody.
fn last_word(machine: &Machine) -> String {
    let word = |path: &str| quote(&machine.path(path).to_string_lossy());
    let mut script = String::from("#!/bin/sh\n");
    for path in GONE.iter().chain([&AGENT, &FOLDER]) {
        script.push_str(&format!("rm -rf -- {}\n", word(path)));
    }
    for path in EMPTIED {
        let folder = word(path);
        script.push_str(&format!(
            "[ ! -d {folder} ] || find {folder} -mindepth 1 -maxdepth 1 ! -name 'systemd-private-*' -exec rm -rf -- {{}} +\n"
        ));
    }
    script.push_str(&format!("rm -f -- {}/ssh_host_*\n", word("/etc/ssh")));
    for name in HISTORIES {
        script.push_str(&format!("rm -f -- {}/*/{name}\n", word("/home")));
    }
    let logs = word("/var/log");
    script.push_str(&format!("find {logs} -path '*/journal/*' -delete\n"));
    script.push_str(&format!("find {logs} -type f -exec sh -c 'for log; do : > \"$log\"; done' sh {{}} +\n"));
    let id = word("/etc/machine-id");
    script.push_str(&format!("[ ! -e {id} ] || : > {id}\n"));
    script
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
        for name in HISTORIES {
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
        "--on-active=300ms",
        "--timer-property=AccuracySec=10ms",
        "systemctl",
        "poweroff",
    ]);
    order(command)
}

fn systemctl(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("systemctl");
    command.args(arguments);
    order(command)
}

fn order(command: Command) -> Result<()> {
    let what = format!("{command:?}");
    let answer = process::ask(command, b"", ORDER)?;
    ensure!(answer.exit.is_success(), "{what}: {}\n{}", answer.exit, answer.complaint());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &[&str] = &[
        "/var/lib/ovenbird/plan.json",
        "/var/lib/ovenbird/ovenbird-runner",
        "/var/lib/cloud/instance/user-data.txt",
        "/etc/ssh/ssh_host_ed25519_key",
        "/root/.bash_history",
        "/home/admin/.bash_history",
        "/tmp/x",
        "/var/log/journal/abc/system.journal",
    ];
    const KEPT: &[&str] =
        &["/etc/ssh/sshd_config", "/opt/app.jar", "/etc/machine-id", "/var/log/app/app.log"];
    const AGENT_S: &str = "/var/lib/amazon/ssm/i-1/document/state";

    /// A machine that was worked on.
    fn used() -> (tempfile::TempDir, Machine) {
        let root = tempfile::tempdir().unwrap();
        let machine = Machine::new(root.path().to_str().unwrap());
        use_again(&machine);
        (root, machine)
    }

    fn use_again(machine: &Machine) {
        for path in OURS.iter().chain(KEPT).chain([&AGENT_S]) {
            let path = machine.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "secret").unwrap();
        }
    }

    #[track_caller]
    fn assert_sealed(machine: &Machine) {
        for path in OURS {
            assert!(!machine.path(path).exists(), "{path} is still there");
        }
        for path in KEPT {
            assert!(machine.path(path).exists(), "{path} is gone");
        }
        assert_eq!(fs::read(machine.path("/etc/machine-id")).unwrap(), b"");
        assert_eq!(fs::read(machine.path("/var/log/app/app.log")).unwrap(), b"");
    }

    #[test]
    fn nothing_of_ours_and_nothing_of_the_machine_s_own_stays() {
        let (_root, machine) = used();
        seal(&machine, Then::PowerOff).unwrap();
        assert_sealed(&machine);
        assert!(!machine.path(AGENT_S).exists());
        // A second delivery finds nothing to do.
        run(&machine, Then::PowerOff).unwrap();
    }

    #[test]
    fn what_was_written_since_the_seal_goes_when_the_machine_goes_down() {
        let (_root, machine) = used();
        seal(&machine, Then::KeepRunning).unwrap();
        assert_sealed(&machine);
        assert!(machine.path(AGENT_S).exists(), "the agent still has to answer");
        use_again(&machine);
        let output = Command::new("sh").arg("-c").arg(last_word(&machine)).output().unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_sealed(&machine);
        assert!(!machine.path(AGENT_S).exists());
    }
}
