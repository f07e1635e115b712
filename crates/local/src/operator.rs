//! What an operator does with a local cloud: start, end, ask, wipe; and with its machines.

mod machines;

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Request;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use self::machines::{Forward, Interrupted, close, interrupt, open, shell};
use crate::{
    around::{self, Listener, RunningCloud},
    auth::{CONTROL_SERVICE, Credentials, signed},
    error::{LocalError, Result},
    groups,
    home::Home,
    http_client::ask,
    options::Options,
    progress::{Event, Stage},
    requirements,
};

/// How often a starting or ending supervisor is looked at.
const LOOK: Duration = Duration::from_millis(30);

/// How long a supervisor may take to end what it started, before it is killed.
const GRACE: Duration = Duration::from_secs(20);

/// How long a supervisor may take to hear that it shall end.
const HEARING: Duration = Duration::from_secs(2);

/// How long a supervisor that was killed may take until it is gone: it takes connections until then, and answers none.
const DYING: Duration = Duration::from_secs(5);

/// `close_range`'s flag: what is open is closed by the program's start, and not before.
const CLOSE_ON_EXEC: i32 = nix::libc::CLOSE_RANGE_CLOEXEC.cast_signed();

/// What a running local cloud says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The version of Ovenbird.
    pub version: String,
    /// The version of `MiniStack`.
    pub ministack: String,
    /// The endpoint's URL on loopback.
    pub endpoint: String,
    /// Where everything is kept.
    pub home: PathBuf,
    /// The supervisor's process.
    pub pid: u32,
    /// Whether everything started. Before that, calls may fail.
    pub ready: bool,
    /// The id of the base image; none while it is being made.
    pub base_image: Option<String>,
    /// The instances that aren't terminated.
    pub instances: Vec<InstanceStatus>,
    /// How many images there are, the base aside.
    pub images: usize,
    /// The ports of machines that are reachable on this host.
    #[serde(default)]
    pub forwards: Vec<Forward>,
    /// What all of it takes, machines aside.
    pub memory: Memory,
}

/// Memory in MiB; what processes share is counted once.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// What the supervisor takes; the endpoint and the model are in it.
    pub supervisor: f64,
    /// What `MiniStack` takes, without its functions.
    pub ministack: f64,
    /// That of the functions that were called within the last minute.
    pub functions: f64,
    /// That of the machines' network.
    pub network: f64,
    /// That of what carries the requests of load balancers; it runs only while there are any.
    pub balancer: f64,
}

impl Memory {
    /// All of it.
    pub fn total(&self) -> f64 {
        self.supervisor + self.ministack + self.functions + self.network + self.balancer
    }
}

/// One instance of [`Status`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// Its id: `i-…`.
    pub instance: String,
    /// Its state, in EC2's words.
    pub state: String,
    /// The id of the image it was started from.
    pub image: String,
    /// Its private address.
    pub address: Option<String>,
    /// Its first process, while it runs.
    pub process: Option<u32>,
    /// The pipeline that it belongs to, by its tags.
    pub pipeline: Option<String>,
    /// The bake that it works for, by its tags.
    pub bake: Option<String>,
    /// What it is for, by its tags: `builder`, `verifier`, or the name that somebody gave it.
    pub role: Option<String>,
}

/// Starts the local cloud and waits until it is ready; one that runs already is left as it is.
pub async fn up(options: &Options, mut progress: impl FnMut(&Event)) -> Result<Status> {
    let ours = supervisor(&options.home)?;
    let of_home = around::running().into_iter().find(|one| one.home == options.home.root());
    let asked = match ours {
        Some(_) => status(options).await,
        // Whatever else listens there may never answer.
        None => match tokio::time::timeout(HEARING, status(options)).await {
            Ok(asked) => asked,
            Err(_) => Err(LocalError::NotUp { port: options.port }),
        },
    };
    match asked {
        // One with another home is not the one that is meant, also where a key of the environment is its own.
        Ok(status) if status.ready && status.home == options.home.root() => {
            let other = of_home.map(|one| one.stack).filter(|stack| *stack != options.stack);
            let refused = |has| LocalError::OtherStack { has, wanted: options.stack.clone() };
            return other.map_or(Ok(status), |has| Err(refused(has)));
        }
        Err(error @ (LocalError::Request { .. } | LocalError::NotUp { .. })) if ours.is_some() => {
            if !gone(&options.home).await? && !matches!(error, LocalError::NotUp { .. }) {
                return Err(error);
            }
        }
        Ok(_) | Err(LocalError::NotUp { .. } | LocalError::NoKeys { .. }) => {}
        // Who has the port says more than what it answers.
        Err(error) if ours.is_some() => return Err(error),
        Err(_) => {}
    }
    if let Some(RunningCloud { port, pid, .. }) = of_home.filter(|one| one.port != options.port) {
        let at = format!(" (port {port}, process {pid})");
        return Err(LocalError::HomeTaken { home: options.home.root().to_owned(), at });
    }
    if let Some(Listener { pid, program }) = around::listener(options.port)
        && ours.is_none_or(|ours| ours.as_raw().cast_unsigned() != pid)
    {
        return Err(LocalError::PortOf { port: options.port, program, pid });
    }
    requirements::check(options)?;
    options.home.prepare()?;
    let mut child = spawn(options)?;
    let started = tokio::task::block_in_place(|| follow(&mut child, &options.home, &mut progress));
    if let Err(error) = started {
        // It may be hanging, and would hold the port.
        let _ = child.kill().and_then(|()| child.wait());
        return Err(error);
    }
    status(options).await
}

fn spawn(options: &Options) -> Result<Child> {
    let log = options.home.log();
    let open = |path: PathBuf, append: bool| {
        let mut how = File::options();
        how.create(true).write(true).append(append).truncate(!append);
        how.open(&path).map_err(LocalError::io(format!("open {}", path.display())))
    };
    let text =
        serde_json::to_string(options).unwrap_or_else(|_| unreachable!("options have string keys only"));
    let program = std::env::current_exe().map_err(LocalError::io("find this program"))?;
    // A session of its own: the terminal's end and its Ctrl-C are not the cloud's.
    let mut command = Command::new("setsid");
    command
        .arg(program)
        .args(["local", "serve", "--options", &text])
        .current_dir("/")
        // Large blocks go back to the kernel when they are freed: a deployment's would stay for ever.
        .env("MALLOC_MMAP_THRESHOLD_", "131072")
        .env("MALLOC_ARENA_MAX", "2")
        .stdin(Stdio::null())
        .stdout(open(options.home.progress(), false)?)
        .stderr(open(log, true)?);
    // It outlives its caller: whatever else the caller has open, a lock perhaps or a pipe, stays the caller's.
    #[expect(unsafe_code, reason = "close_range takes numbers and touches no memory")]
    // SAFETY: between fork and exec only this one system call is made.
    unsafe {
        command.pre_exec(|| {
            // A kernel before 5.11 doesn't know it, and does without.
            nix::libc::close_range(3, u32::MAX, CLOSE_ON_EXEC);
            Ok(())
        })
    };
    command.spawn().map_err(LocalError::io("start the supervisor"))
}

/// Passes the supervisor's events on until it is ready or has failed.
fn follow(child: &mut Child, home: &Home, progress: &mut impl FnMut(&Event)) -> Result<()> {
    let path = home.progress();
    let mut file = File::open(&path).map_err(LocalError::io(format!("open {}", path.display())))?;
    let (mut text, mut stage, mut read) = (String::new(), Stage::Endpoint, 0);
    loop {
        let ended = child.try_wait().map_err(LocalError::io("watch the supervisor"))?;
        file.read_to_string(&mut text).map_err(LocalError::io(format!("read {}", path.display())))?;
        while let Some(length) = text[read..].find('\n') {
            let line = &text[read..read + length];
            read += length + 1;
            let event: Event = serde_json::from_str(line)
                .map_err(|source| LocalError::Corrupt { path: path.clone(), source: source.into() })?;
            progress(&event);
            match event {
                Event::Begun { stage: begun, .. } => stage = begun,
                Event::Done { .. } | Event::Weaker { .. } => {}
                Event::Ready { .. } => return Ok(()),
                Event::Failed { stage, reason, hint } => {
                    return Err(LocalError::Start { stage, reason, hint });
                }
            }
        }
        if let Some(exit) = ended {
            let reason = format!("the supervisor ended with {exit}; its last words:\n{}", tail(&home.log()));
            let hint = format!("Read {}", home.log().display());
            return Err(LocalError::Start { stage, reason, hint });
        }
        std::thread::sleep(LOOK);
    }
}

/// The last lines of a log.
pub(crate) fn tail(path: &std::path::Path) -> String {
    const BYTES: i64 = 4096;
    let read = || {
        let mut file = File::open(path)?;
        let length = i64::try_from(file.metadata()?.len()).unwrap_or(i64::MAX);
        file.seek(SeekFrom::End(-length.min(BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        io::Result::Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

/// Ends the local cloud and waits until everything it started has ended; says whether there was one.
///
/// What one left that was killed is ended, too: it needs no supervisor for that.
pub async fn down(options: &Options) -> Result<bool> {
    end(options).await.map(|(ran, _)| ran)
}

/// The same; gives the home's lock, too, if there is such a home: until it is dropped no local cloud comes up there.
pub(crate) async fn end(options: &Options) -> Result<(bool, Option<File>)> {
    let mut ran = false;
    loop {
        if let Some(pid) = supervisor(&options.home)? {
            end_supervisor(options, pid).await?;
            ran = true;
        }
        let path = options.home.pid_file();
        let lock = match File::options().write(true).open(&path) {
            Ok(lock) => Some(lock),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(LocalError::io(format!("open {}", path.display()))(error)),
        };
        match lock.as_ref().map_or(Ok(()), File::try_lock) {
            // Another one came up at this moment.
            Err(fs::TryLockError::WouldBlock) => continue,
            Err(fs::TryLockError::Error(error)) => {
                return Err(LocalError::io(format!("lock {}", path.display()))(error));
            }
            Ok(()) => {}
        }
        // Whoever asks who holds the lock must not be told of a process that is dead.
        let emptied = lock.as_ref().map_or(Ok(()), |lock| lock.set_len(0));
        emptied.map_err(LocalError::io(format!("write {}", path.display())))?;
        groups::end_left(&options.home).await?;
        return Ok((ran, lock));
    }
}

async fn end_supervisor(options: &Options, pid: Pid) -> Result<()> {
    let nothing = serde_json::Value::Null;
    let asking = post::<serde_json::Value>(options, "shutdown", &nothing);
    if !matches!(tokio::time::timeout(HEARING, asking).await, Ok(Ok(_))) {
        // It hears nothing: it may still be starting, or hang, or listen on another port.
        signal(pid, Signal::SIGTERM)?;
    }
    let deadline = Instant::now() + GRACE;
    while supervisor(&options.home)?.is_some() {
        if Instant::now() > deadline {
            signal(pid, Signal::SIGKILL)?;
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

fn signal(pid: Pid, signal: Signal) -> Result<()> {
    match kill(pid, signal) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
        Err(error) => Err(LocalError::io(format!("signal process {pid}"))(error.into())),
    }
}

/// The supervisor that holds the home, if there is one.
fn supervisor(home: &Home) -> Result<Option<Pid>> {
    let path = home.pid_file();
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LocalError::io(format!("open {}", path.display()))(error)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(fs::TryLockError::WouldBlock) => {
            let text =
                fs::read_to_string(&path).map_err(LocalError::io(format!("read {}", path.display())))?;
            // It is empty for the moment between lock and write: the next look will see it.
            Ok(Some(Pid::from_raw(text.trim().parse().unwrap_or(i32::MAX))))
        }
        Err(fs::TryLockError::Error(error)) => Err(LocalError::io(format!("lock {}", path.display()))(error)),
    }
}

/// Whether the supervisor that gave no answer is gone, or soon will be.
async fn gone(home: &Home) -> Result<bool> {
    let until = Instant::now() + DYING;
    while is_up(home)? {
        if Instant::now() >= until {
            return Ok(false);
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(true)
}

/// Whether a supervisor holds the home.
pub(crate) fn is_up(home: &Home) -> Result<bool> {
    supervisor(home).map(|pid| pid.is_some())
}

/// What the local cloud says of itself.
pub async fn status(options: &Options) -> Result<Status> {
    let request = Request::get(format!("{}/_ovenbird/status", options.endpoint())).body(Bytes::new());
    let request = request.map_err(|source| bad_request("status", source))?;
    answer(options, "status", request).await
}

/// The logs: the supervisor's, then `MiniStack`'s with the functions'.
pub fn logs_path(options: &Options) -> [PathBuf; 2] {
    [options.home.log(), options.home.ministack_log()]
}

pub(crate) async fn post<T: DeserializeOwned>(
    options: &Options,
    what: &str,
    body: &impl Serialize,
) -> Result<T> {
    let body = serde_json::to_vec(body).map_err(|source| LocalError::Request {
        request: format!("/_ovenbird/{what}"),
        source: Box::new(source),
    })?;
    let request = Request::post(format!("{}/_ovenbird/{what}", options.endpoint())).body(Bytes::from(body));
    let request = request.map_err(|source| bad_request(what, source))?;
    answer(options, what, request).await
}

fn bad_request(what: &str, source: http::Error) -> LocalError {
    LocalError::Request { request: format!("/_ovenbird/{what}"), source: Box::new(source) }
}

async fn answer<T: DeserializeOwned>(options: &Options, what: &str, request: Request<Bytes>) -> Result<T> {
    let request = signed(request, CONTROL_SERVICE, &Credentials::of(&options.home)?)?;
    let bytes = match ask(request).await {
        Ok(bytes) => bytes,
        Err(LocalError::Request { source, .. }) if refused_connection(&*source) => {
            return Err(LocalError::NotUp { port: options.port });
        }
        Err(LocalError::Refused { status: 401 | 403 | 404 | 501, .. }) => {
            return Err(LocalError::Stranger { port: options.port, home: options.home.root().to_owned() });
        }
        Err(error) => return Err(error),
    };
    serde_json::from_slice(&bytes).map_err(|source| LocalError::Corrupt {
        path: format!("/_ovenbird/{what}").into(),
        source: source.into(),
    })
}

fn refused_connection(error: &(dyn std::error::Error + 'static)) -> bool {
    let refused = error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    refused || error.source().is_some_and(refused_connection)
}

#[cfg(test)]
mod tests;
