//! Every reason for which an image stays or goes: each where no other one holds, then their order, then the borders.

use futures::executor::block_on;
use jiff::SignedDuration;
use ovenbird_core::{
    domain::{
        id::{AmiId, BakeId},
        tags::{TAG_BAKE, TAG_KEEP},
    },
    ports::{Image, ImageState, Retirement as _},
    steps::prune::{Inventory, Reason, Retention, Verdict, judge},
};

use super::desk::{Desk, TWO, pipeline};

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// An image of ours, so many days old, under the id of this number.
fn image(number: u8, days: i64) -> Image {
    let desk = Desk::new(&TWO);
    let mut image = block_on(desk.cloud.images(None)).unwrap().remove(0);
    image.id = id(number);
    image.created = now() - DAY * i32::try_from(days).unwrap();
    image.tags.insert(TAG_BAKE.into(), format!("bake-{number}"));
    image
}

fn id(number: u8) -> AmiId {
    AmiId::parse(&format!("ami-{number:017x}")).unwrap()
}

fn bake(number: u8) -> BakeId {
    BakeId::parse(&format!("bake-{number}")).unwrap()
}

fn now() -> jiff::Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

/// An inventory whose pipeline retains so many, and so long.
fn inventory(images: Vec<Image>, newest: usize, days: i32) -> Inventory {
    let retention = [(pipeline(), Retention { newest, age: DAY * days })].into();
    Inventory { images, retention, ..Inventory::default() }
}

/// What is thought of each image, by its number; the goers and the stayers are told apart rightly.
fn reasons(inventory: &Inventory) -> Vec<(AmiId, Reason)> {
    let (retire, keep) = judge(inventory, now());
    assert!(retire.iter().all(|verdict| verdict.reason == Reason::Retired), "{retire:?}");
    assert!(keep.iter().all(|verdict| verdict.reason != Reason::Retired), "{keep:?}");
    let mut all: Vec<Verdict> = retire.into_iter().chain(keep).collect();
    all.sort_by(|a, b| a.image.cmp(&b.image));
    all.into_iter().map(|verdict| (verdict.image, verdict.reason)).collect()
}

#[track_caller]
fn assert_reasons(inventory: &Inventory, expected: &[(u8, Reason)]) {
    let expected: Vec<_> = expected.iter().map(|(number, reason)| (id(*number), *reason)).collect();
    assert_eq!(reasons(inventory), expected);
}

/// Lets one reason hold for the image of number 1.
type Ground = fn(&mut Inventory);

/// Each reason but "retired", strongest first.
const REASONS: &[(Reason, Ground)] = &[
    (Reason::KeepTag, |inventory| drop(inventory.images[0].tags.insert(TAG_KEEP.into(), String::new()))),
    (Reason::Unrecorded, |inventory| assert!(inventory.unrecorded.insert(id(1)))),
    (Reason::Unreadable, |inventory| assert!(inventory.unreadable.insert(pipeline()))),
    (Reason::NoRecipe, |inventory| inventory.retention.clear()),
    (Reason::Channel, |inventory| named(inventory, 1, Reason::Channel)),
    (Reason::Parameter, |inventory| drop(inventory.parameters.insert(id(1), "/images/x".into()))),
    (Reason::Instance, |inventory| assert!(inventory.instances.insert(id(1)))),
    (Reason::Baking, |inventory| assert!(inventory.running.insert(bake(1)))),
    (Reason::Baking, |inventory| assert!(inventory.reused.insert(id(1)))),
    (Reason::Base, |inventory| assert!(inventory.bases.insert(id(1)))),
    (Reason::Newest, |inventory| inventory.retention.get_mut(&pipeline()).unwrap().newest = 1),
    (Reason::Young, |inventory| inventory.retention.get_mut(&pipeline()).unwrap().age = DAY * 1_000),
];

fn named(inventory: &mut Inventory, number: u8, reason: Reason) {
    inventory.channels.insert(id(number), (reason, "storefront/production".into()));
}

#[test]
fn what_a_channel_goes_back_to_stays() {
    let mut inventory = inventory(vec![image(1, 400)], 0, 30);
    named(&mut inventory, 1, Reason::Previous);
    assert_reasons(&inventory, &[(1, Reason::Previous)]);
}

#[test]
fn each_reason_alone_keeps_an_image_and_without_any_it_goes() {
    let bare = || inventory(vec![image(1, 400)], 0, 30);
    assert_reasons(&bare(), &[(1, Reason::Retired)]);
    for (reason, ground) in REASONS {
        let mut inventory = bare();
        ground(&mut inventory);
        assert_reasons(&inventory, &[(1, *reason)]);
    }
}

#[test]
fn a_reason_that_holds_for_another_image_keeps_none() {
    let others: [Ground; 6] = [
        |inventory| named(inventory, 2, Reason::Channel),
        |inventory| drop(inventory.parameters.insert(id(2), "/images/x".into())),
        |inventory| assert!(inventory.instances.insert(id(2))),
        |inventory| assert!(inventory.running.insert(bake(2))),
        |inventory| assert!(inventory.bases.insert(id(2))),
        |inventory| assert!(inventory.unrecorded.insert(id(2))),
    ];
    for ground in others {
        let mut inventory = inventory(vec![image(1, 400)], 0, 30);
        ground(&mut inventory);
        assert_reasons(&inventory, &[(1, Reason::Retired)]);
    }
}

#[test]
fn of_several_reasons_the_strongest_is_told() {
    for first in 0..REASONS.len() {
        let mut inventory = inventory(vec![image(1, 400)], 0, 30);
        // The recipe that NoRecipe takes away is what others change.
        for (_, ground) in REASONS[first..].iter().rev() {
            ground(&mut inventory);
        }
        assert_reasons(&inventory, &[(1, REASONS[first].0)]);
    }
}

#[test]
fn exactly_so_many_of_the_newest_stay() {
    let images = |count: u8| (1..=count).map(|number| image(number, 400 - i64::from(number))).collect();
    for (newest, expected) in [
        (0, [Reason::Retired, Reason::Retired, Reason::Retired]),
        (1, [Reason::Retired, Reason::Retired, Reason::Newest]),
        (2, [Reason::Retired, Reason::Newest, Reason::Newest]),
        (3, [Reason::Newest, Reason::Newest, Reason::Newest]),
        (4, [Reason::Newest, Reason::Newest, Reason::Newest]),
    ] {
        let found = reasons(&inventory(images(3), newest, 0));
        assert_eq!(found.into_iter().map(|(_, reason)| reason).collect::<Vec<_>>(), expected, "{newest}");
    }
}

#[test]
fn an_image_is_young_until_exactly_its_age_has_passed() {
    for (older_by, expected) in [(-1, Reason::Young), (0, Reason::Retired), (1, Reason::Retired)] {
        let mut one = image(1, 30);
        one.created -= SignedDuration::from_secs(older_by);
        assert_reasons(&inventory(vec![one], 0, 30), &[(1, expected)]);
    }
    // Where nothing is retained by age, none is young, not even one that was made in this moment.
    assert_reasons(&inventory(vec![image(1, 0)], 0, 0), &[(1, Reason::Retired)]);
}

#[test]
fn an_image_that_can_t_be_started_doesn_t_count_as_the_newest() {
    for (state, newest) in [
        (ImageState::Available, Reason::Retired),
        (ImageState::Pending, Reason::Newest),
        (ImageState::Failed, Reason::Newest),
        (ImageState::Disabled, Reason::Newest),
    ] {
        let (old, mut new) = (image(1, 200), image(2, 100));
        new.state = state;
        // The one that a machine can start from is kept, however many newer ones can't be started.
        let found = reasons(&inventory(vec![old, new], 1, 0));
        assert_eq!(found[0], (id(1), newest), "{state:?}");
    }
}

#[test]
fn an_image_without_a_record_or_of_a_bake_on_its_way_doesn_t_count_as_the_newest() {
    let others: [Ground; 2] = [
        |inventory| assert!(inventory.unrecorded.insert(id(2))),
        |inventory| assert!(inventory.running.insert(bake(2))),
    ];
    for ground in others {
        let mut inventory = inventory(vec![image(1, 200), image(2, 100)], 1, 0);
        ground(&mut inventory);
        assert_eq!(reasons(&inventory)[0], (id(1), Reason::Newest));
    }
}

#[test]
fn an_image_that_can_t_be_started_is_not_kept_as_the_newest_either() {
    let (mut old, new) = (image(1, 200), image(2, 100));
    old.state = ImageState::Disabled;
    assert_reasons(&inventory(vec![old, new], 1, 0), &[(1, Reason::Retired), (2, Reason::Newest)]);
}

#[test]
fn of_images_made_in_one_moment_the_same_one_goes_whatever_the_order_in_which_they_are_listed() {
    let (one, two) = (image(1, 100), image(2, 100));
    for images in [vec![one.clone(), two.clone()], vec![two, one]] {
        assert_reasons(&inventory(images, 1, 0), &[(1, Reason::Retired), (2, Reason::Newest)]);
    }
}

#[test]
fn each_pipeline_has_its_own_newest() {
    let (mine, mut other) = (image(1, 200), image(2, 100));
    let blog = "blog".parse().unwrap();
    for value in other.tags.values_mut().filter(|value| **value == pipeline().as_str()) {
        *value = "blog".into();
    }
    let mut inventory = inventory(vec![mine, other], 1, 0);
    assert_reasons(&inventory, &[(1, Reason::Newest), (2, Reason::NoRecipe)]);
    inventory.retention.insert(blog, Retention { newest: 1, age: SignedDuration::ZERO });
    assert_reasons(&inventory, &[(1, Reason::Newest), (2, Reason::Newest)]);
}

#[test]
fn an_image_that_names_no_pipeline_of_ours_is_not_judged() {
    let mut image = image(1, 400);
    image.tags.clear();
    assert_reasons(&inventory(vec![image], 0, 0), &[]);
}

#[test]
fn every_reason_is_told_in_words_of_its_own() {
    let all: std::collections::BTreeSet<_> = REASONS.iter().map(|(reason, _)| *reason).collect();
    let words: Vec<String> = all.into_iter().chain([Reason::Retired]).map(|one| one.to_string()).collect();
    let different: std::collections::BTreeSet<_> = words.iter().filter(|words| !words.is_empty()).collect();
    assert_eq!(different.len(), words.len(), "{words:?}");
}
