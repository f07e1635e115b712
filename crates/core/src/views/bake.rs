//! One bake, as `ovenbird … --json` prints it: a stable document of its own, whatever the records look like.

use jiff::Timestamp;
use serde::Serialize;

use super::parts::{ArtifactView, BaseView, InputsView, OptionsView, SettingsView, SpanView};
use crate::domain::{
    bake::{Bake, ChildBake, Failure, Parent, Stage, Status},
    id::{
        AmiId, BakeId, ChannelName, Digest, ImageName, InstanceId, ParameterName, PipelineName, RolloutId,
        SnapshotId,
    },
};

/// One bake, as operators and their scripts read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BakeView<'a> {
    /// Whether it has a record; what failed before it had one has fewer fields.
    pub recorded: bool,
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
    pub cascade: Option<&'a Parent>,
    /// What was asked for.
    pub options: OptionsView<'a>,
    /// When its execution started.
    pub started: Timestamp,
    /// When it ended; none while it is on its way.
    pub ended: Option<Timestamp>,
    /// After this moment a prune removes what a dead bake left.
    pub expires: Timestamp,
    /// What went into the image; none for a pipeline without artifacts.
    pub artifact: Option<ArtifactView>,
    /// The version of the recipe.
    pub recipe: &'a Digest,
    /// The key that signed the recipe, `SHA256:…`; none where the stack names no signers.
    pub signer: Option<&'a str>,
    /// The base image.
    pub base: BaseView,
    /// Every input, by its own digest.
    pub inputs: InputsView<'a>,
    /// SHA-256 over the inputs: bakes of one digest share one image.
    pub digest: &'a Digest,
    /// The channel that its promotion moves.
    pub channel: &'a ChannelName,
    /// The parameter that follows the channel.
    pub parameter: Option<&'a ParameterName>,
    /// The builder.
    pub builder: Option<&'a InstanceId>,
    /// The fresh instance on which the image was tested.
    pub booted: Option<&'a InstanceId>,
    /// How many tests the image passed.
    pub tests_passed: Option<usize>,
    /// The image.
    pub image: Option<&'a AmiId>,
    /// The name of the image that it made or would have made.
    pub image_name: &'a ImageName,
    /// What of the recipe it keeps: deadlines, tags, whether the image is booted for its tests.
    pub settings: SettingsView<'a>,
    /// The image's snapshots.
    pub snapshots: &'a [SnapshotId],
    /// Whether another bake made the image.
    pub reused: bool,
    /// The bakes that its promotion started.
    pub children: &'a [ChildBake],
    /// The rollout that brings its image to the channel's machines.
    pub rollout: Option<&'a RolloutId>,
    /// Why automation may not promote its image, although all is well with it.
    pub not_promoted: Option<&'a str>,
    /// The stages and their times.
    pub timeline: Vec<SpanView>,
    /// Why it failed.
    pub failure: Option<&'a Failure>,
}

impl<'a> From<&'a Bake> for BakeView<'a> {
    fn from(bake: &'a Bake) -> Self {
        let Bake { spec, progress } = bake;
        Self {
            recorded: true,
            bake: &spec.id,
            pipeline: &spec.pipeline,
            status: progress.status,
            stage: progress.stage,
            trigger: &spec.trigger,
            cascade: spec.cascade.as_ref(),
            options: OptionsView::from(&spec.options),
            started: spec.started,
            ended: progress.ended(),
            expires: bake.expires(),
            artifact: spec.artifact.as_ref().map(ArtifactView::from),
            recipe: &spec.recipe,
            signer: spec.signer.as_deref(),
            base: BaseView::from(&spec.base),
            inputs: InputsView::from(&spec.inputs),
            digest: &spec.digest,
            channel: &spec.settings.channel,
            parameter: spec.settings.parameter.as_ref(),
            builder: progress.builder.as_ref(),
            booted: progress.booted.as_ref(),
            tests_passed: progress.tests_passed,
            image: progress.image.as_ref(),
            image_name: &spec.image_name,
            settings: SettingsView::from(&spec.settings),
            snapshots: &progress.snapshots,
            reused: progress.reused,
            children: &progress.children,
            rollout: progress.rollout.as_ref(),
            not_promoted: progress.not_promoted.as_deref(),
            timeline: progress.timeline.iter().map(SpanView::from).collect(),
            failure: progress.failure.as_ref(),
        }
    }
}

/// A bake that failed before it had a record: it has no inputs, and so no digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EarlyBakeView<'a> {
    /// Whether it has a record: never.
    pub recorded: bool,
    /// Its id, which is also its execution's name.
    pub bake: &'a BakeId,
    /// The pipeline that it was to bake; none when its input names none.
    pub pipeline: Option<&'a PipelineName>,
    /// Always `failed`.
    pub status: Status,
    /// Always `launch`.
    pub stage: Stage,
    /// `upload`, `manual` or `cascade`; none when its input isn't understood.
    pub trigger: Option<&'a str>,
    /// When its execution started.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Why it failed.
    pub failure: Failure,
}
