//! Accounts in memory, as operators have them: an empty one, a usual one in which something of everything is wrong, and
//! a large one.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, mpsc},
};

use futures::executor::block_on;
use jiff::{SignedDuration, Timestamp};
use ovenbird_core::{
    Error, Result,
    domain::{
        id::{AmiId, BakeId, InstanceId, PipelineName},
        tags::TAG_BAKE,
    },
    functions,
    ports::{Bucket as _, Expect, Index, Key, Table as _, Write},
    store::{Ledger, keys, recipes::RecipePointer},
    views::{
        doctor::{self, Checkup, Deployed},
        status::Fleet,
    },
};
use ovenbird_sim::{RunInstances, World};
use ovenbird_testkit::{
    Cloud, Script, SimulatedHardware,
    walk::{
        account::{push, walk},
        machine::Diary,
        scenarios::{Follows, PLAIN, Run, Scenario},
    },
};
use ovenbird_ui::{Account, PruneRun};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// An account, and what only operators are told of it.
pub struct Desk {
    pub cloud: Cloud,
    pub runs: Vec<PruneRun>,
    pub failed: Vec<(BakeId, Timestamp)>,
    /// Why nobody may ask for the machines.
    pub no_fleet: Option<fn() -> Error>,
    /// What was asked beside the ports, as AWS is asked for it.
    pub asked: RefCell<Vec<&'static str>>,
    /// EC2 answers when there is one more of these.
    pub gate: Option<Arc<Semaphore>>,
    /// Whom prune runs are told that were started.
    pub started: Option<mpsc::Sender<(String, Value)>>,
    /// Whom the calls are told that were made after so many, when all is over.
    pub counted: Option<(usize, mpsc::Sender<Vec<&'static str>>)>,
}

impl Drop for Desk {
    fn drop(&mut self) {
        if let Some((before, told)) = self.counted.take() {
            let calls = self.cloud.calls();
            let calls = calls[before..].iter().map(|call| call.actions[0]);
            let _ = told.send(calls.chain(self.asked.take()).collect());
        }
    }
}

impl Account for Desk {
    type Cloud = Cloud;

    fn cloud(&self) -> &Cloud {
        &self.cloud
    }

    async fn fleet(&self) -> Result<Fleet> {
        if let Some(gate) = &self.gate {
            gate.acquire().await.unwrap().forget();
        }
        self.asked.borrow_mut().push("ec2:DescribeInstances");
        if let Some(why) = self.no_fleet {
            return Err(why());
        }
        let mut fleet: BTreeMap<AmiId, BTreeSet<InstanceId>> = BTreeMap::new();
        self.cloud.with(|world| {
            for one in world.instances() {
                let lives = matches!(
                    one.state,
                    ovenbird_sim::InstanceState::Pending | ovenbird_sim::InstanceState::Running
                );
                if lives && !one.tags.contains_key(TAG_BAKE) {
                    fleet.entry(one.image.clone()).or_default().insert(one.id.clone());
                }
            }
        });
        Ok(fleet)
    }

    async fn caller(&self) -> Result<String> {
        self.asked.borrow_mut().push("sts:GetCallerIdentity");
        Ok("user/alice".to_owned())
    }

    async fn starter(&self, _: &BakeId) -> Result<Option<String>> {
        self.asked.borrow_mut().push("states:DescribeExecution");
        Ok(None)
    }

    async fn prune_runs(&self, most: u8) -> Result<Vec<PruneRun>> {
        self.asked.borrow_mut().push("states:ListExecutions");
        Ok(self.runs.iter().take(most.into()).cloned().collect())
    }

    async fn start_prune(&self, run: &BakeId, input: &Value) -> Result<()> {
        if let Some(told) = &self.started {
            let _ = told.send((run.to_string(), input.clone()));
        }
        Ok(())
    }

    async fn checkup(&self, now: Timestamp) -> Result<Checkup> {
        let stack = Deployed {
            bucket: "bucket".to_owned(),
            bake_machine: "arn:bake".to_owned(),
            prune_machine: "arn:prune".to_owned(),
            topic: Some("arn:topic".to_owned()),
            ..Deployed::default()
        };
        let facts = doctor::gather(&self.cloud, "ovenbird", Ok(stack), "0.1.0", false, now).await;
        Ok(doctor::checkup(&facts))
    }

    async fn failed(&self) -> Result<Vec<(BakeId, Timestamp)>> {
        self.asked.borrow_mut().push("states:ListExecutions");
        Ok(self.failed.clone())
    }
}

/// Nothing but a stack.
pub fn empty() -> Desk {
    let world = World::new("123456789012", "us-east-1");
    let cloud = Cloud::new(
        world,
        SimulatedHardware::new(|_| Script::default()),
        "2026-01-01T00:00:00Z".parse().unwrap(),
    );
    Desk::of(cloud)
}

/// A runtime and a web application on it, with a group of machines: two versions promoted, a third one on its way and
/// paused, a bake that failed, a machine on an old image, a parameter that somebody wrote.
pub fn usual() -> Desk {
    let scenario = Scenario {
        layered: true,
        follows: Follows::Group(3),
        soak: "soak = 7\n",
        before: &["v1.jar", "v2.jar"],
        ..PLAIN
    };
    let cloud = scenario.account().0;
    let desk = Desk::of(cloud);
    let old = desk.channel("storefront", "production").previous[0].image.clone();
    let paused = desk.recipe("storefront").replace("watch = \"20s\"", "watch = \"20s\"\npause-before = 2");
    push(&desk.cloud, &paused);
    desk.bake("on-its-way", Run::Upload("v3.jar"));
    let now = desk.cloud.now();
    let one = RunInstances { image: old.to_string(), min_count: 1, max_count: 1, ..RunInstances::default() };
    desk.cloud.with(|world| world.run_instances(now, &one)).unwrap();
    desk.cloud.put_parameter(&"/images/storefront/production".parse().unwrap(), old.as_str());
    desk.edit("PIPELINE#storefront", "BAKE#on-its-way", "BAKE#broken", |doc| {
        let later = SignedDuration::from_secs(3_600);
        shift(doc, later);
        doc["bake"] = json!("broken");
        doc["status"] = json!("failed");
        doc["stage"] = json!("validation");
        doc["image"] = Value::Null;
        doc["rollout"] = Value::Null;
        doc["failure"] = json!({
            "error": "TestsFailed", "stage": "validation",
            "cause": "1 of 3 tests failed: serves\nhint: See what each test saw: `ovenbird tests broken`",
        });
    });
    let of = |file: &str| {
        let (pipeline, bake) = ("storefront".parse().unwrap(), "broken".parse().unwrap());
        keys::of_instance(&pipeline, &bake, ovenbird_core::ports::Role::Builder, file)
    };
    let times = json!({"started": "2026-01-01T00:00:00Z", "ended": "2026-01-01T00:01:00Z"});
    let mut steps = times.clone();
    steps["steps"] = json!([
        {"name": "fetch", "exit": {"status": 0}, "tries": 1, "milliseconds": 420, "output_tail": ""},
        {"name": "packages", "exit": {"status": 0}, "tries": 2, "milliseconds": 8_310,
         "output_tail": "Reading package lists...\nSetting up nginx (1.22.1-9) ...\n"},
    ]);
    let mut tests = times;
    tests["tests"] = json!([
        {"name": "nginx runs", "passed": true, "milliseconds": 3_012, "detail": ""},
        {"name": "serves", "passed": false, "milliseconds": 30_000,
         "detail": "http://127.0.0.1:8080/ answered 502 for 30 s:\nBad Gateway"},
    ]);
    desk.cloud.put(&of(keys::PROVISION_REPORT), steps.to_string());
    desk.cloud.put(&of(keys::TEST_REPORT), tests.to_string());
    desk.planned()
}

/// So many pipelines of ten images, a hundred bakes and a parameter each.
pub fn large(pipelines: usize) -> Desk {
    let desk = usual();
    let rows = desk.cloud.rows();
    let find = |sk: &str| {
        let found = rows.iter().find(|row| row.key.pk == "PIPELINE#storefront" && row.key.sk == sk);
        found.unwrap().doc.clone()
    };
    let (bake, channel) = (find("BAKE#before-2"), find("CHANNEL#production"));
    let recipe = desk.recipe("jvm-runtime");
    let start = desk.cloud.now();
    for number in 0..pipelines {
        let name: PipelineName = format!("service-{number:03}").parse().unwrap();
        push(&desk.cloud, &recipe.replace("jvm-runtime", name.as_str()));
        let mut newest = Vec::new();
        for one in 0..100_i64 {
            let id = format!("{name}-{one:03}");
            let started = start - SignedDuration::from_hours(one);
            let image = (one % 10 == 0).then(|| format!("ami-{number:04x}{one:04x}"));
            let mut doc = bake.clone();
            doc["bake"] = json!(id);
            doc["pipeline"] = json!(name);
            doc["image"] = json!(image);
            doc["rollout"] = Value::Null;
            shift(&mut doc, started.duration_since(bake["started"].as_str().unwrap().parse().unwrap()));
            if let Some(image) = image {
                let mut target = channel["current"].clone();
                target["image"] = json!(image);
                target["bake"] = json!(id);
                target["promoted"] = json!(started);
                target["generation"] = json!(100 - one);
                target["rollout"] = Value::Null;
                newest.push(target);
            } else {
                doc["status"] = json!("superseded");
            }
            let index = Index { time: Some((name.clone(), started)), ..Index::default() };
            desk.write(&format!("PIPELINE#{name}"), &format!("BAKE#{id}"), doc, index);
        }
        let mut doc = channel.clone();
        doc["pipeline"] = json!(name);
        doc["name"] = json!("stable");
        doc["current"] = newest.remove(0);
        doc["previous"] = json!(newest);
        doc["rolling"] = Value::Null;
        let parameter = format!("/images/{name}/stable");
        desk.cloud.put_parameter(&parameter.parse().unwrap(), doc["current"]["image"].as_str().unwrap());
        desk.write(&format!("PIPELINE#{name}"), "CHANNEL#stable", doc, Index::default());
        let owner = json!({"parameter": parameter, "pipeline": name, "channel": "stable"});
        desk.write("PARAMETERS", &format!("PARAMETER#{parameter}"), owner, Index::default());
    }
    // A prune run that has something to say of every image.
    let mut plan = desk.plan();
    let like = plan["keep"][0].clone();
    for number in 0..pipelines {
        for one in 0..10 {
            let mut verdict = like.clone();
            verdict["pipeline"] = json!(format!("service-{number:03}"));
            verdict["image"] = json!(format!("ami-{number:04x}{:04x}", one * 10));
            plan["keep"].as_array_mut().unwrap().push(verdict);
        }
    }
    desk.cloud.put(&keys::prune_plan(&desk.runs[0].name), plan.to_string());
    desk
}

/// Lets a bake be at another time.
fn shift(bake: &mut Value, by: SignedDuration) {
    let later = |moment: &mut Value| {
        if let Some(at) = moment.as_str() {
            *moment = json!(at.parse::<Timestamp>().unwrap() + by);
        }
    };
    later(&mut bake["started"]);
    for span in bake["timeline"].as_array_mut().unwrap() {
        later(&mut span["start"]);
        later(&mut span["end"]);
    }
}

impl Desk {
    fn of(cloud: Cloud) -> Self {
        let (runs, failed) = (Vec::new(), Vec::new());
        Self {
            cloud,
            runs,
            failed,
            no_fleet: None,
            gate: None,
            started: None,
            counted: None,
            asked: RefCell::default(),
        }
    }

    /// Runs an execution to its end, or to where it pauses.
    pub fn bake(&self, name: &str, run: Run) {
        walk(&self.cloud, &[(name.to_owned(), (0, run))], &Diary::default());
    }

    pub fn channel(&self, pipeline: &str, channel: &str) -> ovenbird_core::store::Channel {
        let (pipeline, channel) = (pipeline.parse().unwrap(), channel.parse().unwrap());
        block_on(Ledger(&self.cloud).channel(&pipeline, &channel)).unwrap().unwrap()
    }

    /// The text of a pipeline's recipe.
    pub fn recipe(&self, pipeline: &str) -> String {
        let pipeline = pipeline.parse().unwrap();
        let pointer = block_on(self.cloud.text(&keys::recipe_pointer(&pipeline))).unwrap().unwrap();
        let pointer: RecipePointer = serde_json::from_str(&pointer).unwrap();
        block_on(self.cloud.text(&keys::recipe(&pipeline, &pointer.version))).unwrap().unwrap()
    }

    /// Makes a plan of a prune run.
    pub fn planned(mut self) -> Self {
        let input = json!({"run": "prune-1", "action": "plan", "request": {}});
        block_on(functions::prune(&self.cloud, input, self.cloud.now())).unwrap();
        let started = self.cloud.now();
        self.runs.insert(0, PruneRun { name: "prune-1".parse().unwrap(), started, succeeded: Some(true) });
        self
    }

    /// The newest plan.
    pub fn plan(&self) -> Value {
        let text = block_on(self.cloud.text(&keys::prune_plan(&self.runs[0].name))).unwrap().unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Changes an item, or makes a changed copy of it.
    pub fn edit(&self, pk: &str, from: &str, to: &str, change: impl FnOnce(&mut Value)) {
        let rows = self.cloud.rows();
        let row = rows.iter().find(|row| row.key.pk == pk && row.key.sk == from);
        let mut doc = row.unwrap_or_else(|| panic!("no item {pk} {from}")).doc.clone();
        change(&mut doc);
        let time = doc["started"].as_str().map(|at| at.parse().unwrap());
        let pipeline = doc["pipeline"].as_str().map(|name| name.parse().unwrap());
        let index = Index { time: pipeline.zip(time), ..Index::default() };
        self.write(pk, to, doc, index);
    }

    pub fn write(&self, pk: &str, sk: &str, doc: Value, index: Index) {
        let key = Key { pk: pk.to_owned(), sk: sk.to_owned() };
        let before = block_on(self.cloud.get(&key)).unwrap();
        let expect = before.map_or(Expect::Absent, |row| Expect::Version(row.version));
        block_on(self.cloud.commit(vec![Write::Put { key, doc, expect, index }])).unwrap();
    }
}
