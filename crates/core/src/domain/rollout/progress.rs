//! How far a rollout is. Each step writes it on condition that nobody else did.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Pair, Seen, Template};
use crate::domain::{
    destination::{Destination, Policy, Share},
    id::{AmiId, GroupName, InstanceId},
};

/// Where a rollout is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Nothing is changed yet: it is checked whether it can go forth and back.
    Preflight,
    /// A stage is to be started.
    Stage,
    /// The instances of a stage come up, and are watched.
    Watch,
    /// It waits until a person resumes it. Nothing runs meanwhile.
    Paused,
    /// The channel and what follows it move.
    Settling,
    /// The channel has the image. The machines that served before are kept for a while, so that a return is quick.
    Keeping,
    /// The groups are brought back.
    Reverting,
    /// It has ended.
    Ended,
}

impl Phase {
    /// The phase's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Preflight => "preflight",
            Self::Stage => "stage",
            Self::Watch => "watch",
            Self::Paused => "paused",
            Self::Settling => "settling",
            Self::Keeping => "keeping",
            Self::Reverting => "reverting",
            Self::Ended => "ended",
        }
    }
}

/// How a rollout ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The image is the channel's, and all that follows it has it.
    Settled,
    /// All is as before, because the image was found bad, or could not be brought into service.
    Reverted,
    /// All is as before, because a person wanted that.
    Aborted,
    /// A person ended it while it could not be brought back: groups and rules are as they were then.
    Left,
    /// Nothing was changed: it could not have gone forth, or not back.
    Refused,
}

impl Outcome {
    /// The outcome's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Reverted => "reverted",
            Self::Aborted => "aborted",
            Self::Left => "left",
            Self::Refused => "refused",
        }
    }
}

/// What a person wants of a rollout that is under way. It is done at the next look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wish {
    /// Pause before the next stage.
    Pause,
    /// Leave out the other stages and the rest of the watch.
    Skip,
    /// Go back.
    Abort,
    /// End as it stands, where it can't go back.
    Leave,
}

/// How far a rollout is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Where it is.
    pub phase: Phase,
    /// The number of the execution that drives it, from 1. A function of an earlier one changes nothing any more.
    pub run: u32,
    /// The stage it is in: of the first group the first stage is 0, and each group has as many.
    #[serde(default)]
    pub position: usize,
    /// When the phase began.
    pub since: Timestamp,
    /// When the rollout began.
    pub began: Timestamp,
    /// Since when all that the stage brought is well; none while something isn't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub well_since: Option<Timestamp>,
    /// The groups, as they were and as far as they are.
    #[serde(default)]
    pub groups: Vec<GroupState>,
    /// The two groups of which one serves, where the strategy is blue-green.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<Pair>,
    /// What a person wants of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wish: Option<Wish>,
    /// Why it goes back, or was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The image that the channel had before, once the channel has this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<AmiId>,
    /// The new instances because of which it goes back. EC2 shows the console of one for about an hour after it is gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sick: Vec<InstanceId>,
    /// Whether a person wanted it to go back.
    #[serde(default)]
    pub aborted: bool,
    /// Whether the reason says nothing against the image: somebody changed the group, or no instance could be launched.
    #[serde(default)]
    pub blameless: bool,
    /// What it waits for, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub awaits: String,
    /// When the image was written into the channel's parameter last: SSM may take it minutes after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<Timestamp>,
    /// What does not follow the channel although its time is over. The channel has the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<String>,
    /// How it ended; none while it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// What happened, in order.
    #[serde(default)]
    pub timeline: Vec<Entry>,
}

/// Something that happened in a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: String,
}

/// A group as it was before the rollout, and what the rollout made for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupState {
    /// The group.
    pub name: GroupName,
    /// The version that it launched before.
    pub before: Template,
    /// The version with the new image; none before it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Template>,
    /// The refresh that was asked for last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Intent>,
    /// The new instances that were seen.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub instances: BTreeMap<InstanceId, Sighting>,
    /// How many instances were wanted at the last look.
    #[serde(default)]
    pub desired: u32,
}

/// A new instance, as it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// When it was seen first.
    pub first: Timestamp,
    /// Whether it was ever seen to serve.
    pub served: bool,
}

/// A refresh that was to be started. `StartInstanceRefresh` takes no token: what was there before tells ours from others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The newest refresh of the group before; none when it never had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The refresh's id; none before it is known to be started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

impl GroupState {
    /// A group as a rollout finds it.
    pub fn new(seen: &Seen, before: &Template) -> Self {
        Self {
            name: seen.group.name.clone(),
            before: before.clone(),
            after: None,
            refresh: None,
            instances: BTreeMap::new(),
            desired: seen.group.desired,
        }
    }

    /// Remembers the new instances that are there, and whether they serve.
    ///
    /// When the group was made smaller meanwhile, so many of those that are gone are forgotten: nobody may hold that
    /// against the image.
    pub fn remember(&mut self, seen: &Seen) {
        let Some(after) = &self.after else { return };
        for member in seen.group.members.iter().filter(|one| one.is_of(after) && !one.is_ending()) {
            let sighting = self.instances.entry(member.instance.clone());
            let sighting = sighting.or_insert(Sighting { first: seen.at, served: false });
            sighting.served |= seen.serves(member);
        }
        let wanted = seen.group.desired;
        let gone: Vec<InstanceId> = self.gone(seen).cloned().collect();
        for instance in gone.iter().take(self.desired.saturating_sub(wanted) as usize) {
            self.instances.remove(instance);
        }
        self.desired = wanted;
    }

    /// The new instances that were there, and are not any more.
    pub fn gone<'a>(&'a self, seen: &'a Seen) -> impl Iterator<Item = &'a InstanceId> {
        let there =
            |id: &InstanceId| seen.group.members.iter().any(|one| one.instance == *id && !one.is_ending());
        self.instances.keys().filter(move |id| !there(id))
    }
}

/// So many entries a timeline has at most: a record must stay small.
const MOST_ENTRIES: usize = 200;

impl Progress {
    /// A rollout that was just asked for.
    pub fn new(now: Timestamp) -> Self {
        Self {
            phase: Phase::Preflight,
            run: 1,
            position: 0,
            since: now,
            began: now,
            well_since: None,
            groups: Vec::new(),
            pair: None,
            wish: None,
            previous: None,
            reason: None,
            sick: Vec::new(),
            aborted: false,
            blameless: false,
            awaits: String::new(),
            written: None,
            behind: None,
            outcome: None,
            timeline: Vec::new(),
        }
    }

    /// Goes over into a phase.
    pub fn enter(&mut self, phase: Phase, now: Timestamp) {
        (self.phase, self.since, self.well_since) = (phase, now, None);
        self.awaits.clear();
    }

    /// Notes what happened.
    pub fn note(&mut self, now: Timestamp, what: impl Into<String>) {
        if self.timeline.len() < MOST_ENTRIES {
            self.timeline.push(Entry { at: now, what: what.into() });
        }
    }

    /// The same, if that doesn't stand there yet.
    pub fn note_once(&mut self, now: Timestamp, what: String) {
        if !self.timeline.iter().any(|entry| entry.what == what) {
            self.note(now, what);
        }
    }

    /// Ends it.
    pub fn end(&mut self, outcome: Outcome, now: Timestamp) {
        self.enter(Phase::Ended, now);
        self.outcome = Some(outcome);
        self.note(now, outcome.as_str());
    }

    /// The group that is worked on, by its place in the list, and the number of its stage.
    pub fn place(&self, policy: &Policy) -> (usize, usize) {
        let stages = policy.stages.len().max(1);
        (self.position / stages, self.position % stages)
    }

    /// How much of its group the stage replaces.
    pub fn share(&self, policy: &Policy) -> Share {
        let (_, stage) = self.place(policy);
        policy.stages.get(stage).copied().unwrap_or(Share::ALL)
    }

    /// Whether no stage of any group comes after this one.
    pub fn is_last(&self, to: &Destination) -> bool {
        self.position + 1 >= to.groups_to_bring() * to.policy.stages.len().max(1)
    }

    /// Whether the channel has the image for good, or until a person goes back.
    pub fn has_settled(&self) -> bool {
        self.phase == Phase::Keeping || self.outcome == Some(Outcome::Settled)
    }

    /// How long the phase lasts, in seconds.
    pub fn waited(&self, now: Timestamp) -> i64 {
        now.duration_since(self.since).as_secs()
    }
}
