//! How each pipeline stands: what its channels point at, what runs on that, and what went wrong last.
//!
//! It is made in two parts, because a stack may have hundreds of pipelines. [`records`] reads one pipeline, and may run for
//! many at once. [`status`] then asks the world about all of them together: every base and every parameter once.

mod read;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

pub use self::read::{Follower, Records, followers, records, status, status_by, values};
use super::parts::{ArtifactView, BaseView};
use crate::{
    domain::{
        bake::{Bake, Stage, Status},
        id::{AmiId, BakeId, ChannelName, Digest, InstanceId, ParameterName, PipelineName, RolloutId},
        rollout::{Phase, Rollout},
    },
    store::{Hold, Rolling},
};

/// Among how many of a pipeline's newest bakes the last failure and older images are looked for, beside those that its
/// channels remember.
pub const RECENT: usize = 20;

/// The instances of the account that are starting or running and aren't a bake's, by the image they were started from.
pub type Fleet = BTreeMap<AmiId, BTreeSet<InstanceId>>;

/// How a pipeline stands. Its fields are always there: what there is none of is `null` or empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PipelineStatus {
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The version of its current recipe; none when it has none any more.
    pub recipe: Option<Digest>,
    /// Why its recipe can't be baked; none when it can.
    pub recipe_problem: Option<String>,
    /// Its channels, also those that its recipe no longer names.
    pub channels: Vec<ChannelStatus>,
    /// The bakes that are on their way, the newest first.
    pub running: Vec<BakeSummary>,
    /// The newest bake that has ended.
    pub last_bake: Option<BakeSummary>,
    /// The newest bake that failed, among the [`RECENT`] newest.
    pub last_failure: Option<BakeSummary>,
}

/// A person's word that automation promotes nothing to a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Whose word.
    pub by: String,
    /// Why.
    pub why: Option<String>,
    /// Since when.
    pub since: Timestamp,
}

impl From<&Hold> for Held {
    fn from(hold: &Hold) -> Self {
        Self { by: hold.by.clone(), why: hold.why.clone(), since: hold.since }
    }
}

/// An image on its way to a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Coming {
    /// The rollout that brings it.
    pub rollout: RolloutId,
    /// The image.
    pub image: AmiId,
    /// Where the rollout is; none when its record is gone.
    pub phase: Option<Phase>,
    /// What it waits for; none when it waits for nothing.
    pub awaits: Option<String>,
    /// Whether it waits for a person's approval.
    pub asks: bool,
}

impl Coming {
    fn new(rolling: &Rolling, rollout: Option<&Rollout>) -> Self {
        Self {
            rollout: rolling.rollout.clone(),
            image: rolling.image.clone(),
            phase: rollout.map(|rollout| rollout.progress.phase),
            awaits: rollout
                .map(|rollout| rollout.progress.awaits.clone())
                .filter(|awaits| !awaits.is_empty()),
            asks: rollout.is_some_and(Rollout::awaits_approval),
        }
    }
}

/// How a channel stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChannelStatus {
    /// Its name.
    pub channel: ChannelName,
    /// Whether the pipeline's recipe names it.
    pub in_recipe: bool,
    /// Whether bakes promote to it. To the others people promote.
    pub by_bakes: bool,
    /// What it points at; none when nothing was ever promoted, or the first promotion was taken back.
    pub current: Option<Current>,
    /// The parameters that follow it.
    pub parameters: Vec<ParameterStatus>,
    /// The instances that run on its image.
    pub on_current: BTreeSet<InstanceId>,
    /// The instances that run on another image of its pipeline, as far as the channel and the newest bakes name it.
    pub on_others: BTreeMap<AmiId, BTreeSet<InstanceId>>,
    /// Since when each of its former images isn't the newest good one any more. That is the age that counts: an image of a
    /// year ago that nothing replaced is not old.
    pub outdated: BTreeMap<AmiId, Timestamp>,
    /// Who holds it, so that automation promotes nothing to it.
    pub hold: Option<Held>,
    /// The rollout that is under way.
    pub rolling: Option<Coming>,
}

/// What a channel points at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Current {
    /// The image.
    pub image: AmiId,
    /// The bake that promoted it.
    pub bake: BakeId,
    /// Since when.
    pub promoted: Timestamp,
    /// How often the channel had moved then.
    pub generation: u64,
    /// What is in it; none for a pipeline without artifacts, or when the bake is no longer on record.
    pub artifact: Option<ArtifactView>,
    /// What it was made on; none when the bake is no longer on record.
    pub base: Option<BaseView>,
    /// What a bake would be made on now; none when that can't be told.
    pub base_now: Option<AmiId>,
    /// The base as the recipe names it now, if it names another one than that of the image; none if it is the same.
    pub other_base: Option<String>,
    /// Whether a bake would be made on another base now; none when that can't be told.
    pub behind: Option<bool>,
    /// Why the base can't be told; none when it can.
    pub base_problem: Option<String>,
}

/// A parameter that follows a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ParameterStatus {
    /// Its name.
    pub parameter: ParameterName,
    /// What it says; none when it isn't there.
    pub value: Option<String>,
    /// Whether it says another image than the channel does.
    pub drifted: bool,
    /// Whether it was left for later: then nothing is known of what it says. Only who reads a part at a time leaves any.
    #[serde(skip)]
    pub unread: bool,
}

/// What the parameters say that were read; none for one that isn't there.
pub type Values = BTreeMap<ParameterName, Option<String>>;

impl ParameterStatus {
    /// How a parameter stands to its channel's image, by what was read.
    pub fn new(parameter: &ParameterName, image: Option<&AmiId>, values: &Values) -> Self {
        let read = values.get(parameter);
        let value = read.cloned().flatten();
        let drifted = read.is_some() && value.as_deref() != image.map(AmiId::as_str);
        Self { parameter: parameter.clone(), value, drifted, unread: read.is_none() }
    }
}

/// One bake, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BakeSummary {
    /// Its id.
    pub bake: BakeId,
    /// How it stands.
    pub status: Status,
    /// The stage it is in, or was in at its end.
    pub stage: Stage,
    /// When it started.
    pub started: Timestamp,
    /// When its stage began.
    pub stage_since: Timestamp,
    /// When it ended; none while it is on its way.
    pub ended: Option<Timestamp>,
    /// The name of the error that it failed with.
    pub error: Option<String>,
}

impl From<&Bake> for BakeSummary {
    fn from(bake: &Bake) -> Self {
        Self {
            bake: bake.spec.id.clone(),
            status: bake.progress.status,
            stage: bake.progress.stage,
            started: bake.spec.started,
            stage_since: bake.progress.stage_since().unwrap_or(bake.spec.started),
            ended: bake.progress.ended(),
            error: bake.progress.failure.as_ref().map(|failure| failure.error.clone()),
        }
    }
}
