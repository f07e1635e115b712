//! The bake: the one document that flows through the state machine and is mirrored in the table.

mod options;
mod order;
mod origin;
mod settings;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::{
    options::Options,
    order::Order,
    origin::{Artifact, BaseImage, ChildBake, Parent},
    settings::{Deadlines, Settings},
};
pub use super::stage::{Stage, Status};
use crate::domain::{
    error::{Error, Result},
    id::{AmiId, BakeId, CommandId, Digest, ImageName, InstanceId, PipelineName, SnapshotId, StackId},
    inputs::Inputs,
    tags,
};

/// One stage's time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The stage that this time was spent in.
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
    /// Nothing was asked for, and nothing is to be cleaned up.
    Nothing,
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
    /// Running, or how it ended.
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
    /// The instance that is configured and imaged; none before its launch, or when an image is reused.
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
    /// The image that it made or reused; none before it is known.
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
    /// The stage that it is in, or was in when it ended.
    pub stage: Stage,
    /// Where it was, and for how long.
    pub timeline: Vec<Span>,
    /// Why it failed or was cancelled; none for a bake that runs or ended well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Where the state machine goes next.
    pub next: Next,
}

impl Failure {
    /// The error's name when somebody stopped the bake.
    pub const CANCELLED: &'static str = "Cancelled";

    /// How a bake that this ended stands.
    pub fn status(&self) -> Status {
        if self.error == Self::CANCELLED { Status::Cancelled } else { Status::Failed }
    }
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

    /// How new what it delivers is, to compare it with another bake of its pipeline.
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
    pub fn tags(&self, stack: &StackId) -> BTreeMap<String, String> {
        let mut tags = self.settings.tags.clone();
        tags.extend(tags::tags(stack, &self.bake, &self.pipeline, &self.digest, self.expires));
        tags
    }

    /// The builder's id; asking before there is one is an error of the state machine.
    pub fn builder(&self) -> Result<&InstanceId> {
        self.builder.as_ref().ok_or_else(|| self.lacks("builder"))
    }

    /// The image's id; asking before there is one is an error of the state machine.
    pub fn image(&self) -> Result<&AmiId> {
        self.image.as_ref().ok_or_else(|| self.lacks("image"))
    }

    fn lacks(&self, what: &str) -> Error {
        Error::bad_input(
            format!("bake `{}` in stage {}", self.bake, self.stage),
            format!("has no {what} yet"),
            "Start bakes with `ovenbird bake PIPELINE`, not with a document",
        )
    }
}
