//! Which bake, image or instance somebody means: by an id, by its beginning, or by its pipeline.

use std::collections::BTreeSet;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use ovenbird_aws::workflow::Execution;
use ovenbird_core::{
    Error, Result,
    domain::{
        artifact::ArtifactKey,
        bake::{Bake, Stage, Status},
        id::{BakeId, PipelineName},
        trigger::Trigger,
    },
    store::Ledger,
    views::status::BakeSummary,
};

use crate::target::Deployment;

/// How many pipelines are asked about at once: DynamoDB answers hundreds, and a laptop's connections are few.
pub const AT_ONCE: usize = 32;

/// How many of those that begin alike are named.
const NAMED: usize = 5;

/// How far back `PIPELINE@NUMBER` may count.
const MOST: usize = 1000;

/// A bake that failed before it had a record: Step Functions alone knows of it.
#[derive(Debug)]
pub struct Early {
    /// Its execution's name.
    pub bake: BakeId,
    /// The pipeline that it was to bake; none when its input names none.
    pub pipeline: Option<PipelineName>,
    /// What started it; none when its input isn't understood.
    pub trigger: Option<&'static str>,
    /// The artifact whose upload started it.
    pub artifact: Option<ArtifactKey>,
    /// The error's name.
    pub error: String,
    /// What happened, with a hint.
    pub cause: String,
    /// When its execution started.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
}

impl Early {
    /// The failed execution of this name, if there is one.
    pub async fn find(deployment: &Deployment, bake: &BakeId) -> Result<Option<Self>> {
        let execution = deployment.cloud.execution(&deployment.bake_machine, bake).await?;
        let Some(Execution::Failed { input, error, cause, started, ended }) = execution else {
            return Ok(None);
        };
        let trigger = serde_json::from_str(&input).ok().and_then(|input| Trigger::of(&input));
        let pipeline = trigger.as_ref().map(|trigger| trigger.pipeline().clone());
        let word = trigger.as_ref().map(Trigger::word);
        let artifact = match trigger {
            Some(Trigger::Upload { key, .. }) => Some(key),
            Some(Trigger::Manual { .. } | Trigger::Cascade { .. }) | None => None,
        };
        Ok(Some(Self { bake: bake.clone(), pipeline, trigger: word, artifact, error, cause, started, ended }))
    }

    /// Those that started since a moment, if one is given, and are not among the known bakes: what failed lately.
    pub async fn all(
        deployment: &Deployment,
        since: Option<Timestamp>,
        known: &BTreeSet<&BakeId>,
    ) -> Result<Vec<Self>> {
        let mut failed = deployment.cloud.failed_executions(&deployment.bake_machine).await?;
        failed.retain(|(id, started)| !known.contains(id) && since.is_none_or(|since| *started >= since));
        let found = stream::iter(&failed).map(async |(id, _)| {
            let Some(early) = Self::find(deployment, id).await? else { return Ok(None) };
            // It may have a record all the same, below what is known: its input says of which pipeline.
            let recorded = match &early.pipeline {
                Some(pipeline) => Ledger(&deployment.cloud).bake(pipeline, id).await?.is_some(),
                None => false,
            };
            Ok((!recorded).then_some(early))
        });
        let found: Vec<Option<Self>> = found.buffered(AT_ONCE).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// What views tell of a bake.
    pub fn summary(&self) -> BakeSummary {
        BakeSummary {
            bake: self.bake.clone(),
            status: Status::Failed,
            stage: Stage::Launch,
            started: self.started,
            stage_since: self.started,
            ended: self.ended,
            error: Some(self.error.clone()),
        }
    }

    /// Why it failed; the cause brings its own hint.
    pub fn error(&self) -> Error {
        let (cause, fix) = self.cause.split_once("\nhint: ").unwrap_or((&self.cause, "Start the bake again"));
        Error::bad_input(format!("bake `{}`: {}", self.bake, self.error), cause, fix)
    }
}

/// Every pipeline that ever had a recipe.
pub async fn pipelines(deployment: &Deployment) -> Result<BTreeSet<PipelineName>> {
    Ledger(&deployment.cloud).pipelines(&deployment.cloud).await
}

/// Does something for each of many pipelines, several at once; gives the answers in the pipelines' order.
pub async fn each<'p, A>(
    pipelines: impl IntoIterator<Item = &'p PipelineName>,
    ask: impl AsyncFn(&'p PipelineName) -> Result<A>,
) -> Result<Vec<A>> {
    stream::iter(pipelines).map(|pipeline| ask(pipeline)).buffered(AT_ONCE).try_collect().await
}

/// The bake that is meant by its id, the id's beginning, `PIPELINE`, `PIPELINE@latest` or `PIPELINE@3`.
pub async fn find(deployment: &Deployment, text: &str) -> Result<Bake> {
    if let Some((pipeline, which)) = text.split_once('@') {
        return nth(deployment, pipeline, which).await;
    }
    let id = BakeId::parse(text).map_err(|error| Error::bad_id("BAKE", &error))?;
    let pipelines = pipelines(deployment).await?;
    if pipelines.iter().any(|pipeline| pipeline.as_str() == text) {
        return nth(deployment, text, "latest").await;
    }
    let found = each(&pipelines, async |pipeline| Ledger(&deployment.cloud).bakes_like(pipeline, &id).await);
    let mut found: Vec<Bake> = found.await?.into_iter().flatten().collect();
    if let Some(exact) = found.iter().position(|bake| bake.spec.id == id) {
        return Ok(found.swap_remove(exact));
    }
    match found.len() {
        0 => Err(unrecorded(deployment, &id).await?),
        1 => Ok(found.swap_remove(0)),
        count => {
            found.sort_by_key(|bake| std::cmp::Reverse(bake.spec.started));
            let named: Vec<_> = found.iter().take(NAMED).map(|bake| bake.spec.id.to_string()).collect();
            let more = if count > NAMED { " and others" } else { "" };
            Err(Error::bad_input(
                format!("bake `{id}`"),
                format!("may be any of {count}: {}{more}", named.join(", ")),
                "Write more of the id, or `PIPELINE@latest`",
            ))
        }
    }
}

/// The newest bake of a pipeline, or the so manieth newest.
async fn nth(deployment: &Deployment, pipeline: &str, which: &str) -> Result<Bake> {
    let name = PipelineName::parse(pipeline).map_err(|error| Error::bad_id("PIPELINE", &error))?;
    let place = match which {
        "latest" => 1,
        number => number.parse().ok().filter(|number| (1..=MOST).contains(number)).ok_or_else(|| {
            Error::bad_input(
                format!("`{pipeline}@{which}`"),
                "names no bake",
                format!(
                    "Write `{pipeline}@latest`, or `{pipeline}@2` for the one before it, up to `@{MOST}`"
                ),
            )
        })?,
    };
    let mut bakes = Ledger(&deployment.cloud).bakes(&name, place).await?;
    let count = bakes.len();
    if count >= place {
        return Ok(bakes.swap_remove(place - 1));
    }
    if count == 0 && !pipelines(deployment).await?.contains(&name) {
        return Err(Error::NoRecipe { pipeline: name });
    }
    Err(Error::bad_input(
        format!("pipeline `{name}`"),
        format!("has {count} {} on record", if count == 1 { "bake" } else { "bakes" }),
        format!("List them: `ovenbird list {name}`"),
    ))
}

/// Why there is no record of a bake: it failed before it had one, or there was none of this name.
async fn unrecorded(deployment: &Deployment, id: &BakeId) -> Result<Error> {
    if let Some(early) = Early::find(deployment, id).await? {
        return Ok(early.error());
    }
    let failed = deployment.cloud.failed_executions(&deployment.bake_machine).await?;
    let mut like = failed.iter().map(|(bake, _)| bake).filter(|bake| bake.as_str().starts_with(id.as_str()));
    if let (Some(only), None) = (like.next(), like.next())
        && let Some(early) = Early::find(deployment, only).await?
    {
        return Ok(early.error());
    }
    let fix = "List the bakes: `ovenbird list`";
    Ok(Error::bad_input(format!("bake `{id}`"), "is not on record", fix))
}
