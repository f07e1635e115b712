//! What most pages show, read once for all of them: every pipeline's state and newest bakes, side by side.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use futures::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use ovenbird_core::{
    Error, Result,
    domain::{bake::Bake, id::BakeId},
    ports::{Execution, Workflow},
    store::Ledger,
    views::status::{self, Fleet, PipelineStatus, RECENT, Records},
};

use crate::{Account, parameters::Memory, traffic::Traffic};

/// How many questions are under way at once.
const AT_ONCE: usize = 16;

/// How long what was read is good for another page: who clicks through pages, or leaves one open, asks the account this
/// often. Step Functions refills `ListExecutions` by 2 a second in most Regions, and this takes less than a tenth of it.
pub const FRESH: SignedDuration = SignedDuration::from_secs(5);

/// Of how many bakes on their way the execution is looked at: a tenth of the 250 that Step Functions lets an account
/// describe at once.
const MOST_RUNNING: usize = 25;

/// How long it is believed that an execution still runs.
const RUNS: SignedDuration = SignedDuration::from_mins(1);

/// Something that could not be read. The page shows it where it would else show nothing.
#[derive(Debug, Clone)]
pub struct Problem {
    /// What is missing on the page for it.
    pub of: String,
    /// Why.
    pub why: String,
    /// What to do about it.
    pub fix: String,
    /// What kept the account's answer away, where there was none.
    pub no_answer: Option<String>,
}

impl Problem {
    /// What is missing because of an error.
    pub fn new(of: impl Into<String>, error: &Error) -> Self {
        // What the SDK was about is of no help to anybody.
        let cause = |text: &str| text.rsplit("client error (Connect): ").next().unwrap_or(text).to_owned();
        let no_answer = error.no_answer().map(cause);
        Self { of: of.into(), why: error.chain(), fix: error.hint(), no_answer }
    }
}

/// A bake that runs by its record alone.
#[derive(Debug, Clone)]
pub struct Dead {
    /// The bake.
    pub bake: BakeId,
    /// What is wrong with it.
    pub what: &'static str,
    /// The command that fixes it.
    pub fix: String,
}

/// What was read at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// When.
    pub at: Timestamp,
    /// How each pipeline stands, by name.
    pub pipelines: Vec<PipelineStatus>,
    /// The newest bakes of each pipeline, the newest first.
    pub bakes: Vec<Bake>,
    /// The machines, by their image.
    pub fleet: Fleet,
    /// Bakes that failed before they had a record.
    pub early: Vec<(BakeId, Timestamp)>,
    /// Bakes whose execution is over, and that run by their record.
    pub dead: Vec<Dead>,
    /// What could not be read.
    pub problems: Vec<Problem>,
}

/// An account, and what was read of it last.
#[derive(Debug)]
pub struct Reader<A> {
    /// The account.
    pub account: A,
    last: RefCell<Option<Rc<Snapshot>>>,
    looked: Looked,
    parameters: Memory,
    /// What load balancers carried.
    pub traffic: Traffic,
}

/// When the execution of a bake on its way was looked at, and whether it is dead.
type Looked = RefCell<BTreeMap<BakeId, (Timestamp, Option<Dead>)>>;

impl<A: Account> Reader<A> {
    /// Nothing is read yet. It reads for pages that are looked at: what is many is read in turn.
    pub fn new(account: A) -> Self {
        let (last, looked, traffic) = (RefCell::default(), Looked::default(), Traffic::default());
        Self { account, last, looked, parameters: Memory::in_turn(), traffic }
    }

    /// The same for pages that are made once: nothing is left for later.
    pub fn once(account: A) -> Self {
        Self { parameters: Memory::whole(), ..Self::new(account) }
    }

    /// What is there at this moment, or was a moment ago.
    pub async fn snapshot(&self, now: Timestamp) -> Rc<Snapshot> {
        let last = self.last.borrow().clone();
        if let Some(last) = last.filter(|last| now.duration_since(last.at) < FRESH) {
            return last;
        }
        let new = Rc::new(read(self, now).await);
        *self.last.borrow_mut() = Some(new.clone());
        new
    }

    /// What was read is not good any more: something was changed.
    pub fn forget(&self) {
        self.last.borrow_mut().take();
    }
}

/// Asks for each of many, several at once; gives the answers in their order.
pub async fn each<T, A>(all: impl IntoIterator<Item = T>, ask: impl AsyncFn(T) -> A) -> Vec<A> {
    stream::iter(all).map(|one| ask(one)).buffered(AT_ONCE).collect().await
}

async fn read(reader: &Reader<impl Account>, now: Timestamp) -> Snapshot {
    let Reader { account, looked, .. } = reader;
    let cloud = account.cloud();
    let ledger = Ledger(cloud);
    let mut problems = Vec::new();
    let pipelines = async {
        let names = ledger.pipelines(cloud).await?;
        let read = each(names, async |name| (status::records(cloud, &name).await, name)).await;
        Ok::<_, Error>(read)
    };
    let (pipelines, fleet, failed, running) =
        futures::join!(pipelines, account.fleet(), account.failed(), ledger.running());
    let mut all: Vec<Records> = Vec::new();
    match pipelines {
        Ok(found) => {
            for (records, name) in found {
                match records {
                    Ok(records) => all.push(records),
                    Err(error) => problems.push(Problem::new(format!("pipeline {name}"), &error)),
                }
            }
        }
        Err(error) => problems.push(Problem::new("all pipelines", &error)),
    }
    let mut or_none = |of: &str, error: Error| problems.push(Problem::new(of, &error));
    let fleet = fleet.unwrap_or_else(|error| {
        or_none("the machines", error);
        Fleet::new()
    });
    let failed = failed.unwrap_or_else(|error| {
        or_none("bakes that failed before they had a record", error);
        Vec::new()
    });
    let (running, unreadable) = running.unwrap_or_else(|error| {
        or_none("which bakes are dead", error);
        Default::default()
    });
    for error in unreadable {
        or_none("the record of a running bake", error);
    }
    let dead = dead(cloud, &running, looked, now).await.unwrap_or_else(|error| {
        or_none("which bakes are dead", error);
        Vec::new()
    });
    let followers = status::followers(cloud, &all).await.unwrap_or_else(|error| {
        or_none("which parameters follow a channel", error);
        Vec::new()
    });
    let (values, lost) = reader.parameters.values(cloud, &followers, now).await;
    if let Some(error) = lost {
        or_none("what parameters say", error);
    }
    let pipelines = status::status_by(cloud, &all, &fleet, &followers, &values, now).await;
    let pipelines = pipelines.unwrap_or_else(|error| {
        or_none("how the pipelines stand", error);
        Vec::new()
    });
    let early = early(&all, failed);
    let mut bakes: Vec<Bake> = all.iter().flat_map(Records::bakes).cloned().collect();
    bakes.sort_by_key(|bake| std::cmp::Reverse(bake.spec.started));
    Snapshot { at: now, pipelines, bakes, fleet, early, dead, problems }
}

/// The bakes whose executions are over, and whose records say that they run. Each is looked at once a minute.
async fn dead(cloud: &impl Workflow, running: &[Bake], looked: &Looked, now: Timestamp) -> Result<Vec<Dead>> {
    looked.borrow_mut().retain(|id, (at, _)| {
        now.duration_since(*at) < RUNS && running.iter().any(|bake| bake.spec.id == *id)
    });
    let known: Vec<BakeId> = looked.borrow().keys().cloned().collect();
    let new = running.iter().map(|bake| &bake.spec.id).filter(|id| !known.contains(id));
    let asked = each(new.take(MOST_RUNNING), async |id: &BakeId| (id, cloud.bake_execution(id).await));
    for (id, execution) in asked.await {
        looked.borrow_mut().insert(id.clone(), (now, died(id, execution?.as_ref())));
    }
    Ok(looked.borrow().values().filter_map(|(_, dead)| dead.clone()).collect())
}

fn died(id: &BakeId, execution: Option<&Execution>) -> Option<Dead> {
    let (what, fix) = match execution {
        Some(Execution::Succeeded) => (
            "its execution succeeded, but its record says that it runs: the table was restored to an earlier time",
            format!("ovenbird show {id}"),
        ),
        Some(Execution::Failed | Execution::Stopped { .. } | Execution::TimedOut) => {
            ("it is dead: its execution ended without its clean-up", format!("ovenbird clean {id}"))
        }
        Some(Execution::Running) | None => return None,
    };
    Some(Dead { bake: id.clone(), what, fix })
}

/// Those of the failed executions that left no record. One that is older than the bakes that were read may have one.
fn early(all: &[Records], failed: Vec<(BakeId, Timestamp)>) -> Vec<(BakeId, Timestamp)> {
    let full = all.iter().map(Records::bakes).filter(|bakes| bakes.len() >= RECENT);
    let since = full.filter_map(|bakes| bakes.last()).map(|bake| bake.spec.started).max();
    let known = |id: &BakeId| all.iter().flat_map(Records::bakes).any(|bake| bake.spec.id == *id);
    let new = failed.into_iter().filter(|(id, at)| since.is_none_or(|since| *at > since) && !known(id));
    new.collect()
}
