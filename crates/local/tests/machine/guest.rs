//! A machine in the lab.

use std::{
    io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ovenbird_core::domain::id::InstanceId;
use ovenbird_local::Credentials;
use ovenbird_local::machine::{Identity, Inside, Layer, Machine, MachineConfig, Notice, Outcome, exec};
use ovenbird_sim::AuthorizedKey;
use tokio::{runtime::Handle, sync::mpsc};

use crate::lab::{PATIENCE, until};

/// What a machine is started from.
#[derive(Debug, Clone)]
pub struct Instance {
    pub id: InstanceId,
    pub address: Ipv4Addr,
    pub layers: Vec<Layer>,
    pub user_data: Option<Vec<u8>>,
    pub tokens_required: bool,
    pub key: Option<AuthorizedKey>,
}

impl Instance {
    pub fn identity(&self) -> Identity {
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
            role: Credentials::machine(),
            user_data: self.user_data.clone(),
            tokens_required: self.tokens_required,
            key: self.key.clone(),
            spot: false,
            interruption: Arc::default(),
        }
    }
}

/// A running machine; it ends when it is dropped.
pub struct Guest {
    pub machine: Machine,
    pub instance: Instance,
    disk: PathBuf,
    runtime: Handle,
    notices: mpsc::UnboundedReceiver<Notice>,
}

impl Guest {
    pub fn start(runtime: &Handle, config: MachineConfig, instance: &Instance) -> io::Result<Self> {
        let (notice, notices) = mpsc::unbounded_channel();
        let disk = config.disk.clone();
        let machine = runtime.block_on(Machine::start(config, notice))?;
        Ok(Self { machine, instance: instance.clone(), disk, runtime: runtime.clone(), notices })
    }

    /// Waits for a notice, whatever comes before it.
    #[track_caller]
    fn wait(&mut self, wanted: &Notice) {
        let waited = self.runtime.block_on(async {
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

    #[track_caller]
    pub fn rebooted(&mut self) {
        self.wait(&Notice::Rebooted(self.instance.id.clone()));
    }

    /// A file on its own layer.
    pub fn path(&self, path: &str) -> PathBuf {
        self.disk.join("upper").join(Path::new(path))
    }

    /// Waits until a file is on its disk.
    #[track_caller]
    pub fn file(&self, path: &str) {
        until(path, || self.path(path).exists());
    }

    pub fn inside(&self) -> Inside {
        self.machine
            .inside()
            .unwrap_or_else(|error| panic!("{error}; its console:\n{}", self.machine.console()))
    }

    /// Runs a script.
    #[track_caller]
    pub fn exec(&self, script: &str, timeout: Duration) -> Outcome {
        self.runtime.block_on(exec(&self.inside(), script, timeout)).expect("the command runs")
    }

    /// Runs a script that must succeed; gives its output, trimmed.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        let outcome = self.exec(script, PATIENCE);
        if outcome.exit != 0 {
            panic!("{script}: {outcome:?}\n{}\nits console:\n{}", self.state(), self.machine.console());
        }
        outcome.stdout.trim().to_owned()
    }

    /// What it is doing, for the message of a test that fails: its processes, its connections, cloud-init's last words.
    fn state(&self) -> String {
        let script = "ps axo pid,stat,wchan:20,etimes,args; ss -tan; ip -br addr; ip neigh; systemctl list-jobs; \
                      tail -n 40 /var/log/cloud-init.log";
        let said = self.runtime.block_on(exec(&self.inside(), script, PATIENCE));
        said.map_or_else(|error| error.to_string(), |said| said.stdout)
    }

    /// Which user ids of the host it has, as the kernel tells it.
    #[track_caller]
    pub fn ids(&self) -> String {
        self.sh("cat /proc/self/uid_map")
    }

    /// How many processes in it have been started with exactly this command line.
    #[track_caller]
    pub fn running(&self, command: &str) -> usize {
        self.sh(&format!("pgrep -c -x -f '{command}' || true")).parse().expect("a number")
    }

    /// Stops it, and waits for its end.
    #[track_caller]
    pub fn stop(&mut self) {
        self.runtime.block_on(self.machine.power_off(PATIENCE));
        self.ended();
    }
}
