//! The end of a rollout: the channel moves, what follows it is brought to the image, and the next rollout begins.

use jiff::Timestamp;

use super::{LATER, RolloutDocument, RolloutPorts, To, end, resume, revert::turn_back, start_waiting, wait};
use crate::{
    domain::{
        error::Result,
        rollout::{Outcome, Phase},
    },
    steps::{
        cascade,
        followers::{Observed, followers},
    },
    store::{Ledger, among_others},
};

/// So long what follows the channel may take to have the image, in seconds.
const PATIENCE: i64 = 300;

/// Moves the channel to an image that was seen to serve, then the launch templates' defaults and the parameter.
pub async fn settle(
    document: RolloutDocument,
    cloud: &impl RolloutPorts,
    now: Timestamp,
) -> Result<RolloutDocument> {
    let mut rollout = resume(&document, cloud).await?;
    if rollout.progress.phase != Phase::Settling {
        let to = super::way(&rollout);
        return Ok(document.go(&rollout, to));
    }
    let (ledger, spec) = (Ledger(cloud), rollout.spec.clone());
    rollout.progress.previous = among_others(async || ledger.settle(&spec, now).await).await?;
    for follower in followers(&spec.to) {
        follower.apply(&spec.to, cloud).await?;
    }
    for follower in followers(&spec.to) {
        let Observed::Behind(seen) = follower.observe(&spec.to, cloud).await? else { continue };
        if rollout.progress.waited(now) > PATIENCE {
            return turn_back(document, rollout, seen, cloud, now).await;
        }
        rollout.progress.awaits = seen;
        return wait(document, rollout, (To::Settled, LATER), cloud).await;
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
    Ok(document.go(&rollout, To::Finish))
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
    let mut document = document.go(&rollout, to);
    document.stands =
        rollout.progress.reason.clone().unwrap_or_else(|| rollout.progress.phase.as_str().to_owned());
    Ok(document)
}
