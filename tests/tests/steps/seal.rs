//! What counts as sealed: the seal's own report, and nothing else.

use jiff::{SignedDuration, Timestamp};
use ovenbird_core::{
    domain::{
        bake::{Document, Stage, To},
        report::SealReport,
    },
    steps::snapshot,
    store::keys,
};
use ovenbird_testkit::Script;

use super::bench::{Bench, RECIPE};

/// A bake whose seal was sent.
fn sealing(seal: &Script, reports: bool) -> (Bench, Document) {
    let bench = Bench::sealing(seal, reports);
    let bake = bench.start("one", &bench.upload("v1.jar")).unwrap();
    let bake = bench.build(bake, 0, true).unwrap();
    let cloud = &bench.cloud;
    let bake = bench.deliver(|| snapshot::seal(bake.clone(), cloud, cloud.now())).unwrap();
    (bench, bake)
}

#[test]
fn a_sealed_builder_is_waited_for_until_it_stops_and_no_longer_than_its_deadline() {
    let (bench, bake) = sealing(&Script::default(), true);
    bench.cloud.pass(SignedDuration::from_secs(5));
    let bake = bench.look(&bake).unwrap();
    assert_eq!((bake.bake.progress.stage, bake.next.to), (Stage::Seal, To::Wait));
    bench.stop(bake.bake.progress.builder.as_ref().unwrap());
    assert_eq!(bench.poll(bake).unwrap().next.to, To::Go);

    // Its runner is gone with the seal: that it is silent is no failure.
    let (bench, bake) = sealing(&Script { falls_silent: true, ..Script::default() }, true);
    let error = bench.poll(bake).unwrap_err();
    assert_eq!(error.name(), "DeadlinePassed");
    assert!(error.to_string().contains("running, sealed"), "{error}");
}

/// Taken for sealed, it would be an image with host keys and the plan in it.
#[test]
fn a_builder_that_was_stopped_before_its_seal_reported_is_lost() {
    let slow = Script { takes: SignedDuration::from_secs(60), powers_off: true, ..Script::default() };
    // From outside, in the middle: what would report a minute later was ended by the stop.
    let (bench, bake) = sealing(&slow, true);
    bench.cloud.pass(SignedDuration::from_secs(5));
    bench.stop(bake.bake.progress.builder.as_ref().unwrap());
    let error = bench.poll(bake).unwrap_err();
    assert_eq!(error.name(), "BuilderLost");
    assert!(error.to_string().contains("stopped before its seal reported its end"), "{error}");
    bench.fail("one", &error);
    bench.assert_clean(0);

    // By itself, without a word.
    let (bench, bake) = sealing(&Script { powers_off: true, ..Script::default() }, false);
    assert_eq!(bench.poll(bake).unwrap_err().name(), "BuilderLost");
}

#[test]
fn a_seal_that_reports_a_failure_has_failed_though_the_builder_stopped() {
    let (bench, bake) = sealing(&Script { powers_off: true, ..Script::default() }, false);
    let problem = Some("empty /etc/ssh: Not a directory".to_owned());
    let report = SealReport { ended: Timestamp::UNIX_EPOCH, problem };
    let key = keys::of_bake(&bake.bake.spec.pipeline, &bake.bake.spec.id, keys::SEAL_REPORT);
    bench.cloud.put(&key, serde_json::to_string(&report).unwrap());
    let error = bench.poll(bake).unwrap_err();
    assert_eq!(error.name(), "SealFailed");
    assert!(error.to_string().contains("Not a directory"), "{error}");
}

#[test]
fn a_spot_builder_is_sealed_when_it_reported_and_runs_on() {
    for reports in [true, false] {
        let bench = Bench::sealing(&Script::default(), reports);
        bench.push(&RECIPE.replace("[builder]", "[builder]\nspot = true"));
        let bake = bench.start("one", &bench.upload("v1.jar")).unwrap();
        assert!(bake.bake.progress.spot);
        let bake = bench.build(bake, 0, true).unwrap();
        let cloud = &bench.cloud;
        let bake = bench.deliver(|| snapshot::seal(bake.clone(), cloud, cloud.now())).unwrap();
        cloud.pass(SignedDuration::from_secs(30));
        let seen = bench.look(&bake).unwrap();
        assert_eq!(seen.next.to, if reports { To::Go } else { To::Wait });
    }
}
