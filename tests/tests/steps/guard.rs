//! The guard alone: what is asked for here would be destroyed if it did not look itself. In a run, other looks come before.

use std::collections::BTreeSet;

use futures::executor::block_on;
use jiff::SignedDuration;
use ovenbird_core::{
    Error, Result,
    domain::{
        bake::{Bake, Status},
        id::{AmiId, InstanceId, SnapshotId, VolumeId},
        offer::Loss,
        reference::Kind,
        tags::{TAG_BAKE, TAG_KEEP, TAG_ROLE, TAG_STACK},
    },
    ports::{
        Builders as _, Image, Images as _, Instance, InstanceState, Retirement as _, Snapshot, Volume,
        VolumeState,
    },
    steps::guard::{Guard, Kept, Purpose, Reason, Terms},
    store::{Ledger, Promotion, Versioned},
};
use ovenbird_sim::Tags;
use ovenbird_testkit::Cloud;
use serde_json::json;

use super::{
    bench::Bench,
    desk::{Desk, TWO},
};

/// What most recipes say.
const TERMS: Terms = Terms { history: 1, shared: false };

/// An account whose first image is old, and nothing uses it.
struct Doomed {
    desk: Desk,
    bake: Bake,
    image: Image,
}

impl Doomed {
    fn new() -> Self {
        let desk = Desk::new(&TWO);
        desk.edit_channel(|doc| doc["previous"] = json!([]));
        let bake = desk.bake("before-0");
        let image = block_on(desk.cloud.image(bake.progress.image.as_ref().unwrap())).unwrap().unwrap();
        Self { desk, bake, image }
    }

    fn instance(&self, tags: Tags) -> Option<Kept> {
        let (id, state) = (self.bake.progress.builder.clone().unwrap(), InstanceState::Running);
        let image = self.bake.spec.base.image.clone();
        let instance =
            Instance { id, image, state, reason: String::new(), loss: Loss::Unknown, spot: false, tags };
        block_on(Guard::new(&self.desk.cloud).terminate(&instance, Some(&self.bake))).unwrap()
    }

    fn deregister(&self, tags: Tags) -> Option<Kept> {
        let image = Image { tags, ..self.image.clone() };
        let guard = Guard::new(&self.desk.cloud);
        block_on(guard.deregister(&image, Some(&self.bake), Purpose::Retirement(TERMS))).unwrap()
    }

    fn snapshot(&self, tags: Tags) -> Option<Kept> {
        let snapshots = block_on(self.desk.cloud.snapshots(Some(&self.bake.spec.id))).unwrap();
        let snapshot = Snapshot { tags, ..snapshots[0].clone() };
        let gone = BTreeSet::from([self.image.id.clone()]);
        if self.desk.exists(&self.image.id) {
            self.desk.cloud.deregister(&self.image.id);
        }
        block_on(Guard::new(&self.desk.cloud).delete_snapshot(&snapshot, Some(&self.bake), &gone)).unwrap()
    }

    fn volume(&self, tags: Tags, state: VolumeState, attached: Option<InstanceId>) -> Option<Kept> {
        let id = VolumeId::parse("vol-0123456789abcdef0").unwrap();
        let volume = Volume { id, state, attached, tags };
        block_on(Guard::new(&self.desk.cloud).delete_volume(&volume, Some(&self.bake))).unwrap()
    }
}

type Act = fn(&Doomed, Tags) -> Option<Kept>;

/// Every act, each of which destroys what is asked for with the tags as they are.
const ACTS: [Act; 4] = [
    |doomed, mut tags| {
        tags.insert(TAG_ROLE.into(), "builder".into());
        doomed.instance(tags)
    },
    |doomed, tags| doomed.deregister(tags),
    |doomed, tags| doomed.snapshot(tags),
    |doomed, tags| doomed.volume(tags, VolumeState::Available, None),
];

#[test]
fn with_the_tags_as_they_are_everything_goes() {
    for act in ACTS {
        let doomed = Doomed::new();
        assert_eq!(act(&doomed, doomed.image.tags.clone()), None);
    }
}

#[test]
fn what_has_another_stack_s_tag_or_none_stays() {
    for act in ACTS {
        for other in [Some("ovenbird/two"), None] {
            let doomed = Doomed::new();
            let mut tags = doomed.image.tags.clone();
            tags.remove(TAG_STACK);
            tags.extend(other.map(|other| (TAG_STACK.to_owned(), other.to_owned())));
            assert_eq!(act(&doomed, tags).unwrap().reason, Reason::OtherStack, "{other:?}");
        }
    }
}

#[test]
fn what_has_the_keep_tag_stays_whatever_its_value() {
    for act in ACTS {
        for value in ["", "false"] {
            let doomed = Doomed::new();
            let mut tags = doomed.image.tags.clone();
            tags.insert(TAG_KEEP.to_owned(), value.to_owned());
            assert_eq!(act(&doomed, tags).unwrap().reason, Reason::KeepTag);
        }
    }
}

#[test]
fn what_is_another_bake_s_or_nobody_s_stays() {
    for act in ACTS {
        for other in [Some("before-1"), None] {
            let doomed = Doomed::new();
            let mut tags = doomed.image.tags.clone();
            tags.remove(TAG_BAKE);
            tags.extend(other.map(|other| (TAG_BAKE.to_owned(), other.to_owned())));
            assert_eq!(act(&doomed, tags).unwrap().reason, Reason::Unrecorded, "{other:?}");
        }
    }
}

#[test]
fn what_has_the_bake_s_tags_and_is_not_on_its_record_stays() {
    let reason = |kept: Option<Kept>| kept.unwrap().reason;
    // An instance by "launch more like this".
    let mut doomed = Doomed::new();
    let mut tags = doomed.image.tags.clone();
    tags.insert(TAG_ROLE.into(), "builder".into());
    doomed.desk.edit_bake("before-0", |doc| doc["builder"] = json!("i-0000000000000000a"));
    let own = std::mem::replace(&mut doomed.bake, doomed.desk.bake("before-0"));
    let instance = Instance {
        id: own.progress.builder.unwrap(),
        image: own.spec.base.image,
        state: InstanceState::Running,
        reason: String::new(),
        loss: Loss::Unknown,
        spot: false,
        tags,
    };
    let guard = Guard::new(&doomed.desk.cloud);
    assert_eq!(reason(block_on(guard.terminate(&instance, Some(&doomed.bake))).unwrap()), Reason::Unrecorded);
    // A copy of an image.
    let doomed = Doomed::new();
    let copy =
        Image { id: "ami-0000000000000000a".parse().unwrap(), name: "a copy".into(), ..doomed.image.clone() };
    let guard = Guard::new(&doomed.desk.cloud);
    let kept = block_on(guard.deregister(&copy, Some(&doomed.bake), Purpose::Retirement(TERMS))).unwrap();
    assert_eq!(reason(kept), Reason::Unrecorded);
    // A copy of a snapshot.
    let copy = Snapshot {
        id: SnapshotId::parse("snap-0000000000000000a").unwrap(),
        description: "[Copied snap-0123456789abcdef0 from us-west-2]".into(),
        bytes: None,
        tags: doomed.image.tags.clone(),
    };
    let kept = block_on(guard.delete_snapshot(&copy, Some(&doomed.bake), &BTreeSet::new())).unwrap();
    assert_eq!(reason(kept), Reason::Unrecorded);
}

#[test]
fn a_volume_that_is_attached_or_still_changing_stays() {
    let doomed = Doomed::new();
    let tags = || doomed.image.tags.clone();
    for state in [VolumeState::Creating, VolumeState::InUse, VolumeState::Deleting] {
        assert_eq!(doomed.volume(tags(), state, None).unwrap().reason, Reason::Attached, "{state:?}");
    }
    let instance = doomed.bake.progress.builder.clone();
    let kept = doomed.volume(tags(), VolumeState::Available, instance).unwrap();
    assert_eq!(kept.reason, Reason::Attached);
    assert_eq!(doomed.volume(tags(), VolumeState::Error, None), None);
}

/// A bake that would use the old image again: by hand, and newer than all.
fn again(doomed: &Doomed) -> Bake {
    let mut bake = doomed.bake.clone();
    (bake.spec.id, bake.spec.started) = ("again".parse().unwrap(), doomed.desk.now());
    (bake.progress.status, bake.progress.reused) = (Status::Running, true);
    bake.spec.artifact.as_mut().unwrap().uploaded = doomed.desk.now();
    bake
}

/// Such a bake takes the image.
fn take(doomed: &Doomed) -> Result<()> {
    block_on(Ledger(&doomed.desk.cloud).save_reusing(&mut Versioned::new(again(doomed))))
}

/// When the image is put to use: after the guard asked the channels and bakes, and just before it removes the record.
const WHEN: [&str; 2] = ["ec2:DescribeImageReferences", "dynamodb:DeleteItem"];

/// What the guard answers when the image is put to use before this call of its own.
fn met(doomed: &Doomed, when: &str, meanwhile: impl FnOnce()) -> Result<Option<Kept>> {
    let (bake, image) = (doomed.bake.clone(), doomed.image.clone());
    let remove = async |cloud: &Cloud| {
        Guard::new(cloud).deregister(&image, Some(&bake), Purpose::Retirement(TERMS)).await
    };
    doomed.desk.interrupt(remove, when, 0, meanwhile)
}

#[test]
fn an_image_that_is_promoted_after_the_last_question_stays() {
    for when in WHEN {
        let doomed = Doomed::new();
        let promote = || {
            let promoted = block_on(Ledger(&doomed.desk.cloud).promote(&again(&doomed), doomed.desk.now()));
            assert_eq!(promoted.unwrap(), Promotion::Moved);
        };
        let error = met(&doomed, when, promote).unwrap_err();
        assert!(matches!(error, Error::TryAgain { .. }), "{when}: {error}");
        assert!(doomed.desk.exists(&doomed.image.id), "{when}");
        assert_eq!(doomed.desk.current().as_ref(), Some(&doomed.image.id));
        // Asked again, it knows why.
        assert_eq!(
            doomed.deregister(doomed.image.tags.clone()).unwrap().reason,
            Reason::Named(Kind::Channel)
        );
    }
}

#[test]
fn an_image_that_a_bake_takes_after_the_last_question_stays() {
    for when in WHEN {
        let doomed = Doomed::new();
        let take = || take(&doomed).unwrap();
        let error = met(&doomed, when, take).unwrap_err();
        assert!(matches!(error, Error::TryAgain { .. }), "{when}: {error}");
        assert!(doomed.desk.exists(&doomed.image.id), "{when}");
        assert_eq!(doomed.deregister(doomed.image.tags.clone()).unwrap().reason, Reason::Named(Kind::Baking));
    }
}

#[test]
fn a_bake_takes_no_image_whose_record_is_gone() {
    let doomed = Doomed::new();
    assert_eq!(doomed.deregister(doomed.image.tags.clone()), None);
    let error = take(&doomed).unwrap_err();
    assert!(matches!(error, Error::TryAgain { .. }), "{error}");
}

#[test]
fn while_the_record_of_a_running_bake_can_t_be_read_no_image_goes() {
    let doomed = Doomed::new();
    let mut rows = doomed.desk.cloud.table();
    let (mut row, mut index) = rows.iter().find(|(row, _)| row.key.sk == "BAKE#before-1").cloned().unwrap();
    row.key.sk = "BAKE#broken".into();
    row.doc["base"] = json!("?");
    index.status = Some((Status::Running.as_str().to_owned(), String::new()));
    rows.push((row, index));
    doomed.desk.cloud.restore_table(&rows);
    let guard = Guard::new(&doomed.desk.cloud);
    let asked = guard.deregister(&doomed.image, Some(&doomed.bake), Purpose::Retirement(TERMS));
    let error = block_on(asked).unwrap_err();
    assert!(error.to_string().contains("BAKE#broken"), "it may start from any image: {error}");
    assert!(doomed.desk.exists(&doomed.image.id));
}

/// What a clean-up after the first bake makes of its image.
fn cleaned(doomed: &Doomed) -> Option<Kept> {
    // What is validated is retention's.
    doomed.desk.edit_image("before-0", |doc| doc["status"] = json!("baking"));
    let guard = Guard::new(&doomed.desk.cloud);
    block_on(guard.deregister(&doomed.image, Some(&doomed.bake), Purpose::CleanUp)).unwrap()
}

#[test]
fn a_clean_up_takes_an_image_from_the_bake_s_own_instance_and_from_no_other() {
    let own = |doomed: &mut Doomed, stack: &str, record: bool| {
        let started = doomed.desk.start(&doomed.image.id);
        for (key, value) in [(TAG_STACK, stack), (TAG_BAKE, "before-0"), (TAG_ROLE, "verifier")] {
            doomed.desk.tag(&started, key, value);
        }
        let recorded = if record { started } else { "i-0000000000000000a".into() };
        doomed.desk.edit_bake("before-0", |doc| doc["booted"] = json!(recorded));
        doomed.bake = doomed.desk.bake("before-0");
    };
    let mut doomed = Doomed::new();
    let stack = doomed.image.tags[TAG_STACK].clone();
    own(&mut doomed, &stack, true);
    assert_eq!(cleaned(&doomed), None, "the bake's own test instance goes with the bake");
    for (stack, record) in [("ovenbird/two", true), (stack.as_str(), false)] {
        let mut doomed = Doomed::new();
        own(&mut doomed, stack, record);
        assert_eq!(cleaned(&doomed).unwrap().reason, Reason::Named(Kind::Instance), "{stack} {record}");
    }
    // Retention asks for no such exception.
    let mut doomed = Doomed::new();
    let stack = doomed.image.tags[TAG_STACK].clone();
    own(&mut doomed, &stack, true);
    assert_eq!(doomed.deregister(doomed.image.tags.clone()).unwrap().reason, Reason::Named(Kind::Instance));
}

#[test]
fn a_bake_on_its_way_with_another_image_keeps_none() {
    let doomed = Doomed::new();
    let other = doomed.desk.image("before-1");
    doomed.desk.add_bake("other", |doc| {
        doc["status"] = json!("running");
        doc["image"] = json!(other);
    });
    assert_eq!(doomed.deregister(doomed.image.tags.clone()), None);
}

#[test]
fn a_clean_up_leaves_an_image_that_another_bake_on_its_way_has_taken() {
    let doomed = Doomed::new();
    doomed.desk.add_bake("other", |doc| {
        doc["status"] = json!("running");
        doc["image"] = json!(doomed.image.id);
    });
    assert_eq!(cleaned(&doomed).unwrap().reason, Reason::Named(Kind::Baking));
}

#[test]
fn an_image_that_a_bake_took_was_not_made_by_it() {
    let mut doomed = Doomed::new();
    doomed.bake.progress.reused = true;
    // The name tells, and it is this bake's own.
    assert_eq!(doomed.deregister(doomed.image.tags.clone()), None);
    doomed.image.name = "another".into();
    assert_eq!(doomed.deregister(doomed.image.tags.clone()).unwrap().reason, Reason::Unrecorded);
}

#[test]
fn what_stays_is_told_with_what_uses_it() {
    let kept =
        Kept { id: "ami-1".into(), reason: Reason::Named(Kind::Channel), by: "storefront/production".into() };
    let told = kept.to_string();
    assert!(told.starts_with("ami-1: ") && told.contains("storefront/production"), "{told}");
}

/// Deregisters the old image.
async fn deregister(doomed: &Doomed) -> Result<Option<Kept>> {
    let guard = Guard::new(&doomed.desk.cloud);
    guard.deregister(&doomed.image, Some(&doomed.bake), Purpose::Retirement(TERMS)).await
}

#[track_caller]
fn assert_denied(fate: Result<Option<Kept>>) {
    assert!(matches!(fate, Err(Error::Denied { .. })), "{fate:?}");
}

/// A missing permission must be heard of. Only of what EC2 shows no more may a refusal mean that it is gone.
#[test]
fn what_may_not_be_removed_is_an_error_as_long_as_ec2_shows_it() {
    let doomed = Doomed::new();
    doomed.desk.cloud.deny("ec2:DeregisterImage");
    assert_denied(block_on(deregister(&doomed)));
    assert!(doomed.desk.exists(&doomed.image.id));

    let bench = Bench::new();
    let bake = bench.start("storefront-1", &bench.upload("v1.jar")).unwrap().bake;
    let of = &bake.spec.id;
    let mut volume = block_on(bench.cloud.volumes(Some(of))).unwrap().remove(0);
    (volume.state, volume.attached) = (VolumeState::Available, None);
    bench.cloud.deny("ec2:DeleteVolume");
    assert_denied(block_on(Guard::new(&bench.cloud).delete_volume(&volume, Some(&bake))));
    let builder = block_on(bench.cloud.of_bake(of)).unwrap().remove(0);
    bench.cloud.deny("ec2:TerminateInstances");
    let terminate = || block_on(Guard::new(&bench.cloud).terminate(&builder, Some(&bake)));
    assert_denied(terminate());
    // EC2 shows a terminated one for an hour.
    bench.cloud.with(|world| world.terminate_instances(&[builder.id.to_string()], false)).unwrap();
    bench.cloud.pass(SignedDuration::from_secs(60));
    assert_eq!(terminate().unwrap(), None);
}

/// So the refusal may be the answer to what the other run has done. The next try knows.
#[test]
fn what_another_run_removes_meanwhile_is_tried_again() {
    let doomed = Doomed::new();
    doomed.desk.cloud.deny("ec2:DeregisterImage");
    let retired = || doomed.desk.edit_bake("before-0", |doc| doc["forgotten"] = json!(doomed.desk.now()));
    let error = met(&doomed, "ec2:DeregisterImage", retired).unwrap_err();
    assert!(matches!(error, Error::TryAgain { .. }), "{error}");
    // Its record is gone: whoever took it was about to deregister the image.
    let error = block_on(deregister(&doomed)).unwrap_err();
    assert!(matches!(error, Error::TryAgain { .. }), "{error}");
}

#[test]
fn a_snapshot_that_may_not_be_removed_is_tried_again_only_right_after_its_image() {
    let doomed = Doomed::new();
    let mut snapshots = block_on(doomed.desk.cloud.snapshots(Some(&doomed.bake.spec.id))).unwrap();
    doomed.desk.cloud.deregister(&doomed.image.id);
    let snapshot = snapshots.remove(0);
    for other in snapshots {
        block_on(doomed.desk.cloud.delete_snapshot(&other.id)).unwrap();
    }
    doomed.desk.cloud.deny("ec2:DeleteSnapshot");
    let delete = |gone: &[&AmiId]| {
        let gone = gone.iter().copied().cloned().collect();
        block_on(Guard::new(&doomed.desk.cloud).delete_snapshot(&snapshot, Some(&doomed.bake), &gone))
    };
    assert_denied(delete(&[]));
    let error = delete(&[&doomed.image.id]).unwrap_err();
    assert!(matches!(error, Error::TryAgain { .. }), "{error}");
    doomed.desk.edit_bake("before-0", |doc| doc["forgotten"] = json!(doomed.desk.now()));
    let error = delete(&[]).unwrap_err();
    assert!(matches!(error, Error::TryAgain { .. }), "{error}");
}
