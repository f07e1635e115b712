//! What counts as sealed: the seal's own report, and nothing else.

use futures::executor::block_on;
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
fn a_seal_that_its_own_power_off_cut_short_has_not_failed() {
    // SSM says "failed, -1" of a command whose instance goes down, while EC2 may still say that it runs.
    let cut_short = Script { exit: -1, ..Script::default() };
    let (bench, bake) = sealing(&cut_short, true);
    bench.cloud.pass(SignedDuration::from_secs(5));
    let bake = bench.look(&bake).unwrap();
    assert_eq!((bake.bake.progress.stage, bake.next.to), (Stage::Seal, To::Wait));
    bench.stop(bake.bake.progress.builder.as_ref().unwrap());
    assert_eq!(bench.poll(bake).unwrap().next.to, To::Go);

    // And one that never stops is not waited for longer than its deadline, which tells of both.
    let (bench, bake) = sealing(&cut_short, true);
    let error = bench.poll(bake).unwrap_err();
    assert_eq!(error.name(), "DeadlinePassed");
    assert!(error.to_string().contains("running, sealed, its command cut short"), "{error}");

    // A status of its own is a failure, at once.
    let (bench, bake) =
        sealing(&Script { exit: 3, stdout: "no space left".into(), ..Script::default() }, false);
    let error = bench.poll(bake).unwrap_err();
    assert_eq!(error.name(), "CommandFailed");
    assert!(error.to_string().contains("exit 3"), "{error}");
    bench.fail("one", &error);
    bench.assert_clean(0);
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
    assert_eq!(error.name(), "CommandFailed");
    assert!(error.to_string().contains("Not a directory"), "{error}");
}

#[test]
fn a_spot_builder_is_sealed_when_it_reported_and_not_when_its_command_ended() {
    for reports in [true, false] {
        let bench = Bench::sealing(&Script::default(), reports);
        bench.push(&RECIPE.replace("[builder]", "[builder]\nspot = true"));
        let bake = bench.start("one", &bench.upload("v1.jar")).unwrap();
        assert!(bake.bake.progress.spot);
        let bake = bench.build(bake, 0, true).unwrap();
        let cloud = &bench.cloud;
        let bake = bench.deliver(|| snapshot::seal(bake.clone(), cloud, cloud.now())).unwrap();
        cloud.pass(SignedDuration::from_secs(30));
        let (id, command) =
            (bake.bake.progress.builder.clone().unwrap(), bake.bake.progress.command.clone().unwrap());
        let outcome = block_on(ovenbird_core::ports::Commands::outcome(cloud, &id, &command)).unwrap();
        assert_eq!(outcome, Some(ovenbird_core::ports::CommandState::Succeeded));
        let seen = bench.look(&bake).unwrap();
        assert_eq!(seen.next.to, if reports { To::Go } else { To::Wait });
    }
}
