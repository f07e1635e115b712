//! The clean-up after a failed bake: what it made goes, unless something refers to it; each guard alone.

use futures::executor::block_on;
use jiff::SignedDuration;
use ovenbird_core::{
    Result,
    domain::{bake::Status, tags::TAG_KEEP},
    functions,
    steps::clean_up,
    store::Ledger,
};
use ovenbird_testkit::{Cloud, Fault};
use serde_json::{Value, json};

use super::desk::{Desk, TWO};

/// An account in which the first bake is not known to have ended, and nothing refers to its image.
fn failing() -> Desk {
    let desk = Desk::new(&TWO);
    desk.edit_bake("before-0", |doc| {
        doc["status"] = json!("running");
        doc["stage"] = json!("image");
    });
    desk.edit_image("before-0", |doc| doc["status"] = json!("baking"));
    desk.edit_channel(|doc| doc["previous"] = json!([]));
    desk
}

async fn fail(cloud: &Cloud) -> Result<Value> {
    let error = json!({"Error": "StepFailed", "Cause": r#"{"errorMessage": "it is broken"}"#});
    let document = json!({"pipeline": "storefront", "error": error});
    let input = json!({"action": "clean-up-failed", "bake": "before-0", "document": document});
    functions::prune(cloud, input, cloud.now()).await
}

#[test]
fn what_a_failed_bake_made_goes_and_its_record_says_why() {
    let desk = failing();
    let (image, other) = (desk.image("before-0"), desk.image("before-1"));
    block_on(fail(&desk.cloud)).unwrap();
    assert!(!desk.exists(&image) && desk.exists(&other));
    assert_eq!(desk.snapshots(), 2, "one for each disk");
    let bake = desk.bake("before-0");
    let failure = bake.progress.failure.unwrap();
    assert_eq!(
        (bake.progress.status, failure.error.as_str(), failure.cause.as_str()),
        (Status::Failed, "StepFailed", "it is broken")
    );
}

type Change = fn(&Desk);

#[test]
fn an_image_that_something_refers_to_outlives_its_bake() {
    let changes: [(&str, Change); 4] = [
        ("its record", |desk| desk.edit_image("before-0", |doc| doc["status"] = json!("validated"))),
        ("the channel", |desk| {
            let image = desk.image("before-0");
            desk.edit_channel(|doc| doc["current"]["image"] = json!(image));
        }),
        ("the channel's history", |desk| {
            let image = desk.image("before-0");
            desk.edit_channel(|doc| {
                let mut before = doc["current"].clone();
                before["image"] = json!(image);
                doc["previous"] = json!([before]);
            });
        }),
        ("the keep tag", |desk| desk.tag(desk.image("before-0").as_str(), TAG_KEEP, "")),
    ];
    for (what, change) in changes {
        let desk = failing();
        change(&desk);
        let image = desk.image("before-0");
        block_on(fail(&desk.cloud)).unwrap();
        assert!(desk.exists(&image), "{what}");
        assert_eq!(desk.snapshots(), 4, "{what}");
    }
}

#[test]
fn what_can_t_be_removed_is_named_with_the_command_that_removes_it_and_the_rest_goes() {
    let rehearsal = failing();
    let first = rehearsal.cloud.calls().len();
    block_on(fail(&rehearsal.cloud)).unwrap();
    let calls = rehearsal.cloud.calls();
    for (action, fault, name, command) in [
        ("ec2:DeregisterImage", Fault::Refused, "LeftBehind", "aws ec2 deregister-image --image-id"),
        ("ec2:DeleteSnapshot", Fault::Refused, "LeftBehind", "aws ec2 delete-snapshot --snapshot-id"),
        ("ec2:DeleteSnapshot", Fault::Throttled, "TryAgain", "aws ec2 delete-snapshot --snapshot-id"),
    ] {
        let number = (first..calls.len()).find(|number| calls[*number].actions[0] == action).unwrap();
        let desk = failing();
        desk.cloud.inject(number, fault);
        let error = block_on(fail(&desk.cloud)).unwrap_err();
        assert_eq!(error.name(), name, "{action}");
        assert!(error.to_string().contains(command), "{error}");
        assert_eq!(
            desk.bake("before-0").progress.status,
            Status::Running,
            "it isn't closed before it is clean"
        );
    }
}

#[test]
fn the_image_of_a_bake_that_ended_well_stays_whoever_calls_its_bake_failed() {
    for status in [Status::Promoted, Status::Validated, Status::Superseded] {
        let desk = Desk::new(&TWO);
        desk.edit_bake("before-0", |doc| doc["status"] = json!(status));
        let (image, before) = (desk.image("before-0"), desk.bake("before-0"));
        // As after a lost reply of its clean-up.
        block_on(fail(&desk.cloud)).unwrap();
        assert!(desk.exists(&image), "{status:?}");
        assert_eq!(desk.snapshots(), 4, "{status:?}");
        assert_eq!(desk.bake("before-0"), before, "{status:?}");
    }
}

#[test]
fn an_image_that_somebody_else_deregistered_is_off_the_list_too() {
    let desk = failing();
    let (image, digest) = (desk.image("before-0"), desk.bake("before-0").spec.digest);
    let listed = || block_on(Ledger(&desk.cloud).image(&digest)).unwrap();
    assert!(listed().is_some());
    desk.cloud.deregister(&image);
    // Something else of the bake stays.
    desk.tag(desk.bake("before-0").progress.snapshots[0].as_str(), TAG_KEEP, "");
    // EC2 may not show the image yet, as far as anybody knows here.
    assert_eq!(block_on(fail(&desk.cloud)).unwrap_err().name(), "Unseen");
    desk.cloud.pass(SignedDuration::from_secs(150));
    block_on(fail(&desk.cloud)).unwrap();
    assert_eq!(listed(), None);
}

#[test]
fn an_image_that_stays_or_was_another_bake_s_stays_on_the_list() {
    let changes: [(&str, Change); 2] = [
        ("kept", |desk| desk.tag(desk.image("before-0").as_str(), TAG_KEEP, "")),
        ("taken", |desk| desk.edit_bake("before-0", |doc| doc["reused"] = json!(true))),
    ];
    for (what, change) in changes {
        let desk = failing();
        desk.edit_image("before-0", |doc| doc["status"] = json!("validated"));
        change(&desk);
        let digest = desk.bake("before-0").spec.digest;
        block_on(fail(&desk.cloud)).unwrap();
        assert!(block_on(Ledger(&desk.cloud).image(&digest)).unwrap().is_some(), "{what}");
    }
}

#[test]
fn a_builder_that_is_kept_is_told_with_the_way_into_it() {
    for (stopped, way) in [(false, ". Get in: `aws ssm"), (true, ". Get in: `aws ec2 start-instances")] {
        let desk = failing();
        let base = desk.bake("before-0").spec.base.image;
        let builder = desk.start(&base);
        desk.tag_as_of(&builder, "before-0");
        if stopped {
            desk.cloud.with(|world| world.stop_instances(std::slice::from_ref(&builder), false)).unwrap();
            desk.cloud.pass(SignedDuration::from_secs(30));
        }
        let later = desk.now() + SignedDuration::from_hours(1);
        desk.edit_bake("before-0", |doc| {
            doc["options"]["keep-builder"] = json!(true);
            doc["expires"] = json!(later);
            doc["builder"] = json!(builder);
        });
        block_on(fail(&desk.cloud)).unwrap();
        let cause = desk.bake("before-0").progress.failure.unwrap().cause;
        assert!(
            cause.contains(&format!("kept as asked: {builder}, until ")) && cause.contains(way),
            "{cause}"
        );
        assert!(cause.contains("`ovenbird clean before-0` does at once"), "{cause}");
    }
}

#[test]
fn what_stays_is_told_but_not_the_disk_of_a_builder_that_goes() {
    let desk = failing();
    let base = desk.bake("before-0").spec.base.image;
    let builder = desk.start(&base);
    let volume = desk.cloud.with(|world| {
        let id = builder.parse().unwrap();
        world.volumes_of(&id)[0].id.to_string()
    });
    desk.edit_bake("before-0", |doc| doc["builder"] = json!(builder));
    for resource in [&builder, &volume] {
        desk.tag_as_of(resource, "before-0");
    }
    desk.tag(desk.image("before-0").as_str(), TAG_KEEP, "");
    let record = super::bench::record(&desk.cloud, "before-0");
    let id = "before-0".parse().unwrap();
    let ended = block_on(clean_up::after_failure(&id, record, None, false, &desk.cloud, desk.now())).unwrap();
    let told: Vec<_> = ended.kept.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|one| one.starts_with(&format!("{}: ", desk.image("before-0")))), "{told:?}");
    assert!(!told.iter().any(|one| one.contains(&volume)), "{told:?}");
}
