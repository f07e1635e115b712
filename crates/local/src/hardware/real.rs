//! Real machines: one actor for each instance, and what they share.

use std::{
    collections::HashMap,
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use futures::future::BoxFuture;
use ovenbird_core::{digest, id::InstanceId};
use ovenbird_world::{News, Order};
use tokio::{sync::mpsc, task::AbortHandle};

use super::{
    Hardware,
    actor::Actor,
    shared::{Shared, lock},
};
use crate::{
    home::Home,
    machine::{Disks, Machine, forward},
    network::Network,
};

/// The machines of one local cloud.
#[derive(Debug)]
pub(crate) struct RealHardware {
    shared: Arc<Shared>,
    actors: Mutex<HashMap<InstanceId, Running>>,
    forwards: Mutex<HashMap<(InstanceId, u16), (SocketAddr, AbortHandle)>>,
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
}

impl RealHardware {
    /// Makes hardware over a base; whatever an earlier process left is removed first.
    pub fn new(
        home: &Home,
        base: &Path,
        port: u16,
        network: Network,
        news: mpsc::UnboundedSender<News>,
    ) -> io::Result<Self> {
        let disks = Disks::new(home.root(), base);
        disks.delete_instances()?;
        let cgroup = cgroup(home)?;
        remove_empty(&cgroup);
        let shared = Shared {
            disks,
            cgroup,
            port,
            network_pid: network.pid()?,
            addresses: Mutex::default(),
            under: Mutex::default(),
            news,
        };
        Ok(Self { shared: Arc::new(shared), actors: Mutex::default(), forwards: Mutex::default(), network })
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
            lock(&self.forwards).retain(|(of, _), (_, task)| {
                let other = of != instance;
                if !other {
                    task.abort();
                }
                other
            });
        }
    }

    fn seen<T>(&self, instance: &InstanceId, look: impl FnOnce(&Seen) -> Option<T>) -> Option<T> {
        let seen = Arc::clone(&lock(&self.actors).get(instance)?.seen);
        let seen = lock(&seen);
        look(&seen)
    }

    async fn open(&self, instance: InstanceId, port: u16) -> io::Result<SocketAddr> {
        let key = (instance, port);
        if let Some((address, task)) = lock(&self.forwards).get(&key)
            && !task.is_finished()
        {
            return Ok(*address);
        }
        let target = self.seen(&key.0, |seen| Some((seen.machine.as_ref()?.network_pid(), seen.address?)));
        let not_running = || io::Error::new(io::ErrorKind::NotFound, format!("{} doesn't run", key.0));
        let (pid, address) = target.ok_or_else(not_running)?;
        let (here, task) = forward(pid, address, port).await?;
        lock(&self.forwards).insert(key, (here, task));
        Ok(here)
    }
}

impl Hardware for RealHardware {
    fn carry_out(&self, order: Order) {
        match &order {
            Order::Boot { instance, .. }
            | Order::PowerOff { instance }
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

    fn forward(&self, instance: InstanceId, port: u16) -> BoxFuture<'_, io::Result<SocketAddr>> {
        Box::pin(self.open(instance, port))
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
        })
    }
}

/// A cgroup of this home's own below the unified hierarchy, wherever that is mounted.
fn cgroup(home: &Home) -> io::Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mut fields = mounts.lines().map(|line| line.split(' '));
    let unified = fields.find_map(|mut line| {
        let point = line.nth(1)?;
        (line.next()? == "cgroup2").then(|| PathBuf::from(point))
    });
    let unified = unified
        .ok_or_else(|| io::Error::other("no cgroup2 is mounted: `mount -t cgroup2 none /sys/fs/cgroup`"))?;
    let name = digest::sha256(home.root().as_os_str().as_encoded_bytes());
    Ok(unified.join(format!("ovenbird-{}", &name.as_str()[..8])))
}

/// Removes a cgroup with those in it; those with processes stay.
pub(super) fn remove_empty(cgroup: &Path) {
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty(&entry.path());
        }
    }
    let _ = fs::remove_dir(cgroup);
}
