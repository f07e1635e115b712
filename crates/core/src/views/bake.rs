//! One bake, as `ovenbird … --json` prints it: a stable document of its own, whatever the records look like.

use jiff::Timestamp;
use serde::Serialize;

use crate::domain::{
    bake::{Artifact, Bake, BaseImage, ChildBake, Failure, Options, Parent, Settings, Span, Stage, Status},
    id::{
        AmiId, BakeId, ChannelName, Digest, ImageName, InstanceId, ParameterName, PipelineName, RolloutId,
        SnapshotId,
    },
    inputs::Inputs,
};

/// One bake, as operators and their scripts read it. Fields are added; none is renamed, and none goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BakeView<'a> {
    /// The bake's id, which is also its execution's name.
    pub bake: &'a BakeId,
    /// The pipeline whose recipe was baked.
    pub pipeline: &'a PipelineName,
    /// `running`, or how it ended.
    pub status: Status,
    /// The stage it is in, or was in at its end.
    pub stage: Stage,
    /// `upload`, `manual` or `cascade`.
    pub trigger: &'a str,
    /// The promotion that started it, for a `cascade`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cascade: Option<&'a Parent>,
    /// What was asked for.
    pub options: &'a Options,
    /// When its execution started.
    pub started: Timestamp,
    /// When it ended; none while it is on its way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// After this moment a prune removes what a dead bake left.
    pub expires: Timestamp,
    /// What went into the image; none for a pipeline without artifacts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact: Option<&'a Artifact>,
    /// The version of the recipe.
    pub recipe: &'a Digest,
    /// The base image.
    pub base: &'a BaseImage,
    /// Every input, by its own digest.
    pub inputs: &'a Inputs,
    /// SHA-256 over the inputs: bakes of one digest share one image.
    pub digest: &'a Digest,
    /// The channel that its promotion moves.
    pub channel: &'a ChannelName,
    /// The parameter that follows the channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<&'a ParameterName>,
    /// The builder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub builder: Option<&'a InstanceId>,
    /// The fresh instance on which the image was tested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub booted: Option<&'a InstanceId>,
    /// How many tests the image passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tests_passed: Option<usize>,
    /// The image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<&'a AmiId>,
    /// The name of the image that it made or would have made.
    pub image_name: &'a ImageName,
    /// What of the recipe it keeps: deadlines, tags, whether the image is booted for its tests.
    pub settings: &'a Settings,
    /// The image's snapshots.
    pub snapshots: &'a [SnapshotId],
    /// Whether another bake made the image.
    pub reused: bool,
    /// The bakes that its promotion started.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub children: &'a [ChildBake],
    /// The rollout that brings its image to the channel's machines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<&'a RolloutId>,
    /// Why automation may not promote its image, although all is well with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_promoted: Option<&'a str>,
    /// The stages and their times.
    pub timeline: &'a [Span],
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<&'a Failure>,
}

impl<'a> From<&'a Bake> for BakeView<'a> {
    fn from(bake: &'a Bake) -> Self {
        let Bake { spec, progress } = bake;
        Self {
            bake: &spec.id,
            pipeline: &spec.pipeline,
            status: progress.status,
            stage: progress.stage,
            trigger: &spec.trigger,
            cascade: spec.cascade.as_ref(),
            options: &spec.options,
            started: spec.started,
            ended: match progress.status {
                Status::Running => None,
                Status::Promoted
                | Status::Validated
                | Status::Superseded
                | Status::Failed
                | Status::Cancelled => progress.timeline.last().and_then(|span| span.end),
            },
            expires: spec.expires,
            artifact: spec.artifact.as_ref(),
            recipe: &spec.recipe,
            base: &spec.base,
            inputs: &spec.inputs,
            digest: &spec.digest,
            channel: &spec.settings.channel,
            parameter: spec.settings.parameter.as_ref(),
            builder: progress.builder.as_ref(),
            booted: progress.booted.as_ref(),
            tests_passed: progress.tests_passed,
            image: progress.image.as_ref(),
            image_name: &spec.image_name,
            settings: &spec.settings,
            snapshots: &progress.snapshots,
            reused: progress.reused,
            children: &progress.children,
            rollout: progress.rollout.as_ref(),
            not_promoted: progress.not_promoted.as_deref(),
            timeline: &progress.timeline,
            failure: progress.failure.as_ref(),
        }
    }
}
