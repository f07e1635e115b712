//! HTTP by the machine's own `curl`.
//!
//! A static program has no safe way to resolve names with glibc, which loads the host's own resolver modules;
//! the machine's own client does it right, with its certificates. All that may be a secret (URLs, headers, bodies)
//! goes in on standard input, where no list of processes shows it.

use std::{process::Command, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use ovenbird_core::domain::report::Exit;

use crate::{
    output::Output,
    process::{self, Answer},
};

/// How much of an answer's body is read; the rest of a longer one is left out in its middle.
const BODY_HALF: usize = 8 << 20;

/// Others would read this machine's own files (`file:`), or speak to whatever listens on it.
const PROTOCOLS: &str = "=http,https";

/// How long a connection may take, in seconds.
const CONNECT: u64 = 10;

/// A request.
#[derive(Debug, Default)]
pub struct Request<'a> {
    pub url: &'a str,
    /// None is GET.
    pub method: Option<&'a str>,
    pub headers: Vec<(&'a str, &'a str)>,
    pub body: Option<&'a str>,
    /// Whether the machine's proxy settings are for it too: they are not for addresses of the machine itself.
    pub by_proxy: bool,
}

/// What came back.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub body: Vec<u8>,
    /// How many bytes are missing in the body's middle.
    pub left_out: u64,
}

/// Asks once; a status is an answer, whatever it is.
pub fn ask(request: &Request<'_>, limit: Duration) -> Result<Response> {
    let mut config = request_options(request);
    // The status comes after the body, so that one pipe carries both.
    config.push_str("write-out = \"%{http_code}\"\n");
    let (mut stdout, mut stderr) = (Output::in_memory(BODY_HALF), Output::in_memory(4096));
    let seconds = limit.as_secs().max(1);
    let mut curl = command(seconds.min(CONNECT));
    curl.arg("--max-time").arg(seconds.to_string());
    // `curl` keeps its own time; the limit here is for one that doesn't.
    let limit = Duration::from_secs(seconds + 5);
    let exit = process::ask_into(&mut curl, config.as_bytes(), &mut stdout, &mut stderr, limit)?;
    let answer = Answer { exit, stdout, stderr };
    succeeded(&answer)?;
    let left_out = answer.stdout.left_out();
    let mut body = answer.stdout.bytes();
    let code = body.split_off(body.len().saturating_sub(3));
    let status = String::from_utf8_lossy(&code).parse().context("no HTTP status from `curl`")?;
    Ok(Response { status, body, left_out })
}

/// Moves a file by a URL, tried again where that may help; a status of failure is an error.
pub fn transfer(url: &str, arguments: &[&str], limit: Duration) -> Result<()> {
    let mut curl = command(CONNECT);
    curl.args(["--fail", "--retry", "5", "--retry-connrefused"]).args(arguments);
    let config = option("url", url) + &option("proto", PROTOCOLS);
    succeeded(&process::ask(curl, config.as_bytes(), limit)?)
}

fn command(connect: u64) -> Command {
    let mut curl = Command::new("curl");
    // `--config` first or not at all: options read there are the same as those given here.
    curl.args(["--silent", "--show-error", "--globoff", "--config", "-", "--connect-timeout"]);
    curl.arg(connect.to_string());
    curl
}

fn request_options(request: &Request<'_>) -> String {
    let mut config = option("url", request.url);
    config.push_str(&option("proto", PROTOCOLS));
    if !request.by_proxy {
        config.push_str(&option("noproxy", "*"));
    }
    match request.method {
        // A `curl` that is only told the name waits for a body that HEAD never has.
        Some("HEAD") => config.push_str("head\noutput = \"/dev/null\"\n"),
        Some(method) => config.push_str(&option("request", method)),
        None => {}
    }
    for (name, value) in &request.headers {
        // A header with an empty value is written with a semicolon, or `curl` would leave it out.
        let line = if value.is_empty() { format!("{name};") } else { format!("{name}: {value}") };
        config.push_str(&option("header", &line));
    }
    if let Some(body) = request.body {
        config.push_str(&option("data-raw", body));
    }
    config
}

/// One line of `curl`'s configuration, whatever is in the value.
fn option(name: &str, value: &str) -> String {
    let mut line = format!("{name} = \"");
    for letter in value.chars() {
        match letter {
            '\\' => line.push_str("\\\\"),
            '"' => line.push_str("\\\""),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            other => line.push(other),
        }
    }
    line.push_str("\"\n");
    line
}

fn succeeded(answer: &Answer) -> Result<()> {
    match &answer.exit {
        Exit::Status(0) => Ok(()),
        Exit::Failed(problem) => bail!("{problem}; add `curl` to the base image"),
        Exit::Status(_) | Exit::Signal(_) | Exit::TimedOut(_) | Exit::Skipped | Exit::Rebooted(_) => {
            let complaint = answer.complaint();
            ensure!(!complaint.is_empty(), "curl: {}", answer.exit);
            bail!("{complaint}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_http_is_spoken() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("it");
        for url in ["file:///etc/hostname", "ftp://127.0.0.1/x", "gopher://127.0.0.1/x"] {
            let arguments = ["--output", to.to_str().unwrap(), "--retry", "0"];
            let error = transfer(url, &arguments, Duration::from_secs(20)).unwrap_err().to_string();
            assert!(!to.exists() && error.contains("rotocol"), "{url}: {error}");
        }
    }
}
