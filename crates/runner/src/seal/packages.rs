//! The machine's package databases: an image with a half-installed package is no image.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    libc,
};

use crate::{machine::Machine, process};

/// How long somebody may still be installing something.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(200);

/// How long a package manager may take to look at its database.
const ANSWER: Duration = Duration::from_secs(120);

/// Whoever changes packages holds one of these: apt and dpkg.
const DPKG_LOCKS: &[&str] = &["/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock"];

/// The same of rpm, where its database was and where it is.
const RPM_LOCKS: &[&str] = &["/var/lib/rpm/.rpm.lock", "/usr/lib/sysimage/rpm/.rpm.lock"];

/// Where dpkg writes what it does, until it is done.
const DPKG: &str = "/var/lib/dpkg";

/// Where yum notes what it has not done yet.
const YUM: &str = "/var/lib/yum";

/// The locks of the package databases, held: nobody begins to install something while the machine is sealed.
#[derive(Debug)]
pub struct Held(#[expect(dead_code, reason = "they are held for as long as they are open")] Vec<File>);

/// Waits until nobody installs anything, keeps it so, and looks whether all that is installed is whole.
pub fn settle(machine: &Machine, patience: Duration) -> Result<Held> {
    let deadline = Instant::now() + patience;
    let mut held = hold(machine, DPKG_LOCKS, deadline)?;
    dpkg(machine)?;
    // rpm looks at its database under the same lock that is waited for.
    drop(hold(machine, RPM_LOCKS, deadline)?);
    rpm(machine)?;
    held.append(&mut hold(machine, RPM_LOCKS, deadline)?);
    Ok(Held(held))
}

/// What would be waited for, or what is not whole, without waiting or holding anything.
pub fn problem(machine: &Machine) -> Option<String> {
    settle(machine, Duration::ZERO).err().map(|error| format!("{error:#}"))
}

fn hold(machine: &Machine, locks: &[&str], deadline: Instant) -> Result<Vec<File>> {
    let mut held = Vec::new();
    for name in locks {
        // Made by root, in folders of root's; a link in its place would be somebody else's file.
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(machine.path(name));
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            // Nobody can install anything into it.
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => continue,
            Err(error) => return Err(error).context(format!("open {name}")),
        };
        while let Err(error) = take(&file) {
            ensure!(matches!(error, Errno::EACCES | Errno::EAGAIN), "lock {name}: {error}");
            if Instant::now() >= deadline {
                bail!(
                    "somebody is still installing packages{}: {name} is locked; let a step wait for it, or stop it",
                    holder(&file)
                );
            }
            thread::sleep(LOOK);
        }
        held.push(file);
    }
    Ok(held)
}

/// Takes a lock as dpkg and rpm do: one of the whole file, by `fcntl`.
fn take(file: &File) -> Result<(), Errno> {
    fcntl(file, FcntlArg::F_SETLK(&whole())).map(drop)
}

fn whole() -> libc::flock {
    let mut lock = lock_of_nothing();
    lock.l_type = libc::F_WRLCK as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock
}

fn lock_of_nothing() -> libc::flock {
    libc::flock { l_type: 0, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 }
}

/// Who holds a lock, in words; nothing when it can't be told.
fn holder(file: &File) -> String {
    let mut lock = whole();
    let told = fcntl(file, FcntlArg::F_GETLK(&mut lock));
    if told.is_err() || lock.l_pid <= 0 {
        return String::new();
    }
    let name = fs::read_to_string(format!("/proc/{}/comm", lock.l_pid)).unwrap_or_default();
    format!(" (process {} {})", lock.l_pid, name.trim())
}

/// `dpkg --audit` names what is half installed or not configured. A package without checksums is whole: many that are
/// made by hand have none.
fn dpkg(machine: &Machine) -> Result<()> {
    let begun = fs::read_dir(machine.path(&format!("{DPKG}/updates"))).into_iter().flatten().flatten();
    let begun =
        begun.filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit)).count();
    ensure!(begun == 0, "dpkg was interrupted: let a step run `dpkg --configure -a`");
    let Some(program) = machine.program("dpkg", &[]).filter(|_| machine.path(DPKG).join("status").exists())
    else {
        return Ok(());
    };
    let mut command = machine.command(program);
    command.arg("--audit");
    let answer = process::ask(command, b"", ANSWER)?;
    let text = answer.text();
    ensure!(
        answer.exit.is_success() || !text.trim().is_empty(),
        "dpkg --audit: {}: {}",
        answer.exit,
        answer.complaint()
    );
    let broken: Vec<&str> = text.split("\n\n").filter(|part| is_broken(part)).collect();
    ensure!(
        broken.is_empty(),
        "packages are not whole: let a step run `dpkg --configure -a` or install them again\n{}",
        broken.join("\n\n").trim()
    );
    Ok(())
}

fn is_broken(part: &str) -> bool {
    !part.trim().is_empty() && !part.contains("missing the md5sums control file")
}

/// rpm tells whether its database is whole; yum leaves its list of what is to do behind when it is interrupted.
fn rpm(machine: &Machine) -> Result<()> {
    let entries = fs::read_dir(machine.path(YUM)).into_iter().flatten().flatten();
    let left =
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("transaction-all")).count();
    ensure!(
        left == 0,
        "yum was interrupted: let a step run `yum-complete-transaction`, or remove {YUM}/transaction-*"
    );
    let used = RPM_LOCKS.iter().any(|lock| machine.path(lock).exists());
    let Some(program) = machine.program("rpmdb", &[]).filter(|_| used) else { return Ok(()) };
    let mut command = machine.command(program);
    command.arg("--verifydb");
    let answer = process::ask(command, b"", ANSWER)?;
    ensure!(
        answer.exit.is_success(),
        "the database of rpm is not whole: let a step run `rpmdb --rebuilddb`\nrpmdb --verifydb: {}: {}",
        answer.exit,
        answer.complaint()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn machine() -> (tempfile::TempDir, Machine) {
        let root = tempfile::tempdir().unwrap();
        let machine = Machine::new(root.path().to_str().unwrap());
        for path in ["/var/lib/dpkg/updates", "/var/lib/rpm", "/var/lib/yum", "/usr/bin"] {
            fs::create_dir_all(machine.path(path)).unwrap();
        }
        for path in ["/var/lib/dpkg/status", "/var/lib/dpkg/lock-frontend", "/var/lib/rpm/.rpm.lock"] {
            fs::write(machine.path(path), "").unwrap();
        }
        audit(&machine, "");
        (root, machine)
    }

    fn audit(machine: &Machine, says: &str) {
        program(machine, "dpkg", &format!("[ \"$*\" = --audit ] || exit 2\nprintf '%s' '{says}'\n"));
    }

    /// By another process: what is open for writing can't be run.
    fn program(machine: &Machine, name: &str, script: &str) {
        let (program, draft) = (machine.path("/usr/bin").join(name), machine.path("/draft"));
        fs::write(&draft, format!("#!/bin/sh\n{script}")).unwrap();
        let status = Command::new("install").args(["-m", "755"]).arg(draft).arg(program).status().unwrap();
        assert!(status.success());
    }

    fn words(machine: &Machine) -> String {
        problem(machine).unwrap_or_default()
    }

    #[test]
    fn whoever_installs_something_is_waited_for_and_named() {
        for lock in ["/var/lib/dpkg/lock-frontend", "/var/lib/rpm/.rpm.lock"] {
            let (_root, machine) = machine();
            let script = "import fcntl,sys\nf=open(sys.argv[1],'r+')\nfcntl.lockf(f,fcntl.LOCK_EX)\nprint('held',flush=True)\nsys.stdin.read()";
            let mut child = Command::new("python3")
                .args(["-c", script])
                .arg(machine.path(lock))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut line = String::new();
            io::BufRead::read_line(&mut io::BufReader::new(child.stdout.as_mut().unwrap()), &mut line)
                .unwrap();
            assert!(
                words(&machine).contains(&format!("process {} python3): {lock}", child.id())),
                "{}",
                words(&machine)
            );
            // It ends while it is waited for.
            thread::scope(|scope| {
                let waiting = scope.spawn(|| settle(&machine, Duration::from_secs(60)).map(drop));
                thread::sleep(LOOK);
                assert!(!waiting.is_finished());
                drop(child.stdin.take());
                waiting.join().unwrap().unwrap();
            });
            child.wait().unwrap();
        }
    }

    #[test]
    fn nobody_begins_to_install_something_while_the_locks_are_held() {
        let (_root, machine) = machine();
        let held = settle(&machine, Duration::ZERO).unwrap();
        let script = "import fcntl,sys\nfcntl.lockf(open(sys.argv[1],'r+'),fcntl.LOCK_EX|fcntl.LOCK_NB)";
        let locked = || {
            let mut command = Command::new("python3");
            command.args(["-c", script]).arg(machine.path(DPKG_LOCKS[0])).stderr(Stdio::null());
            command.status().unwrap().success()
        };
        assert!(!locked());
        drop(held);
        assert!(locked());
    }

    #[test]
    fn a_package_that_is_not_whole_is_named() {
        let (_root, machine) = machine();
        assert_eq!(words(&machine), "");
        audit(
            &machine,
            "The following packages are missing the md5sums control file in the\ndatabase:\n shop  A shop\n\n",
        );
        assert_eq!(words(&machine), "");
        audit(&machine, "The following packages are only half configured:\n nginx  A server\n\n");
        assert!(
            words(&machine).contains("nginx") && words(&machine).contains("--configure -a"),
            "{}",
            words(&machine)
        );
        audit(&machine, "");
        fs::write(machine.path("/var/lib/dpkg/updates/0001"), "").unwrap();
        assert!(words(&machine).contains("dpkg was interrupted"), "{}", words(&machine));
        fs::remove_file(machine.path("/var/lib/dpkg/updates/0001")).unwrap();
        fs::write(machine.path("/var/lib/yum/transaction-all.2026-01-31"), "").unwrap();
        assert!(words(&machine).contains("yum was interrupted"), "{}", words(&machine));
        fs::remove_file(machine.path("/var/lib/yum/transaction-all.2026-01-31")).unwrap();
        program(
            &machine,
            "rpmdb",
            "[ \"$*\" = --verifydb ] || exit 2; echo 'page 3 is damaged' >&2; exit 1\n",
        );
        assert!(words(&machine).contains("page 3 is damaged"), "{}", words(&machine));
    }
}
