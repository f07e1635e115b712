//! Answers that are as old as an answer may be: of EC2, and of the table's indexes.

use std::collections::BTreeSet;

use futures::executor::block_on;
use jiff::SignedDuration;
use ovenbird_core::{
    Error,
    domain::{bake::Failure, id::VolumeId, reference::Kind},
    ports::{Builders as _, Retirement as _, Volume, VolumeState},
    steps::{
        clean_up,
        guard::{Guard, Kept, Purpose, Reason, Terms},
    },
    store::Ledger,
};
use ovenbird_sim::{Consistency, Lack, Shortage};

use super::bench::{Bench, store};

/// Nothing but what is in use stays.
const TERMS: Terms = Terms { history: 0, shared: false };

fn running(bench: &Bench) -> Vec<String> {
    let (running, unreadable) = block_on(Ledger(&bench.cloud).running()).unwrap();
    assert!(unreadable.is_empty());
    running.into_iter().map(|bake| bake.spec.id.to_string()).collect()
}

/// Cleans up after a bake that failed so.
fn clean_up(bench: &Bench, id: &str, error: &str) -> Result<(), Error> {
    let record = bench.record(id);
    let failure = Failure { error: error.into(), cause: String::new(), stage: record.progress.stage };
    let (id, cloud) = (record.spec.id.clone(), &bench.cloud);
    let cleaned = clean_up::after_failure(&id, Some(record), Some(failure), false, cloud, cloud.now());
    block_on(cleaned).map(|cleaned| assert_eq!(cleaned.kept, []))
}

#[test]
fn bakes_on_their_way_are_those_whose_records_say_so_and_not_those_that_an_index_shows() {
    let bench = Bench::new();
    bench.cloud.answer_by(Consistency::Oldest);
    bench.start("storefront-1", &bench.upload("v1.jar")).unwrap();
    assert_eq!(running(&bench), ["storefront-1"], "no index shows it yet, and it has a builder");
    bench.cloud.pass(SignedDuration::from_secs(60));
    clean_up(&bench, "storefront-1", "StepFailed").unwrap();
    assert_eq!(running(&bench), [""; 0], "an index still shows it");
}

#[test]
fn an_image_that_a_bake_took_a_moment_ago_stays_though_no_index_shows_the_bake() {
    let bench = Bench::new();
    let old = bench.bake("storefront-1", &bench.upload("v1.jar"));
    bench.bake("storefront-2", &bench.upload("v2.jar"));
    bench.cloud.pass(SignedDuration::from_secs(60));
    bench.cloud.answer_by(Consistency::Oldest);
    let image = bench.image(old.progress.image.as_ref().unwrap()).unwrap();
    let judged = || {
        let guard = Guard::new(&bench.cloud);
        block_on(guard.keeps(&image, Some(&old), Purpose::Retirement(TERMS))).unwrap()
    };
    assert_eq!(judged(), None);
    let document = bench.start("storefront-3", &bench.upload("v1.jar")).unwrap();
    assert!(document.bake.progress.reused);
    let kept =
        Kept { id: image.id.to_string(), reason: Reason::Named(Kind::Baking), by: "storefront-3".into() };
    assert_eq!(judged(), Some(kept));
    // One that has ended needs it no more.
    clean_up(&bench, "storefront-3", "NotPromotable").unwrap();
    assert_eq!(judged(), None);
}

#[test]
fn a_builder_that_ec2_does_not_show_yet_is_removed_once_it_does() {
    let bench = Bench::new();
    bench.cloud.answer_by(Consistency::Oldest);
    let document = bench.start("storefront-1", &bench.upload("v1.jar")).unwrap();
    let builder = document.bake.progress.builder.unwrap();
    let unseen = clean_up(&bench, "storefront-1", "StepFailed").unwrap_err();
    assert_eq!(unseen.name(), "Unseen");
    assert!(unseen.to_string().contains(builder.as_str()), "{unseen}");
    // By its id it is seen long before it is by its tags.
    bench.cloud.pass(SignedDuration::from_secs(3));
    clean_up(&bench, "storefront-1", "StepFailed").unwrap();
    bench.cloud.pass(SignedDuration::from_secs(5));
    assert_eq!(bench.instances(), 0);
}

#[test]
fn a_launch_whose_answer_was_lost_is_looked_for_until_ec2_must_show_it() {
    for refused in [false, true] {
        let bench = Bench::new();
        let trigger = bench.upload("v1.jar");
        if refused {
            let lack = Shortage::of(Lack::Capacity);
            bench.cloud.with(|world| world.set_shortages(vec![lack]));
            assert_eq!(bench.start("storefront-1", &trigger).unwrap_err().name(), "NoCapacity");
        } else {
            // EC2 was asked, and nobody knows what it did.
            bench.start("storefront-1", &trigger).unwrap();
            let mut bake = bench.record("storefront-1").into_inner();
            let builder = bake.progress.builder.take().unwrap();
            store(&bench.cloud, &bake);
            bench.cloud.with(|world| world.terminate_instances(&[builder.to_string()], false)).unwrap();
            bench.cloud.pass(SignedDuration::from_hours(2));
            bake.progress.timeline.last_mut().unwrap().start = bench.cloud.now();
            store(&bench.cloud, &bake);
        }
        let first = clean_up(&bench, "storefront-1", "Lambda.Unknown");
        assert_eq!(first.is_err_and(|error| error.name() == "Unseen"), !refused);
        bench.cloud.pass(SignedDuration::from_secs(149));
        let second = clean_up(&bench, "storefront-1", "Lambda.Unknown");
        assert_eq!(second.is_err_and(|error| error.name() == "Unseen"), !refused);
        bench.cloud.pass(SignedDuration::from_secs(1));
        clean_up(&bench, "storefront-1", "Lambda.Unknown").unwrap();
    }
}

#[test]
fn what_is_gone_is_removed_also_where_the_role_is_refused() {
    let bench = Bench::new();
    let bake = bench.bake("storefront-1", &bench.upload("v1.jar"));
    bench.bake("storefront-2", &bench.upload("v2.jar"));
    let tags = bench.image(bake.progress.image.as_ref().unwrap()).unwrap().tags;
    let snapshots = block_on(bench.cloud.snapshots(Some(&bake.spec.id))).unwrap();
    let image = bench.image(bake.progress.image.as_ref().unwrap()).unwrap();
    // EC2 shows a terminated one for an hour, and this one not even then.
    let mut builder = block_on(bench.cloud.of_bake(&bake.spec.id)).unwrap().remove(0);
    builder.id = "i-0123456789abcdef0".parse().unwrap();
    let mut before = bake.clone();
    before.progress.builder = Some(builder.id.clone());
    bench.cloud.deregister(&image.id);
    let now = bench.cloud.now();
    bench.cloud.with(|world| world.delete_snapshot(now, snapshots[0].id.as_str(), false)).unwrap();
    bench.cloud.pass(SignedDuration::from_hours(2));
    bench.cloud.answer_by(Consistency::Oldest);
    let guard = Guard::new(&bench.cloud);
    let volume = Volume {
        id: VolumeId::parse("vol-0123456789abcdef0").unwrap(),
        state: VolumeState::Available,
        attached: None,
        tags: tags.clone(),
    };
    assert_eq!(block_on(guard.delete_volume(&volume, Some(&bake))).unwrap(), None);
    assert_eq!(block_on(guard.terminate(&builder, Some(&before))).unwrap(), None);
    let gone = BTreeSet::new();
    assert_eq!(block_on(guard.delete_snapshot(&snapshots[0], Some(&bake), &gone)).unwrap(), None);
    assert_eq!(block_on(guard.deregister(&image, Some(&bake), Purpose::Retirement(TERMS))).unwrap(), None);
}
