//! Every arm of a promotion: what becomes of the channel, and how it is taken back.

use std::cmp::Ordering;

use futures::executor::block_on;
use jiff::{SignedDuration, Timestamp};
use ovenbird_core::{
    domain::{
        artifact::ArtifactKey,
        bake::{Bake, Order, Status},
        id::AmiId,
    },
    ports::Key,
    store::{Channel, Ledger, Promotion},
};
use serde_json::json;

use super::desk::{Desk, TWO};

/// How a bake that is about to be promoted differs from the one that the channel points at.
#[derive(Clone)]
pub struct Comer {
    pub name: &'static str,
    /// Seconds by which its artifact is newer.
    pub newer: i64,
    /// Seconds by which it started later.
    pub later: i64,
    /// Its image: of another digest, or the very same.
    pub same_image: bool,
    pub force: bool,
}

pub const COMER: Comer = Comer { name: "comer", newer: 10, later: 10, same_image: false, force: false };

/// The bake of a comer, with its image proven, whatever that image is.
pub fn arrive(desk: &Desk, comer: &Comer) -> Bake {
    let current = desk.bake("before-1");
    let mut bake = current.clone();
    (bake.spec.id, bake.progress.status) = (comer.name.parse().unwrap(), Status::Running);
    bake.spec.started = current.spec.started + SignedDuration::from_secs(comer.later);
    bake.spec.options.force = comer.force;
    if !comer.same_image {
        bake.progress.image = Some(image(comer.name));
        bake.spec.digest = ovenbird_core::domain::digest::sha256(comer.name.as_bytes());
        let artifact = bake.spec.artifact.as_mut().unwrap();
        artifact.key = ArtifactKey::parse(&format!("artifacts/storefront/{}.jar", comer.name)).unwrap();
        artifact.uploaded += SignedDuration::from_secs(comer.newer);
        let (from, to) = (record_key(&current), record_key(&bake));
        desk.edit(&from, &to, |doc| {
            (doc["image"], doc["digest"]) = (json!(bake.progress.image), json!(bake.spec.digest));
        });
    }
    bake
}

pub fn image(name: &str) -> AmiId {
    let digest = ovenbird_core::domain::digest::sha256(name.as_bytes());
    AmiId::parse(&format!("ami-{}", &digest.as_str()[..17])).unwrap()
}

fn record_key(bake: &Bake) -> Key {
    Key { pk: format!("IMAGE#{}", bake.progress.image.as_ref().unwrap()), sk: "SET".into() }
}

pub fn promote(desk: &Desk, bake: &Bake) -> Promotion {
    block_on(Ledger(&desk.cloud).promote(bake, desk.now())).unwrap()
}

fn take_back(desk: &Desk, bake: &Bake) {
    block_on(Ledger(&desk.cloud).take_back(&bake.spec)).unwrap();
}

pub fn channel(desk: &Desk) -> Channel {
    desk.channel().unwrap()
}

/// The bakes of the channel's current target and of those before it.
fn bakes(desk: &Desk) -> Vec<String> {
    let channel = channel(desk);
    channel.current.iter().chain(&channel.previous).map(|target| target.bake.to_string()).collect()
}

#[test]
fn what_becomes_of_a_promotion() {
    let same = Comer { same_image: true, ..COMER };
    let cases = [
        (COMER, Promotion::Moved),
        (Comer { newer: -10, ..COMER }, Promotion::Superseded),
        // An older artifact stays older, however late its bake began.
        (Comer { newer: -1, later: 9_999, ..COMER }, Promotion::Superseded),
        // Two artifacts of one moment: whose bake began later.
        (Comer { newer: 0, later: 1, ..COMER }, Promotion::Moved),
        (Comer { newer: 0, later: -1, ..COMER }, Promotion::Superseded),
        (Comer { newer: 0, later: 0, ..COMER }, Promotion::Moved),
        (Comer { newer: -10, force: true, ..COMER }, Promotion::Moved),
        // The same image again: a newer bake of it is a promotion of its own, that an older one stays behind.
        (same.clone(), Promotion::Moved),
        (Comer { later: 0, ..same.clone() }, Promotion::Unchanged),
        (Comer { later: -1, ..same.clone() }, Promotion::Unchanged),
        (Comer { later: -1, force: true, ..same }, Promotion::Unchanged),
    ];
    for (comer, expected) in cases {
        let desk = Desk::new(&TWO);
        let (bake, before) = (arrive(&desk, &comer), channel(&desk));
        let what = format!("newer by {}, later by {}", comer.newer, comer.later);
        assert_eq!(promote(&desk, &bake), expected, "{what}, force {}", comer.force);
        if expected == Promotion::Moved {
            assert_eq!(bakes(&desk), ["comer", "before-1", "before-0"]);
            let after = channel(&desk);
            assert_eq!(after.generation, before.generation + 1);
            let current = after.current.unwrap();
            assert_eq!(
                (current.generation, Some(current.image)),
                (after.generation, bake.progress.image.clone())
            );
            assert_eq!((current.digest, current.promoted), (bake.spec.digest.clone(), desk.now()));
        } else {
            assert_eq!(channel(&desk), before, "{what}");
        }
        // And again is once.
        let settled = channel(&desk);
        let again = promote(&desk, &bake);
        assert_eq!(again, if expected == Promotion::Moved { Promotion::Unchanged } else { expected });
        assert_eq!(channel(&desk), settled, "{what}");
    }
}

#[test]
fn a_promotion_that_another_one_went_over_is_not_made_again() {
    for force in [false, true] {
        let desk = Desk::new(&TWO);
        let first = arrive(&desk, &Comer { name: "first", force, ..COMER });
        let second = arrive(&desk, &Comer { name: "second", newer: 20, ..COMER });
        assert_eq!(promote(&desk, &first), Promotion::Moved);
        assert_eq!(promote(&desk, &second), Promotion::Moved);
        let settled = channel(&desk);
        assert_eq!(promote(&desk, &first), Promotion::Overtaken, "force {force}");
        assert_eq!(channel(&desk), settled);
    }
}

#[test]
fn the_first_promotion_of_all_makes_the_channel() {
    let desk = Desk::new(&TWO);
    let mut bake = arrive(&desk, &COMER);
    bake.spec.settings.channel = "staging".parse().unwrap();
    assert_eq!(promote(&desk, &bake), Promotion::Moved);
    let found = block_on(Ledger(&desk.cloud).channel(&bake.spec.pipeline, &bake.spec.settings.channel))
        .unwrap()
        .unwrap();
    assert_eq!((found.generation, found.previous.len()), (1, 0));
    assert_eq!(found.current.map(|target| target.image), bake.progress.image);
    assert_eq!(bakes(&desk), ["before-1", "before-0"], "the other channel is as it was");
}

#[test]
fn an_image_without_a_proof_of_these_very_tests_is_not_promoted() {
    type Spoil = fn(&Desk, &mut Bake);
    let cases: [(&str, Spoil); 4] = [
        ("no record of it", |_, bake| bake.spec.digest = "0".repeat(64).parse().unwrap()),
        ("no record of it", |_, bake| bake.progress.image = Some(image("another"))),
        ("it has not passed its tests", |_, bake| bake.spec.inputs.tests = "0".repeat(64).parse().unwrap()),
        ("it has not passed its tests", |desk, bake| {
            let key = record_key(bake);
            desk.edit(&key, &key, |doc| doc["status"] = json!("baking"));
        }),
    ];
    for (problem, spoil) in cases {
        let desk = Desk::new(&TWO);
        let mut bake = arrive(&desk, &Comer { force: true, ..COMER });
        spoil(&desk, &mut bake);
        let before = channel(&desk);
        let error = block_on(Ledger(&desk.cloud).promote(&bake, desk.now())).unwrap_err();
        assert_eq!(error.name(), "NotPromotable");
        assert!(error.to_string().contains(problem), "{error}");
        assert_eq!(channel(&desk), before);
    }
}

#[test]
fn an_image_that_is_forgotten_while_it_is_promoted_is_not_promoted() {
    let desk = Desk::new(&TWO);
    let bake = arrive(&desk, &COMER);
    let forget = || {
        let ledger = Ledger(&desk.cloud);
        block_on(ledger.forget_image(&bake.spec.digest, bake.progress.image.as_ref().unwrap())).unwrap();
    };
    let now = desk.now();
    let late =
        desk.interrupt(async |cloud| Ledger(cloud).promote(&bake, now).await, "dynamodb:PutItem", 0, forget);
    assert_eq!(late.unwrap_err().name(), "TryAgain");
    assert_eq!(bakes(&desk), ["before-1", "before-0"]);
}

#[test]
fn a_channel_that_moves_while_another_promotion_is_made_is_not_overwritten() {
    let desk = Desk::new(&TWO);
    let (old, new) = (arrive(&desk, &COMER), arrive(&desk, &Comer { name: "new", newer: 20, ..COMER }));
    let now = desk.now();
    let late = desk.interrupt(
        async |cloud| Ledger(cloud).promote(&old, now).await,
        "dynamodb:PutItem",
        0,
        || assert_eq!(promote(&desk, &new), Promotion::Moved),
    );
    assert_eq!(late.unwrap_err().name(), "TryAgain");
    assert_eq!(promote(&desk, &old), Promotion::Superseded);
    assert_eq!(bakes(&desk), ["new", "before-1", "before-0"]);
}

#[test]
fn taken_back_the_channel_is_as_it_was() {
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    for (back, expected) in [
        ("comer", names(&["before-1", "before-0"])),
        // From the history, nothing moves.
        ("before-1", names(&["comer", "before-0"])),
        ("before-0", names(&["comer", "before-1"])),
    ] {
        let desk = Desk::new(&TWO);
        let comer = arrive(&desk, &COMER);
        promote(&desk, &comer);
        let before = channel(&desk).generation;
        let bake = if back == "comer" { comer } else { desk.bake(back) };
        take_back(&desk, &bake);
        assert_eq!(bakes(&desk), expected, "{back}");
        assert_eq!(channel(&desk).generation, before + 1, "whoever looked before sees that it moved");
        // Again is once.
        let settled = channel(&desk);
        take_back(&desk, &bake);
        assert_eq!(channel(&desk), settled, "{back}");
    }
}

#[test]
fn a_bake_that_was_never_promoted_takes_nothing_back() {
    let desk = Desk::new(&TWO);
    let before = channel(&desk);
    // Of the channel's very image, and yet not what moved the channel to it.
    take_back(&desk, &arrive(&desk, &Comer { same_image: true, ..COMER }));
    assert_eq!(channel(&desk), before);
    let mut bake = arrive(&desk, &COMER);
    bake.spec.settings.channel = "staging".parse().unwrap();
    take_back(&desk, &bake);
    assert!(
        block_on(Ledger(&desk.cloud).channel(&bake.spec.pipeline, &bake.spec.settings.channel))
            .unwrap()
            .is_none()
    );
}

#[test]
fn the_first_promotion_of_all_taken_back_leaves_an_empty_channel() {
    let desk = Desk::new(&TWO);
    desk.edit_channel(|doc| doc["previous"] = json!([]));
    take_back(&desk, &desk.bake("before-1"));
    let channel = channel(&desk);
    assert_eq!((channel.current, channel.previous.len()), (None, 0));
    // Whatever comes next is promoted, however old.
    let old = arrive(&desk, &Comer { newer: -10, ..COMER });
    assert_eq!(promote(&desk, &old), Promotion::Moved);
}

#[test]
fn a_channel_remembers_twenty_images_and_a_hundred_promotions() {
    let desk = Desk::new(&TWO);
    let current = desk.bake("before-1");
    let promoted = |number: i64, image: AmiId, digest| {
        let mut bake = current.clone();
        bake.spec.id = format!("p-{number}").parse().unwrap();
        bake.spec.started += SignedDuration::from_secs(number);
        (bake.progress.image, bake.spec.digest) = (Some(image), digest);
        bake.spec.artifact.as_mut().unwrap().uploaded += SignedDuration::from_secs(number);
        let to = record_key(&bake);
        if !desk.cloud.rows().iter().any(|row| row.key == to) {
            desk.edit(&record_key(&current), &to, |doc| {
                (doc["image"], doc["digest"]) = (json!(bake.progress.image), json!(bake.spec.digest));
            });
        }
        assert_eq!(promote(&desk, &bake), Promotion::Moved, "{number}");
    };
    // One image, again and again, pushes no other one out.
    for number in 1..=97 {
        promoted(number, current.progress.image.clone().unwrap(), current.spec.digest.clone());
    }
    let count = || (channel(&desk).previous.len(), bakes(&desk).last().unwrap().clone());
    assert_eq!(count(), (98, "before-0".into()));
    for number in 98..=101 {
        promoted(number, current.progress.image.clone().unwrap(), current.spec.digest.clone());
    }
    assert_eq!(count(), (100, "p-1".into()), "a hundred, and not one more");
    // Of different images, the twenty that it pointed at last.
    for number in 200..=225 {
        let name = format!("image-{number}");
        promoted(number, image(&name), ovenbird_core::domain::digest::sha256(name.as_bytes()));
    }
    assert_eq!(count(), (20, "p-205".into()));
}

#[test]
fn who_is_newer() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let order = |artifact: Option<&str>, uploaded, sequencer: &str, started| Order {
        artifact: artifact.map(Into::into),
        uploaded: at(uploaded),
        sequencer: sequencer.into(),
        started: at(started),
    };
    let (a, b) = (Some("a@1"), Some("b@2"));
    let cases = [
        // Another artifact: when it was uploaded, then S3's sequencer, then the start.
        (order(a, 10, "", 99), order(b, 11, "", 50), Ordering::Less),
        (order(a, 10, "00", 99), order(b, 10, "01", 50), Ordering::Less),
        (order(a, 10, "1", 99), order(b, 10, "01", 50), Ordering::Greater),
        (order(a, 10, "01", 50), order(b, 10, "0100", 50), Ordering::Equal),
        (order(a, 10, "01", 50), order(b, 10, "0100", 51), Ordering::Less),
        (order(a, 10, "0100000000", 50), order(b, 10, "01000000001", 49), Ordering::Less),
        (order(a, 10, "", 50), order(b, 10, "", 51), Ordering::Less),
        (order(a, 10, "", 50), order(b, 10, "", 50), Ordering::Equal),
        // The same artifact: the start alone, and not when it was uploaded again.
        (order(a, 12, "FF", 50), order(a, 10, "", 51), Ordering::Less),
        (order(a, 12, "FF", 50), order(a, 10, "", 50), Ordering::Equal),
        // None at all: the start, of which `uploaded` is a copy; two of those are no "same artifact".
        (order(None, 50, "", 50), order(None, 51, "", 51), Ordering::Less),
        (order(None, 50, "", 52), order(None, 51, "", 51), Ordering::Less),
        (order(None, 50, "", 50), order(a, 51, "", 40), Ordering::Less),
    ];
    for (one, two, expected) in cases {
        assert_eq!(one.compare(&two), expected, "{one:?} and {two:?}");
        assert_eq!(two.compare(&one), expected.reverse(), "{two:?} and {one:?}");
    }
}
