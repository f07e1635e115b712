//! A person steers a rollout that is under way: pause, resume, skip, abort, leave.

use jiff::Timestamp;

use super::promotion::channel;
use crate::{
    domain::{
        error::{Error, Result},
        id::{ChannelName, PipelineName},
        rollout::{Phase, Rollout, Wish},
    },
    ports::{Table, Workflow},
    steps::rollout::{execution, start},
    store::{Ledger, Versioned, among_others},
};

/// The rollout of a channel that is under way.
///
/// # Errors
/// When none is.
pub async fn current(
    pipeline: &PipelineName,
    name: &ChannelName,
    table: &impl Table,
) -> Result<Versioned<Rollout>> {
    let none = || {
        Error::bad_input(
            format!("channel `{pipeline}/{name}`"),
            "has no rollout under way",
            format!("See what was: `ovenbird history {pipeline}`"),
        )
    };
    let rolling = channel(pipeline, name, table).await?.rolling.ok_or_else(none)?;
    Ledger(table).rollout(pipeline, &rolling.rollout).await?.ok_or_else(none)
}

/// Says what is wanted of a rollout. It is done at the rollout's next look, or at once where it is paused.
///
/// # Errors
/// When no rollout is under way, or it goes back already.
pub async fn wish(
    pipeline: &PipelineName,
    name: &ChannelName,
    wish: Wish,
    cloud: &(impl Table + Workflow),
    now: Timestamp,
) -> Result<Rollout> {
    let wished = among_others(async || {
        let mut rollout = current(pipeline, name, cloud).await?;
        let problem = match (rollout.progress.phase, wish) {
            (Phase::Reverting, Wish::Leave) => None,
            (Phase::Reverting, Wish::Pause | Wish::Skip | Wish::Abort) => Some("goes back already"),
            (Phase::Settling | Phase::Ended, _) => Some("is at its end"),
            (_, Wish::Leave) => Some("does not go back: what can be brought back is aborted, not left"),
            (Phase::Keeping, Wish::Pause) => Some("has no stage left to pause before"),
            (Phase::Preflight | Phase::Stage | Phase::Watch | Phase::Paused | Phase::Keeping, _) => None,
        };
        if let Some(problem) = problem {
            let fix = format!("See how it ends: `ovenbird rollout {pipeline} --watch`");
            return Err(Error::bad_input(format!("rollout `{}`", rollout.spec.id), problem, fix));
        }
        rollout.progress.wish = Some(wish);
        Ledger(cloud).save_rollout(&mut rollout).await?;
        Ok(rollout)
    })
    .await?;
    let resumes = match (wished.progress.phase, wish) {
        (Phase::Paused, Wish::Abort | Wish::Skip) => true,
        // Its execution has often failed by then.
        (_, Wish::Leave) => !is_driven(&wished, cloud).await?,
        _ => false,
    };
    if resumes { resume(pipeline, name, cloud, now).await } else { Ok(wished.into_inner()) }
}

/// Lets a paused rollout go on, or one whose execution died.
///
/// # Errors
/// When no rollout is under way, or an execution of it runs.
pub async fn resume(
    pipeline: &PipelineName,
    name: &ChannelName,
    cloud: &(impl Table + Workflow),
    now: Timestamp,
) -> Result<Rollout> {
    let rollout = among_others(async || {
        let mut rollout = current(pipeline, name, cloud).await?;
        let runs = is_driven(&rollout, cloud).await?;
        if rollout.progress.phase != Phase::Paused && runs {
            return Err(Error::bad_input(
                format!("rollout `{}`", rollout.spec.id),
                "is under way, not paused",
                format!("See how it goes: `ovenbird rollout {pipeline} --watch`"),
            ));
        }
        rollout.progress.run += 1;
        rollout.progress.note(now, "a person lets it go on");
        Ledger(cloud).save_rollout(&mut rollout).await?;
        Ok(rollout)
    })
    .await?;
    start(&rollout, cloud).await?;
    Ok(rollout.into_inner())
}

/// Whether an execution of a rollout runs.
async fn is_driven(rollout: &Rollout, workflow: &impl Workflow) -> Result<bool> {
    Ok(workflow.rollout_execution(&execution(rollout)).await?.is_some_and(|one| !one.is_over()))
}
