//! An account in which bakes were made and promoted, and a hand that changes one thing in it: so each guard of a
//! decision is met where no second one can hide that it is gone.

use std::{
    collections::BTreeMap,
    future::Future as _,
    pin::pin,
    task::{Context, Poll, Waker},
};

use futures::executor::block_on;
use jiff::{SignedDuration, Timestamp};
use ovenbird_core::{
    Result,
    domain::{
        bake::{Bake, Stage, Status},
        id::{AmiId, BakeId, PipelineName},
        tags::{TAG_BAKE, TAG_STACK},
    },
    functions,
    ports::{Bucket as _, Expect, Images as _, Index, Key, Retirement as _, Stack as _, Table as _, Write},
    store::{Channel, Ledger, keys, recipes::RecipePointer},
};
use ovenbird_sim::RunInstances;
use ovenbird_testkit::Cloud;
use ovenbird_testkit::walk::{
    account,
    scenarios::{PLAIN, Scenario},
};
use serde_json::{Value, json};

use super::bench::store;

/// Promoted by `before-0`, then `before-1`: the first image is the old one, the second one the channel's.
pub const TWO: Scenario = Scenario { before: &["v1.jar", "v2.jar"], ..PLAIN };

/// The same of a recipe that asks for no attributes of its images.
pub const BARE: Scenario = Scenario { promote: "imdsv2 = false\nderegistration-protection = false\n", ..TWO };

/// An account, looked at and changed by hand.
#[derive(Clone)]
pub struct Desk {
    pub cloud: Cloud,
}

impl Desk {
    pub fn new(scenario: &Scenario) -> Self {
        Self { cloud: scenario.account().0 }
    }

    pub fn now(&self) -> Timestamp {
        self.cloud.now()
    }

    /// The record of a bake.
    #[track_caller]
    pub fn bake(&self, name: &str) -> Bake {
        let found = block_on(Ledger(&self.cloud).bake(&pipeline(), &name.parse().unwrap())).unwrap();
        found.unwrap_or_else(|| panic!("no record of {name}")).into_inner()
    }

    /// A bake that takes the old image for its own, as a rollback does: all that is left of it is the promotion.
    pub fn reuse(&self, change: impl FnOnce(&mut Bake)) -> Bake {
        let mut bake = self.bake("before-0");
        (bake.spec.id, bake.spec.started) = ("back".parse().unwrap(), self.now());
        (bake.progress.status, bake.progress.stage) = (Status::Running, Stage::Launch);
        bake.progress.reused = true;
        bake.spec.artifact.as_mut().unwrap().uploaded = self.now();
        bake.progress.timeline.truncate(1);
        change(&mut bake);
        store(&self.cloud, &bake);
        bake
    }

    /// The image that a bake made.
    #[track_caller]
    pub fn image(&self, name: &str) -> AmiId {
        self.bake(name).progress.image.unwrap()
    }

    pub fn exists(&self, image: &AmiId) -> bool {
        block_on(self.cloud.image(image)).unwrap().is_some()
    }

    pub fn channel(&self) -> Option<Channel> {
        let name = "production".parse().unwrap();
        block_on(Ledger(&self.cloud).channel(&pipeline(), &name)).unwrap()
    }

    /// What the channel points at.
    pub fn current(&self) -> Option<AmiId> {
        Some(self.channel()?.current?.image)
    }

    /// What the parameter names.
    pub fn parameter(&self) -> Option<String> {
        self.cloud.parameters().get(&"/images/storefront/production".parse().unwrap()).cloned()
    }

    /// Changes an item of the table by hand, or makes a copy of it under another name.
    #[track_caller]
    pub fn edit(&self, from: &Key, to: &Key, change: impl FnOnce(&mut Value)) {
        block_on(self.cloud.commit(vec![self.changed(from, to, change)])).unwrap();
    }

    /// The write of such a change.
    #[track_caller]
    pub fn changed(&self, from: &Key, to: &Key, change: impl FnOnce(&mut Value)) -> Write {
        let rows: BTreeMap<Key, _> =
            self.cloud.rows().into_iter().map(|row| (row.key.clone(), row)).collect();
        let mut doc = rows.get(from).unwrap_or_else(|| panic!("no item {from:?}")).doc.clone();
        change(&mut doc);
        let expect = rows.get(to).map_or(Expect::Absent, |row| Expect::Version(row.version));
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let image = text(&doc["image"]).or_else(|| text(&doc["current"]["image"]));
        let index = Index {
            status: text(&doc["status"])
                .filter(|_| to.sk.starts_with("BAKE#"))
                .zip(text(&doc["started"]).or(Some(String::new()))),
            image: image.map(|image| image.parse().unwrap()),
            time: None,
            expires: None,
        };
        Write::Put { key: to.clone(), doc, expect, index }
    }

    /// Changes the record of a bake.
    #[track_caller]
    pub fn edit_bake(&self, name: &str, change: impl FnOnce(&mut Value)) {
        self.edit(&bake_key(name), &bake_key(name), change);
    }

    /// Adds the record of another bake, like that of the channel's.
    #[track_caller]
    pub fn add_bake(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let like = self.channel().unwrap().current.unwrap().bake;
        self.edit(&bake_key(like.as_str()), &bake_key(name), |doc| {
            doc["bake"] = json!(name);
            change(doc);
        });
    }

    /// Changes the channel.
    #[track_caller]
    pub fn edit_channel(&self, change: impl FnOnce(&mut Value)) {
        self.edit(&channel_key("production"), &channel_key("production"), change);
    }

    /// Changes the record of a bake's image.
    #[track_caller]
    pub fn edit_image(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let key = Key { pk: format!("IMAGE#{}", self.image(name)), sk: "SET".into() };
        self.edit(&key, &key, change);
    }

    /// Sets a tag.
    pub fn tag(&self, resource: &str, name: &str, value: &str) {
        let tags = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        self.cloud.with(|world| world.create_tags(&[resource.to_owned()], &tags, false)).unwrap();
    }

    /// Gives something the tags of a bake's.
    pub fn tag_as_of(&self, resource: &str, bake: &str) {
        self.tag(resource, TAG_STACK, self.cloud.stack().as_str());
        self.tag(resource, TAG_BAKE, bake);
    }

    /// Starts an instance by hand, and waits until it runs; gives its id.
    pub fn start(&self, image: &AmiId) -> String {
        let now = self.now();
        let request =
            RunInstances { image: image.to_string(), min_count: 1, max_count: 1, ..RunInstances::default() };
        let started = self.cloud.with(|world| world.run_instances(now, &request)).unwrap();
        self.cloud.pass(SignedDuration::from_secs(10));
        started[0].id.to_string()
    }

    /// An image that EC2 is still making, of an instance that was started by hand.
    pub fn pending_image(&self) -> AmiId {
        let like = self.current().unwrap();
        let tags = block_on(self.cloud.image(&like)).unwrap().unwrap().tags;
        let instance = self.start(&like).parse().unwrap();
        block_on(self.cloud.create(&instance, &"pending".parse().unwrap(), "", false, &tags)).unwrap()
    }

    /// The text of the pipeline's recipe.
    pub fn recipe(&self) -> String {
        let pointer = block_on(self.cloud.text(&keys::recipe_pointer(&pipeline()))).unwrap().unwrap();
        let pointer: RecipePointer = serde_json::from_str(&pointer).unwrap();
        block_on(self.cloud.text(&keys::recipe(&pipeline(), &pointer.version))).unwrap().unwrap()
    }

    /// Pushes a recipe.
    pub fn push(&self, text: &str) {
        account::push(&self.cloud, text);
    }

    /// What a prune run finds: the answer to the state machine, and the whole plan in the bucket.
    pub fn plan(&self) -> (Value, Value) {
        let input = json!({"run": "a-prune", "action": "plan", "request": {}});
        let answer = block_on(functions::prune(&self.cloud, input, self.now())).unwrap();
        let key = keys::prune_plan(&BakeId::parse("a-prune").unwrap());
        let plan = block_on(self.cloud.text(&key)).unwrap().unwrap();
        (answer, serde_json::from_str(&plan).unwrap())
    }

    /// What a prune run thinks of an image.
    #[track_caller]
    pub fn verdict(&self, image: &AmiId) -> Value {
        let (_, plan) = self.plan();
        let all = ["retire", "keep"].into_iter().flat_map(|list| plan[list].as_array().unwrap().clone());
        let mut found = all.into_iter().filter(|verdict| verdict["image"] == image.as_str());
        found.next().unwrap_or_else(|| panic!("no verdict on {image}: {plan}"))
    }

    /// One item of a plan is acted on.
    pub fn act(&self, action: &str, item: &Value) -> Result<Value> {
        block_on(functions::prune(&self.cloud, json!({"action": action, "item": item}), self.now()))
    }

    /// The bakes that a prune run would clean up after.
    pub fn dead(&self) -> Vec<String> {
        let (answer, _) = self.plan();
        let dead = answer["dead_bakes"].as_array().unwrap().iter();
        dead.map(|dead| dead["bake"].as_str().unwrap().to_owned()).collect()
    }

    /// Adds the record of a bake that expired while it ran, long ago.
    pub fn add_expired(&self, name: &str) {
        self.add_bake(name, |doc| {
            doc["status"] = json!("running");
            doc["expires"] = json!("2020-01-01T00:00:00Z");
        });
    }

    /// Adds images of ours, each newer than the one before, whose bakes ended well.
    pub fn add_images(&self, count: usize) {
        let like = self.current().unwrap();
        let mut tags = block_on(self.cloud.image(&like)).unwrap().unwrap().tags;
        let instance = self.start(&like);
        for name in (0..count).map(|number| format!("more-{number}")) {
            tags.insert(TAG_BAKE.into(), name.clone());
            let (of, called) = (instance.parse().unwrap(), name.parse().unwrap());
            let image = block_on(self.cloud.create(&of, &called, "", false, &tags)).unwrap();
            self.add_bake(&name, |doc| doc["image"] = json!(image));
            self.cloud.pass(SignedDuration::from_secs(10));
        }
        self.cloud.with(|world| world.terminate_instances(&[instance], false)).unwrap();
        self.cloud.pass(SignedDuration::from_secs(10));
    }

    /// How many snapshots there are.
    pub fn snapshots(&self) -> usize {
        block_on(self.cloud.snapshots(None)).unwrap().len()
    }

    /// How often an action was called.
    pub fn times(&self, action: &str) -> usize {
        self.cloud.calls().iter().filter(|call| call.actions[0] == action).count()
    }

    /// Does a piece of work; just before it calls `action` for the given time, counted from 0, something else happens.
    pub fn interrupt<T>(
        &self,
        work: impl AsyncFn(&Cloud) -> T,
        action: &str,
        time: usize,
        meanwhile: impl FnOnce(),
    ) -> T {
        // Which number the call has is seen on a copy of the account.
        let rehearsal = self.cloud.clone();
        let first = rehearsal.calls().len();
        drop(block_on(work(&rehearsal)));
        let calls = rehearsal.calls();
        let mut numbers = (first..calls.len()).filter(|number| calls[*number].actions[0] == action);
        self.cloud.pause_before(numbers.nth(time).unwrap_or_else(|| panic!("no call of {action}")));
        let mut work = pin!(work(&self.cloud));
        let early = work.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(early, Poll::Pending) && self.cloud.take_pause());
        meanwhile();
        block_on(work)
    }
}

/// The pipeline of all that.
pub fn pipeline() -> PipelineName {
    PipelineName::parse("storefront").unwrap()
}

pub fn bake_key(name: &str) -> Key {
    Key { pk: "PIPELINE#storefront".into(), sk: format!("BAKE#{name}") }
}

pub fn channel_key(name: &str) -> Key {
    Key { pk: "PIPELINE#storefront".into(), sk: format!("CHANNEL#{name}") }
}
