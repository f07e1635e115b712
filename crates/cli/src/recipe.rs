//! `ovenbird recipe`: checks a recipe with the files beside it, and pushes both.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use clap::Subcommand;
use flate2::{Compression, GzBuilder};
use ovenbird_core::{
    Error, Result, digest,
    id::Digest,
    keys,
    ports::Bucket as _,
    recipe::{Beside, Recipe},
    steps::launch_builder::RecipePointer,
};
use serde::Serialize;

use crate::target::Target;

/// Checks and pushes recipes
#[derive(Debug, Subcommand)]
pub enum RecipeCommand {
    /// Shows every mistake of a recipe, with line and column
    Check {
        /// The recipe, or the folder it is in
        #[arg(default_value = "recipe.toml")]
        path: PathBuf,
    },
    /// Makes the recipe, with the files beside it, the pipeline's current one
    Push {
        /// The recipe, or the folder it is in
        #[arg(default_value = "recipe.toml")]
        path: PathBuf,
    },
}

/// A recipe as pushed.
#[derive(Debug, Serialize)]
pub struct Pushed {
    /// The pipeline.
    pub pipeline: String,
    /// The version.
    pub version: Digest,
    /// How many files went with it.
    pub files: usize,
}

/// A checked recipe with all that is pushed.
struct Bundle {
    recipe: Recipe,
    text: String,
    files: usize,
    archive: Option<Vec<u8>>,
}

/// Checks; a push also uploads.
pub async fn run(command: &RecipeCommand, target: &Target) -> Result<Pushed> {
    match command {
        RecipeCommand::Check { path } => {
            let bundle = bundle(path)?;
            let pointer = pointer(&bundle);
            Ok(Pushed {
                pipeline: bundle.recipe.pipeline.to_string(),
                version: pointer.version,
                files: bundle.files,
            })
        }
        RecipeCommand::Push { path } => {
            let bundle = bundle(path)?;
            let pointer = pointer(&bundle);
            let (pipeline, version) = (&bundle.recipe.pipeline, &pointer.version);
            let cloud = target.site().await?.cloud;
            if let Some(archive) = bundle.archive {
                cloud.put(&keys::bundle(pipeline, version), archive.into()).await?;
            }
            cloud.put_text(&keys::recipe(pipeline, version), &bundle.text).await?;
            let text = serde_json::to_string(&pointer)
                .unwrap_or_else(|_| unreachable!("a pointer has string keys only"));
            cloud.put_text(&keys::recipe_version_pointer(pipeline, version), &text).await?;
            // Last: until here the pipeline's current recipe is the one before, whole.
            cloud.put_text(&keys::recipe_pointer(pipeline), &text).await?;
            Ok(Pushed { pipeline: pipeline.to_string(), version: version.clone(), files: bundle.files })
        }
    }
}

fn pointer(bundle: &Bundle) -> RecipePointer {
    let sha256 = bundle.archive.as_deref().map(digest::sha256);
    let mut whole = bundle.text.clone().into_bytes();
    whole.extend(sha256.iter().flat_map(|sha256| sha256.as_str().bytes()));
    RecipePointer { version: digest::sha256(&whole), bundle: sha256 }
}

fn bundle(path: &Path) -> Result<Bundle> {
    let path = if path.is_dir() { path.join("recipe.toml") } else { path.to_owned() };
    let unreadable = |path: &Path, error: &std::io::Error| {
        Error::bad_input(
            format!("file `{}`", path.display()),
            error.to_string(),
            "Name a recipe, or the folder it is in",
        )
    };
    let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.display().to_string();
    let recipe = Recipe::parse(&name, &text, &|path| look(&folder.join(path))).map_err(|errors| {
        Error::bad_input(
            format!("recipe `{name}`"),
            format!("\n{errors}"),
            "Mend it, then `ovenbird recipe check` again",
        )
    })?;
    let mut files = BTreeMap::new();
    for source in recipe.sources() {
        collect(folder, Path::new(&source), &mut files)
            .map_err(|error| unreadable(Path::new(&source), &error))?;
    }
    let archive = if files.is_empty() {
        None
    } else {
        Some(archive(&files).map_err(|error| unreadable(&path, &error))?)
    };
    Ok(Bundle { recipe, text, files: files.len(), archive })
}

/// What there is at a path.
fn look(path: &Path) -> Beside {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => Beside::File,
        Ok(found) if found.is_dir() => Beside::Folder,
        Ok(_) => Beside::Other("no plain file"),
        Err(_) => Beside::Nothing,
    }
}

/// Collects a file, or every file of a folder, by its path relative to the recipe.
fn collect(folder: &Path, source: &Path, files: &mut BTreeMap<PathBuf, PathBuf>) -> std::io::Result<()> {
    let path = folder.join(source);
    if !fs::metadata(&path)?.is_dir() {
        files.insert(source.to_owned(), path);
        return Ok(());
    }
    for entry in fs::read_dir(&path)? {
        collect(folder, &source.join(entry?.file_name()), files)?;
    }
    Ok(())
}

/// A `tar.gz` that is the same bytes for the same files: sorted, without times and owners.
fn archive(files: &BTreeMap<PathBuf, PathBuf>) -> std::io::Result<Vec<u8>> {
    use std::os::unix::fs::PermissionsExt as _;
    let gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    let mut tar = tar::Builder::new(gzip);
    for (name, path) in files {
        let content = fs::read(path)?;
        let executable = fs::metadata(path)?.permissions().mode() & 0o111 != 0;
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(if executable { 0o755 } else { 0o644 });
        header.set_mtime(0);
        header.set_cksum();
        tar.append_data(&mut header, name, content.as_slice())?;
    }
    let mut bytes = tar.into_inner()?.finish()?;
    bytes.flush()?;
    Ok(bytes)
}
