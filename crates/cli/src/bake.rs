//! `ovenbird bake`: starts a bake and shows it, stage by stage.

use std::{io::IsTerminal as _, path::PathBuf, time::Duration};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use ovenbird_core::{
    Error, Result,
    domain::{
        artifact::{self, ArtifactKey},
        bake::{Bake, Stage, Status},
        id::{BakeId, PipelineName},
        mailbox::Heartbeat,
    },
    ports::Role,
    store::{Ledger, Mailbox, recipes},
};
use serde_json::json;

use crate::{
    list::{self, Early},
    render,
    target::{Deployment, Target},
};

/// Start a bake and follow it to its end
#[derive(Debug, Args)]
pub struct BakeArgs {
    /// The pipeline's name
    pipeline: String,
    /// Upload this file as the artifact; the upload itself starts the bake
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key", "force", "no_promote", "keep_builder"])]
    artifact: Option<PathBuf>,
    /// Bake the artifact that has this key in the bucket (default: the newest)
    #[arg(long)]
    key: Option<String>,
    /// Bake even if an image of these inputs exists, and promote it even if a newer artifact was promoted already
    #[arg(long)]
    force: bool,
    /// Make and test the image, but leave the channel where it is
    #[arg(long)]
    no_promote: bool,
    /// Leave the builder running if the bake fails
    #[arg(long)]
    keep_builder: bool,
}

/// Among how many of a pipeline's newest bakes that of an upload is looked for.
const NEWEST: usize = 20;

/// How often the record is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// After an upload, the bake's record is there within this time, or the trigger doesn't work.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts and follows; gives the bake as it ended.
pub async fn run(args: &BakeArgs, target: &Target, json: bool) -> Result<Bake> {
    let deployment = target.deployment().await?;
    let pipeline = PipelineName::parse(&args.pipeline).map_err(|error| Error::bad_id("PIPELINE", &error))?;
    let (_, recipe) = recipes::recipe(&deployment.cloud, &pipeline).await?;
    let id = match &args.artifact {
        Some(_) if recipe.artifact.is_none() => {
            return Err(Error::bad_input(
                format!("pipeline `{pipeline}`"),
                "takes no artifact: its recipe has no `[artifact]`",
                "Bake it without `--artifact`, or write `[artifact]` with `to` into the recipe and push it",
            ));
        }
        Some(file) => upload(&deployment, &pipeline, file).await?,
        None => start(&deployment, &pipeline, args).await?,
    };
    follow(&deployment, &pipeline, &id, json).await
}

/// Follows a bake that was started before.
pub async fn follow_by_id(bake: &str, target: &Target, json: bool) -> Result<Bake> {
    let deployment = target.deployment().await?;
    let bake = list::find(&deployment, bake).await?;
    follow(&deployment, &bake.spec.pipeline, &bake.spec.id, json).await
}

async fn upload(deployment: &Deployment, pipeline: &PipelineName, file: &std::path::Path) -> Result<BakeId> {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let key = ArtifactKey::parse(&format!("{}{pipeline}/{name}", artifact::PREFIX))?;
    let refused = |problem: &str| {
        let fix = "Name the file that your build made; an artifact is one file that isn't empty";
        Error::bad_input(format!("artifact `{}`", file.display()), problem, fix)
    };
    let metadata = std::fs::metadata(file).map_err(|error| refused(&error.to_string()))?;
    if !metadata.is_file() {
        return Err(refused("is not a file"));
    }
    if metadata.len() == 0 {
        return Err(refused("is empty"));
    }
    let ledger = Ledger(&deployment.cloud);
    let before: Vec<BakeId> =
        ledger.bakes(pipeline, NEWEST).await?.into_iter().map(|bake| bake.spec.id).collect();
    let failed = deployment.cloud.failed_executions(&deployment.bake_machine).await?;
    deployment.cloud.put_file(key.as_str(), file).await?;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let ours = ledger.bakes(pipeline, NEWEST).await?.into_iter().find(|bake| {
            !before.contains(&bake.spec.id)
                && bake.spec.artifact.as_ref().is_some_and(|artifact| artifact.key == key)
        });
        if let Some(bake) = ours {
            return Ok(bake.spec.id);
        }
        for id in deployment.cloud.failed_executions(&deployment.bake_machine).await? {
            // Somebody else's upload may fail at the same time.
            if !failed.contains(&id)
                && let Some(early) = Early::find(deployment, &id).await?
                && early.artifact.as_ref() == Some(&key)
            {
                return Err(early.error());
            }
        }
        if tokio::time::Instant::now() > deadline {
            return Err(Error::bad_input(
                format!("upload of `{key}`"),
                format!("started no bake within {} s", PATIENCE.as_secs()),
                "Look in Step Functions for the newest execution of the bake state machine: if there is one, it says why it \
                 has no record; if there is none, S3's event started nothing",
            ));
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn start(deployment: &Deployment, pipeline: &PipelineName, args: &BakeArgs) -> Result<BakeId> {
    let name = format!("{pipeline}-{}", uuid::Uuid::new_v4().simple());
    let id = BakeId::parse(&name).map_err(|error| Error::bad_id("the execution's name", &error))?;
    let mut input = json!({
        "pipeline": pipeline,
        "force": args.force,
        "promote": !args.no_promote,
        "keep-builder": args.keep_builder,
    });
    if let Some(key) = &args.key {
        input["artifact"] = json!(ArtifactKey::parse(key)?);
    }
    deployment.cloud.start(&deployment.bake_machine, &id, &input.to_string()).await?;
    Ok(id)
}

/// Shows every stage as it begins and ends, until the bake has ended. Ctrl-C ends the following, not the bake.
async fn follow(deployment: &Deployment, pipeline: &PipelineName, id: &BakeId, json: bool) -> Result<Bake> {
    tokio::select! {
        ended = watch(deployment, pipeline, id, json) => ended,
        signal = tokio::signal::ctrl_c() => {
            if let Err(error) = signal {
                eprintln!("error: can't listen for Ctrl-C: {error}");
            }
            eprintln!(
                "\nbake {id} goes on. Follow it: `ovenbird follow {id}`; stop it and remove what it made: `ovenbird \
                 cancel {id}`"
            );
            std::process::exit(INTERRUPTED);
        }
    }
}

/// The exit status of a program that Ctrl-C ended, as shells have it.
const INTERRUPTED: i32 = 130;

async fn watch(deployment: &Deployment, pipeline: &PipelineName, id: &BakeId, json: bool) -> Result<Bake> {
    let bar = if json || !std::io::stderr().is_terminal() {
        ProgressBar::hidden()
    } else {
        ProgressBar::new_spinner()
    };
    // The rest of the line is cut to the terminal's width.
    if let Ok(style) = ProgressStyle::with_template("  {prefix:<12} {elapsed_precise} {spinner} {wide_msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    if !json {
        eprintln!("bake {id}");
    }
    let (mut shown, mut live) = (0, Live::default());
    loop {
        let bake = Ledger(&deployment.cloud).bake(pipeline, id).await?;
        if let Some(bake) = &bake {
            bar.set_prefix(bake.progress.stage.as_str());
            if !json {
                live.look(deployment, bake, &bar).await;
            }
            let ended = bake.progress.timeline.iter().filter(|span| span.end.is_some()).skip(shown);
            for span in ended {
                shown += 1;
                let seconds = render::seconds(span.start, span.end.unwrap_or(span.start));
                if !json {
                    bar.suspend(|| eprintln!("  {:<12} {seconds:>6.1} s", span.stage.as_str()));
                }
            }
        }
        if let Some(bake) = bake.filter(|bake| bake.progress.status != Status::Running) {
            bar.finish_and_clear();
            return Ok(bake.into_inner());
        }
        if let Some(early) = Early::find(deployment, id).await?
            && Ledger(&deployment.cloud)
                .bake(pipeline, id)
                .await?
                .is_none_or(|bake| bake.progress.status == Status::Running)
        {
            bar.finish_and_clear();
            return Err(early.error());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What the builder is doing, while it does it.
#[derive(Default)]
struct Live {
    looked: Option<tokio::time::Instant>,
    at: Option<(Stage, usize)>,
}

impl Live {
    /// Shows the step at work with the last line of its output; where there is no terminal, each step once.
    async fn look(&mut self, deployment: &Deployment, bake: &Bake, bar: &ProgressBar) {
        let stage = bake.progress.stage;
        let role = match stage {
            Stage::Builder | Stage::Validation | Stage::Seal => Role::Builder,
            Stage::Boot => Role::Verifier,
            Stage::Launch | Stage::AwaitTwin | Stage::Image | Stage::Promotion | Stage::CleanUp => {
                return bar.set_message("");
            }
        };
        if self.looked.is_some_and(|looked| looked.elapsed() < HEARTBEAT) {
            return;
        }
        self.looked = Some(tokio::time::Instant::now());
        // It only tells more: that it can't be read is no reason to stop following.
        let heartbeat = Mailbox::new(&deployment.cloud, &bake.spec, role).heartbeat().await;
        let Ok(Some((Heartbeat { work: Some(work), .. }, _))) = heartbeat else { return };
        let line = work.output.lines().last().unwrap_or_default();
        let name = if work.number == 0 {
            work.name.clone()
        } else {
            format!("{} ({} of {})", work.name, work.number, work.of)
        };
        if bar.is_hidden() && self.at.replace((stage, work.number)) != Some((stage, work.number)) {
            eprintln!("  {:<12} {}", stage.as_str(), plain(&name));
        }
        bar.set_message(plain(&format!("{name}  {line}")));
    }
}

/// A text of a builder's, of which a terminal obeys nothing.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// How often a builder's heartbeat is read.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// What is printed at the end.
pub fn report(bake: &Bake) -> String {
    let mut text = render::timeline(bake, Timestamp::now());
    text.push('\n');
    if let Some(failure) = &bake.progress.failure {
        text.push_str(&format!("error: {}: {}\n", failure.error, failure.cause));
    }
    text.push_str(&render::verdict(bake));
    text
}
