//! `work`: what the mailbox orders is done, once, in order, and told.

use std::{fs, process::Child, time::Duration};

use super::cloud::{World, shell};
use jiff::{SignedDuration, Timestamp};
use ovenbird_core::domain::{
    digest::sha256,
    mailbox::{Heartbeat, Order, Orders},
    plan::Plan,
    recipe::{Test, TestKind},
    report::{ProvisionReport, SealReport, TestReport},
};

/// A machine at work, which ends with its test.
pub struct AtWork<'w> {
    world: &'w World,
    pub child: Child,
}

impl<'w> AtWork<'w> {
    pub fn start(world: &'w World, plan: &Plan) -> Self {
        fs::create_dir_all(world.own("")).unwrap();
        fs::write(world.own("urls.json"), serde_json::to_vec(&world.urls()).unwrap()).unwrap();
        world.put("urls.json", serde_json::to_vec(&world.urls()).unwrap());
        world.put("plan.json", serde_json::to_vec(plan).unwrap());
        let child = world.command("work").spawn().unwrap();
        Self { world, child }
    }

    pub fn order(&self, order: Order) {
        order_in(self.world, order);
    }

    pub fn ends(&mut self) -> bool {
        for _ in 0..600 {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.success();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("it is still at work after 30 s");
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn order_in(world: &World, order: Order) {
    world.put("orders.json", serde_json::to_vec(&Orders::from(order)).unwrap());
}

pub fn heartbeat(world: &World) -> Heartbeat {
    serde_json::from_str(&world.wait_for("progress.json")).unwrap()
}

#[test]
fn a_machine_is_configured_tested_and_sealed_as_it_is_ordered() {
    let world = World::new();
    let count = world.root.path().join("count");
    let step = shell("counts", &format!("echo once >> {}", count.display()));
    let mut work = AtWork::start(&world, &world.plan(vec![step]));
    // Without an order it says that it is there.
    assert_eq!(heartbeat(&world), Heartbeat::default());
    work.order(Order::Provision);
    let report: ProvisionReport = serde_json::from_str(&world.wait_for("provision.json")).unwrap();
    assert!(report.failure().is_none());
    work.order(Order::Test);
    let report: TestReport = serde_json::from_str(&world.wait_for("test.json")).unwrap();
    assert!(report.tests.is_empty());
    assert!(world.wait_for("junit.xml").contains("<testsuite"));
    // An order that was done is not done again, however often it comes.
    work.order(Order::Provision);
    std::thread::sleep(Duration::from_millis(2_500));
    work.order(Order::Seal);
    let report: SealReport = serde_json::from_str(&world.wait_for("seal.json")).unwrap();
    assert_eq!(report.problem, None);
    assert!(work.ends());
    assert_eq!(fs::read_to_string(count).unwrap(), "once\n");
    assert_eq!(fs::read_to_string(world.root.path().join("orders")).unwrap(), "poweroff\n");
    assert!(!world.own("").exists());
    // No URL was in an argument or an environment, where any user could read it.
    let noted = fs::read_to_string(world.root.path().join("noted")).unwrap();
    assert!(noted.contains("--upload-file") && !noted.contains("X-Amz-Signature"), "{noted}");
}

#[test]
fn what_a_step_prints_is_told_while_it_runs() {
    let world = World::new();
    let go = world.root.path().join("go");
    let step =
        shell("install", &format!("echo fetching; while [ ! -e {} ]; do sleep 0.1; done", go.display()));
    let work = AtWork::start(&world, &world.plan(vec![shell("first", "true"), step]));
    work.order(Order::Provision);
    for _ in 0..300 {
        let heartbeat = heartbeat(&world);
        if let Some(doing) =
            heartbeat.work.filter(|doing| doing.name == "install" && !doing.output.is_empty())
        {
            assert_eq!((doing.number, doing.of, doing.output.as_str()), (2, 2, "fetching"));
            assert_eq!(heartbeat.generation, 1);
            fs::write(&go, "").unwrap();
            world.wait_for("provision.json");
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("it was never told");
}

#[test]
fn a_machine_that_boots_in_between_goes_on_with_the_next_order() {
    let world = World::new();
    let plan = world.plan(vec![shell("once", "test ! -e ../again; touch ../again")]);
    let work = AtWork::start(&world, &plan);
    work.order(Order::Provision);
    world.wait_for("provision.json");
    // The report is there a moment before it is noted that it is.
    for _ in 0..100 {
        if world.own("done.json").exists() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(work);
    world.state.lock().unwrap().objects.remove("provision.json");
    let work = AtWork::start(&world, &plan);
    work.order(Order::Test);
    world.wait_for("test.json");
    assert!(!world.state.lock().unwrap().objects.contains_key("provision.json"));
}

/// EC2 boots a builder again whose image it took while it ran, and cloud-init takes the sealed machine for a new one.
#[test]
fn a_machine_that_was_sealed_before_is_left_alone() {
    let world = World::new();
    order_in(&world, Order::SealRunning);
    let mut work = AtWork::start(&world, &world.plan(vec![]));
    assert!(work.ends());
    assert!(!world.state.lock().unwrap().objects.contains_key("seal.json"));
    assert!(!world.root.path().join("orders").exists());
}

#[test]
fn a_plan_that_is_not_understood_is_said() {
    let world = World::new();
    fs::create_dir_all(world.own("")).unwrap();
    fs::write(world.own("plan.json"), "{}").unwrap();
    let mut work = AtWork::start(&world, &world.plan(vec![]));
    assert!(!work.ends());
    let failure = heartbeat(&world).failure.unwrap();
    assert!(failure.contains("the plan is of another version"), "{failure}");
}

#[test]
fn a_machine_whose_bake_s_time_is_over_powers_off() {
    let world = World::new();
    let ends = Timestamp::now() + SignedDuration::from_secs(1);
    let mut work = AtWork::start(&world, &Plan { ends, ..world.plan(vec![]) });
    assert!(!work.ends());
    assert_eq!(fs::read_to_string(world.root.path().join("orders")).unwrap(), "poweroff\n");
}

/// Whoever follows a bake sees a test at work, and what it prints, and then the seal.
#[test]
fn what_a_test_prints_is_told_while_it_runs() {
    let world = World::new();
    let go = world.root.path().join("go");
    let run = format!("echo warming up; while [ ! -e {} ]; do sleep 0.1; done", go.display());
    let kind = TestKind::Command { run, exit: 0, stdout_contains: None, stderr_contains: None, junit: None };
    let mut plan = world.plan(vec![]);
    let port = TestKind::User { name: "root".into(), group: None, shell: None };
    let test = |name: &str, kind| Test { name: name.into(), kind, within: Duration::from_secs(60) };
    plan.tests = vec![test("root", port), test("serves", kind)];
    let work = AtWork::start(&world, &plan);
    work.order(Order::Test);
    for _ in 0..300 {
        let doing = heartbeat(&world).work.filter(|doing| !doing.output.is_empty());
        if let Some(doing) = doing {
            assert_eq!((doing.name.as_str(), doing.number, doing.of), ("serves", 2, 2));
            assert_eq!(doing.output, "warming up");
            fs::write(&go, "").unwrap();
            world.wait_for("test.json");
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("it was never told: {:?}", heartbeat(&world));
}

#[test]
fn all_that_the_steps_print_is_kept_in_one_log() {
    let world = World::new();
    let steps = vec![shell("much", "seq 1000000"), shell("little", "echo a little")];
    let work = AtWork::start(&world, &world.plan(steps));
    work.order(Order::Provision);
    let report: ProvisionReport = serde_json::from_str(&world.wait_for("provision.json")).unwrap();
    let log = world.object("steps.log");
    let part = |number: usize| report.steps[number].log.unwrap().of(&log).unwrap();
    assert!(
        part(0).starts_with("1\n2\n") && part(0).contains("\n500000\n") && part(0).ends_with("\n1000000\n")
    );
    assert_eq!(part(1), "a little\n");
}

/// Who may write the bucket may not have the machine do something else than it was launched for.
#[test]
fn a_plan_that_user_data_does_not_name_is_not_followed() {
    let world = World::new();
    let touched = world.root.path().join("touched");
    let plan = world.plan(vec![shell("it", &format!("touch {}", touched.display()))]);
    fs::create_dir_all(world.own("")).unwrap();
    fs::write(world.own("plan.sha256"), format!("{}\n", sha256(b"another"))).unwrap();
    order_in(&world, Order::Provision);
    let mut work = AtWork::start(&world, &plan);
    assert!(!work.ends());
    let failure = heartbeat(&world).failure.unwrap();
    assert!(failure.contains("is not the one that the instance was launched for"), "{failure}");
    assert!(!touched.exists());
    drop(work);
    let text = serde_json::to_vec(&plan).unwrap();
    fs::write(world.own("plan.sha256"), format!("{}\n", sha256(&text))).unwrap();
    let _work = AtWork::start(&world, &plan);
    world.wait_for("provision.json");
    assert!(touched.exists());
}

#[test]
fn on_aws_nothing_goes_without_tls() {
    let world = World::new();
    let plan = Plan { endpoint: None, ..world.plan(vec![]) };
    order_in(&world, Order::Provision);
    let mut work = AtWork::start(&world, &plan);
    assert!(!work.ends());
    let failure = heartbeat(&world).failure.unwrap();
    assert!(failure.contains("is not encrypted") && !failure.contains("X-Amz-Signature"), "{failure}");
}
