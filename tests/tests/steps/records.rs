//! The table's records alone: what each says after a write, and what two writers at once make of it.

use futures::executor::block_on;
use ovenbird_core::{
    Error,
    domain::{
        bake::Status,
        id::{AmiId, Digest, PipelineName},
    },
    ports::{Expect, Index, Key, Table as _, Write},
    steps::launch_builder::{self, Start},
    store::{Ancestor, Child, Claim, ImageCopy, ImageSet, ImageStatus, Ledger, Versioned},
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
    let bakes = block_on(ledger.bakes(&pipeline(), 99)).unwrap();
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
    let again = ovenbird_core::store::ImageSet { uses: 0, passed: Vec::new(), ..record.clone() };
    block_on(ledger.record_image(&made.spec.digest, &again)).unwrap();
    assert_eq!(uses(), before + 2);
    // Another image of the digest has its own count.
    let home = ImageCopy { image: "ami-0123456789abcdef0".parse().unwrap(), snapshots: Vec::new() };
    let other = ovenbird_core::store::ImageSet { home, ..again };
    block_on(ledger.record_image(&made.spec.digest, &other)).unwrap();
    assert_eq!(uses(), 0);
}

#[test]
fn two_pushes_at_once_make_no_circle_of_bases() {
    let desk = Desk::new(&TWO);
    let [one, two] = names(["one", "two"]);
    let on =
        |pipeline: &PipelineName| Ancestor { pipeline: pipeline.clone(), channel: "stable".parse().unwrap() };
    let child = |pipeline: &PipelineName| Child::new(pipeline.clone(), false);
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
    let second = block_on(launch_builder::start(start, None, &bench.cloud, bench.cloud.now())).unwrap();
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
        block_on(ledger.release_parameter(&desk.bake("before-1").spec.destination())).unwrap();
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
            time: None,
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
    let bakes = block_on(ledger.bakes(&pipeline(), 99)).unwrap();
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
    assert_eq!(desk.cloud.rows().iter().find(|row| row.key.sk == "IMAGE").unwrap().doc["format"], 2);
    desk.edit_bake("before-0", |doc| doc["format"] = json!(3));
    let error = block_on(Ledger(&desk.cloud).bake(&pipeline(), &"before-0".parse().unwrap())).unwrap_err();
    assert_eq!(error.name(), "Corrupt");
    assert!(error.chain().contains("format 3, and this Ovenbird knows those up to 2"), "{}", error.chain());
}

#[test]
fn each_image_of_a_digest_has_its_own_record_and_the_digest_leads_to_the_last() {
    let desk = Desk::new(&TWO);
    let (old, new) = (desk.bake("before-0"), desk.bake("before-1"));
    let ledger = Ledger(&desk.cloud);
    let key = |image: &AmiId| Key { pk: format!("IMAGE#{image}"), sk: "SET".into() };
    let [old_image, new_image] = [&old, &new].map(|bake| bake.progress.image.clone().unwrap());
    // A forced bake of the first one's inputs made another image.
    let forced: AmiId = "ami-0123456789abcdef0".parse().unwrap();
    desk.edit(&key(&old_image), &key(&forced), |doc| doc["image"] = json!(forced));
    let made = Key { pk: format!("DIGEST#{}", old.spec.digest), sk: "IMAGE".into() };
    desk.edit(&made, &made, |doc| doc["image"] = json!(forced));
    let last = || block_on(ledger.image(&old.spec.digest)).unwrap().map(|set| set.home.image);
    assert_eq!(last(), Some(forced.clone()));
    // The older one's record goes without it…
    block_on(ledger.forget_image(&old.spec.digest, &old_image)).unwrap();
    assert_eq!(last(), Some(forced.clone()));
    // … and the last one's takes its digest along. Another digest's image is nobody's business here.
    block_on(ledger.forget_image(&old.spec.digest, &new_image)).unwrap();
    block_on(ledger.forget_image(&old.spec.digest, &forced)).unwrap();
    assert_eq!(last(), None);
    let left: Vec<Key> = desk.cloud.rows().into_iter().map(|row| row.key).collect();
    assert!(left.contains(&key(&new_image)), "{left:?}");
    assert!(
        !left.contains(&key(&old_image)) && !left.contains(&key(&forced)) && !left.contains(&made),
        "{left:?}"
    );
}

#[test]
fn an_image_that_the_first_stage_recorded_stays_known_when_another_one_is_made_of_its_digest() {
    let desk = of_the_first_stage();
    let ledger = Ledger(&desk.cloud);
    let row = desk.cloud.rows().into_iter().find(|row| row.key.sk == "IMAGE").unwrap();
    let digest: Digest = row.key.pk["DIGEST#".len()..].parse().unwrap();
    let before = block_on(ledger.image(&digest)).unwrap().unwrap();
    let mut bake = block_on(ledger.bakes(&pipeline(), 99)).unwrap().remove(0);
    bake.spec.digest = digest.clone();
    let until = desk.now() + jiff::SignedDuration::from_secs(60);
    let Claim::Granted(fence) = block_on(ledger.claim(&bake.spec, desk.now(), until, None)).unwrap() else {
        panic!("nobody holds it")
    };
    let record = |image: &str| ImageSet {
        home: ImageCopy { image: image.parse().unwrap(), snapshots: Vec::new() },
        bake: bake.spec.id.clone(),
        digest: Some(digest.clone()),
        fence,
        uses: 0,
        takers: Vec::new(),
        ..before.clone()
    };
    // The same one again: what was counted stays, wherever it was counted.
    bake.progress.image = Some(before.home.image.clone());
    block_on(ledger.record_image(&digest, &record(before.home.image.as_str()))).unwrap();
    assert_eq!(block_on(ledger.image(&digest)).unwrap().unwrap().uses, before.uses);

    let desk = of_the_first_stage();
    let ledger = Ledger(&desk.cloud);
    block_on(ledger.claim(&bake.spec, desk.now(), until, None)).unwrap();
    block_on(ledger.record_image(&digest, &record("ami-0123456789abcdef0"))).unwrap();
    assert_eq!(
        block_on(ledger.image(&digest)).unwrap().unwrap().home.image.as_str(),
        "ami-0123456789abcdef0"
    );
    let rows = desk.cloud.rows();
    assert!(rows.iter().any(|row| row.key.pk == format!("IMAGE#{}", before.home.image)), "{rows:?}");
    // A bake that uses it counts that, as before.
    bake.progress.status = Status::Running;
    bake.spec.id = "again".parse().unwrap();
    block_on(ledger.save_reusing(&mut Versioned::new(bake))).unwrap();
}

#[test]
fn a_record_is_forgotten_after_a_year_and_not_while_its_bake_s_image_is_there() {
    let bench = Bench::new();
    let artifact = bench.upload("v1.jar");
    let expires = |id: &str| {
        let table = bench.cloud.table();
        let (_, index) = table.iter().find(|(row, _)| row.key.sk == format!("BAKE#{id}")).unwrap();
        index.expires
    };
    let made = bench.bake("made", &artifact);
    assert_eq!(expires("made"), None, "its record says that the image is ours");
    bench.reuse("reused", &artifact);
    let year = bench.cloud.now() + jiff::SignedDuration::from_hours(24 * 365);
    assert!(expires("reused").unwrap() > year);
    bench.cloud.pass(jiff::SignedDuration::from_secs(60));
    let failed = bench.start("failed", &bench.upload("v2.jar")).unwrap();
    assert_eq!(expires("failed"), None);
    bench.fail("failed", &ovenbird_core::Error::LeaseLost { bake: failed.bake.spec.id });
    assert!(expires("failed").unwrap() > year);
    // Two newer ones, and the first image is retired.
    bench.bake("newer", &bench.upload("v3.jar"));
    bench.cloud.pass(jiff::SignedDuration::from_secs(60));
    bench.bake("newest", &bench.upload("v4.jar"));
    bench.cloud.pass(jiff::SignedDuration::from_secs(60));
    let plan = bench.prune();
    assert_eq!(
        plan.retire.iter().map(|one| Some(&one.image)).collect::<Vec<_>>(),
        [made.progress.image.as_ref()]
    );
    let forgotten = expires("made").unwrap();
    assert!(forgotten > year);
    // Again, as a retry whose first answer was lost: it is no later.
    block_on(ovenbird_core::steps::prune::retire(&plan.retire[0], &bench.cloud, bench.cloud.now())).unwrap();
    assert_eq!(expires("made"), Some(forgotten));
}

#[test]
fn what_stays_of_a_failed_bake_is_not_forgotten() {
    let bench = Bench::new();
    let made = bench.start("one", &bench.upload("v1.jar")).unwrap();
    let builder = made.bake.progress.builder.unwrap();
    let keep = [(ovenbird_core::domain::tags::TAG_KEEP.to_owned(), String::new())].into();
    bench.cloud.with(|world| world.create_tags(&[builder.to_string()], &keep, false)).unwrap();
    bench.fail("one", &ovenbird_core::Error::LeaseLost { bake: made.bake.spec.id });
    assert_eq!(bench.record("one").progress.forgotten, None);
}

#[test]
fn the_newest_bakes_are_read_and_no_more() {
    let bench = Bench::new();
    for number in 0..3 {
        bench.bake(&format!("bake-{number}"), &bench.upload(&format!("v{number}.jar")));
        bench.cloud.pass(jiff::SignedDuration::from_secs(60));
    }
    let ledger = Ledger(&bench.cloud);
    let ids = |most: usize| -> Vec<String> {
        let bakes = block_on(ledger.bakes(&pipeline(), most)).unwrap();
        bakes.into_iter().map(|bake| bake.spec.id.to_string()).collect()
    };
    let queries = || bench.cloud.calls().iter().filter(|call| call.actions[0] == "dynamodb:Query").count();
    let before = queries();
    assert_eq!(ids(2), ["bake-2", "bake-1"]);
    assert_eq!(queries() - before, 1);
    assert_eq!(ids(9), ["bake-2", "bake-1", "bake-0"]);
    // Of those of the first stage no index knows the time.
    let desk = of_the_first_stage();
    let bakes = block_on(Ledger(&desk.cloud).bakes(&pipeline(), 2)).unwrap();
    assert_eq!(bakes.len(), 2);
    assert!(bakes[0].spec.started > bakes[1].spec.started);
    // A view of many pipelines tells of them only where there are no others.
    assert_eq!(block_on(Ledger(&desk.cloud).newest_bakes(&pipeline(), 2)).unwrap(), bakes);
    let before = queries();
    assert_eq!(block_on(ledger.newest_bakes(&pipeline(), 9)).unwrap().len(), 3);
    assert_eq!(queries() - before, 1);
}

#[test]
fn pipelines_are_noted_when_they_are_pushed_and_those_of_before_with_the_first() {
    let bench = Bench::new();
    bench.cloud.put("recipes/older/current.json", "{}");
    let ledger = Ledger(&bench.cloud);
    let known = || -> Vec<String> {
        block_on(ledger.pipelines(&bench.cloud)).unwrap().iter().map(ToString::to_string).collect()
    };
    let listings = || bench.cloud.calls().iter().filter(|call| call.actions[0] == "s3:ListBucket").count();
    // Nobody pushed since the first stage.
    assert_eq!(known(), ["older", "storefront"]);
    block_on(ledger.note_pipeline(&"newer".parse().unwrap(), &bench.cloud)).unwrap();
    let before = listings();
    assert_eq!(known(), ["newer", "older", "storefront"]);
    block_on(ledger.note_pipeline(&"newer".parse().unwrap(), &bench.cloud)).unwrap();
    block_on(ledger.note_pipeline(&"last".parse().unwrap(), &bench.cloud)).unwrap();
    assert_eq!(known(), ["last", "newer", "older", "storefront"]);
    assert_eq!(listings(), before, "the bucket is not looked through any more");
}
