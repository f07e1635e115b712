//! Commands in a machine.

use std::time::Duration;

use ovenbird_local::machine::exec;

use crate::lab::{Lab, PATIENCE, until};

pub fn a_command_answers_with_all_it_said(lab: &Lab) {
    let guest = lab.strict();
    let script = "read line; echo \"it's 'quoted' $(id -u) $line\"; echo bad >&2; exit 7";
    let outcome = guest.exec(script, PATIENCE);
    assert_eq!((outcome.exit, outcome.timed_out), (7, false));
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("it's 'quoted' 0 \n", "bad\n"));
    assert_eq!(guest.exec("kill -9 $$", PATIENCE).exit, 137);
    let long = guest.exec("head -c 1000000 /dev/zero | tr '\\0' x; echo end >&2", PATIENCE);
    assert_eq!((long.exit, long.stdout.len(), long.stderr.as_str()), (0, 24_000, "end\n"));
    let script = format!("# {}\nexit 3", "x".repeat(100_000));
    assert_eq!(guest.exec(&script, PATIENCE).exit, 3);
    // It runs in the machine's own cgroup, and so ends with it.
    let group = guest.sh("grep ^0:: /proc/self/cgroup");
    assert!(group.starts_with("0::/command-"), "{group}");
}

pub fn a_command_does_not_wait_for_its_daemons(lab: &Lab) {
    let guest = lab.strict();
    let outcome = guest.exec("sleep 601 & echo started", PATIENCE);
    assert_eq!((outcome.exit, outcome.stdout.as_str(), outcome.timed_out), (0, "started\n", false));
    until("what it left in the background goes on", || guest.running("sleep 601") == 1);
}

pub fn a_timeout_ends_everything_it_started(lab: &Lab) {
    let guest = lab.strict();
    let outcome = guest.exec("echo before; setsid sleep 602 & sleep 602", Duration::from_secs(4));
    assert!(outcome.timed_out, "{outcome:?}");
    assert_eq!(outcome.stdout, "before\n");
    assert_eq!(guest.running("sleep 602"), 0);
}

pub fn a_dropped_command_ends_but_not_its_services(lab: &Lab) {
    let guest = lab.strict();
    let inside = guest.inside();
    let command = async move {
        let script = "systemd-run --quiet --unit=kept sleep 604; setsid sleep 603 & sleep 603";
        exec(&inside, script, Duration::from_secs(600)).await
    };
    let task = lab.runtime.spawn(command);
    until("it runs", || guest.running("sleep 603") == 2);
    task.abort();
    until("its processes end", || guest.running("sleep 603") == 0);
    assert_eq!(guest.sh("systemctl is-active kept"), "active");
}
