//! `ovenbird recipe list`, `history`, `show` and `diff`: which versions of a recipe there were, who pushed them, and what
//! they say.

use std::{path::Path, process::Command};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use ovenbird_core::{
    Error, Result,
    domain::id::{Digest, PipelineName},
    ports::{Bucket as _, Stack as _},
    store::{
        Ledger, Push, keys,
        recipes::{self, Files, RecipePointer},
    },
    views::explain,
};
use serde::Serialize;
use similar::TextDiff;

use super::bundle::Bundle;
use crate::{find, render, target::Deployment};

/// How much of a version is shown.
pub(super) const SHORT: usize = 12;

/// One version of a recipe. Of one that an older Ovenbird pushed, it isn't known by whom.
#[derive(Debug, Serialize)]
pub struct Version {
    /// The pipeline.
    pipeline: PipelineName,
    /// The version.
    version: Digest,
    /// Whether bakes use it now.
    current: bool,
    /// When it was pushed.
    at: Option<Timestamp>,
    /// By whom.
    by: Option<String>,
    /// What they said of it.
    message: Option<String>,
    /// The commit that it was pushed from.
    git: Option<String>,
    /// The key that signed it, `SHA256:…`; none where the stack names no signers, and of a version that none of them signed.
    signer: Option<String>,
}

impl Version {
    fn pushed(push: Push, current: bool) -> Self {
        let Push { pipeline, version, at, by, message, git } = push;
        Self { pipeline, version, current, at: Some(at), by: Some(by), message, git, signer: None }
    }

    /// Who pushed it, and by which key it is signed.
    fn whose(&self) -> String {
        let by = self.by.as_deref().unwrap_or("-");
        match &self.signer {
            Some(signer) => {
                format!("{by}, signed by {}", &signer[..signer.len().min(SHORT + "SHA256:".len())])
            }
            None => by.to_owned(),
        }
    }
}

/// The current recipe of every pipeline that has one.
pub async fn list(deployment: &Deployment) -> Result<Vec<Version>> {
    let pipelines = find::pipelines(deployment).await?;
    let found = find::each(&pipelines, async |pipeline| {
        let Some((pointer, written)) = current(deployment, pipeline).await? else { return Ok(None) };
        let pushes = Ledger(&deployment.cloud).pushes(pipeline).await?;
        let push = pushes.into_iter().find(|push| push.version == pointer.version);
        Ok(Some(push.map_or_else(
            || unnoted(pipeline, pointer.version, true, Some(written)),
            |push| Version::pushed(push, true),
        )))
    });
    let mut versions: Vec<Version> = found.await?.into_iter().flatten().collect();
    note_signers(deployment, &mut versions).await?;
    Ok(versions)
}

/// The versions of a pipeline's recipe, the newest push first, with those who signed them.
pub async fn history(deployment: &Deployment, pipeline: &PipelineName) -> Result<Vec<Version>> {
    let mut versions = pushed(deployment, pipeline).await?;
    note_signers(deployment, &mut versions).await?;
    Ok(versions)
}

/// The versions of a pipeline's recipe, the newest push first.
async fn pushed(deployment: &Deployment, pipeline: &PipelineName) -> Result<Vec<Version>> {
    let current = current(deployment, pipeline).await?.map(|(pointer, _)| pointer.version);
    let pushes = Ledger(&deployment.cloud).pushes(pipeline).await?;
    let mut versions = Vec::new();
    let mut unseen = recipes::versions(&deployment.cloud, pipeline).await?;
    for push in pushes {
        unseen.retain(|version| *version != push.version);
        // Only the last push of a version made it the current one.
        let is_current = current.as_ref() == Some(&push.version)
            && versions.iter().all(|one: &Version| one.version != push.version);
        versions.push(Version::pushed(push, is_current));
    }
    for version in unseen {
        let is_current = current.as_ref() == Some(&version);
        let key = keys::recipe_version_pointer(pipeline, &version);
        let written = deployment.cloud.written_text(&key).await?.map(|(_, written)| written);
        versions.push(unnoted(pipeline, version, is_current, written));
    }
    versions.sort_by_key(|version| std::cmp::Reverse(version.at));
    if versions.is_empty() {
        return Err(Error::NoRecipe { pipeline: pipeline.clone() });
    }
    Ok(versions)
}

/// Notes which of the stack's signers signed each version. A signature that doesn't hold is none, as for a bake.
async fn note_signers(deployment: &Deployment, versions: &mut [Version]) -> Result<()> {
    let signers = deployment.cloud.signers();
    if signers.is_empty() {
        return Ok(());
    }
    let noted = stream::iter(versions).map(async |one| {
        let signature = deployment.cloud.text(&keys::signature(&one.pipeline, &one.version)).await?;
        one.signer = signature.and_then(|text| signers.signer(&one.pipeline, &one.version, &text).ok());
        Ok(())
    });
    noted.buffer_unordered(find::AT_ONCE).try_collect().await
}

fn unnoted(pipeline: &PipelineName, version: Digest, current: bool, at: Option<Timestamp>) -> Version {
    Version {
        pipeline: pipeline.clone(),
        version,
        current,
        at,
        by: None,
        message: None,
        git: None,
        signer: None,
    }
}

/// The pointer to the current recipe, and when it was written.
async fn current(
    deployment: &Deployment,
    pipeline: &PipelineName,
) -> Result<Option<(RecipePointer, Timestamp)>> {
    let key = keys::recipe_pointer(pipeline);
    let Some((text, written)) = deployment.cloud.written_text(&key).await? else { return Ok(None) };
    Ok(Some((ovenbird_core::store::decode("the recipe's pointer", &text)?, written)))
}

/// Versions as a table.
pub fn text(versions: &[Version], now: Timestamp) -> String {
    let head = ["PUSHED", "AGE", "PIPELINE", "VERSION", "BY", "COMMIT", "MESSAGE"];
    render::table(
        head,
        versions.iter().map(|one| {
            let current = if one.current { " (current)" } else { "" };
            let commit = one.git.as_deref().unwrap_or("-");
            [
                one.at.map_or("-".to_owned(), render::minute),
                one.at.map_or("-".to_owned(), |at| render::age(at, now)),
                one.pipeline.to_string(),
                format!("{}{current}", &one.version.as_str()[..SHORT]),
                one.whose(),
                commit.chars().take(SHORT).chain(commit.chars().skip(SHORT).filter(|c| *c == '+')).collect(),
                one.message.clone().unwrap_or_default(),
            ]
        }),
    )
}

/// The version that begins so, of those of a pipeline.
pub async fn version(deployment: &Deployment, pipeline: &PipelineName, text: &str) -> Result<Digest> {
    let mut like = recipes::versions(&deployment.cloud, pipeline).await?;
    like.retain(|version| version.as_str().starts_with(text));
    match like.len() {
        1 if !text.is_empty() => Ok(like.swap_remove(0)),
        count => {
            let problem = if count == 0 { "is none of" } else { "may be several of" };
            Err(Error::bad_input(
                format!("version `{text}`"),
                format!("{problem} the recipes of pipeline `{pipeline}`"),
                format!("Write as much of it as tells it apart: `ovenbird recipe history {pipeline}`"),
            ))
        }
    }
}

/// What a revert made current.
#[derive(Debug, Serialize)]
pub struct Reverted {
    /// The pipeline.
    pipeline: PipelineName,
    /// The version that is current now.
    version: Digest,
    /// The version that was current before.
    before: Digest,
}

impl Reverted {
    /// For people.
    pub fn text(&self) -> String {
        let [version, before] = [&self.version, &self.before].map(|version| &version.as_str()[..SHORT]);
        let Self { pipeline, .. } = self;
        format!(
            "version {version} of pipeline {pipeline} is current again, and {before} no longer; bake it: `ovenbird bake \
             {pipeline}`"
        )
    }
}

/// Makes an older version current again; without one that is named, the one that was current before.
pub async fn revert(
    deployment: &Deployment,
    pipeline: &PipelineName,
    wanted: Option<&str>,
    message: Option<String>,
) -> Result<Reverted> {
    let missing = || Error::NoRecipe { pipeline: pipeline.clone() };
    let before = current(deployment, pipeline).await?.ok_or_else(missing)?.0.version;
    let wanted = match wanted {
        Some(text) => version(deployment, pipeline, text).await?,
        None => {
            let pushes = Ledger(&deployment.cloud).pushes(pipeline).await?;
            let older = pushes.into_iter().find(|push| push.version != before).map(|push| push.version);
            older.ok_or_else(|| {
                let fix = format!("See the versions: `ovenbird recipe history {pipeline}`");
                Error::bad_input(format!("pipeline `{pipeline}`"), "had no other recipe before this one", fix)
            })?
        }
    };
    if wanted == before {
        return Err(Error::bad_input(
            format!("version `{}`", &wanted.as_str()[..SHORT]),
            "is current already",
            format!("See the versions: `ovenbird recipe history {pipeline}`"),
        ));
    }
    let (pointer, recipe) = recipes::recipe_version(&deployment.cloud, pipeline, &wanted).await?;
    super::push::prepare(deployment, &recipe).await?;
    super::sign::signature(pipeline, &wanted, None, &deployment.cloud).await?;
    let message = message.unwrap_or_else(|| format!("back from {}", &before.as_str()[..SHORT]));
    super::push::make_current(deployment, &recipe, &pointer, Some(message), None).await?;
    Ok(Reverted { pipeline: pipeline.clone(), version: wanted, before })
}

/// One side of a comparison.
struct Side {
    name: String,
    text: String,
    files: Files,
}

async fn side(deployment: &Deployment, pipeline: &PipelineName, version: &Digest) -> Result<Side> {
    let (pointer, text) = recipes::recipe_text(&deployment.cloud, pipeline, version).await?;
    let files = recipes::files(&deployment.cloud, pipeline, &pointer).await?;
    Ok(Side { name: format!("version {}", &version.as_str()[..SHORT]), text, files })
}

/// What differs between two versions, as a patch shows it, and between the files beside them.
#[derive(Debug, Serialize)]
pub struct Difference {
    /// What is compared: the older side's name.
    before: String,
    /// The newer side's name.
    now: String,
    /// The recipe's text as a unified diff; empty when it is the same.
    pub recipe: String,
    /// The files that differ, a line each.
    pub files: Vec<String>,
}

impl Difference {
    /// For people and for `patch`.
    pub fn text(&self) -> String {
        if self.recipe.is_empty() && self.files.is_empty() {
            return format!("{} and {} are the same", self.before, self.now);
        }
        let files: Vec<_> = self.files.iter().map(|line| format!("file {line}")).collect();
        format!("{}{}", self.recipe, files.join("\n"))
    }
}

/// Compares two versions; by default the one before the current one with it, or the current one with what is at a path.
pub async fn diff(
    deployment: &Deployment,
    pipeline: &PipelineName,
    versions: &[String],
    with: Option<&Path>,
) -> Result<Difference> {
    let missing = || Error::NoRecipe { pipeline: pipeline.clone() };
    let now = match (with, versions.get(1)) {
        (Some(_), _) => None,
        (None, Some(text)) => Some(version(deployment, pipeline, text).await?),
        (None, None) => Some(current(deployment, pipeline).await?.ok_or_else(missing)?.0.version),
    };
    let before = match (versions.first(), &now) {
        (Some(text), _) => version(deployment, pipeline, text).await?,
        (None, None) => current(deployment, pipeline).await?.ok_or_else(missing)?.0.version,
        (None, Some(now)) => {
            let mut older = pushed(deployment, pipeline).await?;
            older.retain(|one| one.version != *now);
            // What was uploaded for one bake alone was never current, and nobody pushed it.
            let pushed = older.iter().position(|one| one.by.is_some()).unwrap_or(0);
            let older = older.into_iter().nth(pushed).map(|one| one.version);
            older.ok_or_else(|| {
                let fix = "Compare it with what is here: `--with recipe.toml`";
                Error::bad_input(format!("pipeline `{pipeline}`"), "has one version of its recipe alone", fix)
            })?
        }
    };
    let before = side(deployment, pipeline, &before).await?;
    let now = match (now, with) {
        (Some(version), _) => side(deployment, pipeline, &version).await?,
        (None, path) => {
            let path = path.unwrap_or(Path::new("recipe.toml"));
            let Bundle { text, files, .. } = Bundle::read(path)?;
            Side { name: path.display().to_string(), text, files }
        }
    };
    Ok(compare(&before, &now))
}

fn compare(before: &Side, now: &Side) -> Difference {
    let diff = TextDiff::from_lines(&before.text, &now.text);
    let recipe = diff.unified_diff().header(&before.name, &now.name).to_string();
    Difference {
        before: before.name.clone(),
        now: now.name.clone(),
        recipe,
        files: explain::files(&before.files, &now.files),
    }
}

/// The version that is named, or the current one.
pub(super) async fn meant(
    deployment: &Deployment,
    pipeline: &PipelineName,
    wanted: Option<&str>,
) -> Result<Digest> {
    match wanted {
        Some(text) => version(deployment, pipeline, text).await,
        None => {
            let missing = || Error::NoRecipe { pipeline: pipeline.clone() };
            Ok(current(deployment, pipeline).await?.ok_or_else(missing)?.0.version)
        }
    }
}

/// A version of a recipe, to read.
#[derive(Debug, Serialize)]
pub struct ShownRecipe {
    /// The version.
    version: Digest,
    /// The recipe.
    recipe: String,
    /// The files that go with it.
    files: Vec<String>,
}

impl ShownRecipe {
    /// For people: the recipe, so that it can be kept in a file.
    pub fn text(&self) -> &str {
        &self.recipe
    }
}

/// A version as it was pushed; without one that is named, the current version.
pub async fn show(
    deployment: &Deployment,
    pipeline: &PipelineName,
    wanted: Option<&str>,
) -> Result<ShownRecipe> {
    let version = meant(deployment, pipeline, wanted).await?;
    let Side { text: recipe, files, .. } = side(deployment, pipeline, &version).await?;
    Ok(ShownRecipe { version, recipe, files: files.into_keys().collect() })
}

/// The commit that a folder is at, with `+` behind it when files differ in it or in the folder of its template; none outside
/// a checkout.
pub fn commit(folder: &Path, of_template: &Path) -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(folder).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let head = git(&["rev-parse", "--verify", "HEAD"])?;
    // A template somewhere else is none of this commit's.
    let beside = of_template.canonicalize().ok()?;
    let changed = git(&["status", "--porcelain", "--", ".", beside.to_str()?])
        .or_else(|| git(&["status", "--porcelain", "--", "."]))?;
    Some(format!("{head}{}", if changed.is_empty() { "" } else { "+" }))
}

#[cfg(test)]
mod tests {
    use ovenbird_core::domain::digest;

    use super::*;

    #[test]
    fn a_difference_is_a_patch_and_the_files_that_changed() {
        let facts = recipes::FileFacts { sha256: digest::sha256(b"#!/bin/sh\n"), mode: 0o755 };
        let files = Files::from([("a/run.sh".to_owned(), facts)]);
        let side = |name: &str, text: &str, files| Side { name: name.into(), text: text.into(), files };
        let before = side("version 1", "a = 1\nb = 2\n", Files::new());
        let same = compare(&before, &side("version 1b", "a = 1\nb = 2\n", Files::new()));
        assert_eq!(same.text(), "version 1 and version 1b are the same");
        let text = compare(&before, &side("version 2", "a = 1\nb = 3\n", files)).text();
        for line in ["--- version 1", "+++ version 2", "-b = 2", "+b = 3", "file `a/run.sh` is new"] {
            assert!(text.lines().any(|one| one == line), "no {line:?} in {text}");
        }
    }
}
