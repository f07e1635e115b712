//! The six functions: each parses its input, once, and calls its step.
//!
//! The Lambdas serve them on AWS, the tests walk the state machines with them in memory.

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    bake::{Bake, Next, Stage, Status, To},
    error::{Error, Result},
    id::{BakeId, PipelineName},
    keys,
    ledger::Ledger,
    ports::Ports,
    steps::{
        cascade, clean_up,
        launch_builder::{Hands, Start},
        poll_readiness::{self, Eyes},
        promote,
        prune::{self, DeadBake, Shears, Verdict},
        run_validation, snapshot,
    },
    trigger::Trigger,
};

/// launch-builder: the first step of an execution, or a later call with the document.
pub async fn launch_builder(cloud: &impl Ports, input: Value, now: Timestamp) -> Result<Value> {
    let hands = Hands { builders: cloud, images: cloud, parameters: cloud, bucket: cloud, table: cloud };
    let bake = if input.get("trigger").is_some_and(|trigger| trigger.is_object() || trigger.is_null()) {
        let first: First = parse("the execution's input", input)?;
        let Some(trigger) = Trigger::parse(&first.trigger)? else {
            // No record: nobody asked for a bake, and a list of bakes that aren't any helps nobody.
            let (next, why) =
                (Next { to: To::Nothing, seconds: 0 }, "a folder's marker was uploaded, no artifact");
            tracing::info!(bake.id = %first.bake, "nothing to bake: {why}");
            return output(&json!({"bake": first.bake, "next": next, "why": why}));
        };
        let start = Start { bake: first.bake, started: first.started, trigger };
        hands.start(start, now).await?
    } else {
        hands.resume(parse("the bake document", input)?, now).await?
    };
    output(&bake)
}

/// poll-readiness.
pub async fn poll_readiness(cloud: &impl Ports, input: Value, now: Timestamp) -> Result<Value> {
    let eyes = Eyes {
        builders: cloud,
        images: cloud,
        commands: cloud,
        parameters: cloud,
        bucket: cloud,
        table: cloud,
    };
    output(&poll_readiness::run(parse("the bake document", input)?, &eyes, now).await?)
}

/// run-validation.
pub async fn run_validation(cloud: &impl Ports, input: Value, now: Timestamp) -> Result<Value> {
    output(&run_validation::run(parse("the bake document", input)?, cloud, cloud, now).await?)
}

/// snapshot.
pub async fn snapshot(cloud: &impl Ports, input: Value, now: Timestamp) -> Result<Value> {
    output(&snapshot::run(parse("the bake document", input)?, cloud, cloud, cloud, now).await?)
}

/// promote: moves the channel, or starts the bakes of those that stand on it.
pub async fn promote(cloud: &impl Ports, mut input: Value, now: Timestamp) -> Result<Value> {
    if let Some(promoted) = input.get_mut("promoted").map(Value::take) {
        return output(&cascade::run(parse("the bake document", promoted)?, cloud, cloud, cloud).await?);
    }
    output(&promote::run(parse("the bake document", input)?, cloud, cloud, cloud, now).await?)
}

/// prune: cleans one bake up, or plans, or acts on one item of a plan.
pub async fn prune(cloud: &impl Ports, input: Value, now: Timestamp) -> Result<Value> {
    let shears = Shears { builders: cloud, retirement: cloud, parameters: cloud, table: cloud };
    match parse("prune's input", input)? {
        Cut::Bake { bake: _, document, failed: false } => {
            let document: Bake = parse("the bake document", document)?;
            output(&clean_up::after_success(document, &shears, now).await?)
        }
        Cut::Bake { bake, document, failed: true } => {
            let record = record(cloud, &bake, &document).await?;
            let failure =
                clean_up::caught(&document, record.as_ref().map_or(Stage::Launch, |record| record.stage));
            let keep = record.as_ref().is_some_and(|bake| bake.options.keep_builder && now < bake.expires);
            let failure = clean_up::after_failure(&bake, record, Some(failure), keep, &shears, now).await?;
            output(&json!({"failure": failure}))
        }
        Cut::Run(Action::Plan { run }) => {
            let plan = prune::plan(&shears, cloud, now).await?;
            for verdict in plan.keep.iter().chain(&plan.retire) {
                tracing::info!(image.id = %verdict.image, "{} {}: {}", verdict.pipeline, verdict.name, verdict.reason);
            }
            // Whole in the bucket, and in the document only what is to be done: an account may have more images than
            // Step Functions' 256 KB can name.
            cloud.put_text(&keys::prune_plan(&run), &output(&plan)?.to_string()).await?;
            Ok(
                json!({"run": run, "dead_bakes": plan.dead_bakes, "retire": plan.retire, "kept": plan.keep.len()}),
            )
        }
        Cut::Run(Action::Clean { item }) => {
            prune::reap(&item, &shears, now).await?;
            output(&item)
        }
        Cut::Run(Action::Retire { item }) => output(&prune::retire(&item, &shears, now).await?),
        Cut::Run(Action::Report { run, cleaned, retired }) => {
            let failed = |item: &&Value| item.get("error").is_some();
            let failures: Vec<String> =
                cleaned.iter().chain(&retired).filter(failed).map(ToString::to_string).collect();
            if failures.is_empty() {
                return Ok(json!({"run": run, "cleaned": cleaned.len(), "retired": retired.len()}));
            }
            Err(Error::PruneIncomplete { run, failures: failures.join("\n") })
        }
    }
}

/// What the first state gives to launch-builder.
#[derive(Debug, Deserialize)]
struct First {
    bake: BakeId,
    started: Timestamp,
    trigger: Value,
}

/// What the state machines give to prune.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Cut {
    /// The end of one bake.
    Bake { bake: BakeId, document: Value, failed: bool },
    /// A part of a prune run.
    Run(Action),
}

/// What a state of a prune run asks for.
#[derive(Debug, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
enum Action {
    Plan { run: BakeId },
    Clean { item: DeadBake },
    Retire { item: Verdict },
    Report { run: String, cleaned: Vec<Value>, retired: Vec<Value> },
}

/// The record of a bake that failed; none when it failed before it had one.
async fn record(cloud: &impl Ports, bake: &BakeId, document: &Value) -> Result<Option<Bake>> {
    let named =
        document.get("pipeline").and_then(Value::as_str).and_then(|name| PipelineName::parse(name).ok());
    let pipeline = named.or_else(|| Some(Trigger::parse(document).ok()??.pipeline().clone()));
    let Some(pipeline) = pipeline else { return Ok(None) };
    let record = Ledger(cloud).bake(&pipeline, bake).await?;
    Ok(record.filter(|record| match record.status {
        Status::Running | Status::Failed => true,
        // A lost reply of the last clean-up: the bake ended well, and nothing is to be undone.
        Status::Promoted | Status::Validated | Status::Superseded => false,
    }))
}

fn parse<D: DeserializeOwned>(what: &str, input: Value) -> Result<D> {
    serde_json::from_value(input).map_err(|error| {
        Error::bad_input(what, error.to_string(), "Deploy functions and state machine of one version")
    })
}

fn output(document: &impl Serialize) -> Result<Value> {
    Ok(serde_json::to_value(document).unwrap_or_else(|_| unreachable!("our documents have string keys only")))
}
