//! The bake: the one document that flows through the state machine and is mirrored in the table.

use std::{cmp::Ordering, collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    artifact::ArtifactKey,
    digest::Inputs,
    error::{Error, Result},
    id::{
        AmiId, BakeId, ChannelName, CommandId, Digest, ImageName, InstanceId, ParameterName, PipelineName,
        SnapshotId,
    },
    ports,
};

/// Where a bake is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Inputs are resolved and the builder is started.
    Launch,
    /// Another bake of the same digest is on its way; this one waits for its image.
    AwaitTwin,
    /// The builder boots and is configured.
    Builder,
    /// The tests run on the builder.
    Validation,
    /// The builder is cleaned and stops.
    Seal,
    /// EC2 makes the image.
    Image,
    /// A fresh instance of the image boots and runs the tests.
    Boot,
    /// The channel and what follows it move.
    Promotion,
    /// What the bake no longer needs is removed.
    CleanUp,
}

impl Stage {
    /// The stage's word, as in the document.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Launch => "launch",
            Self::AwaitTwin => "await-twin",
            Self::Builder => "builder",
            Self::Validation => "validation",
            Self::Seal => "seal",
            Self::Image => "image",
            Self::Boot => "boot",
            Self::Promotion => "promotion",
            Self::CleanUp => "clean-up",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a bake stands, as operators see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// On its way.
    Running,
    /// Its image was made (or found) and its channel points at it.
    Promoted,
    /// Its image was made and validated, and it was asked not to promote.
    Validated,
    /// A newer artifact was promoted first; the image stays for reuse until it is retired.
    Superseded,
    /// It failed; `failure` says why.
    Failed,
}

impl Status {
    /// The status's word, which is also its key in the table's index.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Promoted => "promoted",
            Self::Validated => "validated",
            Self::Superseded => "superseded",
            Self::Failed => "failed",
        }
    }
}

/// One stage's time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The stage.
    pub stage: Stage,
    /// When it began.
    pub start: Timestamp,
    /// When it ended; none while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
}

/// Where the state machine goes next. It is all that the state machine looks at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Next {
    /// The way.
    pub to: To,
    /// How long to wait before looking, in seconds.
    #[serde(default)]
    pub seconds: u32,
}

/// The ways a state machine's choice knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum To {
    /// Something was started: wait for it.
    Await,
    /// It isn't there yet: wait again.
    Wait,
    /// It is there: go on.
    Go,
    /// The image is there: also boot a fresh instance of it.
    Verify,
    /// An image of this digest exists: promote it.
    Promote,
    /// Another bake of this digest is on its way.
    Twin,
    /// The other bake gave up: launch.
    Launch,
    /// Nothing is left but to clean up.
    Done,
}

/// The uploaded thing that a bake puts into its image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Its key in the bucket.
    pub key: ArtifactKey,
    /// The version of the object, on a versioned bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its size.
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
    /// The image.
    pub image: AmiId,
    /// Its name.
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
    /// Whose channel.
    pub pipeline: PipelineName,
    /// Which.
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
    /// The pipeline.
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

/// What a manual start may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Options {
    /// Bake even when an image of this digest exists, and promote even over a newer artifact.
    #[serde(default)]
    pub force: bool,
    /// Move the channel when the image is validated.
    #[serde(default = "yes")]
    pub promote: bool,
    /// Leave the builder of a failed bake running, to look at it.
    #[serde(default)]
    pub keep_builder: bool,
}

fn yes() -> bool {
    true
}

impl Default for Options {
    fn default() -> Self {
        Self { force: false, promote: true, keep_builder: false }
    }
}

/// What of the recipe the later stages need, so that they need not read it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The channel that promotion moves.
    pub channel: ChannelName,
    /// The parameter that follows the channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter: Option<ParameterName>,
    /// Whether a fresh instance of the image is tested too.
    pub verify_boot: bool,
    /// Deadlines in seconds.
    pub deadlines: Deadlines,
    /// Tags that the recipe adds to all that the bake makes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// How long each wait may take, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadlines {
    /// Launch to provisioned.
    pub builder: i64,
    /// Tests.
    pub validation: i64,
    /// Sealing, and again for imaging.
    pub imaging: i64,
    /// The parameter's acceptance.
    pub promotion: i64,
}

impl Deadlines {
    /// The deadline of a stage, in seconds.
    pub fn of(&self, stage: Stage) -> i64 {
        match stage {
            Stage::Launch | Stage::CleanUp => 900,
            Stage::AwaitTwin => self.total(),
            Stage::Builder | Stage::Boot => self.builder,
            Stage::Validation => self.validation,
            Stage::Seal | Stage::Image => self.imaging,
            Stage::Promotion => self.promotion,
        }
    }

    /// No bake is alive this long after its start, in seconds: what is left of it then may be reaped.
    pub fn total(&self) -> i64 {
        2 * self.builder + self.validation + 2 * self.imaging + self.promotion + 1_800
    }
}

/// Why a bake failed, as recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The error's stable name.
    pub error: String,
    /// What happened, with its causes and the hint.
    pub cause: String,
    /// The stage in which it happened.
    pub stage: Stage,
}

/// One execution: trigger → image → promotion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bake {
    /// Its id: the execution's name.
    pub bake: BakeId,
    /// The pipeline it belongs to.
    pub pipeline: PipelineName,
    /// How it stands.
    pub status: Status,
    /// What started it: `upload`, `manual`, `cascade`.
    pub trigger: String,
    /// The promotion that started it, for a `cascade`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cascade: Option<Parent>,
    /// When its execution started.
    pub started: Timestamp,
    /// After this moment whatever is left of it may be reaped.
    pub expires: Timestamp,
    /// What was asked for.
    pub options: Options,
    /// What it puts into the image; none for a pipeline without artifacts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Artifact>,
    /// The version of the recipe: the bundle's SHA-256.
    pub recipe: Digest,
    /// The base image, resolved.
    pub base: BaseImage,
    /// Every input, by its own digest.
    pub inputs: Inputs,
    /// SHA-256 over every input.
    pub digest: Digest,
    /// The name its image has or will have.
    pub image_name: ImageName,
    /// What of the recipe the later stages need.
    pub settings: Settings,
    /// The fencing number of its digest's lease.
    #[serde(default)]
    pub fence: u64,
    /// Which of the recipe's offers EC2 is asked for: those before it were short.
    #[serde(default)]
    pub offer: usize,
    /// Its builder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builder: Option<InstanceId>,
    /// Whether the builder is a spot instance, which can't be stopped to be imaged.
    #[serde(default)]
    pub spot: bool,
    /// The fresh instance of its image, when the recipe asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub booted: Option<InstanceId>,
    /// The last command sent to the builder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandId>,
    /// How many tests its image passed; none before they did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests_passed: Option<usize>,
    /// Its image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<AmiId>,
    /// The image's snapshots.
    #[serde(default)]
    pub snapshots: Vec<SnapshotId>,
    /// Whether the image was there already.
    #[serde(default)]
    pub reused: bool,
    /// The pipelines that stand on what it promoted, with the bakes that were started for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<ChildBake>,
    /// Where it is.
    pub stage: Stage,
    /// Where it was, and for how long.
    pub timeline: Vec<Span>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Where the state machine goes next.
    pub next: Next,
}

impl Bake {
    /// Ends the current stage and begins the next one.
    pub fn enter(&mut self, stage: Stage, now: Timestamp) {
        if let Some(last) = self.timeline.last_mut().filter(|last| last.end.is_none()) {
            last.end = Some(now);
        }
        self.timeline.push(Span { stage, start: now, end: None });
        self.stage = stage;
    }

    /// Ends the last stage.
    pub fn finish(&mut self, status: Status, now: Timestamp) {
        if let Some(last) = self.timeline.last_mut().filter(|last| last.end.is_none()) {
            last.end = Some(now);
        }
        self.status = status;
    }

    /// Sends the state machine on.
    #[must_use]
    pub fn go(mut self, to: To) -> Self {
        self.next = Next { to, seconds: 1 };
        self
    }

    /// Sends the state machine into another round of its wait, or fails when the stage's deadline has passed.
    ///
    /// The delay is an eighth of the time waited so far, between a second and two minutes: no wait overshoots by
    /// more than an eighth, an hour of waiting costs about seventy looks, and the longest bake that a recipe allows
    /// stays below Step Functions' 25,000 events.
    pub fn wait(mut self, now: Timestamp, awaited: &'static str, seen: impl Into<String>) -> Result<Self> {
        let waited = self.timeline.last().map_or(0, |span| now.duration_since(span.start).as_secs());
        let allowed = self.settings.deadlines.of(self.stage);
        if waited >= allowed {
            return Err(Error::DeadlinePassed { stage: self.stage, allowed, awaited, seen: seen.into() });
        }
        let seconds = u32::try_from((waited / 8).clamp(1, 120)).unwrap_or(120);
        self.next = Next { to: To::Wait, seconds };
        Ok(self)
    }

    /// What it stands at in the line of its pipeline's versions.
    pub fn order(&self) -> Order {
        match &self.artifact {
            Some(artifact) => Order {
                artifact: Some(format!("{}@{}", artifact.key, artifact.sha256)),
                uploaded: artifact.uploaded,
                sequencer: artifact.sequencer.clone(),
                started: self.started,
            },
            None => Order {
                artifact: None,
                uploaded: self.started,
                sequencer: String::new(),
                started: self.started,
            },
        }
    }

    /// The tags that everything it makes carries: the recipe's, and over them ours.
    pub fn tags(&self) -> BTreeMap<String, String> {
        let mut tags = self.settings.tags.clone();
        tags.extend(ports::tags(&self.bake, &self.pipeline, &self.digest, self.expires));
        tags
    }

    /// The builder's id; asking before there is one is an error of the state machine.
    pub fn builder(&self) -> Result<&InstanceId> {
        self.builder.as_ref().ok_or_else(|| self.lacks("a builder"))
    }

    /// The image's id; asking before there is one is an error of the state machine.
    pub fn image(&self) -> Result<&AmiId> {
        self.image.as_ref().ok_or_else(|| self.lacks("an image"))
    }

    fn lacks(&self, what: &str) -> Error {
        Error::bad_input(
            format!("bake `{}` in stage {}", self.bake, self.stage),
            format!("has no {what} yet"),
            "Start bakes with `ovenbird bake PIPELINE`, not with a document",
        )
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
