//! Which machines run from which image, and what each image is to the pipelines.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;

use super::status::{ChannelStatus, Fleet, PipelineStatus};
use crate::domain::{
    artifact::ArtifactKey,
    bake::Bake,
    id::{AmiId, BakeId, ChannelName, InstanceId, PipelineName, RolloutId},
};

/// What an image is to the pipelines. What somebody must look at comes first, and what isn't ours last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// A channel pointed at it before.
    Older,
    /// A bake made it, and no channel is known to have had it.
    Made,
    /// A rollout brings it to a channel.
    Coming,
    /// A channel points at it.
    Current,
    /// None of the pipelines' newest bakes made it.
    Foreign,
}

impl Standing {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Older => "older",
            Self::Made => "made",
            Self::Coming => "coming",
            Self::Current => "current",
            Self::Foreign => "foreign",
        }
    }
}

/// The machines that run from an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OnImage {
    /// The image.
    pub image: AmiId,
    /// What it is to the pipelines.
    pub standing: Standing,
    /// The pipeline that made it; none of a foreign one.
    pub pipeline: Option<PipelineName>,
    /// The channel that points at it, pointed at it before, or is being brought to it.
    pub channel: Option<ChannelName>,
    /// The bake that promoted or made it, as far as a channel or one of the newest bakes says.
    pub bake: Option<BakeId>,
    /// The rollout that is under way in the channel.
    pub rollout: Option<RolloutId>,
    /// Since when another image is the channel's, of an older one. An image that nothing replaced is not outdated, however
    /// old it is.
    pub outdated: Option<Timestamp>,
    /// The artifact in it, as far as a channel or one of the newest bakes says.
    pub artifact: Option<ArtifactKey>,
    /// The machines. Those of bakes aren't among them.
    pub instances: BTreeSet<InstanceId>,
}

/// The machines of the account by their images, with what somebody must look at first.
///
/// `bakes` are the pipelines' newest ones: what none of them made is foreign.
pub fn fleet<'a>(
    pipelines: &[PipelineStatus],
    bakes: impl Iterator<Item = &'a Bake> + Clone,
    fleet: &Fleet,
) -> Vec<OnImage> {
    let mut all: Vec<OnImage> = fleet
        .iter()
        .map(|(image, instances)| OnImage {
            instances: instances.clone(),
            ..of(image, pipelines, bakes.clone())
        })
        .collect();
    all.sort_by(|one, other| (one.standing, &one.image).cmp(&(other.standing, &other.image)));
    all
}

fn of<'a>(image: &AmiId, pipelines: &[PipelineStatus], mut bakes: impl Iterator<Item = &'a Bake>) -> OnImage {
    let maker = bakes.find(|bake| bake.progress.image.as_ref() == Some(image));
    let none = OnImage {
        image: image.clone(),
        standing: Standing::Foreign,
        pipeline: None,
        channel: None,
        bake: maker.map(|bake| bake.spec.id.clone()),
        rollout: None,
        outdated: None,
        artifact: maker.and_then(|bake| Some(bake.spec.artifact.as_ref()?.key.clone())),
        instances: BTreeSet::new(),
    };
    let found = |one: &PipelineStatus, channel: &ChannelStatus, standing| OnImage {
        standing,
        pipeline: Some(one.pipeline.clone()),
        channel: Some(channel.channel.clone()),
        rollout: channel.rolling.as_ref().map(|coming| coming.rollout.clone()),
        ..none.clone()
    };
    let channels = || pipelines.iter().flat_map(|one| one.channels.iter().map(move |channel| (one, channel)));
    for (one, channel) in channels() {
        if let Some(current) = channel.current.as_ref().filter(|current| current.image == *image) {
            let artifact = current.artifact.as_ref().map(|artifact| artifact.key.clone());
            let bake = Some(current.bake.clone());
            return OnImage {
                bake,
                artifact: artifact.or(none.artifact.clone()),
                ..found(one, channel, Standing::Current)
            };
        }
    }
    for (one, channel) in channels() {
        if channel.rolling.as_ref().is_some_and(|coming| coming.image == *image) {
            return found(one, channel, Standing::Coming);
        }
    }
    for (one, channel) in channels() {
        if let Some(since) = channel.outdated.get(image) {
            return OnImage { outdated: Some(*since), ..found(one, channel, Standing::Older) };
        }
    }
    match maker {
        Some(bake) => {
            OnImage { standing: Standing::Made, pipeline: Some(bake.spec.pipeline.clone()), ..none }
        }
        None => none,
    }
}
