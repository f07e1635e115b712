//! A supervisor that dies takes everything with it.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use ovenbird_local::machine::{Layer, remove_groups};

use crate::lab::{Lab, until};

/// The hidden command by which this program is a supervisor with a machine.
pub const SUPERVISE: &str = "supervise";

/// Runs a machine, and a command in it as in the middle of a bake, until it is killed.
pub fn supervise() -> ExitCode {
    let Some(folder) = std::env::args().nth(2) else { return ExitCode::FAILURE };
    let lab = Lab::open_in(Path::new(&folder));
    let mut guest = lab.start(&lab.instance(vec![Layer::Base]));
    guest.online();
    println!("{}", lab.cgroup().display());
    guest.exec("setsid sleep 605 & sleep 605", Duration::from_secs(600));
    ExitCode::FAILURE
}

pub fn sigkill_of_the_supervisor_leaves_nothing(lab: &Lab) {
    let folder = lab.home().join("killed");
    fs::create_dir_all(&folder).expect("a folder");
    let mut supervisor = Command::new("/proc/self/exe")
        .arg(SUPERVISE)
        .arg(&folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a supervisor");
    let mut line = String::new();
    let stdout = supervisor.stdout.take().expect("its output");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    let group = PathBuf::from(line.trim());
    assert!(group.is_dir(), "it did not come up: {line}");
    let asleep = |pid: &u32| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|command| command == b"sleep\x00605\x00")
    };
    let mut family = Vec::new();
    until("its command runs", || {
        family = descendants(supervisor.id());
        family.iter().filter(|(pid, _)| asleep(pid)).count() == 2
    });

    supervisor.kill().expect("it is killed");
    supervisor.wait().expect("it is dead");
    let left =
        || family.iter().filter(|(pid, born)| stat(*pid).is_some_and(|stat| stat.born == *born)).count();
    until("every process ends", || left() == 0);
    let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
    assert!(!mounts.contains(folder.to_str().expect("a path")), "{mounts}");
    remove_groups(&group);
    assert!(!group.exists(), "a cgroup has processes");
}

struct Stat {
    parent: u32,
    /// When it was started: a number may be another process's by now.
    born: u64,
}

/// A process that is not a zombie: dead and unreaped ones are somebody else's to reap.
fn stat(pid: u32) -> Option<Stat> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let alive = fields[0] != "Z";
    alive.then_some(Stat { parent: fields[1].parse().ok()?, born: fields[19].parse().ok()? })
}

/// Everything that descends from a process, with when it was started.
fn descendants(ancestor: u32) -> Vec<(u32, u64)> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let all: Vec<(u32, Stat)> = pids.filter_map(|pid| Some((pid, stat(pid)?))).collect();
    let mut family = vec![ancestor];
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        family.extend(all.iter().filter(|(_, stat)| stat.parent == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    family.retain(|pid| *pid != ancestor);
    let born = |pid: u32| all.iter().find(|(of, _)| *of == pid).map(|(_, stat)| (pid, stat.born));
    family.into_iter().filter_map(born).collect()
}
