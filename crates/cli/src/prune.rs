//! `ovenbird prune` and `ovenbird clean`: the same that the schedule does, by hand.

use std::time::Duration;

use jiff::Timestamp;
use ovenbird_aws::workflow::Execution;
use ovenbird_core::{
    Error, Result,
    id::BakeId,
    keys,
    ports::Bucket as _,
    steps::prune::{self, DeadBake, Plan, Shears},
};
use serde_json::Value;

use crate::{list, target::Target};

/// Starts the prune state machine, waits for its end and gives its output, with what it kept and why.
pub async fn run(target: &Target) -> Result<Value> {
    let site = target.site().await?;
    let name = format!("prune-{}", uuid::Uuid::new_v4().simple());
    let id = BakeId::parse(&name).map_err(|error| Error::bad_id("the execution's name", &error))?;
    site.cloud.start(&site.prune_machine, &id, "{}").await?;
    loop {
        match site.cloud.execution(&site.prune_machine, &id).await? {
            Some(Execution::Succeeded(output)) => {
                let corrupt = |source| Error::Corrupt { what: "the prune run's output".into(), source };
                let mut output: Value = serde_json::from_str(&output).map_err(corrupt)?;
                if let Some(text) = site.cloud.text(&keys::prune_plan(&id)).await? {
                    let plan: Plan = serde_json::from_str(&text).map_err(corrupt)?;
                    output["keep"] = serde_json::to_value(plan.keep).map_err(corrupt)?;
                }
                return Ok(output);
            }
            Some(Execution::Failed { error, cause, .. }) => {
                return Err(Error::bad_input(
                    format!("prune run `{id}`: {error}"),
                    cause,
                    "Mend it, and prune again",
                ));
            }
            Some(Execution::Running) | None => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

/// The plan that a run acted on, a line for each image.
pub fn text(output: &Value) -> String {
    let Ok(plan) = serde_json::from_value::<Plan>(output.clone()) else { return output.to_string() };
    let verdicts =
        plan.retire.iter().map(|verdict| ("retired", verdict)).chain(plan.keep.iter().map(|v| ("kept", v)));
    let mut lines: Vec<String> = verdicts
        .map(|(what, verdict)| {
            format!("{what:<8} {} {} ({}): {}", verdict.image, verdict.name, verdict.pipeline, verdict.reason)
        })
        .collect();
    lines.extend(
        plan.dead_bakes.iter().map(|dead| format!("reaped   bake {} ({})", dead.bake, dead.pipeline)),
    );
    if lines.is_empty() {
        lines.push("no images".to_owned());
    }
    lines.join("\n")
}

/// Removes what a dead bake left.
pub async fn clean(bake: &str, target: &Target) -> Result<DeadBake> {
    let site = target.site().await?;
    let bake = list::find(&site, bake).await?;
    let dead = DeadBake { pipeline: bake.pipeline, bake: bake.bake };
    let cloud = &site.cloud;
    let shears = Shears { builders: cloud, retirement: cloud, parameters: cloud, table: cloud };
    prune::reap(&dead, &shears, Timestamp::now()).await?;
    Ok(dead)
}
