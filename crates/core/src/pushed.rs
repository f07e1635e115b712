//! What `recipe push` and `runner push` left in the bucket, and how it is read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    digest,
    error::{Error, Result},
    id::{Digest, PipelineName},
    keys,
    ports::Bucket,
    recipe::Recipe,
};

/// The pointer to a pipeline's current recipe, as `recipe push` writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipePointer {
    /// SHA-256 over the recipe's text and the bundle.
    pub version: Digest,
    /// SHA-256 of the bundle; none when the recipe has no files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<Digest>,
    /// The digest of the files in the bundle: the same files, packed otherwise, make no other image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Digest>,
}

impl RecipePointer {
    /// The files, as an image's input.
    pub fn files_input(&self) -> Option<&Digest> {
        self.files.as_ref().or(self.bundle.as_ref())
    }
}

/// The files beside a recipe, by their path.
pub type Files = BTreeMap<String, FileFacts>;

/// What of a file makes an image another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFacts {
    /// SHA-256 of its content.
    pub sha256: Digest,
    /// Its permission bits, as they are on the builder.
    pub mode: u32,
}

/// The digest of files.
pub fn files_digest(files: &Files) -> Digest {
    let document = serde_json::to_value(files).unwrap_or_else(|_| unreachable!("it has string keys only"));
    digest::canonical(&document)
}

/// The files of one version of a recipe; none when it has none, or was pushed before they were listed.
pub async fn files(bucket: &impl Bucket, pipeline: &PipelineName, version: &Digest) -> Result<Files> {
    match bucket.text(&keys::files(pipeline, version)).await? {
        Some(text) => decode("the list of the recipe's files", &text),
        None => Ok(Files::new()),
    }
}

/// The pointer to the current runner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunnerPointer {
    /// SHA-256 of the program, by which it lies in the bucket.
    pub sha256: Digest,
}

/// The pipeline's current recipe.
pub async fn recipe(bucket: &impl Bucket, pipeline: &PipelineName) -> Result<(RecipePointer, Recipe)> {
    let text = bucket.text(&keys::recipe_pointer(pipeline)).await?;
    let text = text.ok_or_else(|| Error::NoRecipe { pipeline: pipeline.clone() })?;
    let pointer: RecipePointer = decode("the recipe's pointer", &text)?;
    let recipe = parsed(bucket, pipeline, &pointer.version).await?;
    Ok((pointer, recipe))
}

/// The recipe as it was in one version, whatever was pushed since.
pub async fn recipe_version(
    bucket: &impl Bucket,
    pipeline: &PipelineName,
    version: &Digest,
) -> Result<(RecipePointer, Recipe)> {
    let recipe = parsed(bucket, pipeline, version).await?;
    let text = bucket.text(&keys::recipe_version_pointer(pipeline, version)).await?;
    let text = text.ok_or_else(|| Error::NoRecipe { pipeline: pipeline.clone() })?;
    Ok((decode("the recipe's pointer", &text)?, recipe))
}

/// The current runner for an architecture.
pub async fn runner(bucket: &impl Bucket, architecture: &str) -> Result<RunnerPointer> {
    let text = bucket.text(&keys::runner_pointer(architecture)).await?;
    let text = text.ok_or_else(|| {
        Error::bad_input(
            format!("runner for {architecture}"),
            "is not in the bucket",
            "Run `make push-runner` after the deploy, for each architecture of your bases",
        )
    })?;
    decode("the runner's pointer", &text)
}

async fn parsed(bucket: &impl Bucket, pipeline: &PipelineName, version: &Digest) -> Result<Recipe> {
    let text = bucket.text(&keys::recipe(pipeline, version)).await?;
    let text = text.ok_or_else(|| Error::NoRecipe { pipeline: pipeline.clone() })?;
    let wrong = |problem: String| Error::BadRecipe { pipeline: pipeline.clone(), problem };
    let recipe = Recipe::parse_pushed(&text).map_err(|errors| wrong(errors.to_string()))?;
    if recipe.pipeline != *pipeline {
        return Err(wrong(format!("it is the recipe of pipeline `{}`", recipe.pipeline)));
    }
    Ok(recipe)
}

fn decode<D: serde::de::DeserializeOwned>(what: &str, text: &str) -> Result<D> {
    serde_json::from_str(text).map_err(|source| Error::Corrupt { what: what.to_owned(), source })
}
