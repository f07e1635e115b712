//! What must never happen, each by the name of what once did.

use futures::executor::block_on;
use jiff::SignedDuration;
use ovenbird_core::{
    Error,
    domain::{
        bake::{Status, To},
        id::AmiId,
        reference::Kind,
        tags::{TAG_KEEP, TAG_STACK},
        trigger::Trigger,
    },
    ports::{Execution, Parameters as _},
    steps::{
        launch_builder, promote,
        prune::{self, DeadBake, MOST_UNRECORDED, Reason},
    },
    store::{Ledger, keys},
};
use ovenbird_sim::RegisterImage;

use super::bench::{Bench, RECIPE, pipeline, store};

/// An account in which so many versions were baked and promoted, the last one last.
fn baked(versions: usize) -> (Bench, Vec<AmiId>) {
    let bench = Bench::new();
    let images = (1..=versions).map(|number| {
        let bake = bench.bake(&format!("bake-{number}"), &bench.upload(&format!("v{number}.jar")));
        bench.cloud.pass(SignedDuration::from_secs(60));
        bake.progress.image.unwrap()
    });
    let images = images.collect();
    (bench, images)
}

fn forced() -> Trigger {
    Trigger::manual(&serde_json::json!({"pipeline": "storefront", "force": true})).unwrap()
}

#[test]
fn what_another_stack_made_is_not_looked_at() {
    let (bench, images) = baked(4);
    let other = bench.cloud.clone().of_stack("ovenbird/two".parse().unwrap());
    other.pass(SignedDuration::from_hours(1_000));
    let plan = block_on(prune::plan(&other, &other, other.now())).unwrap();
    assert!(plan.is_empty() && plan.keep.is_empty() && plan.problems.is_empty(), "{plan:?}");
    // Not even when it is asked for by name.
    let dead = DeadBake::new(pipeline(), "bake-1".parse().unwrap());
    block_on(prune::reap(&dead, &other, other.now())).unwrap();
    assert!(images.iter().all(|image| bench.image(image).is_some()));
}

#[test]
fn images_that_an_empty_table_knows_nothing_of_stay_and_are_told_of() {
    for count in [1, MOST_UNRECORDED, MOST_UNRECORDED + 1] {
        let (bench, images) = baked(count);
        bench.start("dead", &bench.upload("new.jar")).unwrap();
        let mut rows = bench.cloud.table();
        rows.retain(|(row, _)| row.key.sk == "BAKE#dead");
        bench.cloud.restore_table(&rows);
        bench.cloud.pass(SignedDuration::from_hours(1_000));
        let plan = bench.prune();
        assert!(images.iter().all(|image| bench.image(image).is_some()), "{count}");
        assert!(images.iter().all(|image| plan.problems.iter().any(|one| one.contains(image.as_str()))));
        // Up to three may be somebody's copies; more, and the table is the wrong one: then nothing at all goes.
        assert_eq!(plan.halted.is_some(), count > MOST_UNRECORDED, "{count}");
        assert_eq!(bench.instances(), usize::from(count > MOST_UNRECORDED), "{count}");
    }
}

#[test]
fn a_copy_with_all_our_tags_stays_and_pushes_no_image_out() {
    let (bench, images) = baked(3);
    let current = bench.image(&images[2]).unwrap();
    let copy = RegisterImage {
        name: "a copy for the audit".into(),
        snapshot: current.snapshots[0].to_string(),
        tags: [("image".to_owned(), current.tags.clone())].into(),
        ..RegisterImage::default()
    };
    let now = bench.cloud.now();
    let copy = bench.cloud.with(|world| world.register_image(now, &copy)).unwrap();
    let plan = bench.prune();
    assert!(bench.image(&copy).is_some());
    let verdict = plan.keep.iter().find(|one| one.image == copy).unwrap();
    assert_eq!(verdict.reason, Reason::Unrecorded);
    assert!(plan.problems.iter().any(|problem| problem.contains(copy.as_str())));
    // The channel's own is the newest that counts, and the copy is not.
    assert!(bench.image(&images[2]).is_some() && bench.image(&images[1]).is_some());
    // Tagged as kept, it is nobody's worry any more.
    let tags = [(TAG_KEEP.to_owned(), String::new())].into();
    bench.cloud.with(|world| world.create_tags(&[copy.to_string()], &tags, false)).unwrap();
    let plan = bench.prune();
    assert!(plan.problems.is_empty() && bench.image(&copy).is_some(), "{plan:?}");
}

#[test]
fn an_operator_who_rolled_back_by_put_parameter_keeps_production_s_image() {
    let (bench, images) = baked(4);
    let name = "/images/storefront/production".parse().unwrap();
    assert_eq!(block_on(bench.cloud.put_image(&name, &images[0])).unwrap(), ovenbird_core::ports::Put::Taken);
    let plan = bench.prune();
    assert!(bench.image(&images[0]).is_some());
    let verdict = plan.keep.iter().find(|verdict| verdict.image == images[0]).unwrap();
    assert_eq!((verdict.reason, verdict.by.as_str()), (Reason::Named(Kind::Parameter), name.as_str()));
    assert!(bench.image(&images[1]).is_none(), "nothing names that one");
}

#[test]
fn what_ec2_says_is_named_by_a_launch_template_stays_though_the_group_is_at_zero() {
    let (bench, images) = baked(3);
    bench.cloud.refer(&images[0], "ec2:LaunchTemplate", "lt-0123456789abcdef0");
    let plan = bench.prune();
    assert!(bench.image(&images[0]).is_some());
    let verdict = plan.keep.iter().find(|verdict| verdict.image == images[0]).unwrap();
    assert_eq!(verdict.reason, Reason::Referenced);
    assert!(verdict.by.contains("lt-0123456789abcdef0"), "{verdict:?}");
}

#[test]
fn an_image_whose_stack_s_tag_was_changed_after_the_plan_stays() {
    let (bench, images) = baked(3);
    let plan = bench.plan();
    assert_eq!(plan.retire[0].image, images[0]);
    let tags = [(TAG_STACK.to_owned(), "somebody-else".to_owned())].into();
    bench.cloud.with(|world| world.create_tags(&[images[0].to_string()], &tags, false)).unwrap();
    block_on(prune::retire(&plan.retire[0], &bench.cloud, bench.cloud.now())).unwrap();
    assert!(bench.image(&images[0]).is_some());
}

#[test]
fn a_snapshot_that_another_image_uses_stays_and_no_run_fails_for_it() {
    let (bench, images) = baked(3);
    let old = bench.image(&images[0]).unwrap();
    let own = RegisterImage {
        name: "mine".into(),
        snapshot: old.snapshots[0].to_string(),
        ..RegisterImage::default()
    };
    let now = bench.cloud.now();
    let own = bench.cloud.with(|world| world.register_image(now, &own)).unwrap();
    bench.prune();
    assert!(bench.image(&images[0]).is_none() && bench.image(&own).is_some());
    for _ in 0..2 {
        let plan = bench.prune();
        assert!(plan.dead_bakes.is_empty() && plan.problems.is_empty(), "{plan:?}");
        assert_eq!(plan.stays.len(), 1);
        assert_eq!((plan.stays[0].reason, plan.stays[0].by.as_str()), (Reason::Shared, own.as_str()));
    }
    // Its image gone, it goes.
    bench.cloud.deregister(&own);
    bench.prune();
    bench.assert_clean(2);
}

#[test]
fn a_bake_that_was_cancelled_leaves_nothing_and_holds_nobody_up() {
    let bench = Bench::new();
    let trigger = bench.upload("v1.jar");
    let first = bench.start("one", &trigger).unwrap();
    let twin = bench.start("two", &trigger).unwrap();
    assert_eq!(twin.next.to, To::Twin);
    let dead = DeadBake::new(pipeline(), first.bake.spec.id.clone());
    bench.cloud.stands(&first.bake.spec.id, Execution::Running);
    let error = block_on(prune::reap(&dead, &bench.cloud, bench.cloud.now())).unwrap_err();
    assert!(error.hint().contains("ovenbird cancel one"), "{error}: {}", error.hint());

    let cause = "Cancelled by user/alice".to_owned();
    bench.cloud.stands(&first.bake.spec.id, Execution::Stopped { cause: cause.clone() });
    let reaped = block_on(prune::reap(&dead, &bench.cloud, bench.cloud.now())).unwrap();
    assert_eq!(reaped.status, Some(Status::Cancelled));
    bench.cloud.pass(SignedDuration::from_secs(5));
    bench.assert_clean(0);
    let record = block_on(Ledger(&bench.cloud).bake(&pipeline(), &first.bake.spec.id)).unwrap().unwrap();
    assert_eq!(
        (record.progress.status, record.into_inner().progress.failure.unwrap().cause),
        (Status::Cancelled, cause)
    );
    // Twice is once.
    block_on(prune::reap(&dead, &bench.cloud, bench.cloud.now())).unwrap();
    let twin = bench.look(&twin).unwrap();
    assert_eq!(twin.next.to, To::Launch);
}

#[test]
fn a_function_that_was_still_at_work_brings_no_cancelled_bake_back() {
    let bench = Bench::new();
    let bake = bench.start("one", &bench.upload("v1.jar")).unwrap();
    let bake = bench.build(bake, 0, true).unwrap();
    bench.cloud.stands(&bake.bake.spec.id, Execution::Stopped { cause: String::new() });
    let dead = DeadBake::new(pipeline(), bake.bake.spec.id.clone());
    let mut read_before = bench.record("one");
    block_on(prune::reap(&dead, &bench.cloud, bench.cloud.now())).unwrap();
    bench.cloud.pass(SignedDuration::from_secs(5));
    let error = bench.finish(bake).unwrap_err();
    assert!(matches!(error, Error::BakeEnded { status: Status::Cancelled, .. }), "{error}");
    // What it read before doesn't help it…
    read_before.progress.tests_passed = Some(9);
    let error = block_on(Ledger(&bench.cloud).save(&mut read_before)).unwrap_err();
    assert!(matches!(error, Error::TryAgain { .. }), "{error}");
    // … nor does what it reads now.
    let mut read_now = bench.record("one");
    read_now.progress.status = Status::Running;
    let error = block_on(Ledger(&bench.cloud).save(&mut read_now)).unwrap_err();
    assert!(matches!(error, Error::BakeEnded { status: Status::Cancelled, .. }), "{error}");
    bench.assert_clean(0);
}

#[test]
fn a_dead_holder_of_the_lease_is_not_waited_for() {
    let bench = Bench::new();
    let trigger = bench.upload("v1.jar");
    let first = bench.start("one", &trigger).unwrap();
    bench.cloud.stands(&first.bake.spec.id, Execution::TimedOut);
    // Neither by one that starts after its death…
    let second = bench.start("two", &trigger).unwrap();
    assert_eq!(second.next.to, To::Await);
    assert!(second.bake.progress.fence > first.bake.progress.fence);
    // … nor by one that waits already.
    let third = bench.start("three", &trigger).unwrap();
    assert_eq!(third.next.to, To::Twin);
    bench.cloud.stands(&second.bake.spec.id, Execution::Failed);
    assert_eq!(bench.poll(third).unwrap().next.to, To::Launch);
}

#[test]
fn a_forced_bake_ends_with_an_image_that_was_made_after_it_was_asked_for() {
    let bench = Bench::new();
    let trigger = bench.upload("v1.jar");
    let old = bench.bake("old", &trigger);
    bench.cloud.pass(SignedDuration::from_secs(60));
    let holder = bench.start("holder", &forced()).unwrap();
    let waiting = bench.start("forced", &forced()).unwrap();
    assert_eq!(waiting.next.to, To::Twin);
    // While it waits, there is an image of its digest that passed its tests, and it is not what was asked for.
    let waiting = bench.look(&waiting).unwrap();
    assert_eq!(waiting.next.to, To::Wait);
    bench.cloud.stands(&holder.bake.spec.id, Execution::Stopped { cause: String::new() });
    let waiting = bench.poll(waiting).unwrap();
    assert_eq!(waiting.next.to, To::Launch);
    let forced = block_on(launch_builder::take_over(waiting, &bench.cloud, bench.cloud.now())).unwrap();
    let forced = bench.finish(bench.build(forced, 0, true).unwrap()).unwrap();
    assert_eq!((forced.progress.status, forced.progress.reused), (Status::Promoted, false));
    assert_ne!(forced.progress.image, old.progress.image);
}

#[test]
fn one_pipeline_s_unreadable_recipe_keeps_its_images_and_stops_nothing_else() {
    // One that would fill the function's memory is not read.
    let large = " ".repeat(keys::largest("recipes/junk/current.json") + 1);
    for broken in ["{}", "no JSON", r#"{"version": "x"}"#, &large] {
        let (bench, images) = baked(3);
        bench.start("dead", &bench.upload("v4.jar")).unwrap();
        bench.cloud.stands(&"dead".parse().unwrap(), Execution::Failed);
        bench.cloud.put("recipes/junk/current.json", broken);
        let plan = bench.prune();
        let broken = &broken[..broken.len().min(20)];
        assert!(bench.image(&images[0]).is_none(), "{broken}: retired all the same");
        assert_eq!(bench.instances(), 0, "{broken}: reaped all the same");
        assert_eq!(plan.problems.len(), 1, "{plan:?}");
        assert!(plan.problems[0].contains("pipeline junk"), "{plan:?}");
    }
    // And its own stay.
    let (bench, images) = baked(3);
    bench.cloud.put("recipes/storefront/current.json", "{}");
    let plan = bench.prune();
    assert!(images.iter().all(|image| bench.image(image).is_some()));
    assert!(plan.keep.iter().all(|verdict| verdict.reason == Reason::Unreadable), "{plan:?}");
}

#[test]
fn a_record_that_can_t_be_read_retires_nothing_and_reaps_the_others() {
    let (bench, images) = baked(3);
    bench.start("dead", &bench.upload("v4.jar")).unwrap();
    bench.cloud.stands(&"dead".parse().unwrap(), Execution::Failed);
    let mut rows = bench.cloud.table();
    let (mut row, index) = rows.iter().find(|(row, _)| row.key.sk == "BAKE#dead").cloned().unwrap();
    row.key.sk = "BAKE#broken".into();
    row.doc["base"] = "?".into();
    rows.push((row, index));
    bench.cloud.restore_table(&rows);
    let plan = bench.prune();
    assert!(bench.image(&images[0]).is_some(), "it may be what the broken one starts from");
    assert_eq!(bench.instances(), 0);
    assert!(plan.problems.iter().any(|problem| problem.contains("BAKE#broken")), "{plan:?}");
}

#[test]
fn a_parameter_is_the_pipeline_s_that_wrote_it_first() {
    let (bench, images) = baked(1);
    let name = "/images/storefront/production".parse().unwrap();
    let ledger = Ledger(&bench.cloud);
    // Refused when it is pushed…
    let error = block_on(ledger.check_parameter(&name, &"evil".parse().unwrap())).unwrap_err();
    assert!(error.to_string().contains("storefront/production"), "{error}");
    // … before a builder costs anything …
    let mut evil = bench.record("bake-1").into_inner();
    evil.spec.pipeline = "evil".parse().unwrap();
    evil.spec.id = "evil-1".parse().unwrap();
    evil.progress.status = Status::Running;
    evil.spec.started = bench.cloud.now();
    let launched = bench.cloud.calls().iter().filter(|call| call.actions[0] == "ec2:RunInstances").count();
    store(&bench.cloud, &evil);
    let start = ovenbird_core::steps::launch_builder::Start {
        bake: evil.spec.id.clone(),
        started: evil.spec.started,
        trigger: Trigger::Manual {
            pipeline: evil.spec.pipeline.clone(),
            artifact: None,
            recipe: None,
            options: ovenbird_core::domain::bake::Options::default(),
        },
    };
    let error = block_on(launch_builder::start(start, None, &bench.cloud, bench.cloud.now())).unwrap_err();
    assert!(matches!(error, Error::ParameterTaken { .. }), "{error}");
    let after = bench.cloud.calls().iter().filter(|call| call.actions[0] == "ec2:RunInstances").count();
    assert_eq!(after, launched);
    // … and in the transaction that would move the channel, whatever was checked before.
    let error = block_on(ledger.promote(&evil, bench.cloud.now())).unwrap_err();
    assert!(matches!(error, Error::ParameterTaken { .. }), "{error}");
    assert!(block_on(ledger.channels(&evil.spec.pipeline)).unwrap().is_empty());
    // Nothing of a failed promotion is undone with what is another's.
    evil.progress.stage = ovenbird_core::domain::bake::Stage::Promotion;
    block_on(promote::undo(&evil, &bench.cloud, bench.cloud.now())).unwrap();
    assert_eq!(block_on(bench.cloud.parameter(&name)).unwrap().as_deref(), Some(images[0].as_str()));
}

#[test]
fn a_first_promotion_that_is_taken_back_gives_its_parameter_back() {
    let (bench, _) = baked(1);
    let name = "/images/storefront/production".parse().unwrap();
    let ledger = Ledger(&bench.cloud);
    assert!(block_on(ledger.parameter_owner(&name)).unwrap().is_some());
    let mut bake = block_on(ledger.bake(&pipeline(), &"bake-1".parse().unwrap())).unwrap().unwrap();
    bake.progress.stage = ovenbird_core::domain::bake::Stage::Promotion;
    for _ in 0..2 {
        bench.cloud.pass(jiff::SignedDuration::from_mins(5));
        block_on(promote::undo(&bake, &bench.cloud, bench.cloud.now())).unwrap();
        assert_eq!(block_on(ledger.parameter_owner(&name)).unwrap(), None);
        assert_eq!(block_on(bench.cloud.parameter(&name)).unwrap(), None);
    }
    block_on(ledger.check_parameter(&name, &"other".parse().unwrap())).unwrap();
}

#[test]
fn a_volume_that_outlives_its_builder_is_found_and_deleted() {
    let bench = Bench::new();
    let bake = bench.start("one", &bench.upload("v1.jar")).unwrap();
    let builder = bake.bake.progress.builder.clone().unwrap();
    bench.cloud.with(|world| {
        let volume = world.volumes_of(&builder)[0].id.to_string();
        world.keep_volume(&volume).unwrap();
    });
    bench.fail("one", &Error::changed("x"));
    assert_eq!(bench.cloud.with(|world| world.volumes().count()), 1);
    let plan = bench.prune();
    assert_eq!(plan.dead_bakes.len(), 1, "{plan:?}");
    assert_eq!(bench.cloud.with(|world| world.volumes().count()), 0);
}

#[test]
fn a_recipe_that_changes_its_words_but_not_its_pipeline_writes_its_own_parameter_again() {
    let (bench, _) = baked(1);
    bench.push(&RECIPE.replace("user", "owner"));
    let bake = bench.bake("again", &bench.upload("v2.jar"));
    assert_eq!(bake.progress.status, Status::Promoted);
}
