//! Bakes at AWS's pace, in virtual time.
//!
//! The real steps and the real state machine work on the model, and every answer, every state and every cold start takes
//! its time from a table. What this says of AWS is as good as the table: most of its figures are inferred, which it says of
//! each, and nobody measured them for it.

pub mod buckets;
pub mod packer;

use jiff::{SignedDuration, Timestamp};
use ovenbird_core::domain::{
    id::{BakeId, PipelineName},
    mailbox::{EAGER_LOOK, Order},
    turn::Turn,
};
use serde_json::json;

use crate::{
    Call, Pace, Script, SimulatedHardware,
    latency::Latency,
    walk::{
        account::script,
        cost,
        machine::End,
        scenarios::{Machines, SCENARIOS, SHORT, Scenario},
    },
};

/// The scenarios that are rehearsed, with the names under which they are shown.
pub const KINDS: &[(&str, &str)] = &[
    ("plain", "an upload, baked and promoted"),
    ("on a layer", "a promotion bakes what stands on it"),
    ("reuse", "an unchanged artifact, reused"),
    ("spot", "a spot builder, imaged running"),
    ("boot validation", "tests on a fresh instance too"),
];

/// What machines and EC2 take for a bake, as the table has it; nothing of it is Ovenbird's.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// From `RunInstances` to the runner.
    pub launch: SignedDuration,
    /// The recipe's steps.
    pub steps: SignedDuration,
    /// The recipe's tests.
    pub tests: SignedDuration,
    /// The seal.
    pub seal: SignedDuration,
    /// From the seal's end until the machine has stopped.
    pub stop: SignedDuration,
    /// From `CreateImage` to the image.
    pub imaging: SignedDuration,
    /// Until a machine is gone.
    pub termination: SignedDuration,
}

impl Times {
    /// Draws them.
    pub fn draw(latency: &mut Latency) -> Self {
        Self {
            launch: latency.draw("launch"),
            steps: latency.draw("steps"),
            tests: latency.draw("tests"),
            seal: latency.draw("seal"),
            stop: latency.draw("stop"),
            imaging: latency.draw("imaging"),
            termination: latency.draw("termination"),
        }
    }
}

/// How one bake went; times in seconds.
#[derive(Debug, Clone)]
pub struct Bake {
    /// From the upload to the end of the execution, when nothing is left of the bake but its image.
    pub wall: f64,
    /// From the upload until the channel and its parameter have the image.
    pub promoted: f64,
    /// What the recipe does on the machines: steps, tests and seal.
    pub own: f64,
    /// What only AWS does: launch, stop and imaging.
    pub aws: f64,
    /// What Packer would add to the same bake, by its newer waiters of 2 s and by its older ones of 15 s.
    pub packer: [f64; 2],
    /// State transitions.
    pub transitions: usize,
    /// What Ovenbird costs beside the machine, in dollars.
    pub dollars: f64,
    /// Every call to AWS, with its time since the upload.
    pub calls: Vec<(SignedDuration, &'static str)>,
}

impl Bake {
    /// What Ovenbird adds until the end.
    pub fn overhead(&self) -> f64 {
        self.wall - self.own - self.aws
    }

    /// What Ovenbird adds until the image is in its channel.
    pub fn overhead_until_promoted(&self) -> f64 {
        self.promoted - self.own - self.aws
    }
}

/// The scenario that is shown under a name.
fn scenario(name: &str) -> Scenario {
    let (_, scenario) = KINDS.iter().find(|(kind, _)| *kind == name).expect("a kind that is rehearsed");
    let found = SCENARIOS.iter().find(|one| one.name == *scenario).expect("a scenario of that name");
    // The deadlines of the walk are shorter than AWS's imaging.
    Scenario { deadlines: "", times: SHORT, ..*found }
}

/// Rehearses one bake of a kind, while so many others have a builder.
pub fn rehearse(kind: &str, seed: u64, others: usize) -> Bake {
    let mut latency = Latency::new(seed);
    let times = Times::draw(&mut latency);
    // The runner asks for its orders again and again; the first one waits for it.
    let mut late = || EAGER_LOOK.mul_f64(latency.unit()) + latency.draw("s3");
    let (before_tests, before_seal) = (late(), late());
    let takes = move |order| match order {
        Order::Provision => times.steps,
        Order::Test => before_tests + times.tests,
        Order::Seal | Order::SealRunning => before_seal + times.seal,
    };
    let hardware = SimulatedHardware::new(move |work| {
        let order = work.order;
        let script = script(work, Machines::Work, SHORT);
        Script { takes: order.map_or(script.takes, &takes), ..script }
    })
    .at(Pace { boot: times.launch, stop: times.stop, imaging: times.imaging, ..Pace::default() });
    let scenario = scenario(kind);
    let (cloud, _) = scenario.account();
    cloud.replace_hardware(hardware);
    let turns: Vec<Turn> = (0..others).map(|number| turn(number, cloud.now())).collect();
    cloud.have_at_most(u32::try_from(others).unwrap_or(u32::MAX).saturating_add(20));
    if !turns.is_empty() {
        cloud.put_item("STACK", "TURNS", json!({"turns": turns}));
    }
    let packer =
        [2, 15].map(|pause| packer::overhead(&times, SignedDuration::from_secs(pause), &mut latency));
    cloud.answer_after(latency);
    let (first, began) = (cloud.calls().len(), cloud.now());
    let walk = cost::measure_on(&cloud, &scenario);
    assert!(matches!(walk.end, End::Succeeded(_)), "{kind} {seed}: {:?}", walk.end);
    let dollars = cost::price(&walk).iter().filter(|(what, _)| *what != "the machine").map(|(_, d)| d).sum();
    let Times { launch, steps, tests, seal, stop, imaging, .. } = times;
    let work = steps + tests + seal;
    let (own, aws) = match kind {
        "reuse" => (SignedDuration::ZERO, SignedDuration::ZERO),
        "on a layer" => (work * 2, (launch + stop + imaging) * 2),
        "spot" => (work, launch + imaging),
        "boot validation" => (work + tests, launch * 2 + stop + imaging),
        _ => (work, launch + stop + imaging),
    };
    let calls = calls(&cloud.calls()[first..], began);
    let told = calls.iter().rfind(|(_, api)| *api == "events:PutEvents").map_or(walk.took, |(at, _)| *at);
    Bake {
        promoted: told.as_secs_f64(),
        wall: walk.took.as_secs_f64(),
        own: own.as_secs_f64(),
        aws: aws.as_secs_f64(),
        packer,
        transitions: walk.diary.transitions.get(),
        dollars,
        calls,
    }
}

fn turn(number: usize, since: Timestamp) -> Turn {
    let pipeline = PipelineName::parse("another").unwrap_or_else(|_| unreachable!("a plain name"));
    let bake = BakeId::parse(&format!("another-{number}")).unwrap_or_else(|_| unreachable!("a plain id"));
    Turn { bake, pipeline, upload: None, since }
}

fn calls(calls: &[Call], began: Timestamp) -> Vec<(SignedDuration, &'static str)> {
    calls.iter().map(|call| (call.at.duration_since(began), call.actions[0])).collect()
}

/// The value below which so many of a hundred are.
pub fn percentile(values: &mut [f64], of_hundred: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() * of_hundred / 100).min(values.len() - 1)]
}
