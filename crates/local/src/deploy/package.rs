//! The template and the local files it names, put where CloudFormation finds them.
//!
//! By lines, and not by a YAML library: CloudFormation gets every other line as its author wrote it.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use bytes::Bytes;
use ovenbird_core::domain::digest;

use super::{api::Api, program::Programs};
use crate::error::{LocalError, Result};

/// The properties that name local files; `sam package` rewrites the same.
const PROPERTIES: &[&str] = &["CodeUri:", "DefinitionUri:"];

/// The key of the template.
const TEMPLATE: &str = "template.yaml";

/// A template with what it refers to.
#[derive(Debug)]
pub(super) struct Package {
    template: String,
    /// The line that names it, and the file itself.
    files: Vec<(usize, PathBuf)>,
}

impl Package {
    /// Reads a template and finds its files.
    pub fn read(path: &Path) -> Result<Self> {
        let template =
            fs::read_to_string(path).map_err(LocalError::io(format!("read {}", path.display())))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut files = Vec::new();
        for (number, line) in template.lines().enumerate() {
            let Some((_, value)) = local_file(line) else { continue };
            let named = folder.join(value);
            // A function's folder holds the one file that the custom runtime starts.
            let file = if named.is_dir() { named.join("bootstrap") } else { named };
            if !file.is_file() {
                let problem = format!("{}:{}: there is no {}", path.display(), number + 1, file.display());
                return Err(LocalError::Deploy { what: value.to_owned(), problem });
            }
            files.push((number, file));
        }
        Ok(Self { template, files })
    }

    /// The files that the template names.
    fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|(_, file)| file.as_path())
    }

    /// The names of the programs' copies, which change with the programs.
    pub fn programs(&self) -> Result<BTreeSet<String>> {
        self.files().filter(|file| is_program(file)).map(name).collect()
    }

    /// Puts every file into a bucket; then the template that names them there; gives its URL.
    pub async fn upload(&self, api: &Api, bucket: &str, programs: &Programs) -> Result<String> {
        api.put(bucket, "", Bytes::new()).await?;
        let mut lines: Vec<String> = self.template.lines().map(str::to_owned).collect();
        for (number, file) in &self.files {
            let name = name(file)?;
            let key = format!("{name}.{}", if is_program(file) { "zip" } else { "json" });
            let (programs, from) = (programs.clone(), file.clone());
            let packed = tokio::task::spawn_blocking(move || {
                if is_program(&from) { programs.keep(&from, &name) } else { fs::read(&from) }
            });
            let bytes = packed.await.map_err(io::Error::other).and_then(|packed| packed);
            let bytes = bytes.map_err(LocalError::io(format!("pack {}", file.display())))?;
            api.put(bucket, &key, bytes.into()).await?;
            if let Some((property, _)) = local_file(&lines[*number]) {
                lines[*number] = format!("{property} s3://{bucket}/{key}");
            }
        }
        api.put(bucket, TEMPLATE, lines.join("\n").into_bytes().into()).await?;
        Ok(format!("https://s3.amazonaws.com/{bucket}/{TEMPLATE}"))
    }

    /// A text that changes when the template or one of its files does.
    pub fn fingerprint(&self) -> Result<String> {
        let stamps: Vec<String> = self.files().map(stamp).collect::<Result<_>>()?;
        Ok(format!("{}\n{}", self.template, stamps.join("\n")))
    }
}

/// Name, size and time of a file: programs are too large to read them all just to see that they are the same.
pub(super) fn stamp(path: &Path) -> Result<String> {
    let look = || {
        let file = fs::metadata(path)?;
        let time = file.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        io::Result::Ok(format!("{} {} {}", path.display(), file.len(), time.as_nanos()))
    };
    look().map_err(LocalError::io(format!("look at {}", path.display())))
}

fn is_program(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name == "bootstrap")
}

/// A name that changes with the file: `CloudFormation` sees a changed function by its changed key.
fn name(file: &Path) -> Result<String> {
    Ok(digest::sha256(stamp(file)?.as_bytes()).to_string())
}

/// The property up to its colon and the value, if the line names a local file.
fn local_file(line: &str) -> Option<(&str, &str)> {
    let trimmed = line.trim_start();
    let property = PROPERTIES.iter().find(|property| trimmed.starts_with(**property))?;
    let end = line.len() - trimmed.len() + property.len();
    let value = line[end..].split(" #").next()?.trim();
    Some((&line[..end], value)).filter(|_| !value.is_empty() && !value.starts_with("s3://"))
}
