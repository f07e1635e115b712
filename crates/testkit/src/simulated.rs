//! Machines that only say that they run, in given time: for tests.

use std::{collections::BTreeMap, fmt, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use ovenbird_core::domain::id::InstanceId;

use ovenbird_sim::{MachineEvent, Order, World};

/// What a simulated machine does with a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// How long it takes.
    pub takes: SignedDuration,
    /// Its exit status.
    pub exit: i32,
    /// Its output.
    pub stdout: String,
    /// What it puts into the bucket at its end: keys and contents.
    pub uploads: Vec<(String, String)>,
    /// Whether the machine powers itself off afterwards.
    pub powers_off: bool,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            takes: SignedDuration::from_secs(1),
            exit: 0,
            stdout: String::new(),
            uploads: Vec::new(),
            powers_off: false,
        }
    }
}

/// What a simulated machine is asked to do.
#[derive(Debug, Clone, Copy)]
pub struct Work<'a> {
    /// Which machine.
    pub instance: &'a InstanceId,
    /// What it was launched with.
    pub user_data: &'a str,
    /// The command; none when it is its user data's turn, at its first boot.
    pub command: Option<&'a str>,
}

/// How long machines take for what no script does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// From the launch to the user data.
    pub boot: SignedDuration,
    /// From there to the agent's registration.
    pub agent: SignedDuration,
    /// A snapshot.
    pub imaging: SignedDuration,
}

impl Default for Pace {
    fn default() -> Self {
        let seconds = SignedDuration::from_secs;
        Self { boot: seconds(2), agent: seconds(1), imaging: seconds(2) }
    }
}

type Behaviour = Arc<dyn Fn(Work<'_>) -> Script + Send + Sync>;

/// Simulated machines.
#[derive(Clone)]
pub struct SimulatedHardware {
    behaviour: Behaviour,
    pace: Pace,
    agenda: BTreeMap<(Timestamp, u64), Event>,
    uploaded: Vec<(String, Vec<u8>)>,
    user_data: BTreeMap<InstanceId, String>,
    count: u64,
}

/// What will happen.
#[derive(Debug, Clone)]
enum Event {
    Machine(MachineEvent),
    Upload { instance: InstanceId, uploads: Vec<(String, String)> },
}

impl fmt::Debug for SimulatedHardware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedHardware").field("agenda", &self.agenda).finish_non_exhaustive()
    }
}

impl SimulatedHardware {
    /// Machines that do with scripts, and with the user data of their first boot, as they are told here.
    pub fn new(behaviour: impl Fn(Work<'_>) -> Script + Send + Sync + 'static) -> Self {
        Self {
            behaviour: Arc::new(behaviour),
            pace: Pace::default(),
            agenda: BTreeMap::new(),
            uploaded: Vec::new(),
            user_data: BTreeMap::new(),
            count: 0,
        }
    }

    /// The same machines at another pace.
    #[must_use]
    pub fn at(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// Lets time go on to `now`: new orders are taken, and what is due is told.
    pub fn advance(&mut self, world: &mut World, now: Timestamp) {
        loop {
            for order in world.take_orders() {
                self.take(order, now);
            }
            let due = self.agenda.first_key_value().filter(|((at, _), _)| *at <= now).map(|(key, _)| *key);
            let Some(key) = due else { return };
            match self.agenda.remove(&key) {
                Some(Event::Machine(event)) => world.apply(key.0, event),
                Some(Event::Upload { uploads, .. }) => {
                    self.uploaded.extend(uploads.into_iter().map(|(key, text)| (key, text.into_bytes())));
                }
                None => {}
            }
        }
    }

    /// What the machines put into the bucket since this was asked.
    pub fn take_uploads(&mut self) -> Vec<(String, Vec<u8>)> {
        std::mem::take(&mut self.uploaded)
    }

    /// When the next thing is due.
    pub fn next(&self) -> Option<Timestamp> {
        self.agenda.keys().next().map(|(at, _)| *at)
    }

    fn take(&mut self, order: Order, now: Timestamp) {
        let second = SignedDuration::from_secs(1);
        match order {
            Order::Boot { instance, user_data, .. } => {
                if let Some(user_data) = user_data {
                    self.user_data.insert(instance.clone(), String::from_utf8_lossy(&user_data).into_owned());
                    let script = self.ask(&instance, None);
                    self.upload(now + self.pace.boot + script.takes, &instance, script.uploads);
                }
                self.plan(now + self.pace.boot, MachineEvent::Booted { instance: instance.clone() });
                self.plan(now + self.pace.boot + self.pace.agent, MachineEvent::AgentOnline { instance });
            }
            Order::PowerOff { instance } => {
                // What ran in it ends with it, and puts nothing into the bucket any more.
                self.agenda.retain(|_, event| !concerns(event, &instance));
                self.plan(now + second, MachineEvent::PoweredOff { instance });
            }
            Order::Destroy { instance } => {
                self.agenda.retain(|_, event| !concerns(event, &instance));
                self.plan(now + second, MachineEvent::Destroyed { instance });
            }
            Order::Freeze { snapshot, .. } => {
                let half = self.pace.imaging / 2;
                self.plan(
                    now + half,
                    MachineEvent::SnapshotProgress { snapshot: snapshot.clone(), percent: 50 },
                );
                self.plan(now + self.pace.imaging, MachineEvent::Frozen { snapshot, bytes: 1 << 20 });
            }
            Order::DropSnapshot { .. } => {}
            Order::Run { instance, command, script, timeout_seconds } => {
                let script = self.ask(&instance, Some(&script));
                let limit = SignedDuration::from_secs(i64::try_from(timeout_seconds).unwrap_or(i64::MAX));
                let timed_out = script.takes > limit;
                let end = now + script.takes.min(limit);
                self.plan(
                    now,
                    MachineEvent::CommandStarted { instance: instance.clone(), command: command.clone() },
                );
                let ended = MachineEvent::CommandEnded {
                    instance: instance.clone(),
                    command,
                    exit: if timed_out { -1 } else { script.exit },
                    stdout: script.stdout,
                    stderr: String::new(),
                    timed_out,
                };
                if !timed_out {
                    self.upload(end, &instance, script.uploads);
                }
                self.plan(end, ended);
                if script.powers_off {
                    self.plan(end + second, MachineEvent::PoweredOff { instance });
                }
            }
            Order::Cancel { command, .. } => {
                self.agenda.retain(
                    |_, event| !matches!(event, Event::Machine(MachineEvent::CommandEnded { command: one, .. }) if *one == command),
                );
            }
        }
    }

    fn plan(&mut self, at: Timestamp, event: MachineEvent) {
        self.happen(at, Event::Machine(event));
    }

    fn ask(&self, instance: &InstanceId, command: Option<&str>) -> Script {
        let user_data = self.user_data.get(instance).map(String::as_str).unwrap_or_default();
        (self.behaviour)(Work { instance, user_data, command })
    }

    fn upload(&mut self, at: Timestamp, instance: &InstanceId, uploads: Vec<(String, String)>) {
        if !uploads.is_empty() {
            self.happen(at, Event::Upload { instance: instance.clone(), uploads });
        }
    }

    fn happen(&mut self, at: Timestamp, event: Event) {
        self.count += 1;
        self.agenda.insert((at, self.count), event);
    }
}

fn concerns(event: &Event, id: &InstanceId) -> bool {
    let event = match event {
        Event::Machine(event) => event,
        Event::Upload { instance, .. } => return instance == id,
    };
    match event {
        MachineEvent::Booted { instance }
        | MachineEvent::BootFailed { instance, .. }
        | MachineEvent::PoweredOff { instance }
        | MachineEvent::Destroyed { instance }
        | MachineEvent::AgentOnline { instance }
        | MachineEvent::Console { instance, .. }
        | MachineEvent::CommandStarted { instance, .. }
        | MachineEvent::CommandEnded { instance, .. } => instance == id,
        MachineEvent::Frozen { .. }
        | MachineEvent::FreezeFailed { .. }
        | MachineEvent::SnapshotProgress { .. }
        | MachineEvent::HostLost => false,
    }
}
