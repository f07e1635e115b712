//! A walker for the plain part of the Amazon States Language that we allow ourselves, in virtual time.
//!
//! What it doesn't know is an error, and so is a path that leads nowhere: stricter than AWS, never laxer. Retries
//! wait as long as AWS documents, with the longest jitter. States and history events are counted as AWS bills them.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll, Waker},
};

use crate::{Cloud, Death};
use jiff::{SignedDuration, Timestamp};
use ovenbird_core::{domain::tags::TAG_BAKE, functions, ports::Execution as Standing};
use regex::Regex;
use serde_json::{Value, json};

use super::clock::Clock;

/// Step Functions' limit on what goes from state to state, in bytes.
pub const MOST_BYTES: usize = 262_144;
/// Step Functions' limit on the cause of an execution that fails, in characters.
pub const MOST_CAUSE: usize = 32_768;
/// Step Functions' limit on an execution's history, in events.
pub const MOST_EVENTS: usize = 25_000;

/// How an execution ended.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// Well, with this output.
    Succeeded(Value),
    /// In a state that fails.
    Failed {
        /// The error's name.
        error: String,
        /// What it says.
        cause: String,
    },
    /// It was stopped, or passed its own timeout: no state of it runs any more.
    Lost,
    /// The state machine itself is wrong.
    Broken(String),
}

impl End {
    /// As Step Functions says it.
    pub(super) fn standing(&self) -> Standing {
        match self {
            Self::Succeeded(_) => Standing::Succeeded,
            Self::Failed { .. } | Self::Broken(_) => Standing::Failed,
            Self::Lost => Standing::Stopped { cause: String::new() },
        }
    }
}

/// What an execution cost and did.
#[derive(Debug, Default)]
pub struct Diary {
    /// The states that were entered, as `execution/state#number`.
    pub states: RefCell<Vec<String>>,
    /// Each state entered, and each retry: what a standard workflow is billed by.
    pub transitions: Cell<usize>,
    /// How long functions slept: Lambda bills it.
    pub slept: Cell<SignedDuration>,
    /// The events of each execution's history.
    pub events: RefCell<BTreeMap<String, usize>>,
    /// The largest document that went from state to state, in bytes.
    pub largest: Cell<usize>,
    /// How all stood when a clean-up began.
    pub doors: RefCell<Vec<String>>,
    /// What was there at the beginning of a wait and no record named: were the wait the last thing, it would leak.
    pub unrecorded: RefCell<Vec<String>>,
    /// Whether doors and records are looked at: that takes longer than the walk.
    pub watches: bool,
}

/// A text that is the same for two moments that differ in nothing but their times and the count of writes.
pub fn timeless(text: &str) -> String {
    static TIMES: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z| v[0-9]+ ").unwrap());
    TIMES.replace_all(text, "~").into_owned()
}

impl Diary {
    /// The most events of any execution's history.
    pub fn most_events(&self) -> usize {
        self.events.borrow().values().copied().max().unwrap_or(0)
    }
}

/// What is said of an execution of which a function stood still for longer than it may.
pub const TOO_LONG: &str = "what went on meanwhile took longer than it may take";

/// One execution of a state machine, which is walked state by state.
pub struct Execution<'w> {
    /// Its name, which is its bake's id.
    pub name: String,
    /// What it was started with.
    pub input: Value,
    /// Where it notes what it does.
    pub diary: &'w Diary,
    /// The account that its functions work in.
    pub cloud: &'w Cloud,
    /// What it waits by.
    pub clock: &'w Clock,
    /// What goes on, from its beginning to its end, while a function of it stands still before a call.
    pub meanwhile: &'w dyn Fn(),
}

/// Why a state didn't end well.
enum Stop {
    Caught(String, String),
    End(End),
}

/// Step Functions' own way to EventBridge: no function of ours.
const PUT_EVENTS: &str = "arn:${Partition}:states:::events:putEvents";

type Step<T> = Result<T, Stop>;

fn broken<T>(what: impl Into<String>) -> Step<T> {
    Err(Stop::End(End::Broken(what.into())))
}

impl Execution<'_> {
    /// Walks from the start to an end.
    pub async fn run(self, definition: &Value) -> End {
        let started = self.cloud.now();
        let limit = definition["TimeoutSeconds"].as_i64().expect("every machine of ours has a timeout");
        let deadline = started + SignedDuration::from_secs(limit);
        self.events(1);
        let end = match self.states(definition, self.input.clone(), started, deadline, "").await {
            Ok(output) => End::Succeeded(output),
            Err(Stop::End(end)) => end,
            Err(Stop::Caught(error, cause)) => End::Failed { error, cause },
        };
        self.events(1);
        end
    }

    fn events(&self, count: usize) {
        *self.diary.events.borrow_mut().entry(self.name.clone()).or_default() += count;
    }

    fn states<'a>(
        &'a self,
        machine: &'a Value,
        mut document: Value,
        started: Timestamp,
        deadline: Timestamp,
        inside: &'a str,
    ) -> Pin<Box<dyn Future<Output = Step<Value>> + 'a>> {
        Box::pin(async move {
            let mut name = machine["StartAt"].as_str().unwrap_or_default().to_owned();
            loop {
                if self.cloud.now() >= deadline {
                    return Err(Stop::End(End::Lost));
                }
                let state = &machine["States"][name.as_str()];
                self.diary.transitions.set(self.diary.transitions.get() + 1);
                let bytes = document.to_string().len();
                self.diary.largest.set(self.diary.largest.get().max(bytes));
                if bytes > MOST_BYTES {
                    return broken(format!("{name}: a document of {bytes} bytes"));
                }
                let visit = format!("{}/{inside}{name}#{}", self.name, self.diary.states.borrow().len());
                self.diary.states.borrow_mut().push(visit.clone());
                if self.diary.watches && name.starts_with("CleanUp") {
                    let mut seen = document.clone();
                    // What the first error says changes nothing of what is to be cleaned up.
                    seen.as_object_mut().map(|fields| fields.remove("error"));
                    let door = format!("{name} {seen}\n{}", self.cloud.dump());
                    self.diary.doors.borrow_mut().push(timeless(&door));
                }
                self.events(2);
                if let Some(time) = self.cloud.draw(|latency| latency.draw("transition")) {
                    self.clock.pause(self.cloud, time).await;
                }
                let mut next = state["Next"].as_str().map(str::to_owned);
                match state["Type"].as_str().unwrap_or_default() {
                    "Task" => {
                        let input = match state.get("Parameters") {
                            Some(template) => self.fill(template, &document, started)?,
                            None => document.clone(),
                        };
                        match self.task(&visit, state, input, deadline).await {
                            Ok(output) => document = placed(state, document, output)?,
                            Err(Stop::Caught(error, cause)) => {
                                let Some(catcher) = matching(&state["Catch"], &error) else {
                                    return Err(Stop::Caught(error, cause));
                                };
                                document =
                                    placed(catcher, document, json!({"Error": error, "Cause": cause}))?;
                                next = catcher["Next"].as_str().map(str::to_owned);
                            }
                            Err(end) => return Err(end),
                        }
                    }
                    "Choice" => {
                        let mut way = state["Default"].as_str();
                        for choice in state["Choices"].as_array().into_iter().flatten() {
                            let variable = self.at(&choice["Variable"], &document, started);
                            // AWS raises an error that nothing catches for a missing variable.
                            if variable? == choice["StringEquals"] {
                                way = choice["Next"].as_str();
                                break;
                            }
                        }
                        next = way.map(str::to_owned);
                    }
                    "Wait" => match self.at(&state["SecondsPath"], &document, started)?.as_u64() {
                        Some(seconds) => {
                            if self.diary.watches {
                                self.diary.unrecorded.borrow_mut().extend(self.unrecorded(&name));
                            }
                            self.clock.sleep(self.cloud, seconds).await;
                        }
                        None => return broken(format!("{name}: no seconds to wait")),
                    },
                    "Map" => {
                        let items = self.at(&state["ItemsPath"], &document, started)?;
                        let Value::Array(items) = items else { return broken(format!("{name}: no items")) };
                        let mut outputs = Vec::new();
                        self.events(2 + 2 * items.len());
                        for (number, item) in items.into_iter().enumerate() {
                            let inside = format!("{name}[{number}].");
                            let run = self.states(&state["ItemProcessor"], item, started, deadline, &inside);
                            outputs.push(run.await?);
                        }
                        document = placed(state, document, Value::Array(outputs))?;
                    }
                    "Succeed" => return Ok(document),
                    "Fail" => {
                        let text = |field: &str| match state.get(format!("{field}Path")) {
                            Some(path) => self.at(path, &document, started),
                            None => Ok(state[field].clone()),
                        };
                        let (error, cause) = (text("Error")?, text("Cause")?);
                        let (Some(error), Some(cause)) = (error.as_str(), cause.as_str()) else {
                            return broken(format!("{name}: error and cause are texts"));
                        };
                        if cause.len() > MOST_CAUSE {
                            return broken(format!("{name}: a cause of {} characters", cause.len()));
                        }
                        return Err(Stop::Caught(error.to_owned(), cause.to_owned()));
                    }
                    other => return broken(format!("{name}: no state of ours is a `{other}`")),
                }
                if state["End"] == true && next.is_none() {
                    return Ok(document);
                }
                match next {
                    Some(next) if machine["States"].get(&next).is_some() => name = next,
                    _ => return broken(format!("{name} leads nowhere")),
                }
            }
        })
    }

    /// What this bake made and its record doesn't name.
    fn unrecorded(&self, state: &str) -> Vec<String> {
        let sort = format!("BAKE#{}", self.name);
        let record =
            self.cloud.rows().into_iter().find(|row| row.key.sk == sort).map(|row| row.doc.to_string());
        let record = record.unwrap_or_default();
        let ours = |tags: &ovenbird_sim::Tags| tags.get(TAG_BAKE) == Some(&self.name);
        let made: Vec<String> = self.cloud.with(|world| {
            let instances =
                world.live_instances().filter(|one| ours(&one.tags)).map(|one| one.id.to_string());
            let images = world.own_images().filter(|one| ours(&one.tags)).map(|one| one.id.to_string());
            instances.chain(images).collect()
        });
        let unnamed = made.into_iter().filter(|id| !record.contains(id.as_str()));
        unnamed.map(|id| format!("{id} is not on record in {state}, which waits")).collect()
    }

    /// A task with its retries.
    async fn task(&self, visit: &str, state: &Value, input: Value, deadline: Timestamp) -> Step<Value> {
        let mut tries: BTreeMap<usize, u32> = BTreeMap::new();
        loop {
            self.events(3);
            let (error, cause) = match self.invoke(visit, state, input.clone()).await? {
                Ok(output) => return Ok(output),
                Err(failure) => failure,
            };
            let retriers = state["Retry"].as_array().map(Vec::as_slice).unwrap_or_default();
            let Some((number, retrier)) =
                retriers.iter().enumerate().find(|(_, retrier)| matches(retrier, &error))
            else {
                return Err(Stop::Caught(error, cause));
            };
            let tried = tries.entry(number).or_default();
            if u64::from(*tried) >= retrier["MaxAttempts"].as_u64().unwrap_or(3) {
                return Err(Stop::Caught(error, cause));
            }
            let interval = retrier["IntervalSeconds"].as_u64().unwrap_or(1);
            let rate = retrier["BackoffRate"].as_u64().unwrap_or(2);
            let longest = retrier["MaxDelaySeconds"].as_u64().unwrap_or(u64::MAX);
            let delay = interval.saturating_mul(rate.saturating_pow(*tried)).min(longest);
            *tried += 1;
            self.diary.transitions.set(self.diary.transitions.get() + 1);
            self.clock.sleep(self.cloud, delay).await;
            if self.cloud.now() >= deadline {
                return Err(Stop::End(End::Lost));
            }
        }
    }

    /// One call of a function.
    async fn invoke(
        &self,
        visit: &str,
        state: &Value,
        input: Value,
    ) -> Step<Result<Value, (String, String)>> {
        let function = state["Resource"].as_str().unwrap_or_default();
        if function != PUT_EVENTS && self.cloud.functions_are_busy() {
            return Ok(Err(("Lambda.TooManyRequestsException".into(), "Rate Exceeded.".into())));
        }
        if function != PUT_EVENTS
            && let Some(time) = self.cloud.draw(|latency| latency.start_of(function))
        {
            self.clock.pause(self.cloud, time).await;
        }
        let (cloud, now) = (self.cloud, self.cloud.now());
        let mut work: Pin<Box<dyn Future<Output = ovenbird_core::Result<Value>> + '_>> = match function {
            "${LaunchBuilderArn}" => Box::pin(functions::launch_builder(cloud, input, now)),
            "${PollReadinessArn}" => Box::pin(functions::poll_readiness(cloud, input, now)),
            "${RunValidationArn}" => Box::pin(functions::run_validation(cloud, input, now)),
            "${SnapshotArn}" => Box::pin(functions::snapshot(cloud, input, now)),
            "${PromoteArn}" => Box::pin(functions::promote(cloud, input, now)),
            "${PruneArn}" => Box::pin(functions::prune(cloud, input, now)),
            PUT_EVENTS => Box::pin(async move {
                let entries = input["Entries"].as_array().cloned().unwrap_or_default();
                cloud.put_events(&entries).await.map(|()| json!({"FailedEntryCount": 0}))
            }),
            other => return broken(format!("no function is {other}")),
        };
        let caller = match function {
            PUT_EVENTS => format!("{visit} states"),
            function => format!("{visit} {}", function.trim_matches(['$', '{', '}'])),
        };
        let answer = loop {
            // Said at each turn: the others had theirs meanwhile.
            cloud.enter(&caller);
            let mut context = Context::from_waker(Waker::noop());
            if let Poll::Ready(answer) = cloud.walk(|| work.as_mut().poll(&mut context)) {
                break answer;
            }
            if let Some(time) = cloud.take_nap() {
                self.diary.slept.set(self.diary.slept.get() + time);
                self.clock.pause(cloud, time).await;
                continue;
            }
            if cloud.take_pause() {
                (self.meanwhile)();
                let most = state["TimeoutSeconds"].as_i64().unwrap_or_default();
                if cloud.now().duration_since(now) >= SignedDuration::from_secs(most) {
                    return broken(format!("{visit}: {TOO_LONG}"));
                }
                continue;
            }
            match (cloud.take_death(), cloud.take_delay()) {
                (Some(Death::Function), _) => {
                    return Ok(Err((
                        "Lambda.Unknown".into(),
                        r#"{"errorMessage": "exited without an answer"}"#.into(),
                    )));
                }
                (Some(Death::Execution), _) => return Err(Stop::End(End::Lost)),
                (None, Some(time)) => self.clock.pause(cloud, time).await,
                (None, None) => return broken(format!("{visit} waits for nothing")),
            }
        };
        Ok(answer.map_err(|error| {
            let cause = json!({"errorType": error.name(), "errorMessage": error.told()}).to_string();
            (error.name().to_owned(), cause)
        }))
    }

    /// The value at a path of the document or of the context.
    fn at(&self, path: &Value, document: &Value, started: Timestamp) -> Step<Value> {
        let Some(path) = path.as_str() else { return broken("a path is missing") };
        match path {
            "$$.Execution.Name" => return Ok(json!(self.name)),
            "$$.Execution.StartTime" => return Ok(json!(started)),
            "$" => return Ok(document.clone()),
            _ => {}
        }
        let mut value = document;
        for part in path.strip_prefix("$.").unwrap_or("").split('.') {
            match value.get(part) {
                Some(inner) => value = inner,
                None => return broken(format!("nothing at {path} of {document}")),
            }
        }
        Ok(value.clone())
    }

    fn fill(&self, template: &Value, document: &Value, started: Timestamp) -> Step<Value> {
        let Value::Object(fields) = template else { return Ok(template.clone()) };
        let mut filled = serde_json::Map::new();
        for (name, value) in fields {
            match name.strip_suffix(".$") {
                Some(name) => filled.insert(name.to_owned(), self.at(value, document, started)?),
                None => filled.insert(name.clone(), self.fill(value, document, started)?),
            };
        }
        Ok(Value::Object(filled))
    }
}

/// What a state or a catch gives on, put where its `ResultPath` says.
fn placed(state: &Value, mut document: Value, result: Value) -> Step<Value> {
    match state.get("ResultPath") {
        None => Ok(result),
        Some(Value::Null) => Ok(document),
        Some(path) => {
            let field = path.as_str().and_then(|path| path.strip_prefix("$.")).unwrap_or_default();
            if field.is_empty() || field.contains('.') {
                return broken(format!("no ResultPath of ours is {path}"));
            }
            match document.as_object_mut() {
                Some(fields) => fields.insert(field.to_owned(), result),
                None => return broken("a result has no document to be put into"),
            };
            Ok(document)
        }
    }
}

fn matches(clause: &Value, error: &str) -> bool {
    let names = clause["ErrorEquals"].as_array().map(Vec::as_slice).unwrap_or_default();
    names.iter().any(|name| name == error || name == "States.ALL" || name == "States.TaskFailed")
}

fn matching<'v>(clauses: &'v Value, error: &str) -> Option<&'v Value> {
    clauses.as_array()?.iter().find(|clause| matches(clause, error))
}
