//! `ovenbird list`, `ovenbird show` and `ovenbird lineage`: what was baked, and on what.

use std::collections::BTreeSet;

use ovenbird_aws::workflow::Execution;
use ovenbird_core::{
    Error, Result,
    domain::{
        artifact::ArtifactKey,
        bake::Bake,
        id::{AmiId, BakeId, PipelineName},
        trigger::Trigger,
    },
    ports::{self, Workflow as _},
    store::Ledger,
    views::lineage::{self, Link},
};

use crate::target::{Deployment, Target};

/// The newest bakes of one pipeline or of all, the newest first.
pub async fn list(pipeline: Option<&str>, most: usize, target: &Target) -> Result<Vec<Bake>> {
    let deployment = target.deployment().await?;
    let ledger = Ledger(&deployment.cloud);
    if let Some(name) = pipeline {
        let pipeline = PipelineName::parse(name).map_err(|error| Error::bad_id("PIPELINE", &error))?;
        let bakes = ledger.bakes(&pipeline, most).await?;
        if bakes.is_empty() && !pipelines(&deployment).await?.contains(&pipeline) {
            return Err(Error::NoRecipe { pipeline });
        }
        warn_of_dead(&deployment, Some(&pipeline)).await?;
        return Ok(bakes);
    }
    let mut bakes = Vec::new();
    let pipelines = pipelines(&deployment).await?;
    for pipeline in &pipelines {
        bakes.extend(ledger.bakes(pipeline, most).await?);
    }
    bakes.sort_by_key(|bake| std::cmp::Reverse(bake.spec.started));
    bakes.truncate(most);
    warn_of_dead(&deployment, None).await?;
    let failed = deployment.cloud.failed_executions(&deployment.bake_machine).await?;
    for id in failed.iter().filter(|id| bakes.iter().all(|bake| bake.spec.id != **id)) {
        if recorded(&deployment, &pipelines, id).await?.is_some() {
            continue;
        }
        eprintln!("bake {id} failed before it had a record: `ovenbird show {id}` says why");
    }
    Ok(bakes)
}

/// A bake that failed before it had a record: Step Functions alone knows of it.
#[derive(Debug)]
pub struct Early {
    bake: BakeId,
    /// The artifact whose upload started it.
    pub artifact: Option<ArtifactKey>,
    error: String,
    cause: String,
}

impl Early {
    /// The failed execution of this name, if there is one.
    pub async fn find(deployment: &Deployment, bake: &BakeId) -> Result<Option<Self>> {
        let execution = deployment.cloud.execution(&deployment.bake_machine, bake).await?;
        let Some(Execution::Failed { input, error, cause }) = execution else { return Ok(None) };
        let trigger =
            serde_json::from_str(&input).ok().and_then(|input| Trigger::parse(&input).ok().flatten());
        let artifact = match trigger {
            Some(Trigger::Upload { key, .. }) => Some(key),
            Some(Trigger::Manual { .. } | Trigger::Cascade { .. }) | None => None,
        };
        Ok(Some(Self { bake: bake.clone(), artifact, error, cause }))
    }

    /// Why it failed; the cause brings its own hint.
    pub fn error(&self) -> Error {
        let (cause, fix) = self.cause.split_once("\nhint: ").unwrap_or((&self.cause, "Start the bake again"));
        Error::bad_input(format!("bake `{}`: {}", self.bake, self.error), cause, fix)
    }
}

/// One bake, with the lineage of its image.
pub async fn show(bake: &str, target: &Target) -> Result<(Bake, Vec<Link>)> {
    let deployment = target.deployment().await?;
    let bake = find(&deployment, bake).await?;
    let links = lineage::lineage(&Ledger(&deployment.cloud), &bake).await?;
    Ok((bake, links))
}

/// The lineage of an image, or of what a bake made.
pub async fn lineage(of: &str, target: &Target) -> Result<Vec<Link>> {
    let deployment = target.deployment().await?;
    let bake = match AmiId::parse(of) {
        Ok(image) => Ledger(&deployment.cloud).maker(&image).await?.ok_or_else(|| {
            let fix = "List the bakes with their images: `ovenbird list`";
            Error::bad_input(format!("image `{image}`"), "was made by no bake on record", fix)
        })?,
        Err(error) if of.starts_with("ami-") => return Err(Error::bad_id("OF", &error)),
        Err(_) => find(&deployment, of).await?,
    };
    lineage::lineage(&Ledger(&deployment.cloud), &bake).await
}

/// Finds a bake by its id alone.
pub async fn find(deployment: &Deployment, bake: &str) -> Result<Bake> {
    let id = BakeId::parse(bake).map_err(|error| Error::bad_id("BAKE", &error))?;
    if let Some(bake) = recorded(deployment, &pipelines(deployment).await?, &id).await? {
        return Ok(bake);
    }
    if let Some(early) = Early::find(deployment, &id).await? {
        return Err(early.error());
    }
    Err(Error::bad_input(format!("bake `{id}`"), "is not on record", "List the bakes: `ovenbird list`"))
}

/// The record of a bake, in whichever of the pipelines.
async fn recorded(
    deployment: &Deployment,
    pipelines: &BTreeSet<PipelineName>,
    id: &BakeId,
) -> Result<Option<Bake>> {
    for pipeline in pipelines {
        if let Some(bake) = Ledger(&deployment.cloud).bake(pipeline, id).await? {
            return Ok(Some(bake.into_inner()));
        }
    }
    Ok(None)
}

/// Says of a pipeline's bakes, or of all, that are on their way by their record alone what to do about them. However old
/// they are: what they left costs money, whether the list shows them or not.
async fn warn_of_dead(deployment: &Deployment, pipeline: Option<&PipelineName>) -> Result<()> {
    let (running, _) = Ledger(&deployment.cloud).running().await?;
    for bake in running.iter().filter(|bake| pipeline.is_none_or(|pipeline| bake.spec.pipeline == *pipeline))
    {
        let id = &bake.spec.id;
        match deployment.cloud.bake_execution(id).await? {
            Some(ports::Execution::Succeeded) => eprintln!(
                "the execution of bake {id} succeeded, but its record says that it runs: the table was restored to an \
                 earlier time. See \"A table that was put back\" in docs/prune.md"
            ),
            Some(execution) if execution.is_over() => eprintln!(
                "bake {id} is dead: its execution ended without its clean-up. Clean up: `ovenbird clean {id}`"
            ),
            Some(_) | None => {}
        }
    }
    Ok(())
}

/// Every pipeline that ever had a recipe.
async fn pipelines(deployment: &Deployment) -> Result<BTreeSet<PipelineName>> {
    Ledger(&deployment.cloud).pipelines(&deployment.cloud).await
}
