//! When machines behind a target group were launched, became healthy and fell sick, as somebody beside Ovenbird sees it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde_json::Value;

use crate::clients::Local;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(400);

/// A machine behind the target group.
#[derive(Debug, Clone, Copy)]
pub struct Life {
    /// When EC2 launched it.
    pub launched: Timestamp,
    /// When its target group was seen to find it healthy.
    pub healthy: Option<Timestamp>,
    /// When its target group was seen to find it unhealthy.
    pub sick: Option<Timestamp>,
}

/// Looks until it is asked what it saw.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<BTreeMap<String, Life>>>,
}

impl Watch {
    /// Begins to look at a target group.
    pub fn start(local: &Local, target_group: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (ends, local, group) = (Arc::clone(&stop), local.clone(), target_group.to_owned());
        Self { stop, thread: thread::spawn(move || look(&local, &group, &ends)) }
    }

    /// Each machine that was there meanwhile, by its id.
    pub fn stop(self) -> Result<BTreeMap<String, Life>> {
        self.stop.store(true, Ordering::SeqCst);
        match self.thread.join() {
            Ok(seen) => seen,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

fn look(local: &Local, group: &str, ends: &AtomicBool) -> Result<BTreeMap<String, Life>> {
    let mut lives: BTreeMap<String, Life> = BTreeMap::new();
    while !ends.load(Ordering::SeqCst) {
        let found = local.aws(&["elbv2", "describe-target-health", "--target-group-arn", group])?;
        for target in found["TargetHealthDescriptions"].as_array().into_iter().flatten() {
            let id =
                target.pointer("/Target/Id").and_then(Value::as_str).context("a target without an id")?;
            if !lives.contains_key(id) {
                let life = Life { launched: launched(local, id)?, healthy: None, sick: None };
                lives.insert(id.to_owned(), life);
            }
            let Some(life) = lives.get_mut(id) else { continue };
            let seen = match target.pointer("/TargetHealth/State").and_then(Value::as_str) {
                Some("healthy") => &mut life.healthy,
                Some("unhealthy") => &mut life.sick,
                _ => continue,
            };
            seen.get_or_insert(Timestamp::now());
        }
        thread::sleep(LOOK);
    }
    Ok(lives)
}

fn launched(local: &Local, id: &str) -> Result<Timestamp> {
    let found = local.aws(&["ec2", "describe-instances", "--instance-ids", id])?;
    let time = found.pointer("/Reservations/0/Instances/0/LaunchTime").and_then(Value::as_str);
    Ok(time.context("no launch time")?.parse()?)
}

/// How long a rollout took beyond its machines' boots and what its recipe says to watch and to soak, in seconds.
///
/// The rollout is as `ovenbird rollout --json` shows it. A boot is from the launch until the target group finds it healthy.
pub fn overhead(rollout: &Value, lives: &BTreeMap<String, Life>, watched: Duration) -> Result<f64> {
    let timeline = rollout["timeline"].as_array().context("no timeline")?;
    let mut stage = at(&rollout["began"])?;
    let (begun, mut ended, mut machines) = (stage, stage, 0.0);
    for entry in timeline {
        ended = at(&entry["at"])?;
        let passed = entry["what"]
            .as_str()
            .is_some_and(|what| what.starts_with("stage ") && what.ends_with(" passed"));
        if passed {
            let of_stage = || lives.values().filter(|life| stage <= life.launched && life.launched <= ended);
            let first = of_stage().map(|life| life.launched).min().context("no machine of a stage")?;
            let last = of_stage().filter_map(|life| life.healthy).max().context("no healthy machine")?;
            machines += last.duration_since(first).as_secs_f64();
            stage = ended;
        }
    }
    Ok(ended.duration_since(begun).as_secs_f64() - machines - watched.as_secs_f64())
}

fn at(moment: &Value) -> Result<Timestamp> {
    Ok(moment.as_str().context("no moment")?.parse()?)
}
