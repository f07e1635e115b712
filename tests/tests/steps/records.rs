//! The table's records alone: what each says after a write, and what two writers at once make of it.

use futures::executor::block_on;
use ovenbird_core::{
    Error,
    domain::{bake::Status, id::PipelineName},
    ports::{Expect, Index, Key, Table as _, Write},
    steps::launch_builder::{self, Start},
    store::{Ancestor, Child, ImageStatus, Ledger},
};
use serde_json::{Value, json};

use super::{
    bench::{Bench, RECIPE},
    desk::{Desk, TWO, channel_key, pipeline},
};

const PARAMETER: &str = "/images/storefront/production";

fn names(names: [&str; 2]) -> [PipelineName; 2] {
    names.map(|name| name.parse().unwrap())
}

#[test]
fn an_image_s_maker_is_the_bake_that_made_it_and_not_one_that_took_it() {
    let bench = Bench::new();
    let artifact = bench.upload("v1.jar");
    let made = bench.bake("first", &artifact);
    let taken = bench.reuse("second", &artifact);
    assert!(taken.progress.reused);
    let ledger = Ledger(&bench.cloud);
    let maker = block_on(ledger.maker(made.progress.image.as_ref().unwrap())).unwrap();
    assert_eq!(maker.map(|bake| bake.spec.id), Some(made.spec.id.clone()));
    assert_eq!(block_on(ledger.maker(&"ami-0123456789abcdef0".parse().unwrap())).unwrap(), None);
    let bakes = block_on(ledger.bakes(&pipeline())).unwrap();
    assert_eq!(bakes.iter().map(|bake| &bake.spec.id).collect::<Vec<_>>(), [&taken.spec.id, &made.spec.id]);
}

#[test]
fn every_promotion_and_every_reuse_is_counted_on_the_image_s_record() {
    let bench = Bench::new();
    let artifact = bench.upload("v1.jar");
    let made = bench.bake("first", &artifact);
    let uses = || block_on(Ledger(&bench.cloud).image(&made.spec.digest)).unwrap().unwrap().uses;
    let before = uses();
    bench.reuse("second", &artifact);
    // It took the image, and promoted it.
    assert_eq!(uses(), before + 2);
    // The same image is recorded once more by its own bake: what was counted stays.
    let ledger = Ledger(&bench.cloud);
    let record = block_on(ledger.image(&made.spec.digest)).unwrap().unwrap();
    let lease = Key { pk: format!("DIGEST#{}", made.spec.digest), sk: "LEASE".into() };
    let row = block_on(bench.cloud.get(&lease)).unwrap().unwrap();
    let mut doc = row.doc.clone();
    doc["holder"] = json!("first");
    let put = Write::Put { key: lease, doc, expect: Expect::Version(row.version), index: Index::default() };
    block_on(bench.cloud.commit(vec![put])).unwrap();
    let again = ovenbird_core::store::ImageRecord { uses: 0, passed: Vec::new(), ..record.clone() };
    block_on(ledger.record_image(&made.spec.digest, &again)).unwrap();
    assert_eq!(uses(), before + 2);
    // Another image of the digest has its own count.
    let other =
        ovenbird_core::store::ImageRecord { image: "ami-0123456789abcdef0".parse().unwrap(), ..again };
    block_on(ledger.record_image(&made.spec.digest, &other)).unwrap();
    assert_eq!(uses(), 0);
}

#[test]
fn two_pushes_at_once_make_no_circle_of_bases() {
    let desk = Desk::new(&TWO);
    let [one, two] = names(["one", "two"]);
    let on =
        |pipeline: &PipelineName| Ancestor { pipeline: pipeline.clone(), channel: "stable".parse().unwrap() };
    let child = |pipeline: &PipelineName| Child { pipeline: pipeline.clone(), artifact: false };
    // `one` has read that `two` stands on nothing, and hasn't written yet.
    let late = desk.interrupt(
        async |cloud| Ledger(cloud).stand_on(&child(&one), Some(&on(&two))).await,
        "dynamodb:PutItem",
        0,
        || block_on(Ledger(&desk.cloud).stand_on(&child(&two), Some(&on(&one)))).unwrap(),
    );
    assert!(matches!(late, Err(Error::TryAgain { .. })), "{late:?}");
    let again = block_on(Ledger(&desk.cloud).stand_on(&child(&one), Some(&on(&two)))).unwrap_err();
    assert!(again.to_string().contains("stands on itself: one → two → one"), "{again}");
}

#[test]
fn a_parameter_that_came_into_the_recipe_later_is_claimed_though_nothing_moves() {
    let bench = Bench::new();
    let line = format!("parameter = \"{PARAMETER}\"\n");
    assert!(RECIPE.contains(&line));
    bench.push(&RECIPE.replace(&line, ""));
    let artifact = bench.upload("v1.jar");
    let first = bench.bake("first", &artifact);
    let name = PARAMETER.parse().unwrap();
    let owner = || block_on(Ledger(&bench.cloud).parameter_owner(&name)).unwrap();
    assert_eq!(owner(), None);
    bench.push(RECIPE);
    // As old as the first: the channel points at its image already, and stays as it is.
    let start = Start { bake: "second".parse().unwrap(), started: first.spec.started, trigger: artifact };
    let second = block_on(launch_builder::start(start, &bench.cloud, bench.cloud.now())).unwrap();
    let generation = || {
        let channel = block_on(Ledger(&bench.cloud).channel(&pipeline(), &"production".parse().unwrap()));
        channel.unwrap().unwrap().generation
    };
    let before = generation();
    bench.promote(&second).unwrap();
    assert_eq!(generation(), before);
    assert_eq!(owner().map(|owner| owner.pipeline), Some(pipeline()));
}

#[test]
fn a_parameter_follows_the_channel_that_its_recipe_names_now() {
    let bench = Bench::new();
    bench.bake("first", &bench.upload("v1.jar"));
    let name = PARAMETER.parse().unwrap();
    let channel = || block_on(Ledger(&bench.cloud).parameter_owner(&name)).unwrap().unwrap().channel;
    assert_eq!(channel().as_str(), "production");
    bench.push(&RECIPE.replace("channel = \"production\"", "channel = \"live\""));
    bench.bake("second", &bench.upload("v2.jar"));
    assert_eq!(channel().as_str(), "live");
}

#[test]
fn a_parameter_of_another_pipeline_or_channel_is_not_released() {
    for (field, other) in [("pipeline", "other"), ("channel", "staging")] {
        let desk = Desk::new(&TWO);
        desk.edit(&channel_key("production"), &channel_key("production"), |doc| doc["current"] = json!(null));
        let key = Key { pk: "PARAMETERS".into(), sk: format!("PARAMETER#{PARAMETER}") };
        desk.edit(&key, &key, |doc| doc[field] = json!(other));
        let ledger = Ledger(&desk.cloud);
        block_on(ledger.release_parameter(&desk.bake("before-1").spec)).unwrap();
        assert!(block_on(ledger.parameter_owner(&PARAMETER.parse().unwrap())).unwrap().is_some(), "{field}");
    }
}

/// An account with the items that an Ovenbird of the first stage wrote.
fn of_the_first_stage() -> Desk {
    let desk = Desk { cloud: Bench::new().cloud };
    let items: Vec<Value> = serde_json::from_str(include_str!("samples/first-stage.json")).unwrap();
    for item in items {
        let [pk, sk] = ["pk", "sk"].map(|name| item[name].as_str().unwrap().to_owned());
        let status = |name: &str| item["doc"][name].as_str().map(str::to_owned);
        let index = Index {
            status: status("status").filter(|_| sk.starts_with("BAKE#")).zip(status("started")),
            image: status("image").map(|image| image.parse().unwrap()),
            expires: None,
        };
        let doc = item["doc"].clone();
        let put = Write::Put { key: Key { pk, sk }, doc, expect: Expect::Absent, index };
        block_on(desk.cloud.commit(vec![put])).unwrap();
    }
    desk
}

#[test]
fn what_the_first_stage_wrote_is_read() {
    let desk = of_the_first_stage();
    let ledger = Ledger(&desk.cloud);
    let bakes = block_on(ledger.bakes(&pipeline())).unwrap();
    let statuses: Vec<_> = bakes.iter().map(|bake| bake.progress.status).collect();
    assert!(statuses.contains(&Status::Promoted) && statuses.contains(&Status::Cancelled), "{statuses:?}");
    let channel = desk.channel().unwrap();
    assert_eq!((channel.generation, channel.previous.len()), (11, 1));
    let rows = desk.cloud.rows();
    let of = |sk: &str| rows.iter().find(|row| row.key.sk == sk).unwrap();
    let digest = of("IMAGE").key.pk.strip_prefix("DIGEST#").unwrap().parse().unwrap();
    let image = block_on(ledger.image(&digest)).unwrap().unwrap();
    assert_eq!((image.status, image.uses), (ImageStatus::Validated, 0));
    block_on(ledger.holder(&of("LEASE").key.pk["DIGEST#".len()..].parse().unwrap(), desk.now())).unwrap();
    assert_eq!(block_on(ledger.parameters()).unwrap().len(), 1);
    let children = block_on(ledger.children(&"jvm-runtime".parse().unwrap(), &"stable".parse().unwrap()));
    assert_eq!(children.unwrap()[0].pipeline, pipeline());
}

#[test]
fn what_a_newer_ovenbird_wrote_is_refused_and_left_alone() {
    let desk = Desk::new(&TWO);
    assert_eq!(desk.cloud.rows().iter().find(|row| row.key.sk == "IMAGE").unwrap().doc["format"], 1);
    desk.edit_bake("before-0", |doc| doc["format"] = json!(2));
    let error = block_on(Ledger(&desk.cloud).bake(&pipeline(), &"before-0".parse().unwrap())).unwrap_err();
    assert_eq!(error.name(), "Corrupt");
    assert!(error.chain().contains("format 2, and this Ovenbird knows those up to 1"), "{}", error.chain());
}
