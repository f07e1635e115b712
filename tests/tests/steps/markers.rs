//! What tools put beside artifacts and isn't one: it starts no bake, and it fails none.

use futures::executor::block_on;
use ovenbird_core::{domain::trigger::Trigger, ports::Bucket as _};
use ovenbird_testkit::walk::{
    clock::{Clock, run_all},
    machine::{Diary, End, Execution},
};
use serde_json::{Value, json};

use super::bench::Bench;

/// The real bake state machine, started by S3's event of an object; the states it entered, and its end.
fn started(bench: &Bench, key: &str, bytes: &str) -> (Vec<String>, End) {
    let text = include_str!("../../../statemachine/bake.asl.json");
    let machine: Value = serde_json::from_str(text).unwrap();
    let cloud = &bench.cloud;
    cloud.put(key, bytes);
    let input = json!({"version": "0", "id": "1", "detail-type": "Object Created", "source": "aws.s3",
        "account": "123456789012", "time": "2026-01-01T00:00:00Z", "region": "us-east-1", "resources": [],
        "detail": {"object": {"key": key, "size": bytes.len(), "sequencer": "0055AED6"}}});
    let (diary, clock) = (Diary::default(), Clock::default());
    let run = Execution { name: "e-1".into(), input, diary: &diary, cloud, clock: &clock, meanwhile: &|| {} };
    let run = run.run(&machine);
    let started = |name, _| panic!("{name} was started");
    let mut ends = run_all(cloud, &clock, vec![("e-1".to_owned(), Box::pin(run) as _)], started);
    let visits = diary.states.take();
    let states = visits.iter().map(|visit| visit.split(['/', '#']).nth(1).unwrap().to_owned());
    (states.collect(), ends.remove("e-1").unwrap())
}

#[test]
fn a_folder_made_in_the_console_starts_nothing_and_nobody_is_mailed() {
    for key in
        ["artifacts/", "artifacts/storefront/", "artifacts/storefront/1.2/", "artifacts/storefront_$folder$"]
    {
        let bench = Bench::new();
        let (states, end) = started(&bench, key, "");
        // The mail is of an execution that failed.
        assert!(matches!(end, End::Succeeded(_)), "{key}: {end:?}");
        assert_eq!(states, ["LaunchBuilder", "AfterLaunch", "NothingToDo"], "{key}");
        assert!(bench.cloud.rows().is_empty(), "{key} is on record");
        bench.assert_clean(0);
    }
}

#[test]
fn an_empty_artifact_is_somebody_s_mistake_and_they_hear_of_it() {
    for (key, error) in [
        ("artifacts/storefront/app.jar", "NoArtifact"),
        ("artifacts/storefront/_SUCCESS", "NoArtifact"),
        ("recipes/storefront/", "BadInput"),
    ] {
        let (_, end) = started(&Bench::new(), key, "");
        assert!(matches!(&end, End::Failed { error: failed, .. } if failed == error), "{key}: {end:?}");
    }
    // With bytes in it, it isn't what a tool makes for a folder.
    let (_, end) = started(&Bench::new(), "artifacts/storefront/", "bytes");
    assert!(matches!(&end, End::Failed { error, .. } if error == "BadInput"), "{end:?}");
}

#[test]
fn a_marker_is_never_the_newest_artifact() {
    let bench = Bench::new();
    bench.upload("v1.jar");
    bench.cloud.pass(jiff::SignedDuration::from_secs(60));
    for marker in ["artifacts/storefront/", "artifacts/storefront/old/", "artifacts/storefront/old_$folder$"]
    {
        bench.cloud.put(marker, "");
    }
    let newest = block_on(bench.cloud.newest("artifacts/storefront/", None)).unwrap().unwrap();
    assert_eq!(newest.key, "artifacts/storefront/v1.jar");
    let by_hand = Trigger::manual(&json!({"pipeline": "storefront"})).unwrap();
    assert!(bench.start("one", &by_hand).is_ok());
}
