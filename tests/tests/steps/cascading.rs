//! Which promotions start the bakes of those that stand on them.

use futures::executor::block_on;
use ovenbird_core::{
    domain::bake::{Bake, Status},
    functions,
    ports::{Key, LOOKED_THROUGH},
    store::{Ancestor, Child, Ledger},
};
use ovenbird_testkit::{
    Cloud, Fault,
    walk::scenarios::{PLAIN, Scenario},
};
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

/// Gives the child a recipe that takes `*.war` alone.
fn only_wars(desk: &Desk) {
    desk.push(&desk.recipe().replace("[artifact]\n", "[artifact]\nmatch = \"*.war\"\n"));
}

#[test]
fn a_child_none_of_whose_uploads_is_an_artifact_is_not_started() {
    let (desk, document) = promoted();
    only_wars(&desk);
    assert_eq!(starts(&desk, &document), (0, 0));
    let (desk, document) = promoted();
    only_wars(&desk);
    desk.cloud.put("artifacts/storefront/v2.war", "v2");
    assert_eq!(starts(&desk, &document), (1, 1));
}

/// Its own bake says what is wrong with it.
#[test]
fn a_child_whose_recipe_can_t_be_read_is_started_all_the_same() {
    let (desk, document) = promoted();
    desk.cloud.put("recipes/storefront/current.json", "{}");
    assert_eq!(starts(&desk, &document), (1, 1));
}

/// The other children wait behind it.
#[test]
fn a_child_with_very_many_uploads_is_not_searched_to_its_end() {
    for (uploads, started) in [(LOOKED_THROUGH - 1, 0), (LOOKED_THROUGH, 1)] {
        let (desk, document) = promoted();
        only_wars(&desk);
        // There is `v1.jar` already.
        for number in 0..uploads {
            desk.cloud.put(&format!("artifacts/storefront/{number}.txt"), "x");
        }
        assert_eq!(starts(&desk, &document), (started, started), "{uploads}");
    }
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

/// Each child is another team's: a fix of the runtime reaches the others all the same.
#[test]
fn a_child_that_can_t_be_started_keeps_no_other_from_being_started() {
    let (desk, document) = promoted();
    let base = Ancestor { pipeline: "jvm-runtime".parse().unwrap(), channel: "stable".parse().unwrap() };
    for name in ["aardvark", "zebra"] {
        let child = Child::new(name.parse().unwrap(), false);
        block_on(Ledger(&desk.cloud).stand_on(&child, Some(&base))).unwrap();
    }
    let start = |cloud: &Cloud| {
        let input = json!({"action": "start-children", "document": document});
        block_on(functions::promote(cloud, input, cloud.now()))
    };
    let started = |cloud: &Cloud| {
        cloud.calls().iter().filter(|call| call.actions.first() == Some(&"states:StartExecution")).count()
    };
    let before = started(&desk.cloud);
    // Whichever of the three it is.
    let rehearsal = desk.cloud.clone();
    start(&rehearsal).unwrap();
    let calls = rehearsal.calls();
    let starts =
        (0..calls.len()).filter(|call| calls[*call].actions.first() == Some(&"states:StartExecution"));
    let starts: Vec<usize> = starts.skip(before).collect();
    assert_eq!(starts.len(), 3);
    for refused in starts {
        let cloud = desk.cloud.clone();
        cloud.inject(refused, Fault::Refused);
        assert!(start(&cloud).is_err());
        // The refused call is one of them.
        assert_eq!(started(&cloud) - before, 3);
        // Tried once more, all are.
        start(&cloud).unwrap();
    }
}

#[test]
fn a_cascade_of_a_promotion_that_was_not_made_starts_nothing() {
    let (desk, _) = promoted();
    let start = |name: &str, generation: u64, bake: &str| {
        let cascade =
            json!({"pipeline": "jvm-runtime", "channel": "stable", "bake": bake, "generation": generation});
        let trigger = json!({"pipeline": "storefront", "cascade": cascade});
        let input = json!({"action": "start", "bake": name, "started": desk.now(), "trigger": trigger});
        block_on(functions::launch_builder(&desk.cloud, input, desk.now()))
    };
    for (generation, bake) in [(99, "before-0"), (1, "of-nobody")] {
        let error = start("forged", generation, bake).unwrap_err();
        assert!(error.to_string().contains("a promotion that was not made"), "{error}");
    }
    start("true", 1, "before-0").unwrap();
}
