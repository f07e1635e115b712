//! Layers: who stands on whom, what a promotion starts, and what is reused when only the tests change.

use futures::executor::block_on;
use ovenbird_core::{
    domain::{
        bake::{Bake, Status},
        id::{BakeId, PipelineName},
        tags,
    },
    store::{Ancestor, Child, Ledger},
    views::lineage::{Link, lineage},
};
use ovenbird_testkit::Cloud;
use ovenbird_testkit::walk::{
    account::{push, walk},
    machine::{Diary, End},
    scenarios::{PLAIN, Run, Scenario},
};

const LAYERED: Scenario = Scenario { layered: true, before: &["v1.jar"], ..PLAIN };

fn start(cloud: &Cloud, name: &str, run: Run) -> Vec<(String, Bake)> {
    let ends = walk(cloud, &[(name.to_owned(), (0, run))], &Diary::default());
    let ends = ends.into_iter().map(|(name, end)| match end {
        End::Succeeded(document) => (name, serde_json::from_value(document).unwrap()),
        End::Failed { .. } | End::Lost | End::Broken(_) => panic!("{name}: {end:?}"),
    });
    ends.collect()
}

fn pipeline(name: &str) -> PipelineName {
    name.parse().unwrap()
}

fn record(cloud: &Cloud, name: &str, bake: &str) -> Bake {
    block_on(Ledger(cloud).bake(&pipeline(name), &BakeId::parse(bake).unwrap()))
        .unwrap()
        .unwrap()
        .into_inner()
}

/// A pipeline without an artifact, on another one's channel.
fn recipe(name: &str, base: &str, step: &str) -> String {
    format!(
        "pipeline = '{name}'\n[base]\nchannel = '{base}'\n[[step]]\nshell = '{step}'\n[[test]]\ncommand = 'true'\n\
         [promote]\nchannel = 'stable'\n"
    )
}

#[test]
fn a_runtime_s_promotion_bakes_its_children_and_theirs_in_order() {
    let (cloud, _) = LAYERED.account();
    push(&cloud, &recipe("tools", "jvm-runtime/stable", "true"));
    push(&cloud, &recipe("plugins", "tools/stable", "true"));
    let bakes = start(&cloud, "again", Run::Manual(r#"{"pipeline": "jvm-runtime", "force": true}"#));
    let of = |name: &str| bakes.iter().map(|(_, bake)| bake).find(|bake| bake.spec.pipeline.as_str() == name);
    let (runtime, tools, plugins) =
        (of("jvm-runtime").unwrap(), of("tools").unwrap(), of("plugins").unwrap());
    let shop = of("storefront").unwrap();
    assert_eq!(bakes.len(), 4);
    for (child, parent) in [(tools, runtime), (shop, runtime), (plugins, tools)] {
        assert_eq!((child.progress.status, child.spec.trigger.as_str()), (Status::Promoted, "cascade"));
        assert_eq!(Some(&child.spec.base.image), parent.progress.image.as_ref());
        let cascade = child.spec.cascade.as_ref().unwrap();
        assert_eq!((&cascade.bake, child.spec.base.parent.as_ref()), (&parent.spec.id, Some(cascade)));
        assert!(
            child.spec.started >= parent.progress.timeline.last().unwrap().end.unwrap(),
            "the parent comes first"
        );
        assert!(parent.progress.children.iter().any(|one| one.bake.as_ref() == Some(&child.spec.id)));
    }
    // The application's newest artifact is in it.
    assert_eq!(shop.spec.artifact.as_ref().unwrap().key.as_str(), "artifacts/storefront/v1.jar");

    let links: Vec<Link> = block_on(lineage(&Ledger(&cloud), plugins)).unwrap();
    let names: Vec<_> = links.iter().map(|link| link.pipeline.as_ref().map(PipelineName::as_str)).collect();
    assert_eq!(names, [Some("plugins"), Some("tools"), Some("jvm-runtime"), None]);
    let root = links.last().unwrap();
    assert_eq!((root.name.as_str(), root.made), ("debian-12-amd64-20260101", None));
    assert!(links.windows(2).all(|pair| pair[1].made.is_none() || pair[0].made > pair[1].made));
}

#[test]
fn what_moves_no_channel_to_another_image_starts_nothing() {
    let (cloud, _) = LAYERED.account();
    // Reused, not promoted, superseded.
    for input in
        [r#"{"pipeline": "jvm-runtime"}"#, r#"{"pipeline": "jvm-runtime", "force": true, "promote": false}"#]
    {
        let bakes = start(&cloud, &format!("none-{}", input.len()), Run::Manual(input));
        assert_eq!(bakes.len(), 1, "{input}: {bakes:?}");
        assert!(bakes[0].1.progress.children.is_empty());
    }
    assert_eq!(cloud.calls().iter().filter(|call| call.actions[0] == "states:StartExecution").count(), 0);
}

#[test]
fn a_child_without_an_artifact_is_not_started_and_the_record_says_so() {
    let scenario = Scenario { before: &[], ..LAYERED };
    let (cloud, _) = scenario.account();
    let first = record(&cloud, "jvm-runtime", "before-0");
    assert_eq!(first.progress.children.len(), 1);
    assert_eq!(
        (first.progress.children[0].pipeline.as_str(), &first.progress.children[0].bake),
        ("storefront", &None)
    );
}

#[test]
fn a_pipeline_that_changes_its_base_leaves_its_old_parent() {
    let (cloud, _) = LAYERED.account();
    push(&cloud, &recipe("tools", "jvm-runtime/stable", "true"));
    push(&cloud, &recipe("tools", "other/stable", "true"));
    let children = |parent: &str| {
        let children = block_on(Ledger(&cloud).children(&pipeline(parent), &"stable".parse().unwrap()));
        children.unwrap().into_iter().map(|child| child.pipeline.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(
        (children("jvm-runtime"), children("other")),
        (vec!["storefront".into()], vec!["tools".into()])
    );
    let plain = recipe("tools", "x/y", "true").replace("channel = 'x/y'", "image = 'ami-0123456789abcdef0'");
    push(&cloud, &plain);
    assert!(children("other").is_empty());
    // It is noted and not deleted: who registers a push may delete nothing.
    let base = cloud.rows().into_iter().find(|row| row.key.pk == "PIPELINE#tools" && row.key.sk == "BASE");
    assert!(base.unwrap().doc["pipeline"].is_null());
}

#[test]
fn a_circle_is_refused_with_its_whole_way() {
    let (cloud, _) = LAYERED.account();
    let ledger = Ledger(&cloud);
    let stand = |child: &str, parent: &str| {
        let base = Ancestor { pipeline: pipeline(parent), channel: "stable".parse().unwrap() };
        block_on(ledger.stand_on(&Child::new(pipeline(child), false), Some(&base)))
    };
    stand("b", "a").unwrap();
    stand("c", "b").unwrap();
    let before = cloud.dump();
    let error = stand("a", "c").unwrap_err();
    assert_eq!(error.name(), "BadInput");
    assert_eq!(error.to_string(), "the base of pipeline `a`: stands on itself: a → c → b → a");
    assert!(stand("a", "a").unwrap_err().to_string().contains("a → a"));
    assert_eq!(cloud.dump(), before, "nothing is written of it");
    // The same again changes nothing, and a chain as long as it likes is no circle.
    stand("c", "b").unwrap();
    assert_eq!(cloud.dump(), before);
    for number in 0..30 {
        stand(&format!("x{}", number + 1), &format!("x{number}")).unwrap();
    }
    assert!(stand("x0", "x30").unwrap_err().to_string().contains("itself"));
}

#[test]
fn when_only_the_tests_change_the_image_is_kept_and_tested_on_a_fresh_instance() {
    let scenario =
        Scenario { before: &["v1.jar"], then: "[[test]]\nname = 'more'\ncommand = 'true'\n", ..PLAIN };
    let (cloud, _) = scenario.account();
    let launched = || {
        cloud.with(|world| {
            let of = |role: &str| world.instances().filter(|one| one.tags[tags::TAG_ROLE] == role).count();
            (of("builder"), of("verifier"))
        })
    };
    let first = record(&cloud, "storefront", "before-0");
    assert_eq!(launched(), (1, 0));
    let again = start(&cloud, "again", Run::Manual(r#"{"pipeline": "storefront"}"#)).remove(0).1;
    assert_eq!(
        (again.spec.digest.clone(), again.progress.image.clone()),
        (first.spec.digest.clone(), first.progress.image.clone())
    );
    assert_ne!(again.spec.inputs.tests, first.spec.inputs.tests);
    assert_eq!(launched(), (1, 1));
    // Both sets are on record now: neither is run again.
    let third = start(&cloud, "third", Run::Manual(r#"{"pipeline": "storefront"}"#)).remove(0).1;
    assert_eq!((third.progress.status, third.progress.booted), (Status::Promoted, None));
    let image = block_on(Ledger(&cloud).image(&first.spec.digest)).unwrap().unwrap();
    assert!(
        image.passed(&first.spec.inputs.tests).is_some() && image.passed(&again.spec.inputs.tests).is_some()
    );
    assert_eq!(launched(), (1, 1));
}
