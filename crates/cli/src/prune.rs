//! `ovenbird prune`, `clean` and `cancel`: what the schedule and the event rule do, by hand.
//!
//! All of it is done by prune's function: it alone may destroy.

use std::time::Duration;

use clap::Subcommand;
use jiff::Timestamp;
use ovenbird_aws::workflow::Execution;
use ovenbird_core::{
    Error, Result,
    domain::{
        bake::{Bake, Status},
        id::{AmiId, BakeId, PipelineName},
        retirement::{Act, Retiring},
    },
    ports::{Bucket as _, Workflow as _},
    steps::prune::{
        DeadBake, Kept, MOST_AWAY, MOST_PER_RUN, Outcome, Plan, Reaped, Reason, Request, Verdict, is_dead,
        refuse,
    },
    store::{decode, keys},
};
use serde::{Deserialize, Serialize};

use crate::{
    confirm::Confirm,
    find, print, render,
    target::{Deployment, Target},
};

/// How often the execution is looked at.
const LOOK: Duration = Duration::from_millis(500);

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
    /// Take an image back that is deprecated or disabled: it is as before, and is left alone for 30 days
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
    for (run, started) in runs {
        let key = keys::prune_result(&run);
        let text = deployment.cloud.text(&key).await?;
        let outcome = text.map(|text| decode(&key, &text)).transpose()?;
        past.push(Past { run, started, outcome });
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

fn question(plan: &Plan) -> String {
    let count = |number: usize, one: &str, more: &str| match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {more}"),
    };
    let of = |act: Act| plan.retire.iter().filter(|one| one.act == act).count();
    let mut parts = Vec::new();
    for (act, word) in [
        (Act::Restore, "restore"),
        (Act::Deprecate, "deprecate"),
        (Act::Disable, "disable"),
        (Act::Deregister, "deregister"),
    ] {
        if of(act) > 0 {
            parts.push(format!("{word} {}", count(of(act), "image", "images")));
        }
    }
    if !plan.dead_bakes.is_empty() {
        parts.push(format!("remove what {} left", count(plan.dead_bakes.len(), "dead bake", "dead bakes")));
    }
    let last = of(Act::Deregister) > 0 || !plan.dead_bakes.is_empty();
    let back = match (last, of(Act::Disable) + of(Act::Deprecate) > 0) {
        (true, _) => "What is deregistered or removed can't be had back.",
        (false, true) => "`ovenbird prune undo IMAGE` takes an image back.",
        (false, false) => "Nothing is taken away.",
    };
    let question = parts.join(", ");
    let mut letters = question.chars();
    let question = letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().collect::<String>() + letters.as_str());
    format!("{question}? {back}")
}

async fn start(deployment: &Deployment, request: &Request) -> Result<BakeId> {
    let name = format!("prune-{}", uuid::Uuid::new_v4().simple());
    let id = BakeId::parse(&name).map_err(|error| Error::bad_id("the execution's name", &error))?;
    deployment.cloud.start(&deployment.prune_machine, &id, &request.input().to_string()).await?;
    Ok(id)
}

/// Waits for a run's end, and gives its output.
async fn finish(deployment: &Deployment, run: &BakeId) -> Result<Output> {
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
            Some(Execution::Running) | None => tokio::time::sleep(LOOK).await,
        }
    }
}

/// The plan or what became of it, as a table: a line for each image with its strongest reason, and one for each bake.
pub fn text_of(pruned: &Pruned) -> String {
    let plan = &pruned.plan;
    let mut rows = Vec::new();
    if pruned.acted {
        rows.extend(pruned.retired.iter().map(|one| row(&done(one.act), one)));
        for one in &pruned.cleaned {
            let status = one.status.map_or("no record", Status::as_str).to_owned();
            rows.push(bake_row("cleaned up", &one.bake, status));
            rows.extend(one.kept.iter().map(kept_row));
        }
    } else {
        let mut due: Vec<&Verdict> = plan.retire.iter().collect();
        due.sort_by_key(|one| std::cmp::Reverse(one.act));
        rows.extend(due.into_iter().map(|one| row(&one.act.to_string(), one)));
        for dead in &plan.dead_bakes {
            let leaves =
                if dead.leaves.is_empty() { "nothing but its lease".into() } else { dead.leaves.join(", ") };
            rows.push(bake_row("clean up", dead, leaves));
        }
        rows.extend(plan.keep.iter().map(|one| row(&one.act.to_string(), one)));
        rows.extend(plan.stays.iter().map(kept_row));
    }
    let mut text = String::new();
    if !rows.is_empty() {
        let head = ["ACT", "WHAT", "NAME", "PIPELINE", "WHY"].map(str::to_owned);
        text = render::columns(std::iter::once(head).chain(rows));
    }
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if !pruned.acted {
        lines.extend(plan.problems.iter().map(|problem| format!("look at: {problem}")));
        if plan.later > 0 {
            lines.push(format!(
                "later: {} more; a run takes {MOST_AWAY} images or a tenth of all, and {MOST_PER_RUN} dead bakes",
                plan.later
            ));
        }
        lines.extend(plan.halted.iter().map(|why| format!("halted: {why}")));
    }
    if lines.is_empty() {
        lines.push("no images".to_owned());
    }
    lines.join("\n")
}

fn done(act: Act) -> String {
    match act {
        Act::Keep | Act::Wait => "kept",
        Act::Deprecate => "deprecated",
        Act::Disable => "disabled",
        Act::Deregister => "deregistered",
        Act::Restore => "restored",
    }
    .to_owned()
}

fn row(act: &str, one: &Verdict) -> [String; 5] {
    let mut why = because(one.reason, &one.by);
    if let Some(until) = one.until {
        why.push_str(&format!(", until {until:.0}"));
    }
    match one.also.len() {
        0 => {}
        1 => why.push_str("; and 1 more reason"),
        more => why.push_str(&format!("; and {more} more reasons")),
    }
    [act.to_owned(), one.image.to_string(), one.name.clone(), one.pipeline.to_string(), why]
}

fn bake_row(act: &str, dead: &DeadBake, why: String) -> [String; 5] {
    [act.to_owned(), format!("bake {}", dead.bake), String::new(), dead.pipeline.to_string(), why]
}

fn kept_row(kept: &Kept) -> [String; 5] {
    ["keep".to_owned(), kept.id.clone(), String::new(), String::new(), because(kept.reason, &kept.by)]
}

fn because(reason: Reason, by: &str) -> String {
    if by.is_empty() { reason.to_string() } else { format!("{reason} ({by})") }
}

/// One image with every reason.
pub fn explained(one: &Verdict) -> String {
    let mut lines = vec![
        format!("image     {} ({})", one.image, one.name),
        format!("pipeline  {}", one.pipeline),
        format!("act       {}", one.act),
        format!("because   {}", because(one.reason, &one.by)),
    ];
    lines.extend(one.also.iter().map(|also| format!("and       {}", because(also.reason, &also.by))));
    if let Some(until) = one.until {
        lines.push(format!("until     {until:.0}"));
    }
    if let Some(was) = one.was {
        let stage = match was.stage {
            Retiring::Deprecated => "deprecated",
            Retiring::Disabled => "disabled",
            Retiring::Undone => "taken back",
        };
        lines.push(format!("{stage:<9} since {:.0}", was.since));
    }
    if !one.snapshots.is_empty() {
        let snapshots: Vec<&str> = one.snapshots.iter().map(|id| id.as_str()).collect();
        lines.push(format!("with it   {}", snapshots.join(", ")));
    }
    lines.join("\n")
}

/// What became of an image that was to be taken back.
pub fn undone(one: &Verdict) -> String {
    match one.act {
        Act::Restore => format!("restored {}: it is as before, and left alone for 30 days", one.image),
        Act::Keep | Act::Wait | Act::Deprecate | Act::Disable | Act::Deregister => {
            format!("not restored: {}: {}", one.image, because(one.reason, &one.by))
        }
    }
}

/// The runs of the past, a line for each.
pub fn past(runs: &[Past]) -> String {
    let head = ["STARTED", "RUN", "IMAGES", "DEAD BAKES", "LOOK AT"].map(str::to_owned);
    let rows = runs.iter().map(|one| {
        let of = |count: fn(&Outcome) -> usize| {
            one.outcome.as_ref().map_or_else(|| "-".to_owned(), |outcome| count(outcome).to_string())
        };
        [
            format!("{:.0}", one.started),
            one.run.to_string(),
            of(|outcome| outcome.retired.len()),
            of(|outcome| outcome.cleaned.len()),
            of(|outcome| outcome.failures.len()),
        ]
    });
    render::columns(std::iter::once(head).chain(rows)).trim_end().to_owned()
}

/// What is said at the end.
pub fn report(pruned: &Pruned) -> String {
    if pruned.acted {
        return text_of(pruned);
    }
    if pruned.plan.is_empty() {
        return format!("{}\nnothing to do", text_of(pruned));
    }
    "nothing was done; `--yes` makes the plan anew and acts on it without asking".to_owned()
}
