//! `ovenbird-runner`: works on the builder. `provision` configures it, `test` tests it, `seal` makes it an image.

mod artifact;
mod boots;
mod curl;
mod fetch;
mod files;
mod folder;
mod junit;
mod live;
mod logs;
mod machine;
mod mailbox;
mod mask;
mod openrc;
mod output;
mod owner;
mod place;
mod process;
mod provision;
mod quiet;
mod seal;
mod secrets;
mod shield;
mod step;
mod systemd;
mod test;
mod test_kind;
mod unpack;
mod work;

use std::process::ExitCode;

use machine::Machine;
use provision::Provisioned;
use seal::Then;

const USAGE: &str = "\
usage: ovenbird-runner provision [--root FOLDER]
       ovenbird-runner test [--root FOLDER]
       ovenbird-runner work [--root FOLDER]
       ovenbird-runner seal [--keep-running|--dry-run] [--root FOLDER]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (arguments, root) = match arguments.as_slice() {
        [before @ .., "--root", root] => (before, *root),
        all => (all, "/"),
    };
    let machine = Machine::new(root);
    if let Err(error) = boots::heed() {
        eprintln!("ovenbird-runner: {error:#}");
        return ExitCode::from(255);
    }
    if let Err(error) = secrets::protect() {
        // Of no use to give up for: it holds back only what a crash would leave.
        eprintln!("ovenbird-runner: {error:#}");
    }
    let done = match arguments {
        ["work"] => work::run(&machine),
        ["provision"] => match provision::run(&machine) {
            Ok(Provisioned::Done(well)) => Ok(well),
            Ok(Provisioned::Boots) => return ExitCode::from(provision::BOOTS),
            Err(error) => Err(error),
        },
        ["test"] => test::run(&machine),
        ["seal"] => seal::run(&machine, Then::PowerOff).map(|()| true),
        ["seal", "--keep-running"] => seal::run(&machine, Then::KeepRunning).map(|()| true),
        ["seal", "--dry-run"] => seal::dry_run(&machine),
        // What the unit of the last word runs, and nobody else.
        ["seal", "--last-word"] => seal::last_word::run(&machine),
        _ => return usage(),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("ovenbird-runner: {error:#}");
            ExitCode::from(255)
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}
