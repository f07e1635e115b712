//! Pipelines that a person paused or removed: what starts a bake of them, and what becomes of their images.

use std::collections::{BTreeMap, BTreeSet};

use futures::executor::block_on;
use ovenbird_core::{
    Error,
    domain::{
        id::{AmiId, InstanceId, PipelineName},
        retirement::Floors,
    },
    functions,
    ops::pipeline::{self, Removal},
    store::{Ledger, Said},
};
use ovenbird_testkit::walk::scenarios::Scenario;
use serde_json::{Value, json};

use super::desk::{Desk, TWO, pipeline};

fn said() -> Said {
    Said { by: "user/alice".into(), why: Some("a freeze".into()), at: jiff::Timestamp::UNIX_EPOCH }
}

fn launched(desk: &Desk, name: &str, trigger: &Value) -> Result<Value, Error> {
    let input = json!({"action": "start", "bake": name, "started": desk.now(), "trigger": trigger});
    block_on(functions::launch_builder(&desk.cloud, input, desk.now()))
}

fn upload() -> Value {
    json!({
        "version": "0", "id": "1", "detail-type": "Object Created", "source": "aws.s3", "account": "1",
        "time": "2026-11-23T10:00:00Z", "region": "us-east-1", "resources": [],
        "detail": {"object": {"key": "artifacts/storefront/v2.jar", "size": 3, "sequencer": "00"}},
    })
}

fn cascade() -> Value {
    let parent = json!({"pipeline": "jvm-runtime", "channel": "stable", "bake": "b-1", "generation": 7});
    json!({"pipeline": "storefront", "cascade": parent})
}

fn plan(desk: &Desk) -> Removal {
    block_on(pipeline::removal(&pipeline(), &BTreeMap::new(), &desk.cloud)).unwrap()
}

#[test]
fn nothing_starts_a_bake_of_a_paused_pipeline_by_itself_and_a_person_does() {
    let desk = Desk::new(&TWO);
    block_on(pipeline::pause(&pipeline(), said(), &desk.cloud)).unwrap();
    for (name, trigger) in [("by-upload", upload()), ("by-cascade", cascade())] {
        let answer = launched(&desk, name, &trigger).unwrap();
        assert_eq!(answer["next"]["to"], "nothing", "{answer}");
        assert_eq!(answer["why"], "user/alice paused pipeline storefront");
        assert!(block_on(Ledger(&desk.cloud).bake(&pipeline(), &name.parse().unwrap())).unwrap().is_none());
    }
    let answer = launched(&desk, "by-hand", &json!({"pipeline": "storefront"})).unwrap();
    assert_ne!(answer["next"]["to"], "nothing", "{answer}");
    // A bake that has begun goes on: its first step may be repeated.
    let bake = desk.bake("by-hand");
    let again = launched(&desk, bake.spec.id.as_str(), &upload()).unwrap();
    assert_ne!(again["next"]["to"], "nothing", "{again}");
    block_on(pipeline::resume(&pipeline(), &desk.cloud)).unwrap();
    let answer = launched(&desk, "by-upload", &upload()).unwrap();
    assert_ne!(answer["next"]["to"], "nothing", "{answer}");
    assert!(block_on(pipeline::resume(&pipeline(), &desk.cloud)).is_err(), "it isn't paused");
}

#[test]
fn a_removed_pipeline_is_gone_for_everybody_and_its_images_are_retired() {
    let desk = Desk::new(&Scenario { soak: "soak = 7", ..TWO });
    let (old, new) = (desk.image("before-0"), desk.image("before-1"));
    assert_eq!(desk.verdict(&new)["act"], "keep");
    // The parameter names the image; a person takes it away before.
    block_on(pipeline::remove(&plan(&desk), said(), &desk.cloud)).unwrap();
    assert!(block_on(Ledger(&desk.cloud).pipelines(&desk.cloud)).unwrap().is_empty());
    assert!(desk.channel().is_none());
    assert!(launched(&desk, "by-hand", &json!({"pipeline": "storefront"})).is_err());
    assert_eq!(launched(&desk, "by-upload", &upload()).unwrap()["next"]["to"], "nothing");
    assert_eq!(desk.verdict(&old)["act"], "deprecate", "{}", desk.verdict(&old));
    // What something still names stays, and it is said what that is.
    let kept = desk.verdict(&new);
    assert_eq!((&kept["act"], &kept["reason"]), (&json!("keep"), &json!("parameter")), "{kept}");
    // Nothing names it any more: it goes, although the recipe would retain the newest.
    desk.cloud.put_parameter(&"/images/storefront/production".parse().unwrap(), "nothing");
    assert_eq!(desk.verdict(&new)["act"], "deprecate", "{}", desk.verdict(&new));
    // A push brings it back, with all that its recipe retains.
    block_on(Ledger(&desk.cloud).note_pipeline(&pipeline(), &desk.cloud)).unwrap();
    assert_eq!(block_on(Ledger(&desk.cloud).pipelines(&desk.cloud)).unwrap(), BTreeSet::from([pipeline()]));
    assert_ne!(
        launched(&desk, "by-hand", &json!({"pipeline": "storefront"})).unwrap()["next"]["to"],
        "nothing"
    );
}

#[test]
fn what_uses_a_pipeline_stands_against_its_removal() {
    let desk = Desk::new(&Scenario { layered: true, ..TWO });
    let runtime = "jvm-runtime".parse().unwrap();
    let instance = desk.start(&desk.image("before-1"));
    let fleet = BTreeMap::from([(desk.image("before-1"), BTreeSet::from([instance.parse().unwrap()]))]);
    let against = |name: &PipelineName, fleet: &BTreeMap<AmiId, BTreeSet<InstanceId>>| {
        block_on(pipeline::removal(name, fleet, &desk.cloud)).unwrap().against
    };
    let told = against(&pipeline(), &fleet);
    assert!(told.len() == 1 && told[0].contains(&format!("instance {instance} runs")), "{told:?}");
    let told = against(&runtime, &BTreeMap::new());
    assert!(told.len() == 1 && told[0].contains("pipeline storefront is built on its channel"), "{told:?}");
    let refused = block_on(pipeline::removal(&runtime, &BTreeMap::new(), &desk.cloud)).unwrap();
    assert!(block_on(pipeline::remove(&refused, said(), &desk.cloud)).is_err());
    assert!(block_on(Ledger(&desk.cloud).pipelines(&desk.cloud)).unwrap().contains(&runtime));
    desk.edit_bake("before-1", |doc| doc["status"] = json!("running"));
    let told = against(&pipeline(), &BTreeMap::new());
    assert!(told.iter().any(|one| one.contains("its bake before-1 is on its way")), "{told:?}");
}

/// What its recipe and the account say of the newest ones is said of pipelines that bake. The account's days hold for all.
#[test]
fn of_a_removed_pipeline_nothing_stays_because_it_is_new() {
    let of = |days: u32| {
        let desk = Desk::new(&TWO);
        desk.push(&desk.recipe().replace("newest = 1", "newest = 9").replace("days = 0", "days = 99"));
        desk.edit_channel(|doc| doc["previous"] = json!([]));
        desk.cloud.retain_at_least(Floors { newest: 9, days });
        let old = desk.image("before-0");
        assert_eq!(desk.verdict(&old)["act"], "keep");
        block_on(pipeline::remove(&plan(&desk), said(), &desk.cloud)).unwrap();
        desk.verdict(&old)["act"].clone()
    };
    assert_eq!((of(0), of(9)), (json!("deregister"), json!("keep")));
}

#[test]
fn a_channel_that_moved_since_the_plan_was_shown_is_not_removed() {
    let desk = Desk::new(&TWO);
    let seen = plan(&desk);
    desk.edit_channel(|doc| doc["generation"] = json!(9));
    let error = block_on(pipeline::remove(&seen, said(), &desk.cloud)).unwrap_err();
    assert!(matches!(error, Error::TryAgain { .. }), "{error}");
    assert!(desk.channel().is_some());
    assert!(block_on(Ledger(&desk.cloud).pipelines(&desk.cloud)).unwrap().contains(&pipeline()));
}
