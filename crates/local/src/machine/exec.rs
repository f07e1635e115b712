//! Commands in a running machine, as its SSM agent would run them.

use std::{
    fs, io,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, Command},
};

use super::{cgroup, enter::way_in, output::Outputs};

/// How long the kernel may take to end killed processes.
const GRACE: Duration = Duration::from_secs(5);

/// Where commands of a machine run.
#[derive(Debug, Clone)]
pub struct Inside {
    /// The machine's first process, as the host numbers it.
    pub pid: u32,
    /// The machine's cgroup.
    pub cgroup: PathBuf,
}

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

/// Runs a shell script in every namespace of a machine.
///
/// When its time is over, or nobody waits for it any more, everything that it started ends; a service that it had
/// systemd start is systemd's. When it ends by itself, what it left in the background goes on.
pub async fn exec(inside: &Inside, script: &str, timeout: Duration) -> io::Result<Outcome> {
    let group = Group::new(&inside.cgroup)?;
    let mut child = command(inside.pid, &group.path).spawn()?;
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(io::Error::other("a command without its pipes"));
    };
    let outputs = Outputs::collect(stdout.into_owned_fd()?, stderr.into_owned_fd()?)?;
    let ended = tokio::time::timeout(timeout, work(&mut child, stdin, script)).await;
    let timed_out = ended.is_err();
    if timed_out {
        cgroup::kill(&group.path);
        child.wait().await?;
        cgroup::end(&group.path, GRACE).await;
    }
    let (stdout, stderr) = outputs.ended().await?;
    group.finished();
    let exit = match ended {
        Ok(status) => {
            let status = status?;
            status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
        }
        Err(_) => -1,
    };
    Ok(Outcome { exit, stdout, stderr, timed_out })
}

/// Hands the script over and waits for its end.
async fn work(
    child: &mut Child,
    mut stdin: tokio::process::ChildStdin,
    script: &str,
) -> io::Result<std::process::ExitStatus> {
    // Whoever doesn't read it to its end says why by its exit.
    let _ = stdin.write_all(script.as_bytes()).await;
    drop(stdin);
    child.wait().await
}

fn command(pid: u32, group: &Path) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command
        .args(way_in(pid, Some(group)))
        // The script comes on standard input and is read whole before it runs: a command in it can't eat the rest.
        .args(["/bin/sh", "-c", "cd /; script=$(cat); exec /bin/sh -c \"$script\" </dev/null"])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// The cgroup of one command, inside its machine's.
struct Group {
    path: PathBuf,
    finished: bool,
}

impl Group {
    fn new(machine: &Path) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let path = machine.join(format!("command-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir(&path)?;
        Ok(Self { path, finished: false })
    }

    /// What still runs of it may go on.
    fn finished(mut self) {
        self.finished = true;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.finished {
            cgroup::kill(&self.path);
        }
        // While something runs in it, it stays, and goes with the machine.
        cgroup::remove(&self.path);
    }
}
