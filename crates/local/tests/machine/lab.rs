//! A place to run machines in: network, disks and cgroup of the tests' own.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use ovenbird_core::id::{InstanceId, SnapshotId};
use ovenbird_local::{
    Home, base,
    machine::{Addresses, Disks, Identity, Layer, Machine, MachineConfig, Notice, Outcome, cgroup, exec},
    network::Network,
};
use tokio::{runtime::Runtime, sync::mpsc};

/// How long anything here may take that is not measured.
pub const PATIENCE: Duration = Duration::from_secs(30);

static NEXT: AtomicU32 = AtomicU32::new(0);
static LEFT: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// What is missing for real machines.
pub fn missing() -> Vec<String> {
    if !nix::unistd::geteuid().is_root() {
        return vec!["machines need root".into()];
    }
    let programs = ["ip", "mmdebstrap", "nft", "nsenter", "setpriv", "slirp4netns"];
    let absent = |program: &&str| !Command::new(program).arg("--version").output().is_ok();
    programs.iter().filter(absent).map(|program| format!("`{program}` is not installed")).collect()
}

/// The lab.
pub struct Lab {
    pub runtime: Runtime,
    pub disks: Disks,
    pub network: Network,
    home: PathBuf,
    cgroup: PathBuf,
    addresses: Mutex<Addresses>,
}

impl Lab {
    pub fn open() -> Self {
        // On the file system of real disks: what is measured here is what happens there.
        let home = Home::from_env();
        fs::create_dir_all(home.root()).expect("the home");
        let folder = tempfile::Builder::new().prefix("test-machines-").tempdir_in(home.root());
        Self::open_in(&folder.expect("a folder").keep())
    }

    pub fn open_in(folder: &Path) -> Self {
        let runtime = Runtime::new().expect("threads");
        let base = runtime.block_on(base::make(&Home::from_env().bases())).expect("the base");
        let network = runtime.block_on(Network::start()).expect("the network");
        let cgroup =
            cgroup::unified().expect("cgroup2").join(format!("ovenbird-test-{}", std::process::id()));
        LEFT.lock().expect("a list").extend([folder.to_owned(), cgroup.clone()]);
        let disks = Disks::new(folder, &base);
        Self { runtime, disks, network, home: folder.to_owned(), cgroup, addresses: Mutex::default() }
    }

    /// The folder of the lab's own.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The cgroup that its machines are in.
    pub fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    /// A new instance over layers, not started.
    pub fn instance(&self, layers: Vec<Layer>) -> Instance {
        let id = InstanceId::parse(&format!("i-{:017x}", number())).expect("an id");
        let address = self.addresses.lock().expect("addresses").take().expect("a free address");
        Instance { id, address, layers, user_data: None, tokens_required: true, endpoint_port: 4599 }
    }

    /// Starts an instance; its disk is what it was at its last stop.
    pub fn start(&self, instance: &Instance) -> Guest<'_> {
        self.runtime.block_on(self.try_start(instance)).expect("the machine starts")
    }

    pub async fn try_start(&self, instance: &Instance) -> std::io::Result<Guest<'_>> {
        let started = Instant::now();
        let (notice, notices) = mpsc::unbounded_channel();
        let machine = Machine::start(self.config(instance)?, notice).await?;
        let disk = self.disks.instance(&instance.id);
        Ok(Guest { lab: self, machine, notices, disk, started, instance: instance.clone() })
    }

    pub fn config(&self, instance: &Instance) -> std::io::Result<MachineConfig> {
        Ok(MachineConfig {
            instance: instance.id.clone(),
            disk: self.disks.prepare(&instance.id)?,
            lower: self.disks.lower(&instance.layers)?,
            cgroup: self.cgroup.join(instance.id.as_str()),
            address: instance.address,
            cloud_pid: self.network.pid()?,
            endpoint_port: instance.endpoint_port,
            identity: instance.identity(),
        })
    }

    /// A new machine over the base, online.
    pub fn guest(&self) -> Guest<'_> {
        let mut guest = self.start(&self.instance(vec![Layer::Base]));
        guest.online();
        guest
    }
}

/// Ends what the lab has: the program ends without dropping it.
pub fn close() {
    for path in LEFT.lock().expect("a list").drain(..) {
        cgroup::remove(&path);
        let _ = fs::remove_dir_all(&path);
    }
}

/// A new number, for ids.
pub fn number() -> u32 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

pub fn snapshot_id() -> SnapshotId {
    SnapshotId::parse(&format!("snap-{:017x}", number())).expect("an id")
}

/// Looks until it is true, and fails the test when it stays false.
#[track_caller]
pub fn until(what: &str, within: Duration, mut look: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !look() {
        assert!(start.elapsed() < within, "{what}: not within {within:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    start.elapsed()
}

/// What a machine is started from.
#[derive(Debug, Clone)]
pub struct Instance {
    pub id: InstanceId,
    pub address: Ipv4Addr,
    pub layers: Vec<Layer>,
    pub user_data: Option<Vec<u8>>,
    pub tokens_required: bool,
    pub endpoint_port: u16,
}

impl Instance {
    fn identity(&self) -> Identity {
        Identity {
            instance: self.id.to_string(),
            image: "ami-0123456789abcdef0".into(),
            instance_type: "t3.micro".into(),
            zone: "us-east-1a".into(),
            region: "us-east-1".into(),
            account: "123456789012".into(),
            address: self.address,
            hostname: format!("ip-{}", self.address.to_string().replace('.', "-")),
            profile: Some("builder".into()),
            user_data: self.user_data.clone(),
            tokens_required: self.tokens_required,
        }
    }
}

/// A running machine.
pub struct Guest<'lab> {
    pub lab: &'lab Lab,
    pub machine: Machine,
    pub instance: Instance,
    pub disk: PathBuf,
    pub started: Instant,
    notices: mpsc::UnboundedReceiver<Notice>,
}

impl Guest<'_> {
    /// Waits for a notice, whatever comes before it.
    #[track_caller]
    pub fn wait(&mut self, wanted: &Notice) {
        let waited = self.lab.runtime.block_on(async {
            let notice = async { while self.notices.recv().await.is_some_and(|notice| notice != *wanted) {} };
            tokio::time::timeout(PATIENCE, notice).await
        });
        assert!(waited.is_ok(), "{wanted:?} did not come; its console:\n{}", self.machine.console());
    }

    #[track_caller]
    pub fn online(&mut self) {
        self.wait(&Notice::Online(self.instance.id.clone()));
    }

    #[track_caller]
    pub fn ended(&mut self) {
        self.wait(&Notice::Ended(self.instance.id.clone()));
    }

    /// Waits until a file is on its disk.
    #[track_caller]
    pub fn file(&self, path: &str) -> Duration {
        let file = self.disk.join("upper").join(path);
        let start = Instant::now();
        while !file.exists() {
            assert!(start.elapsed() < PATIENCE, "no {path}; its console:\n{}", self.machine.console());
            std::thread::sleep(Duration::from_millis(5));
        }
        self.started.elapsed()
    }

    /// Runs a script.
    #[track_caller]
    pub fn exec(&self, script: &str, timeout: Duration) -> Outcome {
        let pid = self.machine.init_pid().expect("a first process");
        self.lab.runtime.block_on(exec(pid, script, timeout)).expect("the command runs")
    }

    /// Runs a script that must succeed; gives its output, trimmed.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        let outcome = self.exec(script, PATIENCE);
        assert_eq!(outcome.exit, 0, "{script}: {outcome:?}");
        outcome.stdout.trim().to_owned()
    }

    /// Stops it, and waits for its end.
    #[track_caller]
    pub fn stop(&mut self) -> Duration {
        let start = Instant::now();
        self.lab.runtime.block_on(self.machine.power_off(PATIENCE));
        self.ended();
        start.elapsed()
    }
}
