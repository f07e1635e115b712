//! Real machines: one actor for each instance, and what they share.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::{Arc, Mutex, OnceLock, Weak},
    time::Duration,
};

use futures::future::BoxFuture;
use ovenbird_core::domain::id::{InstanceId, SnapshotId};
use ovenbird_sim::{MachineEvent, Order, World};
use tokio::{net::TcpStream, sync::mpsc, task::AbortHandle};

use super::{
    Hardware,
    actor::Actor,
    shared::{Shared, lock},
};
use crate::{
    endpoint::Endpoint,
    groups,
    home::Home,
    machine::{Disks, Interruption, Machine, cgroup, forward, reach, remove_ending_groups},
    network::Network,
    operator::Forward,
};

/// The instance, its port, and the port on loopback that was asked for.
type Forwarded = (InstanceId, u16, Option<u16>);

/// How long the last processes of machines that were killed may take.
const GRACE: Duration = Duration::from_secs(10);

/// The machines of one local cloud.
#[derive(Debug)]
pub(crate) struct RealHardware {
    shared: Arc<Shared>,
    actors: Mutex<HashMap<InstanceId, Running>>,
    forwards: Mutex<HashMap<Forwarded, (SocketAddr, AbortHandle)>>,
    /// Machines reach the world through it; it ends when it is dropped.
    network: Network,
}

/// An instance's actor, as the hardware knows it.
#[derive(Debug)]
struct Running {
    orders: mpsc::UnboundedSender<Order>,
    seen: Arc<Mutex<Seen>>,
}

/// What an actor shows of its machine.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The machine while it runs.
    pub machine: Option<Arc<Machine>>,
    /// Its address, from its first start to its end.
    pub address: Option<Ipv4Addr>,
    /// The notice that it is taken back, which its metadata service shows.
    pub interruption: Arc<OnceLock<Interruption>>,
}

impl RealHardware {
    /// Makes hardware over a base; the disks that an earlier process left are removed first.
    pub fn new(
        home: &Home,
        base: &Path,
        port: u16,
        network: Network,
        user_namespaces: bool,
        events: mpsc::UnboundedSender<MachineEvent>,
    ) -> io::Result<Self> {
        allow_inotify();
        let disks = Disks::new(home.root(), base);
        disks.delete_instances()?;
        let cgroup = groups::machines(home)?;
        let shared = Shared {
            disks,
            cgroup,
            user_namespaces,
            port,
            endpoint: OnceLock::new(),
            network_pid: network.pid()?,
            metadata: network.metadata().clone(),
            addresses: Mutex::default(),
            layer_use: Mutex::default(),
            events,
        };
        Ok(Self { shared: Arc::new(shared), actors: Mutex::default(), forwards: Mutex::default(), network })
    }

    /// Deletes the layers that nothing of the world lies on any more: a process that was killed had them to delete, or was
    /// making them.
    pub fn forget_unused(&self, world: &World) -> io::Result<()> {
        let known: HashSet<&SnapshotId> = world.snapshots().map(|snapshot| &snapshot.id).collect();
        let unused = self.shared.disks.snapshots()?.into_iter();
        for snapshot in unused.filter(|id| !known.contains(id) && !world.is_layer_in_use(id)) {
            tracing::info!("the layer of {snapshot} is nobody's, and is deleted");
            self.shared.delete_layer(&snapshot);
        }
        Ok(())
    }

    fn order(&self, instance: &InstanceId, order: Order) {
        let mut actors = lock(&self.actors);
        let running = actors.entry(instance.clone()).or_insert_with(|| {
            let (orders, inbox) = mpsc::unbounded_channel();
            let seen = Arc::new(Mutex::new(Seen::default()));
            let actor = Actor::new(instance.clone(), Arc::clone(&self.shared), Arc::clone(&seen));
            tokio::spawn(actor.run(inbox));
            Running { orders, seen }
        });
        let last = matches!(order, Order::Destroy { .. });
        if running.orders.send(order).is_err() {
            tracing::warn!("{instance} takes no orders any more");
        }
        if last {
            // The actor has its order, and ends with it.
            actors.remove(instance);
            self.close(instance, None);
        }
    }

    fn seen<T>(&self, instance: &InstanceId, look: impl FnOnce(&Seen) -> Option<T>) -> Option<T> {
        let seen = Arc::clone(&lock(&self.actors).get(instance)?.seen);
        let seen = lock(&seen);
        look(&seen)
    }

    async fn open(&self, instance: InstanceId, port: u16, wanted: Option<u16>) -> io::Result<SocketAddr> {
        let key = (instance, port, wanted);
        if let Some((address, task)) = lock(&self.forwards).get(&key)
            && !task.is_finished()
        {
            return Ok(*address);
        }
        let target = self.seen(&key.0, |seen| Some((seen.machine.as_ref()?.network_pid(), seen.address?)));
        let not_running = || io::Error::new(io::ErrorKind::NotFound, format!("{} doesn't run", key.0));
        let (pid, address) = target.ok_or_else(not_running)?;
        let (here, task) = forward(pid, address, port, wanted).await?;
        lock(&self.forwards).insert(key, (here, task));
        Ok(here)
    }
}

fn told(instance: &InstanceId, port: u16, address: SocketAddr) -> Forward {
    Forward { instance: instance.to_string(), port, address }
}

impl Hardware for RealHardware {
    fn carry_out(&self, order: Order) {
        match &order {
            Order::Boot { instance, .. }
            | Order::PowerOff { instance }
            | Order::Reboot { instance }
            | Order::Destroy { instance }
            | Order::Freeze { instance, .. }
            | Order::Run { instance, .. }
            | Order::Cancel { instance, .. } => {
                let instance = instance.clone();
                self.order(&instance, order);
            }
            Order::DropSnapshot { snapshot } => self.shared.drop_snapshot(snapshot),
        }
    }

    fn console(&self, instance: &InstanceId) -> Option<String> {
        self.seen(instance, |seen| seen.machine.as_ref().map(|machine| machine.console()))
    }

    fn address(&self, instance: &InstanceId) -> Option<Ipv4Addr> {
        self.seen(instance, |seen| seen.address)
    }

    fn process(&self, instance: &InstanceId) -> Option<u32> {
        self.seen(instance, |seen| Some(seen.machine.as_ref()?.inside().ok()?.pid))
    }

    fn forward(
        &self,
        instance: InstanceId,
        port: u16,
        here: Option<u16>,
    ) -> BoxFuture<'_, io::Result<SocketAddr>> {
        Box::pin(self.open(instance, port, here))
    }

    fn forwards(&self) -> Vec<Forward> {
        let mut open: Vec<Forward> = lock(&self.forwards)
            .iter()
            .filter(|(_, (_, task))| !task.is_finished())
            .map(|((instance, port, _), (address, _))| told(instance, *port, *address))
            .collect();
        open.sort_by_key(|forward| forward.address);
        open
    }

    fn close(&self, instance: &InstanceId, port: Option<u16>) -> Vec<Forward> {
        let meant = |of: &InstanceId, at: u16| of == instance && port.is_none_or(|port| port == at);
        let mut closed = Vec::new();
        lock(&self.forwards).retain(|(of, at, _), (address, task)| {
            let stays = !meant(of, *at);
            if !stays {
                task.abort();
                closed.push(told(of, *at, *address));
            }
            stays
        });
        closed.sort_by_key(|forward| forward.address);
        closed
    }

    fn announce(&self, instance: &InstanceId, interruption: Interruption) -> bool {
        let told = |seen: &Seen| seen.interruption.set(interruption).ok();
        self.seen(instance, told).is_some()
    }

    fn adopt(&self, snapshot: &SnapshotId, folder: &Path) -> io::Result<()> {
        self.shared.disks.adopt(snapshot, folder)
    }

    fn reach(&self, instance: InstanceId, port: u16) -> BoxFuture<'_, io::Result<TcpStream>> {
        Box::pin(async move {
            let address = self.seen(&instance, |seen| seen.machine.as_ref().and(seen.address));
            let not_running = || io::Error::new(io::ErrorKind::NotFound, format!("{instance} doesn't run"));
            reach(self.shared.network_pid, address.ok_or_else(not_running)?, port).await
        })
    }

    fn connect(&self, endpoint: Weak<Endpoint>) {
        // It is told once, before the first order.
        let _ = self.shared.endpoint.set(endpoint);
    }

    fn network(&self) -> Vec<u32> {
        self.network.pids()
    }

    fn shut_down(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            for running in lock(&self.actors).values() {
                if let Some(machine) = &lock(&running.seen).machine {
                    machine.kill();
                }
            }
            // One that is just being started is known to its group alone.
            cgroup::kill(&self.shared.cgroup);
            if !remove_ending_groups(&self.shared.cgroup, GRACE).await {
                tracing::warn!("{} has processes that don't end", self.shared.cgroup.display());
            }
        })
    }
}

/// Lets root's processes have as many inotify instances as machines need: systemd and its daemons take six in each,
/// and with Debian's limit of 128 the 22nd machine ends as it begins, with "Too many open files".
fn allow_inotify() {
    const LIMIT: &str = "/proc/sys/fs/inotify/max_user_instances";
    const ENOUGH: u32 = 4096;
    let now = fs::read_to_string(LIMIT).ok().and_then(|text| text.trim().parse::<u32>().ok());
    if now.is_some_and(|now| now < ENOUGH) {
        match fs::write(LIMIT, ENOUGH.to_string()) {
            Ok(()) => tracing::info!("{LIMIT} was raised to {ENOUGH}"),
            // Where /proc may not be written, a few machines work all the same.
            Err(error) => tracing::warn!("{LIMIT} stays at {now:?}, for about 20 machines at once: {error}"),
        }
    }
}
