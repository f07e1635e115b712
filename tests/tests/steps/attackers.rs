//! A pusher and an uploader of one pipeline, with the worst intentions and the rights of their policies: whatever they
//! do, another pipeline stays as it is.

use std::collections::BTreeMap;

use futures::executor::block_on;
use jiff::SignedDuration;
use ovenbird_core::{
    domain::{
        artifact::ArtifactKey,
        bake::{Document, Stage, Status, To},
        id::{BakeId, PipelineName},
        trigger::{Pushed, Trigger},
    },
    ports::{ImageState, Images as _, Parameters as _},
    steps::{clean_up, launch_builder::take_over, promote, register},
    store::{Ledger, Push, keys, recipes::RecipePointer},
};
use proptest::prelude::*;
use serde_json::Value;

use super::bench::{Bench, pipeline};

/// What they may do, and what happens meanwhile.
#[derive(Debug, Clone)]
enum Act {
    /// A recipe is pushed: which, and what its pointer says of its files.
    Push(usize, bool),
    /// A recipe is pushed, an artifact uploaded, and all that waits is baked to its end.
    Bake(usize),
    /// Something that is no pointer is written where the pointer belongs.
    Junk,
    /// A push is noted that says to be of somebody else's pipeline.
    Note,
    /// So many artifacts are uploaded, and bakes start of them.
    Upload(u8),
    /// What waits looks once more.
    Look,
    /// One of the bakes ends, well or not.
    End(bool),
    /// Their bake's promotion is asked for before its time.
    PromoteEarly,
    /// The scheduled prune runs, an hour later.
    Prune,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (0..RECIPES.len(), any::<bool>()).prop_map(|(recipe, lies)| Act::Push(recipe, lies)),
        (0..RECIPES.len()).prop_map(Act::Bake),
        (0..RECIPES.len()).prop_map(Act::Bake),
        Just(Act::Junk),
        Just(Act::Note),
        (1u8..30).prop_map(Act::Upload),
        Just(Act::Look),
        any::<bool>().prop_map(Act::End),
        Just(Act::PromoteEarly),
        Just(Act::Prune),
    ]
}

fn evil() -> PipelineName {
    "evil".parse().unwrap()
}

const NEWEST: &str = "parameter = '/aws/service/debian/release/12/latest/amd64'";

/// What stands in a recipe in the place of pipeline, base, builder and promotion.
const RECIPES: [[&str; 4]; 6] = [
    ["evil", NEWEST, "", "channel = 'production'"],
    // The parameter of the other one.
    ["evil", NEWEST, "", "channel = 'production'\nparameter = '/images/storefront/production'"],
    // Its image as a base.
    ["evil", "channel = 'storefront/production'", "", "channel = 'production'"],
    // Its name.
    ["storefront", NEWEST, "", "channel = 'production'"],
    // As many builders as a recipe may ask for.
    ["evil", NEWEST, "concurrency = 20", "channel = 'production'"],
    ["evil", "parameter = '/images/storefront/production'", "concurrency = 1", "channel = 'stable'"],
];

fn recipe([name, base, builder, promote]: [&str; 4]) -> String {
    format!(
        "pipeline = '{name}'\n[base]\n{base}\n[builder]\ninstance-types = ['c7i.large']\n{builder}\n\
         [artifact]\nto = '/opt/storefront/app.jar'\n[[step]]\nname = 'user'\n\
         shell = 'useradd --system --no-create-home storefront'\n[[test]]\nport = 22\n\
         [promote]\n{promote}\n[retain]\nnewest = 1\ndays = 0\nsoak = 0\n"
    )
}

/// All of the other pipeline that must stay: its records and leases, its parameter, and how its images stand.
#[derive(Debug, PartialEq)]
struct Theirs {
    records: BTreeMap<(String, String), Value>,
    parameter: Option<String>,
    image: Option<(String, bool)>,
    digests: Vec<String>,
}

fn theirs(bench: &Bench) -> Theirs {
    let rows = bench.cloud.rows();
    let digests: Vec<String> = rows
        .iter()
        .filter(|row| row.key.pk == "PIPELINE#storefront" && row.key.sk.starts_with("BAKE#"))
        .map(|row| format!("DIGEST#{}", row.doc["digest"].as_str().unwrap()))
        .collect();
    let own = |pk: &str| pk == "PIPELINE#storefront" || digests.iter().any(|digest| digest == pk);
    // They may stand on its channel: that is one line of its list of children.
    let child = |sk: &str| sk.starts_with("CHILD#") && sk.ends_with("#evil");
    let records = rows.iter().filter(|row| own(&row.key.pk) && !child(&row.key.sk));
    let parameter =
        block_on(bench.cloud.parameter(&"/images/storefront/production".parse().unwrap())).unwrap();
    let image = bench.channel().map(|id| {
        let image = block_on(bench.cloud.image(&id.parse().unwrap())).unwrap();
        (id, image.is_some_and(|image| image.state == ImageState::Available))
    });
    Theirs {
        records: records.map(|row| ((row.key.pk.clone(), row.key.sk.clone()), row.doc.clone())).collect(),
        parameter,
        image,
        digests,
    }
}

/// The attackers, and what they have under way.
struct Attack {
    bench: Bench,
    number: usize,
    going: Vec<Document>,
}

impl Attack {
    fn keep(&mut self, document: Document) {
        match document.next.to {
            To::Done => {
                let bake = document.bake.spec.id.clone();
                let record = block_on(Ledger(&self.bench.cloud).bake(&evil(), &bake)).unwrap().unwrap();
                let (cloud, now) = (&self.bench.cloud, self.bench.cloud.now());
                block_on(clean_up::after_success(record, document.ends.unwrap(), cloud, now)).unwrap();
            }
            _ => self.going.push(document),
        }
    }

    fn act(&mut self, act: &Act) {
        let cloud = &self.bench.cloud;
        match act {
            Act::Push(which, lies) => {
                let text = recipe(RECIPES[*which]);
                let pointer = RecipePointer::new(&text, None);
                let mut written = serde_json::to_value(&pointer).unwrap();
                if *lies {
                    written["files"] = Value::from("0".repeat(64));
                    written["bundle"] = Value::from("0".repeat(64));
                }
                // Below their own prefix, whatever the text says.
                cloud.put(&keys::recipe(&evil(), &pointer.version), text);
                cloud.put(&keys::recipe_version_pointer(&evil(), &pointer.version), written.to_string());
                cloud.put(&keys::recipe_pointer(&evil()), written.to_string());
                // The event of it; what can't be registered is refused.
                let pushed = Pushed { pipeline: evil(), at: cloud.now() };
                drop(block_on(register::register(&pushed, cloud)));
            }
            Act::Bake(which) => {
                for act in [Act::Push(*which, false), Act::Upload(1), Act::Look] {
                    self.act(&act);
                }
                while self.going.iter().any(|one| one.next.to == To::Await) {
                    self.act(&Act::End(true));
                    self.act(&Act::Look);
                }
            }
            Act::Junk => cloud.put(&keys::recipe_pointer(&evil()), "{\"version\": 7"),
            Act::Note => {
                let (version, at) = (ovenbird_core::domain::digest::sha256(b"x"), cloud.now());
                let push = Push { pipeline: evil(), version, at, by: "x".into(), message: None, git: None };
                // A note of this very moment may be there.
                drop(block_on(Ledger(cloud).note_push(&push)));
            }
            Act::Upload(count) => {
                for _ in 0..*count {
                    self.number += 1;
                    let name = format!("e{}", self.number);
                    let key = format!("artifacts/evil/{name}.jar");
                    self.bench.cloud.put(&key, name.clone());
                    let key = ArtifactKey::parse(&key).unwrap();
                    let trigger = Trigger::Upload { key, version: None, sequencer: String::new() };
                    let id = BakeId::parse(&name).unwrap();
                    match self.bench.start(&name, &trigger) {
                        Ok(document) => self.keep(document),
                        Err(error) => self.fail(&id, &error),
                    }
                }
            }
            Act::Look => {
                for document in std::mem::take(&mut self.going) {
                    if document.next.to != To::Twin && document.next.to != To::Wait
                        || document.bake.progress.stage != Stage::AwaitTurn
                    {
                        self.going.push(document);
                        continue;
                    }
                    let id = document.bake.spec.id.clone();
                    let looked = self.bench.look(&document).and_then(|seen| match seen.next.to {
                        To::Launch => block_on(take_over(seen, &self.bench.cloud, self.bench.cloud.now())),
                        _ => Ok(seen),
                    });
                    match looked {
                        Ok(document) => self.keep(document),
                        Err(error) => self.fail(&id, &error),
                    }
                }
            }
            Act::End(well) => {
                let Some(at) = self.going.iter().position(|one| one.next.to == To::Await) else { return };
                let document = self.going.remove(at);
                let id = document.bake.spec.id.clone();
                let built = self.bench.build(document, 0, *well);
                if let Err(error) = built.and_then(|document| self.bench.finish(document)) {
                    self.fail(&id, &error);
                }
            }
            Act::PromoteEarly => {
                let Some(document) = self.going.first() else { return };
                let mut document = document.clone();
                document.bake.progress.stage = Stage::Image;
                // And with the other one's image, as a document by hand could say.
                document.bake.progress.image = self.bench.channel().map(|id| id.parse().unwrap());
                document.bake.progress.tests_passed = Some(1);
                assert!(block_on(promote::run(document, cloud, cloud.now())).is_err());
            }
            Act::Prune => {
                cloud.pass(SignedDuration::from_hours(1));
                self.bench.prune();
            }
        }
    }

    fn fail(&self, id: &BakeId, error: &ovenbird_core::Error) {
        let cloud = &self.bench.cloud;
        let failure = ovenbird_core::domain::bake::Failure {
            error: error.name().into(),
            cause: error.chain(),
            stage: Stage::Launch,
        };
        let clean_up = || {
            let record = block_on(Ledger(cloud).bake(&evil(), id)).unwrap();
            block_on(clean_up::after_failure(id, record, Some(failure.clone()), false, cloud, cloud.now()))
        };
        if clean_up().is_err_and(|error| error.name() == "Unseen") {
            cloud.pass(SignedDuration::from_secs(150));
            clean_up().unwrap();
        }
        cloud.pass(SignedDuration::from_secs(5));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_pusher_and_an_uploader_do_another_pipeline_stays_as_it_is(
        acts in prop::collection::vec(act(), 1..25),
    ) {
        let bench = Bench::new();
        let good = bench.bake("good", &bench.upload("v1.jar"));
        assert_eq!((good.progress.status, good.spec.pipeline), (Status::Promoted, pipeline()));
        bench.cloud.pass(SignedDuration::from_secs(60));
        let before = theirs(&bench);
        prop_assert!(before.records.len() > 3 && before.image.as_ref().is_some_and(|(_, there)| *there));
        let mut attack = Attack { bench, number: 0, going: Vec::new() };
        for act in &acts {
            attack.act(act);
            prop_assert!(attack.bench.instances() <= 20, "{} builders", attack.bench.instances());
            prop_assert_eq!(&theirs(&attack.bench), &before, "after {:?}", act);
        }
        // And it can still be baked.
        let next = attack.bench.upload("v2.jar");
        let started = attack.bench.start("next", &next).unwrap();
        prop_assert!(matches!(started.next.to, To::Await | To::Twin), "{:?}", started.next);
    }
}

/// Else the test above would show nothing.
#[test]
fn what_they_may_do_for_their_own_pipeline_works() {
    let bench = Bench::new();
    bench.bake("good", &bench.upload("v1.jar"));
    let mut attack = Attack { bench, number: 0, going: Vec::new() };
    for act in [Act::Push(0, false), Act::Upload(3), Act::End(true), Act::Look, Act::End(true)] {
        attack.act(&act);
    }
    let channel = block_on(Ledger(&attack.bench.cloud).channel(&evil(), &"production".parse().unwrap()));
    let current = channel.unwrap().unwrap().current.unwrap();
    let record = block_on(Ledger(&attack.bench.cloud).bake(&evil(), &current.bake)).unwrap().unwrap();
    assert_eq!(record.progress.status, Status::Promoted);
}
