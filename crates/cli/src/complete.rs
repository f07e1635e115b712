//! What a shell completes: commands and options, and of the account that the line talks to its pipelines, channels, bakes and
//! machines.
//!
//! The shell runs this program again with what is typed so far. It asks as the command itself would, for a moment alone: who
//! waits for a tab has no use for an error, or for an answer that takes long.

use std::{ffi::OsString, time::Duration};

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};
use clap_complete::{
    CompleteEnv, Shell,
    engine::{ArgValueCandidates, CompletionCandidate},
    env::Shells,
};
use jiff::Timestamp;
use ovenbird_core::{
    Error, Result,
    domain::{
        bake::{Bake, Status},
        id::PipelineName,
    },
    store::Ledger,
};

use crate::{
    command::Cli,
    context::{self, Typed},
    find, render,
    target::{Deployment, Target},
};

/// By this variable the shell asks, and names itself.
const VARIABLE: &str = "OVENBIRD_COMPLETE";

/// How long an account may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// How many of each pipeline's newest bakes are offered.
const BAKES: usize = 5;

/// Answers a shell that asks, and ends the program; does nothing for every other command line.
pub fn answer() {
    CompleteEnv::with_factory(Cli::command).var(VARIABLE).complete();
}

/// The script by which a shell asks.
pub fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    let shells = Shells::builtins();
    let written = shells
        .completer(&shell.to_string())
        .map(|shell| shell.write_registration(VARIABLE, "ovenbird", "ovenbird", "ovenbird", &mut script));
    debug_assert!(matches!(written, Some(Ok(()))), "every shell has a script, and it is written to memory");
    String::from_utf8_lossy(&script).into_owned()
}

/// The names of pipelines.
pub fn pipelines() -> ArgValueCandidates {
    ArgValueCandidates::new(|| asked(async |line| all_pipelines(&line.target.deployment().await?).await))
}

/// The names of pipelines, each of which stands for its newest bake, and the newest bakes.
pub fn bakes() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        asked(async |line| {
            let deployment = line.target.deployment().await?;
            let mut found = all_pipelines(&deployment).await?;
            found.extend(newest(&deployment, |_| true).await?);
            Ok(found)
        })
    })
}

/// The bakes that are running.
pub fn running() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        asked(async |line| {
            let deployment = line.target.deployment().await?;
            newest(&deployment, |bake| bake.progress.status == Status::Running).await
        })
    })
}

/// The channels of the pipeline that the line names.
pub fn channels() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        asked(async |line| {
            let Some(pipeline) = line.pipeline() else { return Ok(Vec::new()) };
            let deployment = line.target.deployment().await?;
            let channels = Ledger(&deployment.cloud).channels(&pipeline).await?;
            Ok(channels.into_iter().map(|channel| CompletionCandidate::new(channel.name.as_str())).collect())
        })
    })
}

/// The contexts of the folder's `ovenbird.toml`.
pub fn contexts() -> ArgValueCandidates {
    ArgValueCandidates::new(|| context::names().into_iter().map(CompletionCandidate::new).collect())
}

/// The machines of the local cloud.
#[cfg(all(feature = "local", target_os = "linux"))]
pub fn machines() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        asked(async |line| {
            let options = ovenbird_local::Options::new(line.target.port);
            let Ok(status) = ovenbird_local::status(&options).await else { return Ok(Vec::new()) };
            let of = |one: ovenbird_local::InstanceStatus| {
                let what: Vec<String> = one.pipeline.into_iter().chain(one.role).collect();
                let what = if what.is_empty() { one.image } else { what.join(" ") };
                CompletionCandidate::new(one.instance).help(Some(format!("{}, {what}", one.state).into()))
            };
            Ok(status.instances.into_iter().map(of).collect())
        })
    })
}

async fn all_pipelines(deployment: &Deployment) -> Result<Vec<CompletionCandidate>> {
    let found = find::pipelines(deployment).await?;
    Ok(found.iter().map(|pipeline| CompletionCandidate::new(pipeline.as_str())).collect())
}

async fn newest(deployment: &Deployment, wanted: impl Fn(&Bake) -> bool) -> Result<Vec<CompletionCandidate>> {
    let ledger = Ledger(&deployment.cloud);
    let pipelines = find::pipelines(deployment).await?;
    let found = find::each(&pipelines, async |pipeline| ledger.bakes(pipeline, BAKES).await).await?;
    let mut found: Vec<Bake> = found.into_iter().flatten().filter(wanted).collect();
    found.sort_by_key(|bake| std::cmp::Reverse(bake.spec.started));
    let now = Timestamp::now();
    let of = |bake: &Bake| {
        let status = bake.progress.status.as_str();
        let help = format!("{} {status}, {} ago", bake.spec.pipeline, render::age(bake.spec.started, now));
        CompletionCandidate::new(bake.spec.id.as_str()).help(Some(help.into()))
    };
    Ok(found.iter().map(of).collect())
}

/// What is typed so far, as far as it is understood.
struct Line {
    target: Target,
    matches: ArgMatches,
}

impl Line {
    /// Reads it from this program's own arguments, which have it behind `--`.
    fn read() -> Result<Self> {
        let words: Vec<OsString> = std::env::args_os().skip_while(|word| word != "--").skip(1).collect();
        Self::of(words)
    }

    fn of(words: Vec<OsString>) -> Result<Self> {
        let wrong = |error: clap::Error| Error::bad_input("the line", error.to_string(), "Type on");
        // What is missing yet, or wrong, is no reason to complete nothing.
        let matches = Cli::command().ignore_errors(true).try_get_matches_from(words).map_err(wrong)?;
        let mut target = Target::from_arg_matches(&matches).map_err(wrong)?;
        target.local &= target.profile.is_none();
        context::apply(&mut target, &Typed::new(&matches, false))?;
        // Nothing is told beside a line that somebody types.
        target.chosen = None;
        Ok(Self { target, matches })
    }

    /// The pipeline that it names, or that the folder's file does.
    fn pipeline(&self) -> Option<PipelineName> {
        let (mut found, mut matches) = (None, &self.matches);
        while let Some((_, inner)) = matches.subcommand() {
            found = inner.try_get_one::<String>("pipeline").ok().flatten().or(found);
            matches = inner;
        }
        let named = found.and_then(|name| PipelineName::parse(name).ok());
        named.or_else(|| self.target.pipeline.clone())
    }
}

/// Asks what fits, for a moment; nothing does when the answer fails or takes too long.
fn asked(ask: impl AsyncFnOnce(&Line) -> Result<Vec<CompletionCandidate>>) -> Vec<CompletionCandidate> {
    let Ok(line) = Line::read() else { return Vec::new() };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Vec::new();
    };
    let found = runtime.block_on(async { tokio::time::timeout(PATIENCE, ask(&line)).await });
    found.ok().and_then(Result::ok).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(words: &[&str]) -> Line {
        Line::of(words.iter().map(OsString::from).collect()).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_line_that_is_not_typed_to_its_end_says_which_account_and_pipeline_it_means() {
        let half =
            line(&["ovenbird", "promote", "storefront", "--port", "4700", "--stack", "two", "--channel", ""]);
        assert_eq!((half.target.port, half.target.stack.as_str()), (4700, "two"));
        assert_eq!(half.pipeline().as_ref().map(PipelineName::as_str), Some("storefront"));
        let half = line(&["ovenbird", "--profile", "acme", "recipe", "revert", "shop", "--recipe"]);
        assert_eq!(half.target.profile.as_deref(), Some("acme"));
        assert_eq!(half.pipeline().as_ref().map(PipelineName::as_str), Some("shop"));
        assert_eq!(line(&["ovenbird", "show", ""]).pipeline(), None);
    }

    #[test]
    fn every_shell_has_a_script_that_asks_this_program() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
            let script = script(shell);
            assert!(script.contains(VARIABLE) && script.contains("ovenbird"), "{shell}: {script}");
        }
    }
}
