//! The end of a rollout: the channel moves, what follows it is brought to the image, and the next rollout begins.

use jiff::Timestamp;

use super::{LATER, LOOK, RolloutDocument, RolloutPorts, To, end, resume, start_waiting, wait};
use crate::{
    domain::{
        error::Result,
        rollout::{Outcome, Phase, Progress},
    },
    steps::{
        cascade,
        followers::{Applied, Observed, followers},
    },
    store::{Ledger, among_others},
};

/// So long what follows the channel may take to have the image, in seconds: SSM validates a parameter for minutes, and may
/// drop the write without a word, which is then made again.
pub(super) const PATIENCE: i64 = 900;

/// Moves the channel to an image that was seen to serve, then the launch templates' defaults and the parameter.
pub async fn settle(
    document: RolloutDocument,
    cloud: &impl RolloutPorts,
    now: Timestamp,
) -> Result<RolloutDocument> {
    let mut rollout = resume(&document, cloud).await?;
    if rollout.progress.phase != Phase::Settling {
        let to = super::way(&rollout);
        return Ok(document.go(&rollout, to, cloud));
    }
    let (ledger, spec) = (Ledger(cloud), rollout.spec.clone());
    rollout.progress.previous = among_others(async || ledger.settle(&spec, now).await).await?;
    if spec.to.parameter.is_some() {
        // Before it is: should the rollout go back, SSM may take the image after it did.
        rollout.progress.written = Some(now);
        ledger.save_rollout(&mut rollout).await?;
    }
    for follower in followers(&spec.to) {
        let applied = follower.apply(&spec.to, cloud).await?;
        let Observed::Behind(mut seen) = follower.observe(&spec.to, cloud).await? else { continue };
        if let Applied::Refused(why) = applied {
            seen.push_str(&format!(", and the last write was refused: {why}"));
        }
        let waited = rollout.progress.waited(now);
        if waited <= PATIENCE {
            rollout.progress.awaits = seen;
            // SSM mostly takes a few seconds.
            let pause = if waited < LATER.into() { LOOK } else { LATER };
            return wait(document, rollout, (To::Settled, pause), cloud).await;
        }
        // The machines serve from it: that a parameter lags is no reason to bring them back.
        rollout.progress.note_once(now, format!("the channel has the image, and not all follows it: {seen}"));
        rollout.progress.behind = Some(seen);
    }
    if rollout.progress.behind.is_none() {
        // The parameter was seen to have the image, so no write of it is still under way. To go back need not wait for one.
        rollout.progress.written = None;
    }
    if rollout.progress.pair.is_some() {
        rollout.progress.enter(Phase::Keeping, now);
        rollout.progress.note(now, "the channel has the image");
        ledger.save_rollout(&mut rollout).await?;
        cascade::after_rollout(&rollout.spec, cloud).await?;
        return Ok(document.wait(&rollout, To::Look, LATER));
    }
    rollout.progress.end(Outcome::Settled, now);
    ledger.save_rollout(&mut rollout).await?;
    Ok(document.go(&rollout, To::Finish, cloud))
}

/// Tells the channel that its rollout has ended, starts the bakes that stand on it, and the rollout that comes next.
pub async fn finish(
    document: RolloutDocument,
    cloud: &impl RolloutPorts,
    now: Timestamp,
) -> Result<RolloutDocument> {
    let rollout = resume(&document, cloud).await?;
    let ledger = Ledger(cloud);
    let next = among_others(async || ledger.leave(&rollout, now).await).await?;
    if let Some(next) = next {
        start_waiting(&document.pipeline, &next, cloud).await?;
    }
    if rollout.progress.outcome == Some(Outcome::Settled) {
        cascade::after_rollout(&rollout.spec, cloud).await?;
    }
    let to = end(&rollout);
    let mut document = document.go(&rollout, to, cloud);
    let Progress { reason, behind, phase, .. } = &rollout.progress;
    document.stands = reason.clone().or(behind.clone()).unwrap_or_else(|| phase.as_str().to_owned());
    Ok(document)
}
