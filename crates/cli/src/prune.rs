//! `ovenbird prune`, `clean` and `cancel`: what the schedule and the event rule do, by hand.
//!
//! All of it is done by prune's function: it alone may destroy.

use std::time::Duration;

use jiff::Timestamp;
use ovenbird_aws::workflow::Execution;
use ovenbird_core::{
    Error, Result,
    domain::{
        bake::{Bake, Status},
        id::BakeId,
    },
    ports::{Bucket as _, Workflow as _},
    steps::prune::{DeadBake, MOST_PER_RUN, Plan, Reaped, Reason, Request, Verdict, is_dead, refuse},
    store::{decode, keys},
};
use serde::{Deserialize, Serialize};

use crate::{
    confirm::Confirm,
    find, print,
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

/// Plans a prune run, shows the plan and acts on it if that is wanted.
pub async fn run(target: &Target, confirm: Confirm, json: bool) -> Result<Pruned> {
    let deployment = target.deployment().await?;
    planned(&deployment, &Request::Everything { dry_run: true }, confirm, json).await
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
    let key = keys::prune_plan(&run);
    let text = deployment.cloud.text(&key).await?.unwrap_or_default();
    let plan: Plan = decode(&key, &text)?;
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

fn question(plan: &Plan) -> String {
    let count = |number: usize, one: &str, more: &str| match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {more}"),
    };
    format!(
        "Deregister {} with their snapshots, and remove what {} left? This can't be undone.",
        count(plan.retire.len(), "image", "images"),
        count(plan.dead_bakes.len(), "dead bake", "dead bakes")
    )
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

/// The plan or what became of it, a line for each image and each bake.
pub fn text_of(pruned: &Pruned) -> String {
    let plan = &pruned.plan;
    let mut lines = Vec::new();
    let verdict = |what: &str, one: &Verdict| {
        let by = if one.by.is_empty() { String::new() } else { format!(" ({})", one.by) };
        format!("{what:<12} {} {} ({}): {}{by}", one.image, one.name, one.pipeline, one.reason)
    };
    if pruned.acted {
        for one in &pruned.retired {
            let gone = one.reason == Reason::Retired;
            lines.push(verdict(if gone { "retired" } else { "kept" }, one));
        }
        for one in &pruned.cleaned {
            let status = one.status.map_or("no record", Status::as_str);
            lines.push(format!(
                "{:<12} bake {} ({}): {status}",
                "cleaned up", one.bake.bake, one.bake.pipeline
            ));
            lines.extend(one.kept.iter().map(|kept| format!("{:<12} {kept}", "kept")));
        }
        return lines.join("\n");
    }
    lines.extend(plan.retire.iter().map(|one| verdict("would retire", one)));
    for dead in &plan.dead_bakes {
        let leaves =
            if dead.leaves.is_empty() { "nothing but its lease".into() } else { dead.leaves.join(", ") };
        lines.push(format!("{:<12} bake {} ({}): {leaves}", "would clean", dead.bake, dead.pipeline));
    }
    lines.extend(plan.keep.iter().map(|one| verdict("keeps", one)));
    lines.extend(plan.stays.iter().map(|kept| format!("{:<12} {kept}", "keeps")));
    lines.extend(plan.problems.iter().map(|problem| format!("{:<12} {problem}", "look at")));
    if plan.later > 0 {
        lines.push(format!("{:<12} {} more: a run takes {MOST_PER_RUN}", "later", plan.later));
    }
    lines.extend(plan.halted.iter().map(|why| format!("{:<12} {why}", "halted")));
    if lines.is_empty() {
        lines.push("no images".to_owned());
    }
    lines.join("\n")
}

/// What is said at the end.
pub fn report(pruned: &Pruned) -> String {
    if pruned.acted {
        return text_of(pruned);
    }
    if pruned.plan.is_empty() {
        return format!("{}\nnothing to destroy", text_of(pruned));
    }
    "nothing was destroyed; `--yes` makes the plan anew and acts on it without asking".to_owned()
}
