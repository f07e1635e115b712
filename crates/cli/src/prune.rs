//! `ovenbird prune`, `clean` and `cancel`: what the schedule and the event rule do, by hand.
//!
//! All of it is done by prune's function: it alone may destroy.

mod text;

use std::time::Duration;

use clap::Subcommand;
use jiff::Timestamp;
use ovenbird_aws::workflow::Execution;
use ovenbird_core::{
    Error, Result,
    domain::{
        bake::{Bake, Status},
        id::{AmiId, BakeId, PipelineName},
    },
    ports::{Bucket as _, Workflow as _},
    steps::prune::{DeadBake, Outcome, Plan, Reaped, Request, Verdict, ask_undo, is_dead, refuse},
    store::{decode, keys},
};
use serde::{Deserialize, Serialize};

use self::text::question;
pub use self::text::{explained, past, report, text_of, undone};
use crate::{
    confirm::Confirm,
    find,
    pace::Pace,
    print,
    target::{Deployment, Target},
};

/// How often the execution is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// A plan, and what was done of it.
#[derive(Debug, Serialize)]
pub struct Pruned {
    /// The run that planned.
    run: BakeId,
    /// Whether the plan was acted on.
    pub acted: bool,
    /// The plan.
    #[serde(flatten)]
    pub plan: Plan,
    /// What was cleaned up after.
    cleaned: Vec<Reaped>,
    /// What became of each image that was to be retired: it is judged again before it goes.
    retired: Vec<Verdict>,
}

impl Pruned {
    /// Whether an operator must look at something.
    pub fn has_problems(&self) -> bool {
        !self.plan.problems.is_empty() || self.plan.halted.is_some()
    }
}

/// What the prune state machine gives at its end.
#[derive(Debug, Default, Deserialize)]
struct Output {
    #[serde(default)]
    cleaned: Vec<Reaped>,
    #[serde(default)]
    retired: Vec<Verdict>,
}

/// What else `ovenbird prune` can do.
#[derive(Debug, Subcommand)]
pub enum What {
    /// Take a retired image back, out of the Recycle Bin if it is there: it is as before, and stays for 30 days
    Undo {
        /// The image's id: `ami-…`
        image: String,
    },
    /// Say what becomes of an image, and every reason for it
    Explain {
        /// The image's id: `ami-…`
        image: String,
    },
    /// List the newest runs and what each did
    History {
        /// How many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u8).range(1..=100))]
        limit: u8,
    },
}

/// Plans a prune run, shows the plan and acts on it if that is wanted.
pub async fn run(pipeline: Option<&str>, target: &Target, confirm: Confirm, json: bool) -> Result<Pruned> {
    let pipeline = pipeline.map(PipelineName::parse).transpose();
    let pipeline = pipeline.map_err(|error| Error::bad_id("--pipeline", &error))?;
    let deployment = target.deployment().await?;
    planned(&deployment, &Request::Everything { pipeline, dry_run: true }, confirm, json).await
}

/// Takes an image back.
pub async fn undo(image: &str, target: &Target) -> Result<Verdict> {
    let image = parsed(image)?;
    let deployment = target.deployment().await?;
    ask_undo(&image, &deployment.cloud).await?;
    let run = start(&deployment, &Request::Undo { image: image.clone() }).await?;
    let done = finish(&deployment, &run).await?.retired.into_iter().next();
    done.ok_or_else(|| {
        let fix = format!("Look at it: `ovenbird prune explain {image}`");
        Error::bad_input(format!("image `{image}`"), "was not taken back", fix)
    })
}

/// What becomes of an image, by a plan of this moment.
pub async fn explain(image: &str, target: &Target) -> Result<Verdict> {
    let image = parsed(image)?;
    let deployment = target.deployment().await?;
    let run = start(&deployment, &Request::Everything { pipeline: None, dry_run: true }).await?;
    finish(&deployment, &run).await?;
    let plan = plan_of(&deployment, &run).await?;
    let found = plan.verdicts().find(|verdict| verdict.image == image).cloned();
    found.ok_or_else(|| {
        Error::bad_input(
            format!("image `{image}`"),
            "is none of this stack's, or goes with its dead bake",
            "`ovenbird prune` lists all that are",
        )
    })
}

/// One run of the past.
#[derive(Debug, Serialize)]
pub struct Past {
    /// Its name.
    run: BakeId,
    /// When it began.
    started: Timestamp,
    /// What it did; none of one that only planned, still goes on, or failed before its end.
    outcome: Option<Outcome>,
}

/// The newest runs.
pub async fn history(limit: u8, target: &Target) -> Result<Vec<Past>> {
    let deployment = target.deployment().await?;
    let runs = deployment.cloud.newest_executions(&deployment.prune_machine, limit.into()).await?;
    let mut past = Vec::new();
    for one in runs {
        let key = keys::prune_result(&one.name);
        let text = deployment.cloud.text(&key).await?;
        let outcome = text.map(|text| decode(&key, &text)).transpose()?;
        past.push(Past { run: one.name, started: one.started, outcome });
    }
    Ok(past)
}

fn parsed(image: &str) -> Result<AmiId> {
    AmiId::parse(image).map_err(|error| Error::bad_id("the image", &error))
}

/// Removes what a dead bake left.
pub async fn clean(bake: &str, target: &Target, confirm: Confirm, json: bool) -> Result<Pruned> {
    let deployment = target.deployment().await?;
    let bake = find::find(&deployment, bake).await?;
    if bake.progress.status == Status::Running {
        let execution = deployment.cloud.bake_execution(&bake.spec.id).await?;
        if !is_dead(&bake, execution.as_ref(), Timestamp::now()) {
            return Err(refuse(&bake, execution.as_ref()));
        }
    }
    let dead = DeadBake::new(bake.spec.pipeline, bake.spec.id);
    planned(&deployment, &Request::Bake { dead, dry_run: true }, confirm, json).await
}

/// Stops a bake and removes what it made.
pub async fn cancel(bake: &str, target: &Target) -> Result<Bake> {
    let deployment = target.deployment().await?;
    let bake = find::find(&deployment, bake).await?;
    let ended = |bake: &Bake| {
        Error::bad_input(
            format!("bake `{}`", bake.spec.id),
            format!("has ended already: {}", bake.progress.status.as_str()),
            format!("There is nothing to cancel; `ovenbird show {}` says how it ended", bake.spec.id),
        )
    };
    if bake.progress.status != Status::Running {
        return Err(ended(&bake));
    }
    let cause = format!("Cancelled by {}", deployment.cloud.caller().await?);
    deployment.cloud.stop(&deployment.bake_machine, &bake.spec.id, &cause).await?;
    let dead = DeadBake::new(bake.spec.pipeline.clone(), bake.spec.id.clone());
    let cleaned = start(&deployment, &Request::Bake { dead, dry_run: false }).await?;
    finish(&deployment, &cleaned).await?;
    find::find(&deployment, bake.spec.id.as_str()).await
}

async fn planned(deployment: &Deployment, request: &Request, confirm: Confirm, json: bool) -> Result<Pruned> {
    let run = start(deployment, request).await?;
    finish(deployment, &run).await?;
    let plan = plan_of(deployment, &run).await?;
    let pruned = Pruned { run, acted: false, plan, cleaned: Vec::new(), retired: Vec::new() };
    if pruned.plan.is_empty() {
        return Ok(pruned);
    }
    let question = question(&pruned.plan);
    if !json {
        // Shown before the question, and so not with what is printed at the end.
        print(false, &pruned, &text_of(&pruned));
    }
    if !confirm.agrees(&question, json) {
        return Ok(pruned);
    }
    // The very plan that was seen: what came up since is the next run's.
    let acting = start(deployment, &Request::Act { plan: pruned.run.clone() }).await?;
    let Output { cleaned, retired } = finish(deployment, &acting).await?;
    Ok(Pruned { acted: true, cleaned, retired, ..pruned })
}

/// The plan that a run made.
async fn plan_of(deployment: &Deployment, run: &BakeId) -> Result<Plan> {
    let key = keys::prune_plan(run);
    let text = deployment.cloud.text(&key).await?.unwrap_or_default();
    decode(&key, &text)
}

async fn start(deployment: &Deployment, request: &Request) -> Result<BakeId> {
    let name = format!("prune-{}", uuid::Uuid::new_v4().simple());
    let id = BakeId::parse(&name).map_err(|error| Error::bad_id("the execution's name", &error))?;
    deployment.cloud.start(&deployment.prune_machine, &id, &request.input().to_string()).await?;
    Ok(id)
}

/// Waits for a run's end, and gives its output.
async fn finish(deployment: &Deployment, run: &BakeId) -> Result<Output> {
    let pace = Pace::up_to(LOOK);
    loop {
        match deployment.cloud.execution(&deployment.prune_machine, run).await? {
            Some(Execution::Succeeded(output)) => {
                return serde_json::from_str(&output)
                    .map_err(|source| Error::Corrupt { what: format!("the output of `{run}`"), source });
            }
            Some(Execution::Failed { error, cause, .. }) => {
                // A function's cause is a JSON text; what a person wants to read is in it, with a hint at its end.
                let message = serde_json::from_str::<serde_json::Value>(&cause).ok();
                let message = message.and_then(|cause| Some(cause.get("errorMessage")?.as_str()?.to_owned()));
                let message = message.unwrap_or(cause);
                let (problem, fix) = message
                    .rsplit_once("\nhint: ")
                    .unwrap_or((&message, "Fix what it names, then run `ovenbird prune` again"));
                return Err(Error::bad_input(format!("prune run `{run}`: {error}"), problem, fix));
            }
            Some(Execution::Running) | None => pace.pause().await,
        }
    }
}
