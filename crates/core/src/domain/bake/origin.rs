//! What a bake is made of: the artifact, the base image, and the promotion that the base came from. And what it starts: the
//! bakes of other pipelines.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::{
    artifact::ArtifactKey,
    id::{AmiId, BakeId, ChannelName, Digest, PipelineName},
};

/// The uploaded thing that a bake puts into its image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Its key in the bucket.
    pub key: ArtifactKey,
    /// The version of the object, on a versioned bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its size in bytes.
    pub bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
    /// When it was uploaded.
    pub uploaded: Timestamp,
    /// S3's order of writes to one key, when an event told it.
    #[serde(default)]
    pub sequencer: String,
}

/// The image that a bake starts from, resolved once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseImage {
    /// The id that the recipe's `[base]` resolved to when the bake started.
    pub image: AmiId,
    /// The name of that image, as EC2 has it.
    pub name: String,
    /// The base as the recipe names it.
    pub written: String,
    /// The promotion by which it came there, when the base is a channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
}

/// A promotion of another pipeline that an image stands on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parent {
    /// The pipeline whose channel was moved.
    pub pipeline: PipelineName,
    /// The channel that was moved.
    pub channel: ChannelName,
    /// The bake that was promoted.
    pub bake: BakeId,
    /// The channel's generation with which it was.
    pub generation: u64,
}

impl fmt::Display for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pipeline, channel, bake, generation } = self;
        write!(f, "{pipeline}/{channel}, generation {generation}, by bake {bake}")
    }
}

/// A pipeline that stands on what a bake promoted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildBake {
    /// The pipeline whose base is the channel that moved.
    pub pipeline: PipelineName,
    /// The bake that was started for it; none when it has no artifact to bake yet.
    pub bake: Option<BakeId>,
}
