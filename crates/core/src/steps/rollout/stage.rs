//! Starts a stage: a refresh that brings a part of a group to the new version.

use jiff::Timestamp;

use super::{LOOK, RolloutDocument, RolloutPorts, To, at_work, group, resume, see};
use crate::{
    domain::{
        digest::token,
        error::Result,
        rollout::{Counts, Intent, Phase, Rollout, Wish},
    },
    ports::RefreshOrder,
    store::{Ledger, Versioned},
};

/// Starts the stage that the rollout is at; pauses instead where a person is asked for.
pub async fn start_stage(
    document: RolloutDocument,
    cloud: &impl RolloutPorts,
    now: Timestamp,
) -> Result<RolloutDocument> {
    let mut rollout = resume(&document, cloud).await?;
    if rollout.progress.phase != Phase::Stage {
        let to = super::way(&rollout);
        return Ok(document.go(&rollout, to, cloud));
    }
    let ledger = Ledger(cloud);
    match rollout.progress.wish {
        Some(Wish::Abort) => {
            return super::revert::turn_back(document, rollout, "a person aborted it", cloud, now).await;
        }
        Some(Wish::Pause) => {
            rollout.progress.wish = None;
            rollout.progress.enter(Phase::Paused, now);
            let (what, awaits) = paused(&rollout);
            rollout.progress.note(now, what);
            rollout.progress.awaits = awaits;
            ledger.save_rollout(&mut rollout).await?;
            let to = super::way(&rollout);
            return Ok(document.go(&rollout, to, cloud));
        }
        Some(Wish::Skip | Wish::Leave) | None => {}
    }
    let Some(place) = at_work(&rollout) else {
        rollout.progress.enter(Phase::Settling, now);
        ledger.save_rollout(&mut rollout).await?;
        return Ok(document.go(&rollout, To::Settle, cloud));
    };
    make_version(&mut rollout, place, cloud, now).await?;
    if rollout.progress.pair.is_some() {
        let share = rollout.progress.share(&rollout.spec.to.policy);
        rollout.progress.enter(Phase::Watch, now);
        rollout.progress.note(now, format!("{share} of the requests to the new image"));
        ledger.save_rollout(&mut rollout).await?;
    } else {
        start_refresh(&mut rollout, place, cloud, now).await?;
    }
    Ok(document.wait(&rollout, To::Look, LOOK))
}

/// What the timeline says of a pause, and what the rollout waits for.
fn paused(rollout: &Rollout) -> (String, String) {
    if !rollout.awaits_approval() {
        return ("paused".to_owned(), "a person, who resumes or aborts it".to_owned());
    }
    let limit = rollout.approval_ends().map(|until| format!(", until {until:.0}")).unwrap_or_default();
    let awaits = format!("a person's approval{limit}");
    (format!("waits for {awaits}"), awaits)
}

/// Makes the launch template's version with the new image, if the group has none yet.
async fn make_version(
    rollout: &mut Versioned<Rollout>,
    place: usize,
    cloud: &impl RolloutPorts,
    now: Timestamp,
) -> Result<()> {
    let state = group(rollout, place)?;
    if state.after.is_some() {
        return Ok(());
    }
    let name = state.name.clone();
    // Of a pair, the group that gets the image gets all else from the one that serves.
    let source = rollout.progress.pair.as_ref().map_or(&state.before, |pair| &pair.source).clone();
    let image = rollout.spec.image.clone();
    let after = if cloud.launched(&source).await?.and_then(|one| one.image).as_ref() == Some(&image) {
        // The group launches the image already.
        source.clone()
    } else {
        let purpose = format!("{name}/{}/{}", source.id, source.version);
        cloud.with_image(&source, &image, &token(&rollout.spec.id, &purpose)).await?
    };
    let what = format!(
        "group {name}: version {} of {} has {image}, {} had its image before",
        after.version, after.name, source.version
    );
    rollout.progress.note(now, what);
    rollout.progress.groups[place].after = Some(after);
    Ledger(cloud).save_rollout(rollout).await
}

/// Starts the refresh of the stage, if an earlier try didn't, and if there is anything to replace.
async fn start_refresh(
    rollout: &mut Versioned<Rollout>,
    place: usize,
    cloud: &impl RolloutPorts,
    now: Timestamp,
) -> Result<()> {
    let ledger = Ledger(cloud);
    let policy = rollout.spec.to.policy.clone();
    let share = rollout.progress.share(&policy);
    let state = group(rollout, place)?;
    let seen = see(&state.name, &[], cloud, now).await?;
    let counts = Counts::of(&seen, state);
    let Some(after) = state.after.clone() else { return Ok(()) };
    let newest = seen.refresh.as_ref();
    let begun = state.refresh.as_ref().filter(|intent| intent.id.is_none()).and_then(|intent| {
        // Of an earlier try whose answer was lost: it came after what was there, and brings our version.
        newest.filter(|one| Some(&one.id) != intent.before.as_ref() && one.brings(&after))
    });
    let id = if let Some(begun) = begun {
        begun.id.clone()
    } else {
        let intent = Intent { before: newest.map(|one| one.id.clone()), id: None };
        rollout.progress.groups[place].refresh = Some(intent);
        ledger.save_rollout(rollout).await?;
        let size = seen.group.desired;
        cloud
            .start_refresh(&RefreshOrder {
                group: seen.group.name.clone(),
                to: after,
                percent: share.percent_left(size, counts.new),
                alarms: policy.alarms.clone(),
                auto_rollback: true,
            })
            .await?
    };
    rollout.progress.enter(Phase::Watch, now);
    rollout.progress.note(now, format!("group {}: {share} to the new image, refresh {id}", seen.group.name));
    if let Some(intent) = &mut rollout.progress.groups[place].refresh {
        intent.id = Some(id);
    }
    ledger.save_rollout(rollout).await
}
