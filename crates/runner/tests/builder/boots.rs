//! Boots in the middle of the work: asked for by a step, made by a step, and by nobody.

use std::{fs, path::Path, thread, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use ovenbird_core::domain::{
    mailbox::Order,
    plan::Plan,
    recipe::{Step, Test, TestKind},
    report::{Exit, ProvisionReport, Reboot, SealReport, TestReport},
};

use super::{
    cloud::{World, shell},
    work::{AtWork, heartbeat},
};

/// A machine with a systemd that says what the test wants, in its first boot.
fn world() -> World {
    let world = World::new();
    fs::create_dir_all(world.root.path().join("run/systemd/system")).unwrap();
    let root = world.root.path().display();
    let script = format!(
        "case \"$1\" in is-system-running) cat {root}/state 2>/dev/null || echo running;;\n\
         list-jobs) echo '1 reboot.target start waiting';; show) echo ActiveState=inactive;;\n\
         reboot) echo reboot >> {root}/orders;; esac\n"
    );
    world.program("usr/bin/systemctl", &script);
    boot(&world, 1);
    world
}

/// Another boot, by the time when its first process began.
fn boot(world: &World, number: u32) {
    let path = world.root.path().join("proc/1/stat");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("1 (systemd) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 {number} 22 33\n"))
        .unwrap();
}

fn reboots(name: &str, run: &str) -> Step {
    Step { reboot: true, ..shell(name, run) }
}

fn wait_for(what: &str, look: impl Fn() -> bool) {
    for _ in 0..600 {
        if look() {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("{what}: not within 30 s");
}

fn wait_for_file(path: &Path) {
    wait_for(&path.display().to_string(), || path.exists());
}

/// All that descends from a process, itself first.
fn family(pid: u32) -> Vec<Pid> {
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        let path = format!("/proc/{parent}/task/{parent}/children");
        let children = fs::read_to_string(path).unwrap_or_default();
        family.extend(children.split_whitespace().map(|pid| pid.parse::<u32>().unwrap()));
        next += 1;
    }
    family.into_iter().map(|pid| Pid::from_raw(i32::try_from(pid).unwrap())).collect()
}

/// As systemd ends a unit: every process of it gets the signal.
fn end(work: &mut AtWork<'_>, signal: Signal) {
    for pid in family(work.child.id()) {
        let _ = kill(pid, signal);
    }
    work.ends();
}

/// The machine goes down in order, and boots again.
fn shut_down(world: &World, work: &mut AtWork<'_>, number: u32) {
    fs::write(world.root.path().join("state"), "stopping\n").unwrap();
    end(work, Signal::SIGTERM);
    fs::remove_file(world.root.path().join("state")).unwrap();
    boot(world, number);
}

fn provisioned(world: &World) -> Vec<(String, Exit)> {
    let report: ProvisionReport = serde_json::from_str(&world.wait_for("provision.json")).unwrap();
    report.steps.into_iter().map(|step| (step.name, step.exit)).collect()
}

fn well(names: &[&str]) -> Vec<(String, Exit)> {
    names.iter().map(|name| ((*name).to_owned(), Exit::Status(0))).collect()
}

/// How often each step ran.
fn counting(world: &World, name: &str, then: &str) -> String {
    format!("echo {name} >> {}; {then}", world.root.path().join("count").display())
}

fn counted(world: &World) -> String {
    fs::read_to_string(world.root.path().join("count")).unwrap().replace('\n', " ")
}

/// A shell creates a file before it writes to it, and may be killed in between.
fn wait_for_count(world: &World) {
    let count = world.root.path().join("count");
    wait_for("a step's count", || fs::read_to_string(&count).is_ok_and(|text| text.ends_with('\n')));
}

#[test]
fn a_step_with_reboot_is_followed_by_a_boot_and_then_by_the_next_step() {
    let world = world();
    let steps = [
        shell("one", &counting(&world, "one", "true")),
        reboots("two", &counting(&world, "two", "true")),
        Step { only_if: Some("false".into()), ..reboots("left out", "true") },
        reboots("three", &counting(&world, "three", "true")),
    ];
    let plan = world.plan(steps.to_vec());
    let mut work = AtWork::start(&world, &plan);
    work.order(Order::Provision);
    let ordered = |count| {
        wait_for("the reboot", || {
            fs::read_to_string(world.root.path().join("orders"))
                .is_ok_and(|text| text.lines().count() == count)
        });
    };
    ordered(1);
    assert!(heartbeat(&world).reboots, "its silence would be taken for its death");
    shut_down(&world, &mut work, 2);
    let mut work = AtWork::start(&world, &plan);
    ordered(2);
    shut_down(&world, &mut work, 3);
    let _work = AtWork::start(&world, &plan);
    let steps = provisioned(&world);
    assert_eq!(counted(&world), "one two three ");
    assert_eq!((&steps[2].1, steps.len()), (&Exit::Skipped, 4));
    wait_for("a heartbeat", || !heartbeat(&world).reboots);
}

#[test]
fn a_step_that_says_so_may_boot_the_machine_by_itself() {
    let world = world();
    let going = world.root.path().join("going");
    let script = counting(&world, "one", &format!("touch {}; sleep 60", going.display()));
    let plan = world.plan(vec![reboots("one", &script), shell("two", &counting(&world, "two", "true"))]);
    let mut work = AtWork::start(&world, &plan);
    work.order(Order::Provision);
    wait_for_file(&going);
    shut_down(&world, &mut work, 2);
    let last = heartbeat(&world);
    assert!(last.reboots && last.work.is_some_and(|work| work.name == "one"), "what it was at is not told");
    let _work = AtWork::start(&world, &plan);
    assert_eq!(provisioned(&world), well(&["one", "two"]));
    assert_eq!(counted(&world), "one two ");
}

#[test]
fn a_step_that_does_not_say_so_fails_when_it_boots_the_machine() {
    // The second had the machine shut down, and ended well before it went.
    for then in ["sleep 60", "echo stopping > ../../../../state"] {
        let world = world();
        let going = world.root.path().join("going");
        let script = format!("echo new kernel; touch {}; {then}", going.display());
        let plan = world.plan(vec![shell("one", &script), shell("two", &counting(&world, "two", "true"))]);
        let mut work = AtWork::start(&world, &plan);
        work.order(Order::Provision);
        wait_for_file(&going);
        thread::sleep(Duration::from_millis(500));
        shut_down(&world, &mut work, 2);
        let _work = AtWork::start(&world, &plan);
        assert_eq!(provisioned(&world), [("one".to_owned(), Exit::Rebooted(Reboot::InOrder))]);
        let report = world.object("provision.json");
        assert!(report.contains("new kernel"), "what it printed is lost: {report}");
        assert!(!world.root.path().join("count").exists());
    }
}

/// `reboot = true` is no leave to crash.
#[test]
fn a_machine_that_crashed_does_not_go_on() {
    let world = world();
    let going = world.root.path().join("going");
    let script = format!("touch {}; sleep 60", going.display());
    let plan = world.plan(vec![reboots("one", &script)]);
    let mut work = AtWork::start(&world, &plan);
    work.order(Order::Provision);
    wait_for_file(&going);
    end(&mut work, Signal::SIGKILL);
    boot(&world, 2);
    let _work = AtWork::start(&world, &plan);
    assert_eq!(provisioned(&world), [("one".to_owned(), Exit::Rebooted(Reboot::Unordered))]);
}

#[test]
fn a_runner_that_was_ended_does_not_do_half_a_step_again() {
    let world = world();
    let script = counting(&world, "one", "sleep 60");
    let plan = world.plan(vec![reboots("one", &script)]);
    let mut work = AtWork::start(&world, &plan);
    work.order(Order::Provision);
    wait_for_count(&world);
    end(&mut work, Signal::SIGKILL);
    let _work = AtWork::start(&world, &plan);
    let steps = provisioned(&world);
    assert!(steps[0].1.to_string().contains("the runner was ended in this step"), "{steps:?}");
    assert_eq!(counted(&world), "one ");
}

#[test]
fn a_runner_that_somebody_stops_says_so() {
    let world = world();
    let script = counting(&world, "one", "sleep 60");
    let mut work = AtWork::start(&world, &world.plan(vec![shell("one", &script)]));
    work.order(Order::Provision);
    wait_for_count(&world);
    end(&mut work, Signal::SIGTERM);
    let failure = heartbeat(&world).failure.unwrap();
    assert!(failure.contains("stopped the runner's unit"), "{failure}");
}

#[test]
fn a_second_runner_leaves_the_work_to_the_first() {
    let world = world();
    let plan = world.plan(vec![]);
    let first = AtWork::start(&world, &plan);
    world.wait_for("progress.json");
    let mut second = AtWork::start(&world, &plan);
    assert!(second.ends());
    first.order(Order::Provision);
    world.wait_for("provision.json");
}

fn at_work(world: &World, plan: &Plan, generation: u32) {
    fs::create_dir_all(world.own("")).unwrap();
    world.put("orders.json", Vec::new());
    fs::write(world.own("done.json"), (generation - 1).to_string()).unwrap();
    let work = format!("{{\"boot\": \"another\", \"generation\": {generation}}}");
    fs::write(world.own("at-work.json"), work).unwrap();
    fs::write(world.own("plan.json"), serde_json::to_vec(plan).unwrap()).unwrap();
}

#[test]
fn a_boot_in_the_middle_of_the_tests_or_of_the_seal_is_their_failure() {
    let world = world();
    let kind = TestKind::Port { number: 22 };
    let mut plan = world.plan(vec![]);
    plan.tests = vec![Test { name: "ssh".into(), kind, within: Duration::ZERO }];
    at_work(&world, &plan, 2);
    let work = AtWork::start(&world, &plan);
    work.order(Order::Test);
    let report: TestReport = serde_json::from_str(&world.wait_for("test.json")).unwrap();
    assert!(!report.tests[0].passed && report.tests[0].detail.contains("booted again while the tests ran"));
    assert!(world.object("junit.xml").contains("booted again"));
    drop(work);

    at_work(&world, &plan, 3);
    let mut work = AtWork::start(&world, &plan);
    work.order(Order::Seal);
    let report: SealReport = serde_json::from_str(&world.wait_for("seal.json")).unwrap();
    assert!(report.problem.unwrap().contains("booted again in the middle of its seal"));
    work.ends();
    assert!(
        !world.root.path().join("orders").exists(),
        "half sealed, it was powered off as if it were whole"
    );
}

#[test]
fn the_seal_removes_what_starts_the_runner_at_a_boot() {
    let world = world();
    let plan = world.plan(vec![]);
    let work = AtWork::start(&world, &plan);
    work.order(Order::Provision);
    world.wait_for("provision.json");
    let unit = world.root.path().join("etc/systemd/system/ovenbird-resume.service");
    let wanted = unit.with_file_name("multi-user.target.wants").join("ovenbird-resume.service");
    assert!(unit.is_file() && fs::symlink_metadata(&wanted).unwrap().is_symlink());
    drop(work);
    fs::remove_dir_all(world.root.path().join("run/systemd")).unwrap();
    assert!(world.run("seal", &plan).status.success());
    assert!(!unit.exists() && fs::symlink_metadata(&wanted).is_err());
}

#[test]
fn a_spot_instance_that_ec2_takes_back_says_so() {
    let world = World::new();
    let notice = r#"{"action": "terminate", "time": "2026-01-01T08:22:00Z"}"#;
    world.state.lock().unwrap().interruption = Some(notice.to_owned());
    let work = AtWork::start(&world, &world.plan(vec![shell("long", "sleep 30")]));
    work.order(Order::Provision);
    wait_for("the notice", || heartbeat(&world).interruption.is_some());
    let words = heartbeat(&world).interruption.unwrap();
    assert!(words.contains("it will terminate the instance at 2026-01-01T08:22:00Z"), "{words}");
    assert!(heartbeat(&world).work.is_some());
}
