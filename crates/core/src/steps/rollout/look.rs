//! Looks at a stage, and decides: wait, go on, or go back.

use jiff::Timestamp;

use super::{
    LATER, LOOK, RolloutDocument, RolloutPorts, To, at_work, group, pair, resume, revert::turn_back, see,
    wait,
};
use crate::{
    domain::{
        destination::Share,
        error::Result,
        rollout::{FailedLaunch, Fault, GroupState, Phase, Rollout, Seen, Template, Verdict, Wish, judge},
    },
    ports::Groups,
    store::{Ledger, Versioned},
};

/// Looks at the stage that the rollout is at.
pub async fn look(
    document: RolloutDocument,
    cloud: &impl RolloutPorts,
    now: Timestamp,
) -> Result<RolloutDocument> {
    let mut rollout = resume(&document, cloud).await?;
    if rollout.progress.phase == Phase::Keeping {
        return pair::keep(document, rollout, cloud, now).await;
    }
    let (Phase::Watch, Some(place)) = (rollout.progress.phase, at_work(&rollout)) else {
        let to = super::way(&rollout);
        return Ok(document.go(&rollout, to, cloud));
    };
    if rollout.progress.wish == Some(Wish::Abort) {
        return turn_back(document, rollout, "a person aborted it", cloud, now).await;
    }
    if rollout.progress.pair.is_some() {
        return pair::look(document, rollout, cloud, now).await;
    }
    let policy = rollout.spec.to.policy.clone();
    let share = rollout.progress.share(&policy);
    let mut seen = see(&rollout.progress.groups[place].name, &policy.alarms, cloud, now).await?;
    seen.failed_launch = failed_launch(&rollout, cloud, now).await?;
    let state = &mut rollout.progress.groups[place];
    state.remember(&seen);
    let verdict = judge(&seen, state, share, &policy);
    if let Some(before) = still_launches(&seen, state, share) {
        cloud.change(&state.name, Some(before), None).await?;
    }
    conclude(document, rollout, (verdict, &seen), cloud, now).await
}

/// The version that a group is to launch again, now that a part of it has the new one.
///
/// A refresh that ends well saves its version in the group, also where it replaced a part. From then on the group would
/// launch an image that has yet to prove itself, and the refresh of the next stage would go back to nothing else.
fn still_launches<'a>(seen: &Seen, state: &'a GroupState, share: Share) -> Option<&'a Template> {
    let after = state.after.as_ref().filter(|after| **after != state.before)?;
    let is_over = seen.refresh.as_ref().is_none_or(|refresh| !refresh.state.is_active());
    let launches_new = is_over && seen.group.template() == Some(after);
    (launches_new && !share.is_all()).then_some(&state.before)
}

/// Waits, goes on, or goes back, as the verdict says.
pub(super) async fn conclude(
    document: RolloutDocument,
    mut rollout: Versioned<Rollout>,
    (verdict, seen): (Verdict, &Seen),
    cloud: &impl RolloutPorts,
    now: Timestamp,
) -> Result<RolloutDocument> {
    let policy = rollout.spec.to.policy.clone();
    let skips = rollout.progress.wish == Some(Wish::Skip);
    let last = rollout.progress.is_last(&rollout.spec.to);
    let must_last = match (skips, last) {
        (true, _) => 0,
        (false, true) => policy.watch.max(policy.soak),
        (false, false) => policy.watch,
    };
    let pause = match verdict {
        Verdict::Bad(fault) => return turn_back(document, rollout, fault, cloud, now).await,
        Verdict::Wait(awaits) => {
            let awaits = awaits + &seen.cannot_launch();
            let waited = rollout.progress.waited(now);
            let failing = seen.failed_launch.as_ref().map(|one| now.duration_since(one.since).as_secs());
            // EC2 itself would try for an hour.
            let vain = failing.is_some_and(|seconds| seconds > policy.healthy_within);
            if vain || waited > policy.deadline {
                let why = format!("after {waited} s it still waits for {awaits}");
                let fault = Fault { of_image: seen.failed_launch.is_none(), ..Fault::from(why) };
                return turn_back(document, rollout, fault, cloud, now).await;
            }
            (rollout.progress.well_since, rollout.progress.awaits) = (None, awaits);
            LOOK
        }
        Verdict::Well => {
            let since = *rollout.progress.well_since.get_or_insert(now);
            let held = now.duration_since(since).as_secs();
            if held >= must_last {
                return next(document, rollout, cloud, now).await;
            }
            let word = if last { "soak" } else { "watch" };
            rollout.progress.awaits = format!("{word}: well for {held} of {must_last} s");
            let most = if must_last > 600 { LATER } else { LOOK };
            // The last look comes right at the end.
            u32::try_from(must_last - held).map_or(most, |left| left.min(most))
        }
    };
    wait(document, rollout, (To::Look, pause), cloud).await
}

/// For so long a stage waits for what instances take to start, and nobody asks whether they can.
const STARTS_WITHIN: i64 = 30;

/// Why the group at work launches no instance: a quota, no capacity, a key or a subnet that is gone. A refresh says none of
/// that.
pub(super) async fn failed_launch(
    rollout: &Rollout,
    cloud: &impl Groups,
    now: Timestamp,
) -> Result<Option<FailedLaunch>> {
    let progress = &rollout.progress;
    let Some(place) = at_work(rollout).filter(|_| progress.waited(now) >= STARTS_WITHIN) else {
        return Ok(None);
    };
    cloud.failed_launch(&progress.groups[place].name, progress.since).await
}

/// The stage passed: to the next one, or to the end.
async fn next(
    document: RolloutDocument,
    mut rollout: Versioned<Rollout>,
    cloud: &impl RolloutPorts,
    now: Timestamp,
) -> Result<RolloutDocument> {
    let policy = rollout.spec.to.policy.clone();
    let (place, stage) = rollout.progress.place(&policy);
    let passed = format!("stage {} of group {} passed", stage + 1, group(&rollout, place)?.name);
    rollout.progress.note(now, passed);
    let to = if rollout.progress.is_last(&rollout.spec.to) {
        rollout.progress.enter(Phase::Settling, now);
        To::Settle
    } else {
        rollout.progress.position += 1;
        let (_, stage) = rollout.progress.place(&policy);
        let last = policy.stages.len().saturating_sub(1);
        if (rollout.progress.wish == Some(Wish::Skip) || rollout.spec.proven) && stage < last {
            rollout.progress.position += last - stage;
        }
        rollout.progress.enter(Phase::Stage, now);
        if rollout.asks_before() && rollout.progress.wish.is_none() {
            rollout.progress.wish = Some(Wish::Pause);
        }
        To::Stage
    };
    Ledger(cloud).save_rollout(&mut rollout).await?;
    Ok(document.go(&rollout, to, cloud))
}
