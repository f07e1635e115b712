//! One rollout, as `ovenbird … --json` prints it: a stable document, whatever the records look like.

use jiff::Timestamp;
use serde::Serialize;

use crate::domain::{
    id::{AmiId, BakeId, ChannelName, InstanceId, PipelineName, RolloutId},
    rollout::{Entry, Outcome, Phase, Rollout, Wish},
};

/// One rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RolloutView<'a> {
    /// Its id.
    pub rollout: &'a RolloutId,
    /// The pipeline.
    pub pipeline: &'a PipelineName,
    /// The channel.
    pub channel: &'a ChannelName,
    /// The image that it brings.
    pub image: &'a AmiId,
    /// The bake that made the image.
    pub bake: &'a BakeId,
    /// Who asked for it.
    pub by: &'a str,
    /// Why.
    pub why: Option<&'a str>,
    /// Where it is.
    pub phase: Phase,
    /// The group and the stage that it works on, as `web: stage 2 of 3 (25%)`; empty where no machines follow.
    pub stage: String,
    /// What it waits for.
    pub awaits: &'a str,
    /// What a person wants of it.
    pub wish: Option<Wish>,
    /// When it began.
    pub began: Timestamp,
    /// How it ended; none while it is under way.
    pub outcome: Option<Outcome>,
    /// Why it went back, or was refused.
    pub reason: Option<&'a str>,
    /// The new instances because of which it went back.
    pub sick: &'a [InstanceId],
    /// What happened, in order.
    pub timeline: &'a [Entry],
}

impl<'a> From<&'a Rollout> for RolloutView<'a> {
    fn from(rollout: &'a Rollout) -> Self {
        let (spec, progress) = (&rollout.spec, &rollout.progress);
        Self {
            rollout: &spec.id,
            pipeline: &spec.to.pipeline,
            channel: &spec.to.channel,
            image: &spec.image,
            bake: &spec.bake,
            by: &spec.by,
            why: spec.why.as_deref(),
            phase: progress.phase,
            stage: stage(rollout),
            awaits: &progress.awaits,
            wish: progress.wish,
            began: progress.began,
            outcome: progress.outcome,
            reason: progress.reason.as_deref(),
            sick: &progress.sick,
            timeline: &progress.timeline,
        }
    }
}

/// The group and the stage that a rollout works on, in words.
fn stage(rollout: &Rollout) -> String {
    let policy = &rollout.spec.to.policy;
    let (group, stage) = rollout.progress.place(policy);
    // Of a pair, the group that gets the image is known after the preflight.
    let of_pair =
        rollout.progress.pair.as_ref().and(rollout.progress.groups.first()).map(|state| &state.name);
    match of_pair.or(rollout.spec.to.groups.get(group)) {
        Some(group) => format!(
            "{group}: stage {} of {} ({})",
            stage + 1,
            policy.stages.len(),
            rollout.progress.share(policy)
        ),
        None => String::new(),
    }
}
