//! One process of `HAProxy`, and the talk with it.

use std::{
    fs, io,
    os::{
        fd::{AsRawFd as _, RawFd},
        unix::net::UnixListener,
    },
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    process::{Child, Command},
};

use super::{
    counters::Counted,
    layout::{CONFIGURATION, Layout, WEIGHTS, Weights},
    servers::{Change, Known, Servers},
    sockets::Sockets,
};
use crate::machine::spawn;

/// How long a process may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long one that takes nothing new may go on with what it has.
const LONGEST: Duration = Duration::from_secs(3600);

/// A running process.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    folder: PathBuf,
    admin: PathBuf,
    layout: Layout,
    known: Known,
    weights: Weights,
    retired: Option<Instant>,
    counted: Counted,
}

impl Drop for Process {
    fn drop(&mut self) {
        // The child is killed when it is dropped; nobody needs these any more.
        let _ = fs::remove_file(&self.admin);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// What a process is started with.
pub(super) struct Start<'a> {
    /// The folder in which each process has one.
    pub home: &'a Path,
    /// Which process it is.
    pub number: u64,
    /// The process in whose network the targets are; none for the host's.
    pub network: Option<u32>,
    /// What it is configured with.
    pub layout: &'a Layout,
    /// The targets.
    pub servers: &'a Servers,
    /// The target groups' shares.
    pub weights: &'a Weights,
    /// The sockets of the listeners.
    pub sockets: &'a Sockets,
}

impl Process {
    /// Starts a process and waits until it answers. From then on it takes connections.
    pub(super) async fn start(start: Start<'_>) -> io::Result<Self> {
        let folder = start.home.join(start.number.to_string());
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let admin = folder.join("admin");
        let listener = UnixListener::bind(&admin)?;
        start.layout.write(&folder, start.sockets, listener.as_raw_fd(), start.servers, start.weights)?;
        let mut inherited = vec![listener.as_raw_fd()];
        inherited.extend(start.layout.listeners.values().flat_map(|one| start.sockets.of(one.address)));
        let child = spawn(command(&folder, start.network, inherited)?).await?;
        drop(listener);
        let mut process = Self {
            child,
            folder,
            admin,
            layout: start.layout.clone(),
            known: Known::started_with(start.servers),
            weights: start.weights.clone(),
            retired: None,
            counted: Counted::default(),
        };
        process.ready().await?;
        Ok(process)
    }

    async fn ready(&mut self) -> io::Result<()> {
        let answer = tokio::select! {
            answer = tell(&self.admin, "show info") => answer,
            exit = self.child.wait() => Err(io::Error::other(format!("it ended with {}", exit?))),
        };
        answer.map(drop).map_err(|error| io::Error::other(format!("{error}: {}", self.said())))
    }

    /// The last lines of what it said.
    fn said(&self) -> String {
        crate::operator::tail(&self.folder.join(LOG))
    }

    /// What it is configured with.
    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Waits for its end.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Ends it, with every connection, and waits for its end: until then its ports are open.
    pub(super) async fn end(mut self) -> io::Result<()> {
        self.child.kill().await
    }

    /// Its number, while it runs.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Brings its targets to what they shall be. Says whether all is done: a target goes when nothing is under way.
    pub(super) async fn bring(&mut self, servers: &Servers) -> io::Result<bool> {
        let mut done = true;
        let layout = &self.layout;
        for (place, change) in self.known.changes(servers, |group| layout.has(group), Timestamp::now()) {
            let answer = self.tell(&change.command(&place)).await?;
            let answer = answer.trim();
            match change {
                Change::Add(..) if !answer.contains("New server registered") => {
                    return Err(io::Error::other(format!("{}: {answer}", change.command(&place))));
                }
                Change::Forget if answer.contains("Server deleted") => {}
                Change::Forget => {
                    done = false;
                    continue;
                }
                Change::Ready | Change::Rest | Change::Cut if !answer.is_empty() => {
                    return Err(io::Error::other(format!("{}: {answer}", change.command(&place))));
                }
                Change::Add(..) | Change::Ready | Change::Rest | Change::Cut => {}
            }
            self.known.note(&place, &change);
        }
        self.known.note_draining(servers);
        Ok(done)
    }

    /// Sets the target groups' shares, all at one moment.
    pub(super) async fn weigh(&mut self, weights: &Weights) -> io::Result<()> {
        if self.weights == *weights {
            return Ok(());
        }
        let map = self.folder.join(WEIGHTS);
        let map = map.display();
        let answer = self.tell(&format!("prepare map {map}")).await?;
        let version = answer.rsplit(':').next().and_then(|number| number.trim().parse::<u32>().ok());
        let version = version.ok_or_else(|| io::Error::other(format!("prepare map: {answer}")))?;
        for (key, value) in weights {
            self.silently(&format!("add map @{version} {map} {key} {value}")).await?;
        }
        self.silently(&format!("commit map @{version} {map}")).await?;
        self.weights.clone_from(weights);
        Ok(())
    }

    /// Has it take no more connections. Those that it has are closed with their next answer.
    pub(super) async fn retire(&mut self) -> io::Result<()> {
        for name in self.layout.listeners.keys() {
            self.silently(&format!("shutdown frontend {name}")).await?;
        }
        self.retired = Some(Instant::now());
        Ok(())
    }

    /// What it counted since it was asked last.
    pub(super) async fn count(&mut self) -> io::Result<Counted> {
        let counted = Counted::parse(&self.tell(&Counted::command(self.layout.groups())).await?);
        let new = counted.since(&self.counted);
        self.counted = counted;
        Ok(new)
    }

    /// Whether it has no connection any more, or has had its time.
    pub(super) async fn is_done(&self) -> bool {
        if self.retired.is_some_and(|since| since.elapsed() > LONGEST) {
            return true;
        }
        let open = |info: String| {
            let line = info.lines().find_map(|line| line.strip_prefix("CurrConns:").map(str::to_owned));
            line.and_then(|number| number.trim().parse::<u32>().ok())
        };
        // One that doesn't answer has ended.
        self.tell("show info").await.map_or(true, |info| open(info).unwrap_or_default() == 0)
    }

    async fn silently(&self, command: &str) -> io::Result<()> {
        let answer = self.tell(command).await?;
        let answer = answer.trim();
        if answer.is_empty() { Ok(()) } else { Err(io::Error::other(format!("{command}: {answer}"))) }
    }

    /// Gives a command; gives what it answers.
    pub(super) async fn tell(&self, command: &str) -> io::Result<String> {
        tell(&self.admin, command).await
    }
}

/// Gives a process a command; gives what it answers.
async fn tell(admin: &Path, command: &str) -> io::Result<String> {
    let talk = async {
        let mut stream = UnixStream::connect(admin).await?;
        stream.write_all(format!("{command}\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        io::Result::Ok(answer)
    };
    tokio::time::timeout(PATIENCE, talk).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// What it says goes there.
const LOG: &str = "log";

/// It has no right of root's but to read what is root's: it listens at sockets that it is given.
fn command(folder: &Path, network: Option<u32>, inherited: Vec<RawFd>) -> io::Result<Command> {
    let mut command = match network {
        Some(pid) => {
            let mut command = Command::new("nsenter");
            command.arg(format!("--net=/proc/{pid}/ns/net")).arg("setpriv");
            command
        }
        None => Command::new("setpriv"),
    };
    let log = fs::File::create(folder.join(LOG))?;
    command
        .args(["--no-new-privs", "--inh-caps=-all", "--bounding-set=-all", "--pdeathsig", "KILL"])
        .args(["haproxy", "-db", "-f"])
        .arg(folder.join(CONFIGURATION))
        .current_dir(folder)
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true);
    #[expect(unsafe_code, reason = "fcntl takes numbers and touches no memory")]
    // SAFETY: between fork and exec only this one system call is made, once for each socket.
    unsafe {
        command.pre_exec(move || {
            for socket in &inherited {
                // Open in this process for as long as it starts the child.
                let socket = std::os::fd::BorrowedFd::borrow_raw(*socket);
                fcntl(socket, FcntlArg::F_SETFD(FdFlag::empty()))?;
            }
            Ok(())
        })
    };
    Ok(command)
}
