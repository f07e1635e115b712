//! `ovenbird bake`: starts a bake, and follows it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use jiff::Timestamp;
use ovenbird_aws::upload::MOST_BYTES;
use ovenbird_core::{
    Error, Result,
    domain::{
        artifact::{self, ArtifactKey},
        bake::{Bake, Labels},
        id::{BakeId, Digest, PipelineName},
        recipe::Recipe,
    },
    store::{Ledger, recipes},
};
use serde::Serialize;
use serde_json::json;

use crate::{
    complete,
    find::Early,
    follow::{self, FollowArgs, Followed},
    pace::{Pace, Seldom},
    recipe, render,
    reports::Reports,
    target::{Deployment, Target},
    upload,
};

/// Start a bake and follow it to its end
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ovenbird bake storefront --artifact target/app.jar     deploy a version
  ovenbird bake --recipe . --keep-builder                try the recipe that is here; nothing is promoted
  ovenbird bake storefront --no-promote --label git=$(git rev-parse --short HEAD)
  ovenbird bake storefront --detach --json               start it, and go on")]
pub struct BakeArgs {
    /// The pipeline's name (default: that of ./recipe.toml)
    #[arg(add = complete::pipelines())]
    pipeline: Option<String>,
    /// Upload this file as the artifact, and bake it
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    artifact: Option<PathBuf>,
    /// Bake the artifact that has this key in the bucket (default: the newest)
    #[arg(long)]
    key: Option<String>,
    /// Bake this version of the recipe, or the one at this path, and promote nothing (default: the current one)
    #[arg(long, value_name = "VERSION_OR_PATH")]
    recipe: Option<String>,
    /// Sign the recipe at that path with this SSH key, for a stack that bakes signed recipes alone
    #[arg(long, value_name = "KEY", env = "OVENBIRD_SIGN")]
    sign: Option<PathBuf>,
    /// Bake even if an image of these inputs exists, and promote it even if a newer artifact was promoted already
    #[arg(long)]
    force: bool,
    /// Make and test the image, but leave the channel where it is
    #[arg(long)]
    no_promote: bool,
    /// Leave the builder running if the bake fails
    #[arg(long)]
    keep_builder: bool,
    /// Note this of the bake, in its record and as a tag of its image; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Start the bake and print its id, without following it
    #[arg(long, conflicts_with_all = ["timeout", "junit", "children"])]
    detach: bool,
    #[command(flatten)]
    pub follow: FollowArgs,
}

impl BakeArgs {
    /// Whether the bake is started by hand and not by its upload, which can ask for nothing.
    fn by_hand(&self) -> bool {
        let asks = self.force || self.no_promote || self.keep_builder || !self.labels.is_empty();
        asks || self.recipe.is_some()
    }
}

/// What became of a start.
#[derive(Debug)]
pub enum Started {
    /// It was followed.
    Followed(Box<Deployment>, BakeId, Followed),
    /// Nobody wanted to follow it.
    Detached(BakeId),
}

/// A bake that was started and isn't followed.
#[derive(Debug, Serialize)]
pub struct Detached<'a> {
    /// Its id.
    pub bake: &'a BakeId,
}

/// Among how many of a pipeline's newest bakes that of an upload is looked for.
const NEWEST: usize = 20;

/// How often the record of a bake is looked for in the end.
pub const LOOK: Duration = Duration::from_secs(2);

/// How often the executions that failed are listed: the account's bucket for that is refilled by two a second.
pub const LIST: Duration = Duration::from_secs(2);

/// After an upload or a push, its record is there within this time, or the trigger doesn't work.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Starts, and follows unless that isn't wanted.
pub async fn run(args: &BakeArgs, target: &Target, json: bool) -> Result<Started> {
    let pipeline = match (&args.pipeline, &args.recipe) {
        (None, Some(path)) if is_path(path) => recipe::pipeline_at(Path::new(path))?,
        (name, _) => recipe::pipeline(name.as_deref(), target)?,
    };
    let deployment = target.deployment().await?;
    let (pointer, current) = recipes::recipe(&deployment.cloud, &pipeline).await?;
    let version = match &args.recipe {
        Some(text) if is_path(text) => Some(
            recipe::push::upload_for_a_bake(&deployment, &pipeline, Path::new(text), args.sign.as_deref())
                .await?,
        ),
        Some(text) => Some(recipe::history::version(&deployment, &pipeline, text).await?),
        None => None,
    };
    let recipe = match &version {
        Some(version) => recipes::recipe_version(&deployment.cloud, &pipeline, version).await?.1,
        None => current,
    };
    if version.is_none() {
        note_difference(&pipeline, &pointer);
    }
    let id = match &args.artifact {
        Some(_) if recipe.artifact.is_none() => {
            return Err(Error::bad_input(
                format!("pipeline `{pipeline}`"),
                "takes no artifact: its recipe has no `[artifact]`",
                "Bake it without `--artifact`, or write `[artifact]` with `to` into the recipe and push it",
            ));
        }
        Some(file) if args.by_hand() => {
            // The folder says that the upload starts nothing; what isn't promoted is nobody's newest artifact either.
            let promoted = !args.no_promote && version.is_none();
            let folder = if promoted { artifact::BY_HAND } else { artifact::UNPROMOTED };
            let key = put(&deployment, &recipe, &format!("{folder}/"), file).await?;
            start(&deployment, &pipeline, args, Some(&key), version.as_ref()).await?
        }
        Some(file) => upload(&deployment, &recipe, file).await?,
        None => {
            let key = args.key.as_deref().map(|key| artifact_key(&pipeline, key)).transpose()?;
            start(&deployment, &pipeline, args, key.as_ref(), version.as_ref()).await?
        }
    };
    if args.detach {
        recorded(&deployment, &pipeline, &id).await?;
        return Ok(Started::Detached(id));
    }
    let followed = follow::follow(&deployment, &pipeline, &id, &args.follow, json).await?;
    Ok(Started::Followed(Box::new(deployment), id, followed))
}

/// Waits until a bake that was started has a record: from then on every command knows it.
async fn recorded(deployment: &Deployment, pipeline: &PipelineName, id: &BakeId) -> Result<()> {
    let pace = Pace::up_to(LOOK);
    while Ledger(&deployment.cloud).bake(pipeline, id).await?.is_none() {
        if let Some(early) = Early::find(deployment, id).await? {
            return Err(early.error());
        }
        if pace.waited() > PATIENCE {
            return Err(Error::bad_input(
                format!("bake `{id}`"),
                format!("was started and has no record after {} s", PATIENCE.as_secs()),
                format!("See whether it comes: `ovenbird follow {id}`"),
            ));
        }
        pace.pause().await;
    }
    Ok(())
}

/// A label as it is typed: `git=3f2a91c`.
fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as `KEY=VALUE`")?;
    let label = (key.to_owned(), value.to_owned());
    Labels::try_from(BTreeMap::from([label.clone()]))?;
    Ok(label)
}

/// Whether a recipe is named by its place and not by its version: versions are hexadecimal.
fn is_path(text: &str) -> bool {
    text.is_empty() || !text.chars().all(|letter| letter.is_ascii_hexdigit())
}

/// The key that somebody names: whole, or the plain name as `ovenbird list` shows it.
fn artifact_key(pipeline: &PipelineName, key: &str) -> Result<ArtifactKey> {
    if key.starts_with(artifact::PREFIX) {
        return ArtifactKey::parse(key);
    }
    ArtifactKey::parse(&format!("{}{key}", artifact::prefix(pipeline)))
}

/// Says that the recipe beside whoever bakes isn't the one that is baked: an edit that wasn't pushed is easily forgotten.
pub fn note_difference(pipeline: &PipelineName, pointer: &recipes::RecipePointer) {
    // A file that can't be read, or is another pipeline's, is none of this bake's business.
    if let Some(here) = recipe::here(pipeline)
        && here.version != pointer.version
    {
        let version = &pointer.version.as_str()[..12];
        crate::tell!(
            "note: ./recipe.toml isn't the pushed recipe, which is version {version}. Push it: `ovenbird recipe push`; see what \
             differs: `ovenbird recipe diff {pipeline} --with .`"
        );
    }
}

/// Uploads a file into a folder of the pipeline's artifacts.
async fn put(deployment: &Deployment, recipe: &Recipe, folder: &str, file: &Path) -> Result<ArtifactKey> {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let key = ArtifactKey::parse(&format!("{}{folder}{name}", artifact::prefix(&recipe.pipeline)))?;
    check(file, recipe, &key)?;
    upload::upload(&deployment.cloud, key.as_str(), file).await?;
    Ok(key)
}

/// Refuses what is no artifact, or too large for an object, before anything is uploaded.
fn check(file: &Path, recipe: &Recipe, key: &ArtifactKey) -> Result<()> {
    let what = || format!("artifact `{}`", file.display());
    let refused = |problem: &str| {
        let fix = "Name the file that your build made; an artifact is one file that isn't empty";
        Err(Error::bad_input(what(), problem, fix))
    };
    if artifact::is_companion(key.as_str()) {
        return refused("has the name of a checksum or a signature");
    }
    if let Some(problem) = recipe.artifact.as_ref().and_then(|artifact| artifact.refuses(key.file_name())) {
        return Err(Error::bad_input(
            what(),
            problem,
            "Give it a name that matches, or push a recipe with another `match`",
        ));
    }
    match std::fs::metadata(file) {
        Err(error) => refused(&error.to_string()),
        Ok(metadata) if !metadata.is_file() => refused("is not a file"),
        Ok(metadata) if metadata.len() == 0 => refused("is empty"),
        Ok(metadata) if metadata.len() > MOST_BYTES => refused("is larger than an object of S3 may be"),
        Ok(_) => Ok(()),
    }
}

/// Uploads, and waits for the bake that the upload starts.
async fn upload(deployment: &Deployment, recipe: &Recipe, file: &Path) -> Result<BakeId> {
    let pipeline = &recipe.pipeline;
    let ledger = Ledger(&deployment.cloud);
    let before: Vec<BakeId> =
        ledger.bakes(pipeline, NEWEST).await?.into_iter().map(|bake| bake.spec.id).collect();
    let failed = deployment.cloud.failed_executions(&deployment.bake_machine).await?;
    let key = put(deployment, recipe, "", file).await?;
    let (pace, mut listed) = (Pace::up_to(LOOK), Seldom::every(LIST));
    loop {
        let ours = ledger.bakes(pipeline, NEWEST).await?.into_iter().find(|bake| {
            !before.contains(&bake.spec.id)
                && bake.spec.artifact.as_ref().is_some_and(|artifact| artifact.key == key)
        });
        if let Some(bake) = ours {
            return Ok(bake.spec.id);
        }
        let now_failed = match listed.is_due(pace.waited()) {
            true => deployment.cloud.failed_executions(&deployment.bake_machine).await?,
            false => Vec::new(),
        };
        for (id, _) in now_failed {
            // Somebody else's upload may fail at the same time.
            if !failed.iter().any(|(known, _)| *known == id)
                && let Some(early) = Early::find(deployment, &id).await?
                && early.artifact.as_ref() == Some(&key)
            {
                return Err(early.error());
            }
        }
        if pace.waited() > PATIENCE {
            return Err(Error::bad_input(
                format!("upload of `{key}`"),
                format!("started no bake within {} s", PATIENCE.as_secs()),
                "Look in Step Functions for the newest execution of the bake state machine: if there is one, it says why it \
                 has no record; if there is none, S3's event started nothing",
            ));
        }
        pace.pause().await;
    }
}

async fn start(
    deployment: &Deployment,
    pipeline: &PipelineName,
    args: &BakeArgs,
    key: Option<&ArtifactKey>,
    version: Option<&Digest>,
) -> Result<BakeId> {
    let name = format!("{pipeline}-{}", uuid::Uuid::new_v4().simple());
    let id = BakeId::parse(&name).map_err(|error| Error::bad_id("the execution's name", &error))?;
    let by = deployment.cloud.caller().await?;
    let mut input = json!({
        "by": by,
        "pipeline": pipeline,
        "force": args.force,
        "promote": !args.no_promote,
        "keep-builder": args.keep_builder,
    });
    if !args.labels.is_empty() {
        let labels: BTreeMap<_, _> = args.labels.iter().cloned().collect();
        input["labels"] = json!(labels);
    }
    if let Some(key) = key {
        input["artifact"] = json!(key);
    }
    if let Some(version) = version {
        input["recipe"] = json!(version);
    }
    deployment.cloud.start(&deployment.bake_machine, &id, &input.to_string()).await?;
    Ok(id)
}

/// A cause without what stands in full below it: its first line, and its hint with what follows that.
fn in_short(cause: &str) -> String {
    let first = cause.lines().next().unwrap_or_default();
    match cause.split_once("\nhint: ") {
        Some((_, hint)) => format!("{first}\nhint: {hint}"),
        None => first.to_owned(),
    }
}

/// What is printed at the end.
pub fn report(bake: &Bake, reports: &Reports) -> String {
    let mut text = render::timeline(bake, Timestamp::now());
    text.push('\n');
    if let Some(failure) = &bake.progress.failure {
        let failures = reports.failures_text();
        let cause = if failures.is_empty() { failure.cause.clone() } else { in_short(&failure.cause) };
        text.push_str(&format!("error: {}: {cause}\n", failure.error));
        if !failures.is_empty() {
            text.push_str(&format!("{failures}\n"));
        }
    }
    text.push_str(&render::verdict(bake));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_told_in_full_once() {
        let cause = "1 of 2 tests failed: `serves`: no answer\nweb is active\n    a log\nhint: Fix it\nkept as asked: i-1";
        assert_eq!(
            in_short(cause),
            "1 of 2 tests failed: `serves`: no answer\nhint: Fix it\nkept as asked: i-1"
        );
        assert_eq!(in_short("no answer\nmore"), "no answer");
    }
}
