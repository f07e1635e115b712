//! What goes from state to state of a bake's execution.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Bake, Stage, Status};
use crate::domain::{
    error::{Error, Result},
    event::Event,
    id::{AmiId, SnapshotId},
};

/// What goes from state to state of a bake's execution: the bake as last recorded, what was seen since, and the way on.
///
/// The record in the table is the truth. A step that writes reads it first, so that an old document changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// The bake, as it was recorded when the document was written.
    #[serde(flatten)]
    pub bake: Bake,
    /// Where the state machine goes next.
    pub next: Next,
    /// What poll-readiness saw since: the next step puts it on record.
    #[serde(default, skip_serializing_if = "Seen::is_nothing")]
    pub seen: Seen,
    /// How the bake ends, once it is cleaned up. Its record says until then that it is on its way, so that a prune
    /// looks after it whatever happens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<Status>,
    /// What EventBridge is told of it, before it is cleaned up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
}

/// Where a state machine goes next. It is all that the state machine looks at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Next<Way = To> {
    /// The way.
    pub to: Way,
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
    /// An image of this digest exists: promote it. Or what follows the channel does not have it yet: write it again.
    Promote,
    /// Others come first: a bake of this digest that is on its way, or those that have a builder.
    Twin,
    /// The wait for them is over: launch.
    Launch,
    /// Nothing is left but to clean up.
    Done,
    /// Nothing was asked for, and nothing is to be cleaned up.
    Nothing,
}

/// What poll-readiness saw. It may not write records, so that the next step does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// How many tests passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests_passed: Option<usize>,
    /// The finished image's snapshots.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<SnapshotId>,
    /// The image that the twin made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<AmiId>,
    /// What does not follow the channel although its time is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<String>,
    /// Why AWS refused for now to write what follows the channel, in its words. It is not put on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// When the instance's URLs were signed last. It is not put on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<Timestamp>,
    /// How the finished image stood when EC2 was asked last. It is not put on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available: Option<Available>,
}

/// An image that EC2 showed as available.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Available {
    /// Before this moment it was not asked.
    pub since: Timestamp,
    /// Whether its instances accept IMDSv2 alone.
    pub imdsv2: bool,
    /// Whether it can't be deregistered.
    pub protected: bool,
}

impl Seen {
    /// Whether there is nothing to put on record.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl Document {
    /// With the time at which the instance's URLs were signed.
    #[must_use]
    pub fn signed(mut self, signed: Option<Timestamp>) -> Self {
        self.seen.signed = signed;
        self
    }

    /// Sends the state machine on.
    #[must_use]
    pub fn go(mut self, to: To) -> Self {
        self.next = Next { to, seconds: 1 };
        self
    }

    /// Sends the state machine into another round of its wait, or fails when the stage's deadline has passed.
    ///
    /// Where a report or an image is waited for, poll-readiness looks by itself, for up to two minutes, and begins anew at
    /// once. Elsewhere the delay is an eighth of the time waited, up to ten seconds, and in a long wait up to two minutes. So
    /// the longest bake that a recipe allows stays below Step Functions' 25,000 events.
    pub fn wait(mut self, now: Timestamp, awaited: &'static str, seen: impl Into<String>) -> Result<Self> {
        let (stage, waited) = (self.bake.progress.stage, self.bake.progress.waited(now));
        let allowed = self.bake.spec.settings.deadlines.of(stage);
        if waited >= allowed {
            return Err(Error::DeadlinePassed { stage, allowed, awaited, seen: seen.into() });
        }
        let seconds = if stage.reports() || stage == Stage::Image {
            0
        } else {
            (waited / 8).clamp(1, 10).max((waited / 120).min(120))
        };
        let seconds = u32::try_from(seconds).unwrap_or(120);
        self.next = Next { to: To::Wait, seconds };
        Ok(self)
    }
}
