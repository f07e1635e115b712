//! One instance's machine: its orders are carried out here, one after another.

use std::{
    collections::HashMap,
    io,
    net::Ipv4Addr,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use ovenbird_core::domain::id::{CommandId, InstanceId, SnapshotId};
use ovenbird_sim::{MachineEvent, MachineFacts, Order};
use tokio::{process::Command, sync::mpsc, task::AbortHandle};

use super::{
    real::Seen,
    shared::{Shared, lock},
};
use crate::{
    auth::Credentials,
    deploy::REGION,
    endpoint::machine_router,
    machine::{Identity, Layer, Machine, MachineConfig, Notice, exec, remove_groups},
    ministack::ACCOUNT,
};

/// How long a machine may take to power off before it is ended.
const GRACE: Duration = Duration::from_secs(10);

/// What a machine was started with, kept for its next start.
#[derive(Debug, Clone)]
struct Start {
    layers: Vec<Layer>,
    user_data: Option<Vec<u8>>,
    facts: MachineFacts,
}

/// An instance.
#[derive(Debug)]
pub(super) struct Actor {
    instance: InstanceId,
    shared: Arc<Shared>,
    seen: Arc<Mutex<Seen>>,
    start: Option<Start>,
    /// Layers that came from its own disk by freezing it: they lie above its image's.
    frozen: Vec<SnapshotId>,
    held: Vec<SnapshotId>,
    /// Whether its machine was ordered to power off.
    going_down: bool,
    /// What its console showed before the boot that comes.
    console: String,
    commands: HashMap<CommandId, AbortHandle>,
    notices: mpsc::UnboundedReceiver<Notice>,
    notice: mpsc::UnboundedSender<Notice>,
}

impl Actor {
    /// An instance that has not been started.
    pub fn new(instance: InstanceId, shared: Arc<Shared>, seen: Arc<Mutex<Seen>>) -> Self {
        let (notice, notices) = mpsc::unbounded_channel();
        let (frozen, held, commands) = (Vec::new(), Vec::new(), HashMap::new());
        let (going_down, console) = (false, String::new());
        Self {
            instance,
            shared,
            seen,
            start: None,
            frozen,
            held,
            going_down,
            console,
            commands,
            notices,
            notice,
        }
    }

    /// Carries orders out until the machine is destroyed.
    pub async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        loop {
            tokio::select! {
                // What the machine did comes before what it shall do.
                biased;
                Some(notice) = self.notices.recv() => self.notice(&notice).await,
                order = orders.recv() => match order {
                    Some(Order::Destroy { .. }) => return self.destroy().await,
                    Some(order) => self.carry_out(order).await,
                    None => return,
                },
            }
        }
    }

    async fn carry_out(&mut self, order: Order) {
        match order {
            Order::Boot { layers, user_data, facts, .. } => {
                let layers = layers.into_iter().map(|layer| match layer {
                    ovenbird_sim::Layer::Base => Layer::Base,
                    ovenbird_sim::Layer::Snapshot(snapshot) => Layer::Snapshot(snapshot),
                });
                let layers = layers.collect();
                // Its image's layers never change, and its image may be gone by now: the first start counts.
                let start = self.start.get_or_insert(Start {
                    layers,
                    user_data: user_data.clone(),
                    facts: facts.clone(),
                });
                // These may be changed while it is stopped.
                (start.user_data, start.facts) = (user_data, facts);
                self.boot().await;
            }
            Order::PowerOff { .. } => match self.going_down() {
                // Not waited for here: the order to destroy it may come meanwhile.
                Some(machine) => drop(tokio::spawn(async move { machine.power_off(GRACE).await })),
                None => self.report(MachineEvent::PoweredOff { instance: self.instance.clone() }),
            },
            Order::Reboot { .. } => {
                if let Some(machine) = self.machine() {
                    drop(tokio::spawn(async move { machine.reboot(GRACE).await }));
                }
            }
            Order::Freeze { snapshot, reboot, .. } => self.freeze(snapshot, reboot).await,
            Order::Run { command, script, timeout_seconds, .. } => {
                self.command(command, script, timeout_seconds);
            }
            Order::Cancel { command, .. } => {
                if let Some(task) = self.commands.remove(&command) {
                    task.abort();
                }
            }
            Order::Destroy { .. } | Order::DropSnapshot { .. } => {}
        }
    }

    /// The machine, which is not to come back by itself.
    fn going_down(&mut self) -> Option<Arc<Machine>> {
        self.going_down = true;
        self.machine()
    }

    async fn boot(&mut self) {
        self.going_down = false;
        match self.try_boot().await {
            Ok(machine) => lock(&self.seen).machine = Some(Arc::new(machine)),
            Err(error) => {
                tracing::warn!("{} could not be started: {error}", self.instance);
                self.report(MachineEvent::BootFailed {
                    instance: self.instance.clone(),
                    reason: error.to_string(),
                });
            }
        }
    }

    async fn try_boot(&mut self) -> io::Result<Machine> {
        let Some(Start { layers, user_data, facts }) = self.start.clone() else {
            return Err(io::Error::other("it was never started"));
        };
        let layers: Vec<Layer> =
            layers.into_iter().chain(self.frozen.iter().cloned().map(Layer::Snapshot)).collect();
        self.hold(&layers);
        let address = self.address()?;
        let endpoint = self.shared.endpoint.get().and_then(Weak::upgrade);
        let endpoint = endpoint.ok_or_else(|| io::Error::other("the endpoint isn't there"))?;
        let role = Credentials::machine();
        let endpoint = machine_router(endpoint, facts.profile.is_some().then(|| role.clone()));
        let interruption = Arc::clone(&lock(&self.seen).interruption);
        let identity = Identity {
            instance: self.instance.to_string(),
            image: facts.image,
            instance_type: facts.instance_type,
            zone: facts.zone,
            region: REGION.to_owned(),
            account: ACCOUNT.to_owned(),
            address,
            hostname: format!("ip-{}", address.to_string().replace('.', "-")),
            profile: facts.profile,
            role,
            user_data,
            tokens_required: facts.tokens_required,
            key: facts.key,
            spot: facts.spot,
            interruption,
        };
        let config = MachineConfig {
            instance: self.instance.clone(),
            disk: self.shared.disks.prepare(&self.instance)?,
            lower: self.shared.disks.lower(&layers),
            cgroup: self.shared.cgroup.join(self.instance.as_str()),
            user_namespace: self.shared.user_namespaces,
            address,
            cloud_pid: self.shared.network_pid,
            endpoint_port: self.shared.port,
            endpoint,
            console: std::mem::take(&mut self.console),
            metadata: self.shared.metadata.clone(),
            identity,
        };
        Machine::start(config, self.notice.clone()).await
    }

    /// Its address: the same one from its first start to its end.
    fn address(&self) -> io::Result<Ipv4Addr> {
        let mut seen = lock(&self.seen);
        if let Some(address) = seen.address {
            return Ok(address);
        }
        let address = self.shared.take_address()?;
        seen.address = Some(address);
        Ok(address)
    }

    /// Keeps the layers that its disk lies on from being deleted.
    fn hold(&mut self, layers: &[Layer]) {
        let mut layer_use = lock(&self.shared.layer_use);
        for layer in layers {
            if let Layer::Snapshot(snapshot) = layer
                && !self.held.contains(snapshot)
            {
                *layer_use.used.entry(snapshot.clone()).or_default() += 1;
                self.held.push(snapshot.clone());
            }
        }
    }

    /// Lets go of the layers, and deletes those that only this disk kept.
    fn let_go(&mut self) {
        let mut unused = Vec::new();
        let mut layer_use = lock(&self.shared.layer_use);
        for snapshot in self.held.drain(..) {
            let Some(count) = layer_use.used.get_mut(&snapshot) else { continue };
            *count -= 1;
            if *count == 0 {
                layer_use.used.remove(&snapshot);
                if layer_use.dropped.remove(&snapshot) {
                    unused.push(snapshot);
                }
            }
        }
        drop(layer_use);
        for snapshot in unused {
            self.shared.delete_layer(&snapshot);
        }
    }

    async fn notice(&mut self, notice: &Notice) {
        let instance = self.instance.clone();
        match notice {
            Notice::Booted(_) => self.report(MachineEvent::Booted { instance }),
            Notice::Online(_) => self.report(MachineEvent::AgentOnline { instance }),
            Notice::Ended(_) => {
                self.ended();
                self.report(MachineEvent::PoweredOff { instance });
            }
            // On EC2 the instance runs on meanwhile, and so does its console.
            Notice::Rebooted(_) if !self.going_down => {
                self.console = self.machine().map(|machine| machine.console()).unwrap_or_default();
                self.ended();
                self.report(MachineEvent::Rebooted { instance });
                self.boot().await;
            }
            // It was told to stop, and nobody starts it again but by an order.
            Notice::Rebooted(_) => {
                self.ended();
                self.report(MachineEvent::PoweredOff { instance });
            }
        }
    }

    /// Keeps the last words of a machine that has ended, and forgets it.
    fn ended(&mut self) {
        let machine = lock(&self.seen).machine.take();
        if let Some(machine) = machine {
            self.report(MachineEvent::Console { instance: self.instance.clone(), text: machine.console() });
        }
    }

    /// Ends the machine and waits until its last process is gone: its disk is in use until then.
    async fn stop(&mut self, machine: &Machine, kindly: bool) {
        if kindly {
            machine.power_off(GRACE).await;
        }
        machine.kill();
        while let Some(notice) = self.notices.recv().await {
            if matches!(notice, Notice::Ended(_) | Notice::Rebooted(_)) {
                break;
            }
        }
        self.ended();
    }

    async fn destroy(mut self) {
        if let Some(machine) = self.machine() {
            self.stop(&machine, false).await;
        }
        for (_, task) in self.commands.drain() {
            task.abort();
        }
        let (disks, instance) = (self.shared.disks.clone(), self.instance.clone());
        let deleted = tokio::task::spawn_blocking(move || disks.delete_instance(&instance)).await;
        if let Ok(Err(error)) = deleted {
            tracing::warn!("the disk of {} could not be deleted: {error}", self.instance);
        }
        // Its machine tried that when it ended; by now its last process is surely reaped.
        remove_groups(&self.shared.cgroup.join(self.instance.as_str()));
        self.let_go();
        if let Some(address) = lock(&self.seen).address.take() {
            lock(&self.shared.addresses).give_back(address);
        }
        self.report(MachineEvent::Destroyed { instance: self.instance.clone() });
    }

    async fn freeze(&mut self, snapshot: SnapshotId, reboot: bool) {
        let event = match self.try_freeze(&snapshot, reboot).await {
            Ok(bytes) => MachineEvent::Frozen { snapshot, bytes },
            Err(error) => {
                tracing::warn!("{snapshot} of {} could not be made: {error}", self.instance);
                MachineEvent::FreezeFailed { snapshot, reason: error.to_string() }
            }
        };
        self.report(event);
    }

    async fn try_freeze(&mut self, snapshot: &SnapshotId, reboot: bool) -> io::Result<u64> {
        let running = self.machine();
        if running.is_some() && !reboot {
            return self.copy_live(snapshot).await;
        }
        let was_running = running.is_some();
        if let Some(machine) = running {
            self.stop(&machine, true).await;
        }
        let (disks, instance, id) = (self.shared.disks.clone(), self.instance.clone(), snapshot.clone());
        let frozen = tokio::task::spawn_blocking(move || {
            disks.freeze(&instance, &id)?;
            size(&disks.snapshot(&id))
        });
        let bytes = frozen.await.map_err(io::Error::other)??;
        // What the disk had until now lies in the snapshot, and the disk on it.
        self.frozen.push(snapshot.clone());
        self.hold(&[Layer::Snapshot(snapshot.clone())]);
        if was_running {
            self.boot().await;
        }
        Ok(bytes)
    }

    /// Copies a running machine's disk, as EC2 does without a reboot: whole files, but of no one moment.
    async fn copy_live(&self, snapshot: &SnapshotId) -> io::Result<u64> {
        let upper = self.shared.disks.instance(&self.instance).join("upper");
        let copy = self.shared.disks.snapshot(snapshot);
        if let Some(folder) = copy.parent() {
            tokio::fs::create_dir_all(folder).await?;
        }
        // What overlayfs notes in extended attributes and device nodes belongs to the disk.
        let output =
            Command::new("cp").args(["--archive", "--reflink=auto"]).args([&upper, &copy]).output().await?;
        if !output.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        tokio::task::spawn_blocking(move || size(&copy)).await.map_err(io::Error::other)?
    }

    fn command(&mut self, command: CommandId, script: String, timeout_seconds: u64) {
        let (instance, events) = (self.instance.clone(), self.shared.events.clone());
        let stopped = || io::Error::other("the machine doesn't run");
        let inside = self.machine().ok_or_else(stopped).and_then(|machine| machine.inside());
        self.commands.retain(|_, task| !task.is_finished());
        let id = command.clone();
        let task = tokio::spawn(async move {
            // A supervisor that is ending reads no events any more.
            let _ = events
                .send(MachineEvent::CommandStarted { instance: instance.clone(), command: command.clone() });
            let outcome = match inside {
                Ok(inside) => exec(&inside, &script, Duration::from_secs(timeout_seconds)).await,
                Err(error) => Err(error),
            };
            let ended = match outcome {
                Ok(outcome) => MachineEvent::CommandEnded {
                    instance,
                    command,
                    exit: outcome.exit,
                    stdout: outcome.stdout,
                    stderr: outcome.stderr,
                    timed_out: outcome.timed_out,
                },
                Err(error) => MachineEvent::CommandEnded {
                    instance,
                    command,
                    exit: -1,
                    stdout: String::new(),
                    stderr: error.to_string(),
                    timed_out: false,
                },
            };
            let _ = events.send(ended);
        });
        self.commands.insert(id, task.abort_handle());
    }

    fn machine(&self) -> Option<Arc<Machine>> {
        lock(&self.seen).machine.clone()
    }

    fn report(&self, event: MachineEvent) {
        // The world is gone only when the process is going.
        let _ = self.shared.events.send(event);
    }
}

/// The bytes of the files in a folder.
fn size(folder: &std::path::Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { size(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}
