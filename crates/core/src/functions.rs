//! The six functions: each parses its input, once, and calls its step.
//!
//! The Lambdas serve them on AWS, the tests walk the state machines with them in memory.

mod decision;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    domain::{
        bake::{Bake, Document, Failure, Next, Stage, Status, To},
        error::{Error, Result},
        event::Event,
        id::{BakeId, PipelineName},
        retirement::Act,
        trigger::Purpose,
    },
    ports::Ports,
    steps::{
        Function, cascade, clean_up, events,
        launch_builder::{self, Asked, Start},
        poll_readiness, promote,
        prune::{self, DeadBake, Kept, Outcome, Reason, Request, Verdict},
        recorded, register,
        rollout::{self, RolloutDocument},
        run_validation, snapshot,
    },
    store::{Ledger, Versioned, keys},
};

/// launch-builder.
pub async fn launch_builder(cloud: &impl Ports, input: Value, now: Timestamp) -> Result<Value> {
    let given = named(&input);
    let document = match parse("launch-builder's input", input)? {
        LaunchBuilder::Start { bake, started, trigger } => {
            // No record: nobody asked for a bake, and a list of bakes that aren't any helps nobody.
            let nothing = |bake: BakeId, why: String| {
                let next = Next { to: To::Nothing, seconds: 0 };
                tracing::info!(bake.id = %bake, "nothing to bake: {why}");
                output(&json!({"bake": bake, "next": next, "why": why}))
            };
            let trigger = match Purpose::parse(&trigger)? {
                Purpose::Bake(trigger) => trigger,
                Purpose::Registration(pushed) => {
                    return nothing(bake, register::register(&pushed, cloud).await?);
                }
                Purpose::Nothing => {
                    return nothing(bake, "a folder's marker was uploaded, no artifact".into());
                }
            };
            let start = Start { bake, started, trigger };
            match launch_builder::asked(&start, cloud).await? {
                Asked::Bake(pushed) => launch_builder::start(start, pushed, cloud, now).await,
                Asked::Nothing(why) => return nothing(start.bake, why),
            }
        }
        LaunchBuilder::TakeOver { document } => launch_builder::take_over(document, cloud, now).await,
        LaunchBuilder::Verify { document } => launch_builder::verify(document, cloud, now).await,
    };
    answered(Function::LaunchBuilder, &given, document)
}

/// poll-readiness.
pub async fn poll_readiness(cloud: &impl Ports, input: Value, now: Timestamp) -> Result<Value> {
    let given = named(&input);
    let PollReadiness::Look { document } = parse("poll-readiness's input", input)?;
    answered(Function::PollReadiness, &given, poll_readiness::run(document, cloud, now).await)
}

/// run-validation.
pub async fn run_validation(cloud: &impl Ports, input: Value, now: Timestamp) -> Result<Value> {
    let given = named(&input);
    let RunValidation::Test { document } = parse("run-validation's input", input)?;
    answered(Function::RunValidation, &given, run_validation::run(document, cloud, now).await)
}

/// snapshot.
pub async fn snapshot(cloud: &impl Ports, input: Value, now: Timestamp) -> Result<Value> {
    let given = named(&input);
    let document = match parse("snapshot's input", input)? {
        Snapshot::Seal { document } => snapshot::seal(document, cloud, now).await,
        Snapshot::CreateImage { document } => snapshot::create_image(document, cloud, now).await,
    };
    answered(Function::Snapshot, &given, document)
}

/// promote: moves the channel, or starts the bakes of those that stand on it.
pub async fn promote(cloud: &impl Ports, input: Value, now: Timestamp) -> Result<Value> {
    let given = named(&input);
    match parse("promote's input", input)? {
        Promote::Move { document } => {
            answered(Function::Promote, &given, promote::run(document, cloud, now).await)
        }
        Promote::StartChildren { document } => {
            let document = cascade::run(document, cloud).await?;
            promote::followed(&document.bake)?;
            output(&document)
        }
        Promote::Begin { document } => rolled(rollout::begin(document, cloud, now).await),
        Promote::StartStage { document } => rolled(rollout::start_stage(document, cloud, now).await),
        Promote::LookAtStage { document } => rolled(rollout::look(document, cloud, now).await),
        Promote::Settle { document } => rolled(rollout::settle(document, cloud, now).await),
        Promote::Revert { document, error } => {
            let error = error.map(|error| told_of(&error));
            rolled(rollout::revert(document, error, cloud, now).await)
        }
        Promote::Finish { document } => rolled(rollout::finish(document, cloud, now).await),
        Promote::PickUp {} => output(&rollout::pick_up(cloud, now).await?),
    }
}

/// Logs what a step of a rollout decided, and answers with the document.
fn rolled(outcome: Result<RolloutDocument>) -> Result<Value> {
    match &outcome {
        Ok(document) => {
            let RolloutDocument { pipeline, rollout, stands, .. } = document;
            tracing::info!(function = "promote", rollout.id = %rollout, %pipeline, "{stands}");
        }
        Err(error) => {
            let (name, kind) = (error.name(), error.kind());
            tracing::error!(function = "promote", error = name, ?kind, "{error}");
        }
    }
    output(&outcome?)
}

/// What a state machine caught, in words.
fn told_of(error: &Value) -> String {
    let failure = clean_up::caught(&json!({"error": error}), Stage::Promotion);
    format!("{}: {}", failure.error, failure.cause)
}

/// prune: cleans one bake up, or plans, or acts on one item of a plan.
pub async fn prune(cloud: &impl Ports, input: Value, now: Timestamp) -> Result<Value> {
    let given = named(&input);
    match parse("prune's input", input)? {
        Prune::CleanUp { document } => {
            let (ended, kept) = match clean_up(*document, cloud, now).await {
                Ok((document, kept)) => (Ok(document), kept),
                Err(error) => (Err(error), Vec::new()),
            };
            log(&kept);
            answered(Function::Prune, &given, ended)
        }
        Prune::CleanUpFailed { bake, document } => {
            let record = record(cloud, &bake, &document).await?;
            let stage = record.as_ref().map_or(Stage::Launch, |record| record.progress.stage);
            let failure = clean_up::caught(&document, stage);
            let keep =
                record.as_ref().is_some_and(|bake| bake.spec.options.keep_builder && now < bake.expires());
            let ended = clean_up::after_failure(&bake, record, Some(failure), keep, cloud, now).await?;
            log(&ended.kept);
            if let Some(Failure { error, stage, .. }) = &ended.failure {
                tracing::warn!(function = "prune", bake.id = %bake, %stage, error, "cleaned up after a failed bake");
            }
            let stack = cloud.stack();
            let event = match (&ended.record, &ended.failure) {
                (Some(bake), Some(failure)) => Some(events::of_failure(bake, failure, stack)),
                (None, Some(failure)) => {
                    Some(events::of_unrecorded(&bake, pipeline(&document), failure, stack))
                }
                (_, None) => None,
            };
            output(&json!({"failure": ended.failure, "events": event.into_iter().collect::<Vec<_>>()}))
        }
        Prune::Plan { run, request } => {
            let (plan, drifts, acts) = prune::planned(&Request::parse(&request)?, cloud, now).await?;
            for verdict in plan.verdicts() {
                let Verdict { image, pipeline, name, act, reason, .. } = verdict;
                tracing::info!(image.id = %image, "{pipeline} {name}: {act}: {reason}");
            }
            // Whole in the bucket, and in the document only what is to be done: an account may have more images than
            // Step Functions' 256 KB can name.
            cloud.put_text(&keys::prune_plan(&run), &text(&plan)).await?;
            let kept = plan.keep.len();
            // A dry run only tells: what it found wrong is in the plan, and no reason for an alarm.
            let (dead_bakes, retire, problems) = if acts {
                (plan.dead_bakes, plan.retire, plan.halted.into_iter().chain(plan.problems).collect())
            } else {
                (Vec::new(), Vec::new(), Vec::new())
            };
            let problems = shortened(problems);
            let plan = json!({"run": run, "dead_bakes": dead_bakes, "retire": retire, "kept": kept, "problems": problems});
            telling(&plan, if acts { &drifts } else { &[] })
        }
        Prune::Clean { item } => {
            let reaped = prune::reap(&item, cloud, now).await?;
            log(&reaped.kept);
            tracing::info!(function = "prune", bake.id = %item.bake, "cleaned up after a dead bake");
            let record = Ledger(cloud).bake(&item.pipeline, &item.bake).await?;
            let told = match record {
                Some(bake) => events::of_ended(&bake, cloud).await?,
                None => Vec::new(),
            };
            telling(&reaped, &told)
        }
        Prune::Retire { item } => {
            let verdict = prune::retire(&item, cloud, now).await?;
            let Verdict { image, name, pipeline, bake, act, reason, .. } = &verdict;
            tracing::info!(function = "prune", image.id = %image, "{name}: {act}: {reason}");
            let gone = verdict.act == Act::Deregister && *reason == Reason::Retired;
            telling(
                &verdict,
                &gone
                    .then(|| events::of_retired(image, name, pipeline, bake.as_ref()))
                    .into_iter()
                    .collect::<Vec<_>>(),
            )
        }
        Prune::Report { run, cleaned, retired, problems } => {
            let failed = |item: &&Value| item.get("error").is_some();
            let items = cleaned.iter().chain(&retired).filter(failed).map(told);
            let failures: Vec<String> = items.chain(problems).collect();
            let outcome = Outcome {
                ended: now,
                cleaned: cleaned.iter().cloned().map(untelling).collect(),
                retired: retired.iter().cloned().map(untelling).collect(),
                failures: failures.clone(),
            };
            cloud.put_text(&keys::prune_result(&run), &output(&outcome)?.to_string()).await?;
            if failures.is_empty() {
                return Ok(json!({"run": run, "cleaned": cleaned.len(), "retired": retired.len()}));
            }
            Err(Error::PruneIncomplete { run: run.to_string(), failures: failures.join("\n") })
        }
    }
}

/// Cleans up after a bake that ended as its promotion said.
async fn clean_up(document: Document, cloud: &impl Ports, now: Timestamp) -> Result<(Document, Vec<Kept>)> {
    let Some(ends) = document.ends else {
        return Err(Error::bad_input(
            format!("bake `{}`", document.bake.spec.id),
            "was not promoted and not refused yet",
            "Deploy functions and state machine of one version",
        ));
    };
    let mut bake = recorded(cloud, &document.bake).await?;
    bake.progress.adopt(&document.seen);
    let (bake, kept) = clean_up::after_success(bake, ends, cloud, now).await?;
    Ok((Document { bake, ..document }, kept))
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

/// What the state machine asks of launch-builder.
#[derive(Debug, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
enum LaunchBuilder {
    Start { bake: BakeId, started: Timestamp, trigger: Value },
    TakeOver { document: Document },
    Verify { document: Document },
}

/// What the state machine asks of poll-readiness.
#[derive(Debug, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
enum PollReadiness {
    Look { document: Document },
}

/// What the state machine asks of run-validation.
#[derive(Debug, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
enum RunValidation {
    Test { document: Document },
}

/// What the state machine asks of snapshot.
#[derive(Debug, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
enum Snapshot {
    Seal { document: Document },
    CreateImage { document: Document },
}

/// What the state machine asks of promote.
#[derive(Debug, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
enum Promote {
    #[serde(rename = "promote")]
    Move {
        document: Document,
    },
    StartChildren {
        document: Document,
    },
    /// The first state of a rollout's execution.
    Begin {
        document: RolloutDocument,
    },
    StartStage {
        document: RolloutDocument,
    },
    LookAtStage {
        document: RolloutDocument,
    },
    Settle {
        document: RolloutDocument,
    },
    /// Undoes a rollout; `error` is what the state machine caught, if it did.
    Revert {
        document: RolloutDocument,
        #[serde(default)]
        error: Option<Value>,
    },
    Finish {
        document: RolloutDocument,
    },
    /// Starts an execution for each rollout that has none.
    PickUp {},
}

/// What the state machines ask of prune.
#[derive(Debug, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
enum Prune {
    /// The end of a bake.
    CleanUp { document: Box<Document> },
    /// The end of a bake that failed, perhaps before there was a document of it.
    CleanUpFailed { bake: BakeId, document: Value },
    /// The first state of a prune run.
    Plan { run: BakeId, request: Value },
    /// One dead bake of a prune run.
    Clean { item: DeadBake },
    /// One image of a prune run.
    Retire { item: Verdict },
    /// The last state of a prune run.
    Report { run: BakeId, cleaned: Vec<Value>, retired: Vec<Value>, problems: Vec<String> },
}

/// The record of a bake that failed; none when it failed before it had one.
async fn record(cloud: &impl Ports, bake: &BakeId, document: &Value) -> Result<Option<Versioned<Bake>>> {
    let Some(pipeline) = pipeline(document) else { return Ok(None) };
    let record = Ledger(cloud).bake(&pipeline, bake).await?;
    Ok(record.filter(|record| match record.progress.status {
        Status::Running | Status::Failed | Status::Cancelled => true,
        // A lost reply of the last clean-up: the bake ended well, and nothing is to be undone.
        Status::Promoted | Status::Validated | Status::Superseded => false,
    }))
}

/// The pipeline of an execution that failed, as far as what started it says which.
fn pipeline(document: &Value) -> Option<PipelineName> {
    let named =
        document.get("pipeline").and_then(Value::as_str).and_then(|name| PipelineName::parse(name).ok());
    named.or_else(|| Purpose::parse(document).ok()?.pipeline().cloned())
}

/// An item of a prune run with what is to be told of it, and whether that is anything: EventBridge takes no empty list.
fn telling(item: &impl Serialize, events: &[Event]) -> Result<Value> {
    let mut item = output(item)?;
    if let Some(fields) = item.as_object_mut() {
        fields.insert("events".to_owned(), output(&events)?);
        fields.insert("next".to_owned(), json!({"to": if events.is_empty() { "go" } else { "tell" }}));
    }
    Ok(item)
}

/// An item of a prune run without that, as it is kept.
fn untelling(mut item: Value) -> Value {
    if let Some(fields) = item.as_object_mut() {
        fields.remove("events");
        fields.remove("next");
    }
    item
}

/// Logs what a step decided, and answers with the document.
fn answered(function: Function, given: &Value, outcome: Result<Document>) -> Result<Value> {
    output(&decision::logged(function, given, outcome)?)
}

/// What a log line of a failure tells of its input: which bake, and where that is.
fn named(input: &Value) -> Value {
    let field = |name: &str| input.get(name).or_else(|| input.get("document")?.get(name));
    json!({"bake": field("bake"), "stage": field("stage")})
}

fn parse<D: DeserializeOwned>(what: &str, input: Value) -> Result<D> {
    serde_json::from_value(input).map_err(|error| {
        Error::bad_input(what, error.to_string(), "Deploy functions and state machine of one version")
    })
}

/// A document as text: of a large one, a [`Value`] takes several times as much memory as this.
fn text(document: &impl Serialize) -> String {
    serde_json::to_string(document).unwrap_or_else(|_| unreachable!("our documents have string keys only"))
}

fn output(document: &impl Serialize) -> Result<Value> {
    Ok(serde_json::to_value(document).unwrap_or_else(|_| unreachable!("our documents have string keys only")))
}
