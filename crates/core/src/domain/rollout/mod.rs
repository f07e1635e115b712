//! A rollout: how the machines that follow a channel are brought to its new image, and back if it is no good.

mod judge;
mod pair;
mod preflight;
mod progress;
mod seen;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

pub use self::{
    judge::{Counts, Fault, Verdict, judge, judge_pair},
    pair::{Act, Pair, Route, Sizes, Weight, act, act_back, arn_name, find_pair},
    preflight::{Refusal, no_room, refusals, wrong_architecture},
    progress::{Entry, GroupState, Intent, Outcome, Phase, Progress, Sighting, Wish},
    seen::{
        AlarmState, FailedLaunch, Group, Launched, Launches, Member, Override, Refresh, RefreshState, Seen,
        Target, TargetState, Template,
    },
};
use super::{
    bake::Order,
    destination::Destination,
    id::{AmiId, BakeId, Digest, RolloutId},
};

/// One image on its way to the machines of one channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// What is rolled out, and how. It never changes.
    pub spec: RolloutSpec,
    /// How far it is.
    pub progress: Progress,
}

impl Rollout {
    /// Whether the recipe asks a person before this stage. Of an image that was good lately nobody is asked.
    pub fn asks_before(&self) -> bool {
        let policy = &self.spec.to.policy;
        let (_, stage) = self.progress.place(policy);
        !self.spec.proven && policy.pause_before.is_some_and(|before| before as usize == stage + 1)
    }

    /// Whether it waits for a person's answer to that, and not because a person paused it elsewhere.
    pub fn awaits_approval(&self) -> bool {
        self.progress.phase == Phase::Paused && self.asks_before()
    }

    /// Until when a person may answer, while it waits for that; none means without limit.
    pub fn approval_ends(&self) -> Option<Timestamp> {
        let within = self.spec.to.policy.approve_within.filter(|_| self.awaits_approval())?;
        // No limit that can be reached is no limit.
        self.progress.since.checked_add(SignedDuration::from_secs(within)).ok()
    }
}

/// What is rolled out where, as it was decided when the rollout was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutSpec {
    /// Its id.
    pub id: RolloutId,
    /// The channel, and what follows it.
    pub to: Destination,
    /// The image.
    pub image: AmiId,
    /// The image's digest.
    pub digest: Digest,
    /// The bake that made the image, or that found it made already.
    pub bake: BakeId,
    /// The image's place in the line of versions.
    pub order: Order,
    /// Who asked for it: a bake, or a person as AWS knows them.
    pub by: String,
    /// Why, in that person's words; none for a bake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Whether the image was this channel's before. Then the stages are left out: it was good lately.
    #[serde(default)]
    pub proven: bool,
}
