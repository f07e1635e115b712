//! The first step of a rollout's execution: checks that it can go forth and back, and changes nothing.

use jiff::Timestamp;

use super::{RolloutDocument, RolloutPorts, To, pair, resume, see, way};
use crate::{
    domain::{
        destination::{Policy, Share, Strategy},
        error::Result,
        id::AmiId,
        rollout::{
            Group, GroupState, Outcome, Pair, Phase, Refusal, RolloutSpec, Seen, Wish, no_room, refusals,
            wrong_architecture,
        },
    },
    ports::{Groups, Image, ImageState, Images, Templates},
    steps::followers::followers,
    store::Ledger,
};

/// Begins a rollout, or goes on with one whose execution died or paused.
pub async fn begin(
    document: RolloutDocument,
    cloud: &impl RolloutPorts,
    now: Timestamp,
) -> Result<RolloutDocument> {
    let mut rollout = resume(&document, cloud).await?;
    match rollout.progress.phase {
        Phase::Preflight => {}
        // It was resumed, which makes a new run: the pause is over.
        Phase::Paused => {
            rollout.progress.enter(Phase::Stage, now);
            rollout.progress.note(now, "resumed");
            Ledger(cloud).save_rollout(&mut rollout).await?;
            return Ok(document.go(&rollout, To::Stage, cloud));
        }
        Phase::Stage | Phase::Watch | Phase::Settling | Phase::Keeping | Phase::Reverting | Phase::Ended => {
            let to = way(&rollout);
            return Ok(document.go(&rollout, to, cloud));
        }
    }
    let found = preflight(&rollout.spec, cloud, now).await?;
    if found.refused.is_empty() {
        (rollout.progress.groups, rollout.progress.pair) = (found.groups, found.pair);
    } else {
        let reasons: Vec<String> = found.refused.iter().map(ToString::to_string).collect();
        rollout.progress.reason = Some(reasons.join("\n"));
        rollout.progress.end(Outcome::Refused, now);
        Ledger(cloud).save_rollout(&mut rollout).await?;
        return Ok(document.go(&rollout, To::Finish, cloud));
    }
    let to = if rollout.spec.to.runs_machines() {
        rollout.progress.enter(Phase::Stage, now);
        if rollout.spec.proven {
            let last = rollout.spec.to.policy.stages.len().saturating_sub(1);
            rollout.progress.position = last;
            rollout.progress.note(now, "the image was this channel's before: no stages");
        }
        if rollout.asks_before() {
            rollout.progress.wish = Some(Wish::Pause);
        }
        To::Stage
    } else {
        rollout.progress.enter(Phase::Settling, now);
        To::Settle
    };
    Ledger(cloud).save_rollout(&mut rollout).await?;
    Ok(document.go(&rollout, to, cloud))
}

/// What is found before a rollout begins.
#[derive(Debug, Default)]
pub struct Preflight {
    /// Everything for which it can't be begun.
    pub refused: Vec<Refusal>,
    /// The groups that get the image, as they are now.
    pub groups: Vec<GroupState>,
    /// Which of two groups serves, where the strategy is blue-green.
    pub pair: Option<Pair>,
}

/// Looks whether an image can come to all that follows a channel, and go back. It changes nothing.
///
/// # Errors
/// When something that follows the channel isn't there, or another pipeline's.
pub async fn preflight(spec: &RolloutSpec, cloud: &impl RolloutPorts, now: Timestamp) -> Result<Preflight> {
    for follower in followers(&spec.to) {
        follower.preflight(&spec.to, cloud).await?;
    }
    let image = cloud.image(&spec.image).await?;
    let mut found = match spec.to.policy.strategy {
        Strategy::BlueGreen => pair::preflight(&spec.to, image.as_ref(), cloud, now).await?,
        Strategy::Rolling => {
            let mut found = Preflight::default();
            for name in &spec.to.groups {
                let seen = see(name, &spec.to.policy.alarms, cloud, now).await?;
                found.refused.extend(refusals_of(&seen, image.as_ref(), &spec.to.policy, cloud).await?);
                // An image that was good lately has no stages.
                let stages = if spec.proven { &[Share::ALL] } else { spec.to.policy.stages.as_slice() };
                let needed = Share::largest_step(stages, seen.group.desired);
                found.refused.extend(room(&seen.group, needed, cloud).await?);
                found.groups.extend(seen.group.template().map(|template| GroupState::new(&seen, template)));
            }
            found
        }
    };
    found.refused.splice(0..0, unusable(&spec.image, image.as_ref()));
    Ok(found)
}

/// Everything for which one group can't be brought to the image now, and back.
pub(super) async fn refusals_of(
    seen: &Seen,
    image: Option<&Image>,
    policy: &Policy,
    cloud: &(impl Images + Templates),
) -> Result<Vec<Refusal>> {
    let launched = match seen.group.template() {
        Some(template) => cloud.launched(template).await?,
        None => None,
    };
    let mut refused = refusals(seen, launched.as_ref(), policy);
    if let (Some(image), Some(before)) = (image, launched.as_ref().and_then(|one| one.image.as_ref()))
        && let Some(old) = cloud.image(before).await?
    {
        refused.extend(wrong_architecture(&image.id, &image.architecture, before, &old.architecture));
    }
    Ok(refused)
}

/// Why so many instances more can't start in a group's subnets.
pub(super) async fn room(group: &Group, needed: u32, cloud: &impl Groups) -> Result<Option<Refusal>> {
    // Outside of a network there are none to run out of.
    if group.subnets.is_empty() || needed == 0 {
        return Ok(None);
    }
    Ok(no_room(group, &cloud.free_addresses(&group.subnets).await?, needed))
}

/// Why nothing can be started from an image.
fn unusable(id: &AmiId, image: Option<&Image>) -> Option<Refusal> {
    let problem = match image.map(|image| image.state) {
        Some(ImageState::Available) => return None,
        Some(ImageState::Pending) => "is still pending",
        Some(ImageState::Failed) => "failed",
        Some(ImageState::Disabled) => "is disabled",
        None => "does not exist any more",
    };
    Some(Refusal { problem: format!("image {id} {problem}"), fix: "Promote another image".into() })
}
