//! Machines that only say that they run, in given time: for tests.

use std::{collections::BTreeMap, fmt, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use ovenbird_core::{
    domain::{
        id::InstanceId,
        mailbox::{self, Heartbeat, Orders},
    },
    store::keys,
};

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
    /// Whether its runner is heard of no more, from the beginning on.
    pub falls_silent: bool,
    /// For how long its machine boots again, from the beginning on; its runner says so before.
    pub boots: SignedDuration,
    /// Whether EC2 takes the machine's spot capacity back: its notice comes at the beginning.
    pub taken_back: bool,
}

/// How long after its notice EC2 takes spot capacity back.
const NOTICE: SignedDuration = SignedDuration::from_mins(2);

impl Default for Script {
    fn default() -> Self {
        Self {
            takes: SignedDuration::from_secs(1),
            exit: 0,
            stdout: String::new(),
            uploads: Vec::new(),
            powers_off: false,
            falls_silent: false,
            boots: SignedDuration::ZERO,
            taken_back: false,
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
    /// What its mailbox orders; none for a command of Systems Manager.
    pub order: Option<mailbox::Order>,
    /// The command of Systems Manager; none for an order.
    pub command: Option<&'a str>,
}

/// How long machines take for what no script does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// From the launch to the user data.
    pub boot: SignedDuration,
    /// From there to the agent's registration.
    pub agent: SignedDuration,
    /// From the end of what powers a machine off until it has stopped.
    pub stop: SignedDuration,
    /// A snapshot.
    pub imaging: SignedDuration,
}

impl Default for Pace {
    fn default() -> Self {
        let seconds = SignedDuration::from_secs;
        Self { boot: seconds(2), agent: seconds(1), stop: seconds(1), imaging: seconds(2) }
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
    runners: BTreeMap<InstanceId, Runner>,
    /// The orders that lie in the bucket, by their keys.
    orders: BTreeMap<String, Orders>,
    count: u64,
}

/// The runner of a machine, as far as it is simulated.
#[derive(Debug, Clone, Default)]
struct Runner {
    user_data: String,
    /// Where its mailbox is: what its objects' names follow in their keys.
    mailbox: Option<String>,
    /// Since when it can be heard; none before its machine has booted.
    up: Option<Timestamp>,
    /// Since when it can't be heard any more.
    silent: Option<Timestamp>,
    /// From when to when its machine boots again.
    boots: Option<(Timestamp, Timestamp)>,
    /// Whether EC2 gave notice that it takes the machine back.
    taken_back: bool,
    /// The last order that it began.
    generation: u32,
}

/// What will happen.
#[derive(Debug, Clone)]
enum Event {
    Machine(MachineEvent),
    Upload { instance: InstanceId, uploads: Vec<(String, String)> },
    TakenBack { instance: InstanceId },
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
            runners: BTreeMap::new(),
            orders: BTreeMap::new(),
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
                Some(Event::Machine(event)) => {
                    let booted = match &event {
                        MachineEvent::Booted { instance } => Some(instance.clone()),
                        _ => None,
                    };
                    world.apply(key.0, event);
                    if let Some(instance) = booted {
                        self.start_runner(&instance, key.0);
                    }
                }
                Some(Event::Upload { uploads, .. }) => {
                    self.uploaded.extend(uploads.into_iter().map(|(key, text)| (key, text.into_bytes())));
                }
                // It may have been ended before: then there is nothing left to take.
                Some(Event::TakenBack { instance }) => drop(world.interrupt_spot(instance.as_str())),
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

    /// Something was put into the bucket: if that is an order, the machine that it is for begins.
    pub fn read(&mut self, key: &str, bytes: &[u8], now: Timestamp) {
        let Some(mailbox) = key.strip_suffix(keys::ORDERS) else { return };
        let Ok(orders) = serde_json::from_slice::<Orders>(bytes) else { return };
        self.orders.insert(key.to_owned(), orders);
        let theirs: Vec<InstanceId> = self
            .runners
            .iter()
            .filter(|(_, runner)| runner.mailbox.as_deref() == Some(mailbox) && runner.up.is_some())
            .map(|(instance, _)| instance.clone())
            .collect();
        for instance in theirs {
            self.obey(&instance, now);
        }
    }

    /// What a runner would have put into the bucket as its heartbeat, and when.
    pub fn heartbeat(&self, key: &str, now: Timestamp) -> Option<(Vec<u8>, Timestamp)> {
        let mailbox = key.strip_suffix(keys::PROGRESS)?;
        let runner = self.runners.values().find(|runner| runner.mailbox.as_deref() == Some(mailbox))?;
        let boot = runner.boots.filter(|(from, until)| (*from..*until).contains(&now));
        let written = runner.silent.or(boot.map(|(from, _)| from)).unwrap_or(now);
        if runner.up? >= written && boot.is_none() {
            return None;
        }
        let (generation, reboots) = (runner.generation, boot.is_some());
        let interruption = runner.taken_back.then(|| "EC2 takes the spot capacity back".to_owned());
        let heartbeat = Heartbeat { generation, reboots, interruption, ..Heartbeat::default() };
        Some((serde_json::to_vec(&heartbeat).unwrap_or_default(), written))
    }

    fn start_runner(&mut self, instance: &InstanceId, now: Timestamp) {
        if let Some(runner) = self.runners.get_mut(instance).filter(|runner| runner.up.is_none()) {
            runner.up = Some(now);
            self.obey(instance, now);
        }
    }

    /// Begins what is ordered, if that wasn't begun already.
    fn obey(&mut self, instance: &InstanceId, now: Timestamp) {
        let Some(runner) = self.runners.get(instance) else { return };
        let Some(mailbox) = &runner.mailbox else { return };
        let Some(orders) = self.orders.get(&format!("{mailbox}{}", keys::ORDERS)).copied() else { return };
        if runner.silent.is_some() || orders.generation <= runner.generation {
            return;
        }
        let script = self.ask(instance, Some(orders.order), None);
        if let Some(runner) = self.runners.get_mut(instance) {
            runner.generation = orders.generation;
            if script.falls_silent {
                runner.silent = Some(now);
            }
            runner.boots = Some((now, now + script.boots));
            runner.taken_back = script.taken_back;
        }
        if script.taken_back {
            self.happen(now + NOTICE, Event::TakenBack { instance: instance.clone() });
        }
        let end = now + script.takes;
        self.upload(end, instance, script.uploads);
        if script.powers_off {
            self.plan(end + self.pace.stop, MachineEvent::PoweredOff { instance: instance.clone() });
        }
    }

    fn take(&mut self, order: Order, now: Timestamp) {
        let second = SignedDuration::from_secs(1);
        match order {
            Order::Boot { instance, user_data, .. } => {
                if let Some(user_data) = user_data {
                    let user_data = String::from_utf8_lossy(&user_data).into_owned();
                    let mailbox = mailbox(&user_data);
                    self.runners.insert(instance.clone(), Runner { user_data, mailbox, ..Runner::default() });
                }
                self.plan(now + self.pace.boot, MachineEvent::Booted { instance: instance.clone() });
                self.plan(now + self.pace.boot + self.pace.agent, MachineEvent::AgentOnline { instance });
            }
            Order::Reboot { instance } => {
                self.end(&instance, now);
                self.plan(now + second, MachineEvent::Rebooted { instance: instance.clone() });
                self.plan(now + self.pace.boot + self.pace.agent, MachineEvent::AgentOnline { instance });
            }
            Order::PowerOff { instance } => {
                self.end(&instance, now);
                self.plan(now + second, MachineEvent::PoweredOff { instance });
            }
            Order::Destroy { instance } => {
                self.end(&instance, now);
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
                let script = self.ask(&instance, None, Some(&script));
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

    /// What runs in a machine ends with it, and puts nothing into the bucket any more.
    fn end(&mut self, instance: &InstanceId, now: Timestamp) {
        self.agenda.retain(|_, event| !concerns(event, instance));
        if let Some(runner) = self.runners.get_mut(instance) {
            runner.silent.get_or_insert(now);
        }
    }

    fn ask(&self, instance: &InstanceId, order: Option<mailbox::Order>, command: Option<&str>) -> Script {
        let user_data =
            self.runners.get(instance).map(|runner| runner.user_data.as_str()).unwrap_or_default();
        (self.behaviour)(Work { instance, user_data, order, command })
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

/// Where the mailbox is of which the user data has the URL.
pub fn mailbox(user_data: &str) -> Option<String> {
    let (_, rest) = user_data.split_once("https://bucket/bakes/")?;
    let (mailbox, _) = rest.split_once(keys::URLS)?;
    Some(format!("bakes/{mailbox}"))
}

fn concerns(event: &Event, id: &InstanceId) -> bool {
    let event = match event {
        Event::Machine(event) => event,
        Event::Upload { instance, .. } | Event::TakenBack { instance } => return instance == id,
    };
    match event {
        MachineEvent::Booted { instance }
        | MachineEvent::BootFailed { instance, .. }
        | MachineEvent::PoweredOff { instance }
        | MachineEvent::Rebooted { instance }
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
