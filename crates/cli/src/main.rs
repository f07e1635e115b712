//! `ovenbird`: the operators' command.

// Others wrote much of what is shown. So what people read goes through `print` and `tell!`, which make it plain.
#![deny(clippy::print_stderr, clippy::print_stdout)]

mod bake;
mod channels;
mod colour;
mod command;
mod complete;
mod confirm;
mod context;
mod doctor;
mod explain;
mod find;
mod fleet;
mod follow;
mod list;
#[cfg(all(feature = "local", target_os = "linux"))]
mod local;
mod pace;
mod pipeline;
mod prune;
mod recipe;
mod render;
mod reports;
mod rollout;
mod runner;
mod show;
mod status;
mod target;
mod ui;

use std::{
    io::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
};

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, error::ErrorKind, parser::ValueSource};
use jiff::Timestamp;
use ovenbird_core::{
    Error, Result,
    domain::{error::Kind, plain::plain, retirement::Act},
    views::{bake::BakeView, channel::ChannelView, error::Failed, rollout::RolloutView},
};
use serde::Serialize;

use crate::{
    command::{Cli, Command},
    target::Target,
};

/// The exit status when what was asked for failed: 1, as for every failure that isn't a wrong use (2).
const FAILED: u8 = 1;

fn main() -> ExitCode {
    // Before anything else: a machine's first process is this program again, and has no use for a runtime.
    #[cfg(all(feature = "local", target_os = "linux"))]
    if let Some(code) = local::hidden() {
        return code;
    }
    #[cfg(unix)]
    if let Some(error) = without_empty_endpoints() {
        crate::tell!("error: can't start again without the empty variables of the environment: {error}");
        return ExitCode::from(FAILED);
    }
    complete::answer();
    let (mut cli, matches) = match parsed() {
        Ok(parsed) => parsed,
        Err(error) => error.exit(),
    };
    // What talks to no account has no use for a file that may be wrong.
    if !matches!(cli.command, Command::Completions { .. } | Command::Man) {
        let typed = context::Typed::new(&matches, cli.command.is_local());
        if let Err(error) = context::apply(&mut cli.target, &typed) {
            return failed(cli.json.is_some(), &error);
        }
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            crate::tell!("error: can't start the command's threads: {error}");
            return ExitCode::from(FAILED);
        }
    };
    let json = cli.json.is_some();
    // Only the command's own panic ends it: the local cloud's supervisor is a command, too, and outlives a request that
    // panics.
    match catch_unwind(AssertUnwindSafe(|| runtime.block_on(run(cli)))) {
        // The panic was told by then. Its exit status lets scripts that retry what AWS refused not retry this.
        Err(_) => {
            crate::tell!("\nhint: This is a bug in Ovenbird: please report it with the lines above");
            ExitCode::from(Kind::Bug.exit_status())
        }
        Ok(Ok(code)) => code,
        Ok(Err(error)) => failed(json, &error),
    }
}

/// Tells an error; gives its exit status.
fn failed(json: bool, error: &Error) -> ExitCode {
    if json {
        print(true, &Failed::from(error), "");
    }
    crate::tell!("{}", render::error(error));
    ExitCode::from(error.kind().exit_status())
}

/// What is typed. `--profile` means AWS, whatever the environment says of the local cloud.
fn parsed() -> std::result::Result<(Cli, ArgMatches), clap::Error> {
    let matches = Cli::command().get_matches();
    let mut cli = Cli::from_arg_matches(&matches)?;
    if cli.target.profile.is_some() && cli.target.local {
        if matches.value_source("local") == Some(ValueSource::CommandLine) {
            let text = "`--profile` is of AWS, and `--local` is the local cloud: pass one of them";
            return Err(Cli::command().error(ErrorKind::ArgumentConflict, text));
        }
        cli.target.local = false;
    }
    Ok((cli, matches))
}

/// Starts the command again if the environment has an empty `AWS_ENDPOINT_URL…`: AWS's own tools take that for none, and
/// the SDK panics. Gives the error if that fails, and nothing if there is no such variable.
#[cfg(unix)]
fn without_empty_endpoints() -> Option<std::io::Error> {
    use std::os::unix::process::CommandExt as _;
    let is_empty = |(name, value): &(std::ffi::OsString, std::ffi::OsString)| {
        value.is_empty() && name.to_string_lossy().starts_with("AWS_ENDPOINT_URL")
    };
    let empty: Vec<_> = std::env::vars_os().filter(is_empty).map(|(name, _)| name).collect();
    if empty.is_empty() {
        return None;
    }
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return Some(error),
    };
    let mut command = std::process::Command::new(program);
    command.args(std::env::args_os().skip(1));
    for name in empty {
        command.env_remove(name);
    }
    Some(command.exec())
}

async fn run(cli: Cli) -> Result<ExitCode> {
    let Cli { target, json, command } = cli;
    let json = json.is_some();
    match command {
        Command::Completions { shell } => {
            print_as_is(false, &(), complete::script(shell).trim());
        }
        Command::Man => print_as_is(false, &(), &man()),
        #[cfg(all(feature = "local", target_os = "linux"))]
        Command::Local(command) => return local::run(&command, &target, json).await,
        #[cfg(all(feature = "local", target_os = "linux"))]
        Command::Open(args) => return local::open(&args, &target, json).await,
        Command::Recipe(command) => return recipe::run(&command, &target, json).await,
        Command::Pipeline(command) => return pipeline::run(&command, &target, json).await,
        Command::Runner(command) => {
            let pointer = runner::run(&command, &target).await?;
            print(json, &pointer, &format!("runner {}", &pointer.sha256.as_str()[..12]));
        }
        Command::Bake(args) => match bake::run(&args, &target, json).await? {
            bake::Started::Followed(deployment, id, followed) => {
                let how = follow::Ending { args: &args.follow, json, local: target.local };
                return how.ended(&deployment, id, followed).await;
            }
            bake::Started::Detached(id) => print(json, &bake::Detached { bake: &id }, id.as_str()),
        },
        Command::List(args) => {
            let rows = list::run(&args, &target).await?;
            print(json, &list::json(&rows), list::text(&rows, Timestamp::now()).trim_end());
        }
        Command::Status { pipeline } => {
            let now = Timestamp::now();
            let all = status::run(pipeline.as_deref(), &target, now).await?;
            let text = match (&pipeline, all.as_slice()) {
                (Some(_), [one]) => render::wrapped(&status::text(one, now)),
                // The notes below the table may be long.
                (_, all) => render::wrapped(&status::table(all, now)),
            };
            print(json, &all, &text);
        }
        Command::Fleet { pipeline } => {
            let now = Timestamp::now();
            let all = fleet::run(pipeline.as_deref(), &target, now).await?;
            print(json, &all, &render::wrapped(&fleet::table(&all, now)));
        }
        Command::Channels { pipeline } => {
            let found = channels::channels(pipeline.as_deref(), &target).await?;
            let views: Vec<_> = found.iter().map(ChannelView::from).collect();
            print(json, &views, channels::table(&found, Timestamp::now()).trim_end());
        }
        Command::History { pipeline } => {
            let found = channels::channels(Some(&pipeline), &target).await?;
            let views: Vec<_> = found.iter().map(ChannelView::from).collect();
            print(json, &views, &render::wrapped(channels::history(&found).trim_end()));
        }
        Command::Promote(args) => return Ok(answered(json, &channels::promote(&args, &target, json).await?)),
        Command::Rollback(args) => {
            return Ok(answered(json, &channels::roll_back(&args, &target, json).await?));
        }
        Command::Hold(args) => {
            let channel = channels::hold(&args, &target).await?;
            print(
                json,
                &ChannelView::from(&channel),
                channels::table(std::slice::from_ref(&channel), Timestamp::now()).trim_end(),
            );
        }
        Command::Release(which) => {
            let channel = channels::release(&which, &target).await?;
            print(
                json,
                &ChannelView::from(&channel),
                channels::table(std::slice::from_ref(&channel), Timestamp::now()).trim_end(),
            );
        }
        Command::Rollout(args) => {
            let shown = rollout::run(&args, &target).await?;
            let text = rollout::text(&shown, Timestamp::now());
            print(json, &RolloutView::from(&shown.rollout), text.trim_end());
            return Ok(if rollout::is_well(&shown.rollout) {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(FAILED)
            });
        }
        Command::Show { what, follow } => {
            if follow {
                // What is shown after it says how it ended.
                follow::run(Some(&what), &follow::FollowArgs::default(), &target, json).await?;
            }
            let shown = show::show(&what, &target).await?;
            print(json, &shown.view(), &render::wrapped(shown.text(Timestamp::now()).trim_end()));
        }
        Command::Logs { bake, step } => {
            let deployment = target.deployment().await?;
            let bake = find::find(&deployment, &bake).await?;
            reports::logs(&deployment, &bake, step.as_deref(), json).await?;
        }
        Command::Tests { bake, junit } => {
            let deployment = target.deployment().await?;
            let bake = find::find(&deployment, &bake).await?;
            let reports = reports::tests(&deployment, &bake).await?;
            if let Some(path) = &junit {
                reports::write_junit(path, &bake, &reports)?;
            }
            print(json, &reports, reports.tests_text().trim_end());
        }
        Command::Lineage { of, down, dot } => {
            let lineage = show::lineage(&of, down, &target).await?;
            let text = if dot { lineage.dot() } else { lineage.text(Timestamp::now()) };
            print(json, &lineage, text.trim_end());
        }
        Command::Explain { pipeline, bake, against } => {
            let explanation =
                explain::run(pipeline.as_deref(), bake.as_deref(), against.as_deref(), &target).await?;
            print(json, &explanation, &render::wrapped(&explain::text(&explanation)));
        }
        Command::Follow { bake, follow } => {
            let (deployment, id, followed) = follow::run(bake.as_deref(), &follow, &target, json).await?;
            let how = follow::Ending { args: &follow, json, local: target.local };
            return how.ended(&deployment, id, followed).await;
        }
        Command::Doctor => {
            let checkup = doctor::run(&target, Timestamp::now()).await?;
            print(json, &checkup, &render::wrapped(&doctor::text(&checkup)));
            return Ok(ExitCode::from(if checkup.bakes_would_fail { FAILED } else { 0 }));
        }
        Command::Cancel { bake } => {
            let bake = prune::cancel(&bake, &target).await?;
            print(json, &BakeView::from(&bake), &render::verdict(&bake));
        }
        Command::Ui(args) => ui::run(&args, &target, json).await?,
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

/// Shows what came of a promotion by hand; a no at the terminal is a failure.
fn answered(json: bool, answer: &channels::Answer) -> ExitCode {
    match answer {
        channels::Answer::Asked(asked) => {
            print(json, asked, &asked.text());
            ExitCode::SUCCESS
        }
        channels::Answer::Plan(plan) => {
            print(json, plan, channels::plan_text(plan).trim_end());
            if plan.refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
        }
        channels::Answer::Declined => ExitCode::from(FAILED),
    }
}

/// The manual page, with every command on it.
fn man() -> String {
    let mut page = Vec::new();
    let whole = clap_mangen::Man::new(Cli::command());
    let rendered = whole.render(&mut page).and_then(|()| {
        let inner = Cli::command();
        inner.get_subcommands().filter(|inner| !inner.is_hide_set()).try_for_each(|inner| {
            let title = format!(".SH \"ovenbird {}\"\n", inner.get_name());
            page.extend_from_slice(title.as_bytes());
            let man = clap_mangen::Man::new(inner.clone());
            man.render_description_section(&mut page)?;
            man.render_options_section(&mut page)
        })
    });
    rendered.unwrap_or_else(|_| unreachable!("it is written to memory"));
    String::from_utf8_lossy(&page).trim_end().to_owned()
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

/// Data goes to standard output, as JSON or as text; everything else goes to standard error. Much of the text was written
/// by others, so nothing of it reaches a terminal that the terminal would obey.
fn print(json: bool, data: &impl Serialize, text: &str) {
    match json {
        true => write_out(&render::json(data)),
        // Coloured last: a colour has no width.
        false if colour::wanted() => write_out(&colour::words(&render::fitted(&plain(text)))),
        false => write_out(&render::fitted(&plain(text))),
    }
}

/// The same for what isn't ours to lay out, line by line: scripts, pages of the manual, what a step printed.
fn print_as_is(json: bool, data: &impl Serialize, text: &str) {
    write_out(&if json { render::json(data) } else { plain(text) });
}

fn write_out(text: &str) {
    if let Err(error) = writeln!(std::io::stdout(), "{text}") {
        // Who reads may have enough of it, as `head` does: that is no failure. A full disk is one.
        if error.kind() != std::io::ErrorKind::BrokenPipe {
            crate::tell!("error: can't write to standard output: {error}");
            std::process::exit(FAILED.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::*;

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
