//! `ovenbird runner push`: puts the program that works on builders into the bucket.

use std::path::PathBuf;

use clap::Subcommand;
use ovenbird_core::{
    Error, Result,
    domain::digest,
    ports::Bucket as _,
    store::{keys, recipes::RunnerPointer},
};

use crate::target::Target;

/// Upload the runner
#[derive(Debug, Subcommand)]
pub enum RunnerCommand {
    /// Upload a program and make it the current runner for an architecture
    Push {
        /// The program, built static for that architecture
        file: PathBuf,
        /// The architecture of the bases that it runs on
        #[arg(long, default_value = "x86_64", value_parser = ["x86_64", "arm64"])]
        architecture: String,
    },
}

/// Uploads the program under its hash, then moves the pointer.
pub async fn run(command: &RunnerCommand, target: &Target) -> Result<RunnerPointer> {
    let RunnerCommand::Push { file, architecture } = command;
    let bytes = std::fs::read(file).map_err(|error| {
        Error::bad_input(
            format!("file `{}`", file.display()),
            error.to_string(),
            "Build it with `make build`",
        )
    })?;
    let sha256 = digest::sha256(&bytes);
    let cloud = target.deployment().await?.cloud;
    cloud.put(&keys::runner(architecture, &sha256), bytes.into()).await?;
    let pointer = RunnerPointer { sha256 };
    let text =
        serde_json::to_string(&pointer).unwrap_or_else(|_| unreachable!("a pointer has string keys only"));
    cloud.put_text(&keys::runner_pointer(architecture), &text).await?;
    Ok(pointer)
}
