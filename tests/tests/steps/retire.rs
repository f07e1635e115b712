//! Prune's second look: the plan may be minutes old. Each guard is met where no other one holds.

use jiff::SignedDuration;
use ovenbird_core::{
    domain::{id::AmiId, tags::TAG_KEEP},
    ports::{ImageState, Images as _, Key},
};
use serde_json::{Value, json};

use super::desk::{Desk, TWO, channel_key};

/// An account whose plan is to retire the first image, and that verdict.
fn doomed() -> (Desk, AmiId, Value) {
    let desk = Desk::new(&TWO);
    let image = desk.image("before-0");
    // It is what the channel goes back to, until that is forgotten.
    assert_eq!(desk.verdict(&image)["reason"], "previous");
    desk.edit_channel(|doc| doc["previous"] = json!([]));
    let verdict = desk.verdict(&image);
    assert_eq!(verdict["reason"], "retired");
    (desk, image, verdict)
}

/// What the old image is, seen from the record of another image: enough to point a channel at it.
fn target(desk: &Desk, name: &str) -> Value {
    let bake = desk.bake(name);
    let order = serde_json::to_value(bake.spec.order()).unwrap();
    json!({"image": bake.progress.image, "digest": bake.spec.digest, "bake": name, "order": order,
        "promoted": "2026-01-01T00:00:00Z", "generation": 1})
}

/// Something that came to refer to the old image since the plan was made.
type Change = fn(&Desk, &AmiId);

#[test]
fn whatever_came_to_refer_to_an_image_since_the_plan_keeps_it() {
    let changes: [(&str, Change); 13] = [
        ("instance", |desk, image| drop(desk.start(image))),
        ("instance", |desk, image| {
            let started = desk.start(image);
            desk.cloud.with(|world| world.stop_instances(&[started], false)).unwrap();
            desk.cloud.pass(SignedDuration::from_secs(30));
        }),
        ("base", |desk, image| {
            let later = desk.now() + SignedDuration::from_hours(1);
            desk.add_bake("child", |doc| {
                doc["status"] = json!("running");
                doc["base"]["image"] = json!(image);
                doc["expires"] = json!(later);
            });
        }),
        ("channel", |desk, _| {
            let old = target(desk, "before-0");
            desk.edit_channel(|doc| {
                doc["current"] = old;
                doc["previous"] = json!([]);
            });
        }),
        ("channel", |desk, _| {
            let old = target(desk, "before-0");
            desk.edit(&channel_key("production"), &channel_key("staging"), |doc| {
                doc["name"] = json!("staging");
                doc["current"] = old;
                doc["previous"] = json!([]);
            });
        }),
        ("previous", |desk, _| {
            let old = target(desk, "before-0");
            desk.edit_channel(|doc| doc["previous"] = json!([old]));
        }),
        ("previous", |desk, _| {
            // A promotion of the current image again doesn't change what the channel goes back to.
            let (now, old) = (target(desk, "before-1"), target(desk, "before-0"));
            desk.edit_channel(|doc| doc["previous"] = json!([now, old]));
        }),
        ("parameter", |desk, image| {
            let name = "/images/storefront/production".parse().unwrap();
            desk.cloud.put_parameter(&name, image.as_str());
        }),
        ("parameter", |desk, image| {
            // Another pipeline's, by an operator's hand.
            let name = "/images/blog/production".parse().unwrap();
            let key = |name: &str| Key { pk: "PARAMETERS".into(), sk: format!("PARAMETER#{name}") };
            desk.edit(&key("/images/storefront/production"), &key("/images/blog/production"), |doc| {
                *doc = json!({"parameter": "/images/blog/production", "pipeline": "blog", "channel": "production"});
            });
            desk.cloud.put_parameter(&name, image.as_str());
        }),
        ("referenced", |desk, image| desk.cloud.refer(image, "ec2:LaunchTemplate", "lt-1")),
        ("baking", |desk, image| {
            desk.add_bake("reuses", |doc| {
                doc["status"] = json!("running");
                doc["image"] = json!(image);
                doc["reused"] = json!(true);
            });
        }),
        ("keep-tag", |desk, image| desk.tag(image.as_str(), TAG_KEEP, "")),
        ("keep-tag", |desk, image| desk.tag(image.as_str(), TAG_KEEP, "until the audit")),
    ];
    for (reason, change) in changes {
        let (desk, image, verdict) = doomed();
        change(&desk, &image);
        let before = desk.snapshots();
        assert_eq!(desk.act("retire", &verdict).unwrap()["reason"], reason);
        assert!(desk.exists(&image), "{reason}");
        assert_eq!(desk.snapshots(), before, "{reason}");
        assert_eq!(desk.times("ec2:DeregisterImage") + desk.times("ec2:DeleteSnapshot"), 0, "{reason}");
        // And from then on the plan says so, too.
        assert_eq!(desk.verdict(&image)["reason"], reason);
    }
}

#[test]
fn what_refers_to_an_image_no_more_or_to_another_one_keeps_none() {
    let changes: [Change; 4] = [
        |desk, image| {
            let started = desk.start(image);
            desk.cloud.with(|world| world.terminate_instances(&[started], false)).unwrap();
            desk.cloud.pass(SignedDuration::from_secs(30));
        },
        |desk, _| drop(desk.start(&desk.image("before-1"))),
        |desk, image| {
            let later = desk.now() + SignedDuration::from_hours(1);
            desk.add_bake("child", |doc| {
                doc["base"]["image"] = json!(image);
                doc["expires"] = json!(later);
            });
        },
        |desk, _| desk.tag(desk.image("before-1").as_str(), TAG_KEEP, ""),
    ];
    for change in changes {
        let (desk, image, verdict) = doomed();
        change(&desk, &image);
        assert_eq!(desk.act("retire", &verdict).unwrap()["reason"], "retired");
        assert!(!desk.exists(&image));
        assert!(desk.exists(&desk.image("before-1")));
    }
}

#[test]
fn a_retired_image_goes_with_its_snapshot_and_its_record_and_takes_nothing_else_along() {
    let (desk, image, verdict) = doomed();
    let digest = desk.bake("before-0").spec.digest;
    assert_eq!(desk.act("retire", &verdict).unwrap()["reason"], "retired");
    assert!(!desk.exists(&image));
    assert_eq!(desk.snapshots(), 2, "one for each disk of the other image");
    let rows = desk.cloud.rows();
    let of = |sk: &str| {
        rows.iter().filter(|row| row.key.sk == sk).map(|row| row.key.pk.clone()).collect::<Vec<_>>()
    };
    assert_eq!(of("SET"), [format!("IMAGE#{}", desk.image("before-1"))]);
    assert_eq!(of("IMAGE").len(), 1, "its digest leads nowhere");
    assert_ne!(of("IMAGE")[0], format!("DIGEST#{digest}"));
    // Again, as a retry whose first answer was lost: nothing more happens.
    let before = desk.cloud.dump();
    assert_eq!(desk.act("retire", &verdict).unwrap()["reason"], "retired");
    assert_eq!(desk.cloud.dump(), before);
}

#[test]
fn an_image_that_is_gone_already_leaves_no_snapshot_behind() {
    let (desk, image, verdict) = doomed();
    desk.cloud.deregister(&image);
    assert_eq!(desk.snapshots(), 4);
    assert_eq!(desk.act("retire", &verdict).unwrap()["reason"], "retired");
    assert_eq!(desk.snapshots(), 2);
    let current = desk.current().unwrap();
    let image = futures::executor::block_on(desk.cloud.image(&current)).unwrap().unwrap();
    assert_eq!((image.state, image.snapshots.len()), (ImageState::Available, 2));
}

#[test]
fn the_record_of_a_forced_bake_s_image_stays_when_the_image_that_it_replaced_goes() {
    let (desk, image, verdict) = doomed();
    let other = desk.image("before-1");
    let made = Key { pk: format!("DIGEST#{}", desk.bake("before-0").spec.digest), sk: "IMAGE".into() };
    desk.edit(&made, &made, |doc| doc["image"] = json!(other));
    desk.act("retire", &verdict).unwrap();
    assert!(!desk.exists(&image));
    let key = format!("DIGEST#{}", desk.bake("before-0").spec.digest);
    assert!(desk.cloud.rows().iter().any(|row| row.key.pk == key && row.key.sk == "IMAGE"));
}
