//! What EventBridge is told of a walk: all that is on record, and nothing that isn't so.

use std::collections::BTreeSet;

use ovenbird_core::{
    domain::{
        bake::{Bake, Status},
        rollout::Rollout,
    },
    ports::Row,
    store::Channel,
};
use ovenbird_testkit::{Cloud, walk::machine::End};

use super::slate::Ends;

/// What happened and EventBridge was never to be told.
///
/// A bake whose own execution is lost is told of by a prune run that names it, which EventBridge starts then.
pub fn silent(
    cloud: &Cloud,
    bakes: &[Bake],
    (channels, rollouts): (&[Channel], &[Rollout]),
    ends: &Ends,
    excused: &BTreeSet<String>,
    overruled: bool,
) -> Vec<String> {
    let tellings = cloud.tellings();
    let told: BTreeSet<&str> = tellings.iter().filter_map(|one| one["Detail"]["id"].as_str()).collect();
    let mut wanted = Vec::new();
    for bake in bakes.iter().filter(|bake| !excused.contains(bake.spec.id.as_str())) {
        if ends.get(bake.spec.id.as_str()) == Some(&End::Lost) {
            continue;
        }
        match bake.progress.status {
            Status::Promoted | Status::Validated | Status::Superseded if bake.progress.image.is_some() => {
                wanted.push(format!("baked/{}", bake.spec.id));
            }
            Status::Failed | Status::Cancelled => wanted.push(format!("failed/{}", bake.spec.id)),
            Status::Promoted | Status::Validated | Status::Superseded | Status::Running => {}
        }
    }
    let lost = !excused.is_empty() || ends.values().any(|end| *end == End::Lost);
    for channel in channels.iter().filter(|_| !lost && !overruled) {
        let Some(current) = &channel.current else { continue };
        wanted.push(match &current.rollout {
            Some(rollout) => format!("promoted/{rollout}"),
            None => format!("promoted/{}/{}", current.bake, channel.name),
        });
    }
    let asked = rollouts.iter().filter(|one| !lost && has_asked(one));
    let asked = asked.map(|one| format!("approval/{}/", one.spec.id));
    let unasked = asked.filter(|id| !told.iter().any(|told| told.starts_with(id)));
    let silent = wanted.into_iter().filter(|id| !told.contains(id.as_str())).chain(unasked);
    silent.map(|id| format!("EventBridge was never told {id}")).collect()
}

/// Whether a rollout has ever asked a person for approval.
fn has_asked(rollout: &Rollout) -> bool {
    rollout.progress.timeline.iter().any(|entry| entry.what.starts_with("waits for a person's approval"))
}

/// What EventBridge was told and isn't so.
pub fn untrue(cloud: &Cloud, channels: &[Channel], rollouts: &[Rollout]) -> Vec<String> {
    let mut found = Vec::new();
    for event in cloud.told() {
        let detail = &event["Detail"];
        let image = detail["image"].as_str().unwrap_or_default();
        let channel = channels.iter().find(|channel| {
            detail["pipeline"] == channel.pipeline.as_str() && detail["channel"] == channel.name.as_str()
        });
        let has = |channel: &Channel| {
            channel.current.iter().chain(&channel.previous).any(|target| target.image.as_str() == image)
        };
        let is_so = match event["DetailType"].as_str() {
            Some("Image Promoted") => channel.is_some_and(has),
            // A person may have taken it out of the Recycle Bin since.
            Some("Image Retired") => {
                let back = |row: &Row| row.doc["image"] == image && row.doc["stage"] == "undone";
                cloud.with(|world| world.own_images().all(|one| one.id.as_str() != image))
                    || cloud.rows().iter().any(|row| row.key.pk == "RETIREMENTS" && back(row))
            }
            Some("Approval Needed") => {
                let asks = |one: &Rollout| detail["rollout"] == one.spec.id.as_str() && has_asked(one);
                rollouts.iter().any(asks)
            }
            // Whatever became of the image since.
            Some("Image Baked" | "Rollout Reverted" | "Bake Failed" | "Parameter Drifted") => true,
            _ => false,
        };
        if !is_so {
            found.push(format!("EventBridge was told what isn't so: {event}"));
        }
    }
    found
}
