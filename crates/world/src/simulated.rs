//! Machines that only say that they run, in given time: for tests.

use std::{collections::BTreeMap, fmt};

use jiff::{SignedDuration, Timestamp};
use ovenbird_core::id::InstanceId;

use crate::{News, Order, World};

/// What a simulated machine does with a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// How long it takes.
    pub takes: SignedDuration,
    /// Its exit status.
    pub exit: i32,
    /// Its output.
    pub stdout: String,
    /// Whether the machine powers itself off afterwards.
    pub powers_off: bool,
}

impl Default for Script {
    fn default() -> Self {
        Self { takes: SignedDuration::from_secs(1), exit: 0, stdout: String::new(), powers_off: false }
    }
}

type Behaviour = Box<dyn FnMut(&InstanceId, &str) -> Script + Send>;

/// Simulated machines.
pub struct SimulatedHardware {
    behaviour: Behaviour,
    boot: SignedDuration,
    agenda: BTreeMap<(Timestamp, u64), News>,
    count: u64,
}

impl fmt::Debug for SimulatedHardware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedHardware").field("agenda", &self.agenda).finish_non_exhaustive()
    }
}

impl SimulatedHardware {
    /// Machines that do with scripts as they are told here.
    pub fn new(behaviour: impl FnMut(&InstanceId, &str) -> Script + Send + 'static) -> Self {
        let boot = SignedDuration::from_secs(2);
        Self { behaviour: Box::new(behaviour), boot, agenda: BTreeMap::new(), count: 0 }
    }

    /// Lets time go on to `now`: new orders are taken, and what is due is told.
    pub fn advance(&mut self, world: &mut World, now: Timestamp) {
        loop {
            for order in world.take_orders() {
                self.take(order, now);
            }
            let due = self.agenda.first_key_value().filter(|((at, _), _)| *at <= now).map(|(key, _)| *key);
            let Some(key) = due else { return };
            if let Some(news) = self.agenda.remove(&key) {
                world.hear(key.0, news);
            }
        }
    }

    /// When the next thing is due.
    pub fn next(&self) -> Option<Timestamp> {
        self.agenda.keys().next().map(|(at, _)| *at)
    }

    fn take(&mut self, order: Order, now: Timestamp) {
        let second = SignedDuration::from_secs(1);
        match order {
            Order::Boot { instance, .. } => {
                self.plan(now + self.boot, News::Booted { instance: instance.clone() });
                self.plan(now + self.boot + second, News::AgentOnline { instance });
            }
            Order::PowerOff { instance } => self.plan(now + second, News::PoweredOff { instance }),
            Order::Destroy { instance } => {
                self.agenda.retain(|_, news| !concerns(news, &instance));
                self.plan(now + second, News::Destroyed { instance });
            }
            Order::Freeze { snapshot, .. } => {
                self.plan(now + second, News::SnapshotProgress { snapshot: snapshot.clone(), percent: 50 });
                self.plan(now + second + second, News::Frozen { snapshot, bytes: 1 << 20 });
            }
            Order::DropSnapshot { .. } => {}
            Order::Run { instance, command, script, timeout_seconds } => {
                let script = (self.behaviour)(&instance, &script);
                let limit = SignedDuration::from_secs(i64::try_from(timeout_seconds).unwrap_or(i64::MAX));
                let timed_out = script.takes > limit;
                let end = now + script.takes.min(limit);
                self.plan(now, News::CommandStarted { instance: instance.clone(), command: command.clone() });
                let ended = News::CommandEnded {
                    instance: instance.clone(),
                    command,
                    exit: if timed_out { -1 } else { script.exit },
                    stdout: script.stdout,
                    stderr: String::new(),
                    timed_out,
                };
                self.plan(end, ended);
                if script.powers_off {
                    self.plan(end + second, News::PoweredOff { instance });
                }
            }
            Order::Cancel { command, .. } => {
                self.agenda.retain(
                    |_, news| !matches!(news, News::CommandEnded { command: one, .. } if *one == command),
                );
            }
        }
    }

    fn plan(&mut self, at: Timestamp, news: News) {
        self.count += 1;
        self.agenda.insert((at, self.count), news);
    }
}

fn concerns(news: &News, id: &InstanceId) -> bool {
    match news {
        News::Booted { instance }
        | News::BootFailed { instance, .. }
        | News::PoweredOff { instance }
        | News::Destroyed { instance }
        | News::AgentOnline { instance }
        | News::Console { instance, .. }
        | News::CommandStarted { instance, .. }
        | News::CommandEnded { instance, .. } => instance == id,
        News::Frozen { .. } | News::FreezeFailed { .. } | News::SnapshotProgress { .. } | News::HostLost => {
            false
        }
    }
}
