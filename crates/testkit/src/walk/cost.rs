//! What a bake costs on AWS, beside the machine that it runs on, and how near it comes to the limits.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Call, Cloud};
use jiff::SignedDuration;

use super::{
    account::{BAKE, PRUNE, walk},
    machine::{Diary, End},
    scenarios::{Machines, PLAIN, Run, SCENARIOS, Scenario, Times},
};

/// Times as they are on EC2: an instance is up within half a minute, an image takes minutes.
pub const USUAL: Times = Times { boot: 25, steps: 120, tests: 20, seal: 10, imaging: 300 };

/// A bake as most are.
pub const USUAL_BAKE: Scenario =
    Scenario { name: "a bake at EC2's pace", times: USUAL, deadlines: "", ..PLAIN };

/// The longest bake that a recipe allows.
pub const LONGEST: Scenario = Scenario {
    name: "the longest bake that a recipe allows",
    times: Times { boot: 30, steps: 21_000, tests: 14_000, seal: 10_000, imaging: 10_500 },
    recipe: "[validate]\nboot = true\n",
    deadlines: "[deadlines]\nbuilder = \"6h\"\nvalidation = \"4h\"\nimaging = \"3h\"\npromotion = \"30m\"\n",
    ..PLAIN
};

/// The same, and a twin that waits for it, until its tests fail and the twin begins anew.
pub const LONGEST_TWIN: Scenario = Scenario {
    name: "its twin, that waits for it in vain",
    machines: Machines::FailATest,
    runs: &[(0, Run::Upload("v1.jar")), (2, Run::Upload("v1.jar"))],
    ends: "TestsFailed",
    ..LONGEST
};

/// A prune run that finds nothing to do, as most are.
pub const IDLE_PRUNE: Scenario = Scenario {
    name: "a prune run that finds nothing to do",
    before: &["v1.jar"],
    runs: &[(0, Run::Prune)],
    ends: "succeeded",
    ..PLAIN
};

/// One walk with nothing going wrong.
#[derive(Debug)]
pub struct Walk {
    /// How it ended.
    pub end: End,
    /// What it did.
    pub diary: Diary,
    /// Its calls, by API.
    pub calls: BTreeMap<&'static str, usize>,
    /// How long it took.
    pub took: SignedDuration,
    /// How often a function was called, the retries of one state counted once.
    pub invocations: usize,
    /// How often of these it was prune.
    pub pruned: usize,
}

/// Walks a scenario with nothing going wrong, and counts what AWS would charge for.
pub fn measure(scenario: &Scenario) -> Walk {
    let (cloud, _) = scenario.account();
    measure_on(&cloud, scenario)
}

/// The same in an account that is there already.
pub fn measure_on(cloud: &Cloud, scenario: &Scenario) -> Walk {
    let (first, start) = (cloud.calls().len(), cloud.now());
    let diary = Diary::default();
    let mut ends = walk(cloud, &scenario.runs(), &diary);
    let calls = cloud.calls().split_off(first);
    let invocations: BTreeSet<_> = calls.iter().map(|call| &call.by).collect();
    let pruned = invocations.iter().filter(|by| by.ends_with("PruneArn")).count();
    let invocations = invocations.len();
    let (name, _) = scenario.runs().pop().expect("a scenario runs something");
    Walk {
        end: ends.remove(&name).expect("every execution ends"),
        diary,
        calls: by_api(&calls),
        took: cloud.now().duration_since(start),
        invocations,
        pruned,
    }
}

fn by_api<'c>(calls: impl IntoIterator<Item = &'c Call>) -> BTreeMap<&'static str, usize> {
    let mut count = BTreeMap::new();
    for call in calls {
        *count.entry(call.actions[0]).or_default() += 1;
    }
    count
}

/// What a thousand cost in us-east-1, in dollars (2026-11).
const TRANSITIONS: f64 = 0.025;
const READS: f64 = 0.000_125;
const WRITES: f64 = 0.000_625;
const GETS: f64 = 0.000_4;
const PUTS: f64 = 0.005;
const REQUESTS: f64 = 0.000_2;
/// A function of 128 MB on arm64 for a second; most take a twentieth of it, and a watch twenty.
const FUNCTION_SECOND: f64 = 0.000_013_333_4 / 8.0;
/// An invocation of prune: it has 1,024 MB, and waits for answers for a second.
const PRUNE_RUN: f64 = 8.0 * FUNCTION_SECOND;
/// An hour of c7i.large.
const MACHINE_HOUR: f64 = 0.089_25;

/// The price of a bake, part by part, in dollars.
pub fn price(walk: &Walk) -> Vec<(&'static str, f64)> {
    let calls = |names: &[&str]| names.iter().filter_map(|name| walk.calls.get(name)).sum::<usize>() as f64;
    let invocations = walk.invocations as f64;
    vec![
        ("Step Functions", walk.diary.transitions.get() as f64 * TRANSITIONS / 1000.0),
        (
            "Lambda",
            invocations * (REQUESTS / 1000.0 + 0.05 * FUNCTION_SECOND)
                + walk.pruned as f64 * PRUNE_RUN
                + walk.diary.slept.get().as_secs_f64() * FUNCTION_SECOND,
        ),
        (
            "DynamoDB",
            // An item of up to 4 KB is read by one unit and written by four.
            calls(&["dynamodb:GetItem", "dynamodb:Query"]) * READS / 1000.0
                + calls(&["dynamodb:PutItem", "dynamodb:DeleteItem"]) * 4.0 * WRITES / 1000.0,
        ),
        ("S3", (calls(&["s3:GetObject", "s3:ListBucket"]) * GETS + calls(&["s3:PutObject"]) * PUTS) / 1000.0),
        ("the machine", walk.took.as_secs_f64() / 3600.0 * MACHINE_HOUR),
    ]
}

/// A table of what the usual bake does and costs.
pub fn table() -> String {
    let walk = measure(&USUAL_BAKE);
    let mut text = format!(
        "{}: {} s, {} transitions, {} events, {} invocations, a document of at most {} bytes\n",
        USUAL_BAKE.name,
        walk.took.as_secs(),
        walk.diary.transitions.get(),
        walk.diary.most_events(),
        walk.invocations,
        walk.diary.largest.get()
    );
    let calls: Vec<String> = walk.calls.iter().map(|(api, count)| format!("{count} {api}")).collect();
    text += &format!("  {} calls: {}\n", walk.calls.values().sum::<usize>(), calls.join(", "));
    let parts = price(&walk);
    let (machine, ours) = parts.split_last().expect("it costs something");
    for (what, dollars) in &parts {
        text += &format!("  {what:15} $ {dollars:.6}\n");
    }
    let ours: f64 = ours.iter().map(|(_, dollars)| dollars).sum();
    text += &format!("  Ovenbird is {:.1} % of the machine's price\n", 100.0 * ours / machine.1);
    text
}

/// Whether every engine enters this state on the same way. A choice after a wait isn't entered when the first look
/// fails, and states inside a Map are as many as its items.
pub fn is_landmark(state: &str) -> bool {
    [&BAKE, &PRUNE]
        .iter()
        .any(|machine| machine["States"].get(state).is_some_and(|one| one["Type"] != "Choice"))
}

/// The landmarks of a scenario's last execution in the order in which each was first entered.
pub fn way_of(scenario: &str) -> Vec<String> {
    let scenario = SCENARIOS.iter().find(|one| one.name == scenario).expect("a scenario of that name");
    let (last, _) = scenario.runs().pop().expect("a scenario runs something");
    way(&measure(scenario).diary, &last)
}

fn way(diary: &Diary, execution: &str) -> Vec<String> {
    let mut way: Vec<String> = Vec::new();
    for visit in diary.states.borrow().iter() {
        let Some((of, state)) = visit.split_once('/') else { continue };
        let state = state.split('#').next().unwrap_or_default();
        if of == execution && is_landmark(state) && !way.iter().any(|seen| seen == state) {
            way.push(state.to_owned());
        }
    }
    way
}
