//! A stack that was deleted, and deployed again with its old table: docs/aws.md says how.

use std::collections::BTreeMap;

use futures::executor::block_on;
use jiff::SignedDuration;
use ovenbird_core::{
    domain::{
        bake::{Bake, Status, To},
        id::AmiId,
        tags::TAG_STACK,
    },
    ops::promotion,
    ports::Retirement as _,
};

use super::bench::{Bench, pipeline};

/// Three images of a stack that is gone, and the stack that was deployed again with its table.
fn deployed_again() -> (Bench, Vec<Bake>) {
    let old = Bench::new();
    let bakes = ["v1.jar", "v2.jar", "v3.jar"].map(|artifact| {
        let bake = old.bake(&artifact.replace(".jar", ""), &old.upload(artifact));
        old.cloud.pass(SignedDuration::from_secs(60));
        bake
    });
    let table = old.cloud.table();
    let cloud = old.cloud.of_stack("ovenbird/again".parse().unwrap());
    cloud.restore_table(&table);
    (Bench { cloud, deliveries: 1 }, bakes.into())
}

fn image(bake: &Bake) -> &AmiId {
    bake.progress.image.as_ref().unwrap()
}

/// What docs/aws.md asks for: images and snapshots get the new stack's id.
fn hand_over(bench: &Bench, bakes: &[Bake]) {
    let tags = BTreeMap::from([(TAG_STACK.to_owned(), "ovenbird/again".to_owned())]);
    let of_bakes = bakes.iter().flat_map(|bake| {
        let Bake { progress, .. } = bake;
        let snapshots = progress.snapshots.iter().map(ToString::to_string);
        snapshots.chain(progress.image.iter().map(ToString::to_string))
    });
    let resources: Vec<String> = of_bakes.collect();
    bench.cloud.with(|world| world.create_tags(&resources, &tags, false)).unwrap();
}

#[test]
fn images_of_the_stack_before_serve_on_and_are_neither_reused_nor_removed() {
    let (bench, bakes) = deployed_again();
    bench.cloud.pass(SignedDuration::from_hours(24 * 60));
    let plan = bench.prune();
    assert!(plan.is_empty(), "{plan:?}");
    assert!(bakes.iter().all(|bake| bench.image(image(bake)).is_some()));
    // Somebody is told that the channel's image is not this stack's.
    let told = |bake: &Bake| plan.problems.iter().any(|one| one.contains(image(bake).as_str()));
    assert!(told(&bakes[2]), "{plan:?}");
    // The channel has its history, and goes back by it.
    assert_eq!(bench.channel().as_deref(), Some(image(&bakes[2]).as_str()));
    let name = "production".parse().unwrap();
    let back = block_on(promotion::back_to(&pipeline(), &name, None, &bench.cloud)).unwrap();
    assert_eq!(&back.image, image(&bakes[1]));
    // An image that this stack's roles may not change is no image to reuse: the same inputs are baked anew.
    let document = bench.start("again", &bench.upload("v3.jar")).unwrap();
    assert_eq!((document.next.to, document.bake.progress.reused), (To::Await, false));
}

#[test]
fn images_that_got_the_new_stack_s_tag_are_reused_and_retired_as_its_own() {
    let (bench, bakes) = deployed_again();
    hand_over(&bench, &bakes);
    let again = bench.reuse("again", &bench.upload("v3.jar"));
    assert_eq!(image(&again), image(&bakes[2]));
    bench.cloud.pass(SignedDuration::from_hours(24 * 60));
    let plan = bench.prune();
    assert!(plan.problems.is_empty() && plan.halted.is_none(), "{plan:?}");
    // The one before the current one stays for a way back.
    assert_eq!(bench.image(image(&bakes[0])), None);
    assert!(bakes[1..].iter().all(|bake| bench.image(image(bake)).is_some()));
    assert_eq!(block_on(bench.cloud.snapshots(None)).unwrap().len(), 2);
}

#[test]
fn a_bake_that_had_not_ended_is_ended_by_prune_once_it_expires() {
    let old = Bench::new();
    let bake = old.start("1", &old.upload("v1.jar")).unwrap().bake;
    let table = old.cloud.table();
    let cloud = old.cloud.of_stack("ovenbird/again".parse().unwrap());
    cloud.restore_table(&table);
    let bench = Bench { cloud, deliveries: 1 };
    let builder = bake.progress.builder.as_ref().unwrap();
    let tags = BTreeMap::from([(TAG_STACK.to_owned(), "ovenbird/again".to_owned())]);
    bench.cloud.with(|world| world.create_tags(&[builder.to_string()], &tags, false)).unwrap();
    assert!(bench.prune().is_empty());
    bench.cloud.pass(SignedDuration::from_hours(25));
    assert_eq!(bench.prune().dead_bakes.len(), 1);
    assert_eq!(bench.record("1").progress.status, Status::Failed);
    bench.assert_clean(0);
    // Nothing of it holds up the next one.
    let next = bench.start("2", &bench.upload("v1.jar")).unwrap();
    assert_eq!(next.next.to, To::Await);
}
