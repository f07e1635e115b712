//! Orders, reports and silence: what goes between the steps and a builder.

use futures::executor::block_on;
use jiff::SignedDuration;
use ovenbird_core::{
    domain::{
        bake::{Document, To},
        mailbox::{Heartbeat, Order, Orders, RENEW_AFTER, Urls, Work},
        report::{Exit, ProvisionReport, Reboot, StepReport},
    },
    steps::{run_validation, snapshot},
    store::keys,
};
use ovenbird_sim::{BaseImage, MachineEvent};
use ovenbird_testkit::{Cloud, Script};

use super::bench::Bench;

fn read<D: serde::de::DeserializeOwned>(cloud: &Cloud, document: &Document, file: &str) -> Option<D> {
    let spec = &document.bake.spec;
    let text =
        block_on(ovenbird_core::ports::Bucket::text(cloud, &keys::of_bake(&spec.pipeline, &spec.id, file)));
    text.unwrap().map(|text| serde_json::from_str(&text).unwrap())
}

fn order(cloud: &Cloud, document: &Document) -> Order {
    read::<Orders>(cloud, document, keys::ORDERS).unwrap().order
}

#[test]
fn an_order_that_comes_late_does_not_take_the_place_of_the_next_one() {
    let bench = Bench::new();
    let cloud = &bench.cloud;
    let started = bench.start("one", &bench.upload("v1.jar")).unwrap();
    assert_eq!(order(cloud, &started), Order::Provision);
    let mut provisioned = started.clone();
    provisioned.next.to = To::Go;
    let tested = bench.build(started, 0, true).unwrap();
    assert_eq!(order(cloud, &tested), Order::Test);
    block_on(snapshot::seal(tested.clone(), cloud, cloud.now())).unwrap();
    assert_eq!(order(cloud, &tested), Order::Seal);
    // A function that was thought dead orders the tests once more.
    block_on(run_validation::run(provisioned, cloud, cloud.now())).unwrap();
    assert_eq!(order(cloud, &tested), Order::Seal);
}

#[test]
fn urls_are_signed_anew_before_they_end_and_not_at_each_look() {
    let bench = Bench::new();
    let mut document = bench.start("one", &bench.upload("v1.jar")).unwrap();
    let signed = || read::<Urls>(&bench.cloud, &document, keys::URLS).unwrap().signed;
    let first = signed();
    let mut seen = vec![first];
    let start = bench.cloud.now();
    while bench.cloud.now().duration_since(start) < SignedDuration::from_secs(1_000) {
        document = bench.look(&document).unwrap();
        let now = read::<Urls>(&bench.cloud, &document, keys::URLS).unwrap().signed;
        assert!(bench.cloud.now().duration_since(now) < RENEW_AFTER + SignedDuration::from_secs(121));
        if seen.last() != Some(&now) {
            seen.push(now);
        }
    }
    assert!((3..=5).contains(&seen.len()), "{seen:?}");
}

#[test]
fn a_builder_that_was_never_heard_of_fails_its_bake_after_five_minutes_with_its_console() {
    let script = Script { falls_silent: true, ..Script::default() };
    let bench = Bench::on(&BaseImage::debian_12("20260101", "x86_64"), &script, false);
    let bench = bench.silent();
    let document = bench.start("one", &bench.upload("v1.jar")).unwrap();
    let start = bench.cloud.now();
    let error = bench.poll(document).unwrap_err();
    assert_eq!(error.name(), "BuilderSilent");
    assert!(error.to_string().contains("was not heard of since its launch"), "{error}");
    assert!(error.hint().contains("cloud-init"), "{}", error.hint());
    let waited = bench.cloud.now().duration_since(start).as_secs();
    assert!((300..345).contains(&waited), "{waited} s");
    bench.fail("one", &error);
    bench.assert_clean(0);
}

#[test]
fn a_builder_that_falls_silent_fails_its_bake_within_a_minute() {
    let silent = Script { falls_silent: true, ..Script::default() };
    let bench = Bench::sealing(&silent, false);
    let document = bench.start("one", &bench.upload("v1.jar")).unwrap();
    let document = bench.build(document, 0, true).unwrap();
    bench.cloud.pass(SignedDuration::from_secs(10));
    let document = block_on(snapshot::seal(document, &bench.cloud, bench.cloud.now())).unwrap();
    let start = bench.cloud.now();
    let error = bench.poll(document).unwrap_err();
    assert_eq!(error.name(), "BuilderSilent");
    assert!(error.hint().contains("Its runner died"), "{}", error.hint());
    let waited = bench.cloud.now().duration_since(start).as_secs();
    assert!((45..60).contains(&waited), "{waited} s");
}

#[test]
fn what_the_builder_does_is_told_while_it_is_waited_for_and_its_runner_s_failure_at_once() {
    let bench = Bench::new();
    let document = bench.start("one", &bench.upload("v1.jar")).unwrap();
    let spec = &document.bake.spec;
    let key = keys::of_bake(&spec.pipeline, &spec.id, keys::PROGRESS);
    let mut heartbeat = Heartbeat {
        generation: 1,
        work: Some(Work {
            order: Order::Provision,
            name: "install Java".into(),
            number: 2,
            of: 7,
            since: bench.cloud.now(),
            output: String::new(),
        }),
        ..Heartbeat::default()
    };
    bench.cloud.put(&key, serde_json::to_string(&heartbeat).unwrap());
    bench.cloud.pass(SignedDuration::from_secs(200));
    let error = bench.look(&document).unwrap_err();
    assert!(error.to_string().contains("was at `install Java`, 2 of 7"), "{error}");
    heartbeat.failure = Some("the plan is of another version".into());
    bench.cloud.put(&key, serde_json::to_string(&heartbeat).unwrap());
    let error = bench.look(&document).unwrap_err();
    assert_eq!(error.name(), "RunnerFailed");
    assert!(error.to_string().contains("of another version"), "{error}");
}

/// Whoever is root on a builder may write there what it likes.
#[test]
fn a_heartbeat_that_would_fill_a_function_s_memory_fails_the_bake_and_is_not_read() {
    let bench = Bench::new();
    let document = bench.start("one", &bench.upload("v1.jar")).unwrap();
    let spec = &document.bake.spec;
    let key = keys::of_bake(&spec.pipeline, &spec.id, keys::PROGRESS);
    bench.cloud.put(&key, " ".repeat(keys::largest(&key) + 1));
    let error = bench.look(&document).unwrap_err();
    assert_eq!(error.name(), "BadInput");
    assert!(error.to_string().contains(&key), "{error}");
    bench.fail("one", &error);
    bench.assert_clean(0);
}

fn at_work() -> Heartbeat {
    let work = Work {
        order: Order::Provision,
        name: "new kernel".into(),
        number: 2,
        of: 7,
        since: jiff::Timestamp::UNIX_EPOCH,
        output: String::new(),
    };
    Heartbeat { generation: 1, work: Some(work), ..Heartbeat::default() }
}

impl Bench {
    fn say(&self, document: &Document, file: &str, what: &impl serde::Serialize) {
        let spec = &document.bake.spec;
        self.cloud.put(&keys::of_bake(&spec.pipeline, &spec.id, file), serde_json::to_string(what).unwrap());
    }
}

#[test]
fn a_step_that_is_too_slow_is_told_with_what_it_printed_last() {
    let bench = Bench::new();
    let document = bench.start("one", &bench.upload("v1.jar")).unwrap();
    bench.cloud.pass(SignedDuration::from_secs(3 * 3600));
    let mut heartbeat = at_work();
    let work = heartbeat.work.as_mut().unwrap();
    (work.since, work.output) =
        (bench.cloud.now() - SignedDuration::from_secs(90), "line 1\nline 2\n".into());
    bench.say(&document, keys::PROGRESS, &heartbeat);
    let error = bench.look(&document).unwrap_err();
    assert_eq!(error.name(), "DeadlinePassed");
    let text = error.to_string();
    // A look takes a moment.
    assert!(text.contains("`new kernel` began 9"), "{text}");
    assert!(text.ends_with(" s ago, and its output ends:\nline 1\nline 2"), "{text}");
    // One that printed nothing is told with the console.
    heartbeat.work.as_mut().unwrap().output.clear();
    bench.say(&document, keys::PROGRESS, &heartbeat);
    let text = bench.look(&document).unwrap_err().to_string();
    assert!(text.contains("it was at `new kernel`, 2 of 7; its console ends:"), "{text}");
}

#[test]
fn a_machine_that_boots_again_may_be_silent_for_as_long_as_at_its_first_boot() {
    let bench = Bench::new();
    let document = bench.start("one", &bench.upload("v1.jar")).unwrap();
    bench.say(&document, keys::PROGRESS, &Heartbeat { reboots: true, ..at_work() });
    // Each look watches for two minutes.
    bench.cloud.pass(SignedDuration::from_secs(175));
    bench.look(&document).unwrap();
    let error = bench.look(&document).unwrap_err();
    assert_eq!(error.name(), "BuilderSilent");
    let words = "was at `new kernel`, 2 of 7, and then went down to boot again";
    assert!(error.to_string().contains(words), "{error}");
}

#[test]
fn a_spot_builder_that_ec2_takes_back_fails_its_bake_before_it_is_gone() {
    let bench = Bench::new();
    let document = bench.start("one", &bench.upload("v1.jar")).unwrap();
    let notice = "EC2 takes the spot capacity back: it will terminate the instance at 08:22:00Z";
    bench.say(&document, keys::PROGRESS, &Heartbeat { interruption: Some(notice.into()), ..at_work() });
    bench.cloud.pass(SignedDuration::from_secs(5));
    let error = bench.look(&document).unwrap_err();
    assert_eq!(error.name(), "BuilderLost");
    assert!(error.to_string().contains(notice), "{error}");
    assert!(error.hint().contains("start the bake again, or set `spot = false`"), "{}", error.hint());
    bench.fail("one", &error);
    bench.assert_clean(0);
}

#[test]
fn a_builder_that_powers_off_is_told_from_one_that_boots_again() {
    let bench = Bench::new();
    let document = bench.start("one", &bench.upload("v1.jar")).unwrap();
    bench.cloud.pass(SignedDuration::from_secs(5));
    bench.say(&document, keys::PROGRESS, &at_work());
    let (builder, now) = (document.bake.builder().unwrap().clone(), bench.cloud.now());
    bench.cloud.with(|world| world.apply(now, MachineEvent::Rebooted { instance: builder.clone() }));
    // It runs, as far as EC2 says, and says nothing any more.
    assert_eq!(bench.look(&document).unwrap_err().name(), "BuilderSilent");
    bench.say(&document, keys::PROGRESS, &at_work());
    bench.cloud.with(|world| world.apply(now, MachineEvent::PoweredOff { instance: builder }));
    let error = bench.look(&document).unwrap_err();
    assert_eq!(error.name(), "BuilderLost");
    let (text, hint) = (error.to_string(), error.hint());
    assert!(text.contains("is stopped") && text.contains("it was at `new kernel`, 2 of 7"), "{text}");
    assert!(hint.contains("powered it off") && hint.contains("reboot = true"), "{hint}");
}

#[test]
fn a_step_in_which_the_machine_booted_is_told_with_the_console() {
    let bench = Bench::new();
    let document = bench.start("one", &bench.upload("v1.jar")).unwrap();
    bench.cloud.pass(SignedDuration::from_secs(5));
    let (builder, now) = (document.bake.builder().unwrap().clone(), bench.cloud.now());
    let text = "Kernel panic - not syncing".to_owned();
    bench.cloud.with(|world| world.apply(now, MachineEvent::Console { instance: builder, text }));
    let step = StepReport {
        name: "new kernel".into(),
        exit: Exit::Rebooted(Reboot::Unordered),
        tries: 1,
        milliseconds: 1,
        output_tail: "installing".into(),
        log: None,
    };
    bench.say(
        &document,
        keys::PROVISION_REPORT,
        &ProvisionReport { started: now, ended: now, steps: vec![step] },
    );
    let error = bench.look(&document).unwrap_err();
    assert_eq!(error.name(), "StepFailed");
    for word in ["new kernel", "it crashed, or was reset", "installing", "Kernel panic"] {
        assert!(error.to_string().contains(word), "no {word:?} in {error}");
    }
}
