//! What the table's items hold.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    bake::Order,
    id::{AmiId, BakeId, ChannelName, Digest, ImageName, PipelineName, SnapshotId},
};

/// How many different images a channel remembers.
const HISTORY: usize = 20;

/// How many promotions a channel remembers: those of one image, again and again, must not push out the others.
const PROMOTIONS: usize = 100;

/// How many sets of tests an image remembers to have passed.
const SETS: usize = 16;

/// How a digest's image stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageStatus {
    /// Being made.
    Baking,
    /// Made, and its tests passed.
    Validated,
}

/// A digest's image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// The image.
    pub image: AmiId,
    /// Its name.
    pub name: ImageName,
    /// Its pipeline.
    pub pipeline: PipelineName,
    /// The bake that made it.
    pub bake: BakeId,
    /// How it stands.
    pub status: ImageStatus,
    /// Its snapshots.
    pub snapshots: Vec<SnapshotId>,
    /// The sets of tests that it passed, the last one last; none while it bakes.
    #[serde(default)]
    pub passed: Vec<Passed>,
    /// The fencing number under which it was made.
    pub fence: u64,
    /// How often a channel was moved to it, or a bake took it for its own. Each writes it, so that a removal of the
    /// record that began before that fails.
    #[serde(default)]
    pub uses: u64,
}

impl ImageRecord {
    /// How many tests it passed of this set; none when it never passed the set.
    pub fn passed(&self, tests: &Digest) -> Option<usize> {
        match self.status {
            ImageStatus::Baking => None,
            ImageStatus::Validated => self.passed.iter().find(|one| one.tests == *tests).map(|one| one.count),
        }
    }

    /// Notes that it passed a set.
    pub fn pass(&mut self, passed: Passed) {
        self.passed.retain(|one| one.tests != passed.tests);
        self.passed.push(passed);
        let surplus = self.passed.len().saturating_sub(SETS);
        self.passed.drain(..surplus);
    }
}

/// A set of tests that an image passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// The set's digest.
    pub tests: Digest,
    /// How many tests are in it.
    pub count: usize,
    /// The bake that ran them.
    pub bake: BakeId,
}

/// Who bakes a digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The bake; none when the lease is free.
    pub holder: Option<BakeId>,
    /// After this moment it may be taken over.
    pub expires: Timestamp,
    /// Grows with every holder: the writes of an older one are refused.
    pub fence: u64,
}

/// What a channel points at, or pointed at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The image.
    pub image: AmiId,
    /// Its digest.
    pub digest: Digest,
    /// The bake that promoted it.
    pub bake: BakeId,
    /// Its place in the line of versions.
    pub order: Order,
    /// Since when.
    pub promoted: Timestamp,
    /// The channel's generation with which it came.
    pub generation: u64,
}

/// A named pointer of a pipeline to its current image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// Its pipeline.
    pub pipeline: PipelineName,
    /// Its name.
    pub name: ChannelName,
    /// What it points at; none after the first promotion was taken back.
    pub current: Option<Target>,
    /// What it pointed at before, newest first.
    pub previous: Vec<Target>,
    /// How often it moved.
    pub generation: u64,
}

impl Channel {
    /// Whether it points or pointed at what this bake promoted.
    pub fn has(&self, bake: &BakeId) -> bool {
        self.current.iter().chain(&self.previous).any(|target| target.bake == *bake)
    }

    /// The image before the current one: what the channel goes back to.
    pub fn goes_back_to(&self) -> Option<&AmiId> {
        let current = self.current.as_ref().map(|target| &target.image);
        self.previous.iter().map(|target| &target.image).find(|image| Some(*image) != current)
    }

    /// What this bake promoted, if with that the channel moved to another image.
    pub fn moved_by(&self, bake: &BakeId) -> Option<&Target> {
        let mut targets = self.current.iter().chain(&self.previous);
        let target = targets.find(|target| target.bake == *bake)?;
        targets.next().is_none_or(|before| before.image != target.image).then_some(target)
    }

    /// Points at a new target.
    pub(super) fn point(&mut self, target: Target) {
        self.generation += 1;
        self.previous.splice(0..0, self.current.replace(Target { generation: self.generation, ..target }));
        self.previous.truncate(PROMOTIONS);
        let mut images = BTreeSet::new();
        let kept = self.previous.iter().take_while(|target| {
            images.insert(target.image.clone());
            images.len() <= HISTORY
        });
        let kept = kept.count();
        self.previous.truncate(kept);
    }
}

/// What became of a promotion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Promotion {
    /// The channel points at the image.
    Moved,
    /// It already did, by this bake or by one of the same image that is at least as new.
    Unchanged,
    /// It did, before something newer was promoted over it.
    Overtaken,
    /// It points at something newer, and never pointed at this.
    Superseded,
}

/// Who may bake a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// This bake, under this fencing number.
    Granted(u64),
    /// Another one.
    Held(BakeId),
}
