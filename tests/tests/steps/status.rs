//! What `ovenbird status` and `ovenbird lineage --down` tell, on an account in which things are as people leave them.

use std::collections::BTreeSet;

use futures::executor::block_on;
use ovenbird_core::{
    domain::{
        bake::Bake,
        digest,
        id::{AmiId, InstanceId, PipelineName},
    },
    ports::Bucket as _,
    store::{Ledger, Push, recipes},
    views::{
        fleet::{OnImage, Standing, fleet},
        lineage::descendants,
        status::{self, ChannelStatus, Fleet, PipelineStatus},
    },
};
use ovenbird_testkit::walk::scenarios::{PLAIN, Scenario};
use serde_json::json;

use super::desk::{Desk, TWO, pipeline};

const BASE: &str = "/aws/service/debian/release/12/latest/amd64";

fn status(desk: &Desk, fleet: &Fleet) -> PipelineStatus {
    let records = block_on(status::records(&desk.cloud, &pipeline())).unwrap();
    let mut all = block_on(status::status(&desk.cloud, &[records], fleet, desk.now())).unwrap();
    assert_eq!(all.len(), 1);
    all.remove(0)
}

fn channel(desk: &Desk, fleet: &Fleet) -> ChannelStatus {
    let mut channels = status(desk, fleet).channels;
    assert_eq!(channels.len(), 1, "{channels:#?}");
    channels.remove(0)
}

fn instances(numbers: &[u8]) -> BTreeSet<InstanceId> {
    numbers.iter().map(|number| format!("i-0000000{number}").parse().unwrap()).collect()
}

#[test]
fn a_channel_is_told_with_what_is_in_it_and_what_runs_on_it() {
    let desk = Desk::new(&TWO);
    let (old, new) = (desk.image("before-0"), desk.image("before-1"));
    let foreign = "ami-99999999".parse::<AmiId>().unwrap();
    let fleet = Fleet::from([
        (old.clone(), instances(&[1, 2])),
        (new.clone(), instances(&[3])),
        (foreign, instances(&[4])),
    ]);
    let channel = channel(&desk, &fleet);
    assert_eq!(channel.on_current, instances(&[3]));
    assert_eq!(channel.on_others, Fleet::from([(old, instances(&[1, 2]))]));
    assert!(channel.in_recipe);
    let current = channel.current.unwrap();
    assert_eq!((current.image, current.bake.as_str(), current.generation), (new, "before-1", 2));
    assert_eq!(current.artifact.unwrap().key.as_str(), "artifacts/storefront/v2.jar");
    assert_eq!((current.behind, current.base_problem), (Some(false), None));
    let status = status(&desk, &fleet);
    assert_eq!(status.last_bake.unwrap().bake.as_str(), "before-1");
    assert_eq!((status.running, status.last_failure), (Vec::new(), None));
}

#[test]
fn machines_are_told_by_what_their_image_is_and_the_outdated_come_first() {
    let desk = Desk::new(&TWO);
    let (old, new) = (desk.image("before-0"), desk.image("before-1"));
    let foreign = "ami-99999999".parse::<AmiId>().unwrap();
    let machines = Fleet::from([
        (new.clone(), instances(&[3])),
        (old.clone(), instances(&[1, 2])),
        (foreign.clone(), instances(&[4])),
    ]);
    let told = || {
        let records = [block_on(status::records(&desk.cloud, &pipeline())).unwrap()];
        let pipelines = block_on(status::status(&desk.cloud, &records, &machines, desk.now())).unwrap();
        let all = fleet(&pipelines, records[0].bakes().iter(), &machines);
        (all, pipelines[0].channels[0].current.clone().unwrap())
    };
    let short = |all: &[OnImage]| -> Vec<_> {
        all.iter().map(|one| (one.image.clone(), one.standing, one.instances.len())).collect()
    };
    let (all, current) = told();
    let rest = [(new, Standing::Current, 1), (foreign, Standing::Foreign, 1)];
    assert_eq!(short(&all), [&[(old.clone(), Standing::Older, 2)], &rest[..]].concat());
    // It is outdated since the next one was promoted, and not since it was made.
    assert_eq!(all[0].outdated, Some(current.promoted));
    assert_eq!(all[0].artifact.as_ref().unwrap().name(), "v1.jar");
    assert_eq!((all[1].outdated, all[1].bake.as_ref()), (None, Some(&current.bake)));
    assert_eq!((all[2].pipeline.as_ref(), all[2].bake.as_ref()), (None, None));
    // No channel is known to have had it.
    desk.edit_channel(|doc| doc["previous"] = json!([]));
    let (all, _) = told();
    assert_eq!(short(&all), [&[(old, Standing::Made, 2)], &rest[..]].concat());
    assert_eq!((all[0].bake.as_ref().unwrap().as_str(), all[0].outdated), ("before-0", None));
}

#[test]
fn a_parameter_that_somebody_wrote_and_a_base_that_moved_are_seen() {
    let desk = Desk::new(&TWO);
    let before = channel(&desk, &Fleet::new());
    assert_eq!(before.parameters.len(), 1);
    assert!(!before.parameters[0].drifted);
    let old = desk.image("before-0");
    desk.cloud.put_parameter(&"/images/storefront/production".parse().unwrap(), old.as_str());
    // Any image will do for a newer base.
    desk.cloud.put_parameter(&BASE.parse().unwrap(), old.as_str());
    let after = channel(&desk, &Fleet::new());
    assert!(after.parameters[0].drifted);
    assert_eq!(after.parameters[0].value.as_deref(), Some(old.as_str()));
    let current = after.current.unwrap();
    assert_eq!((current.behind, current.base_now), (Some(true), Some(old)));
    // A base that is gone hides nothing else.
    desk.cloud.put_parameter(&BASE.parse().unwrap(), "ami-00000bad");
    let current = channel(&desk, &Fleet::new()).current.unwrap();
    assert_eq!((current.behind, current.base_now), (None, None));
    assert!(current.base_problem.unwrap().contains("names no image that exists"));
}

#[test]
fn what_failed_last_and_what_runs_is_told_of_the_newest_bakes() {
    let desk = Desk::new(&TWO);
    desk.edit_bake("before-0", |doc| {
        doc["status"] = json!("failed");
        doc["failure"] = json!({"error": "StepFailed", "cause": "", "stage": "builder"});
    });
    desk.edit_bake("before-1", |doc| doc["status"] = json!("running"));
    let status = status(&desk, &Fleet::new());
    let failure = status.last_failure.unwrap();
    assert_eq!((failure.bake.as_str(), failure.error.as_deref()), ("before-0", Some("StepFailed")));
    let running: Vec<_> = status.running.iter().map(|bake| bake.bake.as_str()).collect();
    assert_eq!(running, ["before-1"]);
    // People read how long the stage takes, and not the bake.
    let one = block_on(Ledger(&desk.cloud).bake(&pipeline(), &status.running[0].bake)).unwrap().unwrap();
    let stage = one.progress.timeline.last().unwrap().start;
    assert!(stage > one.spec.started);
    assert_eq!((status.running[0].stage_since, status.running[0].ended), (stage, None));
    assert_eq!(status.last_bake.unwrap().bake.as_str(), "before-0");
}

#[test]
fn a_channel_that_the_recipe_gave_up_is_told_as_one() {
    let desk = Desk::new(&TWO);
    let recipe = desk.recipe().replace("channel = \"production\"", "channel = \"canary\"");
    let pointer = recipes::RecipePointer::new(&recipe, None);
    let text = serde_json::to_string(&pointer).unwrap();
    let put = |key: &str, text: &str| block_on(desk.cloud.put_text(key, text)).unwrap();
    use ovenbird_core::store::keys;
    put(&keys::recipe(&pipeline(), &pointer.version), &recipe);
    put(&keys::recipe_version_pointer(&pipeline(), &pointer.version), &text);
    put(&keys::recipe_pointer(&pipeline()), &text);
    let channels = status(&desk, &Fleet::new()).channels;
    let told: Vec<_> =
        channels.iter().map(|one| (one.channel.as_str(), one.in_recipe, one.current.is_some())).collect();
    assert_eq!(told, [("canary", true, false), ("production", false, true)]);
    // A channel that people promote to is the recipe's, too.
    let with_both = format!("{recipe}\n[[channel]]\nname = \"production\"\n[[channel]]\nname = \"later\"\n");
    let both = recipes::RecipePointer::new(&with_both, None);
    let both_text = serde_json::to_string(&both).unwrap();
    put(&keys::recipe(&pipeline(), &both.version), &with_both);
    put(&keys::recipe_version_pointer(&pipeline(), &both.version), &both_text);
    put(&keys::recipe_pointer(&pipeline()), &both_text);
    let channels = status(&desk, &Fleet::new()).channels;
    let told: Vec<_> =
        channels.iter().map(|one| (one.channel.as_str(), one.in_recipe, one.current.is_some())).collect();
    assert_eq!(told, [("canary", true, false), ("later", true, false), ("production", true, true)]);
    // And a recipe that somebody broke leaves the channels to see.
    put(
        &keys::recipe_pointer(&pipeline()),
        &text.replace(pointer.version.as_str(), digest::sha256(b"").as_str()),
    );
    let status = status(&desk, &Fleet::new());
    assert!(status.recipe_problem.is_some() && status.channels.len() == 1, "{status:#?}");
}

#[test]
fn what_stands_on_an_image_is_found_through_every_layer() {
    let desk = Desk::new(&Scenario { layered: true, before: &["v1.jar"], ..PLAIN });
    let runtime = "jvm-runtime".parse::<PipelineName>().unwrap();
    let mut bakes: Vec<Bake> = Vec::new();
    for pipeline in [&runtime, &pipeline()] {
        bakes.extend(block_on(Ledger(&desk.cloud).bakes(pipeline, 10)).unwrap());
    }
    let below = bakes.iter().find(|bake| bake.spec.pipeline == runtime).unwrap();
    let debian = below.spec.base.image.clone();
    let found = descendants(&debian, &bakes);
    let told: Vec<_> = found.iter().map(|one| (one.pipeline.as_str(), one.depth)).collect();
    assert_eq!(told, [("jvm-runtime", 1), ("storefront", 2)]);
    assert_eq!(found[1].base, found[0].image);
    // A failed bake's image is gone, and so is what would stand on it.
    let failed = |bake: &Bake| {
        let mut bake = bake.clone();
        if bake.spec.pipeline == runtime {
            bake.progress.status = ovenbird_core::domain::bake::Status::Failed;
        }
        bake
    };
    let bakes: Vec<Bake> = bakes.iter().map(failed).collect();
    assert!(descendants(&debian, &bakes).is_empty());
}

#[test]
fn pushes_are_told_the_newest_first_and_two_of_one_moment_are_two() {
    let desk = Desk::new(&PLAIN);
    let ledger = Ledger(&desk.cloud);
    let push = |version: &[u8], seconds: i64| Push {
        pipeline: pipeline(),
        version: digest::sha256(version),
        at: jiff::Timestamp::from_second(seconds).unwrap(),
        by: "user/alice".into(),
        message: None,
        git: None,
    };
    let all = [push(b"3", 1_000_000_000), push(b"2", 999_999_999), push(b"1", 999_999_999)];
    for one in all.iter().rev() {
        block_on(ledger.note_push(one)).unwrap();
    }
    let told = block_on(ledger.pushes(&pipeline())).unwrap();
    assert_eq!(told.len(), 3);
    assert_eq!(told[0], all[0]);
    assert!(told[1..].contains(&all[1]) && told[1..].contains(&all[2]));
    let names: Vec<_> = block_on(ledger.pushes(&"other".parse().unwrap())).unwrap();
    assert!(names.is_empty());
}

/// Of a hundred pipelines each call counts: how many there are of each, and that none is made for each of them that could be
/// made once.
#[test]
fn the_status_of_many_pipelines_asks_for_each_thing_once() {
    let desk = Desk::new(&TWO);
    let records = || block_on(status::records(&desk.cloud, &pipeline())).unwrap();
    let counted = |work: &dyn Fn()| {
        let before = desk.cloud.calls().len();
        work();
        let mut counts = std::collections::BTreeMap::<&str, usize>::new();
        for call in &desk.cloud.calls()[before..] {
            *counts.entry(call.actions[0]).or_default() += 1;
        }
        counts
    };
    let of_one = counted(&|| drop(records()));
    // The recipe: which version is current, and its text. The channels, and the newest bakes by time, though they are
    // fewer than are wanted.
    assert_eq!(of_one, std::collections::BTreeMap::from([("s3:GetObject", 2), ("dynamodb:Query", 2)]));
    let all: Vec<_> = (0..100).map(|_| records()).collect();
    let of_all =
        counted(&|| drop(block_on(status::status(&desk.cloud, &all, &Fleet::new(), desk.now())).unwrap()));
    let total: usize = of_all.values().sum();
    assert!(total <= 4, "{of_all:?}");
}
