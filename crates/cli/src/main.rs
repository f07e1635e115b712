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
        retirement::Act,
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
    /// Print the result as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the pipeline on this machine, in a local cloud
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
        /// The pipeline's name (default: all pipelines)
        pipeline: Option<String>,
        /// How many to list
        #[arg(long, value_name = "NUMBER", default_value_t = 20)]
        limit: u16,
    },
    /// Show one bake: inputs, image, timeline, and why it failed
    Show {
        /// The bake's id, as `ovenbird list` prints it
        bake: String,
    },
    /// Show the chain of images that an image was built on
    Lineage {
        /// The id of an image, or of the bake that made it
        #[arg(value_name = "IMAGE_OR_BAKE")]
        of: String,
    },
    /// Show which inputs changed since the last bake
    Explain {
        /// The pipeline's name
        pipeline: String,
        /// Compare this bake with the one before it (default: compare the last bake with what a bake would use now)
        #[arg(long)]
        bake: Option<String>,
    },
    /// Follow a bake to its end
    Follow {
        /// The bake's id, as `ovenbird list` prints it
        bake: String,
    },
    /// Stop a bake and remove what it made, without asking
    Cancel {
        /// The bake's id, as `ovenbird list` prints it
        bake: String,
    },
    /// Retire old images and clean up after dead bakes: show the plan, then ask
    #[command(args_conflicts_with_subcommands = true)]
    Prune {
        /// This pipeline alone
        #[arg(long)]
        pipeline: Option<String>,
        #[command(subcommand)]
        what: Option<prune::What>,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Clean up after a dead bake: show what it left, then ask
    Clean {
        /// The bake's id, as `ovenbird list` prints it
        bake: String,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Make a port of a local machine reachable on this host, and print the address
    #[cfg(all(feature = "local", target_os = "linux"))]
    Open {
        /// The instance's id, as `ovenbird local status` prints it
        instance: String,
        /// The port in the machine
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
            eprintln!("error: can't start the command's threads: {error}");
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
        Command::Prune { what: Some(what), .. } => return pruning(&what, &target, json).await,
        Command::Prune { pipeline, confirm, what: None } => {
            return Ok(pruned(json, &prune::run(pipeline.as_deref(), &target, confirm, json).await?));
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

/// What is asked about single images and past runs.
async fn pruning(what: &prune::What, target: &Target, json: bool) -> Result<ExitCode> {
    match what {
        prune::What::Undo { image } => {
            let verdict = prune::undo(image, target).await?;
            print(json, &verdict, &prune::undone(&verdict));
            let restored = verdict.act == Act::Restore;
            return Ok(if restored { ExitCode::SUCCESS } else { ExitCode::from(FAILED) });
        }
        prune::What::Explain { image } => {
            let verdict = prune::explain(image, target).await?;
            print(json, &verdict, &prune::explained(&verdict));
        }
        prune::What::History { limit } => {
            let runs = prune::history(*limit, target).await?;
            print(json, &runs, &prune::past(&runs));
        }
    }
    Ok(ExitCode::SUCCESS)
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
            eprintln!("error: can't write to standard output: {error}");
            std::process::exit(FAILED.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory as _};

    use super::Cli;

    /// Every text of the help, with the command that it belongs to.
    fn texts(command: &Command, found: &mut Vec<(String, String)>) {
        let name = command.get_name();
        let about = command.get_about().map(ToString::to_string);
        found.push((name.to_owned(), about.unwrap_or_default()));
        for argument in command.get_arguments() {
            let help = argument.get_help().map(ToString::to_string);
            found.push((format!("{name} {}", argument.get_id()), help.unwrap_or_default()));
        }
        for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
            texts(inner, found);
        }
    }

    #[test]
    fn every_command_and_argument_says_what_it_is_for_in_one_short_line() {
        Cli::command().debug_assert();
        let mut found = Vec::new();
        texts(&Cli::command(), &mut found);
        assert!(found.len() > 40, "{found:?}");
        for (of, text) in found {
            assert!(!text.is_empty(), "`{of}` has no help");
            assert!(!text.ends_with('.') && !text.contains('\n') && text.len() <= 110, "`{of}`: {text:?}");
            assert!(!text.starts_with("Its "), "`{of}` says whose only in its place: {text:?}");
        }
    }
}
