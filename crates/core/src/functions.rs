//! The six functions: each parses its input, once, and calls its step.
//!
//! The Lambdas serve them on AWS, the tests walk the state machines with them in memory.

mod decision;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    domain::{
        bake::{Bake, Failure, Next, Stage, Status, To},
        error::{Error, Result},
        id::{BakeId, PipelineName},
        trigger::Trigger,
    },
    ports::Ports,
    steps::{
        cascade, clean_up,
        launch_builder::{Hands, Start},
        poll_readiness::{self, Eyes},
        promote,
        prune::{self, DeadBake, Kept, Request, Verdict},
        run_validation, snapshot,
    },
    store::{Ledger, keys},
};

/// launch-builder: the first step of an execution, or a later call with the document.
pub async fn launch_builder(cloud: &impl Ports, input: Value, now: Timestamp) -> Result<Value> {
    let hands = Hands::of(cloud);
    let given = named(&input);
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
        hands.start(start, now).await
    } else {
        hands.resume(parse("the bake document", input)?, now).await
    };
    answered("launch-builder", &given, bake)
}

/// poll-readiness.
pub async fn poll_readiness(cloud: &impl Ports, input: Value, now: Timestamp) -> Result<Value> {
    let eyes = Eyes::of(cloud);
    let given = named(&input);
    let bake = poll_readiness::run(parse("the bake document", input)?, &eyes, now).await;
    answered("poll-readiness", &given, bake)
}

/// run-validation.
pub async fn run_validation(cloud: &impl Ports, input: Value, now: Timestamp) -> Result<Value> {
    let given = named(&input);
    let bake = run_validation::run(parse("the bake document", input)?, cloud, cloud, now).await;
    answered("run-validation", &given, bake)
}

/// snapshot.
pub async fn snapshot(cloud: &impl Ports, input: Value, now: Timestamp) -> Result<Value> {
    let given = named(&input);
    let bake = snapshot::run(parse("the bake document", input)?, cloud, cloud, cloud, now).await;
    answered("snapshot", &given, bake)
}

/// promote: moves the channel, or starts the bakes of those that stand on it.
pub async fn promote(cloud: &impl Ports, mut input: Value, now: Timestamp) -> Result<Value> {
    if let Some(promoted) = input.get_mut("promoted").map(Value::take) {
        return output(&cascade::run(parse("the bake document", promoted)?, cloud, cloud, cloud).await?);
    }
    let given = named(&input);
    let bake = promote::run(parse("the bake document", input)?, cloud, cloud, cloud, now).await;
    answered("promote", &given, bake)
}

/// prune: cleans one bake up, or plans, or acts on one item of a plan.
pub async fn prune(cloud: &impl Ports, input: Value, now: Timestamp) -> Result<Value> {
    match parse("prune's input", input)? {
        Cut::Bake { bake: _, document, failed: false } => {
            let document: Bake = parse("the bake document", document)?;
            let given = json!({"bake": document.bake, "stage": document.stage});
            let (bake, kept) = match clean_up::after_success(document, cloud, now).await {
                Ok((bake, kept)) => (Ok(bake), kept),
                Err(error) => (Err(error), Vec::new()),
            };
            log(&kept);
            answered("prune", &given, bake)
        }
        Cut::Bake { bake, document, failed: true } => {
            let record = record(cloud, &bake, &document).await?;
            let failure =
                clean_up::caught(&document, record.as_ref().map_or(Stage::Launch, |record| record.stage));
            let keep = record.as_ref().is_some_and(|bake| bake.options.keep_builder && now < bake.expires);
            let ended = clean_up::after_failure(&bake, record, Some(failure), keep, cloud, now).await?;
            log(&ended.kept);
            if let Some(Failure { error, stage, .. }) = &ended.failure {
                tracing::warn!(function = "prune", bake.id = %bake, %stage, error, "cleaned up after a failed bake");
            }
            output(&json!({"failure": ended.failure}))
        }
        Cut::Run(Action::Plan { run, request }) => {
            let (plan, acts) = prune::planned(&Request::parse(&request)?, cloud, now).await?;
            for verdict in plan.keep.iter().chain(&plan.retire) {
                tracing::info!(image.id = %verdict.image, "{} {}: {}", verdict.pipeline, verdict.name, verdict.reason);
            }
            // Whole in the bucket, and in the document only what is to be done: an account may have more images than
            // Step Functions' 256 KB can name.
            cloud.put_text(&keys::prune_plan(&run), &output(&plan)?.to_string()).await?;
            let kept = plan.keep.len();
            // A dry run only tells: what it found wrong is in the plan, and no reason for an alarm.
            let (dead_bakes, retire, problems) = if acts {
                (plan.dead_bakes, plan.retire, plan.halted.into_iter().chain(plan.problems).collect())
            } else {
                (Vec::new(), Vec::new(), Vec::new())
            };
            let problems = shortened(problems);
            Ok(
                json!({"run": run, "dead_bakes": dead_bakes, "retire": retire, "kept": kept, "problems": problems}),
            )
        }
        Cut::Run(Action::Clean { item }) => {
            let reaped = prune::reap(&item, cloud, now).await?;
            log(&reaped.kept);
            tracing::info!(function = "prune", bake.id = %item.bake, "cleaned up after a dead bake");
            output(&reaped)
        }
        Cut::Run(Action::Retire { item }) => {
            let verdict = prune::retire(&item, cloud).await?;
            let Verdict { image, name, reason, .. } = &verdict;
            tracing::info!(function = "prune", image.id = %image, "{name}: {reason}");
            output(&verdict)
        }
        Cut::Run(Action::Report { run, cleaned, retired, problems }) => {
            let failed = |item: &&Value| item.get("error").is_some();
            let items = cleaned.iter().chain(&retired).filter(failed).map(told);
            let failures: Vec<String> = items.chain(problems).collect();
            if failures.is_empty() {
                return Ok(json!({"run": run, "cleaned": cleaned.len(), "retired": retired.len()}));
            }
            Err(Error::PruneIncomplete { run, failures: failures.join("\n") })
        }
    }
}

/// How many problems of a plan go through the state machine; the plan itself has them all.
const MOST_PROBLEMS: usize = 20;

fn shortened(mut problems: Vec<String>) -> Vec<String> {
    let more = problems.len().saturating_sub(MOST_PROBLEMS);
    problems.truncate(MOST_PROBLEMS);
    if more > 0 {
        problems.push(format!("and {more} more: the run's plan has them all"));
    }
    problems
}

/// An item of a plan that failed, in words.
fn told(item: &Value) -> String {
    let failure = clean_up::caught(item, Stage::CleanUp);
    let name = |field: &str| item.get(field).and_then(Value::as_str);
    let what = match (name("image"), name("bake")) {
        (Some(image), _) => format!("image {image}"),
        (None, Some(bake)) => format!("bake {bake}"),
        (None, None) => item.to_string(),
    };
    format!("{what}: {}: {}", failure.error, failure.cause)
}

fn log(kept: &[Kept]) {
    for kept in kept {
        tracing::warn!("stays: {kept}");
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
    Plan { run: BakeId, request: Value },
    Clean { item: DeadBake },
    Retire { item: Verdict },
    Report { run: String, cleaned: Vec<Value>, retired: Vec<Value>, problems: Vec<String> },
}

/// The record of a bake that failed; none when it failed before it had one.
async fn record(cloud: &impl Ports, bake: &BakeId, document: &Value) -> Result<Option<Bake>> {
    let named =
        document.get("pipeline").and_then(Value::as_str).and_then(|name| PipelineName::parse(name).ok());
    let pipeline = named.or_else(|| Some(Trigger::parse(document).ok()??.pipeline().clone()));
    let Some(pipeline) = pipeline else { return Ok(None) };
    let record = Ledger(cloud).bake(&pipeline, bake).await?;
    Ok(record.filter(|record| match record.status {
        Status::Running | Status::Failed | Status::Cancelled => true,
        // A lost reply of the last clean-up: the bake ended well, and nothing is to be undone.
        Status::Promoted | Status::Validated | Status::Superseded => false,
    }))
}

/// Logs what a step decided, and answers with the document.
fn answered(function: &'static str, given: &Value, outcome: Result<Bake>) -> Result<Value> {
    output(&decision::logged(function, given, outcome)?)
}

/// What a log line of a failure tells of its input: which bake, and where that is.
fn named(input: &Value) -> Value {
    json!({"bake": input.get("bake"), "stage": input.get("stage")})
}

fn parse<D: DeserializeOwned>(what: &str, input: Value) -> Result<D> {
    serde_json::from_value(input).map_err(|error| {
        Error::bad_input(what, error.to_string(), "Deploy functions and state machine of one version")
    })
}

fn output(document: &impl Serialize) -> Result<Value> {
    Ok(serde_json::to_value(document).unwrap_or_else(|_| unreachable!("our documents have string keys only")))
}
