//! `MiniStack` as a child: everything of AWS that isn't EC2 or SSM's commands.

use std::{
    fs::{self, File, TryLockError},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, Instant},
};

use axum::body::Body;
use http::Request;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    error::{LocalError, Result},
    home::Home,
    http_client::{Link, refused},
    memory,
    operator::tail,
    options::Options,
};

/// The account that everything local belongs to.
pub(crate) const ACCOUNT: &str = "123456789012";

/// What runs: `MiniStack`, with some of its habits changed.
const MAIN: &str = include_str!("main.py");

/// How long it may take to answer for the first time; usually it takes one second.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long it may take to save what it has and to end its functions.
const GRACE: Duration = Duration::from_secs(12);

/// The running child.
#[derive(Debug)]
pub(crate) struct MiniStack {
    /// The way to it.
    pub link: Link,
    /// The version that it says of itself.
    pub version: String,
    /// Its process.
    pub pid: Pid,
    exit: watch::Receiver<Option<String>>,
}

impl MiniStack {
    /// Starts it and waits until it answers.
    ///
    /// In the network namespace of a process, if one is given: it and its functions have ports on loopback for each
    /// other (Lambda's runtime API), which ask for no key, and there nobody of the host reaches them.
    pub async fn start(options: &Options, network: Option<u32>) -> Result<Self> {
        let home = &options.home;
        let lock = lock(home).await?;
        let (child, exit) = spawn(command(options, network, &lock)?).await?;
        tell_holder(home, lock, child)?;
        let link = Link::new(&socket(home)?);
        let mut this = Self { link, version: String::new(), pid: child, exit };
        let log = home.ministack_log();
        this.version = this.ready(&log).await?;
        this.configure(&json!({"stepfunctions._SFN_WAIT_SCALE": options.wait_scale})).await?;
        Ok(this)
    }

    async fn ready(&self, log: &Path) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(exit) = self.exit.borrow().clone() {
                let problem = format!("ended with {exit}:\n{}", tail(log));
                return Err(LocalError::MiniStack { problem, log: log.to_owned() });
            }
            let request = Request::get("http://127.0.0.1/_ministack/health").body(Body::empty());
            if let Ok(request) = request
                && let Ok((status, body)) = self.link.send(request).await
                && status.is_success()
            {
                let health: Value = serde_json::from_slice(&body).unwrap_or_default();
                return Ok(health["version"].as_str().unwrap_or("?").to_owned());
            }
            if Instant::now() > deadline {
                let problem = format!("did not answer within {} s:\n{}", PATIENCE.as_secs(), tail(log));
                return Err(LocalError::MiniStack { problem, log: log.to_owned() });
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    async fn configure(&self, settings: &Value) -> Result<()> {
        let path = "/_ministack/config".to_owned();
        let request = Request::post(format!("http://127.0.0.1{path}"))
            .header("content-type", "application/json")
            .body(Body::from(settings.to_string()));
        let request = request
            .map_err(|source| LocalError::Request { request: path.clone(), source: Box::new(source) })?;
        let (status, body) = self.link.send(request).await?;
        if status.is_success() { Ok(()) } else { Err(refused(path, status, &body)) }
    }

    /// Waits for its end, which nobody asked for.
    pub async fn ended(&self) -> String {
        let mut exit = self.exit.clone();
        match exit.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => "its watcher is gone".to_owned(),
        }
    }

    /// Lets it save what it has and end its functions.
    pub async fn stop(&self) {
        for (signal, grace) in [(Signal::SIGTERM, GRACE), (Signal::SIGKILL, Duration::from_secs(2))] {
            if self.exit.borrow().is_some() {
                return;
            }
            if signal == Signal::SIGKILL {
                kill_with_functions(self.pid);
            } else {
                // It may end at this very moment; its watcher will tell.
                let _ = kill(self.pid, signal);
            }
            if tokio::time::timeout(grace, self.ended()).await.is_ok() {
                return;
            }
        }
    }
}

fn command(options: &Options, network: Option<u32>, lock: &File) -> Result<Command> {
    let home = &options.home;
    let log = home.ministack_log();
    let out = File::options().create(true).append(true).open(&log);
    let out = out.map_err(LocalError::io(format!("open {}", log.display())))?;
    let error = out.try_clone().map_err(LocalError::io(format!("open {}", log.display())))?;
    let lock = lock.try_clone().map_err(LocalError::io("pass the lock on"))?;
    let state = home.ministack();
    // SIGTERM and not SIGKILL when the supervisor dies: it then saves, and ends its functions' processes.
    let mut command = match network {
        Some(pid) => {
            let mut command = Command::new("nsenter");
            command.arg(format!("--net=/proc/{pid}/ns/net")).arg("setpriv");
            command
        }
        None => Command::new("setpriv"),
    };
    command
        .args(["--pdeathsig", "TERM"])
        .arg(home.python())
        .args(["-I", "-c", MAIN])
        .current_dir(home.temporary())
        // Its lock is held as long as the child has it open.
        .stdin(lock)
        .stdout(out)
        .stderr(error)
        // Functions inherit what it has: nothing of the operator's environment may leak into them.
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", home.temporary())
        .env("TMPDIR", home.temporary())
        .env("LANG", "C.UTF-8")
        .env("PYTHONUNBUFFERED", "1")
        .env("BIND_HOST", "127.0.0.1")
        .env("OVENBIRD_SOCKET", socket(home)?)
        .env("OVENBIRD_SEED", home.function_seed())
        // Where the functions find AWS, and what stands in the URLs that are given out.
        .env("AWS_ENDPOINT_URL", options.endpoint())
        .env("GATEWAY_PORT", options.port.to_string())
        .env("MINISTACK_HOST", "127.0.0.1")
        .env("MINISTACK_ACCOUNT_ID", ACCOUNT)
        .env("IOT_MTLS_ENABLED", "0")
        .env("SFTP_ENABLED", "0")
        // Memory that is free goes back to the kernel.
        .env("MALLOC_ARENA_MAX", "2")
        .env("MALLOC_TRIM_THRESHOLD_", "131072")
        .env("PERSIST_STATE", "1")
        .env("STATE_DIR", state.join("services"))
        .env("S3_PERSIST", "1")
        .env("S3_DATA_DIR", state.join("s3"));
    Ok(command)
}

/// The path of its socket, which must be short: the kernel takes 107 bytes.
fn socket(home: &Home) -> Result<PathBuf> {
    let path = home.ministack_socket();
    if path.as_os_str().len() > 107 {
        return Err(LocalError::LongHome { home: home.root().to_owned() });
    }
    Ok(path)
}

/// Waits until the `MiniStack` of a supervisor that was killed has saved what it had and has ended; one that hangs is
/// killed.
pub(crate) async fn end_left(home: &Home) -> Result<()> {
    if home.ministack().is_dir() { lock(home).await.map(drop) } else { Ok(()) }
}

/// Waits until the `MiniStack` of a supervisor that was killed has saved what it had.
async fn lock(home: &Home) -> Result<File> {
    let path = lock_path(home);
    let file = File::options().create(true).truncate(false).read(true).write(true).open(&path);
    let file = file.map_err(LocalError::io(format!("open {}", path.display())))?;
    let mut deadline = Instant::now() + GRACE;
    let mut holder = None;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
            Err(TryLockError::WouldBlock) if holder.is_none() => {
                // It has had its time to save. While it holds the lock, the number in it is its own.
                let text =
                    fs::read_to_string(&path).map_err(LocalError::io(format!("read {}", path.display())))?;
                holder = text.trim().parse().ok().map(Pid::from_raw);
                let Some(holder) = holder else {
                    let problem =
                        "of an earlier local cloud holds its state, and did not say who it is".to_owned();
                    return Err(LocalError::MiniStack { problem, log: home.ministack_log() });
                };
                tracing::warn!("MiniStack of an earlier local cloud, process {holder}, hangs: it is killed");
                kill_with_functions(holder);
                deadline = Instant::now() + GRACE;
            }
            Err(TryLockError::WouldBlock) => {
                let problem = "of an earlier local cloud does not end".to_owned();
                return Err(LocalError::MiniStack { problem, log: home.ministack_log() });
            }
            Err(TryLockError::Error(error)) => {
                return Err(LocalError::io(format!("lock {}", path.display()))(error));
            }
        }
    }
}

/// Starts the child from a thread that lives as long as it: a parent-death signal comes when the *thread* ends.
async fn spawn(mut command: Command) -> Result<(Pid, watch::Receiver<Option<String>>)> {
    let (tell, exit) = watch::channel(None);
    let (started, starting) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let child = command.spawn();
        let id = child
            .as_ref()
            .map(Child::id)
            .map_err(|error| std::io::Error::new(error.kind(), error.to_string()));
        if started.send(id).is_err() {
            return;
        }
        if let Ok(mut child) = child {
            let reason = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
            tell.send_replace(Some(reason));
        }
    });
    let id =
        starting.await.map_err(|_| LocalError::io("start MiniStack")(std::io::Error::other("no thread")))?;
    let id = id.map_err(LocalError::io("start MiniStack with `setpriv`"))?;
    Ok((Pid::from_raw(i32::try_from(id).unwrap_or(i32::MAX)), exit))
}

/// Ends one that doesn't end by itself, and its functions, which would go on without it.
fn kill_with_functions(ministack: Pid) {
    let functions = u32::try_from(ministack.as_raw()).map(memory::below).unwrap_or_default();
    let functions = functions.into_iter().filter_map(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
    for process in std::iter::once(ministack).chain(functions) {
        // It may have ended by now.
        let _ = kill(process, Signal::SIGKILL);
    }
}

/// Writes down who holds the lock, and leaves it to the holder.
fn tell_holder(home: &Home, mut lock: File, holder: Pid) -> Result<()> {
    let written = lock.set_len(0).and_then(|()| write!(lock, "{holder}"));
    written.map_err(LocalError::io(format!("write {}", lock_path(home).display())))
}

fn lock_path(home: &Home) -> PathBuf {
    home.ministack().join("lock")
}
