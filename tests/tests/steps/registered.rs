//! What a push changes for other pipelines, launch-builder writes: whoever pushes may not.

use std::collections::{BTreeMap, BTreeSet};

use futures::executor::block_on;
use jiff::{SignedDuration, Timestamp};
use ovenbird_core::{
    Result,
    domain::{digest::sha256, recipe::Recipe, trigger::Pushed},
    functions,
    ops::pipeline as pipelines,
    steps::register::{self, is_registered},
    store::{Halt, Ledger, Push, Said, keys},
};
use serde_json::{Value, json};

use super::bench::{Bench, RECIPE, pipeline};

/// The recipe of a pipeline on the channel of another one.
fn on(pipeline: &str, base: &str) -> String {
    let base = format!("channel = '{base}/stable'");
    RECIPE
        .replace("pipeline = \"storefront\"", &format!("pipeline = '{pipeline}'"))
        .replace("parameter = \"/aws/service/debian/release/12/latest/amd64\"", &base)
}

/// Makes a recipe current, and no more.
fn put(bench: &Bench, text: &str) -> Recipe {
    bench.push(text);
    Recipe::parse_pushed(text).unwrap()
}

fn registers(bench: &Bench, recipe: &Recipe, at: Timestamp) -> Result<String> {
    block_on(register::register(&Pushed { pipeline: recipe.pipeline.clone(), at }, &bench.cloud))
}

fn children(bench: &Bench, base: &str) -> Vec<String> {
    let children = Ledger(&bench.cloud);
    let children = block_on(children.children(&base.parse().unwrap(), &"stable".parse().unwrap())).unwrap();
    children.into_iter().map(|child| child.pipeline.to_string()).collect()
}

/// The policy of a pusher allows notes of its pipeline's pushes alone, and in no index.
#[test]
fn a_push_writes_notes_of_its_own_pipeline_alone() {
    let bench = Bench::new();
    let recipe = put(&bench, &on("shop", "jvm-runtime"));
    let before = bench.cloud.table();
    // What `recipe push` calls.
    assert!(!block_on(is_registered(&recipe, &bench.cloud)).unwrap());
    let (version, at) = (sha256(b"one"), bench.cloud.now());
    let (by, message, git) = ("user/alice".to_owned(), None, None);
    let push = Push { pipeline: recipe.pipeline, version, at, by, message, git };
    block_on(Ledger(&bench.cloud).note_push(&push)).unwrap();
    let rows = bench.cloud.table().into_iter();
    let written = rows.filter(|(row, _)| !before.iter().any(|(old, _)| old == row));
    let written: BTreeSet<_> =
        written.map(|(row, index)| (row.key.pk, index != Default::default())).collect();
    assert_eq!(written, [("PUSHES#shop".to_owned(), false)].into());
}

#[test]
fn the_event_of_a_push_registers_it_and_bakes_nothing() {
    let bench = Bench::new();
    let recipe = put(&bench, &on("shop", "jvm-runtime"));
    let event = json!({"version": "0", "id": "1", "detail-type": "Object Created", "source": "aws.s3",
        "account": "123456789012", "time": "2026-01-01T00:00:00Z", "region": "us-east-1", "resources": [],
        "detail": {"object": {"key": "recipes/shop/current.json", "size": 5}}});
    let input = json!({"action": "start", "bake": "p-1", "started": bench.cloud.now(), "trigger": event});
    let answer: Value =
        block_on(functions::launch_builder(&bench.cloud, input.clone(), bench.cloud.now())).unwrap();
    assert_eq!(answer["next"]["to"], "nothing", "{answer}");
    assert!(
        answer["why"].as_str().unwrap().ends_with("pipeline shop was pushed, and is registered"),
        "{answer}"
    );
    assert!(block_on(is_registered(&recipe, &bench.cloud)).unwrap());
    assert_eq!((children(&bench, "jvm-runtime"), bench.instances()), (vec!["shop".to_owned()], 0));
    assert!(block_on(Ledger(&bench.cloud).pipelines(&bench.cloud)).unwrap().contains(&recipe.pipeline));
    // S3 may tell it twice.
    let before = bench.cloud.table();
    block_on(functions::launch_builder(&bench.cloud, input, bench.cloud.now())).unwrap();
    assert_eq!(bench.cloud.table(), before);
}

#[test]
fn a_pipeline_that_moves_to_another_base_is_no_child_of_the_one_before() {
    let bench = Bench::new();
    for (base, before) in [("jvm-runtime", "node-runtime"), ("node-runtime", "jvm-runtime")] {
        let recipe = put(&bench, &on("shop", base));
        assert!(!block_on(is_registered(&recipe, &bench.cloud)).unwrap());
        registers(&bench, &recipe, bench.cloud.now()).unwrap();
        assert_eq!((children(&bench, base), children(&bench, before)), (vec!["shop".to_owned()], vec![]));
    }
}

#[test]
fn a_pipeline_that_would_stand_on_itself_is_not_registered() {
    let bench = Bench::new();
    let one = put(&bench, &on("one", "two"));
    registers(&bench, &one, bench.cloud.now()).unwrap();
    let two = put(&bench, &on("two", "one"));
    let before = bench.cloud.table();
    for error in [
        block_on(is_registered(&two, &bench.cloud)).unwrap_err(),
        registers(&bench, &two, bench.cloud.now()).unwrap_err(),
    ] {
        assert!(error.to_string().contains("two → one → two"), "{error}");
    }
    assert_eq!(bench.cloud.table(), before);
}

/// S3 may tell of a push an hour late, and twice.
/// Whoever pushes it would else learn it from a bake that fails.
#[test]
fn a_base_that_no_bake_has_promoted_yet_is_said_at_the_push() {
    let bench = Bench::new();
    let missing = |text: &str| {
        let recipe = Recipe::parse_pushed(text).unwrap();
        block_on(register::missing_base(&recipe, &bench.cloud)).unwrap()
    };
    assert_eq!(missing(RECIPE), None);
    let on_storefront = on("shop", "storefront").replace("storefront/stable", "storefront/production");
    assert_eq!(missing(&on_storefront).as_deref(), Some("storefront/production"));
    bench.bake("storefront-1", &bench.upload("v1.jar"));
    assert_eq!(missing(&on_storefront), None);
}

#[test]
fn a_late_event_brings_no_removed_pipeline_back_and_a_new_push_does() {
    let bench = Bench::new();
    let recipe = put(&bench, &on("shop", "jvm-runtime"));
    let pushed = bench.cloud.now();
    registers(&bench, &recipe, pushed).unwrap();
    bench.cloud.pass(SignedDuration::from_secs(60));
    let plan = block_on(pipelines::removal(&recipe.pipeline, &BTreeMap::new(), &bench.cloud)).unwrap();
    let said = Said { by: "user/alice".into(), why: None, at: bench.cloud.now() };
    block_on(pipelines::remove(&plan, said, &bench.cloud)).unwrap();
    let why = registers(&bench, &recipe, pushed).unwrap();
    assert!(why.contains("before user/alice removed it"), "{why}");
    let halt = || block_on(Ledger(&bench.cloud).halt(&recipe.pipeline)).unwrap();
    assert!(matches!(halt(), Some(Halt::Removed(_))));
    assert_eq!(children(&bench, "jvm-runtime"), [""; 0]);
    // The event's time has no fractions of a second: a push right after the removal counts.
    let second = Timestamp::from_second(bench.cloud.now().as_second()).unwrap();
    registers(&bench, &recipe, second).unwrap();
    assert_eq!(halt(), None);
    assert_eq!(children(&bench, "jvm-runtime"), ["shop"]);
}

#[test]
fn a_recipe_that_can_t_be_read_is_not_registered() {
    let bench = Bench::new();
    let recipe = put(&bench, &on("shop", "jvm-runtime"));
    bench.cloud.put(&keys::recipe_pointer(&recipe.pipeline), "{}");
    assert!(registers(&bench, &recipe, bench.cloud.now()).is_err());
    assert_eq!(children(&bench, "jvm-runtime"), [""; 0]);
    assert_ne!(recipe.pipeline, pipeline());
}
