//! A supervisor that dies takes everything with it.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use ovenbird_local::machine::{Layer, cgroup};

use crate::lab::{Lab, until};

/// The hidden command by which this program is a supervisor with a machine.
pub const SUPERVISE: &str = "supervise";

/// Runs a machine until it is killed.
pub fn supervise() -> ExitCode {
    let Some(folder) = std::env::args().nth(2) else { return ExitCode::FAILURE };
    let lab = Lab::open_in(Path::new(&folder));
    let mut instance = lab.instance(vec![Layer::Base]);
    instance.user_data = Some(b"#!/bin/sh\nexec sleep 600\n".to_vec());
    let mut guest = lab.start(&instance);
    guest.online();
    println!("up {}", lab.cgroup().display());
    // In the middle of a command, as of a bake.
    guest.exec("setsid sleep 600 & sleep 600", Duration::from_secs(600));
    ExitCode::SUCCESS
}

pub fn sigkill_of_the_supervisor_leaves_nothing(lab: &Lab) {
    let before = host();
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
    let group = line.trim().strip_prefix("up ").expect("it is up").to_owned();
    let group = Path::new(&group);
    until("its command runs", Duration::from_secs(5), || processes(supervisor.id()).len() >= 15);
    let resident = memory(supervisor.id());
    let started = processes(supervisor.id());
    println!("figure: supervisor with one machine {resident} kB resident, {} processes", started.len());

    supervisor.kill().expect("it is killed");
    supervisor.wait().expect("it is dead");
    let left =
        || started.iter().filter(|(pid, start)| stat(*pid).is_some_and(|stat| stat.start == *start)).count();
    let took = until("every process ends", Duration::from_secs(3), || left() == 0);
    println!("figure: everything ended {took:.2?} after SIGKILL");
    assert_eq!(host(), before, "mounts or links are left");
    cgroup::remove(group);
    assert!(!group.exists(), "a cgroup has processes");
}

/// What a machine might leave on the host: mounts, links and named network namespaces.
fn host() -> (String, Vec<String>, Vec<String>) {
    let list = |folder: &str| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
    (mounts, list("/sys/class/net"), list("/run/netns"))
}

struct Stat {
    parent: u32,
    start: u64,
    zombie: bool,
}

/// A process that is not a zombie: dead and unreaped ones are somebody else's to reap.
fn stat(pid: u32) -> Option<Stat> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let stat =
        Stat { parent: fields[1].parse().ok()?, start: fields[19].parse().ok()?, zombie: fields[0] == "Z" };
    (!stat.zombie).then_some(stat)
}

/// Everything that descends from a process, with when it was started.
fn processes(ancestor: u32) -> Vec<(u32, u64)> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let all: Vec<(u32, Stat)> = pids.filter_map(|pid| Some((pid, stat(pid)?))).collect();
    let mut family = vec![ancestor];
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        family.extend(all.iter().filter(|(_, stat)| stat.parent == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    let start = |pid: u32| all.iter().find(|(of, _)| *of == pid).map(|(_, stat)| (pid, stat.start));
    family.into_iter().filter(|pid| *pid != ancestor).filter_map(start).collect()
}

fn memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or_default()
}
