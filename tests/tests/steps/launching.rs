//! Every way that launch-builder finds: superseded, an image that is there, a twin, a builder, a fresh instance.

use futures::executor::block_on;
use jiff::{SignedDuration, Timestamp};
use ovenbird_core::{
    Result,
    domain::bake::{BakeSpec, Document, Stage, Status, To},
    functions,
    steps::{Function, STEPS},
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
fn start(desk: &Desk, trigger: Value) -> Result<Document> {
    let now = desk.now();
    let input = json!({"action": "start", "bake": "new", "started": now, "trigger": trigger});
    let document = block_on(functions::launch_builder(&desk.cloud, input, now))?;
    Ok(serde_json::from_value(document).unwrap())
}

/// What it makes of a later call.
fn resume(desk: &Desk, action: &str, document: &Document) -> Result<Document> {
    let input = json!({"action": action, "document": document});
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
    let twin = BakeSpec { id: "twin".parse().unwrap(), ..like.spec };
    let until: Timestamp = desk.now() + SignedDuration::from_secs(seconds);
    let ledger = Ledger(&desk.cloud);
    let claim = ledger.claim(&twin, desk.now(), until, None);
    assert!(matches!(block_on(claim).unwrap(), Claim::Granted(_)));
}

#[test]
fn an_artifact_older_than_the_channel_s_launches_nothing_unless_it_was_asked_for() {
    for (trigger, to, ends) in [
        (of("v0.jar"), To::Done, Some(Status::Superseded)),
        (of("v1.jar"), To::Done, Some(Status::Superseded)),
        // The channel's own artifact is not older than itself, and a newer one isn't either.
        (of("v2.jar"), To::Promote, None),
        (with(of("v0.jar"), "force", true), To::Await, None),
        // What isn't to be promoted overwrites nothing.
        (with(of("v0.jar"), "promote", false), To::Await, None),
    ] {
        let desk = Desk::new(&WITH_OLDEST);
        let before = launches(&desk);
        let bake = start(&desk, trigger.clone()).unwrap();
        assert_eq!((bake.next.to, bake.ends), (to, ends), "{trigger}");
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
    assert_eq!(
        (bake.next.to, bake.bake.progress.reused, bake.bake.progress.tests_passed),
        (To::Promote, true, Some(1))
    );
    assert_eq!(bake.bake.progress.image, desk.bake("before-1").progress.image);
    assert_eq!(bake.bake.progress.snapshots, desk.bake("before-1").progress.snapshots);
    assert_eq!(launches(&desk), before);
    // The record says the same: a second try reads it.
    assert_eq!(desk.bake("new").progress.image, bake.bake.progress.image);

    type Spoil = fn(&Desk);
    let spoilt: [(&str, Spoil); 4] = [
        ("it still bakes", |desk| desk.edit_image("before-1", |doc| doc["status"] = json!("baking"))),
        ("it is gone", |desk| {
            let image = desk.image("before-1");
            desk.cloud.deregister(&image);
        }),
        ("it can't be started yet", |desk| {
            let made = desk.pending_image();
            desk.edit_image("before-1", |doc| doc["image"] = json!(made));
        }),
        ("nobody recorded it", |desk| {
            let bake = desk.bake("before-1");
            block_on(Ledger(&desk.cloud).forget_image(&bake.spec.digest, &bake.progress.image.unwrap()))
                .unwrap();
        }),
    ];
    for (why, spoil) in spoilt {
        let desk = Desk::new(&TWO);
        spoil(&desk);
        let before = launches(&desk);
        let bake = start(&desk, of("v2.jar")).unwrap();
        assert_eq!(
            (bake.next.to, bake.bake.progress.reused, bake.bake.progress.stage),
            (To::Await, false, Stage::Builder),
            "{why}"
        );
        assert_eq!(launches(&desk), before + 1, "{why}");
    }
}

#[test]
fn a_forced_bake_reuses_nothing() {
    let desk = Desk::new(&TWO);
    let bake = start(&desk, with(of("v2.jar"), "force", true)).unwrap();
    assert_eq!((bake.next.to, bake.bake.progress.reused, bake.bake.progress.image), (To::Await, false, None));
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
        assert_eq!((bake.next.to, bake.bake.progress.stage), (to, stage), "{seconds} s");
        assert_eq!(desk.bake("new").progress.stage, stage, "{seconds} s: it is on record");
        // Delivered again, it is the same.
        assert_eq!(start(&desk, of("v2.jar")).unwrap().bake.progress.stage, stage);
        let timeline = desk.bake("new").progress.timeline;
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
    assert_eq!(resume(&desk, "take-over", &waiting).unwrap().next.to, To::Twin, "it is still at work");
    let proven = desk.clone();
    proven.edit_image("before-1", |doc| doc["status"] = json!("validated"));
    assert_eq!(resume(&proven, "take-over", &waiting).unwrap().next.to, To::Promote);
    desk.cloud.pass(SignedDuration::from_secs(10));
    let (bake, before) = (resume(&desk, "take-over", &waiting).unwrap(), launches(&desk));
    assert_eq!(
        (bake.next.to, bake.bake.progress.stage, bake.bake.progress.fence),
        (To::Await, Stage::Builder, 3)
    );
    // A second try finds the builder of the first.
    assert_eq!(
        resume(&desk, "take-over", &waiting).unwrap().bake.progress.builder,
        bake.bake.progress.builder
    );
    assert_eq!(launches(&desk), before);
}

#[test]
fn an_image_that_passed_other_tests_must_pass_these_on_a_fresh_instance() {
    let desk = Desk::new(&RETESTED);
    let bake = start(&desk, of("v2.jar")).unwrap();
    assert_eq!(
        (bake.next.to, bake.bake.progress.reused, bake.bake.progress.tests_passed),
        (To::Verify, true, None)
    );
    assert_eq!(bake.bake.progress.image, desk.bake("before-1").progress.image);
    assert!(bake.bake.progress.fence > 0, "it needs the lease, to note what was passed");
    let before = launches(&desk);
    let verified = resume(&desk, "verify", &bake).unwrap();
    assert_eq!(
        (verified.bake.progress.stage, verified.next.to, launches(&desk)),
        (Stage::Boot, To::Await, before + 1)
    );
    let role = desk.cloud.with(|world| {
        let booted =
            world.instances().find(|one| Some(&one.id) == verified.bake.progress.booted.as_ref()).unwrap();
        (booted.image.clone(), booted.tags["ovenbird:role"].clone())
    });
    assert_eq!(role, (bake.bake.progress.image.clone().unwrap(), "verifier".into()));
    // Again is once.
    assert_eq!(resume(&desk, "verify", &bake).unwrap().bake.progress.booted, verified.bake.progress.booted);
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
    assert_eq!((again.bake.progress.builder.clone(), launches(&desk)), (bake.bake.progress.builder, before));
    // One that is gone is none.
    let gone = again.bake.progress.builder.unwrap().to_string();
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
    assert_eq!(
        (again.bake.spec.recipe, again.bake.spec.artifact, again.bake.spec.digest),
        (first.bake.spec.recipe, first.bake.spec.artifact, first.bake.spec.digest)
    );
}

#[test]
fn a_document_in_a_stage_of_another_step_is_refused() {
    let desk = Desk::new(&TWO);
    let document = start(&desk, with(of("v2.jar"), "force", true)).unwrap();
    let stages = [
        Stage::Launch,
        Stage::AwaitTwin,
        Stage::Builder,
        Stage::Validation,
        Stage::Seal,
        Stage::Image,
        Stage::Boot,
        Stage::Promotion,
        Stage::CleanUp,
    ];
    let mut refused = 0;
    for step in STEPS.iter().filter(|step| !step.takes.is_empty()) {
        for stage in stages.into_iter().filter(|stage| !step.takes.contains(stage)) {
            let mut document = document.clone();
            document.bake.progress.stage = stage;
            let input = json!({"action": step.action, "document": document});
            let (cloud, now) = (&desk.cloud, desk.now());
            let answer = match step.function {
                Function::LaunchBuilder => block_on(functions::launch_builder(cloud, input, now)),
                Function::PollReadiness => block_on(functions::poll_readiness(cloud, input, now)),
                Function::RunValidation => block_on(functions::run_validation(cloud, input, now)),
                Function::Snapshot => block_on(functions::snapshot(cloud, input, now)),
                Function::Promote => block_on(functions::promote(cloud, input, now)),
                Function::Prune => block_on(functions::prune(cloud, input, now)),
            };
            let expected = format!("can't be worked on by `{}`", step.action.as_str());
            let error = answer.unwrap_err().to_string();
            assert!(error.contains(&expected), "{stage}: {error}");
            refused += 1;
        }
    }
    assert!(refused > 40, "{refused}");
}

#[test]
fn a_launch_reads_the_recipe_and_its_base_once() {
    let desk = Desk::new(&WITH_OLDEST);
    let before = desk.cloud.calls().len();
    let trigger = json!({"artifact": "artifacts/storefront/v0.jar", "force": true});
    let bake = start(&desk, trigger).unwrap();
    assert!(bake.bake.progress.builder.is_some());
    let calls = desk.cloud.calls();
    let mut counts = std::collections::BTreeMap::<&str, usize>::new();
    for call in &calls[before..] {
        *counts.entry(call.actions[0]).or_default() += 1;
    }
    let count = |action: &str| counts.get(action).copied().unwrap_or_default();
    // Which version is current, its pointer, its text; the artifact's facts and its bytes; which runner is current.
    assert_eq!(count("s3:GetObject"), 6, "{counts:?}");
    assert_eq!(count("ec2:DescribeImages"), 1, "{counts:?}");
    // Whether the pipeline is paused, its limits, the bake's record, the channel, the lease, who has a builder and who waits for one.
    assert_eq!((count("dynamodb:GetItem"), count("dynamodb:PutItem")), (7, 5), "{counts:?}");
}

#[test]
fn an_execution_with_the_name_of_an_old_bake_is_told_so_and_does_nothing_of_that() {
    let desk = Desk::new(&WITH_OLDEST);
    let input = |started: jiff::Timestamp| json!({"action": "start", "bake": "again", "started": started, "trigger": {"pipeline": "storefront"}});
    let first = desk.now();
    block_on(ovenbird_core::functions::launch_builder(&desk.cloud, input(first), first)).unwrap();
    desk.cloud.pass(jiff::SignedDuration::from_hours(91 * 24));
    let error =
        block_on(ovenbird_core::functions::launch_builder(&desk.cloud, input(desk.now()), desk.now()));
    let error = error.unwrap_err().to_string();
    assert!(error.contains("is that of a bake that began at"), "{error}");
}
