//! `shell` and `script`.

use std::{fs, os::unix::fs::PermissionsExt as _};

use anyhow::{Context as _, Result};
use ovenbird_core::domain::report::Exit;

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
            let mut command = this.command(program)?;
            command.args(words).arg(&file);
            command
        }
        None => {
            // The file says itself what runs it; that it may run is ours to say.
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755))
                .with_context(|| format!("script {source}"))?;
            this.command(&file)?
        }
    };
    command.args(args);
    this.run(command)
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
        assert!(exit.to_string().contains("no-such-shell"), "{exit}");
    }
}
