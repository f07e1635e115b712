//! Ovenbird's own command and AWS's, as an operator would run them.

use std::{
    collections::BTreeMap,
    env,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use ovenbird_core::domain::bake::Bake;
use serde_json::Value;

use crate::{aws::aws, sign::Key};

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Where the local cloud keeps what it keeps between runs, and its Python environments.
pub fn home() -> PathBuf {
    env::var_os("OVENBIRD_HOME").map_or_else(|| PathBuf::from("/var/lib/ovenbird"), PathBuf::from)
}

/// A local cloud, asked through commands.
#[derive(Debug, Clone)]
pub struct Local {
    /// The endpoint's port on loopback.
    pub port: u16,
    /// Its home, when it isn't the usual one.
    pub home: Option<PathBuf>,
}

impl Local {
    /// The endpoint, one and the same for machines, functions and clients.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its home: its own, or the usual one.
    pub fn home(&self) -> PathBuf {
        self.home.clone().unwrap_or_else(home)
    }

    /// `ovenbird --local …`, whose output goes to ours.
    pub fn ovenbird(&self, arguments: &[&str]) -> Result<()> {
        let status = self.command(arguments).status().context("ovenbird")?;
        ensure!(status.success(), "`ovenbird {}` ended with {status}", arguments.join(" "));
        Ok(())
    }

    /// `ovenbird --local --json …`, parsed; an exit status other than 0 is an error unless `may_fail`.
    pub fn ovenbird_json(&self, arguments: &[&str], may_fail: bool) -> Result<Value> {
        let output =
            self.command(arguments).arg("--json").stdin(Stdio::null()).output().context("ovenbird")?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() && !may_fail {
            bail!("`ovenbird {}`: {text}\n{}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        serde_json::from_str(&text)
            .with_context(|| format!("`ovenbird {}` printed: {text}", arguments.join(" ")))
    }

    /// The bakes of a pipeline that have a record, the newest first, as `ovenbird list` has them.
    pub fn bakes(&self, pipeline: &str, limit: u16) -> Result<Vec<Bake>> {
        let rows = self.ovenbird_json(&["list", pipeline, "--limit", &limit.to_string()], false)?;
        let rows = rows.as_array().cloned().unwrap_or_default();
        // What failed before it had a record has no inputs.
        let recorded = rows.into_iter().filter(|row| row["recorded"] == true);
        recorded.map(|row| serde_json::from_value(row).context("a bake")).collect()
    }

    /// What `ovenbird --local …` says on both of its outputs, and its exit status.
    pub fn ovenbird_says(&self, arguments: &[&str]) -> Result<(Option<i32>, String)> {
        let output = self.command(arguments).stdin(Stdio::null()).output().context("ovenbird")?;
        let text = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8_lossy(&text).into_owned()))
    }

    /// `ovenbird --local …`, whose output goes to ours; gives its exit status.
    pub fn ovenbird_shows(&self, arguments: &[&str]) -> Result<Option<i32>> {
        Ok(self.command(arguments).status().context("ovenbird")?.code())
    }

    /// `ovenbird --local …`, to be run as its caller likes.
    pub fn command(&self, arguments: &[&str]) -> Command {
        // The demo and the tests are built into the same folder as the command, or one below.
        let here = env::current_exe().unwrap_or_default();
        let beside = here
            .ancestors()
            .skip(1)
            .take(2)
            .map(|folder| folder.join("ovenbird"))
            .find(|path| path.is_file());
        let mut command = Command::new(beside.unwrap_or_else(|| "ovenbird".into()));
        command.args(arguments).env("OVENBIRD_LOCAL", "1").env("OVENBIRD_PORT", self.port.to_string());
        if let Some(home) = &self.home {
            command.env("OVENBIRD_HOME", home);
        }
        command.current_dir(repository());
        command
    }

    /// AWS's own command on the local endpoint; gives its JSON.
    pub fn aws(&self, arguments: &[&str]) -> Result<Value> {
        let endpoint = self.endpoint();
        // For SQS it listens to no variable.
        let said = aws(&self.home(), &[arguments, &["--endpoint-url", &endpoint]].concat())?;
        ensure!(said.status == 0, "`aws {}`: {}", arguments.join(" "), said.errors.trim());
        if said.output.trim().is_empty() {
            return Ok(Value::Null);
        }
        let printed = || format!("`aws {}` printed: {}", arguments.join(" "), said.output);
        serde_json::from_str(&said.output).with_context(printed)
    }

    /// What `aws …` says of a call that is refused; an error when it isn't.
    pub fn aws_refuses(&self, arguments: &[&str]) -> Result<String> {
        let endpoint = self.endpoint();
        let said = aws(&self.home(), &[arguments, &["--endpoint-url", &endpoint]].concat())?;
        ensure!(said.status != 0, "`aws {}` was done: {}", arguments.join(" "), said.output);
        Ok(said.errors)
    }

    /// PUTs an object by plain HTTP, as fast as it goes.
    pub fn put(&self, bucket: &str, key: &str, body: &[u8]) -> Result<()> {
        let headers = Key::of(&self.home())?.put(&format!("{}/{bucket}/{key}", self.endpoint()), body)?;
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let (port, length) = (self.port, body.len());
        write!(
            stream,
            "PUT /{bucket}/{key} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {length}\r\n\
             Connection: close\r\n"
        )?;
        for (name, value) in headers {
            write!(stream, "{name}: {value}\r\n")?;
        }
        stream.write_all(b"\r\n")?;
        stream.write_all(body)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.lines().next().is_some_and(|line| line.contains(" 200 ")), "{answer}");
        Ok(())
    }

    /// A URL with which anybody may do this to an object for five minutes.
    pub fn presign(&self, method: &str, bucket: &str, key: &str) -> Result<String> {
        Key::of(&self.home())?.presign(method, &format!("{}/{bucket}/{key}", self.endpoint()))
    }

    /// What the stack tells operators of itself: `bucket`, `table`, and the state machines `bake` and `prune`.
    pub fn operator(&self) -> Result<BTreeMap<String, String>> {
        let answer = self.aws(&["ssm", "get-parameter", "--name", "/ovenbird/operator"])?;
        let text = answer.pointer("/Parameter/Value").and_then(Value::as_str).unwrap_or_default();
        serde_json::from_str(text).context("parameter /ovenbird/operator")
    }

    /// A loopback address that is forwarded to a machine's port.
    pub fn forward(&self, instance: &str, port: u16) -> Result<String> {
        let answer = self.ovenbird_json(&["open", instance, &port.to_string()], false)?;
        Ok(answer["address"].as_str().context("no address")?.to_owned())
    }
}

/// GETs `/` of a plain HTTP server; an error while nothing answers.
pub fn get(address: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET / HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    ensure!(head.lines().next().is_some_and(|line| line.contains(" 200 ")), "{head}");
    Ok(body.to_owned())
}

/// Looks again and again until it succeeds, or gives the last error once the time is over.
pub fn within<T>(what: &str, time: Duration, mut look: impl FnMut() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(error) if start.elapsed() > time => {
                return Err(error.context(format!("{what}: not within {time:?}")));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}
