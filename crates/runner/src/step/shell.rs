//! `shell` and `script`.

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use anyhow::{Context as _, Result, bail, ensure};
use ovenbird_core::domain::{
    recipe::{HEAD, Head, HeadKind},
    report::Exit,
};

use super::Try;

pub fn run(this: &mut Try<'_>, text: &str) -> Result<Exit> {
    let mut command = this.command("/bin/sh")?;
    command.args(["-ec", text]);
    this.run(command)
}

pub fn script(this: &mut Try<'_>, source: &str, args: &[String], interpreter: &[String]) -> Result<Exit> {
    let file = this.machine.source(source)?;
    let mut command = match interpreter.split_first() {
        Some((program, words)) => {
            ensure!(
                this.has(program)?,
                "`interpreter` of `{source}` is `{program}`, which the machine does not have: install it in a step \
                 before"
            );
            let mut command = this.command(program)?;
            command.args(words).arg(&file);
            command
        }
        None => {
            let head = head(&file).with_context(|| format!("script {source}"))?;
            judge(this, source, &head)?;
            // The file says itself what runs it; that it may run is ours to say.
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755))
                .with_context(|| format!("script {source}"))?;
            match head.kind {
                HeadKind::Program | HeadKind::Script { .. } => this.command(&file)?,
                // Linux runs nothing that doesn't say by what; shells have always taken it for one of theirs.
                HeadKind::Plain => {
                    let mut command = this.command("/bin/sh")?;
                    command.arg(&file);
                    command
                }
            }
        }
    };
    command.args(args);
    this.run(command)
}

fn head(file: &Path) -> Result<Head> {
    let mut bytes = Vec::new();
    File::open(file)?.take(HEAD as u64).read_to_end(&mut bytes)?;
    Ok(Head::of(&bytes))
}

/// Refuses a file that Linux could not run. Its own words would be "No such file or directory", of a file that is there.
fn judge(this: &Try<'_>, source: &str, head: &Head) -> Result<()> {
    if let Some((what, hint)) = head.flaw() {
        bail!("`{source}` {what}. {hint}");
    }
    let HeadKind::Script { interpreter, argument } = &head.kind else { return Ok(()) };
    let hint = "install it in a step before, or name another by `interpreter`";
    ensure!(
        this.has(interpreter)?,
        "the first line of `{source}` names `{interpreter}`, which the machine does not have: {hint}"
    );
    // `env` looks for another program; with options or variables it is its own business.
    let plain = |argument: &&String| !argument.starts_with('-') && !argument.contains(['=', ' ', '\t']);
    if let Some(program) = argument.as_ref().filter(|_| interpreter.ends_with("/env")).filter(plain) {
        ensure!(
            this.has(program)?,
            "the first line of `{source}` asks for `{program}`, which the machine does not have: {hint}"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ovenbird_core::domain::recipe::Action;

    use super::super::testing::Stage;
    use super::*;

    fn action(interpreter: &[&str], args: &[&str]) -> Action {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Action::Script { source: "it.sh".into(), args: words(args), interpreter: words(interpreter) }
    }

    #[test]
    fn every_argument_is_one_word() {
        let stage = Stage::new();
        stage.write("files/it.sh", "#!/bin/sh\nprintf '[%s]' \"$@\"\n");
        let (exit, output) = stage.act(action(&[], &["a b", "; exit 3", "$(exit 4)", "", "*"]));
        assert_eq!(exit, Exit::Status(0));
        assert_eq!(output, "[a b][; exit 3][$(exit 4)][][*]");
    }

    #[test]
    fn an_interpreter_has_its_own_arguments_and_runs_any_file() {
        let stage = Stage::new();
        stage.write("files/it.sh", "echo \"$-\" \"$1\"\nfalse\necho not reached\n");
        let (exit, output) = stage.act(action(&["sh", "-e", "-u"], &["one"]));
        assert_eq!(exit, Exit::Status(1));
        assert!(output.contains('e') && output.contains('u') && output.ends_with("one"), "{output}");
    }

    #[test]
    fn an_interpreter_that_is_not_there_is_named() {
        let stage = Stage::new();
        stage.write("files/it.sh", "");
        let (exit, _) = stage.act(action(&["no-such-shell"], &[]));
        let words = "`interpreter` of `it.sh` is `no-such-shell`, which the machine does not have";
        assert!(exit.to_string().contains(words), "{exit}");
    }

    #[test]
    fn a_first_line_that_linux_can_t_follow_is_told_in_so_many_words() {
        for (text, words) in [
            ("#!/bin/sh\r\necho x\r\n", "ends with a carriage return: Linux looks for `/bin/sh\\r`"),
            ("\u{feff}#!/bin/sh\necho x\n", "begins with a byte order mark"),
            ("#!/usr/bin/no-such\n", "names `/usr/bin/no-such`, which the machine does not have: install it"),
            ("#!/usr/bin/env no-such\n", "asks for `no-such`, which the machine does not have"),
            ("#!sh\n", "names no interpreter by its whole path"),
        ] {
            let stage = Stage::new();
            stage.write("files/it.sh", text);
            let (exit, output) = stage.act(action(&[], &[]));
            assert!(exit.to_string().contains(words), "{text:?}: {exit} {output}");
        }
    }

    #[test]
    fn a_script_that_names_no_interpreter_is_a_shell_s() {
        let stage = Stage::new();
        stage.write("files/it.sh", "echo \"$1\"\n");
        assert_eq!(stage.act(action(&[], &["one"])), (Exit::Status(0), "one".into()));
        stage.write("files/it.sh", "#!/usr/bin/env -S sh -u\necho \"$-\"\n");
        let (exit, output) = stage.act(action(&[], &[]));
        assert!(exit == Exit::Status(0) && output.contains('u'), "{exit} {output}");
    }
}
