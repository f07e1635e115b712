//! Brings the groups back to what they were, the last first. It does not give up: half a group on a bad image is worse
//! than a long wait.

use jiff::Timestamp;

use super::{LATER, RolloutDocument, RolloutPorts, To, find, pair, resume, settle::PATIENCE, wait};
use crate::{
    domain::{
        error::Result,
        id::GroupName,
        rollout::{Fault, GroupState, Outcome, Phase, RefreshState, Rollout, Seen, Template, Wish},
    },
    ports::{GoesBack, RefreshOrder},
    steps::followers::{Observed, Reverting, followers},
    store::{Ledger, Versioned},
};

/// Turns a rollout back: from here on nothing is done but to undo it.
pub(super) async fn turn_back(
    document: RolloutDocument,
    mut rollout: Versioned<Rollout>,
    why: impl Into<Fault>,
    cloud: &impl RolloutPorts,
    now: Timestamp,
) -> Result<RolloutDocument> {
    turn(&mut rollout, why.into(), now);
    Ledger(cloud).save_rollout(&mut rollout).await?;
    Ok(document.go(&rollout, To::Revert, cloud))
}

/// Turns a rollout back that nobody approved in time. That says nothing against its image.
pub(super) fn expire(rollout: &mut Rollout, now: Timestamp) {
    rollout.progress.wish = Some(Wish::Abort);
    turn(rollout, "nobody approved it in time".into(), now);
}

fn turn(rollout: &mut Rollout, fault: Fault, now: Timestamp) {
    rollout.progress.aborted = rollout.progress.wish.take().is_some_and(|wish| wish == Wish::Abort);
    rollout.progress.note(now, format!("goes back: {}", fault.why));
    if rollout.progress.reason.is_none() {
        (rollout.progress.reason, rollout.progress.sick) = (Some(fault.why), fault.instances);
        rollout.progress.blameless = !fault.of_image;
    }
    rollout.progress.enter(Phase::Reverting, now);
}

/// Undoes what is left to undo of a rollout; waits while AWS does.
///
/// It is also what the state machine calls when a step failed for good: then `error` is what that said.
pub async fn revert(
    document: RolloutDocument,
    error: Option<String>,
    cloud: &impl RolloutPorts,
    now: Timestamp,
) -> Result<RolloutDocument> {
    let mut rollout = resume(&document, cloud).await?;
    let ledger = Ledger(cloud);
    match rollout.progress.phase {
        Phase::Ended => return Ok(document.go(&rollout, To::Finish, cloud)),
        Phase::Reverting => {}
        // The channel has the image, which was seen to serve. An error while old machines are kept or go is no reason to
        // go back: it is looked at again.
        Phase::Keeping => {
            rollout.progress.awaits = error.unwrap_or_default();
            return wait(document, rollout, (To::Look, LATER), cloud).await;
        }
        Phase::Preflight | Phase::Stage | Phase::Watch | Phase::Paused | Phase::Settling => {
            let why = error.unwrap_or_else(|| "its execution was told to go back".to_owned());
            turn(&mut rollout, why.into(), now);
            ledger.save_rollout(&mut rollout).await?;
        }
    }
    ledger.unsettle(&rollout.spec).await?;
    if rollout.progress.wish == Some(Wish::Leave) {
        rollout.progress.note(now, "a person ends it as it stands");
        rollout.progress.end(Outcome::Left, now);
        ledger.save_rollout(&mut rollout).await?;
        return Ok(document.go(&rollout, To::Finish, cloud));
    }
    for follower in followers(&rollout.spec.to).iter().rev() {
        // Where the channel points at nothing, it stays as it is: only prune may remove a parameter.
        follower.bring_back(&rollout.spec.to, cloud).await?;
    }
    let of_pair = rollout.progress.pair.is_some();
    for place in (0..rollout.progress.groups.len()).rev() {
        let awaits = if of_pair {
            pair::bring_back(&mut rollout, cloud, now).await?
        } else {
            bring_back(&mut rollout, place, cloud, now).await?
        };
        let Some(awaits) = awaits else { continue };
        rollout.progress.awaits = awaits;
        return wait(document, rollout, (To::Reverted, LATER), cloud).await;
    }
    // Last: machines don't wait for a parameter.
    if rollout.progress.waited(now) <= PATIENCE
        && let Some(seen) = behind(&rollout, cloud, now).await?
    {
        rollout.progress.awaits = seen;
        return wait(document, rollout, (To::Reverted, LATER), cloud).await;
    }
    let outcome = match (rollout.progress.groups.is_empty(), rollout.progress.aborted) {
        (_, true) => Outcome::Aborted,
        // It never came to change anything.
        (true, false) => Outcome::Refused,
        (false, false) => Outcome::Reverted,
    };
    rollout.progress.end(outcome, now);
    ledger.save_rollout(&mut rollout).await?;
    Ok(document.go(&rollout, To::Finish, cloud))
}

/// What of that which follows the channel isn't back, where the channel points at something.
async fn behind(rollout: &Rollout, cloud: &impl RolloutPorts, now: Timestamp) -> Result<Option<String>> {
    let to = &rollout.spec.to;
    let what = Reverting { image: Some(&rollout.spec.image), written: rollout.progress.written, now };
    for follower in followers(to) {
        if follower.may_take(what, cloud).await? {
            return Ok(Some("SSM may still take the image into the parameter".to_owned()));
        }
    }
    let channel = Ledger(cloud).channel(&to.pipeline, &to.channel).await?;
    if channel.is_none_or(|channel| channel.current.is_none()) {
        return Ok(None);
    }
    for follower in followers(to) {
        if let Observed::Behind(seen) = follower.observe(to, cloud).await? {
            return Ok(Some(seen));
        }
    }
    Ok(None)
}

/// Brings a group a step further back; gives what is awaited, and none when it is as it was.
async fn bring_back(
    rollout: &mut Rollout,
    place: usize,
    cloud: &impl RolloutPorts,
    now: Timestamp,
) -> Result<Option<String>> {
    let state = rollout.progress.groups[place].clone();
    let Some(after) = state.after.clone().filter(|after| *after != state.before) else { return Ok(None) };
    // Somebody deleted it meanwhile. To insist on it would block the channel for ever.
    let Some(seen) = find(&state.name, &[], cloud, now).await? else {
        rollout.progress.note_once(now, format!("group {} is gone: it can't go back", state.name));
        return Ok(None);
    };
    if let Some(refresh) = seen.refresh.as_ref().filter(|refresh| refresh.state.is_active()) {
        let back = target(&seen, &state, &after);
        if refresh.brings(&after) && refresh.state == RefreshState::Running {
            return match cloud.roll_back_refresh(&state.name).await? {
                GoesBack::Yes => {
                    rollout.progress.note_once(now, format!("group {}: EC2 brings it back", state.name));
                    Ok(Some(format!("group `{}` to go back", state.name)))
                }
                GoesBack::None => Ok(Some(format!("group `{}` to go back", state.name))),
                GoesBack::Never => {
                    cloud.cancel_refresh(&state.name).await?;
                    Ok(Some(format!("the refresh of group `{}` to be cancelled", state.name)))
                }
            };
        }
        return Ok(Some(format!(
            "group `{}` to go back to version {} ({}, {} %)",
            state.name, back.version, refresh.status, refresh.percent
        )));
    }
    let back = target(&seen, &state, &after);
    let launches_new = seen.group.template() == Some(&after);
    let new = seen.group.members.iter().filter(|one| one.is_of(&after) && !one.is_ending()).count();
    if new == 0 && !launches_new {
        return Ok(None);
    }
    if cloud.launched(&back).await?.is_none() {
        rollout.progress.note_once(now, stays(&state.name, &back));
        return Ok(None);
    }
    // Should the answer be lost, the next try finds the refresh under way, or nothing left to replace.
    let id = cloud
        .start_refresh(&RefreshOrder {
            group: state.name.clone(),
            to: back.clone(),
            percent: None,
            alarms: Vec::new(),
            auto_rollback: false,
        })
        .await?;
    rollout
        .progress
        .note(now, format!("group {}: back to version {}, refresh {id}", state.name, back.version));
    Ok(Some(format!("{new} instances of group `{}` to be replaced by version {}", state.name, back.version)))
}

/// Why a group can't go back to a version that somebody deleted. To insist on it would block the channel for ever, and the
/// group launches nothing any more until a person gives it another version.
pub(super) fn stays(group: &GroupName, back: &Template) -> String {
    format!("version {} of {} is gone: group {group} stays as it is", back.version, back.name)
}

/// The version that a group goes back to: what it launched before, or what a person let it launch meanwhile.
fn target(seen: &Seen, state: &GroupState, after: &Template) -> Template {
    seen.group.template().filter(|launched| *launched != after).unwrap_or(&state.before).clone()
}
