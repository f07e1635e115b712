//! A bake's turn to have a builder: who waits, who is overtaken, and who is let go on.

use std::collections::BTreeSet;

use futures::executor::block_on;
use jiff::SignedDuration;
use ovenbird_core::{
    domain::{
        bake::{Document, Stage, Status, To},
        plan::Plan,
        tags::TAG_EXPIRES,
        trigger::Trigger,
    },
    ports::{Bucket as _, Builders as _, Execution},
    steps::{clean_up, launch_builder},
    store::{Ledger, keys},
};
use serde_json::json;

use super::bench::{Bench, pipeline};

/// Starts a bake of an artifact that is uploaded a second after all others.
fn upload(bench: &Bench, id: &str) -> Document {
    bench.cloud.pass(SignedDuration::from_secs(1));
    bench.start(id, &bench.upload(&format!("{id}.jar"))).unwrap()
}

/// Starts a bake as a person does, of an artifact of its own.
fn by_hand(bench: &Bench, id: &str) -> Document {
    let key = format!("artifacts/storefront/by-hand/{id}.jar");
    bench.cloud.put(&key, id);
    bench.start(id, &Trigger::manual(&json!({"artifact": key})).unwrap()).unwrap()
}

fn take_over(bench: &Bench, document: &Document) -> Document {
    bench.deliver(|| launch_builder::take_over(document.clone(), &bench.cloud, bench.cloud.now())).unwrap()
}

#[track_caller]
fn assert_waits(document: &Document) {
    assert_eq!((document.next.to, document.bake.progress.stage), (To::Twin, Stage::AwaitTurn));
}

/// Ends a bake that has nothing to do any more.
fn end(bench: &Bench, document: &Document) {
    let record = bench.record(document.bake.spec.id.as_str());
    block_on(clean_up::after_success(record, document.ends.unwrap(), &bench.cloud, bench.cloud.now()))
        .unwrap();
}

#[test]
fn the_third_bake_waits_until_one_of_the_first_two_has_ended() {
    for deliveries in [1, 2] {
        let bench = Bench { deliveries, ..Bench::new() };
        let first = upload(&bench, "one");
        assert_eq!((first.next.to, upload(&bench, "two").next.to), (To::Await, To::Await));
        let third = upload(&bench, "three");
        assert_waits(&third);
        assert_eq!(bench.instances(), 2);
        assert_eq!(bench.look(&third).unwrap().next.to, To::Wait);
        bench.finish(bench.build(first, 0, true).unwrap()).unwrap();
        let third = bench.poll(third).unwrap();
        assert_eq!(third.next.to, To::Launch);
        let third = take_over(&bench, &third);
        assert_eq!((third.next.to, third.bake.progress.stage), (To::Await, Stage::Builder));
        let third = bench.finish(bench.build(third, 0, true).unwrap()).unwrap();
        assert_eq!(third.progress.status, Status::Promoted);
    }
}

#[test]
fn a_bake_that_fails_gives_its_turn_back() {
    let bench = Bench::new();
    upload(&bench, "one");
    upload(&bench, "two");
    let third = upload(&bench, "three");
    bench.fail("two", &ovenbird_core::Error::changed("something"));
    assert_eq!(bench.poll(third).unwrap().next.to, To::Launch);
}

#[test]
fn a_newer_upload_takes_the_turn_of_the_one_that_waits_and_that_ends_superseded() {
    let bench = Bench::new();
    upload(&bench, "one");
    upload(&bench, "two");
    let third = upload(&bench, "three");
    let fourth = upload(&bench, "four");
    assert_waits(&fourth);
    let third = bench.poll(third).unwrap();
    assert_eq!(third.next.to, To::Launch);
    let third = take_over(&bench, &third);
    assert_eq!((third.next.to, third.ends), (To::Done, Some(Status::Superseded)));
    end(&bench, &third);
    let record = bench.record("three");
    let why = record.progress.not_promoted.as_deref();
    assert_eq!(why, Some("a newer upload, bake four, came before this one had a builder"));
    assert!(record.progress.builder.is_none() && record.progress.forgotten.is_some());
    let (at_work, line) = block_on(Ledger(&bench.cloud).at_work_and_waiting(&pipeline())).unwrap();
    let names = |turns: &[ovenbird_core::domain::turn::Turn]| -> BTreeSet<String> {
        turns.iter().map(|turn| turn.bake.to_string()).collect()
    };
    assert_eq!(names(&at_work), ["one".to_owned(), "two".to_owned()].into());
    assert_eq!(names(&line), ["four".to_owned()].into());
    assert_eq!(bench.instances(), 2);
}

#[test]
fn an_upload_whose_event_comes_late_is_not_baked_beside_a_newer_one() {
    let bench = Bench::new();
    let late = bench.upload("late.jar");
    upload(&bench, "new");
    let late = bench.start("late", &late).unwrap();
    assert_eq!((late.next.to, late.ends), (To::Done, Some(Status::Superseded)));
    assert_eq!(bench.instances(), 1);
}

#[test]
fn what_a_person_asks_for_waits_and_no_upload_overtakes_it() {
    let bench = Bench::new();
    upload(&bench, "one");
    upload(&bench, "two");
    let hand = by_hand(&bench, "hand");
    assert_waits(&hand);
    upload(&bench, "three");
    assert_eq!(bench.look(&hand).unwrap().next.to, To::Wait);
    bench.fail("one", &ovenbird_core::Error::changed("something"));
    let hand = take_over(&bench, &bench.poll(hand).unwrap());
    assert_eq!(hand.next.to, To::Await);
}

#[test]
fn a_stopped_execution_that_nobody_cleaned_up_after_holds_nobody_up() {
    let bench = Bench::new();
    let first = upload(&bench, "one");
    upload(&bench, "two");
    let third = upload(&bench, "three");
    assert_eq!(bench.look(&third).unwrap().next.to, To::Wait);
    bench.cloud.stands(&first.bake.spec.id, Execution::Stopped { cause: String::new() });
    let third = bench.poll(third).unwrap();
    assert_eq!(take_over(&bench, &third).next.to, To::Await);
}

#[test]
fn the_stack_has_so_many_builders_whatever_the_recipes_say() {
    let bench = Bench::new();
    bench.cloud.have_at_most(1);
    let first = upload(&bench, "one");
    let second = upload(&bench, "two");
    assert_waits(&second);
    assert_eq!(bench.look(&second).unwrap().next.to, To::Wait);
    // Deployed anew with more.
    bench.cloud.have_at_most(2);
    assert_eq!(take_over(&bench, &bench.poll(second).unwrap()).next.to, To::Await);
    assert_eq!(first.next.to, To::Await);
}

#[test]
fn the_wait_is_no_part_of_the_time_that_the_builder_has() {
    let bench = Bench::new();
    let first = upload(&bench, "one");
    upload(&bench, "two");
    let third = upload(&bench, "three");
    bench.cloud.pass(SignedDuration::from_hours(3));
    bench.fail("one", &ovenbird_core::Error::changed("something"));
    assert_eq!(first.next.to, To::Await);
    let third = take_over(&bench, &bench.poll(third).unwrap());
    let (bake, waited) = (&third.bake, third.bake.progress.waited_for_others());
    assert!(waited >= SignedDuration::from_hours(3), "{waited}");
    assert_eq!(bake.expires(), bake.spec.expires + waited);
    let instance = block_on(bench.cloud.instance(bake.builder().unwrap())).unwrap().unwrap();
    assert_eq!(instance.tags[TAG_EXPIRES], bake.expires().to_string());
    let plan =
        block_on(bench.cloud.text(&keys::of_bake(&pipeline(), &bake.spec.id, keys::PLAN))).unwrap().unwrap();
    let plan: Plan = serde_json::from_str(&plan).unwrap();
    assert_eq!(plan.ends, bake.expires());
    // Its twins wait for as long as it does.
    let holder = block_on(Ledger(&bench.cloud).holder(&bake.spec.digest, bench.cloud.now())).unwrap();
    assert_eq!(holder.as_ref(), Some(&bake.spec.id));
}
