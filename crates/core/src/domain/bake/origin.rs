//! What a bake is made of and stands on, and its place in the line of its pipeline's versions.

use std::{cmp::Ordering, fmt};

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

/// What a bake stands at in the line of its pipeline's versions: the newest wins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The artifact's key and version; none for a pipeline without artifacts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<String>,
    /// When the artifact was uploaded; without one, when the bake started.
    pub uploaded: Timestamp,
    /// S3's sequencer: it decides between uploads of the same second.
    #[serde(default)]
    pub sequencer: String,
    /// When the bake started: it decides between bakes of one artifact.
    pub started: Timestamp,
}

impl Order {
    /// Compares two bakes of one pipeline by the age of what they deliver.
    pub fn compare(&self, other: &Self) -> Ordering {
        if self.artifact.is_some() && self.artifact == other.artifact {
            return self.started.cmp(&other.started);
        }
        // Sequencers are hexadecimal numbers of unequal length: AWS says to pad the shorter with zeros on the right.
        let width = self.sequencer.len().max(other.sequencer.len());
        let padded = |sequencer: &str| format!("{sequencer:0<width$}");
        self.uploaded
            .cmp(&other.uploaded)
            .then_with(|| padded(&self.sequencer).cmp(&padded(&other.sequencer)))
            .then_with(|| self.started.cmp(&other.started))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(artifact: &str, uploaded: i64, sequencer: &str, started: i64) -> Order {
        let at = |second| Timestamp::from_second(second).unwrap();
        Order {
            artifact: Some(artifact.into()),
            uploaded: at(uploaded),
            sequencer: sequencer.into(),
            started: at(started),
        }
    }

    #[test]
    fn the_newest_upload_wins_whatever_the_start() {
        let (old, new) = (order("a", 10, "", 99), order("b", 11, "", 50));
        assert_eq!(old.compare(&new), Ordering::Less);
    }

    #[test]
    fn the_sequencer_decides_within_a_second() {
        let (old, new) = (order("a", 10, "0055AED6", 99), order("b", 10, "0055AED6DCD90281E5", 50));
        assert_eq!(old.compare(&new), Ordering::Less);
    }

    #[test]
    fn bakes_of_one_artifact_are_ordered_by_their_start() {
        let (old, new) = (order("a", 10, "FF", 50), order("a", 10, "", 99));
        assert_eq!(old.compare(&new), Ordering::Less);
    }
}
