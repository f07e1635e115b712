//! `ovenbird`: the operators' command.

mod bake;
mod confirm;
mod explain;
mod list;
#[cfg(all(feature = "local", target_os = "linux"))]
mod local;
mod prune;
mod recipe;
mod render;
mod runner;
mod target;

use std::{
    io::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use ovenbird_core::{
    Result,
    domain::{
        bake::{Bake, Status},
        error::Kind,
    },
    views::bake::BakeView,
};
use serde::Serialize;

use crate::{confirm::Confirm, target::Target};

/// Bake golden machine images on AWS, or on this machine
#[derive(Debug, Parser)]
#[command(name = "ovenbird", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    target: Target,
    /// Print data as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The local cloud: the pipeline on one machine
    #[cfg(all(feature = "local", target_os = "linux"))]
    #[command(subcommand)]
    Local(local::LocalCommand),
    #[command(subcommand)]
    Recipe(recipe::RecipeCommand),
    #[command(subcommand)]
    Runner(runner::RunnerCommand),
    Bake(bake::BakeArgs),
    /// List the newest bakes, the newest first
    List {
        /// The pipeline (default: all)
        pipeline: Option<String>,
        /// How many to list
        #[arg(long, value_name = "NUMBER", default_value_t = 20)]
        limit: u16,
    },
    /// Show one bake: inputs, image, timeline, and why it failed
    Show {
        /// Its id, as `ovenbird list` prints it
        bake: String,
    },
    /// Show the chain of images that an image was built on
    Lineage {
        /// An image, or a bake
        of: String,
    },
    /// Show which inputs changed since the last bake
    Explain {
        /// The pipeline
        pipeline: String,
        /// Compare this bake with the one before it, not what a bake started now would be
        #[arg(long)]
        bake: Option<String>,
    },
    /// Follow a bake to its end
    Follow {
        /// Its id, as `ovenbird list` prints it
        bake: String,
    },
    /// Stop a bake and remove what it made, without asking
    Cancel {
        /// Its id
        bake: String,
    },
    /// Retire old images and clean up after dead bakes: show the plan, then ask
    Prune {
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Clean up after a dead bake: show what it left, then ask
    Clean {
        /// Its id
        bake: String,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Forward a loopback port to a port of a local machine
    #[cfg(all(feature = "local", target_os = "linux"))]
    Open {
        /// The instance
        instance: String,
        /// Its port
        #[arg(id = "MACHINE_PORT")]
        port: u16,
    },
}

/// The exit status when what was asked for failed: 1, as for every failure that isn't a wrong use (2).
const FAILED: u8 = 1;

fn main() -> ExitCode {
    // Before anything else: a machine's first process is this program again, and has no use for a runtime.
    #[cfg(all(feature = "local", target_os = "linux"))]
    if let Some(code) = local::hidden() {
        return code;
    }
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no threads: {error}");
            return ExitCode::from(FAILED);
        }
    };
    // Only the command's own panic ends it: the local cloud's supervisor is a command, too, and outlives a request that
    // panics.
    match catch_unwind(AssertUnwindSafe(|| runtime.block_on(run(cli)))) {
        // The panic was told by then. Its exit status lets scripts that retry what AWS refused not retry this.
        Err(_) => {
            eprintln!("\nhint: This is a bug in Ovenbird: please report it with the lines above");
            ExitCode::from(Kind::Bug.exit_status())
        }
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            eprintln!("{}", render::error(&error));
            ExitCode::from(error.kind().exit_status())
        }
    }
}

async fn run(cli: Cli) -> Result<ExitCode> {
    let Cli { target, json, command } = cli;
    match command {
        #[cfg(all(feature = "local", target_os = "linux"))]
        Command::Local(command) => return local::run(&command, &target, json).await,
        #[cfg(all(feature = "local", target_os = "linux"))]
        Command::Open { instance, port } => return local::open(&instance, port, &target, json).await,
        Command::Recipe(command) => recipe::run(&command, &target, json).await?,
        Command::Runner(command) => {
            let pointer = runner::run(&command, &target).await?;
            print(json, &pointer, &format!("runner {}", &pointer.sha256.as_str()[..12]));
        }
        Command::Bake(args) => {
            let bake = bake::run(&args, &target, json).await?;
            return Ok(ended(json, &bake));
        }
        Command::List { pipeline, limit } => {
            let bakes = list::list(pipeline.as_deref(), limit.into(), &target).await?;
            let views: Vec<BakeView<'_>> = bakes.iter().map(BakeView::from).collect();
            print(json, &views, render::table(&bakes).trim_end());
        }
        Command::Show { bake } => {
            let (bake, lineage) = list::show(&bake, &target).await?;
            print(
                json,
                &BakeView::from(&bake),
                render::bake(&bake, &lineage, jiff::Timestamp::now()).trim_end(),
            );
        }
        Command::Lineage { of } => {
            let links = list::lineage(&of, &target).await?;
            print(json, &links, render::lineage(&links).trim_end());
        }
        Command::Explain { pipeline, bake } => {
            let explanation = explain::run(&pipeline, bake.as_deref(), &target).await?;
            print(json, &explanation, &explain::text(&explanation));
        }
        Command::Follow { bake } => {
            let bake = bake::follow_by_id(&bake, &target, json).await?;
            return Ok(ended(json, &bake));
        }
        Command::Cancel { bake } => {
            let bake = prune::cancel(&bake, &target).await?;
            print(json, &BakeView::from(&bake), &render::verdict(&bake));
        }
        Command::Prune { confirm } => {
            return Ok(pruned(json, &prune::run(&target, confirm, json).await?));
        }
        Command::Clean { bake, confirm } => {
            return Ok(pruned(json, &prune::clean(&bake, &target, confirm, json).await?));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows a bake that ended; failed and cancelled are failures.
fn ended(json: bool, bake: &Bake) -> ExitCode {
    print(json, &BakeView::from(bake), &bake::report(bake));
    match bake.progress.status {
        Status::Failed | Status::Cancelled => ExitCode::from(FAILED),
        Status::Running | Status::Promoted | Status::Validated | Status::Superseded => ExitCode::SUCCESS,
    }
}

/// Shows a plan or what became of it; what an operator must look at is a failure.
fn pruned(json: bool, pruned: &prune::Pruned) -> ExitCode {
    print(json, pruned, &prune::report(pruned));
    if pruned.has_problems() { ExitCode::from(FAILED) } else { ExitCode::SUCCESS }
}

/// Data goes to standard output, as JSON or as text; everything else goes to standard error.
fn print(json: bool, data: &impl Serialize, text: &str) {
    let json = json.then(|| serde_json::to_string_pretty(data).unwrap_or_default());
    if let Err(error) = writeln!(std::io::stdout(), "{}", json.as_deref().unwrap_or(text)) {
        // Who reads may have enough of it, as `head` does: that is no failure. A full disk is one.
        if error.kind() != std::io::ErrorKind::BrokenPipe {
            eprintln!("error: standard output: {error}");
            std::process::exit(FAILED.into());
        }
    }
}
