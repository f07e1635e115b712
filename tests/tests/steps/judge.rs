//! Every reason for which an image stays or goes: each where no other one holds, then their order, then the borders.

use futures::executor::block_on;
use jiff::SignedDuration;
use ovenbird_core::{
    domain::{
        id::{AmiId, BakeId},
        reference::{Kind, Reference},
        tags::{TAG_BAKE, TAG_KEEP},
    },
    ports::{Image, ImageState, Retirement as _},
    steps::prune::{Basis, Reason, Retention, Terms, Verdict, judge},
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

fn retains(newest: usize, days: i32) -> Retention {
    let terms = Terms { history: 1, shared: false };
    Retention { newest, age: DAY * days, soak: SignedDuration::ZERO, terms }
}

/// A basis whose pipeline retains so many, and so long.
fn basis(images: Vec<Image>, newest: usize, days: i32) -> Basis {
    let retention = [(pipeline(), retains(newest, days))].into();
    Basis { images, retention, ..Basis::default() }
}

/// What is thought of each image, by its number; the goers and the stayers are told apart rightly.
fn reasons(basis: &Basis) -> Vec<(AmiId, Reason)> {
    let mut all: Vec<Verdict> = judge(basis, now());
    for one in &all {
        assert_eq!(one.act.does_something(), one.reason == Reason::Retired, "{one:?}");
    }
    all.sort_by(|a, b| a.image.cmp(&b.image));
    all.into_iter().map(|verdict| (verdict.image, verdict.reason)).collect()
}

#[track_caller]
fn assert_reasons(basis: &Basis, expected: &[(u8, Reason)]) {
    let expected: Vec<_> = expected.iter().map(|(number, reason)| (id(*number), *reason)).collect();
    assert_eq!(reasons(basis), expected);
}

/// Lets one reason hold for the image of number 1.
type Ground = fn(&mut Basis);

/// Each reason but "retired", strongest first.
const REASONS: &[(Reason, Ground)] = &[
    (Reason::KeepTag, |basis| drop(basis.images[0].tags.insert(TAG_KEEP.into(), String::new()))),
    (Reason::Unrecorded, |basis| assert!(basis.unrecorded.insert(id(1)))),
    (Reason::Unreadable, |basis| assert!(basis.unreadable.insert(pipeline()))),
    (Reason::NoRecipe, |basis| basis.retention.clear()),
    (Reason::Protected, |basis| assert!(basis.protected.insert(id(1)))),
    (Reason::Named(Kind::Channel), |basis| named(basis, 1, Kind::Channel)),
    (Reason::Named(Kind::Previous), |basis| named(basis, 1, Kind::Previous)),
    (Reason::Named(Kind::Parameter), |basis| named(basis, 1, Kind::Parameter)),
    (Reason::Named(Kind::Instance), |basis| named(basis, 1, Kind::Instance)),
    (Reason::Named(Kind::LaunchTemplate), |basis| named(basis, 1, Kind::LaunchTemplate)),
    (Reason::Named(Kind::AutoScalingGroup), |basis| named(basis, 1, Kind::AutoScalingGroup)),
    (Reason::Named(Kind::LaunchConfiguration), |basis| named(basis, 1, Kind::LaunchConfiguration)),
    (Reason::Named(Kind::Fleet), |basis| named(basis, 1, Kind::Fleet)),
    (Reason::Named(Kind::SpotFleet), |basis| named(basis, 1, Kind::SpotFleet)),
    (Reason::Named(Kind::Base), |basis| named(basis, 1, Kind::Base)),
    (Reason::Named(Kind::Recipe), |basis| named(basis, 1, Kind::Recipe)),
    (Reason::Named(Kind::Baking), |basis| assert!(basis.running.insert(bake(1)))),
    (Reason::Newest, |basis| basis.retention.get_mut(&pipeline()).unwrap().newest = 1),
    (Reason::Young, |basis| basis.retention.get_mut(&pipeline()).unwrap().age = DAY * 1_000),
    (Reason::Launched, |basis| basis.images[0].launched = Some(now() + DAY)),
];

fn named(basis: &mut Basis, number: u8, kind: Kind) {
    basis.named.entry(id(number)).or_default().insert(Reference::new(kind, format!("by {kind:?}")));
}

#[test]
fn each_reason_alone_keeps_an_image_and_without_any_it_goes() {
    let bare = || basis(vec![image(1, 400)], 0, 30);
    assert_reasons(&bare(), &[(1, Reason::Retired)]);
    for (reason, ground) in REASONS {
        let mut basis = bare();
        ground(&mut basis);
        assert_reasons(&basis, &[(1, *reason)]);
    }
}

#[test]
fn a_reason_that_holds_for_another_image_keeps_none() {
    let others: [Ground; 4] = [
        |basis| named(basis, 2, Kind::Channel),
        |basis| named(basis, 2, Kind::Instance),
        |basis| assert!(basis.running.insert(bake(2))),
        |basis| assert!(basis.unrecorded.insert(id(2))),
    ];
    for ground in others {
        let mut basis = basis(vec![image(1, 400)], 0, 30);
        ground(&mut basis);
        assert_reasons(&basis, &[(1, Reason::Retired)]);
    }
}

#[test]
fn of_several_reasons_the_strongest_is_told() {
    for first in 0..REASONS.len() {
        let mut basis = basis(vec![image(1, 400)], 0, 30);
        // The recipe that NoRecipe takes away is what others change.
        for (_, ground) in REASONS[first..].iter().rev() {
            ground(&mut basis);
        }
        assert_reasons(&basis, &[(1, REASONS[first].0)]);
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
        let found = reasons(&basis(images(3), newest, 0));
        assert_eq!(found.into_iter().map(|(_, reason)| reason).collect::<Vec<_>>(), expected, "{newest}");
    }
}

#[test]
fn an_image_is_young_until_exactly_its_age_has_passed() {
    for (older_by, expected) in [(-1, Reason::Young), (0, Reason::Retired), (1, Reason::Retired)] {
        let mut one = image(1, 30);
        one.created -= SignedDuration::from_secs(older_by);
        assert_reasons(&basis(vec![one], 0, 30), &[(1, expected)]);
    }
    // Where nothing is retained by age, none is young, not even one that was made in this moment.
    assert_reasons(&basis(vec![image(1, 0)], 0, 0), &[(1, Reason::Retired)]);
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
        let found = reasons(&basis(vec![old, new], 1, 0));
        assert_eq!(found[0], (id(1), newest), "{state:?}");
    }
}

#[test]
fn an_image_without_a_record_or_of_a_bake_on_its_way_doesn_t_count_as_the_newest() {
    let others: [Ground; 2] =
        [|basis| assert!(basis.unrecorded.insert(id(2))), |basis| assert!(basis.running.insert(bake(2)))];
    for ground in others {
        let mut basis = basis(vec![image(1, 200), image(2, 100)], 1, 0);
        ground(&mut basis);
        assert_eq!(reasons(&basis)[0], (id(1), Reason::Newest));
    }
}

#[test]
fn an_image_that_can_t_be_started_is_not_kept_as_the_newest_either() {
    let (mut old, new) = (image(1, 200), image(2, 100));
    old.state = ImageState::Disabled;
    assert_reasons(&basis(vec![old, new], 1, 0), &[(1, Reason::Retired), (2, Reason::Newest)]);
}

#[test]
fn of_images_made_in_one_moment_the_same_one_goes_whatever_the_order_in_which_they_are_listed() {
    let (one, two) = (image(1, 100), image(2, 100));
    for images in [vec![one.clone(), two.clone()], vec![two, one]] {
        assert_reasons(&basis(images, 1, 0), &[(1, Reason::Retired), (2, Reason::Newest)]);
    }
}

#[test]
fn each_pipeline_has_its_own_newest() {
    let (mine, mut other) = (image(1, 200), image(2, 100));
    let blog = "blog".parse().unwrap();
    for value in other.tags.values_mut().filter(|value| **value == pipeline().as_str()) {
        *value = "blog".into();
    }
    let mut basis = basis(vec![mine, other], 1, 0);
    assert_reasons(&basis, &[(1, Reason::Newest), (2, Reason::NoRecipe)]);
    basis.retention.insert(blog, retains(1, 0));
    assert_reasons(&basis, &[(1, Reason::Newest), (2, Reason::Newest)]);
}

#[test]
fn an_image_that_names_no_pipeline_of_ours_is_not_judged() {
    let mut image = image(1, 400);
    image.tags.clear();
    assert_reasons(&basis(vec![image], 0, 0), &[]);
}

#[test]
fn every_reason_is_told_in_words_of_its_own() {
    let all: std::collections::BTreeSet<_> = REASONS.iter().map(|(reason, _)| *reason).collect();
    let words: Vec<String> = all.into_iter().chain([Reason::Retired]).map(|one| one.to_string()).collect();
    let different: std::collections::BTreeSet<_> = words.iter().filter(|words| !words.is_empty()).collect();
    assert_eq!(different.len(), words.len(), "{words:?}");
}
