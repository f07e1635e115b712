//! What EC2 holds by of an image that passed its tests: IMDSv2 alone, and no deregistration but prune's.

use futures::executor::block_on;
use jiff::SignedDuration;
use ovenbird_core::{
    domain::{
        bake::{Bake, Document, Status, To},
        id::AmiId,
    },
    ports::{Image, ImageState, Key, Protection, Retirement as _, Row},
    steps::promote,
};
use ovenbird_testkit::{Cloud, Fault};
use serde_json::json;

use super::desk::{Desk, TWO};

const REQUIRE: &str = "ec2:ModifyImageAttribute";
const PROTECT: &str = "ec2:EnableImageDeregistrationProtection";
const LIFT: &str = "ec2:DisableImageDeregistrationProtection";

async fn step(cloud: &Cloud, bake: &Bake) -> ovenbird_core::Result<Document> {
    promote::run(bake.clone().go(To::Promote), cloud, cloud.now()).await
}

/// The image as EC2 shows it, also if it is disabled.
fn seen(desk: &Desk, id: &AmiId) -> Option<Image> {
    block_on(desk.cloud.images(None)).unwrap().into_iter().find(|image| image.id == *id)
}

fn attributes(desk: &Desk, id: &AmiId) -> (bool, Protection) {
    let image = seen(desk, id).expect("it is there");
    (image.imdsv2, image.protection)
}

/// An account whose old image is as it was made before recipes asked for anything.
fn bare() -> (Desk, AmiId) {
    let desk = Desk::new(&super::desk::BARE);
    let image = desk.image("before-0");
    assert_eq!(attributes(&desk, &image), (false, Protection::Off));
    desk.edit_bake("before-0", |doc| {
        let settings = doc["settings"].as_object_mut().unwrap();
        settings.remove("imdsv2").unwrap();
        settings.remove("protected").unwrap();
    });
    (desk, image)
}

#[test]
fn an_image_that_passed_its_tests_is_protected_and_takes_imdsv2_alone() {
    let desk = Desk::new(&TWO);
    for name in ["before-0", "before-1"] {
        assert_eq!(attributes(&desk, &desk.image(name)), (true, Protection::On));
    }
    // An instance whose launch says nothing of it.
    let image = desk.image("before-0");
    let started = desk.start(&image);
    let tokens = desk.cloud.with(|world| {
        let mut found = world.live_instances().filter(|one| one.id.as_str() == started);
        found.next().map(ovenbird_sim::Instance::http_tokens)
    });
    assert_eq!(tokens, Some("required"));
    // One call for each of the two images, and none that was not needed.
    assert_eq!((desk.times(REQUIRE), desk.times(PROTECT)), (2, 2));
    let bake = desk.reuse(|_| ());
    assert_eq!(block_on(step(&desk.cloud, &bake)).unwrap().ends, Some(Status::Promoted));
    assert_eq!((desk.times(REQUIRE), desk.times(PROTECT)), (2, 2));
}

#[test]
fn a_recipe_may_ask_for_neither() {
    let desk = Desk::new(&super::desk::BARE);
    assert_eq!(desk.current(), Some(desk.image("before-1")));
    assert_eq!((desk.times(REQUIRE), desk.times(PROTECT)), (0, 0));
}

/// The channel must not point at an image for a moment in which the image isn't yet what the recipe says.
#[test]
fn the_channel_moves_only_to_an_image_that_has_its_attributes() {
    let (desk, image) = bare();
    let bake = desk.reuse(|bake| bake.spec.settings.imdsv2 = true);
    let before = desk.current();
    assert_ne!(before.as_ref(), Some(&image));
    let meanwhile = || assert_eq!(desk.current(), before);
    let ended = desk.interrupt(async |cloud| step(cloud, &bake).await, REQUIRE, 0, meanwhile);
    assert_eq!(ended.unwrap().ends, Some(Status::Promoted));
    assert_eq!((desk.current(), attributes(&desk, &image).0), (Some(image), true));
}

/// Prune lifts what the maker of an image asked for and nothing else, so a reuse must add nothing that prune would keep.
#[test]
fn a_reused_image_of_before_gets_imdsv2_and_no_protection() {
    let (desk, image) = bare();
    let bake = desk.reuse(|bake| (bake.spec.settings.imdsv2, bake.spec.settings.protected) = (true, true));
    assert_eq!(block_on(step(&desk.cloud, &bake)).unwrap().ends, Some(Status::Promoted));
    assert_eq!(attributes(&desk, &image), (true, Protection::Off));
}

#[test]
fn a_reuse_protects_again_what_its_maker_protected() {
    let desk = Desk::new(&TWO);
    let image = desk.image("before-0");
    block_on(desk.cloud.unprotect(&image)).unwrap();
    let bake = desk.reuse(|_| ());
    block_on(step(&desk.cloud, &bake)).unwrap();
    assert_eq!(attributes(&desk, &image), (true, Protection::On));
}

/// The image on its last stage, and the verdict that deregisters it.
fn last_stage(desk: &Desk, image: &AmiId) -> serde_json::Value {
    desk.edit_channel(|doc| doc["previous"] = json!([]));
    let recipe = desk.recipe();
    desk.push(&recipe.replace("soak = 0", "soak = 7"));
    for act in ["deprecate", "disable"] {
        let verdict = desk.verdict(image);
        assert_eq!(verdict["act"], act);
        desk.act("retire", &verdict).unwrap();
        desk.cloud.pass(SignedDuration::from_hours(24 * 8));
    }
    let verdict = desk.verdict(image);
    assert_eq!(
        (&verdict["act"], seen(desk, image).unwrap().state),
        (&json!("deregister"), ImageState::Disabled)
    );
    verdict
}

#[test]
fn prune_lifts_the_protection_right_before_it_deregisters() {
    let desk = Desk::new(&TWO);
    let image = desk.image("before-0");
    let verdict = last_stage(&desk, &image);
    assert_eq!((desk.times(LIFT), attributes(&desk, &image).1), (0, Protection::On));
    assert_eq!(desk.act("retire", &verdict).unwrap()["reason"], "retired");
    assert_eq!((desk.times(LIFT), seen(&desk, &image)), (1, None));
    let calls = desk.cloud.calls();
    let lifted = calls.iter().position(|call| call.actions[0] == LIFT).unwrap();
    assert_eq!(calls[lifted + 1].actions[0], "ec2:DeregisterImage");
}

#[test]
fn an_image_whose_protection_outlasts_its_lifting_stays_and_no_run_fails_for_it() {
    let desk = Desk::new(&TWO);
    let image = desk.image("before-0");
    let verdict = last_stage(&desk, &image);
    // A person protected it with a cooldown, and lifted that: EC2 doesn't say so, and refuses.
    let now = desk.now();
    desk.cloud.with(|world| {
        world.protect_image(image.as_str(), true, false).unwrap();
        world.unprotect_image(now, image.as_str(), false).unwrap();
    });
    assert_eq!(attributes(&desk, &image).1, Protection::Off);
    let kept = desk.act("retire", &verdict).unwrap();
    assert_eq!((&kept["act"], &kept["reason"]), (&json!("keep"), &json!("protected")));
    desk.cloud.pass(SignedDuration::from_hours(25));
    let verdict = desk.verdict(&image);
    assert_eq!(desk.act("retire", &verdict).unwrap()["reason"], "retired");
    assert_eq!(seen(&desk, &image), None);
}

/// The records of images, and what leads to them; not what is noted of an image that goes.
fn records(desk: &Desk) -> Vec<Row> {
    let of_images =
        |key: &Key| key.pk.starts_with("DIGEST#") || key.pk.starts_with("IMAGE#") && key.sk == "SET";
    desk.cloud
        .rows()
        .into_iter()
        .filter(|row| of_images(&row.key))
        .map(|row| Row { version: 0, ..row })
        .collect()
}

/// Without stages no retirement has its record: bakes would never reuse it again.
#[test]
fn an_image_that_stays_after_all_keeps_its_record_also_without_stages() {
    let desk = Desk::new(&TWO);
    desk.edit_channel(|doc| doc["previous"] = json!([]));
    let image = desk.image("before-0");
    let (before, now, verdict) = (records(&desk), desk.now(), desk.verdict(&image));
    assert_eq!(verdict["act"], "deregister");

    // EC2 refuses.
    let refused = desk.clone();
    refused.cloud.with(|world| {
        world.protect_image(image.as_str(), true, false).unwrap();
        world.unprotect_image(now, image.as_str(), false).unwrap();
    });
    assert_eq!(refused.act("retire", &verdict).unwrap()["reason"], "protected");
    assert_eq!(records(&refused), before);
    refused.cloud.pass(SignedDuration::from_hours(25));
    assert_eq!(refused.act("retire", &refused.verdict(&image)).unwrap()["reason"], "retired");
    assert!(seen(&refused, &image).is_none() && records(&refused).len() < before.len());

    // The function dies before it asks EC2, and then something names the image.
    let rehearsal = desk.clone();
    rehearsal.act("retire", &verdict).unwrap();
    let calls = rehearsal.cloud.calls();
    let call = calls.iter().position(|call| call.actions[0] == "ec2:DeregisterImage").unwrap();
    desk.cloud.inject(call, Fault::Refused);
    desk.act("retire", &verdict).unwrap_err();
    assert!(records(&desk).len() < before.len());
    desk.cloud.put_parameter(&"/somebody/s".parse().unwrap(), image.as_str());
    assert_eq!(desk.act("retire", &verdict).unwrap()["reason"], "parameter");
    assert_eq!(records(&desk), before);
}

/// A run died after it had lifted the protection; then a person takes the image back.
#[test]
fn an_image_that_is_taken_back_is_protected_again() {
    let desk = Desk::new(&TWO);
    let image = desk.image("before-0");
    last_stage(&desk, &image);
    block_on(desk.cloud.unprotect(&image)).unwrap();
    let mut back = desk.verdict(&image);
    (back["act"], back["reason"]) = (json!("restore"), json!("undone"));
    desk.act("retire", &back).unwrap();
    assert_eq!(seen(&desk, &image).unwrap().state, ImageState::Available);
    assert_eq!(attributes(&desk, &image), (true, Protection::On));
    // One that was never to be protected isn't.
    let (desk, image) = bare();
    last_stage(&desk, &image);
    let mut back = desk.verdict(&image);
    (back["act"], back["reason"]) = (json!("restore"), json!("undone"));
    desk.act("retire", &back).unwrap();
    assert_eq!(attributes(&desk, &image), (false, Protection::Off));
}
