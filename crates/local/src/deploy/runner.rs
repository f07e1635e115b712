//! The program that works on builders, put into the bucket under its hash with a pointer to it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use ovenbird_core::{
    domain::digest,
    store::{keys, recipes::RunnerPointer},
};

use super::api::Api;
use crate::error::{LocalError, Result};

/// The runner that was built last.
pub(super) fn find(repository: &Path) -> Option<PathBuf> {
    Some(repository.join("build/ovenbird-runner")).filter(|path| path.is_file())
}

/// Uploads it, then moves the pointer.
pub(super) async fn upload(api: &Api, bucket: &str, architecture: &str, runner: &Path) -> Result<()> {
    let bytes = fs::read(runner).map_err(LocalError::io(format!("read {}", runner.display())))?;
    let sha256 = digest::sha256(&bytes);
    api.put(bucket, &keys::runner(architecture, &sha256), bytes.into()).await?;
    let pointer = RunnerPointer { sha256 };
    let text =
        serde_json::to_vec(&pointer).unwrap_or_else(|_| unreachable!("a pointer has string keys only"));
    api.put(bucket, &keys::runner_pointer(architecture), text.into()).await
}
