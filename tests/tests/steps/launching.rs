//! Every way that launch-builder finds: superseded, an image that is there, a twin, a builder, a fresh instance.

use futures::executor::block_on;
use jiff::{SignedDuration, Timestamp};
use ovenbird_core::{
    Result,
    domain::bake::{Bake, Stage, Status, To},
    functions,
    store::{Claim, Ledger},
};
use ovenbird_testkit::walk::{account::push, scenarios::Scenario};
use serde_json::{Value, json};

use super::desk::{Desk, TWO};

/// An artifact older than both of the others lies in the bucket, too.
const WITH_OLDEST: Scenario = Scenario { lying: &["v0.jar"], ..TWO };

/// The tests were changed since.
const RETESTED: Scenario = Scenario { then: "[[test]]\nname = \"more\"\ncommand = \"true\"\n", ..TWO };

/// What launch-builder makes of a start.
fn start(desk: &Desk, trigger: Value) -> Result<Bake> {
    let now = desk.now();
    let input = json!({"bake": "new", "started": now, "trigger": trigger});
    let document = block_on(functions::launch_builder(&desk.cloud, input, now))?;
    Ok(serde_json::from_value(document).unwrap())
}

/// What it makes of a later call.
fn resume(desk: &Desk, document: &Bake) -> Result<Bake> {
    let input = serde_json::to_value(document).unwrap();
    let document = block_on(functions::launch_builder(&desk.cloud, input, desk.now()))?;
    Ok(serde_json::from_value(document).unwrap())
}

/// By hand, an artifact that was uploaded before.
fn of(artifact: &str) -> Value {
    json!({"artifact": format!("artifacts/storefront/{artifact}")})
}

/// With an option.
fn with(mut trigger: Value, option: &str, value: bool) -> Value {
    trigger[option] = json!(value);
    trigger
}

fn launches(desk: &Desk) -> usize {
    desk.times("ec2:RunInstances")
}

/// The digest's lease goes to somebody else, for so many seconds.
fn hold(desk: &Desk, like: &str, seconds: i64) {
    let like = desk.bake(like);
    let twin = Bake { bake: "twin".parse().unwrap(), ..like.clone() };
    let until: Timestamp = desk.now() + SignedDuration::from_secs(seconds);
    let ledger = Ledger(&desk.cloud);
    let claim = ledger.claim(&like.digest, &twin, desk.now(), until, None);
    assert!(matches!(block_on(claim).unwrap(), Claim::Granted(_)));
}

#[test]
fn an_artifact_older_than_the_channel_s_launches_nothing_unless_it_was_asked_for() {
    for (trigger, to, status) in [
        (of("v0.jar"), To::Done, Status::Superseded),
        (of("v1.jar"), To::Done, Status::Superseded),
        // The channel's own artifact is not older than itself, and a newer one isn't either.
        (of("v2.jar"), To::Promote, Status::Running),
        (with(of("v0.jar"), "force", true), To::Await, Status::Running),
        // What isn't to be promoted overwrites nothing.
        (with(of("v0.jar"), "promote", false), To::Await, Status::Running),
    ] {
        let desk = Desk::new(&WITH_OLDEST);
        let before = launches(&desk);
        let bake = start(&desk, trigger.clone()).unwrap();
        assert_eq!((bake.next.to, bake.status), (to, status), "{trigger}");
        assert_eq!(launches(&desk) - before, usize::from(to == To::Await), "{trigger}");
    }
}

#[test]
fn the_channel_s_own_digest_is_never_superseded_however_old_its_artifact() {
    let desk = Desk::new(&TWO);
    // The channel came to this digest by a later upload of the same bytes under another name.
    desk.edit_channel(|doc| {
        doc["current"]["order"]["uploaded"] = json!("2030-01-01T00:00:00Z");
        doc["current"]["order"]["artifact"] = json!("artifacts/storefront/copy.jar@0");
    });
    assert_eq!(start(&desk, of("v2.jar")).unwrap().next.to, To::Promote);
    // And an empty channel is newer than nothing.
    desk.edit_channel(|doc| doc["current"] = json!(null));
    assert_eq!(start(&desk, of("v1.jar")).unwrap().next.to, To::Promote);
}

#[test]
fn an_image_of_the_digest_is_reused_when_it_is_proven_and_can_be_started() {
    let desk = Desk::new(&TWO);
    let before = launches(&desk);
    let bake = start(&desk, of("v2.jar")).unwrap();
    assert_eq!((bake.next.to, bake.reused, bake.tests_passed), (To::Promote, true, Some(1)));
    assert_eq!(bake.image, desk.bake("before-1").image);
    assert_eq!(bake.snapshots, desk.bake("before-1").snapshots);
    assert_eq!(launches(&desk), before);
    // The record says the same: a second try reads it.
    assert_eq!(desk.bake("new").image, bake.image);

    type Spoil = fn(&Desk);
    let spoilt: [(&str, Spoil); 4] = [
        ("it still bakes", |desk| desk.edit_image("before-1", |doc| doc["status"] = json!("baking"))),
        ("it is gone", |desk| {
            let image = desk.image("before-1");
            desk.cloud.with(|world| world.deregister_image(image.as_str(), false, false)).unwrap();
        }),
        ("it can't be started yet", |desk| {
            let made = desk.pending_image();
            desk.edit_image("before-1", |doc| doc["image"] = json!(made));
        }),
        ("nobody recorded it", |desk| {
            let bake = desk.bake("before-1");
            block_on(Ledger(&desk.cloud).forget_image(&bake.digest, &bake.image.unwrap())).unwrap();
        }),
    ];
    for (why, spoil) in spoilt {
        let desk = Desk::new(&TWO);
        spoil(&desk);
        let before = launches(&desk);
        let bake = start(&desk, of("v2.jar")).unwrap();
        assert_eq!((bake.next.to, bake.reused, bake.stage), (To::Await, false, Stage::Builder), "{why}");
        assert_eq!(launches(&desk), before + 1, "{why}");
    }
}

#[test]
fn a_forced_bake_reuses_nothing() {
    let desk = Desk::new(&TWO);
    let bake = start(&desk, with(of("v2.jar"), "force", true)).unwrap();
    assert_eq!((bake.next.to, bake.reused, bake.image), (To::Await, false, None));
}

#[test]
fn a_digest_that_is_being_baked_is_waited_for_and_an_expired_lease_is_taken_over() {
    for (seconds, to, stage) in
        [(1, To::Twin, Stage::AwaitTwin), (0, To::Await, Stage::Builder), (-1, To::Await, Stage::Builder)]
    {
        let desk = Desk::new(&TWO);
        desk.edit_image("before-1", |doc| doc["status"] = json!("baking"));
        hold(&desk, "before-1", seconds);
        let bake = start(&desk, of("v2.jar")).unwrap();
        assert_eq!((bake.next.to, bake.stage), (to, stage), "{seconds} s");
        assert_eq!(desk.bake("new").stage, stage, "{seconds} s: it is on record");
        // Delivered again, it is the same.
        assert_eq!(start(&desk, of("v2.jar")).unwrap().stage, stage);
        let timeline = desk.bake("new").timeline;
        assert_eq!(timeline.iter().filter(|span| span.stage == stage).count(), 1, "{timeline:?}");
    }
    // One that is proven needs no lease.
    let desk = Desk::new(&TWO);
    hold(&desk, "before-1", 1);
    assert_eq!(start(&desk, of("v2.jar")).unwrap().next.to, To::Promote);
}

#[test]
fn when_the_twin_gives_up_the_one_that_waited_looks_again_for_an_image_and_else_launches() {
    let desk = Desk::new(&TWO);
    desk.edit_image("before-1", |doc| doc["status"] = json!("baking"));
    hold(&desk, "before-1", 10);
    let waiting = start(&desk, of("v2.jar")).unwrap();
    assert_eq!(resume(&desk, &waiting).unwrap().next.to, To::Twin, "it is still at work");
    let proven = desk.clone();
    proven.edit_image("before-1", |doc| doc["status"] = json!("validated"));
    assert_eq!(resume(&proven, &waiting).unwrap().next.to, To::Promote);
    desk.cloud.pass(SignedDuration::from_secs(10));
    let (bake, before) = (resume(&desk, &waiting).unwrap(), launches(&desk));
    assert_eq!((bake.next.to, bake.stage, bake.fence), (To::Await, Stage::Builder, 3));
    // A second try finds the builder of the first.
    assert_eq!(resume(&desk, &waiting).unwrap().builder, bake.builder);
    assert_eq!(launches(&desk), before);
}

#[test]
fn an_image_that_passed_other_tests_must_pass_these_on_a_fresh_instance() {
    let desk = Desk::new(&RETESTED);
    let bake = start(&desk, of("v2.jar")).unwrap();
    assert_eq!((bake.next.to, bake.reused, bake.tests_passed), (To::Verify, true, None));
    assert_eq!(bake.image, desk.bake("before-1").image);
    assert!(bake.fence > 0, "it needs the lease, to note what was passed");
    let before = launches(&desk);
    let verified = resume(&desk, &bake).unwrap();
    assert_eq!((verified.stage, verified.next.to, launches(&desk)), (Stage::Boot, To::Await, before + 1));
    let role = desk.cloud.with(|world| {
        let booted = world.instances().find(|one| Some(&one.id) == verified.booted.as_ref()).unwrap();
        (booted.image.clone(), booted.tags["ovenbird:role"].clone())
    });
    assert_eq!(role, (bake.image.clone().unwrap(), "verifier".into()));
    // Again is once.
    assert_eq!(resume(&desk, &bake).unwrap().booted, verified.booted);
    assert_eq!(launches(&desk), before + 1);
    // While another bake tests it, this one waits.
    let desk = Desk::new(&RETESTED);
    hold(&desk, "before-1", 10);
    assert_eq!(start(&desk, of("v2.jar")).unwrap().next.to, To::Twin);
}

#[test]
fn a_launch_that_was_lost_is_found_again_by_its_tag_and_never_made_twice() {
    let desk = Desk::new(&TWO);
    let bake = start(&desk, with(of("v2.jar"), "force", true)).unwrap();
    let before = launches(&desk);
    // The record of the builder was lost with the reply.
    desk.edit_bake("new", |doc| drop(doc.as_object_mut().unwrap().remove("builder")));
    let again = start(&desk, with(of("v2.jar"), "force", true)).unwrap();
    assert_eq!((again.builder.clone(), launches(&desk)), (bake.builder, before));
    // One that is gone is none.
    let gone = again.builder.unwrap().to_string();
    desk.cloud.with(|world| world.terminate_instances(&[gone], false)).unwrap();
    desk.edit_bake("new", |doc| drop(doc.as_object_mut().unwrap().remove("builder")));
    drop(start(&desk, with(of("v2.jar"), "force", true)));
    assert_eq!(launches(&desk), before + 1);
}

#[test]
fn the_choices_of_a_first_try_stand_whatever_changed_since() {
    let desk = Desk::new(&TWO);
    let first = start(&desk, json!({"pipeline": "storefront", "force": true})).unwrap();
    push(&desk.cloud, &desk.recipe().replace("newest = 1", "newest = 2"));
    desk.cloud.put("artifacts/storefront/v9.jar", "v9");
    let again = start(&desk, json!({"pipeline": "storefront", "force": true})).unwrap();
    assert_eq!((again.recipe, again.artifact, again.digest), (first.recipe, first.artifact, first.digest));
}

#[test]
fn a_document_in_a_stage_of_another_step_is_refused() {
    let desk = Desk::new(&TWO);
    let bake = start(&desk, with(of("v2.jar"), "force", true)).unwrap();
    for stage in [
        Stage::Launch,
        Stage::Builder,
        Stage::Validation,
        Stage::Seal,
        Stage::Boot,
        Stage::Promotion,
        Stage::CleanUp,
    ] {
        let error = resume(&desk, &Bake { stage, ..bake.clone() }).unwrap_err();
        assert!(error.to_string().contains("can't be worked on by launch-builder"), "{error}");
    }
}

#[test]
fn a_launch_reads_the_recipe_and_its_base_once() {
    let desk = Desk::new(&WITH_OLDEST);
    let before = desk.cloud.calls().len();
    let trigger = json!({"artifact": "artifacts/storefront/v0.jar", "force": true});
    let bake = start(&desk, trigger).unwrap();
    assert!(bake.builder.is_some());
    let calls = desk.cloud.calls();
    let mut counts = std::collections::BTreeMap::<&str, usize>::new();
    for call in &calls[before..] {
        *counts.entry(call.actions[0]).or_default() += 1;
    }
    let count = |action: &str| counts.get(action).copied().unwrap_or_default();
    // Which version is current, its pointer, its text; the artifact's facts and its bytes; which runner is current; and
    // the user data that an earlier try may have made.
    assert_eq!(count("s3:GetObject"), 7, "{counts:?}");
    assert_eq!(count("ec2:DescribeImages"), 1, "{counts:?}");
    assert!(count("dynamodb:GetItem") <= 7 && count("dynamodb:PutItem") <= 4, "{counts:?}");
}
