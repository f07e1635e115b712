//! AWS's own command, kept running: see `tools/aws.py`.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result};

use crate::clients::{home, repository};

/// The commands that wait for work, by the home whose key they sign with; one more is started when all are at work.
/// They end with this process.
static IDLE: Mutex<BTreeMap<PathBuf, Vec<AwsCommand>>> = Mutex::new(BTreeMap::new());

/// What the command said.
#[derive(Debug, serde::Deserialize)]
pub struct Answer {
    /// Its exit status.
    pub status: i32,
    /// Its standard output.
    pub output: String,
    /// Its standard error.
    pub errors: String,
}

/// Carries out one command, signed with the key in a home.
pub fn aws(home: &Path, arguments: &[&str]) -> Result<Answer> {
    let idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner).get_mut(home).and_then(Vec::pop);
    let mut command = idle.map_or_else(|| AwsCommand::start(home), Ok)?;
    let said = command.ask(arguments).with_context(|| format!("`aws {}`", arguments.join(" ")))?;
    IDLE.lock().unwrap_or_else(PoisonError::into_inner).entry(home.to_owned()).or_default().push(command);
    Ok(said)
}

struct AwsCommand {
    _process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl AwsCommand {
    fn start(of: &Path) -> Result<Self> {
        let mut process = Command::new(home().join("venv/bin/python"))
            .arg(repository().join("tools/aws.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .env_remove("AWS_ACCESS_KEY_ID")
            .env_remove("AWS_SECRET_ACCESS_KEY")
            .env_remove("AWS_SESSION_TOKEN")
            .env("AWS_SHARED_CREDENTIALS_FILE", of.join("aws/credentials"))
            .env("AWS_CONFIG_FILE", of.join("aws/config"))
            .envs([
                ("AWS_PROFILE", "ovenbird-local"),
                ("AWS_DEFAULT_REGION", "us-east-1"),
                ("AWS_DEFAULT_OUTPUT", "json"),
                ("AWS_PAGER", ""),
            ])
            .spawn()
            .context("AWS's command: run `make setup` first")?;
        let (input, output) = (process.stdin.take(), process.stdout.take());
        let (input, output) = input.zip(output).context("a process without its pipes")?;
        Ok(Self { _process: process, input, output: BufReader::new(output) })
    }

    fn ask(&mut self, arguments: &[&str]) -> Result<Answer> {
        writeln!(self.input, "{}", serde_json::to_string(arguments)?)?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("it answered {line:?}"))
    }
}
