//! What can be typed: every command with its options. `ovenbird help`, completions and the manual page are made of it.

use clap::{Parser, Subcommand};

#[cfg(all(feature = "local", target_os = "linux"))]
use crate::local;
use crate::{
    bake, channels, complete,
    confirm::Confirm,
    follow, list, pipeline, prune, recipe, rollout, runner,
    target::{self, Target},
    ui,
};

/// The version of what `--json` prints. Within a version, fields are added; none goes, is renamed, or gets another type.
const JSON: u8 = 1;

/// Bake golden machine images on AWS, or on this machine
#[derive(Debug, Parser)]
#[command(name = "ovenbird", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    pub target: Target,
    /// Print the result as JSON, as docs/json.md describes it
    #[arg(
        long,
        global = true,
        help_heading = target::HEADING,
        value_name = "VERSION",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "1",
        value_parser = clap::value_parser!(u8).range(i64::from(JSON)..=i64::from(JSON)),
    )]
    pub json: Option<u8>,
    #[command(subcommand)]
    pub command: Command,
}

// No doc comment: clap would take it for the command's own description.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the pipeline on this machine, in a local cloud
    #[cfg(all(feature = "local", target_os = "linux"))]
    #[command(subcommand)]
    Local(local::LocalCommand),
    #[command(subcommand)]
    Recipe(recipe::RecipeCommand),
    #[command(subcommand)]
    Pipeline(pipeline::PipelineCommand),
    #[command(subcommand)]
    Runner(runner::RunnerCommand),
    Bake(bake::BakeArgs),
    List(list::ListArgs),
    /// Show what every channel points at, what runs on it, and what is wrong with it
    Status {
        /// The pipeline's name (default: all pipelines)
        #[arg(add = complete::pipelines())]
        pipeline: Option<String>,
    },
    /// Show which machines run from which image, and which are outdated
    Fleet {
        /// The pipeline's name (default: all machines)
        #[arg(add = complete::pipelines())]
        pipeline: Option<String>,
    },
    /// List the channels: what each points at, since when, and by whom
    Channels {
        /// The pipeline's name (default: all pipelines)
        #[arg(add = complete::pipelines())]
        pipeline: Option<String>,
    },
    /// Show what the channels of a pipeline pointed at, who promoted it, and why
    History {
        /// The pipeline's name
        #[arg(add = complete::pipelines())]
        pipeline: String,
    },
    Promote(channels::PromoteArgs),
    Rollback(channels::RollbackArgs),
    Hold(channels::HoldArgs),
    /// End the hold of a channel
    Release(channels::Which),
    Rollout(rollout::RolloutArgs),
    Ui(ui::UiArgs),
    /// Show one bake, an image or an instance: inputs, steps, tests, timeline, and why it failed
    Show {
        /// A bake's id or its beginning, PIPELINE@latest, PIPELINE@2, an image's id, or an instance's
        #[arg(value_name = "BAKE_OR_IMAGE_OR_INSTANCE", add = complete::bakes())]
        what: String,
        /// Follow the bake to its end first
        #[arg(long)]
        follow: bool,
    },
    /// Print the end of what each step of a bake printed; of a running bake, what it prints as it comes
    Logs {
        /// The bake's id or its beginning, or PIPELINE@latest
        #[arg(add = complete::bakes())]
        bake: String,
        /// Only this step, by its number or its name
        #[arg(long)]
        step: Option<String>,
    },
    /// Show every test of a bake, and each that failed in full
    Tests {
        /// The bake's id or its beginning, or PIPELINE@latest
        #[arg(add = complete::bakes())]
        bake: String,
        /// Also write the bake and its tests to this file, as JUnit XML
        #[arg(long, value_name = "FILE")]
        junit: Option<std::path::PathBuf>,
    },
    /// Show the chain of images that an image was built on
    Lineage {
        /// The id of an image, or of the bake that made it
        #[arg(value_name = "IMAGE_OR_BAKE", add = complete::bakes())]
        of: String,
        /// Also show what was built on it
        #[arg(long)]
        down: bool,
        /// Print a graph for Graphviz: `ovenbird lineage IMAGE --down --dot | dot -Tsvg`
        #[arg(long)]
        dot: bool,
    },
    /// Show what a bake would use now that differs from what is live, and what it would do
    Explain {
        /// The pipeline's name (default: that of ./recipe.toml)
        #[arg(add = complete::pipelines())]
        pipeline: Option<String>,
        /// Compare this bake with the one before it (default: what a bake would use now with what is live)
        #[arg(long, add = complete::bakes())]
        bake: Option<String>,
        /// Compare with this bake
        #[arg(long, value_name = "BAKE", add = complete::bakes())]
        against: Option<String>,
    },
    /// Follow a bake to its end
    #[command(after_help = "Examples:
  ovenbird follow storefront                the newest bake of the pipeline
  ovenbird follow jvm-runtime --children    and the bakes of all that stand on it")]
    Follow {
        /// The bake's id or its beginning, or its pipeline (default: the one bake that is running)
        #[arg(value_name = "BAKE_OR_PIPELINE", add = complete::bakes())]
        bake: Option<String>,
        #[command(flatten)]
        follow: follow::FollowArgs,
    },
    /// Look at the account and the stack: what would make a bake fail, what is weaker, and what fixes it
    #[command(after_help = "Exit status: 1 if a bake would fail, else 0.")]
    Doctor,
    /// Stop a bake and remove what it made, without asking
    Cancel {
        /// The bake's id, as `ovenbird list` prints it
        #[arg(add = complete::running())]
        bake: String,
    },
    /// Retire old images and clean up after dead bakes: show the plan, then ask
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "Examples:
  ovenbird prune --dry-run                  what would go, and why the rest stays
  ovenbird prune explain ami-0123456789abcdef0"
    )]
    Prune {
        /// This pipeline alone
        #[arg(long, add = complete::pipelines())]
        pipeline: Option<String>,
        #[command(subcommand)]
        what: Option<prune::What>,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Clean up after a dead bake: show what it left, then ask
    Clean {
        /// The bake's id or its beginning, as `ovenbird list` prints it
        #[arg(add = complete::bakes())]
        bake: String,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Print a script by which a shell completes this command, with pipelines and bakes
    #[command(
        after_help = "Examples:\n  source <(ovenbird completions bash)       in ~/.bashrc\n  source <(ovenbird completions zsh)        in ~/.zshrc, below `autoload -U compinit; compinit`\n  ovenbird completions fish | source        in ~/.config/fish/config.fish"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
    // As `ovenbird local open`, which the help shows.
    #[cfg(all(feature = "local", target_os = "linux"))]
    #[command(hide = true)]
    Open(local::OpenArgs),
}

impl Command {
    /// Whether it is about the local cloud, whatever account is chosen.
    pub fn is_local(&self) -> bool {
        #[cfg(all(feature = "local", target_os = "linux"))]
        return matches!(self, Self::Local(_) | Self::Open(_));
        #[cfg(not(all(feature = "local", target_os = "linux")))]
        false
    }
}
