//! Everything a step works with, in memory: the world as core's ports, with a table and a bucket beside it.
//!
//! It is what the tests drive the real steps on. Time is given; nothing happens but by [`Cloud::pass`], and
//! nothing goes wrong but by [`Cloud::inject`].

mod around;
mod calls;
mod deployed;
mod faults;
mod lagging;
mod ports;
mod walked;

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use ovenbird_core::{
    domain::{
        id::{AmiId, BakeId, Digest, ParameterName, StackId},
        reference::{Kind, Reference},
        retirement::Floors,
        signature::Signers,
        template::Pin,
    },
    ports::{Execution, Index, Key, Row, Source, Witness},
};

pub use self::{
    around::Around,
    faults::{Death, Fault},
};
use crate::{SimulatedHardware, latency::Latency};
use ovenbird_sim::{ImageParameters, InstanceState, Validation, World, load_balancing::Seen};

/// An account with Ovenbird deployed, in memory.
#[derive(Debug, Clone)]
pub struct Cloud {
    state: RefCell<State>,
    /// The stack whose ports these are.
    stack: StackId,
    /// What it retains at least.
    floors: Cell<Floors>,
    /// What the stack was deployed with.
    most_builders: Cell<u32>,
    /// From when to when Lambda starts no function: as many run as the account lets.
    busy: Cell<Option<(Timestamp, Timestamp)>>,
    runners: RefCell<Vec<Digest>>,
    signers: OnceCell<Signers>,
}

/// A call that was made through a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Who made it: what [`Cloud::enter`] said last.
    pub by: String,
    /// When it was made.
    pub at: Timestamp,
    /// Every action that IAM must allow for it; the first names the call.
    pub actions: Vec<&'static str>,
}

#[derive(Debug, Clone)]
struct State {
    world: World,
    hardware: SimulatedHardware,
    now: Timestamp,
    table: BTreeMap<Key, (Row, Index)>,
    objects: BTreeMap<String, (Vec<u8>, Timestamp)>,
    parameters: BTreeMap<ParameterName, String>,
    /// Writes of parameters that SSM is validating.
    image_parameters: ImageParameters,
    /// Whether SSM takes images that nobody made.
    takes_every_image: bool,
    /// Executions that were started, by name, with their input.
    executions: BTreeMap<BakeId, serde_json::Value>,
    /// How executions stand, as far as whoever runs them said.
    standings: BTreeMap<BakeId, Execution>,
    /// How the machines of new images answer.
    fitness_of_new: Fitness,
    /// The images that are not new.
    known: BTreeSet<AmiId>,
    /// What EC2 alone says of images: recipes of Image Builder, and what else its own look finds.
    witnesses: Vec<(AmiId, Witness)>,
    /// What names images and isn't in the model: launch configurations, fleets.
    references: Vec<(Source, AmiId, Reference)>,
    /// What launches by the number of a version, and isn't in the model: fleets.
    pins: Vec<(Source, Pin)>,
    /// How many things a look says that it saw, where that isn't so.
    seen: BTreeMap<Source, usize>,
    /// What there is of the account beside the model.
    around: Around,
    /// Those that nobody has taken to run yet.
    unclaimed: Vec<BakeId>,
    /// What EventBridge was told.
    told: Vec<serde_json::Value>,
    /// What it was to be told, whether it took it or not.
    tellings: Vec<serde_json::Value>,
    /// Who makes the calls now.
    caller: String,
    calls: Vec<Call>,
    signed: Vec<Call>,
    faults: BTreeMap<usize, Fault>,
    /// Faults that stay: for which caller and which call.
    staying: BTreeMap<(String, &'static str), Fault>,
    death: Option<Death>,
    /// How long the call that is under way takes.
    delay: Option<SignedDuration>,
    /// How long answers take; none means no time.
    latency: Option<Latency>,
    /// What tells the time, and how much of it answers took.
    stopwatch: Option<(fn() -> Duration, Duration)>,
    /// What answers may show of the past.
    lagging: lagging::Lagging,
    /// Whether somebody else lets time go on while a function sleeps.
    walked: bool,
    /// How long the function that was polled last sleeps.
    nap: Option<SignedDuration>,
    /// The call before which its function stands still, once.
    pause: Option<usize>,
    paused: bool,
}

/// After so long a wait nothing moves any more.
const SETTLED: SignedDuration = SignedDuration::from_mins(5);
/// So often the model of groups and target groups is looked after.
const TURN: SignedDuration = SignedDuration::from_secs(5);

/// How the machines of an image answer the health checks of target groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fitness {
    /// Well.
    Well,
    /// With this status.
    Answers(u16),
    /// Not at all.
    Silent,
    /// Not at all for so many seconds after their launch, then well.
    After(i64),
    /// Well for so many seconds after their launch, then not at all.
    DiesAfter(i64),
}

impl State {
    /// Lets groups and target groups have their turn, and asks the machines that are to be asked.
    fn tick(&mut self) {
        if !self.world.needs_ticks() && !self.world.bin_is_due(self.now) {
            return;
        }
        for due in self.world.due_probes(self.now) {
            let instance = self.world.instances().find(|one| one.id == due.instance);
            let Some(instance) = instance else { continue };
            let running = instance.state == InstanceState::Running;
            let age = self.now.duration_since(instance.launched).as_secs();
            let new = self.world.own_images().any(|image| image.id == instance.image)
                && !self.known.contains(&instance.image);
            let fitness = if new { self.fitness_of_new } else { Fitness::Well };
            let seen = match fitness {
                _ if !running => Seen::Failed,
                Fitness::Well => Seen::Status(200),
                Fitness::Answers(status) => Seen::Status(status),
                Fitness::Silent => Seen::Timeout,
                Fitness::After(seconds) if age < seconds => Seen::Failed,
                Fitness::After(_) => Seen::Status(200),
                Fitness::DiesAfter(seconds) if age < seconds => Seen::Status(200),
                Fitness::DiesAfter(_) => Seen::Failed,
            };
            let (now, id) = (self.now, due.instance.to_string());
            // One that was deregistered since has nothing to be told.
            let _ = self.world.probed(now, &due.group, &id, due.port, seen);
        }
        self.world.tick(self.now);
    }
}

impl Cloud {
    /// An empty account at a moment.
    pub fn new(world: World, hardware: SimulatedHardware, now: Timestamp) -> Self {
        crate::listener::ask_each_time();
        let state = State {
            world,
            hardware,
            now,
            table: BTreeMap::new(),
            objects: BTreeMap::new(),
            parameters: BTreeMap::new(),
            image_parameters: ImageParameters::new(Validation::AT_ONCE),
            takes_every_image: false,
            executions: BTreeMap::new(),
            standings: BTreeMap::new(),
            witnesses: Vec::new(),
            references: Vec::new(),
            pins: Vec::new(),
            fitness_of_new: Fitness::Well,
            known: BTreeSet::new(),
            seen: BTreeMap::new(),
            around: Around::default(),
            unclaimed: Vec::new(),
            told: Vec::new(),
            tellings: Vec::new(),
            caller: String::new(),
            calls: Vec::new(),
            signed: Vec::new(),
            faults: BTreeMap::new(),
            staying: BTreeMap::new(),
            death: None,
            delay: None,
            latency: None,
            stopwatch: None,
            lagging: lagging::Lagging::default(),
            walked: false,
            nap: None,
            pause: None,
            paused: false,
        };
        let stack = StackId::parse("ovenbird/one").unwrap_or_else(|_| unreachable!("a plain name"));
        Self {
            state: RefCell::new(state),
            stack,
            floors: Cell::default(),
            most_builders: Cell::new(20),
            busy: Cell::new(None),
            runners: RefCell::default(),
            signers: OnceCell::new(),
        }
    }

    /// The moment.
    pub fn now(&self) -> Timestamp {
        self.state.borrow().now
    }

    /// Lets time go on.
    pub fn pass(&self, time: SignedDuration) {
        let state = &mut *self.state.borrow_mut();
        let end = state.now + time;
        loop {
            state.tick();
            // What was ordered is begun at the time it was ordered.
            state.hardware.advance(&mut state.world, state.now);
            state.take_valid_parameters();
            for (key, bytes) in state.hardware.take_uploads() {
                state.objects.insert(key, (bytes, state.now));
            }
            if state.now == end {
                return;
            }
            state.keep_past();
            let next = state.hardware.next().map_or(end, |next| next.clamp(state.now, end));
            // Groups and target groups go by the clock, not by orders. In a long wait they have settled soon.
            let left = end.duration_since(state.now);
            let settled = time - left > SETTLED
                && !state.world.auto_scaling_groups().any(|one| one.active_refresh().is_some());
            let turn = state.now + if settled { left.max(TURN) } else { TURN };
            state.now = if state.world.needs_ticks() { next.min(turn) } else { next };
        }
    }

    /// From now on machines do as these would.
    pub fn replace_hardware(&self, hardware: SimulatedHardware) {
        self.state.borrow_mut().hardware = hardware;
    }

    /// Looks at the world, or changes it as a hand from outside.
    pub fn with<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        look(&mut self.state.borrow_mut().world)
    }

    /// Deregisters an image, as a person does who lifts its protection first.
    pub fn deregister(&self, image: &AmiId) {
        let now = self.now();
        self.with(|world| {
            world.unprotect_image(now, image.as_str(), false).expect("an image of this account");
            world.deregister_image(now, image.as_str(), false, false).expect("nothing protects it");
        });
    }

    /// Puts an object, as an operator or a builder does.
    pub fn put(&self, key: &str, bytes: impl Into<Vec<u8>>) {
        let state = &mut *self.state.borrow_mut();
        state.objects.insert(key.to_owned(), (bytes.into(), state.now));
    }

    /// Deletes an object, as a hand from outside does.
    pub fn delete_object(&self, key: &str) {
        self.state.borrow_mut().objects.remove(key);
    }

    /// The same account by the ports of another stack, which has a table of its own.
    #[must_use]
    pub fn of_stack(self, stack: StackId) -> Self {
        self.state.borrow_mut().table.clear();
        Self { stack, ..self }
    }

    /// Puts the table back as it was.
    pub fn restore_table(&self, rows: &[(Row, Index)]) {
        let rows = rows.iter().map(|(row, index)| (row.key.clone(), (row.clone(), index.clone())));
        self.state.borrow_mut().table = rows.collect();
    }

    /// Puts an item into the table, as a hand from outside does.
    pub fn put_item(&self, pk: &str, sk: &str, doc: serde_json::Value) {
        let key = Key { pk: pk.to_owned(), sk: sk.to_owned() };
        let row = Row { key: key.clone(), version: 1, doc };
        self.state.borrow_mut().table.insert(key, (row, Index::default()));
    }

    /// The table as it is, to be put back.
    pub fn table(&self) -> Vec<(Row, Index)> {
        self.state.borrow().table.values().cloned().collect()
    }

    /// Says how an execution stands.
    pub fn stands(&self, bake: &BakeId, execution: Execution) {
        self.state.borrow_mut().standings.insert(bake.clone(), execution);
    }

    /// Forgets an execution, as Step Functions does after 90 days.
    pub fn forget_execution(&self, bake: &BakeId) {
        self.state.borrow_mut().standings.remove(bake);
    }

    /// Says how the machines of images that are made from now on answer.
    pub fn answer_of_new(&self, fitness: Fitness) {
        let state = &mut *self.state.borrow_mut();
        state.known = state.world.own_images().map(|image| image.id.clone()).collect();
        state.fitness_of_new = fitness;
    }

    /// Lets EC2's own look say that something names an image.
    pub fn refer(&self, image: &AmiId, kind: &str, id: &str) {
        let witness = Witness { kind: kind.to_owned(), id: id.to_owned() };
        self.state.borrow_mut().witnesses.push((image.clone(), witness));
    }

    /// Lets something that isn't in the model name an image.
    pub fn name(&self, source: Source, image: &AmiId, kind: Kind, id: &str) {
        self.state.borrow_mut().references.push((source, image.clone(), Reference::new(kind, id)));
    }

    /// Lets something that isn't in the model launch by the number of a launch template's version.
    pub fn pin(&self, source: Source, pin: Pin) {
        self.state.borrow_mut().pins.push((source, pin));
    }

    /// Lets a look say that it saw so many things, as one that was cut short would.
    pub fn pretend_to_see(&self, source: Source, seen: usize) {
        self.state.borrow_mut().seen.insert(source, seen);
    }

    /// Changes what there is of the account beside the model.
    pub fn around(&self, change: impl FnOnce(&mut Around)) {
        change(&mut self.state.borrow_mut().around);
    }

    /// From now on SSM validates image parameters so.
    pub fn validate_parameters(&self, validation: Validation) {
        self.state.borrow_mut().image_parameters.validate(validation);
    }

    /// From now on SSM takes images that are only on record, too.
    pub fn take_every_image(&self) {
        self.state.borrow_mut().takes_every_image = true;
    }

    /// Writes a parameter, as a person does.
    pub fn put_parameter(&self, name: &ParameterName, value: &str) {
        self.state.borrow_mut().parameters.insert(name.clone(), value.to_owned());
    }

    /// From now on it is counted how long answers take by this, so that a measurement can leave the account's part out.
    pub fn time_answers(&self, clock: fn() -> Duration) {
        self.state.borrow_mut().stopwatch = Some((clock, Duration::ZERO));
    }

    /// How long all answers took since then.
    pub fn answers_took(&self) -> Duration {
        self.state.borrow().stopwatch.map_or(Duration::ZERO, |(_, took)| took)
    }

    /// Every call that was made through a port, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.state.borrow().calls.clone()
    }

    /// What was signed for others to call, in order.
    pub fn signed(&self) -> Vec<Call> {
        self.state.borrow().signed.clone()
    }

    /// Every item of the table.
    pub fn rows(&self) -> Vec<Row> {
        self.state.borrow().table.values().map(|(row, _)| row.clone()).collect()
    }

    /// Every parameter.
    pub fn parameters(&self) -> BTreeMap<ParameterName, String> {
        self.state.borrow().parameters.clone()
    }

    /// All that is there, as a text: two moments with the same text are the same, their time aside.
    pub fn dump(&self) -> String {
        let state = self.state.borrow();
        let mut text = state.world.dump();
        for (name, value) in &state.parameters {
            let _ = writeln!(text, "parameter {name} {value}");
        }
        for (row, _) in state.table.values() {
            let _ = writeln!(text, "item {} {} v{} {}", row.key.pk, row.key.sk, row.version, row.doc);
        }
        for name in state.executions.keys() {
            let _ = writeln!(text, "execution {name}");
        }
        // A prune run leaves its plan to be read, whatever it found.
        for key in state.objects.keys().filter(|key| !key.starts_with("prunes/")) {
            let _ = writeln!(text, "object {key}");
        }
        text
    }
}
