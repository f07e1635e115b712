//! Orders, reports and silence: what goes between the steps and a builder.

use futures::executor::block_on;
use jiff::SignedDuration;
use ovenbird_core::{
    domain::{
        bake::{Document, To},
        mailbox::{Heartbeat, Order, Orders, RENEW_AFTER, Urls, Work},
    },
    steps::{run_validation, snapshot},
    store::keys,
};
use ovenbird_sim::BaseImage;
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
fn a_builder_that_falls_silent_fails_its_bake_within_minutes() {
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
    assert!((60..75).contains(&waited), "{waited} s");
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
        failure: None,
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
