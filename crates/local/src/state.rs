//! The model with its machines: each call's orders go to the hardware, what machines did comes in, and both are saved.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use ovenbird_core::domain::id::SnapshotId;
use ovenbird_sim::{ApiError, Change, MachineEvent, Order, World};
use tokio::sync::{mpsc, watch};

use crate::{
    balancer::{Balancer, Sockets},
    hardware::Hardware,
    health_checks::HealthChecks,
    store::Store,
};

/// How often the world does what time brings about.
const TICK: Duration = Duration::from_secs(1);

/// How many events are written at once, if so many have come: each write waits for the disk.
const MOST_EVENTS: usize = 64;

/// The model of EC2 and SSM's commands, as the endpoint and the hardware share it.
#[derive(Debug)]
pub struct CloudState {
    world: Mutex<World>,
    hardware: Box<dyn Hardware>,
    /// Deleted snapshots whose layers something still lies on.
    dropped: Mutex<BTreeSet<SnapshotId>>,
    /// Told of each change.
    changed: watch::Sender<()>,
    /// Where load balancers listen, once something carries their requests.
    sockets: OnceLock<Arc<Sockets>>,
    /// Where the world is kept; none for a world that ends with the process.
    store: Option<Store>,
    /// What changed and could not be written yet.
    unwritten: Mutex<Vec<Change>>,
}

impl CloudState {
    /// Brings a world together with its hardware; from now on the world is told what machines do.
    pub fn start(
        world: World,
        hardware: Box<dyn Hardware>,
        mut events: mpsc::UnboundedReceiver<MachineEvent>,
        store: Option<Store>,
    ) -> Arc<Self> {
        let state = Arc::new(Self {
            world: Mutex::new(world),
            hardware,
            dropped: Mutex::default(),
            changed: watch::Sender::default(),
            sockets: OnceLock::new(),
            store,
            unwritten: Mutex::default(),
        });
        let listener = Arc::downgrade(&state);
        tokio::spawn(async move {
            let mut come = Vec::new();
            while events.recv_many(&mut come, MOST_EVENTS).await > 0 {
                let Some(state) = listener.upgrade() else { return };
                state.apply(come.drain(..));
            }
        });
        state
    }

    /// From now on the world does what time brings about, and its targets are checked. It looks once a second.
    ///
    /// Call it when the hardware has its endpoint: the first tick may launch what a group lacks, and a machine that
    /// finds no endpoint fails to boot.
    pub fn keep_time(self: &Arc<Self>) {
        let ticked = Arc::downgrade(self);
        tokio::spawn(async move {
            let health_checks = HealthChecks::default();
            let mut clock = tokio::time::interval(TICK);
            clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                clock.tick().await;
                let Some(state) = ticked.upgrade() else { return };
                state.tick();
                health_checks.begin_due(&state);
            }
        });
    }

    /// From now on something carries the requests of load balancers, which have addresses here. Called once.
    pub(crate) fn balance(self: &Arc<Self>, sockets: Arc<Sockets>, balancer: Balancer) {
        let _ = self.sockets.set(sockets);
        let _ = self.follow_up(&mut self.lock());
        tokio::spawn(balancer.follow(Arc::downgrade(self)));
    }

    /// Where load balancers listen; none if nothing carries their requests.
    pub(crate) fn sockets(&self) -> Option<&Sockets> {
        self.sockets.get().map(|sockets| &**sockets)
    }

    /// Told of each change of the world.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Reads something of the world.
    pub fn read<T>(&self, query: impl FnOnce(&World) -> T) -> T {
        query(&self.lock())
    }

    /// Calls an operation that may change the world; the change is on the disk before the caller has its answer.
    ///
    /// # Errors
    /// What the operation refuses; `InternalError` when the change can't be written. It is written later then, and known
    /// already, as after a lost answer of AWS.
    pub fn call<T>(
        &self,
        operation: impl FnOnce(&mut World, Timestamp) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let mut world = self.lock();
        let answer = operation(&mut world, Timestamp::now());
        // What is refused may have changed something, too: what is long gone is forgotten by a look.
        let kept = self.follow_up(&mut world);
        answer.and_then(|answer| kept.map(|()| answer))
    }

    /// What a machine's console shows now becomes known to the world.
    pub fn refresh_console(&self, instance: &str) {
        let Ok(instance) = instance.parse() else { return };
        if let Some(text) = self.hardware.console(&instance) {
            self.apply([MachineEvent::Console { instance, text }]);
        }
    }

    /// What carries out the orders.
    pub fn hardware(&self) -> &dyn Hardware {
        &*self.hardware
    }

    /// Lets the world do what time brings about, if there is anything that it does, and writes what could not be written.
    fn tick(&self) {
        let mut world = self.lock();
        let unwritten = !self.unwritten.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        let now = Timestamp::now();
        if world.needs_ticks() || world.bin_is_due(now) {
            world.tick(now);
        } else if !unwritten {
            return;
        }
        // It is tried again in a second.
        let _ = self.follow_up(&mut world);
    }

    /// Tells the world what machines did.
    pub fn apply(&self, events: impl IntoIterator<Item = MachineEvent>) {
        let mut world = self.lock();
        for event in events {
            tracing::debug!("{event:?}");
            self.note_address(&mut world, &event);
            world.apply(Timestamp::now(), event);
        }
        // Nobody waits for an answer, and it is written with the next change.
        let _ = self.follow_up(&mut world);
    }

    /// Addresses are the hardware's to choose.
    fn note_address(&self, world: &mut World, event: &MachineEvent) {
        if let MachineEvent::Booted { instance } = event
            && let Some(address) = self.hardware.address(instance)
        {
            world.set_address(instance, &address.to_string());
        }
    }

    /// Keeps what changed and sends orders out, while the world is still locked: orders keep their order.
    ///
    /// No order goes out before what it follows from is kept: a layer that is deleted for a snapshot of a world that comes
    /// back would be missed.
    fn follow_up(&self, world: &mut World) -> Result<(), ApiError> {
        if let Some(sockets) = self.sockets.get() {
            sockets.name(world);
        }
        self.changed.send_replace(());
        self.keep(world)?;
        let mut dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        for order in world.take_orders() {
            tracing::debug!("{order:?}");
            match order {
                Order::DropSnapshot { snapshot } => drop(dropped.insert(snapshot)),
                order => self.hardware.carry_out(order),
            }
        }
        // A deleted snapshot's layer stays while an image lies on it, as at EBS its blocks do.
        for snapshot in dropped.extract_if(.., |snapshot| !world.is_layer_in_use(snapshot)) {
            self.hardware.carry_out(Order::DropSnapshot { snapshot });
        }
        Ok(())
    }

    fn keep(&self, world: &mut World) -> Result<(), ApiError> {
        let changes = world.take_changes();
        let Some(store) = &self.store else { return Ok(()) };
        let mut unwritten = self.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
        // The newest of a row is the last.
        unwritten.extend(changes);
        match store.save(&unwritten) {
            Ok(()) => {
                unwritten.clear();
                Ok(())
            }
            Err(error) => {
                let reason = crate::error::chain(&error);
                tracing::error!("{reason}");
                Err(ApiError { code: "InternalError", message: reason, http: 500 })
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
