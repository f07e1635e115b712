//! `ovenbird list`: the newest bakes, those among them that never had a record.

use clap::{Args, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use ovenbird_core::{
    Error, Result,
    domain::{
        bake::{Bake, Failure, Stage, Status},
        id::PipelineName,
        plain::plain_line,
    },
    ports::{self, Workflow as _},
    store::Ledger,
    views::bake::{BakeView, EarlyBakeView},
};
use serde::Serialize;

use crate::{
    complete,
    find::{self, Early},
    render,
    target::{Deployment, Target},
};

/// List the newest bakes, the newest first
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ovenbird list storefront --status failed --since 2d
  ovenbird list --json | jq '.[] | select(.status == \"failed\") | .failure.error'")]
pub struct ListArgs {
    /// The pipeline's name (default: all pipelines)
    #[arg(add = complete::pipelines())]
    pipeline: Option<String>,
    /// How many to list
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    limit: u16,
    /// Only bakes that stand so
    #[arg(long, value_enum)]
    status: Option<Wanted>,
    /// Only bakes that started within this time, such as `2h` or `7d`
    #[arg(long, value_name = "TIME", value_parser = render::duration)]
    since: Option<SignedDuration>,
}

/// How a bake stands, as `--status` takes it.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Wanted {
    Running,
    Promoted,
    Validated,
    Superseded,
    Failed,
    Cancelled,
}

impl Wanted {
    fn status(self) -> Status {
        match self {
            Self::Running => Status::Running,
            Self::Promoted => Status::Promoted,
            Self::Validated => Status::Validated,
            Self::Superseded => Status::Superseded,
            Self::Failed => Status::Failed,
            Self::Cancelled => Status::Cancelled,
        }
    }
}

/// How many bakes are looked through for those of one status, for each that is wanted.
const LOOKED_THROUGH: usize = 10;

/// One row.
#[derive(Debug)]
pub enum Row {
    /// A bake on record.
    Bake(Box<Bake>),
    /// One that failed before it had a record.
    Early(Box<Early>),
}

impl Row {
    fn started(&self) -> Timestamp {
        match self {
            Self::Bake(bake) => bake.spec.started,
            Self::Early(early) => early.started,
        }
    }

    fn view(&self) -> RowView<'_> {
        match self {
            Self::Bake(bake) => RowView::Bake(Box::new(BakeView::from(&**bake))),
            Self::Early(early) => RowView::Early(Box::new(EarlyBakeView {
                recorded: false,
                bake: &early.bake,
                pipeline: early.pipeline.as_ref(),
                status: Status::Failed,
                stage: Stage::Launch,
                trigger: early.trigger,
                started: early.started,
                ended: early.ended,
                failure: Failure {
                    error: early.error.clone(),
                    cause: early.cause.clone(),
                    stage: Stage::Launch,
                },
            })),
        }
    }
}

/// A row as `--json` prints it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum RowView<'a> {
    /// With a record.
    Bake(Box<BakeView<'a>>),
    /// Without one.
    Early(Box<EarlyBakeView<'a>>),
}

/// The rows as `--json` prints them.
pub fn json(rows: &[Row]) -> Vec<RowView<'_>> {
    rows.iter().map(Row::view).collect()
}

/// The newest bakes of one pipeline or of all, the newest first.
pub async fn run(args: &ListArgs, target: &Target) -> Result<Vec<Row>> {
    let deployment = target.deployment().await?;
    let ledger = Ledger(&deployment.cloud);
    let parsed = args.pipeline.as_deref().map(PipelineName::parse).transpose();
    let pipeline = parsed.map_err(|error| Error::bad_id("PIPELINE", &error))?;
    let most = usize::from(args.limit);
    let wanted = args.status.map(Wanted::status);
    let looked_through = if wanted.is_some() { most * LOOKED_THROUGH } else { most };
    let of = match &pipeline {
        Some(pipeline) => [pipeline.clone()].into(),
        None => find::pipelines(&deployment).await?,
    };
    let bakes = find::each(&of, async |pipeline| ledger.bakes(pipeline, looked_through).await).await?;
    let mut rows: Vec<Row> = bakes.into_iter().flatten().map(|bake| Row::Bake(Box::new(bake))).collect();
    // Those that have no record and are older than all that is shown are not asked about.
    rows.sort_by_key(|row| std::cmp::Reverse(row.started()));
    rows.truncate(looked_through);
    let oldest = if rows.len() < looked_through { None } else { rows.last().map(Row::started) };
    let known = rows.iter().filter_map(|row| match row {
        Row::Bake(bake) => Some(&bake.spec.id),
        Row::Early(_) => None,
    });
    let mut early = Early::all(&deployment, oldest, &known.collect()).await?;
    early.retain(|early| pipeline.is_none() || early.pipeline == pipeline);
    rows.extend(early.into_iter().map(|early| Row::Early(Box::new(early))));
    if rows.is_empty()
        && let Some(pipeline) = &pipeline
        && !find::pipelines(&deployment).await?.contains(pipeline)
    {
        return Err(Error::NoRecipe { pipeline: pipeline.clone() });
    }
    let since = args.since.map(|time| Timestamp::now() - time);
    rows.retain(|row| {
        let status = match row {
            Row::Bake(bake) => bake.progress.status,
            Row::Early(_) => Status::Failed,
        };
        wanted.is_none_or(|wanted| status == wanted) && since.is_none_or(|since| row.started() >= since)
    });
    rows.sort_by_key(|row| std::cmp::Reverse(row.started()));
    rows.truncate(most);
    warn_of_dead(&deployment, pipeline.as_ref()).await?;
    Ok(rows)
}

/// The rows as a table.
pub fn text(rows: &[Row], now: Timestamp) -> String {
    if rows.is_empty() {
        return "no such bake: `ovenbird bake PIPELINE` starts one".to_owned();
    }
    let head = ["STARTED", "AGE", "BAKE", "STATUS", "TOOK", "IMAGE", "PIPELINE", "WHAT"];
    render::table(
        head,
        rows.iter().map(|row| match row {
            Row::Bake(bake) => {
                let Bake { spec, progress } = &**bake;
                // What a failed bake made is gone, and what it reused isn't its own.
                let stays = match progress.status {
                    Status::Failed | Status::Cancelled => None,
                    Status::Running | Status::Promoted | Status::Validated | Status::Superseded => {
                        progress.image.as_ref()
                    }
                };
                let ended = progress.ended();
                let what = progress.failure.as_ref().map(|failure| failure.error.clone());
                let waits = (progress.status == Status::Running && progress.stage == Stage::AwaitTurn)
                    .then(|| "waits for its turn".to_owned());
                let artifact = spec.artifact.as_ref().map(|artifact| artifact.key.name().to_owned());
                [
                    render::minute(spec.started),
                    render::age(spec.started, now),
                    spec.id.to_string(),
                    progress.status.as_str().to_owned(),
                    render::age(spec.started, ended.unwrap_or(now)),
                    stays.map_or("-", |image| image.as_str()).to_owned(),
                    spec.pipeline.to_string(),
                    what.or(waits).or(artifact).unwrap_or_default(),
                ]
            }
            Row::Early(early) => [
                render::minute(early.started),
                render::age(early.started, now),
                early.bake.to_string(),
                Status::Failed.as_str().to_owned(),
                render::age(early.started, early.ended.unwrap_or(early.started)),
                "-".to_owned(),
                early.pipeline.as_ref().map_or("-", |pipeline| pipeline.as_str()).to_owned(),
                format!("{} (failed before it had a record)", early.error),
            ],
        }),
    )
}

/// Says of a pipeline's bakes, or of all, that are on their way by their record alone what to do about them. However old
/// they are: what they left costs money, whether the list shows them or not.
async fn warn_of_dead(deployment: &Deployment, pipeline: Option<&PipelineName>) -> Result<()> {
    let (running, unreadable) = Ledger(&deployment.cloud).running().await?;
    for error in unreadable {
        crate::tell!("{}", plain_line(&error.chain()));
    }
    for bake in running.iter().filter(|bake| pipeline.is_none_or(|pipeline| bake.spec.pipeline == *pipeline))
    {
        let id = &bake.spec.id;
        match deployment.cloud.bake_execution(id).await? {
            Some(ports::Execution::Succeeded) => crate::tell!(
                "the execution of bake {id} succeeded, but its record says that it runs: the table was restored to an \
                 earlier time. See \"A table that was put back\" in docs/prune.md"
            ),
            Some(execution) if execution.is_over() => crate::tell!(
                "bake {id} is dead: its execution ended without its clean-up. Clean up: `ovenbird clean {id}`"
            ),
            Some(_) | None => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first stage's sample of a bake that ended well.
    fn promoted() -> Bake {
        let items: Vec<serde_json::Value> =
            serde_json::from_str(include_str!("../../../tests/tests/steps/samples/first-stage.json"))
                .unwrap();
        let bake = items.into_iter().find(|item| item["doc"]["status"] == "promoted").expect("a sample");
        serde_json::from_value(bake["doc"].clone()).unwrap()
    }

    #[test]
    fn a_failed_bake_has_no_image_to_show_not_even_one_that_it_reused() {
        let now = "2026-12-01T00:00:00Z".parse().unwrap();
        let mut bake = promoted();
        let image = bake.progress.image.clone().expect("an image").to_string();
        let shown = |bake: &Bake| text(&[Row::Bake(Box::new(bake.clone()))], now);
        assert!(shown(&bake).contains(&image), "{}", shown(&bake));
        bake.progress.reused = true;
        bake.progress.status = Status::Failed;
        assert!(!shown(&bake).contains("ami-"), "{}", shown(&bake));
    }
}
