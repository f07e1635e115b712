//! `ovenbird-runner`: works on the builder. `provision` configures it, `test` tests it, `seal` makes it an image.

mod check;
mod curl;
mod fetch;
mod junit;
mod kept;
mod machine;
mod mask;
mod process;
mod provision;
mod seal;
mod secrets;
mod step;
mod test;
mod unpack;

use std::process::ExitCode;

use machine::Machine;

const USAGE: &str = "usage: ovenbird-runner provision|test|seal [--root FOLDER]";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let verb = arguments.next();
    let root = match (arguments.next().as_deref(), arguments.next(), arguments.next()) {
        (None, None, None) => "/".to_owned(),
        (Some("--root"), Some(root), None) => root,
        _ => return usage(),
    };
    let machine = Machine::new(&root);
    let done = match verb.as_deref() {
        Some("provision") => provision::run(&machine),
        Some("test") => test::run(&machine),
        Some("seal") => seal::run(&machine).map(|()| true),
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
