//! An image retires in stages: deprecated, a week later disabled, another week later gone; and back until the last one.

use futures::executor::block_on;
use jiff::SignedDuration;
use ovenbird_core::{
    Result,
    domain::id::AmiId,
    functions,
    ports::{Image, ImageState, Images as _, Retirement as _},
    steps::prune,
};
use ovenbird_sim::LaunchPermission;
use ovenbird_testkit::{Cloud, Fault};
use serde_json::{Value, json};

use super::{
    desk::{Desk, TWO},
    returning,
};

pub(super) const WEEK: SignedDuration = SignedDuration::from_hours(7 * 24);

/// An account whose first image is old, nothing names it, and it retires in stages.
pub(super) fn old() -> (Desk, AmiId) {
    let desk = Desk::new(&TWO);
    desk.edit_channel(|doc| doc["previous"] = json!([]));
    desk.push(&desk.recipe().replace("soak = 0", "soak = 7\nretire-shared = true"));
    let image = desk.image("before-0");
    (desk, image)
}

/// The same account when a run was made at the beginning of each of so many weeks.
fn old_for(weeks: u32) -> (Desk, AmiId) {
    let (desk, image) = old();
    for _ in 0..weeks {
        prune(&desk);
        desk.cloud.pass(WEEK);
    }
    (desk, image)
}

/// The image as its owner sees it, disabled or not.
pub(super) fn look(desk: &Desk, image: &AmiId) -> Option<Image> {
    let all = block_on(desk.cloud.images(None)).unwrap();
    all.into_iter().find(|one| one.id == *image)
}

pub(super) fn run(desk: &Desk, request: &Value) -> Result<Vec<Value>> {
    let plan = json!({"run": "a-run", "action": "plan", "request": request});
    let answer = block_on(functions::prune(&desk.cloud, plan, desk.now()))?;
    answer["retire"].as_array().unwrap().iter().map(|item| desk.act("retire", item)).collect()
}

/// What a scheduled run does: which image, what, and why not if that is so.
pub(super) fn prune(desk: &Desk) -> Vec<String> {
    let done = run(desk, &json!({})).unwrap();
    done.iter().map(|one| one["act"].as_str().unwrap().to_owned()).collect()
}

#[track_caller]
pub(super) fn assert_standing(desk: &Desk, image: &AmiId, state: ImageState, deprecated: bool) {
    let found = look(desk, image).unwrap();
    assert_eq!((found.state, found.deprecated.is_some()), (state, deprecated), "{found:?}");
}

/// The account once the image is disabled.
fn disabled() -> (Desk, AmiId) {
    let (desk, image) = old();
    assert_eq!(prune(&desk), ["deprecate"]);
    desk.cloud.pass(WEEK);
    assert_eq!(prune(&desk), ["disable"]);
    (desk, image)
}

#[test]
fn an_image_goes_by_stages_and_each_soaks_a_week() {
    let (desk, image) = old();
    let day = SignedDuration::from_hours(24);
    assert_eq!(prune(&desk), ["deprecate"]);
    assert_standing(&desk, &image, ImageState::Available, true);
    for _ in 0..6 {
        desk.cloud.pass(day);
        assert_eq!(prune(&desk), [""; 0]);
        assert_eq!(desk.verdict(&image)["act"], "wait");
    }
    desk.cloud.pass(day);
    assert_eq!(prune(&desk), ["disable"]);
    assert_standing(&desk, &image, ImageState::Disabled, true);
    assert_eq!(prune(&desk), [""; 0]);
    let until = desk.verdict(&image)["until"].clone();
    assert_eq!(until, json!(desk.now() + WEEK));
    assert_eq!(desk.snapshots(), 4, "they are still there for the way back");
    desk.cloud.pass(WEEK);
    assert_eq!(desk.verdict(&image)["snapshots"].as_array().unwrap().len(), 2);
    assert_eq!(prune(&desk), ["deregister"]);
    assert!(look(&desk, &image).is_none());
    assert_eq!(desk.snapshots(), 2);
    assert!(!desk.cloud.rows().iter().any(|row| row.key.pk == "RETIREMENTS"), "nothing is remembered of it");
}

#[test]
fn a_person_takes_an_image_back_as_it_was_with_all_who_might_start_it() {
    let (desk, image) = old();
    let with = [
        LaunchPermission::User("210987654321".into()),
        LaunchPermission::Organization("arn:aws:organizations::1:organization/o-1".into()),
    ];
    desk.cloud.with(|world| world.modify_launch_permissions(image.as_str(), &with, &[], false)).unwrap();
    let rows = |desk: &Desk| {
        let rows = desk.cloud.rows().into_iter().filter(|row| row.key.pk != "RETIREMENTS");
        let rows = rows.filter(|row| row.key.pk.starts_with("IMAGE#") || row.key.pk.starts_with("DIGEST#"));
        rows.map(|row| (row.key, row.doc)).collect::<Vec<_>>()
    };
    let before = rows(&desk);
    prune(&desk);
    desk.cloud.pass(WEEK);
    assert_eq!(prune(&desk), ["disable"]);
    let permissions =
        |desk: &Desk| desk.cloud.with(|world| world.launch_permissions(image.as_str())).unwrap();
    assert!(permissions(&desk).is_empty(), "EC2 forgets them");
    assert_ne!(rows(&desk), before, "no bake may reuse it");

    let done = run(&desk, &json!({"undo": image})).unwrap();
    assert_eq!((&done[0]["act"], &done[0]["reason"]), (&json!("restore"), &json!("undone")));
    assert_standing(&desk, &image, ImageState::Available, false);
    assert_eq!(permissions(&desk), with.into());
    assert_eq!(rows(&desk), before);
    // It is left alone for 30 days.
    desk.cloud.pass(SignedDuration::from_hours(29 * 24));
    assert_eq!((prune(&desk), desk.verdict(&image)["reason"].clone()), (Vec::new(), json!("undone")));
    desk.cloud.pass(SignedDuration::from_hours(24));
    assert_eq!(prune(&desk), ["deprecate"]);
}

#[test]
fn undo_says_what_can_t_be_taken_back() {
    let (desk, image) = disabled();
    let other = desk.current().unwrap();
    let error = run(&desk, &json!({"undo": other})).unwrap_err().to_string();
    assert!(error.contains("is not on its way out"), "{error}");
    desk.cloud.deregister(&image);
    let error = run(&desk, &json!({"undo": image})).unwrap_err();
    assert!(error.to_string().contains("is deregistered, and the Recycle Bin doesn't have it"), "{error}");
}

/// A run that fails raises an alarm. So a person's mistake is said before one is started.
#[test]
fn what_nobody_can_take_back_is_refused_before_a_run_is_started() {
    let (desk, image) = disabled();
    let ask =
        |image: &AmiId| block_on(prune::ask_undo(image, &desk.cloud)).map_err(|error| error.to_string());
    ask(&image).unwrap();
    let kept = desk.current().unwrap();
    assert!(ask(&kept).unwrap_err().contains("is not on its way out"));
    let unknown = "ami-0123456789abcdef0".parse().unwrap();
    assert!(ask(&unknown).unwrap_err().contains("was made by no bake of this stack"));
    desk.cloud.pass(WEEK);
    assert_eq!(prune(&desk), ["deregister"]);
    ask(&image).unwrap();
    // What it takes to have it back is remembered for 400 days. Its bake's record says longer that there was one.
    let mut table = desk.cloud.table();
    table.retain(|(row, _)| row.key.sk != "GONE");
    desk.cloud.restore_table(&table);
    assert!(ask(&image).unwrap_err().contains("was deregistered too long ago"));
}

/// AWS lets templates go on naming a disabled image, and each launch fails.
#[test]
fn an_image_that_something_names_again_is_restored_by_the_next_run() {
    for weeks in [0, 1] {
        let (desk, image) = old();
        prune(&desk);
        for _ in 0..weeks {
            desk.cloud.pass(WEEK);
            assert_eq!(prune(&desk), ["disable"]);
        }
        desk.cloud.put_parameter(&"/somebody/s".parse().unwrap(), image.as_str());
        assert_eq!(prune(&desk), ["restore"]);
        assert_standing(&desk, &image, ImageState::Available, false);
        assert_eq!((prune(&desk), desk.verdict(&image)["act"].clone()), (Vec::new(), json!("keep")));
        // When nothing names it any more, it begins anew.
        desk.cloud.put_parameter(&"/somebody/s".parse().unwrap(), "none");
        assert_eq!(prune(&desk), ["deprecate"]);
    }
}

#[test]
fn an_undo_wins_while_ec2_is_asked_at_every_stage() {
    for (weeks, action) in [(0, "ec2:EnableImageDeprecation"), (1, "ec2:DisableImage")] {
        let (desk, image) = old_for(weeks);
        let (answer, _) = desk.plan();
        let act = async |cloud: &Cloud| {
            let item = json!({"action": "retire", "item": answer["retire"][0]});
            functions::prune(cloud, item, cloud.now()).await
        };
        let undo = || drop(run(&desk, &json!({"undo": image})).unwrap());
        let done = desk.interrupt(act, action, 0, undo).unwrap();
        assert_eq!((&done["act"], &done["reason"]), (&json!("keep"), &json!("changed")), "{action}");
        assert_standing(&desk, &image, ImageState::Available, false);
        assert_eq!(desk.verdict(&image)["reason"], "undone", "{action}");
    }
}

/// Something names the image, so that a run makes it as it was, before the undo comes to it.
#[test]
fn an_undo_is_remembered_although_a_run_restored_the_image_before() {
    let (desk, image) = disabled();
    let plan = json!({"run": "an-undo", "action": "plan", "request": {"undo": image}});
    let answer = block_on(functions::prune(&desk.cloud, plan, desk.now())).unwrap();
    desk.cloud.put_parameter(&"/somebody/s".parse().unwrap(), image.as_str());
    assert_eq!(prune(&desk), ["restore"]);
    desk.act("retire", &answer["retire"][0]).unwrap();
    desk.cloud.put_parameter(&"/somebody/s".parse().unwrap(), "none");
    assert_eq!((prune(&desk), desk.verdict(&image)["reason"].clone()), (Vec::new(), json!("undone")));
}

#[test]
fn what_a_hand_changed_begins_anew() {
    let (desk, image) = disabled();
    desk.cloud.with(|world| world.enable_image(image.as_str(), false)).unwrap();
    desk.cloud.pass(WEEK);
    assert_eq!(prune(&desk), ["restore"]);
    assert_eq!(prune(&desk), ["deprecate"]);
    desk.cloud.with(|world| world.disable_image_deprecation(image.as_str(), false)).unwrap();
    desk.cloud.pass(WEEK);
    assert_eq!(prune(&desk), ["restore"]);
    assert_standing(&desk, &image, ImageState::Available, false);
}

#[test]
fn an_undo_between_plan_and_act_wins_at_every_stage() {
    for weeks in 0..3 {
        let (desk, image) = old_for(weeks);
        let (answer, _) = desk.plan();
        let item = answer["retire"][0].clone();
        if weeks > 0 {
            run(&desk, &json!({"undo": image})).unwrap();
            let done = desk.act("retire", &item).unwrap();
            assert_eq!(done["reason"], "changed", "after {weeks}");
        } else {
            desk.act("retire", &item).unwrap();
        }
        let found = look(&desk, &image).unwrap();
        assert_eq!((found.state, found.deprecated.is_some()), (ImageState::Available, weeks == 0));
    }
}

#[test]
fn what_names_an_image_between_plan_and_act_keeps_it_at_every_stage() {
    for weeks in 0..3 {
        let (desk, image) = old_for(weeks);
        let before = look(&desk, &image).unwrap();
        let (answer, _) = desk.plan();
        desk.cloud.put_parameter(&"/somebody/s".parse().unwrap(), image.as_str());
        let done = desk.act("retire", &answer["retire"][0]).unwrap();
        assert_eq!((&done["act"], &done["reason"]), (&json!("keep"), &json!("parameter")));
        assert_eq!(look(&desk, &image).unwrap(), before);
    }
}

/// The image that a channel goes back to must be one that can be started.
#[test]
fn a_promotion_that_takes_an_image_while_it_is_disabled_keeps_it() {
    let (desk, image) = old();
    prune(&desk);
    desk.cloud.pass(WEEK);
    let (answer, _) = desk.plan();
    let item = answer["retire"][0].clone();
    assert_eq!(item["act"], "disable");
    let work = async |cloud: &Cloud| {
        let input = json!({"action": "retire", "item": item});
        functions::prune(cloud, input, cloud.now()).await
    };
    // Every promotion writes the image's record; this one does so after all was asked.
    let done = desk.interrupt(work, "ec2:DescribeImageReferences", 0, || {
        desk.edit_image("before-0", |doc| doc["uses"] = json!(doc["uses"].as_u64().unwrap_or(0) + 1));
    });
    assert_eq!(done.unwrap_err().name(), "TryAgain");
    assert_standing(&desk, &image, ImageState::Available, true);
}

#[test]
fn every_act_twice_is_once() {
    let (desk, image) = old();
    for (act, rest) in [("deprecate", WEEK), ("disable", WEEK), ("deregister", SignedDuration::ZERO)] {
        let (answer, _) = desk.plan();
        let item = answer["retire"][0].clone();
        assert_eq!(item["act"], act);
        desk.act("retire", &item).unwrap();
        let before = desk.cloud.dump();
        assert_eq!(desk.act("retire", &item).unwrap()["act"], act);
        assert_eq!(desk.cloud.dump(), before, "{act}");
        desk.cloud.pass(rest);
    }
    assert!(look(&desk, &image).is_none());
}

/// Whatever call of an act fails, its image can still be had back, and the next run goes on.
#[test]
fn an_act_that_dies_anywhere_loses_nothing_of_the_image() {
    for weeks in 0..2 {
        let (desk, image) = old_for(weeks);
        let (answer, _) = desk.plan();
        let item = answer["retire"][0].clone();
        let rehearsal = desk.clone();
        let first = rehearsal.cloud.calls().len();
        rehearsal.act("retire", &item).unwrap();
        let calls = rehearsal.cloud.calls().len();
        for number in first..calls {
            for fault in [Fault::Refused, Fault::ReplyLost] {
                let desk = desk.clone();
                desk.cloud.inject(number, fault);
                let _ = desk.act("retire", &item);
                desk.cloud.put_parameter(&"/somebody/s".parse().unwrap(), image.as_str());
                prune(&desk);
                assert_standing(&desk, &image, ImageState::Available, false);
                let digest = desk.bake("before-0").spec.digest;
                let records = desk.cloud.rows();
                let has = |pk: String| records.iter().any(|row| row.key.pk == pk);
                assert!(has(format!("IMAGE#{image}")), "{fault:?} at {number}");
                assert!(has(format!("DIGEST#{digest}")), "{fault:?} at {number}");
            }
        }
    }
}

#[test]
fn a_failed_bake_s_clean_up_does_not_take_an_image_that_soaks() {
    let (desk, image) = disabled();
    // Another bake promoted it, so it was proven; its own bake failed. It has no record while it is disabled.
    desk.edit_bake("before-0", |doc| doc["status"] = json!("failed"));
    let (answer, _) = desk.plan();
    assert_eq!(answer["dead_bakes"], json!([]));
    let item = json!({"pipeline": "storefront", "bake": "before-0"});
    desk.act("clean", &item).unwrap();
    assert_standing(&desk, &image, ImageState::Disabled, true);
}

#[test]
fn a_disabled_image_is_not_the_newest_and_starts_nothing() {
    let (desk, image) = disabled();
    assert!(block_on(desk.cloud.image(&image)).unwrap().is_none(), "EC2 hides it");
    assert_eq!(desk.verdict(&image)["act"], "wait");
    assert_eq!(desk.verdict(&desk.current().unwrap())["act"], "keep");
}

#[test]
fn the_plan_says_how_much_room_goes_now_and_with_all_that_soaks() {
    let (desk, _) = old();
    let room = |desk: &Desk| {
        let (_, plan) = desk.plan();
        let gib = |of: &str| plan[of]["bytes"].as_u64().unwrap() >> 30;
        assert!(gib("holds") >= gib("will_free"), "{plan:#}");
        (gib("frees"), gib("will_free"))
    };
    // A root of 8 GiB, and a second disk of 4.
    assert_eq!(room(&desk), (0, 12));
    for act in ["deprecate", "disable"] {
        assert_eq!(prune(&desk), [act]);
        assert_eq!(room(&desk), (0, 12));
        desk.cloud.pass(WEEK);
    }
    assert_eq!(room(&desk), (12, 12));
    prune(&desk);
    assert_eq!(room(&desk), (0, 0));
}

/// Whatever was to be done with an image, nothing is said to be done when it is gone.
#[test]
fn an_image_that_is_gone_before_the_act_is_told_as_changed() {
    for act in ["deprecate", "restore"] {
        let (desk, image) = old();
        if act == "restore" {
            prune(&desk);
            desk.cloud.put_parameter(&"/somebody/s".parse().unwrap(), image.as_str());
        }
        returning::keep_all(&desk);
        let (answer, _) = desk.plan();
        assert_eq!(answer["retire"][0]["act"], act);
        desk.cloud.deregister(&image);
        assert_eq!(desk.act("retire", &answer["retire"][0]).unwrap()["reason"], "changed", "{act}");
        assert!(look(&desk, &image).is_none(), "a person alone has it taken out of the Recycle Bin");
    }
}
