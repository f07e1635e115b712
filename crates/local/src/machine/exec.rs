//! Commands in a running machine, as its SSM agent would run them.

use std::{io, os::unix::process::ExitStatusExt as _, process::Stdio, time::Duration};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
};

/// What SSM keeps of each of a command's outputs, in bytes.
const KEPT: usize = 24_000;

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its exit status; 128 and the signal's number when it was killed.
    pub exit: i32,
    /// The beginning of its standard output.
    pub stdout: String,
    /// The beginning of its standard error.
    pub stderr: String,
    /// Whether its time was over.
    pub timed_out: bool,
}

/// Runs a shell script in every namespace of the machine whose first process is `pid`.
pub async fn exec(pid: u32, script: &str, timeout: Duration) -> io::Result<Outcome> {
    let mut child = Command::new("nsenter")
        .args([
            "--target",
            &pid.to_string(),
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--pid",
            "--cgroup",
            "--root",
        ])
        .current_dir("/")
        // The script comes on standard input and is read whole before it runs: a command in it can't eat the rest.
        .args([
            "/usr/bin/env",
            "-i",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME=/root",
        ])
        .args(["/bin/sh", "-c", "cd /; script=$(cat); exec /bin/sh -c \"$script\" </dev/null"])
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(script.as_bytes()).await?;
    }
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let work = async { tokio::join!(keep(stdout), keep(stderr), child.wait()) };
    match tokio::time::timeout(timeout, work).await {
        Ok((stdout, stderr, status)) => {
            let status = status?;
            let exit = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
            Ok(Outcome { exit, stdout, stderr, timed_out: false })
        }
        Err(_) => {
            if let Some(group) = group {
                // It may have ended just now.
                let _ = killpg(group, Signal::SIGKILL);
            }
            Ok(Outcome { exit: -1, stdout: String::new(), stderr: String::new(), timed_out: true })
        }
    }
}

/// Reads to the end, and keeps the beginning.
async fn keep(stream: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut stream) = stream else { return String::new() };
    let (mut kept, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        let room = KEPT - kept.len();
        kept.extend_from_slice(&buffer[..count.min(room)]);
    }
    String::from_utf8_lossy(&kept).into_owned()
}
