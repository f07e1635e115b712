//! `ovenbird-runner`: works on the builder. `provision` configures it, `test` tests it, `seal` makes it an image.

mod curl;
mod fetch;
mod files;
mod junit;
mod machine;
mod mask;
mod output;
mod process;
mod provision;
mod seal;
mod secrets;
mod step;
mod systemd;
mod test;
mod test_kind;
mod unpack;

use std::process::ExitCode;

use machine::Machine;
use seal::Then;

const USAGE: &str = "usage: ovenbird-runner provision|test|seal [--keep-running] [--root FOLDER]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (arguments, root) = match arguments.as_slice() {
        [before @ .., "--root", root] => (before, *root),
        all => (all, "/"),
    };
    let machine = Machine::new(root);
    let done = match arguments {
        ["provision"] => provision::run(&machine),
        ["test"] => test::run(&machine),
        ["seal"] => seal::run(&machine, Then::PowerOff).map(|()| true),
        ["seal", "--keep-running"] => seal::run(&machine, Then::KeepRunning).map(|()| true),
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
