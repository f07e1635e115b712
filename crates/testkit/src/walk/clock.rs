//! Executions side by side, in the cloud's own time.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, Waker},
};

use crate::Cloud;
use jiff::{SignedDuration, Timestamp};
use ovenbird_core::{domain::id::BakeId, ports::Execution as Standing};
use serde_json::Value;

use super::machine::End;

/// Who waits until when.
#[derive(Debug, Default)]
pub struct Clock(RefCell<Vec<Timestamp>>);

impl Clock {
    /// Waits so many seconds in the cloud's own time.
    pub async fn sleep(&self, cloud: &Cloud, seconds: u64) {
        self.pause(cloud, SignedDuration::from_secs(i64::try_from(seconds).unwrap())).await;
    }

    /// Waits in the cloud's own time.
    pub async fn pause(&self, cloud: &Cloud, time: SignedDuration) {
        let until = cloud.now() + time;
        poll_fn(|_| {
            if cloud.now() >= until {
                return Poll::Ready(());
            }
            self.0.borrow_mut().push(until);
            Poll::Pending
        })
        .await;
    }
}

/// An execution that runs.
pub type Run<'w> = Pin<Box<dyn Future<Output = End> + 'w>>;

/// Runs executions side by side until all have ended, with those that they start.
pub fn run_all<'w>(
    cloud: &Cloud,
    clock: &Clock,
    runs: Vec<(String, Run<'w>)>,
    start: impl Fn(String, Value) -> Run<'w>,
) -> BTreeMap<String, End> {
    let stands = |name: &str, execution| {
        cloud.stands(&BakeId::parse(name).expect("executions are named as bakes are"), execution);
    };
    let mut runs: Vec<_> = runs.into_iter().map(|(name, run)| (name, run, None)).collect();
    runs.iter().for_each(|(name, _, _)| stands(name, Standing::Running));
    let mut context = Context::from_waker(Waker::noop());
    loop {
        clock.0.borrow_mut().clear();
        for (name, run, end) in runs.iter_mut().filter(|(_, _, end)| end.is_none()) {
            if let Poll::Ready(ended) = run.as_mut().poll(&mut context) {
                stands(name, ended.standing());
                *end = Some(ended);
            }
        }
        let started = cloud.take_executions();
        if !started.is_empty() {
            let started = started.into_iter().map(|(name, input)| (name.to_string(), input));
            for (name, input) in started {
                stands(&name, Standing::Running);
                runs.push((name.clone(), start(name, input), None));
            }
            continue;
        }
        let Some(next) = clock.0.borrow().iter().min().copied() else {
            let ended = |end: Option<End>| end.expect("who doesn't wait has ended");
            return runs.into_iter().map(|(name, _, end)| (name, ended(end))).collect();
        };
        cloud.pass(next.duration_since(cloud.now()));
    }
}
