//! A place to run machines in: network, disks and cgroup of the tests' own, and two machines that most tests share.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, routing::get};
use ovenbird_core::domain::id::{InstanceId, SnapshotId};
use ovenbird_local::{
    Home, base_image,
    machine::{Addresses, Disks, Layer, MachineConfig, cgroup, remove_groups},
    network::Network,
};
use tokio::runtime::Runtime;

use crate::guest::{Guest, Instance};

/// How long anything here may take on a machine that has other things to do.
pub const PATIENCE: Duration = Duration::from_secs(120);

static NEXT: AtomicU32 = AtomicU32::new(0);
static LEFT: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// What is missing for real machines.
pub fn missing() -> Vec<String> {
    if !nix::unistd::geteuid().is_root() {
        return vec!["machines need root".into()];
    }
    let programs = ["ip", "mmdebstrap", "nft", "nsenter", "setpriv", "slirp4netns"];
    let absent = |program: &&str| Command::new(program).arg("--version").output().is_err();
    programs
        .into_iter()
        .filter(absent)
        .map(|program| format!("`{program}` is not installed: `make setup`"))
        .collect()
}

/// The lab.
pub struct Lab {
    pub runtime: Runtime,
    pub disks: Disks,
    pub network: Network,
    /// What stands for the cloud's endpoint: its port on the host, and what answers in machines.
    pub endpoint: TcpListener,
    home: PathBuf,
    cgroup: PathBuf,
    addresses: Mutex<Addresses>,
    strict: OnceLock<Guest>,
    lenient: OnceLock<Guest>,
}

impl Lab {
    pub fn open() -> Self {
        // On the file system of real disks: what works here works there.
        let home = Home::from_env();
        fs::create_dir_all(home.root()).expect("the home");
        let folder = tempfile::Builder::new().prefix("test-machines-").tempdir_in(home.root());
        Self::open_in(&folder.expect("a folder").keep())
    }

    pub fn open_in(folder: &Path) -> Self {
        let runtime = Runtime::new().expect("threads");
        let base = runtime.block_on(base_image::make(&Home::from_env().bases())).expect("the base");
        let network = runtime.block_on(Network::start()).expect("the network");
        let cgroup =
            cgroup::unified().expect("cgroup2").join(format!("ovenbird-test-{}", std::process::id()));
        LEFT.lock().expect("a list").extend([folder.to_owned(), cgroup.clone()]);
        Self {
            runtime,
            disks: Disks::new(folder, &base),
            network,
            endpoint: TcpListener::bind("127.0.0.1:0").expect("a port"),
            home: folder.to_owned(),
            cgroup,
            addresses: Mutex::default(),
            strict: OnceLock::new(),
            lenient: OnceLock::new(),
        }
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
        Instance { id, address, layers, user_data: None, tokens_required: true, key: None }
    }

    /// Starts an instance; its disk is what it was at its last stop.
    pub fn start(&self, instance: &Instance) -> Guest {
        let config = self.config(instance);
        Guest::start(self.runtime.handle(), config, instance).expect("the machine starts")
    }

    /// Starts machines until one has these user ids, which are free.
    ///
    /// Each start takes the lowest free range. Machines of earlier tests may still be ending, and what they free then
    /// is lower: so the first one started need not be the one.
    #[track_caller]
    pub fn occupy(&self, ids: &str) -> Vec<Guest> {
        let mut guests = Vec::new();
        for _ in 0..16 {
            let mut guest = self.start(&self.instance(vec![Layer::Base]));
            guest.online();
            let found = guest.ids() == ids;
            guests.push(guest);
            if found {
                return guests;
            }
        }
        panic!("no machine got the ids {ids}");
    }

    pub fn config(&self, instance: &Instance) -> MachineConfig {
        MachineConfig {
            instance: instance.id.clone(),
            disk: self.disks.prepare(&instance.id).expect("a disk"),
            lower: self.disks.lower(&instance.layers),
            cgroup: self.cgroup.join(instance.id.as_str()),
            user_namespace: true,
            address: instance.address,
            cloud_pid: self.network.pid().expect("the network"),
            endpoint_port: self.endpoint.local_addr().expect("an address").port(),
            endpoint: Router::new().route("/it", get(|| async { "hello" })),
            console: String::new(),
            metadata: self.network.metadata().clone(),
            identity: instance.identity(),
        }
    }

    /// A machine over the base that any test may use and none may end. It was started by a thread that is gone.
    pub fn strict(&self) -> &Guest {
        self.strict.get_or_init(|| {
            let instance = self.instance(vec![Layer::Base]);
            let start = std::thread::scope(|scope| scope.spawn(|| self.start(&instance)).join());
            let mut guest = start.expect("the thread that starts it");
            guest.online();
            guest
        })
    }

    /// Another such machine, with user data, and with a metadata service that asks for no token.
    pub fn lenient(&self) -> &Guest {
        self.lenient.get_or_init(|| {
            let mut instance = self.instance(vec![Layer::Base]);
            instance.tokens_required = false;
            instance.user_data = Some(b"#!/bin/sh\nhostname > /var/tmp/done\n".to_vec());
            let mut guest = self.start(&instance);
            guest.online();
            guest
        })
    }
}

/// Ends what the lab has: the program ends without dropping it.
pub fn close() {
    for path in LEFT.lock().expect("a list").drain(..) {
        let _ = fs::write(path.join("cgroup.kill"), "1");
        let gone = Instant::now() + PATIENCE;
        while path.exists() && Instant::now() < gone {
            remove_groups(&path);
            let _ = fs::remove_dir_all(&path);
            std::thread::sleep(Duration::from_millis(10));
        }
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
pub fn until(what: &str, mut look: impl FnMut() -> bool) {
    let start = Instant::now();
    while !look() {
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
