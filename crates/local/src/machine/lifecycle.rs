//! A machine's life in the supervisor: start, console, online, stop.

use std::{
    fs, io,
    net::Ipv4Addr,
    os::fd::{AsRawFd as _, OwnedFd},
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::Router;
use nix::unistd::{Gid, Uid};
use ovenbird_core::domain::{digest, id::InstanceId};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, Command},
    sync::mpsc,
    task::AbortHandle,
};

use super::{
    cable::Cable,
    cgroup,
    exec::{Inside, exec},
    forward::serve_inside,
    ids::Range,
    imds::{Identity, Known, Metadata},
    init::{InitConfig, RESTART},
    limits::{self, Groups},
    spawn::spawn,
};

/// What EC2 keeps of a console, in bytes.
const CONSOLE: usize = 64 * 1024;

/// How long the kernel may take to end killed processes.
const GRACE: Duration = Duration::from_secs(5);

/// What tells a machine to go down: its systemd, or whatever else is its first process.
const POWER_OFF: &str =
    "if [ -d /run/systemd/system ]; then systemctl poweroff --no-block; else poweroff; fi";

/// The same, to boot again.
const REBOOT: &str = "if [ -d /run/systemd/system ]; then systemctl reboot --no-block; else reboot; fi";

/// How often a booting machine is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// What a machine is started with.
#[derive(Debug, Clone)]
pub struct MachineConfig {
    /// The instance that it runs for.
    pub instance: InstanceId,
    /// The folder of its disk.
    pub disk: PathBuf,
    /// The lower layers, the uppermost first.
    pub lower: Vec<PathBuf>,
    /// The cgroup to make for it.
    pub cgroup: PathBuf,
    /// Whether its root is nobody on the host. Where the host can't have that ([`super::probe`]), it is the host's.
    pub user_namespace: bool,
    /// Its address, of the local cloud's network.
    pub address: Ipv4Addr,
    /// The process that holds the cloud's network.
    pub cloud_pid: u32,
    /// The port of the cloud's endpoint, on loopback of host and machine alike.
    pub endpoint_port: u16,
    /// What answers there in the machine: less than on the host.
    pub endpoint: Router,
    /// What its console showed before this boot.
    pub console: String,
    /// What serves its IMDS.
    pub metadata: Metadata,
    /// What its IMDS tells.
    pub identity: Identity,
}

/// What a machine tells the supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Its init runs.
    Booted(InstanceId),
    /// It takes commands.
    Online(InstanceId),
    /// Its init ended.
    Ended(InstanceId),
    /// Its init ended, to begin anew: somebody in it called for a reboot.
    Rebooted(InstanceId),
}

/// A running machine.
#[derive(Debug)]
pub struct Machine {
    instance: InstanceId,
    cgroup: PathBuf,
    outer: u32,
    console: Arc<Mutex<Vec<u8>>>,
    _tasks: Tasks,
    _known: Known,
}

/// What serves a machine's network; it ends with the machine.
#[derive(Debug, Default)]
struct Tasks(Vec<AbortHandle>);

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

impl Machine {
    /// Starts a machine; notices of it follow. A start that fails leaves nothing.
    pub async fn start(config: MachineConfig, notices: mpsc::UnboundedSender<Notice>) -> io::Result<Self> {
        let cgroup = config.cgroup.clone();
        // What its last life left has the ids of that life: its systemd could make nothing below.
        if cgroup.exists() {
            cgroup::kill(&cgroup);
            cgroup::end(&cgroup, GRACE).await;
        }
        limits::remove(&cgroup);
        let groups = Groups::make(&cgroup)?;
        let cable = Cable { cloud_pid: config.cloud_pid, link: link(&config.instance) };
        let started = Self::begin(config, &groups, cable.clone(), notices).await;
        if started.is_err() {
            cgroup::kill(&cgroup);
            cgroup::end(&cgroup, GRACE).await;
            limits::remove(&cgroup);
            cable.unplug().await;
        }
        started
    }

    async fn begin(
        config: MachineConfig,
        groups: &Groups,
        cable: Cable,
        notices: mpsc::UnboundedSender<Notice>,
    ) -> io::Result<Self> {
        let terminal = nix::pty::openpty(None, None)?;
        let name = fs::read_link(format!("/proc/self/fd/{}", terminal.slave.as_raw_fd()))?;
        let range = config.user_namespace.then(Range::take).transpose()?;
        let first_id = range.as_ref().map(Range::first);
        if let Some(first) = first_id {
            groups.delegate(first)?;
            // Its console is its root's.
            nix::unistd::fchown(&terminal.slave, Some(Uid::from_raw(first)), Some(Gid::from_raw(first)))?;
        }
        let init = InitConfig {
            cgroups: groups.all(),
            first_id,
            layers: config.lower.clone(),
            disk: config.disk.clone(),
            hostname: config.identity.hostname.clone(),
            uuid: uuid(&config.instance),
            console: name,
            supervisor: i32::try_from(std::process::id()).map_err(io::Error::other)?,
        };
        let mut child = spawn(init_command()).await?;
        let outer = child.id().ok_or_else(|| io::Error::other("it ended at once"))?;
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("a first process without its pipes"));
        };
        let mut said = BufReader::new(stdout);
        stdin.write_all(format!("{}\n", serde_json::to_string(&init)?).as_bytes()).await?;
        let mut answer = String::new();
        said.read_line(&mut answer).await?;
        if !answer.starts_with("net ") {
            let output = child.wait_with_output().await?;
            return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        cable.lay(outer, config.address).await?;
        let mut tasks = Tasks::default();
        let known = config.metadata.know(config.identity.clone());
        tasks.0.push(serve_inside(outer, config.endpoint_port, config.endpoint)?);
        let console = Arc::new(Mutex::new(config.console.into_bytes()));
        watch_console(terminal.master, Arc::clone(&console));
        stdin.write_all(b"go\n").await?;
        // It says no more, and closes this when it becomes systemd; or it says why it can't.
        let mut problem = String::new();
        said.read_to_string(&mut problem).await?;
        if !problem.is_empty() {
            return Err(io::Error::other(problem.trim().to_owned()));
        }
        let machine = Self {
            instance: config.instance.clone(),
            cgroup: config.cgroup,
            outer,
            console,
            _tasks: tasks,
            _known: known,
        };
        let held = Held { _stdin: stdin, _terminal: terminal.slave, _range: range };
        tokio::spawn(live(config.instance, cable, child, held, outer, notices));
        Ok(machine)
    }

    /// The process in whose namespaces the machine's first process runs.
    pub fn network_pid(&self) -> u32 {
        self.outer
    }

    /// Where commands of it run.
    pub fn inside(&self) -> io::Result<Inside> {
        let none = || io::Error::other(format!("{} has no first process", self.instance));
        Ok(Inside { pid: init_pid(self.outer).ok_or_else(none)?, cgroup: self.cgroup.clone() })
    }

    /// What its console showed last.
    pub fn console(&self) -> String {
        let console = self.console.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&console).into_owned()
    }

    /// Asks it to power off, and ends it when it doesn't within the grace.
    pub async fn power_off(&self, grace: Duration) {
        let gone = async {
            while let Ok(inside) = self.inside() {
                let asked = exec(&inside, POWER_OFF, grace).await;
                if asked.is_ok_and(|outcome| outcome.exit == 0) {
                    break;
                }
                // So early in its boot there is nobody to ask yet.
                tokio::time::sleep(LOOK).await;
            }
            while init_pid(self.outer).is_some() {
                tokio::time::sleep(LOOK).await;
            }
        };
        // What it hasn't done by then isn't waited for.
        let _ = tokio::time::timeout(grace, gone).await;
        self.kill();
    }

    /// Asks it to boot again, once there is somebody in it to ask.
    pub async fn reboot(&self, grace: Duration) {
        let asked = async {
            while let Ok(inside) = self.inside() {
                let asked = exec(&inside, REBOOT, grace).await;
                if asked.is_ok_and(|outcome| outcome.exit == 0) {
                    break;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        if tokio::time::timeout(grace, asked).await.is_err() {
            tracing::warn!("{} took no order to boot again", self.instance);
        }
    }

    /// Ends every process of it at once.
    pub fn kill(&self) {
        cgroup::kill(&self.cgroup);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.kill();
        // While it has processes it stays: whoever waits for the machine's end removes it then.
        limits::remove(&self.cgroup);
    }
}

/// What a machine needs for as long as it runs.
struct Held {
    _stdin: ChildStdin,
    /// A terminal whose last slave is closed gives its reader an end.
    _terminal: OwnedFd,
    _range: Option<Range>,
}

/// Follows a machine from its boot to its end.
async fn live(
    instance: InstanceId,
    cable: Cable,
    mut child: Child,
    held: Held,
    outer: u32,
    notices: mpsc::UnboundedSender<Notice>,
) {
    // A machine whose supervisor stops listening is going down with it: notices may then be lost.
    let tell = |notice| drop(notices.send(notice));
    tell(Notice::Booted(instance.clone()));
    let online = async {
        while !init_pid(outer).is_some_and(takes_commands) {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::select! {
        () = online => tell(Notice::Online(instance.clone())),
        _ = child.wait() => {}
    }
    let ended = child.wait().await;
    drop(held);
    cable.unplug().await;
    match ended {
        Ok(status) if status.code() == Some(i32::from(RESTART)) => tell(Notice::Rebooted(instance)),
        Ok(_) | Err(_) => tell(Notice::Ended(instance)),
    }
}

/// Whether a machine with this first process is as far as that. systemd shows it by its socket; of any other, nothing is
/// known but that it began.
fn takes_commands(pid: u32) -> bool {
    let socket = || fs::exists(format!("/proc/{pid}/root/run/systemd/private")).unwrap_or(false);
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    socket() || name.trim() == "init"
}

/// Keeps the end of what the console shows.
fn watch_console(master: OwnedFd, console: Arc<Mutex<Vec<u8>>>) {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        // EIO is how a terminal says that nobody has it open any more.
        while let Ok(count @ 1..) = nix::unistd::read(&master, &mut buffer) {
            let mut console = console.lock().unwrap_or_else(PoisonError::into_inner);
            console.extend_from_slice(&buffer[..count]);
            let excess = console.len().saturating_sub(CONSOLE);
            console.drain(..excess);
        }
    });
}

/// The one child of a machine's outer process.
fn init_pid(outer: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// A network link's name, of at most 15 characters: the end of the instance's id, which is its random part, and a
/// number for each start. The link of a machine's life before may still be there for a moment.
fn link(instance: &InstanceId) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let id = instance.as_str();
    format!("v{}-{:x}", &id[id.len().saturating_sub(8)..], NEXT.fetch_add(1, Ordering::Relaxed) & 0xf_ffff)
}

/// As EC2's hypervisors number their guests, from the instance's id.
fn uuid(instance: &InstanceId) -> String {
    let hash = digest::sha256(instance.as_str().as_bytes());
    let hex = hash.as_str();
    format!("ec2{}-{}-4{}-8{}-{}", &hex[..5], &hex[5..9], &hex[9..12], &hex[12..15], &hex[15..27])
}

/// The command that becomes a machine's first process.
fn init_command() -> Command {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg("machine-init")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}
