//! An account in memory with Ovenbird deployed, and a scenario's executions in it.

use std::{collections::BTreeMap, sync::LazyLock};

use crate::{Cloud, Fault, Pace, Script, SimulatedHardware, Work, mailbox};
use jiff::{SignedDuration, Timestamp};
use ovenbird_core::{
    domain::{
        digest,
        id::PipelineName,
        mailbox::Order,
        recipe::Recipe,
        report::{Exit, ProvisionReport, SealReport, StepReport, TestOutcome, TestReport},
        trigger::Pushed,
    },
    steps::register,
    store::{
        keys,
        recipes::{RecipePointer, RunnerPointer},
    },
};
use ovenbird_sim::{BaseImage, Device, Shortage, World, auto_scaling::Configuration};
use serde_json::{Value, json};

use super::{
    clock::{Clock, Run as Started, run_all},
    machine::{Diary, End, Execution},
    operator,
    scenarios::{Follows, Machines, Run, Scenario, Steer, Times},
    street,
};

pub(super) static BAKE: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../../../statemachine/bake.asl.json")).unwrap());
pub(super) static ROLLOUT: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../../statemachine/rollout.asl.json")).unwrap()
});
pub(super) static PRUNE: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../../../statemachine/prune.asl.json")).unwrap());

const RECIPE: &str = r#"
pipeline = "storefront"
[base]
parameter = "/aws/service/debian/release/12/latest/amd64"
[artifact]
to = "/opt/storefront/app.jar"
[[step]]
shell = "true"
[[test]]
name = "serves"
command = "true"
[promote]
channel = "production"
parameter = "/images/storefront/production"
[retain]
newest = 1
days = 0
"#;

/// The recipe's base.
const BASE: &str = r#"parameter = "/aws/service/debian/release/12/latest/amd64""#;

/// The base of a recipe that stands on the runtime.
const ON_RUNTIME: &str = r#"channel = "jvm-runtime/stable""#;

/// Where the recipe's `[promote]` ends.
const PARAMETER: &str = "parameter = \"/images/storefront/production\"\n";

/// What a layered recipe stands on.
const RUNTIME: &str = r#"
pipeline = "jvm-runtime"
[base]
parameter = "/aws/service/debian/release/12/latest/amd64"
[builder]
instance-types = ["c7i.large"]
[[step]]
shell = "true"
[[test]]
name = "has Java"
command = "true"
[promote]
channel = "stable"
"#;

impl Scenario {
    /// The account as it is before the scenario's own executions start, and how those before ended.
    pub fn account(&self) -> (Cloud, BTreeMap<String, End>) {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut world = World::new("123456789012", "us-east-1");
        // A base of the worst kind: what it is launched with must say that its volumes go with the instance.
        let base = BaseImage {
            delete_on_termination: false,
            devices: vec![Device::empty("/dev/sdf", 4)],
            ..BaseImage::debian_12("20260101", "x86_64")
        };
        let base = world.register_base(now, &base);
        // On demand there is enough of everything.
        world.set_shortages(self.lack.map(|lack| Shortage::of(lack).if_spot(true)).into_iter().collect());
        let own = self.own_bakes();
        let (machines, times) = (self.machines, self.times);
        let seconds = SignedDuration::from_secs;
        let hardware = SimulatedHardware::new(move |work| {
            let is_own = own.iter().any(|bake| work.user_data.contains(bake.as_str()));
            script(work, if is_own { machines } else { Machines::Work }, times)
        })
        .at(Pace { boot: seconds(times.boot), imaging: seconds(times.imaging), ..Pace::default() });
        let cloud = Cloud::new(world, hardware, now);
        let parameter = "/aws/service/debian/release/12/latest/amd64".parse().unwrap();
        cloud.put_parameter(&parameter, base.as_str());
        let runner = RunnerPointer { sha256: digest::sha256(b"runner") };
        cloud.put(&keys::runner_pointer("x86_64"), serde_json::to_string(&runner).unwrap());
        let mut recipe = format!("{RECIPE}{}{}{}{}", self.soak, self.builder, self.recipe, self.deadlines);
        let more = match self.follows {
            Follows::Parameter => "",
            Follows::Template => street::TEMPLATE,
            Follows::Group(_) | Follows::Mixed(_) => street::FOLLOWS,
            Follows::Asked(_) => &format!("{}{}", street::FOLLOWS, street::ASKS),
            Follows::Pair(_) => street::PAIR,
        };
        recipe = recipe.replace(PARAMETER, &format!("{PARAMETER}{}{more}", self.promote));
        match self.follows {
            Follows::Parameter => {}
            Follows::Template => {
                street::build_template(&cloud, &base);
            }
            Follows::Group(size) | Follows::Asked(size) => {
                street::build(&cloud, size, &base, Configuration::Template);
            }
            Follows::Mixed(size) => street::build(&cloud, size, &base, street::mixed),
            Follows::Pair(size) => street::build_pair(&cloud, size, &base),
        }
        let mut before: Vec<Run> = self.before.iter().map(|artifact| Run::Upload(artifact)).collect();
        if self.layered {
            push(&cloud, &format!("{RUNTIME}{}", self.deadlines));
            before.insert(0, Run::Manual(r#"{"pipeline": "jvm-runtime"}"#));
            recipe = recipe.replace(BASE, ON_RUNTIME);
        }
        push(&cloud, &recipe);
        for artifact in self.lying {
            cloud.put(&key(artifact), *artifact);
            cloud.pass(SignedDuration::from_secs(60));
        }
        let mut ends = BTreeMap::new();
        for (number, run) in before.into_iter().enumerate() {
            let name = format!("before-{number}");
            let ended = walk(&cloud, &[(name.clone(), (0, run))], &Diary::default());
            assert!(matches!(ended[&name], End::Succeeded(_)), "{ended:?}");
            ends.extend(ended);
            if matches!(self.follows, Follows::Asked(_)) {
                let name = format!("approved-{number}");
                let run = [(name, (0, Run::Steer(Steer::Resume)))];
                ends.extend(walk(&cloud, &run, &Diary::default()));
            }
            cloud.pass(SignedDuration::from_secs(60));
        }
        if self.retired > 0 {
            ends.extend(retire(&cloud, self.before[0], self.retired));
        }
        cloud.validate_parameters(self.parameters);
        // Images that are there already are fit: what is made from now on is not.
        cloud.answer_of_new(self.fitness);
        if let Some((artifact, state)) = self.lost {
            ends.extend(lose(&cloud, artifact, state));
        }
        if !self.then.is_empty() {
            push(&cloud, &format!("{recipe}{}", self.then));
        }
        cloud.answer_by(self.consistency);
        (cloud, ends)
    }
}

/// Shares the image of an artifact, and makes so many prune runs; the Recycle Bin keeps what goes.
fn retire(cloud: &Cloud, artifact: &str, runs: u64) -> BTreeMap<String, End> {
    operator::share(cloud, artifact);
    operator::keep_what_goes(cloud);
    let mut ends = BTreeMap::new();
    for number in 0..runs {
        let name = format!("before-prune-{number}");
        let ended = walk(cloud, &[(name.clone(), (0, Run::Prune))], &Diary::default());
        assert!(matches!(ended[&name], End::Succeeded(_)), "{ended:?}");
        ends.extend(ended);
        cloud.pass(SignedDuration::from_hours(8 * 24));
    }
    ends
}

/// Starts the bake `lost` of an artifact, ends its execution before the first call of a state, and lets a day pass.
fn lose(cloud: &Cloud, artifact: &'static str, state: &str) -> BTreeMap<String, End> {
    let run = [("lost".to_owned(), (0, Run::Upload(artifact)))];
    // Which number that call has is seen on a copy of the account.
    let rehearsal = cloud.clone();
    walk(&rehearsal, &run, &Diary::default());
    let site = format!("lost/{state}#");
    let call = rehearsal.calls().iter().position(|call| call.by.starts_with(&site));
    cloud.inject(call.expect("the state calls something"), Fault::ExecutionEndsBefore);
    let ended = walk(cloud, &run, &Diary::default());
    assert_eq!(ended["lost"], End::Lost);
    cloud.pass(SignedDuration::from_hours(24));
    ended
}

/// What `recipe push` does, and launch-builder after it.
pub fn push(cloud: &Cloud, text: &str) {
    let pipeline = put_recipe(cloud, text);
    let pushed = Pushed { pipeline, at: cloud.now() };
    futures::executor::block_on(register::register(&pushed, cloud)).unwrap();
}

/// What `recipe push` does by itself.
fn put_recipe(cloud: &Cloud, text: &str) -> PipelineName {
    let pipeline = Recipe::parse_pushed(text).unwrap().pipeline;
    let pointer = RecipePointer::new(text, None);
    let current = serde_json::to_string(&pointer).unwrap();
    cloud.put(&keys::recipe(&pipeline, &pointer.version), text);
    cloud.put(&keys::recipe_version_pointer(&pipeline, &pointer.version), current.clone());
    cloud.put(&keys::recipe_pointer(&pipeline), current);
    pipeline
}

/// Pushes the storefront's recipe on the runtime's channel; gives the event of it.
fn pushed(cloud: &Cloud) -> Value {
    let pipeline = put_recipe(cloud, &RECIPE.replace(BASE, ON_RUNTIME));
    created(cloud, &keys::recipe_pointer(&pipeline))
}

/// Runs executions side by side, each from its time on.
pub fn walk(cloud: &Cloud, runs: &[(String, (u64, Run))], diary: &Diary) -> BTreeMap<String, End> {
    walk_with(cloud, runs, diary, &|| panic!("nobody said what goes on while a function stands still"))
}

/// Runs executions side by side; what goes on `meanwhile` does so while a function of theirs stands still.
pub fn walk_with(
    cloud: &Cloud,
    runs: &[(String, (u64, Run))],
    diary: &Diary,
    meanwhile: &dyn Fn(),
) -> BTreeMap<String, End> {
    let clock = &Clock::default();
    let start = |name, input: Value| -> Started<'_> {
        let machine = if input.get("rollout").is_some() { &ROLLOUT } else { &BAKE };
        Box::pin(Execution { name, input, diary, cloud, clock, meanwhile }.run(machine))
    };
    let futures = runs.iter().map(|(name, (after, run))| {
        let future: Started<'_> = Box::pin(async move {
            clock.sleep(cloud, *after).await;
            let (machine, input) = match run {
                Run::Upload(artifact) => (&BAKE, uploaded(cloud, artifact)),
                Run::Manual(input) => (&BAKE, serde_json::from_str(input).unwrap()),
                Run::Push => (&BAKE, pushed(cloud)),
                Run::Prune => (&PRUNE, json!({})),
                Run::Undo(artifact) => (&PRUNE, json!({"undo": operator::baked(cloud, artifact)})),
                Run::PutParameter(artifact) => return operator::put_parameter(cloud, artifact).await,
                Run::Steer(steer) => return operator::steer(cloud, *steer).await,
                Run::PointBack => return operator::point_back(cloud).await,
                Run::Launch(artifact) => return operator::launch(cloud, artifact).await,
                Run::Share(artifact) => return operator::share(cloud, artifact),
                Run::Deregister(artifact) => return operator::deregister(cloud, artifact),
                Run::Name(artifact) => return operator::name(cloud, artifact),
            };
            Execution { name: name.clone(), input, diary, cloud, clock, meanwhile }.run(machine).await
        });
        (name.clone(), future)
    });
    run_all(cloud, clock, futures.collect(), start)
}

/// The report of a seal that is whole.
pub fn sealed() -> String {
    serde_json::to_string(&SealReport { ended: Timestamp::UNIX_EPOCH, problem: None }).unwrap()
}

fn key(artifact: &str) -> String {
    format!("artifacts/storefront/{artifact}")
}

/// Uploads an artifact; gives the event of it.
fn uploaded(cloud: &Cloud, artifact: &str) -> Value {
    let key = key(artifact);
    cloud.put(&key, artifact);
    created(cloud, &key)
}

/// The event of S3 that an object was written.
fn created(cloud: &Cloud, key: &str) -> Value {
    let object =
        json!({"key": key, "version-id": "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e", "sequencer": "0055AED6"});
    json!({"version": "0", "id": "1", "detail-type": "Object Created", "source": "aws.s3",
        "account": "123456789012", "time": cloud.now().strftime("%FT%TZ").to_string(), "region": "us-east-1",
        "resources": [], "detail": {"object": object}})
}

/// Up to a minute, always the same for the same machine.
fn own_time(folder: &str) -> i64 {
    i64::from_str_radix(&digest::sha256(folder.as_bytes()).as_str()[..4], 16).unwrap() % 60
}

/// What a machine does, as the runner in it would.
pub(crate) fn script(work: Work<'_>, machines: Machines, times: Times) -> Script {
    let (Some(order), Some(mailbox)) = (work.order, mailbox(work.user_data)) else {
        return Script::default();
    };
    let at = |file: &str| format!("{mailbox}{file}");
    let epoch = Timestamp::UNIX_EPOCH;
    let after = SignedDuration::from_secs;
    let report = |file: &str, report: String, takes: i64| Script {
        uploads: vec![(at(file), report)],
        takes: after(takes),
        ..Script::default()
    };
    let silent = Script { falls_silent: true, ..Script::default() };
    match (order, machines) {
        (_, Machines::AreSilent) => silent,
        (Order::Test, Machines::FallSilent) => silent,
        (Order::Provision, Machines::AreTakenBack) => {
            Script { taken_back: true, takes: after(times.steps), ..Script::default() }
        }
        (Order::Provision, _) => {
            let step = StepReport {
                name: "it".into(),
                exit: Exit::Status(i32::from(machines == Machines::FailAStep)),
                tries: 1,
                milliseconds: 1,
                output_tail: "it is broken".into(),
                log: None,
            };
            let steps = ProvisionReport { started: epoch, ended: epoch, steps: vec![step] };
            let uneven = if machines == Machines::AreUneven { own_time(&mailbox) } else { 0 };
            let steps = serde_json::to_string(&steps).unwrap();
            // Longer than a builder may be silent, and no longer than a boot may take.
            let boots = if machines == Machines::BootInAStep { 90 } else { 0 };
            let report = report(keys::PROVISION_REPORT, steps, times.steps + uneven + boots);
            Script { boots: after(boots), ..report }
        }
        (Order::Test, _) => {
            let passed = machines != Machines::FailATest;
            let test = TestOutcome { name: "serves".into(), passed, milliseconds: 1, detail: String::new() };
            let tests = TestReport { started: epoch, ended: epoch, tests: vec![test], units: Vec::new() };
            report(keys::TEST_REPORT, serde_json::to_string(&tests).unwrap(), times.tests)
        }
        (Order::Seal | Order::SealRunning, Machines::StopInTheSeal) => {
            Script { powers_off: true, takes: after(times.seal), ..Script::default() }
        }
        (Order::Seal | Order::SealRunning, Machines::CannotReportTheSeal) => {
            Script { takes: after(times.seal), ..silent }
        }
        (Order::Seal, _) => Script { powers_off: true, ..report(keys::SEAL_REPORT, sealed(), times.seal) },
        (Order::SealRunning, _) => report(keys::SEAL_REPORT, sealed(), times.seal),
    }
}
