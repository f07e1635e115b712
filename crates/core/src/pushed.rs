//! What `recipe push` and `runner push` left in the bucket, and how it is read.

use serde::{Deserialize, Serialize};

use crate::{
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
}

/// The pointer to the current runner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunnerPointer {
    /// SHA-256 of the program.
    pub sha256: Digest,
    /// Its key in the bucket.
    pub key: String,
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
