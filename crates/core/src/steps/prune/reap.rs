//! Cleans up after a bake whose execution is dead.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::DeadBake;
use crate::{
    domain::{
        bake::{Bake, Failure, Status},
        error::{Error, Result},
    },
    ports::{Execution, PrunePorts},
    steps::{clean_up, followers::followers, guard::Kept},
    store::Ledger,
};

/// What was done for a dead bake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reaped {
    /// The bake.
    #[serde(flatten)]
    pub bake: DeadBake,
    /// How its record says that it ended; none without a record.
    #[serde(default)]
    pub status: Option<Status>,
    /// What stays, and why.
    #[serde(default)]
    pub kept: Vec<Kept>,
}

/// Whether a bake of which the record says that it is on its way is dead.
///
/// An execution that succeeded has closed its record first. A record that says otherwise is from before that, out of a
/// table that was put back, and says nothing of what may be destroyed.
pub fn is_dead(bake: &Bake, execution: Option<&Execution>, now: Timestamp) -> bool {
    match execution {
        Some(Execution::Running | Execution::Succeeded) => false,
        Some(Execution::Failed | Execution::Stopped { .. } | Execution::TimedOut) => true,
        // Step Functions forgets an execution after 90 days.
        None => bake.expires() < now,
    }
}

/// Cleans up after a bake whose execution is dead.
pub async fn reap(dead: &DeadBake, cloud: &impl PrunePorts, now: Timestamp) -> Result<Reaped> {
    let ledger = Ledger(cloud);
    let Some(bake) = ledger.bake(&dead.pipeline, &dead.bake).await? else {
        // It failed before it had a record, and a record comes before all that it makes.
        return Ok(Reaped { bake: dead.clone(), status: None, kept: Vec::new() });
    };
    let (mut failure, mut ends) = (None, bake.progress.status);
    if bake.progress.status == Status::Running {
        let execution = cloud.bake_execution(&dead.bake).await?;
        if !is_dead(&bake, execution.as_ref(), now) {
            return Err(refuse(&bake, execution.as_ref()));
        }
        let channel = ledger.channel(&bake.spec.pipeline, &bake.spec.settings.channel).await?;
        if channel.is_some_and(|channel| channel.has(&bake.spec.id)) {
            // Machines have been starting from it since: what was left undone of the promotion is done.
            let to = bake.spec.destination();
            for follower in followers(&to) {
                follower.settle(&to, cloud).await?;
            }
            ends = Status::Promoted;
        } else {
            failure = Some(lost(&bake, execution));
        }
    }
    let (status, kept) = if ends.ended_well() {
        // Its image is retention's business; only what it forgot to end is left of it.
        let (ended, mut kept) = clean_up::after_success(bake, ends, cloud, now).await?;
        kept.extend(clean_up::snapshots_and_volumes(&ended, cloud).await?);
        forget_image(&ended, cloud, now).await?;
        (Some(ended.progress.status), kept)
    } else {
        let ended = clean_up::after_failure(&dead.bake, Some(bake), failure, false, cloud, now).await?;
        (ended.record.map(|bake| bake.progress.status), ended.kept)
    };
    Ok(Reaped { bake: dead.clone(), status, kept })
}

/// Removes the record of a bake's image that somebody else deregistered: nobody else would, and bakes look for the image.
pub(super) async fn forget_image(bake: &Bake, cloud: &impl PrunePorts, now: Timestamp) -> Result<()> {
    let Some(image) = bake.progress.image.as_ref().filter(|_| !bake.progress.reused) else { return Ok(()) };
    // Of one that was made just now EC2 may not show the tags yet.
    if clean_up::is_new(bake, now)
        || cloud.images(Some(&bake.spec.id)).await?.iter().any(|one| one.id == *image)
    {
        return Ok(());
    }
    Ledger(cloud).forget_image(&bake.spec.digest, image).await
}

/// Why a bake is not cleaned up after.
pub fn refuse(bake: &Bake, execution: Option<&Execution>) -> Error {
    let (problem, fix) = match execution {
        Some(Execution::Succeeded) => (
            "is still on its way by its record, and its execution succeeded: the record is older than that",
            "The table was put back to an earlier time: see \"A table that was put back\" in docs/prune.md"
                .into(),
        ),
        _ => ("is still on its way", format!("Cancel it: `ovenbird cancel {}`", bake.spec.id)),
    };
    Error::bad_input(format!("bake `{}`", bake.spec.id), problem, fix)
}

/// Why a bake ended whose execution did not say so itself.
fn lost(bake: &Bake, execution: Option<Execution>) -> Failure {
    let (error, cause) = match execution {
        Some(Execution::Stopped { cause }) if cause.is_empty() => {
            (Failure::CANCELLED, "Somebody stopped its execution".to_owned())
        }
        Some(Execution::Stopped { cause }) => (Failure::CANCELLED, cause),
        Some(Execution::TimedOut) => {
            ("ExecutionLost", "The execution took longer than its state machine allows".to_owned())
        }
        Some(Execution::Running | Execution::Succeeded | Execution::Failed) | None => (
            "ExecutionLost",
            "The execution ended without its clean-up; prune reaped what it left".to_owned(),
        ),
    };
    Failure { error: error.to_owned(), cause, stage: bake.progress.stage }
}
