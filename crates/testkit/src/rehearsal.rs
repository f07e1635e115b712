//! Bakes at AWS's pace, in virtual time.
//!
//! The real steps and the real state machine work on the model, with latencies from a table. What this says of AWS is as
//! good as the table: most of its figures are inferred, which it says of each, and nobody measured them for it.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use ovenbird_core::domain::mailbox::Order;

use crate::{
    Pace, SimulatedHardware,
    walk::{
        account::script,
        cost::{self, Walk},
        machine::End,
        scenarios::{Machines, SCENARIOS, SHORT, Scenario},
    },
};

/// The table of latencies.
pub const LATENCIES: &str = include_str!("rehearsal/latencies.tsv");

/// The scenarios that are rehearsed, with the names under which they are shown.
pub const KINDS: &[(&str, &str)] = &[
    ("plain", "an upload, baked and promoted"),
    ("reuse", "an unchanged artifact, reused"),
    ("spot", "a spot builder, imaged running"),
    ("boot validation", "tests on a fresh instance too"),
];

/// Random numbers that are the same for the same seed (`SplitMix64`).
#[derive(Debug)]
struct Chance(u64);

impl Chance {
    /// Between 0 and 1.
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A time of the table, in seconds.
    fn draw(&mut self, (p50, p99): (f64, f64)) -> f64 {
        // Box and Muller's way to a normal distribution, of which 2.326 is the 99th percentile.
        let normal = (-2.0 * (1.0 - self.unit()).ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos();
        p50 * ((p99 / p50).ln() / 2.326 * normal).exp()
    }
}

/// The table's figures: p50 and p99 by name.
pub fn latencies() -> BTreeMap<&'static str, (f64, f64)> {
    let rows = LATENCIES.lines().filter(|line| !line.starts_with('#')).skip(1);
    rows.map(|row| {
        let fields: Vec<&str> = row.split('\t').collect();
        assert!(fields.len() == 4 && !fields[3].is_empty(), "each figure says what it rests on: {row}");
        (fields[0], (fields[1].parse().unwrap(), fields[2].parse().unwrap()))
    })
    .collect()
}

/// How one bake went; times in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Bake {
    /// From the upload to the end of the execution.
    pub wall: f64,
    /// What the recipe does on the machines: steps, tests and seal.
    pub own: f64,
    /// What only AWS does: launch, stop and imaging.
    pub aws: f64,
    /// State transitions.
    pub transitions: usize,
    /// What Ovenbird costs beside the machine, in dollars.
    pub dollars: f64,
}

impl Bake {
    /// What Ovenbird adds.
    pub fn overhead(&self) -> f64 {
        self.wall - self.own - self.aws
    }
}

/// The scenario that is shown under a name.
fn scenario(name: &str) -> Scenario {
    let (_, scenario) = KINDS.iter().find(|(kind, _)| *kind == name).expect("a kind that is rehearsed");
    let found = SCENARIOS.iter().find(|one| one.name == *scenario).expect("a scenario of that name");
    // The deadlines of the walk are shorter than AWS's imaging.
    Scenario { deadlines: "", times: SHORT, ..*found }
}

/// Rehearses one bake of a kind.
pub fn rehearse(kind: &str, seed: u64) -> Bake {
    let table = latencies();
    let mut chance = Chance(seed);
    let mut draw = |name: &str| chance.draw(table[name]);
    let [launch, steps, tests, seal, stop, imaging] =
        ["launch", "steps", "tests", "seal", "stop", "imaging"].map(&mut draw);
    let time = |seconds: f64| SignedDuration::from_millis((seconds * 1000.0) as i64);
    // The runner asks for its orders each second.
    let late: Vec<f64> = (0..3).map(|_| chance.unit()).collect();
    let takes = move |order| match order {
        Order::Provision => time(steps + late[0]),
        Order::Test => time(tests + late[1]),
        Order::Seal | Order::SealRunning => time(seal + late[2]),
    };
    let hardware = SimulatedHardware::new(move |work| {
        let order = work.order;
        let script = script(work, Machines::Work, SHORT);
        crate::Script { takes: order.map_or(script.takes, &takes), ..script }
    })
    .at(Pace { boot: time(launch), stop: time(stop), imaging: time(imaging), ..Pace::default() });
    let scenario = scenario(kind);
    let (cloud, _) = scenario.account();
    cloud.replace_hardware(hardware);
    let walk = cost::measure_on(&cloud, &scenario);
    assert!(matches!(walk.end, End::Succeeded(_)), "{kind} {seed}: {:?}", walk.end);
    let dollars = cost::price(&walk).iter().filter(|(what, _)| *what != "the machine").map(|(_, d)| d).sum();
    let (own, aws) = match kind {
        "reuse" => (0.0, 0.0),
        "spot" => (steps + tests + seal, launch + imaging),
        "boot validation" => (steps + 2.0 * tests + seal, 2.0 * launch + stop + imaging),
        _ => (steps + tests + seal, launch + stop + imaging),
    };
    let wall = walk.took.as_secs_f64() + answers(&walk, &mut chance, &table);
    Bake { wall, own, aws, transitions: walk.diary.transitions.get(), dollars }
}

/// How long AWS's answers take on the bake's way: the walk's own time has none. A call of a watch delays its next look,
/// and not the bake: of each watch the last two calls count.
fn answers(walk: &Walk, chance: &mut Chance, table: &BTreeMap<&str, (f64, f64)>) -> f64 {
    let mut sum = |name: &str, count: usize| (0..count).map(|_| chance.draw(table[name])).sum::<f64>();
    let mut answers = sum("transition", walk.diary.transitions.get()) + sum("cold", walk.functions);
    for (action, count) in &walk.calls_outside_watches {
        // How long a launch takes is in the table as a whole.
        let service = action.split(':').next().unwrap_or_default();
        answers += if *action == "ec2:RunInstances" { 0.0 } else { sum(service, *count) };
    }
    answers + sum("ec2", walk.watches) + sum("s3", walk.watches)
}

/// The value below which so many of a hundred are.
pub fn percentile(values: &mut [f64], of_hundred: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() * of_hundred / 100).min(values.len() - 1)]
}
