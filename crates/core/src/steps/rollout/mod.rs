//! rollout: brings the machines that follow a channel to its new image, watches them, and brings them back if they are sick.
//!
//! The record in the table is the truth, and each step reads it first. An execution carries only the rollout's name, the
//! number of the run, and where to go on. So an execution that died is followed by another that goes on where it was.
//!
//! **An unproven image is nobody's default.** Auto Scaling groups get the image stage by stage. Only when all of them serve
//! from it does the channel move, and with it the launch template's default version and the parameter.

mod begin;
mod look;
mod pair;
mod revert;
mod settle;
mod stage;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        bake::{BakeSpec, Next},
        destination::Destination,
        digest::token,
        error::{Error, Result},
        event::Event,
        id::{AmiId, BakeId, GroupName, PipelineName, RolloutId},
        rollout::{GroupState, Outcome, Phase, Rollout, RolloutSpec, Seen},
    },
    ports::{Balancers, Bucket, Groups, Images, Parameters, Stack, Table, Templates, Workflow},
    steps::events,
    store::{Ledger, Versioned},
};

pub use self::{
    begin::{Preflight, begin, preflight},
    look::look,
    revert::revert,
    settle::{finish, settle},
    stage::start_stage,
};

/// What a rollout works with.
pub trait RolloutPorts:
    Groups + Balancers + Templates + Images + Parameters + Table + Workflow + Bucket + Stack
{
}

impl<C: Groups + Balancers + Templates + Images + Parameters + Table + Workflow + Bucket + Stack> RolloutPorts
    for C
{
}

/// What goes from state to state of a rollout's execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutDocument {
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The rollout.
    pub rollout: RolloutId,
    /// The number of this execution among those of the rollout, from 1.
    pub run: u32,
    /// Where the state machine goes next; it begins without.
    #[serde(default)]
    pub next: Option<Next<To>>,
    /// How often this execution has waited: its history may have 25,000 events.
    #[serde(default)]
    pub waits: u32,
    /// How the rollout stands, for whoever looks at the execution.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stands: String,
    /// What EventBridge is told once the rollout has ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
}

/// The ways that the rollout's state machine knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum To {
    /// Start the next stage.
    Stage,
    /// Wait, then look at the stage.
    Look,
    /// Move the channel and what follows it.
    Settle,
    /// Wait, then look whether all that follows the channel has the image.
    Settled,
    /// Bring the groups back.
    Revert,
    /// Wait, then look whether they are back.
    Reverted,
    /// It has ended: tell the channel, and start what comes next.
    Finish,
    /// Another execution goes on.
    HandOver,
    /// A person paused it, and no execution runs meanwhile.
    Pause,
    /// The same, because the recipe asks for a person's approval: somebody is told.
    Ask,
    /// It ended well.
    Done,
    /// The same, and a parameter does not follow the channel.
    Behind,
    /// All is as before, because the image was bad.
    Bad,
    /// A person wanted an end: all is as before, or left as it stands.
    Aborted,
    /// Nothing was changed.
    Refused,
}

/// Between two looks at a stage, in seconds. A sick instance is seen after that at the latest.
const LOOK: u32 = 5;
/// Between two looks while a rollout soaks or goes back, in seconds.
const LATER: u32 = 15;
/// So often one execution waits at most.
const MOST_WAITS: u32 = 2_000;

impl RolloutDocument {
    /// What an execution of a rollout is started with.
    pub fn new(rollout: &Rollout) -> Self {
        Self {
            pipeline: rollout.spec.to.pipeline.clone(),
            rollout: rollout.spec.id.clone(),
            run: rollout.progress.run,
            next: None,
            waits: 0,
            stands: String::new(),
            events: Vec::new(),
        }
    }

    fn go(mut self, rollout: &Rollout, to: To, cloud: &impl Stack) -> Self {
        self.stands = rollout.progress.phase.as_str().to_owned();
        self.next = Some(Next { to, seconds: 0 });
        self.events = match to {
            // Before the channel is told: from then on no execution comes by here again.
            To::Finish => vec![events::of_rollout(rollout)],
            To::Ask => vec![events::of_question(rollout, cloud.stack())],
            To::Stage
            | To::Look
            | To::Settle
            | To::Settled
            | To::Revert
            | To::Reverted
            | To::HandOver
            | To::Pause
            | To::Done
            | To::Behind
            | To::Bad
            | To::Aborted
            | To::Refused => Vec::new(),
        };
        self
    }

    fn wait(mut self, rollout: &Rollout, to: To, seconds: u32) -> Self {
        self.stands = format!("{}: {}", rollout.progress.phase.as_str(), rollout.progress.awaits);
        self.next = Some(Next { to, seconds });
        self.waits += 1;
        self
    }
}

/// The rollout that a bake asks for: the same one however often it asks.
pub fn of_bake(spec: &BakeSpec, image: AmiId) -> RolloutSpec {
    let to = spec.destination();
    RolloutSpec {
        id: rollout_id(&to, &spec.id),
        image,
        digest: spec.digest.clone(),
        bake: spec.id.clone(),
        order: spec.order(),
        by: format!("bake {}", spec.id),
        why: None,
        proven: false,
        to,
    }
}

/// A rollout's id: its channel, and a number made of what asked for it.
pub fn rollout_id(to: &Destination, asker: &BakeId) -> RolloutId {
    let id = format!("{}-{}", to.channel, &token(asker, &to.name())[..12]);
    RolloutId::parse(&id).unwrap_or_else(|_| unreachable!("a channel's name is at most 40 plain characters"))
}

/// Starts the execution that drives a rollout on; one that runs already is no error.
pub async fn start(rollout: &Rollout, workflow: &impl Workflow) -> Result<()> {
    let input = serde_json::to_value(RolloutDocument::new(rollout))
        .unwrap_or_else(|_| unreachable!("our documents have string keys only"));
    workflow.start_rollout(&execution(rollout), &input).await
}

/// Starts a rollout that has waited for another one, if nothing of it was done yet.
pub async fn start_waiting(
    pipeline: &PipelineName,
    id: &RolloutId,
    cloud: &(impl Table + Workflow),
) -> Result<()> {
    match Ledger(cloud).rollout(pipeline, id).await? {
        Some(rollout) if rollout.progress.phase == Phase::Preflight => start(&rollout, cloud).await,
        Some(_) | None => Ok(()),
    }
}

/// The name of the execution that drives a rollout.
pub fn execution(rollout: &Rollout) -> BakeId {
    BakeId::parse(&format!("{}-{}", rollout.spec.id, rollout.progress.run))
        .unwrap_or_else(|_| unreachable!("a rollout's id leaves room for a number"))
}

/// The rollout's record, for a function of the execution that drives it.
async fn resume(document: &RolloutDocument, table: &impl Table) -> Result<Versioned<Rollout>> {
    let rollout = Ledger(table).rollout(&document.pipeline, &document.rollout).await?;
    let what = || format!("rollout `{}`", document.rollout);
    let rollout = rollout
        .ok_or_else(|| Error::bad_input(what(), "has no record", "Start rollouts with `ovenbird promote`"))?;
    if rollout.progress.run != document.run {
        return Err(Error::bad_input(
            what(),
            format!("is driven by its execution {} now, and this is {}", rollout.progress.run, document.run),
            "Nothing to do: the other execution goes on",
        ));
    }
    Ok(rollout)
}

/// Waits, or lets another execution go on when this one has waited often: a wait and a look are nine events of its
/// history, which may have 25,000.
async fn wait(
    document: RolloutDocument,
    mut rollout: Versioned<Rollout>,
    (to, seconds): (To, u32),
    cloud: &(impl Stack + Table + Workflow),
) -> Result<RolloutDocument> {
    let hands_over = document.waits >= MOST_WAITS;
    if hands_over {
        rollout.progress.run += 1;
    }
    Ledger(cloud).save_rollout(&mut rollout).await?;
    if !hands_over {
        return Ok(document.wait(&rollout, to, seconds));
    }
    start(&rollout, cloud).await?;
    Ok(document.go(&rollout, To::HandOver, cloud))
}

/// Where an execution goes that finds a rollout in this phase.
fn way(rollout: &Rollout) -> To {
    match rollout.progress.phase {
        Phase::Preflight | Phase::Stage => To::Stage,
        Phase::Watch | Phase::Keeping => To::Look,
        Phase::Paused if rollout.awaits_approval() => To::Ask,
        Phase::Paused => To::Pause,
        Phase::Settling => To::Settle,
        Phase::Reverting => To::Revert,
        Phase::Ended => To::Finish,
    }
}

/// How an execution ends, by the rollout's outcome.
fn end(rollout: &Rollout) -> To {
    match rollout.progress.outcome {
        Some(Outcome::Settled) if rollout.progress.behind.is_some() => To::Behind,
        Some(Outcome::Settled) => To::Done,
        Some(Outcome::Reverted) => To::Bad,
        Some(Outcome::Aborted | Outcome::Left) => To::Aborted,
        Some(Outcome::Refused) | None => To::Refused,
    }
}

/// Looks at a group and all that watches over it.
///
/// # Errors
/// When there is no such group.
pub async fn see(name: &GroupName, alarms: &[String], cloud: &impl Groups, now: Timestamp) -> Result<Seen> {
    find(name, alarms, cloud, now).await?.ok_or_else(|| {
        Error::bad_input(
            format!("Auto Scaling group `{name}`"),
            "does not exist",
            "Correct `groups` in the recipe's `[promote]`",
        )
    })
}

/// The same; none when there is no such group.
async fn find(
    name: &GroupName,
    alarms: &[String],
    cloud: &impl Groups,
    now: Timestamp,
) -> Result<Option<Seen>> {
    // Before the group: all that a refresh did which had ended by now is seen in the group. The other way round, one that
    // ends between both answers would have done nothing. Of a group that is gone it is an error, which says nothing then.
    let refresh = cloud.newest_refresh(name).await;
    let Some(group) = cloud.group(name).await? else { return Ok(None) };
    let refresh = refresh?;
    let mut targets = Vec::new();
    for arn in &group.target_groups {
        targets.extend(cloud.targets(arn).await?);
    }
    let alarms = if alarms.is_empty() { Vec::new() } else { cloud.alarms(alarms).await? };
    Ok(Some(Seen { at: now, group, refresh, targets, alarms, failed_launch: None }))
}

/// The group that the rollout works on, by its place in the list.
fn at_work(rollout: &Rollout) -> Option<usize> {
    let (group, _) = rollout.progress.place(&rollout.spec.to.policy);
    (group < rollout.progress.groups.len()).then_some(group)
}

/// A group of the rollout, which must be there.
fn group(rollout: &Rollout, place: usize) -> Result<&GroupState> {
    rollout.progress.groups.get(place).ok_or_else(|| {
        Error::bad_input(
            format!("rollout `{}`", rollout.spec.id),
            format!("has no group number {}", place + 1),
            "Deploy functions and state machine of one version",
        )
    })
}

/// What `pick_up` did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PickedUp {
    /// The rollouts for which an execution was started.
    pub started: Vec<RolloutId>,
}

/// Starts an execution for each rollout that is under way and has none: it died with its Region, somebody stopped it, or
/// it never began. It goes on where the other was.
pub async fn pick_up(cloud: &impl RolloutPorts, now: Timestamp) -> Result<PickedUp> {
    let ledger = Ledger(cloud);
    let mut picked = PickedUp::default();
    for pipeline in ledger.pipelines(cloud).await? {
        for channel in ledger.channels(&pipeline).await? {
            let Some(rolling) = channel.rolling else { continue };
            let Some(rollout) = ledger.rollout(&pipeline, &rolling.rollout).await? else { continue };
            if drive(rollout, cloud, now).await? {
                picked.started.push(rolling.rollout);
            }
        }
    }
    Ok(picked)
}

/// Starts an execution for a rollout, if none runs and it doesn't wait for a person, or waits no longer. Says whether it
/// did.
async fn drive(mut rollout: Versioned<Rollout>, cloud: &impl RolloutPorts, now: Timestamp) -> Result<bool> {
    if rollout.progress.phase == Phase::Paused {
        if rollout.approval_ends().is_none_or(|ends| now < ends) {
            return Ok(false);
        }
        rollout.progress.run += 1;
        revert::expire(&mut rollout, now);
        Ledger(cloud).save_rollout(&mut rollout).await?;
        start(&rollout, cloud).await?;
        return Ok(true);
    }
    match cloud.rollout_execution(&execution(&rollout)).await? {
        Some(execution) if !execution.is_over() => return Ok(false),
        // The first one was never started.
        None if rollout.progress.phase == Phase::Preflight => {}
        Some(_) | None => {
            rollout.progress.run += 1;
            rollout.progress.note(now, "its execution had ended: another one goes on");
            Ledger(cloud).save_rollout(&mut rollout).await?;
        }
    }
    start(&rollout, cloud).await?;
    Ok(true)
}
