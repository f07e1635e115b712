//! One channel, as `ovenbird … --json` prints it.

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    domain::id::{AmiId, BakeId, ChannelName, Digest, PipelineName, RolloutId},
    store::{Channel, Hold, Rejected, Rolling, Target},
};

/// One channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChannelView<'a> {
    /// Its pipeline.
    pub pipeline: &'a PipelineName,
    /// Its name.
    pub channel: &'a ChannelName,
    /// What it points at; none when nothing was promoted yet, or the first promotion was taken back.
    pub current: Option<TargetView<'a>>,
    /// What it pointed at before, the newest first.
    pub previous: Vec<TargetView<'a>>,
    /// How often it moved.
    pub generation: u64,
    /// The rollout that is under way.
    pub rolling: Option<RollingView<'a>>,
    /// The rollout that comes next.
    pub waiting: Option<RollingView<'a>>,
    /// Whether automation promotes nothing to it, and who wants that.
    pub hold: Option<HoldView<'a>>,
    /// Images that automation never promotes to it again, the newest first.
    pub rejected: &'a [Rejected],
}

/// What a channel points at, or pointed at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TargetView<'a> {
    /// The image.
    pub image: &'a AmiId,
    /// The digest of its inputs.
    pub digest: &'a Digest,
    /// The bake that promoted it.
    pub bake: &'a BakeId,
    /// What is in it: the artifact's key and its SHA-256, with `@` between them; none for a pipeline without artifacts.
    pub artifact: Option<&'a str>,
    /// Since when.
    pub promoted: Timestamp,
    /// The channel's generation with which it came.
    pub generation: u64,
    /// The rollout that brought it; none where nothing that follows the channel runs machines.
    pub rollout: Option<&'a RolloutId>,
    /// Who promoted it, if that was a person.
    pub by: Option<&'a str>,
    /// Why, in that person's words.
    pub why: Option<&'a str>,
}

impl<'a> From<&'a Target> for TargetView<'a> {
    fn from(target: &'a Target) -> Self {
        let Target { image, digest, bake, order, promoted, generation, rollout, by, why } = target;
        Self {
            image,
            digest,
            bake,
            artifact: order.artifact.as_deref(),
            promoted: *promoted,
            generation: *generation,
            rollout: rollout.as_ref(),
            by: by.as_deref(),
            why: why.as_deref(),
        }
    }
}

/// A rollout of a channel that is under way, or waits for its turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RollingView<'a> {
    /// Which.
    pub rollout: &'a RolloutId,
    /// Its image.
    pub image: &'a AmiId,
}

impl<'a> From<&'a Rolling> for RollingView<'a> {
    fn from(rolling: &'a Rolling) -> Self {
        let Rolling { rollout, image, order: _ } = rolling;
        Self { rollout, image }
    }
}

/// A person's word that nothing is promoted to a channel by automation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HoldView<'a> {
    /// Whose word.
    pub by: &'a str,
    /// Why.
    pub why: Option<&'a str>,
    /// Since when.
    pub since: Timestamp,
}

impl<'a> From<&'a Hold> for HoldView<'a> {
    fn from(hold: &'a Hold) -> Self {
        Self { by: &hold.by, why: hold.why.as_deref(), since: hold.since }
    }
}

impl<'a> From<&'a Channel> for ChannelView<'a> {
    fn from(channel: &'a Channel) -> Self {
        let Channel { pipeline, name, current, previous, generation, rolling, waiting, hold, rejected } =
            channel;
        Self {
            pipeline,
            channel: name,
            current: current.as_ref().map(TargetView::from),
            previous: previous.iter().map(TargetView::from).collect(),
            generation: *generation,
            rolling: rolling.as_ref().map(RollingView::from),
            waiting: waiting.as_ref().map(RollingView::from),
            hold: hold.as_ref().map(HoldView::from),
            rejected,
        }
    }
}
