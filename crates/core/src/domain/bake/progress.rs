//! How far a bake is and what it made so far. Its steps change it, each on condition that nobody else did.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{ChildBake, Seen, Stage, Status};
use crate::domain::id::{AmiId, InstanceId, RolloutId, SnapshotId};

/// How far a bake is, and what it made so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// On its way, or how it ended.
    pub status: Status,
    /// The stage it is in.
    pub stage: Stage,
    /// The stages it was in, and for how long.
    pub timeline: Vec<Span>,
    /// The fencing number of its digest's lease.
    #[serde(default)]
    pub fence: u64,
    /// Which of the recipe's offers EC2 is asked for, from 0: those before it were short.
    #[serde(default)]
    pub offer: usize,
    /// Whether EC2 refused the bake's last launch or image, so that nothing is to be looked for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refused: bool,
    /// The instance that is configured and imaged; none before its launch, or when an image is reused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builder: Option<InstanceId>,
    /// Whether the builder is a spot instance, which can't be stopped to be imaged.
    #[serde(default)]
    pub spot: bool,
    /// The fresh instance of the image, when the recipe asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub booted: Option<InstanceId>,
    /// How many tests the image passed; none before it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests_passed: Option<usize>,
    /// The image that it made or reused; none before it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<AmiId>,
    /// The image's snapshots.
    #[serde(default)]
    pub snapshots: Vec<SnapshotId>,
    /// Whether another bake made the image.
    #[serde(default)]
    pub reused: bool,
    /// The pipelines that stand on what it promoted, with the bakes that were started for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<ChildBake>,
    /// The rollout that brings its image to the channel; none where no machines follow that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutId>,
    /// Why its image was not promoted although all is well with it: a person holds the channel, or the image was
    /// rejected for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_promoted: Option<String>,
    /// When its image was written into the channel's parameter last: SSM may take it minutes after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<Timestamp>,
    /// What did not follow its channel in the time that the recipe allows. The promotion stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// After this moment the table may forget the record; none while it is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forgotten: Option<Timestamp>,
}

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

/// How long the record of a bake is kept when nothing needs it any more: a year and a month, for whoever looks a year back.
const HISTORY: SignedDuration = SignedDuration::from_hours(400 * 24);

impl Failure {
    /// The error's name when somebody stopped the bake.
    pub const CANCELLED: &'static str = "Cancelled";

    /// How a bake that this ended stands.
    pub fn status(&self) -> Status {
        if self.error == Self::CANCELLED { Status::Cancelled } else { Status::Failed }
    }
}

impl Progress {
    /// A bake that has just begun.
    pub fn new(began: Timestamp) -> Self {
        Self {
            status: Status::Running,
            stage: Stage::Launch,
            timeline: vec![Span { stage: Stage::Launch, start: began, end: None }],
            fence: 0,
            offer: 0,
            refused: false,
            builder: None,
            spot: false,
            booted: None,
            tests_passed: None,
            image: None,
            snapshots: Vec::new(),
            reused: false,
            children: Vec::new(),
            rollout: None,
            not_promoted: None,
            written: None,
            behind: None,
            failure: None,
            forgotten: None,
        }
    }

    /// Ends the current stage and begins the next one.
    pub fn enter(&mut self, stage: Stage, now: Timestamp) {
        self.end_span(now);
        self.timeline.push(Span { stage, start: now, end: None });
        self.stage = stage;
    }

    /// Ends the last stage, and the bake.
    ///
    /// The record of a bake whose image is there says that the image is this stack's: it stays until the image is
    /// retired. Any other one is history, and goes after a while.
    pub fn finish(&mut self, status: Status, now: Timestamp) {
        self.end_span(now);
        self.status = status;
        if self.reused || self.image.is_none() || !status.ended_well() {
            self.retire(now);
        }
    }

    /// From now on the record is history: what the bake made is gone.
    pub fn retire(&mut self, now: Timestamp) {
        self.forgotten.get_or_insert(now + HISTORY);
    }

    /// When its image was retired, or the bake ended without one; none while the record is needed.
    pub fn retired(&self) -> Option<Timestamp> {
        Some(self.forgotten? - HISTORY)
    }

    /// What the bake made is there again: the record is needed. False when it was all the time.
    pub fn unretire(&mut self) -> bool {
        self.forgotten.take().is_some()
    }

    fn end_span(&mut self, now: Timestamp) {
        if let Some(last) = self.timeline.last_mut().filter(|last| last.end.is_none()) {
            last.end = Some(now);
        }
    }

    /// When the current stage began; none for a record without a stage.
    pub fn stage_since(&self) -> Option<Timestamp> {
        self.timeline.last().map(|span| span.start)
    }

    /// When the bake ended; none while it is on its way.
    pub fn ended(&self) -> Option<Timestamp> {
        let last = self.timeline.last().filter(|_| self.status != Status::Running);
        last.and_then(|span| span.end)
    }

    /// How long the current stage lasts, in seconds.
    pub fn waited(&self, now: Timestamp) -> i64 {
        self.stage_since().map_or(0, |since| now.duration_since(since).as_secs())
    }

    /// How long it waited for other bakes, up to the last of these waits that has ended.
    pub fn waited_for_others(&self) -> SignedDuration {
        let waits =
            self.timeline.iter().filter(|span| matches!(span.stage, Stage::AwaitTwin | Stage::AwaitTurn));
        waits.filter_map(|span| Some(span.end?.duration_since(span.start))).sum()
    }

    /// Takes over what poll-readiness saw, which itself writes nothing.
    pub fn adopt(&mut self, seen: &Seen) {
        let Seen { tests_passed, snapshots, image, behind, signed: _, refused: _, available: _ } = seen;
        if behind.is_some() {
            self.behind.clone_from(behind);
        }
        if tests_passed.is_some() {
            self.tests_passed = *tests_passed;
        }
        if !snapshots.is_empty() {
            self.snapshots.clone_from(snapshots);
        }
        if image.is_some() {
            self.image.clone_from(image);
            self.reused = true;
        }
    }
}
