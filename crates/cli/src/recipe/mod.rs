//! `ovenbird recipe`: begins a recipe, checks it with the files beside it, pushes both, and shows what was pushed.

mod bundle;
mod checked;
pub mod history;
mod new;
mod notes;
mod pull;
pub mod push;
mod sign;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Subcommand;
use jiff::Timestamp;
use ovenbird_core::{
    Error, Result,
    domain::{
        id::{Digest, PipelineName},
        recipe::Recipe,
    },
    store::recipes::RecipePointer,
};
use serde::Serialize;

use self::{
    bundle::Bundle,
    checked::{Checked, Format},
};
use crate::{complete, print, print_as_is, target::Target};

/// Write, check and push recipes
#[derive(Debug, Subcommand)]
pub enum RecipeCommand {
    /// Write a working recipe with comments, and its schema for editors
    New(new::NewArgs),
    /// Show every mistake of a recipe, with line and column
    Check {
        /// The recipe, or the folder that has it
        #[arg(default_value = "recipe.toml")]
        path: PathBuf,
        /// How to print what was found
        #[arg(long, value_enum, default_value_t)]
        format: Format,
        /// Print the recipe with its template's values in it, as it is pushed
        #[arg(long, conflicts_with = "format")]
        expanded: bool,
    },
    /// Upload the recipe and its files, and make it the pipeline's current one
    Push {
        /// The recipe, or the folder that has it
        #[arg(default_value = "recipe.toml")]
        path: PathBuf,
        /// What this version is for, in a line
        #[arg(long, short)]
        message: Option<String>,
        /// Sign it with this SSH key, for a stack that bakes signed recipes alone
        #[arg(long, value_name = "KEY", env = "OVENBIRD_SIGN")]
        sign: Option<PathBuf>,
    },
    /// List the current recipe of every pipeline
    List,
    /// Print a version of a recipe
    Show {
        /// The pipeline's name
        #[arg(add = complete::pipelines())]
        pipeline: String,
        /// The version, or its beginning (default: the current one)
        #[arg(long, value_name = "VERSION")]
        recipe: Option<String>,
    },
    /// List the versions of a pipeline's recipe: when each was pushed, by whom, and from which commit
    #[command(visible_alias = "log")]
    History {
        /// The pipeline's name
        #[arg(add = complete::pipelines())]
        pipeline: String,
    },
    /// Show what differs between two versions of a recipe
    Diff {
        /// The pipeline's name
        #[arg(add = complete::pipelines())]
        pipeline: String,
        /// One or two versions, or their beginnings (default: the one before the current one)
        #[arg(num_args = 0..=2)]
        versions: Vec<String>,
        /// Compare with the recipe at this path
        #[arg(long, value_name = "PATH")]
        with: Option<PathBuf>,
    },
    /// Write a version of a recipe and its files into a folder
    Pull {
        /// The pipeline's name
        #[arg(add = complete::pipelines())]
        pipeline: String,
        /// The version, or its beginning (default: the current one)
        #[arg(long, value_name = "VERSION")]
        recipe: Option<String>,
        /// The folder (default: one with the pipeline's name)
        #[arg(long, value_name = "FOLDER")]
        to: Option<PathBuf>,
    },
    /// Make an older version of the recipe the current one again
    Revert {
        /// The pipeline's name
        #[arg(add = complete::pipelines())]
        pipeline: String,
        /// The version, or its beginning (default: the one that was current before)
        #[arg(long, value_name = "VERSION")]
        recipe: Option<String>,
        /// Why, in a line
        #[arg(long, short)]
        message: Option<String>,
    },
    /// Print the JSON Schema of recipes, for editors
    Schema,
}

/// A recipe as pushed.
#[derive(Debug, Serialize)]
struct Pushed {
    /// The pipeline that the recipe names.
    pipeline: PipelineName,
    /// The version that is current now.
    version: Digest,
    /// Whether another version was current before.
    moved: bool,
    /// How many files went with it.
    files: usize,
    /// What is no mistake, and may still surprise on the builder.
    notes: Vec<String>,
}

impl Pushed {
    fn new(bundle: &Bundle, moved: bool) -> Self {
        Self {
            pipeline: bundle.recipe.pipeline.clone(),
            version: bundle.pointer().version,
            moved,
            files: bundle.files.len(),
            notes: bundle.notes.clone(),
        }
    }
}

/// Checks; a push also uploads.
pub async fn run(command: &RecipeCommand, target: &Target, json: bool) -> Result<ExitCode> {
    match command {
        RecipeCommand::New(args) => {
            let written = args.run(target.local)?;
            print(json, &written, &written.text());
        }
        RecipeCommand::Check { path, expanded: true, .. } if !json => {
            print_as_is(false, &(), Bundle::read(path)?.text.trim_end());
        }
        RecipeCommand::Check { path, format, .. } => {
            let format = if json { Format::Json } else { *format };
            let (checked, found) = match Bundle::checked(path)? {
                // What was found is an error for people alone.
                Err((name, mistakes)) if format == Format::Text => {
                    return Err(bundle::refused(&name, &mistakes));
                }
                Err((_, mistakes)) => (Checked::wrong(&mistakes), String::new()),
                Ok(bundle) => (Checked::right(&bundle), text("no mistake in", &bundle)),
            };
            match format {
                Format::Text => print(false, &checked, &found),
                Format::Json => print(true, &checked, ""),
                Format::Sarif => print(true, &checked::sarif(&checked), ""),
                Format::Github => print_as_is(false, &checked, &checked::github(&checked)),
            }
            if !checked.mistakes.is_empty() {
                return Ok(ExitCode::FAILURE);
            }
        }
        RecipeCommand::Push { path, message, sign } => {
            let mut bundle = Bundle::read(path)?;
            let push::Done { moved, notes } =
                push::push(&bundle, path, message.clone(), sign.as_deref(), target).await?;
            bundle.notes.extend(notes);
            let done = if moved { "pushed" } else { "is current already:" };
            let mut said = text(done, &bundle);
            if moved {
                said.push_str(&format!(
                    "\nthe next bake takes it: `ovenbird bake {}`",
                    bundle.recipe.pipeline
                ));
            }
            print(json, &Pushed::new(&bundle, moved), &said);
        }
        RecipeCommand::List => {
            let versions = history::list(&target.deployment().await?).await?;
            print(json, &versions, &history::text(&versions, Timestamp::now()));
        }
        RecipeCommand::Show { pipeline, recipe } => {
            let deployment = target.deployment().await?;
            let shown = history::show(&deployment, &parsed(pipeline)?, recipe.as_deref()).await?;
            print_as_is(json, &shown, shown.text().trim_end());
        }
        RecipeCommand::History { pipeline } => {
            let versions = history::history(&target.deployment().await?, &parsed(pipeline)?).await?;
            print(json, &versions, &history::text(&versions, Timestamp::now()));
        }
        RecipeCommand::Diff { pipeline, versions, with } => {
            let deployment = target.deployment().await?;
            let diff = history::diff(&deployment, &parsed(pipeline)?, versions, with.as_deref()).await?;
            print_as_is(json, &diff, diff.text().trim_end());
        }
        RecipeCommand::Pull { pipeline, recipe, to } => {
            let folder = to.clone().unwrap_or_else(|| PathBuf::from(pipeline));
            let deployment = target.deployment().await?;
            let pulled = pull::pull(&deployment, &parsed(pipeline)?, recipe.as_deref(), &folder).await?;
            print(json, &pulled, &pulled.text());
        }
        RecipeCommand::Revert { pipeline, recipe, message } => {
            let deployment = target.deployment().await?;
            let (pipeline, message) = (parsed(pipeline)?, message.clone());
            let reverted = history::revert(&deployment, &pipeline, recipe.as_deref(), message).await?;
            print(json, &reverted, &reverted.text());
        }
        RecipeCommand::Schema => print(true, &Recipe::schema(), ""),
    }
    Ok(ExitCode::SUCCESS)
}

fn parsed(pipeline: &str) -> Result<PipelineName> {
    PipelineName::parse(pipeline).map_err(|error| Error::bad_id("PIPELINE", &error))
}

/// The pipeline that is named; without a name, that of the recipe beside whoever calls, or that of the folder's file.
pub fn pipeline(name: Option<&str>, target: &Target) -> Result<PipelineName> {
    match (name, &target.pipeline) {
        (Some(name), _) => parsed(name),
        (None, _) if Path::new("recipe.toml").exists() => pipeline_at(Path::new("recipe.toml")),
        (None, Some(pipeline)) => Ok(pipeline.clone()),
        (None, None) => Err(Error::bad_input(
            "the pipeline",
            "is not named, and there is no recipe.toml here",
            "Name it, go to the folder of its recipe, or write `pipeline` into an ovenbird.toml",
        )),
    }
}

/// The pipeline of the recipe at a path.
pub fn pipeline_at(path: &Path) -> Result<PipelineName> {
    Ok(Bundle::read(path)?.recipe.pipeline)
}

/// The recipe beside whoever calls, if it is this pipeline's and has no mistake.
pub fn here(pipeline: &PipelineName) -> Option<RecipePointer> {
    let bundle = Bundle::read(Path::new("recipe.toml")).ok()?;
    (bundle.recipe.pipeline == *pipeline).then(|| bundle.pointer())
}

/// So many files, in words.
fn files(count: usize) -> String {
    if count == 1 { "1 file".to_owned() } else { format!("{count} files") }
}

fn text(done: &str, bundle: &Bundle) -> String {
    let pointer = bundle.pointer();
    let version = &pointer.version.as_str()[..12];
    let count = bundle.files.len();
    let files = files(count);
    let mut text = format!("{done} pipeline {}, version {version}, {files}", bundle.recipe.pipeline);
    for note in &bundle.notes {
        text.push_str(&format!("\nnote: {note}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::files;

    #[test]
    fn one_file_is_one_file() {
        assert_eq!([0, 1, 2].map(files), ["0 files", "1 file", "2 files"]);
    }
}
