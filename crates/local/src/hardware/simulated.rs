//! Machines that only say that they run: for tests of the endpoint, which need no root.

use std::{
    collections::{BTreeMap, HashSet},
    io,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use futures::future::BoxFuture;
use ovenbird_core::domain::id::{CommandId, InstanceId, SnapshotId};
use ovenbird_sim::{MachineEvent, Order};
use tokio::{net::TcpStream, sync::mpsc};

use super::Hardware;
use crate::{endpoint::Endpoint, machine::Interruption, operator::Forward};

/// How long everything takes.
const STEP: Duration = Duration::from_millis(30);

/// Simulated machines. A script's output is the script itself.
#[derive(Debug)]
pub struct Simulated {
    events: mpsc::UnboundedSender<MachineEvent>,
    cancelled: Arc<Mutex<HashSet<CommandId>>>,
    ports: BTreeMap<u16, SocketAddr>,
}

impl Simulated {
    /// Machines that report their events here.
    pub fn new(events: mpsc::UnboundedSender<MachineEvent>) -> Self {
        Self { events, cancelled: Arc::default(), ports: BTreeMap::new() }
    }

    /// Opens a port on every machine: who connects to it reaches this address. Without this, all ports are closed.
    pub fn with_port(mut self, port: u16, address: SocketAddr) -> Self {
        self.ports.insert(port, address);
        self
    }

    fn plan(&self, events: Vec<MachineEvent>) {
        let (sender, cancelled) = (self.events.clone(), Arc::clone(&self.cancelled));
        tokio::spawn(async move {
            for event in events {
                tokio::time::sleep(STEP).await;
                if let MachineEvent::CommandEnded { command, .. } = &event
                    && cancelled.lock().unwrap_or_else(PoisonError::into_inner).remove(command)
                {
                    continue;
                }
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
    }
}

impl Hardware for Simulated {
    fn carry_out(&self, order: Order) {
        match order {
            Order::Boot { instance, .. } => {
                self.plan(vec![
                    MachineEvent::Booted { instance: instance.clone() },
                    MachineEvent::AgentOnline { instance },
                ]);
            }
            Order::Reboot { instance } => self.plan(vec![
                MachineEvent::Rebooted { instance: instance.clone() },
                MachineEvent::Booted { instance: instance.clone() },
                MachineEvent::AgentOnline { instance },
            ]),
            Order::PowerOff { instance } => self.plan(vec![MachineEvent::PoweredOff { instance }]),
            Order::Destroy { instance } => self.plan(vec![MachineEvent::Destroyed { instance }]),
            Order::Freeze { snapshot, .. } => self.plan(vec![
                MachineEvent::SnapshotProgress { snapshot: snapshot.clone(), percent: 50 },
                MachineEvent::Frozen { snapshot, bytes: 1 << 20 },
            ]),
            Order::DropSnapshot { .. } => {}
            Order::Run { instance, command, script, .. } => self.plan(vec![
                MachineEvent::CommandStarted { instance: instance.clone(), command: command.clone() },
                MachineEvent::CommandEnded {
                    instance,
                    command,
                    exit: 0,
                    stdout: script,
                    stderr: String::new(),
                    timed_out: false,
                },
            ]),
            Order::Cancel { command, .. } => {
                self.cancelled.lock().unwrap_or_else(PoisonError::into_inner).insert(command);
            }
        }
    }

    fn announce(&self, _: &InstanceId, _: Interruption) -> bool {
        true
    }

    fn adopt(&self, _: &SnapshotId, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn console(&self, instance: &InstanceId) -> Option<String> {
        Some(format!("{instance} is simulated\n"))
    }

    fn address(&self, _instance: &InstanceId) -> Option<Ipv4Addr> {
        None
    }

    fn process(&self, _instance: &InstanceId) -> Option<u32> {
        None
    }

    fn forward(
        &self,
        instance: InstanceId,
        _port: u16,
        _here: Option<u16>,
    ) -> BoxFuture<'_, io::Result<SocketAddr>> {
        Box::pin(async move { Err(io::Error::other(format!("{instance} is simulated: it has no ports"))) })
    }

    fn forwards(&self) -> Vec<Forward> {
        Vec::new()
    }

    fn close(&self, _instance: &InstanceId, _port: Option<u16>) -> Vec<Forward> {
        Vec::new()
    }

    fn reach(&self, _instance: InstanceId, port: u16) -> BoxFuture<'_, io::Result<TcpStream>> {
        let address = self.ports.get(&port).copied();
        Box::pin(async move {
            let closed = || io::Error::from(io::ErrorKind::ConnectionRefused);
            TcpStream::connect(address.ok_or_else(closed)?).await
        })
    }

    fn connect(&self, _endpoint: Weak<Endpoint>) {}

    fn network(&self) -> Vec<u32> {
        Vec::new()
    }

    fn shut_down(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}
