//! What `recipe push` and `runner push` left in the bucket, and how it is read.
//!
//! Whoever may write a pipeline's folder can write anything there. So nothing that lies in it is believed: a version
//! is the hash of the recipe's text and its files' digest, and what has another hash is refused.

use std::collections::BTreeMap;

use futures::try_join;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    domain::{
        digest,
        error::{Error, Result},
        id::{Digest, PipelineName},
        recipe::Recipe,
    },
    ports::Bucket,
    store::{keys, text::decode},
};

/// The pointer to a pipeline's current recipe, as `recipe push` writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipePointer {
    /// The hash of the recipe's text and its files' digest.
    pub version: Digest,
    /// SHA-256 of the bundle; none when the recipe has no files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<Digest>,
    /// The digest of the files in the bundle: the same files, packed otherwise, make no other image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Digest>,
}

impl RecipePointer {
    /// The pointer to a recipe of this text, without files or with them: their bundle's SHA-256 and their digest.
    pub fn new(text: &str, files: Option<(Digest, Digest)>) -> Self {
        let (bundle, files) = files.unzip();
        Self { version: version(text, files.as_ref()), bundle, files }
    }
}

/// The version of a recipe. Each part is of one length, so that no other text and files give the same.
fn version(text: &str, files: Option<&Digest>) -> Digest {
    digest::canonical(&json!({"v": 2, "recipe": digest::sha256(text.as_bytes()), "files": files}))
}

/// The version that a recipe was given before: the hash of its text, with the digest of its files behind it.
///
/// A text that ends like a digest could be taken for another one with files. That is told apart by what the text
/// itself names: see `checked`.
fn first_version(text: &str, files: Option<&Digest>) -> Digest {
    digest::sha256(format!("{text}{}", files.map_or("", Digest::as_str)).as_bytes())
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

/// The files of one version of a recipe.
pub async fn files(bucket: &impl Bucket, pipeline: &PipelineName, pointer: &RecipePointer) -> Result<Files> {
    let Some(digest) = &pointer.files else { return Ok(Files::new()) };
    let text = bucket.text(&keys::files(pipeline, &pointer.version)).await?;
    let text = there(pipeline, text)?;
    let files: Files = decode("the list of the recipe's files", &text)?;
    match files_digest(&files) == *digest {
        true => Ok(files),
        false => Err(changed(pipeline, &pointer.version, "the list of its files")),
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
    let current = read_pointer(bucket, pipeline, &keys::recipe_pointer(pipeline)).await?;
    let (pointer, recipe) = recipe_version(bucket, pipeline, &current.version).await?;
    match pointer == current {
        true => Ok((pointer, recipe)),
        false => Err(changed(pipeline, &current.version, "what `current.json` says of its files")),
    }
}

/// The pipeline's current recipe, for a view of many: text and digest of the files are checked, and not what a version's
/// own pointer says of its bundle, which only a bake uses.
pub async fn recipe_in_view(
    bucket: &impl Bucket,
    pipeline: &PipelineName,
) -> Result<(RecipePointer, Recipe)> {
    let pointer = read_pointer(bucket, pipeline, &keys::recipe_pointer(pipeline)).await?;
    let text = bucket.text(&keys::recipe(pipeline, &pointer.version)).await?;
    let text = there(pipeline, text)?;
    let recipe = checked(pipeline, &pointer, &text)?;
    Ok((pointer, recipe))
}

/// The recipe as it was in one version, whatever was pushed since.
pub async fn recipe_version(
    bucket: &impl Bucket,
    pipeline: &PipelineName,
    version: &Digest,
) -> Result<(RecipePointer, Recipe)> {
    let key = keys::recipe(pipeline, version);
    let (pointer, text) = try_join!(pointer(bucket, pipeline, version), bucket.text(&key))?;
    let text = there(pipeline, text)?;
    let recipe = checked(pipeline, &pointer, &text)?;
    Ok((pointer, recipe))
}

/// The text of one version, as it was pushed, whether or not this Ovenbird still understands it.
pub async fn recipe_text(
    bucket: &impl Bucket,
    pipeline: &PipelineName,
    version: &Digest,
) -> Result<(RecipePointer, String)> {
    let key = keys::recipe(pipeline, version);
    let (pointer, text) = try_join!(pointer(bucket, pipeline, version), bucket.text(&key))?;
    let text = there(pipeline, text)?;
    let files = pointer.files.as_ref();
    match *version == self::version(&text, files) || *version == first_version(&text, files) {
        true => Ok((pointer, text)),
        false => Err(changed(pipeline, version, "its text or the digest of its files")),
    }
}

/// The versions of a pipeline's recipe that lie in the bucket, in no order of time.
pub async fn versions(bucket: &impl Bucket, pipeline: &PipelineName) -> Result<Vec<Digest>> {
    let names = bucket.folders(&format!("recipes/{pipeline}/")).await?;
    Ok(names.iter().filter_map(|name| Digest::parse(name).ok()).collect())
}

/// The pointer as it was when this version was pushed: its files are believed only with the text, or beside what a
/// bake recorded.
async fn pointer(bucket: &impl Bucket, pipeline: &PipelineName, version: &Digest) -> Result<RecipePointer> {
    let pointer = read_pointer(bucket, pipeline, &keys::recipe_version_pointer(pipeline, version)).await?;
    match pointer.version == *version {
        true => Ok(pointer),
        false => Err(changed(pipeline, version, "its pointer")),
    }
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

/// A text of a recipe, which must lie in the bucket.
fn there(pipeline: &PipelineName, text: Option<String>) -> Result<String> {
    text.ok_or_else(|| Error::NoRecipe { pipeline: pipeline.clone() })
}

/// A version's text, understood, if it is what was pushed under this version.
fn checked(pipeline: &PipelineName, pointer: &RecipePointer, text: &str) -> Result<Recipe> {
    let RecipePointer { version, bundle, files } = pointer;
    let first = first_version(text, files.as_ref()) == *version;
    if !first && *version != self::version(text, files.as_ref()) {
        return Err(changed(pipeline, version, "its text or the digest of its files"));
    }
    let wrong = |problem: String| Error::BadRecipe { pipeline: pipeline.clone(), problem };
    let recipe = Recipe::parse_pushed(text).map_err(|errors| wrong(errors.to_string()))?;
    if recipe.pipeline != *pipeline {
        return Err(wrong(format!("it is the recipe of pipeline `{}`", recipe.pipeline)));
    }
    // A bundle that nobody could check has no place in an image, and files that are in no bundle are in none.
    let whole = bundle.is_some() == files.is_some();
    if !whole || first && files.is_some() == recipe.sources().is_empty() {
        return Err(changed(pipeline, version, "what it says of its files"));
    }
    Ok(recipe)
}

/// What lies in the bucket is not what was pushed, or was pushed by an Ovenbird of long ago.
pub fn changed(pipeline: &PipelineName, version: &Digest, what: &str) -> Error {
    let short = &version.as_str()[..12];
    let problem = format!(
        "{what} is not what was pushed as version {short}; somebody wrote `recipes/{pipeline}/` of the bucket by \
         hand, or a very old Ovenbird did. Push it again: `ovenbird recipe push`"
    );
    Error::BadRecipe { pipeline: pipeline.clone(), problem }
}

async fn read_pointer(bucket: &impl Bucket, pipeline: &PipelineName, key: &str) -> Result<RecipePointer> {
    let text = bucket.text(key).await?;
    let text = there(pipeline, text)?;
    decode("the recipe's pointer", &text)
}
