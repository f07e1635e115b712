//! `ovenbird pipeline`: which pipelines there are; pauses one, lets it go on, limits it, or removes it.

mod limits;
mod rename;

use std::{path::PathBuf, process::ExitCode};

use clap::Subcommand;
use jiff::Timestamp;
use ovenbird_core::{
    Error, Result,
    domain::{
        id::{AmiId, ChannelName, Digest, ParameterName, PipelineName},
        plain::plain,
    },
    ops::pipeline::{self, Removal},
    ports::{Bucket as _, Parameters as _},
    store::{Ledger, Said, decode, keys, recipes::RecipePointer},
};
use serde::Serialize;

use self::limits::Change;
use crate::{
    FAILED, complete,
    confirm::Confirm,
    find, print, render,
    target::{Deployment, Target},
};

/// List, pause, resume, limit and remove pipelines
#[derive(Debug, Subcommand)]
pub enum PipelineCommand {
    /// List the pipelines: the recipe's version, the channels, and whether they are paused
    List,
    /// Let no upload and no move of its base start a bake; people still may
    Pause {
        /// The pipeline's name
        #[arg(add = complete::pipelines())]
        pipeline: String,
        /// Why, for whoever asks later
        #[arg(long)]
        why: Option<String>,
    },
    /// Let a paused pipeline go on
    Resume {
        /// The pipeline's name
        #[arg(add = complete::pipelines())]
        pipeline: String,
    },
    /// Show what the recipes of a pipeline may ask of a builder, or set it
    Limits {
        /// The pipeline's name; it need not be there yet
        #[arg(add = complete::pipelines())]
        pipeline: String,
        /// Set the limits that this TOML file says, in place of all that there are
        #[arg(long, value_name = "FILE")]
        set: Option<PathBuf>,
        /// Take all limits away
        #[arg(long, conflicts_with = "set")]
        clear: bool,
        /// Why, for whoever asks later
        #[arg(long)]
        why: Option<String>,
    },
    /// Show what a new name of a pipeline takes; it can't be given one, and nothing is changed
    Rename {
        /// The pipeline's name
        #[arg(add = complete::pipelines())]
        pipeline: String,
        /// The name that it is to have
        to: String,
    },
    /// Remove a pipeline: show what goes and what stands against it, then ask
    Remove {
        /// The pipeline's name
        #[arg(add = complete::pipelines())]
        pipeline: String,
        /// Why, for whoever asks later
        #[arg(long)]
        why: Option<String>,
        #[command(flatten)]
        confirm: Confirm,
    },
}

/// A pipeline, in a line.
#[derive(Debug, Serialize)]
struct PipelineRow {
    /// The pipeline.
    pipeline: PipelineName,
    /// The version of its current recipe; none when it has none any more.
    recipe: Option<Digest>,
    /// Its channels.
    channels: Vec<ChannelName>,
    /// Whose word it is that nothing starts a bake of it by itself; none when it isn't paused.
    paused: Option<Said>,
}

/// What the removal of a pipeline does, and whether it was done.
#[derive(Debug, Serialize)]
struct RemovalView {
    /// The pipeline.
    pipeline: PipelineName,
    /// Whether it is removed.
    removed: bool,
    /// The channels that go.
    channels: Vec<RemovedChannel>,
    /// The parameters that followed them. They stay as they are, and keep the images that they name.
    parameters: Vec<LeftParameter>,
    /// Why it can't be removed now.
    against: Vec<String>,
}

/// A channel that goes with its pipeline.
#[derive(Debug, Serialize)]
struct RemovedChannel {
    /// Its name.
    channel: ChannelName,
    /// What it pointed at.
    image: Option<AmiId>,
}

/// A parameter that followed a channel.
#[derive(Debug, Serialize)]
struct LeftParameter {
    /// Its name.
    parameter: ParameterName,
    /// What it says.
    value: Option<String>,
}

/// Carries out a command.
pub async fn run(command: &PipelineCommand, target: &Target, json: bool) -> Result<ExitCode> {
    let deployment = target.deployment().await?;
    let cloud = &deployment.cloud;
    match command {
        PipelineCommand::List => {
            let standing = Ledger(cloud).standing(cloud).await?;
            let rows = find::each(standing.here.keys(), async |pipeline| {
                row(&deployment, pipeline, standing.here.get(pipeline).cloned().flatten()).await
            });
            let rows = rows.await?;
            print(json, &rows, &table(&rows, Timestamp::now()));
        }
        PipelineCommand::Pause { pipeline: name, why } => {
            let (name, said) = (parsed(name)?, said(&deployment, why.as_deref()).await?);
            pipeline::pause(&name, said.clone(), cloud).await?;
            let text = format!(
                "pipeline {name} is paused: no upload and no move of its base starts a bake. `ovenbird bake {name}` still \
                 does, and `ovenbird pipeline resume {name}` lets it go on"
            );
            print(json, &row(&deployment, &name, Some(said)).await?, &text);
        }
        PipelineCommand::Resume { pipeline: name } => {
            let name = parsed(name)?;
            pipeline::resume(&name, cloud).await?;
            let text = format!(
                "pipeline {name} goes on. What was uploaded meanwhile isn't baked by that: `ovenbird bake {name}` bakes the \
                 newest"
            );
            print(json, &row(&deployment, &name, None).await?, &text);
        }
        PipelineCommand::Limits { pipeline: name, set, clear, why } => {
            let change = match (set, clear) {
                (Some(path), _) => Change::Set(path),
                (None, true) => Change::Clear,
                (None, false) => Change::No,
            };
            let limits = limits::limits(&deployment, parsed(name)?, change, why.as_deref()).await?;
            print(json, &limits, &limits.text());
        }
        PipelineCommand::Rename { pipeline: name, to } => {
            let plan = rename::plan(&parsed(name)?, &parsed(to)?, cloud).await?;
            print(json, &plan, plan.text().trim_end());
            // It was asked for, and isn't done.
            return Ok(ExitCode::from(FAILED));
        }
        PipelineCommand::Remove { pipeline: name, why, confirm } => {
            return remove(&deployment, &parsed(name)?, why.as_deref(), *confirm, json).await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn remove(
    deployment: &Deployment,
    name: &PipelineName,
    why: Option<&str>,
    confirm: Confirm,
    json: bool,
) -> Result<ExitCode> {
    let cloud = &deployment.cloud;
    let plan = pipeline::removal(name, &cloud.fleet().await?, cloud).await?;
    let mut view = view(deployment, &plan).await?;
    if !json {
        print(false, &(), &plan_text(&view));
    }
    let agreed = plan.against.is_empty() && confirm.agrees(&format!("Remove pipeline {name}?"), json);
    if agreed {
        pipeline::remove(&plan, said(deployment, why).await?, cloud).await?;
        view.removed = true;
    }
    let done = if view.removed {
        "removed; `ovenbird prune` shows what becomes of its images"
    } else if plan.against.is_empty() {
        "nothing was removed"
    } else {
        "it can't be removed now"
    };
    print(json, &view, done);
    // A plan that can't be done is told as a failure, also when it was only to be shown.
    Ok(if plan.against.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

async fn view(deployment: &Deployment, plan: &Removal) -> Result<RemovalView> {
    let Removal { pipeline, channels, parameters, against } = plan.clone();
    let names: Vec<ParameterName> = parameters.into_iter().map(|owner| owner.parameter).collect();
    let values = if names.is_empty() { Default::default() } else { deployment.cloud.values(&names).await? };
    let channels = channels.into_iter().map(|channel| RemovedChannel {
        channel: channel.name,
        image: channel.current.map(|target| target.image),
    });
    let parameters = names.into_iter().map(|parameter| {
        let value = values.get(&parameter).cloned();
        LeftParameter { parameter, value }
    });
    let (channels, parameters) = (channels.collect(), parameters.collect());
    Ok(RemovalView { pipeline, removed: false, channels, parameters, against })
}

fn plan_text(view: &RemovalView) -> String {
    let RemovalView { pipeline, channels, parameters, against, removed: _ } = view;
    let mut text = format!("Removing pipeline {pipeline}:\n");
    for RemovedChannel { channel, image } in channels {
        let image = image.as_ref().map_or("nothing", |image| image.as_str());
        text.push_str(&format!("  goes    channel {channel}, which points at {image}\n"));
    }
    text.push_str(
        "  goes    its images, in stages, as prune retires them; `ovenbird prune undo` takes one back\n",
    );
    for LeftParameter { parameter, value } in parameters {
        let value = value.as_deref().unwrap_or("nothing");
        text.push_str(&format!(
            "  stays   parameter {parameter}, which says {}: while it does, that image stays, too\n",
            plain(value)
        ));
    }
    text.push_str("  stays   its recipes, artifacts and the records of its bakes; a push of its recipe brings it back\n");
    for reason in against {
        text.push_str(&format!("  against {}\n", plain(reason)));
    }
    text
}

async fn said(deployment: &Deployment, why: Option<&str>) -> Result<Said> {
    Ok(Said { by: deployment.cloud.caller().await?, why: why.map(str::to_owned), at: Timestamp::now() })
}

fn parsed(name: &str) -> Result<PipelineName> {
    PipelineName::parse(name).map_err(|error| Error::bad_id("PIPELINE", &error))
}

async fn row(deployment: &Deployment, pipeline: &PipelineName, paused: Option<Said>) -> Result<PipelineRow> {
    let cloud = &deployment.cloud;
    let key = keys::recipe_pointer(pipeline);
    let ledger = Ledger(cloud);
    let (text, channels) = futures::try_join!(cloud.text(&key), ledger.channels(pipeline))?;
    let pointer = text.map(|text| decode::<RecipePointer>(&key, &text)).transpose()?;
    Ok(PipelineRow {
        pipeline: pipeline.clone(),
        recipe: pointer.map(|pointer| pointer.version),
        channels: channels.into_iter().map(|channel| channel.name).collect(),
        paused,
    })
}

fn table(rows: &[PipelineRow], now: Timestamp) -> String {
    if rows.is_empty() {
        return "no pipeline has a recipe yet: `ovenbird recipe push`".to_owned();
    }
    let head = ["PIPELINE", "RECIPE", "CHANNELS", "STANDS"];
    render::table(
        head,
        rows.iter().map(|row| {
            let channels: Vec<&str> = row.channels.iter().map(ChannelName::as_str).collect();
            let stands = row.paused.as_ref().map(|said| {
                let why = said.why.as_ref().map(|why| format!(": {}", plain(why))).unwrap_or_default();
                format!("paused {} ago by {}{why}", render::age(said.at, now), plain(&said.by))
            });
            [
                row.pipeline.to_string(),
                row.recipe.as_ref().map_or("-".to_owned(), |version| version.as_str()[..12].to_owned()),
                if channels.is_empty() { "-".to_owned() } else { channels.join(", ") },
                stands.unwrap_or_else(|| "open".to_owned()),
            ]
        }),
    )
}
