//! The real steps on the world, in virtual time: a whole bake, every step delivered twice, and every decision alone.

mod adopted;
mod asked_once;
mod attackers;
mod attributes;
mod bench;
mod cascading;
mod cleaning;
mod crowd;
mod dangling;
mod desk;
mod doctor;
mod events;
mod following;
mod guard;
mod judge;
mod labels;
mod lagging;
mod launch;
mod launching;
mod layers;
mod lease;
mod limited;
mod logging;
mod mailbox;
mod markers;
mod pairs;
mod passed_on;
mod planned;
mod promotion;
mod pushed;
mod reaper;
mod records;
mod references;
mod registered;
mod removed;
mod retire;
mod retiring;
mod returning;
mod rollouts;
mod rotated;
mod safety;
mod seal;
mod signed;
mod status;
mod superseded;
mod turns;
mod unused;
mod validating;
mod volumes;
mod waiting;
mod wanted;

use self::bench::{Bench, RECIPE, pipeline};
use futures::executor::block_on;
use jiff::SignedDuration;
use ovenbird_core::{
    Error,
    domain::{
        bake::{Stage, Status, To},
        reference::Kind,
        tags::TAG_BAKE,
        trigger::Trigger,
    },
    ports::{Execution, Images as _, Parameters as _},
    steps::{launch_builder, promote, prune, snapshot},
    store::Ledger,
};

#[test]
fn a_bake_ends_promoted_and_leaves_its_image_alone() {
    let bench = Bench::new();
    let bake = bench.bake("one", &bench.upload("v1.jar"));
    assert_eq!(bake.progress.status, Status::Promoted);
    assert_eq!(bench.channel(), bake.progress.image.as_ref().map(ToString::to_string));
    let parameter = "/images/storefront/production".parse().unwrap();
    assert_eq!(block_on(bench.cloud.parameter(&parameter)).unwrap(), bench.channel());
    bench.assert_clean(1);
}

#[test]
fn every_step_twice_is_once() {
    let bench = Bench { deliveries: 2, ..Bench::new() };
    let bake = bench.bake("one", &bench.upload("v1.jar"));
    assert_eq!(bake.progress.status, Status::Promoted);
    bench.assert_clean(1);
    for (call, times) in [("ec2:RunInstances", 1), ("ec2:CreateImage", 1)] {
        let seen = bench.cloud.calls().iter().filter(|one| one.actions[0] == call).count();
        assert_eq!(seen, times, "{call}");
    }
    let channel = "production".parse().unwrap();
    let channel = block_on(Ledger(&bench.cloud).channel(&pipeline(), &channel)).unwrap().unwrap();
    assert_eq!(channel.generation, 1);
}

#[test]
fn the_same_artifact_again_launches_nothing() {
    let bench = Bench::new();
    let trigger = bench.upload("v1.jar");
    let first = bench.bake("one", &trigger);
    bench.cloud.pass(SignedDuration::from_secs(60));
    let again = bench.start("two", &trigger).unwrap();
    assert_eq!((again.next.to, again.bake.progress.reused), (To::Promote, true));
    let again = bench.promote(&again).unwrap();
    assert_eq!((again.progress.image, again.progress.status), (first.progress.image, Status::Promoted));
    bench.assert_clean(1);
}

#[test]
fn a_failing_step_or_test_leaves_nothing_and_the_channel_as_it_was() {
    for deliveries in [1, 2] {
        let bench = Bench { deliveries, ..Bench::new() };
        let good = bench.bake("good", &bench.upload("v1.jar"));
        bench.cloud.pass(SignedDuration::from_secs(60));
        for (id, exit, passes, name) in [("step", 1, true, "StepFailed"), ("test", 0, false, "TestsFailed")] {
            let bake = bench.start(id, &bench.upload(&format!("{id}.jar"))).unwrap();
            let error = bench.build(bake, exit, passes).unwrap_err();
            assert_eq!(error.name(), name);
            bench.fail(id, &error);
            bench.assert_clean(1);
            assert_eq!(bench.channel(), good.progress.image.as_ref().map(ToString::to_string));
            let record =
                block_on(Ledger(&bench.cloud).bake(&pipeline(), &id.parse().unwrap())).unwrap().unwrap();
            assert_eq!(record.progress.status, Status::Failed);
            let cause = record.into_inner().progress.failure.unwrap().cause;
            assert!(cause.contains("broken") || cause.contains("connection refused"), "{cause}");
        }
    }
}

#[test]
fn a_builder_that_never_reports_fails_at_its_deadline() {
    let bench = Bench::new();
    let bake = bench.start("one", &bench.upload("v1.jar")).unwrap();
    let error = bench.poll(bake).unwrap_err();
    assert_eq!(error.name(), "DeadlinePassed");
    assert!(error.to_string().contains("no report yet"), "{error}");
    bench.fail("one", &error);
    bench.assert_clean(0);
}

#[test]
fn an_image_that_was_asked_for_goes_with_its_failed_bake() {
    let bench = Bench::new();
    let cloud = &bench.cloud;
    let bake = bench.start("one", &bench.upload("v1.jar")).unwrap();
    let bake = bench.build(bake, 0, true).unwrap();
    let bake = bench.deliver(|| snapshot::seal(bake.clone(), cloud, cloud.now())).unwrap();
    let bake = bench.poll(bake).unwrap();
    bench.deliver(|| snapshot::create_image(bake.clone(), cloud, cloud.now())).unwrap();
    assert_eq!(bench.images(), 1);
    bench.fail("one", &Error::LeaseLost { bake: "one".parse().unwrap() });
    bench.assert_clean(0);
}

#[test]
fn an_image_whose_id_was_lost_is_found_by_its_name_if_this_bake_made_it() {
    for ours in [true, false] {
        let bench = Bench::new();
        let cloud = &bench.cloud;
        let bake = bench.start("one", &bench.upload("v1.jar")).unwrap();
        let bake = bench.build(bake, 0, true).unwrap();
        let bake = bench.deliver(|| snapshot::seal(bake.clone(), cloud, cloud.now())).unwrap();
        let bake = bench.poll(bake).unwrap();
        let made = block_on(snapshot::create_image(bake.clone(), cloud, cloud.now())).unwrap();
        let image = made.bake.progress.image.clone().unwrap();
        let mut record = bench.record("one");
        record.progress.image = None;
        block_on(Ledger(cloud).save(&mut record)).unwrap();
        if !ours {
            let tags = [(TAG_BAKE.to_owned(), "another".to_owned())].into();
            cloud.with(|world| world.create_tags(&[image.to_string()], &tags, false)).unwrap();
        }
        match block_on(snapshot::create_image(bake, cloud, cloud.now())) {
            Ok(found) => assert!(ours && found.bake.progress.image == Some(image)),
            Err(error) => assert!(!ours && error.to_string().contains("this bake did not make"), "{error}"),
        }
    }
}

#[test]
fn a_promotion_that_fails_after_the_channel_moved_is_taken_back() {
    let bench = Bench::new();
    let cloud = &bench.cloud;
    let good = bench.bake("good", &bench.upload("v1.jar"));
    bench.cloud.pass(SignedDuration::from_secs(60));
    let bake = bench.start("bad", &bench.upload("v2.jar")).unwrap();
    let bake = bench.build(bake, 0, true).unwrap();
    let bake = bench.deliver(|| snapshot::seal(bake.clone(), cloud, cloud.now())).unwrap();
    let bake = bench.poll(bake).unwrap();
    let bake = bench.deliver(|| snapshot::create_image(bake.clone(), cloud, cloud.now())).unwrap();
    let bake = bench.poll(bake).unwrap();
    let bake = bench.deliver(|| promote::run(bake.clone(), cloud, cloud.now())).unwrap();
    assert_eq!(bench.channel(), bake.bake.progress.image.as_ref().map(ToString::to_string));
    bench.fail("bad", &Error::changed("the parameter"));
    assert_eq!(bench.channel(), good.progress.image.as_ref().map(ToString::to_string));
    let parameter = "/images/storefront/production".parse().unwrap();
    assert_eq!(block_on(cloud.parameter(&parameter)).unwrap(), bench.channel());
}

#[test]
fn twins_make_one_image() {
    let bench = Bench::new();
    let trigger = bench.upload("v1.jar");
    let first = bench.start("one", &trigger).unwrap();
    let twin = bench.start("two", &trigger).unwrap();
    assert_eq!((first.next.to, twin.next.to), (To::Await, To::Twin));
    let first = bench.finish(bench.build(first, 0, true).unwrap()).unwrap();
    let twin = bench.poll(twin).unwrap();
    assert_eq!(twin.next.to, To::Promote);
    let twin = bench.promote(&twin).unwrap();
    assert_eq!((twin.progress.image, twin.progress.status), (first.progress.image, Status::Promoted));
    bench.assert_clean(1);
}

#[test]
fn a_twin_takes_over_when_the_first_gives_up_and_the_old_holder_can_t_write() {
    let bench = Bench::new();
    let cloud = &bench.cloud;
    let trigger = bench.upload("v1.jar");
    let first = bench.start("one", &trigger).unwrap();
    let twin = bench.start("two", &trigger).unwrap();
    // Its execution was stopped, and nobody cleaned up after it yet.
    cloud.stands(&first.bake.spec.id, Execution::Stopped { cause: String::new() });
    let twin = bench.poll(twin).unwrap();
    assert_eq!(twin.next.to, To::Launch);
    let twin = bench.deliver(|| launch_builder::take_over(twin.clone(), cloud, cloud.now())).unwrap();
    assert_eq!(twin.next.to, To::Await);
    assert!(twin.bake.progress.fence > first.bake.progress.fence);
    // The old holder wakes up again, in the stage in which it would ask for its image.
    let mut late = first;
    late.bake.progress.stage = Stage::Seal;
    let error = block_on(snapshot::create_image(late, cloud, cloud.now())).unwrap_err();
    assert_eq!(error.name(), "LeaseLost");
    let twin = bench.finish(bench.build(twin, 0, true).unwrap()).unwrap();
    assert_eq!(twin.progress.status, Status::Promoted);
    bench.prune();
    bench.assert_clean(1);
}

#[test]
fn an_older_artifact_never_overwrites_a_newer_one() {
    let bench = Bench::new();
    let old = bench.upload("old.jar");
    let slow = bench.start("slow", &old).unwrap();
    bench.cloud.pass(SignedDuration::from_secs(60));
    let fast = bench.bake("fast", &bench.upload("new.jar"));
    let slow = bench.finish(bench.build(slow, 0, true).unwrap()).unwrap();
    assert_eq!(slow.progress.status, Status::Superseded);
    assert_eq!(bench.channel(), fast.progress.image.map(|image| image.to_string()));
    bench.assert_clean(2);
}

#[test]
fn a_dead_execution_s_leavings_are_reaped_and_the_old_image_is_retired() {
    let bench = Bench::new();
    let old = bench.bake("old", &bench.upload("v1.jar"));
    for (id, artifact) in [("middle", "v2.jar"), ("new", "v3.jar")] {
        bench.cloud.pass(SignedDuration::from_secs(60));
        bench.bake(id, &bench.upload(artifact));
    }
    let new = bench.channel();
    bench.start("dead", &bench.upload("v4.jar")).unwrap();
    let plan = bench.plan();
    assert!(plan.dead_bakes.is_empty(), "it may still be alive: {plan:?}");
    let retired: Vec<_> = plan.retire.iter().map(|verdict| Some(verdict.image.clone())).collect();
    assert_eq!(retired, [old.progress.image]);
    block_on(prune::retire(&plan.retire[0], &bench.cloud, bench.cloud.now())).unwrap();

    bench.cloud.pass(SignedDuration::from_hours(24));
    let plan = bench.plan();
    assert_eq!(plan.dead_bakes.len(), 1);
    block_on(prune::reap(&plan.dead_bakes[0], &bench.cloud, bench.cloud.now())).unwrap();
    bench.cloud.pass(SignedDuration::from_secs(5));
    bench.assert_clean(2);
    assert_eq!(bench.channel(), new);
}

#[test]
fn an_image_in_use_is_never_retired_even_if_the_plan_said_so() {
    let bench = Bench::new();
    for (id, artifact) in [("old", "v1.jar"), ("middle", "v2.jar"), ("new", "v3.jar")] {
        bench.bake(id, &bench.upload(artifact));
        bench.cloud.pass(SignedDuration::from_secs(60));
    }
    let plan = bench.plan();
    let doomed = plan.retire[0].clone();
    let now = bench.cloud.now();
    let request = ovenbird_sim::RunInstances {
        image: doomed.image.to_string(),
        min_count: 1,
        max_count: 1,
        ..ovenbird_sim::RunInstances::default()
    };
    bench.cloud.with(|world| world.run_instances(now, &request)).unwrap();
    let verdict = block_on(prune::retire(&doomed, &bench.cloud, bench.cloud.now())).unwrap();
    assert_eq!(verdict.reason, prune::Reason::Named(Kind::Instance));
    assert!(block_on(bench.cloud.image(&doomed.image)).unwrap().is_some());
}

#[test]
fn bad_starts_are_refused_before_anything_is_made() {
    let bench = Bench::new();
    bench.cloud.put("artifacts/storefront/empty.jar", "");
    let start = |input: serde_json::Value| {
        let trigger = Trigger::manual(&input)?;
        bench.start("one", &trigger)
    };
    for (input, name) in [
        (serde_json::json!({"artifact": "artifacts/storefront/empty.jar"}), "NoArtifact"),
        (serde_json::json!({"artifact": "artifacts/storefront/missing.jar"}), "NoArtifact"),
        (serde_json::json!({"artifact": "artifacts/storefront/../x"}), "BadInput"),
        (serde_json::json!({"artifact": "somewhere/else"}), "BadInput"),
        (serde_json::json!({"pipeline": "unknown"}), "NoRecipe"),
        (serde_json::json!({"pipeline": "storefront", "frce": true}), "BadInput"),
    ] {
        let error = start(input.clone()).unwrap_err();
        assert_eq!(error.name(), name, "{input}: {error}");
        assert!(!error.hint().is_empty());
    }
    bench.push(&RECIPE.replace("[retain]", "[retian]"));
    let error = bench.start("one", &bench.upload("v1.jar")).unwrap_err();
    assert_eq!(error.name(), "BadRecipe");
    assert!(error.to_string().contains("Did you mean `retain`?"), "{error}");
    assert!(bench.cloud.rows().is_empty());
    bench.assert_clean(0);
}
