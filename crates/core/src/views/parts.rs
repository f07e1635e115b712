//! The parts of documents that `--json` prints, where a record is written in another form than people's scripts read.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::domain::{
    artifact::ArtifactKey,
    bake::{Artifact, BaseImage, Deadlines, Labels, Options, Parent, Settings, Span, Stage},
    id::{AmiId, ChannelName, Digest, GroupName, ParameterName, TemplateName},
    inputs::Inputs,
};

/// What a person asked for when they started a bake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OptionsView<'a> {
    /// Whether a new image was to be built, whatever there was.
    pub force: bool,
    /// Whether the channel was to move.
    pub promote: bool,
    /// Whether the builder was to stay if the bake failed.
    pub keep_builder: bool,
    /// What the person said of the bake: `--label KEY=VALUE`.
    pub labels: &'a Labels,
}

impl<'a> From<&'a Options> for OptionsView<'a> {
    fn from(options: &'a Options) -> Self {
        let Options { force, promote, keep_builder, labels } = options;
        Self { force: *force, promote: *promote, keep_builder: *keep_builder, labels }
    }
}

/// What was put into an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ArtifactView {
    /// Its key in the bucket.
    pub key: ArtifactKey,
    /// The version of the object, on a versioned bucket.
    pub version: Option<String>,
    /// Its size in bytes.
    pub bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
    /// When it was uploaded, to the second, as S3 tells it.
    pub uploaded: Timestamp,
    /// S3's sequencer: of two artifacts uploaded in the same second, it decides which is the newer one. Empty for a bake
    /// that no upload started.
    pub sequencer: String,
}

impl From<&Artifact> for ArtifactView {
    fn from(artifact: &Artifact) -> Self {
        let Artifact { key, version, bytes, sha256, uploaded, sequencer } = artifact.clone();
        Self { key, version, bytes, sha256, uploaded, sequencer }
    }
}

/// The image that a bake starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BaseView {
    /// The image.
    pub image: AmiId,
    /// Its name, as EC2 has it.
    pub name: String,
    /// The base as the recipe names it.
    pub written: String,
    /// The promotion by which it came there, when the base is another pipeline's channel.
    pub parent: Option<Parent>,
}

impl From<&BaseImage> for BaseView {
    fn from(base: &BaseImage) -> Self {
        let BaseImage { image, name, written, parent } = base.clone();
        Self { image, name, written, parent }
    }
}

/// Every input of an image by its own digest: what differs between two bakes made their images differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InputsView<'a> {
    /// The version of the rule by which the digest is made of the others.
    pub rule: u32,
    /// The base image.
    pub base: &'a AmiId,
    /// The architecture of the base.
    pub architecture: &'a str,
    /// The recipe's steps, and where its artifact goes.
    pub configuration: &'a Digest,
    /// The root volume that the recipe asks for.
    pub volume: Option<&'a Digest>,
    /// The files beside the recipe, with their modes.
    pub files: Option<&'a Digest>,
    /// The artifact's bytes.
    pub artifact: Option<&'a Digest>,
    /// The versions of the parameters that the steps read secrets from.
    pub secrets: &'a BTreeMap<ParameterName, i64>,
    /// The runner that works on the builder.
    pub runner: &'a Digest,
    /// What the image must pass; it is no part of the image.
    pub tests: &'a Digest,
}

impl<'a> From<&'a Inputs> for InputsView<'a> {
    fn from(inputs: &'a Inputs) -> Self {
        let Inputs {
            rule,
            base,
            architecture,
            configuration,
            volume,
            files,
            artifact,
            secrets,
            runner,
            tests,
        } = inputs;
        Self {
            rule: *rule,
            base,
            architecture,
            configuration,
            volume: volume.as_ref(),
            files: files.as_ref(),
            artifact: artifact.as_ref(),
            secrets,
            runner,
            tests,
        }
    }
}

/// What of the recipe a bake goes by after its start. How groups are rolled out is in the rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SettingsView<'a> {
    /// The channel that promotion moves.
    pub channel: &'a ChannelName,
    /// The parameter that follows the channel.
    pub parameter: Option<&'a ParameterName>,
    /// The launch templates that follow the channel.
    pub launch_templates: &'a [TemplateName],
    /// The Auto Scaling groups that follow the channel.
    pub groups: &'a [GroupName],
    /// Whether a fresh instance of the image is tested too.
    pub verify_boot: bool,
    /// Whether instances of the image are to accept IMDSv2 alone.
    pub imdsv2: bool,
    /// Whether the image is protected against deregistration.
    pub deregistration_protection: bool,
    /// How many bakes of the pipeline may have a builder at the same time.
    pub concurrency: u32,
    /// How long each wait may take, in seconds.
    pub deadlines: Deadlines,
    /// The tags of people's that all has what the bake makes: the recipe's, and the labels.
    pub tags: &'a BTreeMap<String, String>,
}

impl<'a> From<&'a Settings> for SettingsView<'a> {
    fn from(settings: &'a Settings) -> Self {
        let Settings {
            channel,
            parameter,
            launch_templates,
            groups,
            rollout: _,
            verify_boot,
            imdsv2,
            protected,
            concurrency,
            deadlines,
            tags,
        } = settings;
        Self {
            channel,
            parameter: parameter.as_ref(),
            launch_templates,
            groups,
            verify_boot: *verify_boot,
            imdsv2: *imdsv2,
            deregistration_protection: *protected,
            concurrency: *concurrency,
            deadlines: *deadlines,
            tags,
        }
    }
}

/// One stage's time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SpanView {
    /// The stage.
    pub stage: Stage,
    /// When it began.
    pub start: Timestamp,
    /// When it ended; none while it lasts.
    pub end: Option<Timestamp>,
}

impl From<&Span> for SpanView {
    fn from(span: &Span) -> Self {
        let Span { stage, start, end } = span.clone();
        Self { stage, start, end }
    }
}
