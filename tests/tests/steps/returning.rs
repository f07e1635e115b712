//! An image that is deregistered comes back out of the Recycle Bin, as it was before its retirement.

use jiff::SignedDuration;
use ovenbird_core::{
    Result,
    domain::{id::AmiId, tags::TAG_STACK},
    functions,
    ports::ImageState,
};
use ovenbird_sim::{BinKind, BinRule, Consistency, Lasts, LaunchPermission, LockSnapshot};
use ovenbird_testkit::Fault;
use serde_json::{Value, json};

use super::{
    desk::Desk,
    retiring::{WEEK, assert_standing, look, old, prune, run},
};

const DAY: SignedDuration = SignedDuration::from_hours(24);
const SHARED_WITH: &str = "210987654321";

/// Has the bin keep all that is of one kind.
fn keep(desk: &Desk, kind: BinKind, days: u16) {
    let rule = BinRule {
        id: String::new(),
        kind,
        days,
        description: String::new(),
        tags: Vec::new(),
        excluded: Vec::new(),
    };
    desk.cloud.with(|world| world.create_bin_rule(rule)).unwrap();
}

/// Has the bin keep images and snapshots.
pub(super) fn keep_all(desk: &Desk) {
    keep(desk, BinKind::Image, 30);
    keep(desk, BinKind::Snapshot, 30);
}

/// An account whose old image was shared, went through every stage, and is in the bin with its snapshots; and the account
/// as it was before.
fn binned() -> (Desk, AmiId, Desk) {
    let (desk, image) = old();
    let with = [LaunchPermission::User(SHARED_WITH.into())];
    desk.cloud.with(|world| world.modify_launch_permissions(image.as_str(), &with, &[], false)).unwrap();
    let before = desk.clone();
    keep_all(&desk);
    for act in ["deprecate", "disable", "deregister"] {
        assert_eq!(prune(&desk), [act]);
        desk.cloud.pass(WEEK);
    }
    assert!(look(&desk, &image).is_none());
    assert_eq!(desk.snapshots(), 2);
    (desk, image, before)
}

fn undo(desk: &Desk, image: &AmiId) -> Result<Vec<Value>> {
    run(desk, &json!({"undo": image}))
}

/// What the table has of images: their records, and what leads to them.
fn records(desk: &Desk) -> Vec<(String, String, Value)> {
    let rows = desk.cloud.rows().into_iter().filter(|row| row.key.pk != "RETIREMENTS");
    let rows = rows.filter(|row| row.key.pk.starts_with("IMAGE#") || row.key.pk.starts_with("DIGEST#"));
    rows.map(|row| (row.key.pk, row.key.sk, row.doc)).collect()
}

/// The undo as Step Functions runs it: an act that says "try again" is repeated a little later.
fn undo_in_time(desk: &Desk, image: &AmiId) -> Value {
    let plan = json!({"run": "a-run", "action": "plan", "request": {"undo": image}});
    let answer = futures::executor::block_on(functions::prune(&desk.cloud, plan, desk.now())).unwrap();
    for _ in 0..6 {
        match desk.act("retire", &answer["retire"][0]) {
            Err(error) if error.name() == "TryAgain" => desk.cloud.pass(SignedDuration::from_secs(5)),
            other => return other.unwrap(),
        }
    }
    panic!("it never came");
}

#[track_caller]
fn assert_as_before(desk: &Desk, image: &AmiId, before: &Desk) {
    assert_standing(desk, image, ImageState::Available, false);
    let (is, was) = (look(desk, image).unwrap(), look(before, image).unwrap());
    assert_eq!((&is.tags, &is.name, &is.snapshots), (&was.tags, &was.name, &was.snapshots));
    assert_eq!(is.protection, was.protection);
    let with = |desk: &Desk| desk.cloud.with(|world| world.launch_permissions(image.as_str())).unwrap();
    assert_eq!(with(desk), with(before));
    assert_eq!(records(desk), records(before));
    assert_eq!(desk.bake("before-0"), before.bake("before-0"), "its bake's record is needed again");
}

#[test]
fn a_deregistered_image_comes_out_of_the_recycle_bin_as_it_was_before_its_retirement() {
    let (desk, image, before) = binned();
    let error = undo(&desk, &image).unwrap_err();
    assert_eq!(error.name(), "TryAgain", "EC2 wants the snapshots whole first: {error}");
    let done = undo_in_time(&desk, &image);
    assert_eq!((&done["act"], &done["reason"]), (&json!("restore"), &json!("undone")));
    assert_as_before(&desk, &image, &before);
    // Left alone for 30 days, then it begins anew.
    desk.cloud.pass(DAY * 29);
    assert_eq!((prune(&desk), desk.verdict(&image)["reason"].clone()), (Vec::new(), json!("undone")));
    desk.cloud.pass(DAY);
    assert_eq!(prune(&desk), ["deprecate"]);
}

/// EC2 shows for a while neither what is out of the bin nor what was taken out of it.
#[test]
fn an_undo_that_is_repeated_within_seconds_calls_nothing_gone() {
    let (desk, image, before) = binned();
    desk.cloud.answer_by(Consistency::Oldest);
    let mut done = 0;
    for second in 0..90 {
        match undo(&desk, &image) {
            Ok(_) => done += 1,
            Err(error) => assert_eq!(error.name(), "TryAgain", "after {second} s: {error}"),
        }
        desk.cloud.pass(SignedDuration::from_secs(1));
    }
    assert!((30..80).contains(&done), "{done}");
    assert_as_before(&desk, &image, &before);
}

/// From now on the bin keeps nothing more.
fn keep_nothing(desk: &Desk) {
    desk.cloud.with(|world| {
        let rules: Vec<_> = world.bin_rules().map(|rule| rule.id.clone()).collect();
        rules.iter().for_each(|rule| world.delete_bin_rule(rule).unwrap());
    });
}

/// Asks once more, when it is lost, and again after so long.
#[track_caller]
fn assert_lost_after(desk: &Desk, image: &AmiId, seconds: i64) {
    let said = || undo(desk, image).unwrap_err().name().to_owned();
    assert_eq!(said(), "TryAgain");
    desk.cloud.pass(SignedDuration::from_secs(seconds - 1));
    assert_eq!(said(), "TryAgain");
    desk.cloud.pass(SignedDuration::from_secs(1));
    assert_eq!(said(), "BadInput");
}

#[test]
fn an_image_that_is_gone_again_is_called_gone_when_ec2_must_show_it() {
    let (desk, image, _) = binned();
    undo_in_time(&desk, &image);
    keep_nothing(&desk);
    desk.cloud.deregister(&image);
    assert_lost_after(&desk, &image, 150);
}

#[test]
fn a_snapshot_that_is_gone_is_called_gone_an_hour_after_the_undo_began() {
    let (desk, image, before) = binned();
    undo(&desk, &image).unwrap_err();
    keep_nothing(&desk);
    let (now, snapshot) = (desk.now(), snapshots_of(&before, &image).remove(0));
    desk.cloud.with(|world| world.delete_snapshot(now, &snapshot, false)).unwrap();
    assert_lost_after(&desk, &image, 3_600);
}

/// A run an hour later would else deregister it again.
#[test]
fn without_stages_it_comes_back_too_and_is_left_alone() {
    let (desk, image) = old();
    desk.push(&desk.recipe().replace("soak = 7", "soak = 0"));
    let before = desk.clone();
    keep_all(&desk);
    assert_eq!(prune(&desk), ["deregister"]);
    undo_in_time(&desk, &image);
    assert_as_before(&desk, &image, &before);
    desk.cloud.pass(DAY);
    assert_eq!(prune(&desk), [""; 0]);
    desk.cloud.pass(DAY * 29);
    assert_eq!(prune(&desk), ["deregister"]);
}

#[test]
fn undo_says_what_the_recycle_bin_lacks_and_how_to_go_on() {
    let lacks = |images: bool, snapshots: bool| {
        let (desk, image) = old();
        if images {
            keep(&desk, BinKind::Image, 30);
        }
        if snapshots {
            keep(&desk, BinKind::Snapshot, 30);
        }
        for act in ["deprecate", "disable", "deregister"] {
            assert_eq!(prune(&desk), [act]);
            desk.cloud.pass(WEEK);
        }
        let error = undo(&desk, &image).unwrap_err();
        assert!(!error.goes_by(), "{error}");
        assert!(error.hint().contains("`ovenbird bake storefront --force`"), "{}", error.hint());
        error.to_string()
    };
    assert!(lacks(false, true).contains("the Recycle Bin doesn't have it"));
    let without = lacks(true, false);
    assert!(without.contains("is in the Recycle Bin, and its snapshot snap-"), "{without}");
    // The bin loses it after its time.
    let (desk, image, _) = binned();
    desk.cloud.pass(DAY * 30);
    let error = undo(&desk, &image).unwrap_err().to_string();
    assert!(error.contains("the Recycle Bin doesn't have it"), "{error}");
    // A year on, nobody knows how it was.
    let error = undo(&desk, &"ami-0123456789abcdef0".parse().unwrap()).unwrap_err().to_string();
    assert!(error.contains("no run deregistered it"), "{error}");
}

/// The other image needs the snapshot, so it was never deleted.
#[test]
fn a_snapshot_that_stayed_for_another_image_is_not_looked_for_in_the_bin() {
    let (desk, image) = old();
    keep_all(&desk);
    let (first, name) = {
        let found = look(&desk, &image).unwrap();
        (found.snapshots[0].clone(), found.name)
    };
    let request = ovenbird_sim::RegisterImage {
        name: format!("{name}-by-hand"),
        snapshot: first.to_string(),
        delete_on_termination: Some(true),
        ..Default::default()
    };
    desk.cloud.with(|world| world.register_image("2026-06-01T00:00:00Z".parse().unwrap(), &request)).unwrap();
    for act in ["deprecate", "disable", "deregister"] {
        assert_eq!(prune(&desk), [act]);
        desk.cloud.pass(WEEK);
    }
    assert_eq!(desk.snapshots(), 3);
    undo_in_time(&desk, &image);
    assert_standing(&desk, &image, ImageState::Available, false);
    assert_eq!(desk.times("ec2:RestoreSnapshotFromRecycleBin"), 1);
}

/// Its snapshots are there before it, and belong to no image: what a dead bake leaves looks the same.
#[test]
fn a_run_beside_an_undo_leaves_the_snapshots_alone_for_a_day() {
    let (desk, image, _) = binned();
    undo(&desk, &image).unwrap_err();
    assert_eq!(desk.snapshots(), 4);
    assert_eq!(desk.dead(), [""; 0]);
    desk.cloud.pass(DAY - SignedDuration::from_secs(60));
    assert_eq!(desk.dead(), [""; 0]);
    // Nobody went on with it.
    desk.cloud.pass(DAY);
    assert_eq!(desk.dead(), ["before-0"]);
}

/// Takes an image out of the bin as a person does, snapshots first.
fn take_out_by_hand(desk: &Desk, image: &AmiId, before: &Desk) {
    let now = desk.now();
    for snapshot in snapshots_of(before, image) {
        let out = desk.cloud.with(|world| world.restore_snapshot_from_recycle_bin(now, &snapshot, false));
        out.unwrap();
    }
    desk.cloud.pass(SignedDuration::from_secs(30));
    desk.cloud.with(|world| world.restore_image_from_recycle_bin(image.as_str(), false)).unwrap();
}

fn snapshots_of(desk: &Desk, image: &AmiId) -> Vec<String> {
    look(desk, image).unwrap().snapshots.iter().map(ToString::to_string).collect()
}

#[test]
fn an_image_that_a_hand_took_out_of_the_bin_is_made_as_it_was_by_the_next_run() {
    let (desk, image, before) = binned();
    take_out_by_hand(&desk, &image, &before);
    assert_standing(&desk, &image, ImageState::Disabled, true);
    assert_eq!(prune(&desk), ["restore"]);
    assert_as_before(&desk, &image, &before);
    desk.cloud.pass(DAY * 29);
    assert_eq!(prune(&desk), [""; 0]);
}

/// EC2 may show an image for a while that it has deregistered.
#[test]
fn an_image_that_is_only_still_shown_is_not_taken_for_one_that_came_back() {
    let (desk, image, before) = binned();
    take_out_by_hand(&desk, &image, &before);
    let retired = desk.now();
    desk.edit_bake("before-0", |doc| {
        doc["forgotten"] = json!(retired + SignedDuration::from_hours(400 * 24));
    });
    assert_ne!(desk.verdict(&image)["act"], "restore");
    desk.cloud.pass(SignedDuration::from_hours(2));
    assert_eq!(desk.verdict(&image)["act"], "restore");
}

/// Whatever call of an undo fails, the next try goes on where it died.
#[test]
fn an_undo_that_dies_anywhere_is_gone_on_with() {
    let (desk, image, before) = binned();
    let plan = |desk: &Desk| {
        let plan = json!({"run": "a-run", "action": "plan", "request": {"undo": image}});
        let answer = futures::executor::block_on(functions::prune(&desk.cloud, plan, desk.now())).unwrap();
        answer["retire"][0].clone()
    };
    let item = plan(&desk);
    // As far as it comes at once, and from there on.
    for whole in [false, true] {
        let desk = desk.clone();
        if whole {
            desk.act("retire", &item).unwrap_err();
            desk.cloud.pass(SignedDuration::from_secs(30));
        }
        let rehearsal = desk.clone();
        let first = rehearsal.cloud.calls().len();
        assert_eq!(rehearsal.act("retire", &item).is_ok(), whole);
        let calls = rehearsal.cloud.calls().len();
        assert!(calls - first > 8, "{}", calls - first);
        for number in first..calls {
            for fault in [Fault::Refused, Fault::ReplyLost] {
                let desk = desk.clone();
                desk.cloud.inject(number, fault);
                let _ = desk.act("retire", &item);
                // Somebody asks again, from the beginning.
                undo_in_time(&desk, &image);
                assert_as_before(&desk, &image, &before);
            }
        }
    }
}

#[test]
fn the_role_takes_out_of_the_bin_what_has_its_stack_s_tag() {
    let (desk, image, _) = binned();
    undo_in_time(&desk, &image);
    assert!(look(&desk, &image).unwrap().tags.contains_key(TAG_STACK));
}

#[test]
fn a_locked_snapshot_stays_with_its_reason_and_no_run_fails_of_it() {
    let (desk, image) = old();
    let snapshot = snapshots_of(&desk, &image)[0].clone();
    let lock = LockSnapshot {
        snapshot: snapshot.clone(),
        compliance: false,
        cool_off_hours: None,
        lasts: Lasts::Days(60),
        dry_run: false,
    };
    let now = desk.now();
    desk.cloud.with(|world| world.lock_snapshot(now, &lock)).unwrap();
    for act in ["deprecate", "disable", "deregister"] {
        assert_eq!(prune(&desk), [act]);
        desk.cloud.pass(WEEK);
    }
    assert!(look(&desk, &image).is_none());
    assert_eq!(desk.snapshots(), 3, "one of its two is locked");
    // No dead bake is made of it either, hour by hour.
    let (answer, plan) = desk.plan();
    assert_eq!((&answer["dead_bakes"], &answer["problems"]), (&json!([]), &json!([])));
    let stays = plan["stays"].as_array().unwrap();
    assert!(stays.contains(&json!({"id": snapshot, "reason": "locked", "by": ""})), "{stays:?}");
    // When the lock has ended it goes, as what a bake left.
    desk.cloud.pass(DAY * 60);
    let dead = desk.dead();
    assert_eq!(dead, ["before-0"]);
    desk.act("clean", &json!({"pipeline": "storefront", "bake": "before-0"})).unwrap();
    assert_eq!(desk.snapshots(), 2);
}

/// Then no run has noted what it was: its retirement says it.
#[test]
fn what_a_hand_deregistered_on_its_way_out_comes_back_as_it_was_before() {
    let (desk, image) = old();
    let with = [LaunchPermission::User(SHARED_WITH.into())];
    desk.cloud.with(|world| world.modify_launch_permissions(image.as_str(), &with, &[], false)).unwrap();
    let before = desk.clone();
    keep_all(&desk);
    for act in ["deprecate", "disable"] {
        assert_eq!(prune(&desk), [act]);
        desk.cloud.pass(WEEK);
    }
    desk.cloud.deregister(&image);
    undo_in_time(&desk, &image);
    assert_as_before(&desk, &image, &before);
}

/// A person wants an image back, and a run is about to deregister it.
fn undo_meets(meanwhile: impl FnOnce(&Desk, &AmiId)) -> (Result<Value>, Desk) {
    let (desk, image) = old();
    for act in ["deprecate", "disable"] {
        assert_eq!(prune(&desk), [act]);
        desk.cloud.pass(WEEK);
    }
    let plan = json!({"run": "a-run", "action": "plan", "request": {"undo": image}});
    let answer = futures::executor::block_on(functions::prune(&desk.cloud, plan, desk.now())).unwrap();
    let act = async |cloud: &ovenbird_testkit::Cloud| {
        let item = json!({"action": "retire", "item": answer["retire"][0]});
        functions::prune(cloud, item, cloud.now()).await
    };
    let done = desk.interrupt(act, "ec2:EnableImage", 0, || meanwhile(&desk, &image));
    (done, desk)
}

#[test]
fn an_undo_is_tried_again_only_when_the_image_has_just_gone() {
    let (done, _) = undo_meets(|desk, image| desk.cloud.deregister(image));
    assert_eq!(done.unwrap_err().name(), "TryAgain", "the next try takes it out of the Recycle Bin");
    let (done, _) = undo_meets(|desk, _| desk.cloud.deny("ec2:EnableImage"));
    assert_ne!(done.unwrap_err().name(), "TryAgain", "a missing permission must be heard of");
}

/// A month later it retires once more. What a person changed in between must not come back with it.
#[test]
fn what_was_taken_back_once_comes_back_the_next_time_as_it_was_then() {
    let (desk, image) = old();
    let with = [LaunchPermission::User(SHARED_WITH.into())];
    let share = |add: &[_], remove: &[_]| {
        desk.cloud.with(|world| world.modify_launch_permissions(image.as_str(), add, remove, false)).unwrap();
    };
    share(&with, &[]);
    keep_all(&desk);
    for act in ["deprecate", "disable"] {
        assert_eq!(prune(&desk), [act]);
        desk.cloud.pass(WEEK);
    }
    undo(&desk, &image).unwrap();
    share(&[], &with);
    desk.edit_image("before-0", |doc| doc["uses"] = json!(77));
    desk.push(&desk.recipe().replace("soak = 7", "soak = 0"));
    let before = desk.clone();
    desk.cloud.pass(DAY * 30);
    assert_eq!(prune(&desk), ["deregister"]);
    undo_in_time(&desk, &image);
    assert_as_before(&desk, &image, &before);
}
