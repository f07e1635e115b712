//! Commands in a machine.

use std::time::{Duration, Instant};

use ovenbird_local::machine::exec;

use crate::lab::{Guest, Lab, PATIENCE, until};

pub fn a_command_answers_with_all_it_said(lab: &Lab) {
    let guest = lab.guest();
    let outcome =
        guest.exec("read line; echo \"$0 it's 'quoted' $(id -u) $line\"; echo bad >&2; exit 7", PATIENCE);
    assert_eq!((outcome.exit, outcome.timed_out), (7, false));
    assert!(outcome.stdout.contains("it's 'quoted' 0"), "{outcome:?}");
    assert_eq!(outcome.stderr, "bad\n");
    assert_eq!(guest.exec("kill -9 $$", PATIENCE).exit, 137);
    let long = guest.exec("head -c 1000000 /dev/zero | tr '\\0' x; echo end >&2", PATIENCE);
    assert_eq!((long.exit, long.stdout.len(), long.stderr.as_str()), (0, 24_000, "end\n"));
    let script = format!("# {}\nexit 3", "x".repeat(100_000));
    assert_eq!(guest.exec(&script, PATIENCE).exit, 3);
    // It runs in the machine's own cgroup, and so ends with it.
    let inside = guest.sh("grep ^0:: /proc/self/cgroup");
    assert!(!inside.contains(".."), "{inside}");
}

pub fn a_command_does_not_wait_for_its_daemons(lab: &Lab) {
    let guest = lab.guest();
    let start = Instant::now();
    let outcome = guest.exec("sleep 600 & echo started", PATIENCE);
    assert_eq!((outcome.exit, outcome.stdout.as_str()), (0, "started\n"));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(running(&guest), 1);
}

pub fn a_timeout_ends_everything_it_started(lab: &Lab) {
    let guest = lab.guest();
    let outcome = guest.exec("echo before; setsid sleep 600 & sleep 600", Duration::from_secs(1));
    assert!(outcome.timed_out, "{outcome:?}");
    assert_eq!(outcome.stdout, "before\n");
    until("its processes end", PATIENCE, || running(&guest) == 0);
    assert_eq!(guest.sh("echo the machine lives"), "the machine lives");
}

pub fn a_dropped_command_ends(lab: &Lab) {
    let guest = lab.guest();
    let pid = guest.machine.init_pid().expect("a first process");
    let command = exec(pid, "setsid sleep 600 & sleep 600", PATIENCE);
    let task = lab.runtime.spawn(command);
    until("it runs", PATIENCE, || running(&guest) == 2);
    task.abort();
    until("its processes end", PATIENCE, || running(&guest) == 0);
}

fn running(guest: &Guest<'_>) -> usize {
    guest.sh("pgrep -c -x sleep || true").parse().expect("a number")
}
