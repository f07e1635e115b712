//! `ovenbird recipe new`: a recipe to begin with.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use clap::Args;
use ovenbird_core::{
    Error, Result,
    domain::{id::PipelineName, plan, recipe::Recipe},
};
use serde::Serialize;

const RECIPE: &str = "recipe.toml";
const SCHEMA: &str = "recipe.schema.json";

/// Where the new recipe goes, and its pipeline
#[derive(Debug, Args)]
pub struct NewArgs {
    /// The folder to write it into, made if it is missing
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// The pipeline's name (default: after the folder)
    #[arg(long)]
    pipeline: Option<String>,
}

/// The files that were written, and their pipeline.
#[derive(Debug, Serialize)]
pub struct Written {
    /// The pipeline that the new recipe names.
    pipeline: PipelineName,
    /// The recipe.
    recipe: PathBuf,
    /// Its schema, by which editors check it.
    schema: PathBuf,
}

impl Written {
    /// What was written, and what to do with it.
    pub fn text(&self) -> String {
        let Self { pipeline, recipe, schema } = self;
        let typed = quoted(&recipe.to_string_lossy());
        let (recipe, schema) = (recipe.display(), schema.display());
        format!(
            "wrote {recipe} for pipeline {pipeline}\nwrote {schema}, by which editors check and complete the recipe\n\
             next: edit the recipe, then `ovenbird recipe check {typed}` and `ovenbird recipe push {typed}`"
        )
    }
}

impl NewArgs {
    /// Writes the recipe and its schema; what is there already is left as it is.
    /// For the local cloud, it stands on the one base that there is.
    pub fn run(&self, local: bool) -> Result<Written> {
        let folder = &self.folder;
        let pipeline = match &self.pipeline {
            Some(name) => PipelineName::parse(name).map_err(|error| Error::bad_id("--pipeline", &error))?,
            None => named_after(folder),
        };
        let written = Written { pipeline, recipe: folder.join(RECIPE), schema: folder.join(SCHEMA) };
        let schema = format!("{:#}\n", Recipe::schema());
        fs::create_dir_all(folder).map_err(|error| unwritable(folder, &error))?;
        // The recipe first: where there is one, nothing at all is written.
        let starter = Recipe::starter(&written.pipeline);
        create(&written.recipe, &if local { on_debian(&starter, std::env::consts::ARCH) } else { starter })?;
        if fs::read_to_string(&written.schema).ok().as_ref() != Some(&schema) {
            create(&written.schema, &schema).inspect_err(|_| {
                // A recipe of which only half was written is none; this run made it, and nobody else's is lost.
                let _ = fs::remove_file(&written.recipe);
            })?;
        }
        Ok(written)
    }
}

/// The starter with Debian's newest image as its base, for a machine of this architecture.
fn on_debian(starter: &str, architecture: &str) -> String {
    let debian = if architecture == "aarch64" { "arm64" } else { "amd64" };
    let line = |line: &str| match line {
        amazon if amazon.starts_with("parameter = \"/aws/service/ami-amazon-linux") => format!("#{amazon}\n"),
        other => {
            match other.strip_prefix('#').filter(|key| key.starts_with("parameter = \"/aws/service/debian/"))
            {
                Some(key) => format!("{}\n", key.replace("/amd64\"", &format!("/{debian}\""))),
                None => format!("{other}\n"),
            }
        }
    };
    starter.lines().map(line).collect()
}

/// A path as a shell takes it.
fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if path.chars().all(plain) { path.to_owned() } else { plan::quote(path) }
}

fn create(path: &Path, text: &str) -> Result<()> {
    let file = fs::File::create_new(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &io::Error) -> Error {
    let (problem, fix) = match error.kind() {
        io::ErrorKind::AlreadyExists => {
            ("is there already".to_owned(), "Name another folder, or move it away: nothing is overwritten")
        }
        _ => (error.to_string(), "Name a folder that you may write to"),
    };
    Error::bad_input(format!("file `{}`", path.display()), problem, fix)
}

/// The folder's name, as far as it can be a pipeline's.
fn named_after(folder: &Path) -> PipelineName {
    let whole = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let name = whole.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let plain = name.replace(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit(), "-");
    let plain: String = plain
        .trim_start_matches(|c: char| !c.is_ascii_lowercase())
        .trim_end_matches('-')
        .chars()
        .take(40)
        .collect();
    PipelineName::parse(&plain).unwrap_or_else(|_| {
        PipelineName::parse("app").unwrap_or_else(|_| unreachable!("three letters are a name"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::bundle::Bundle;

    fn args(folder: &Path, pipeline: Option<&str>) -> NewArgs {
        NewArgs { folder: folder.to_owned(), pipeline: pipeline.map(str::to_owned) }
    }

    #[test]
    fn a_new_recipe_passes_the_check() {
        let folder = tempfile::tempdir().unwrap();
        let shop = folder.path().join("Store Front");
        let written = args(&shop, None).run(false).unwrap();
        let bundle = Bundle::read(&shop).unwrap();
        assert_eq!((bundle.recipe.pipeline.as_str(), bundle.files.len()), ("store-front", 0));
        // The line by which editors find the schema names the file that was written.
        let first = format!("#:schema ./{}", written.schema.file_name().unwrap().display());
        assert_eq!(bundle.text.lines().next(), Some(first.as_str()));
    }

    #[test]
    fn a_new_recipe_for_the_local_cloud_stands_on_the_base_that_is_there() {
        let folder = tempfile::tempdir().unwrap();
        args(folder.path(), Some("shop")).run(true).unwrap();
        let base = Bundle::read(folder.path()).unwrap().recipe.base.to_string();
        assert!(base.contains("/aws/service/debian/release/12/latest/"), "{base}");
        let arm = on_debian(&Recipe::starter(&PipelineName::parse("shop").unwrap()), "aarch64");
        assert!(arm.contains("\nparameter = \"/aws/service/debian/release/12/latest/arm64\"\n"), "{arm}");
    }

    #[test]
    fn nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        args(folder.path(), Some("shop")).run(false).unwrap();
        let recipe = folder.path().join(RECIPE);
        fs::write(&recipe, "mine").unwrap();
        assert!(
            args(folder.path(), Some("shop"))
                .run(false)
                .unwrap_err()
                .hint()
                .contains("nothing is overwritten")
        );
        assert_eq!(fs::read_to_string(&recipe).unwrap(), "mine");
        fs::remove_file(&recipe).unwrap();
        fs::write(folder.path().join(SCHEMA), "mine").unwrap();
        args(folder.path(), Some("shop")).run(false).unwrap_err();
        assert!(!recipe.exists());
        assert_eq!(fs::read_to_string(folder.path().join(SCHEMA)).unwrap(), "mine");
    }

    #[test]
    fn any_folder_has_a_pipeline() {
        for (folder, pipeline) in
            [("/srv/jvm-runtime", "jvm-runtime"), ("/", "app"), ("/srv/9 Lives!", "lives")]
        {
            assert_eq!(named_after(Path::new(folder)).as_str(), pipeline);
        }
    }
}
