//! Which promotions start the bakes of those that stand on them.

use futures::executor::block_on;
use ovenbird_core::{
    domain::bake::{Bake, Status},
    functions,
    ports::Key,
};
use ovenbird_testkit::walk::scenarios::{PLAIN, Scenario};
use serde_json::{Value, json};

use super::desk::Desk;

const LAYERED: Scenario = Scenario { layered: true, before: &["v1.jar"], ..PLAIN };

fn key(sort: &str) -> Key {
    Key { pk: "PIPELINE#jvm-runtime".into(), sk: sort.into() }
}

/// An account whose runtime was promoted once, with the document of that bake.
fn promoted() -> (Desk, Value) {
    let desk = Desk::new(&LAYERED);
    let rows = desk.cloud.rows();
    let row = rows.iter().find(|row| row.key == key("BAKE#before-0")).unwrap();
    let mut document = row.doc.clone();
    document["next"] = json!({"to": "go"});
    (desk, document)
}

/// How many bakes the last state of a bake with this document starts, and which its record then names.
fn starts(desk: &Desk, document: &Value) -> (usize, usize) {
    let before = desk.times("states:StartExecution");
    let ended = block_on(functions::promote(
        &desk.cloud,
        json!({"action": "start-children", "document": document}),
        desk.now(),
    ))
    .unwrap();
    let bake: Bake = serde_json::from_value(ended).unwrap();
    let named = bake.progress.children.iter().filter(|child| child.bake.is_some()).count();
    (desk.times("states:StartExecution") - before, named)
}

#[test]
fn the_promotion_that_a_channel_points_at_starts_its_children() {
    let (desk, document) = promoted();
    assert_eq!(starts(&desk, &document), (1, 1));
}

#[test]
fn a_promotion_that_another_image_went_over_starts_nothing_and_one_of_the_same_image_does() {
    for (image, started) in [("ami-00000000000000000", 0), ("", 1)] {
        let (desk, document) = promoted();
        desk.edit(&key("CHANNEL#stable"), &key("CHANNEL#stable"), |doc| {
            let old = doc["current"].clone();
            doc["current"]["bake"] = json!("newer");
            if !image.is_empty() {
                doc["current"]["image"] = json!(image);
            }
            doc["previous"] = json!([old]);
        });
        assert_eq!(starts(&desk, &document).0, started, "{image}");
    }
}

#[test]
fn what_moved_no_channel_to_another_image_starts_nothing() {
    // It promoted what was there already.
    let (desk, document) = promoted();
    desk.edit(&key("CHANNEL#stable"), &key("CHANNEL#stable"), |doc| {
        let mut before = doc["current"].clone();
        before["bake"] = json!("older");
        doc["previous"] = json!([before]);
    });
    assert_eq!(starts(&desk, &document).0, 0);
    // Its promotion was taken back.
    let (desk, document) = promoted();
    desk.edit(&key("CHANNEL#stable"), &key("CHANNEL#stable"), |doc| doc["current"] = json!(null));
    assert_eq!(starts(&desk, &document).0, 0);
    for status in [Status::Running, Status::Validated, Status::Superseded, Status::Failed] {
        let (desk, document) = promoted();
        let key = key("BAKE#before-0");
        desk.edit(&key, &key, |doc| doc["status"] = json!(status));
        assert_eq!(starts(&desk, &document).0, 0, "{status:?}");
    }
}
