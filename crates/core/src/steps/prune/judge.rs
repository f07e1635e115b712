//! What becomes of each image, and all reasons for it: a pure judgement on what was read.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        id::{AmiId, BakeId, PipelineName, SnapshotId},
        reference::{Kind, Reference},
        retirement::{Act, Retiring, Since, next},
        rollout::Template,
        tags,
        template::Standing,
    },
    ports::{Image, ImageState},
    steps::{
        guard::{Reason, Terms},
        inventory::Named,
    },
};

/// One reason for a verdict.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Because {
    /// The reason.
    pub reason: Reason,
    /// What exactly uses the image; empty where the reason says all.
    #[serde(default)]
    pub by: String,
}

/// The verdict on one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The image.
    pub image: AmiId,
    /// Its name.
    pub name: String,
    /// Its pipeline.
    pub pipeline: PipelineName,
    /// The bake that made it: its snapshots are found by it, when the image itself is gone already.
    #[serde(default)]
    pub bake: Option<BakeId>,
    /// What is to be done with it, or was done.
    pub act: Act,
    /// The strongest reason for that.
    pub reason: Reason,
    /// What exactly uses it; empty where the reason says all.
    #[serde(default)]
    pub by: String,
    /// The other reasons that hold, too: with the strongest one gone, they decide.
    #[serde(default)]
    pub also: Vec<Because>,
    /// When its soak is over, if it waits for that.
    #[serde(default)]
    pub until: Option<Timestamp>,
    /// How far its retirement was when it was judged.
    #[serde(default)]
    pub was: Option<Since>,
    /// The superseded versions of launch templates that go before it.
    #[serde(default)]
    pub versions: Vec<Template>,
    /// The snapshots that go with it.
    #[serde(default)]
    pub snapshots: Vec<SnapshotId>,
    /// What its recipe says of its retirement; none without a recipe.
    #[serde(default)]
    pub terms: Option<Terms>,
    /// When it was judged.
    pub judged: Timestamp,
}

impl Verdict {
    /// The same image, kept for a reason that came up later.
    #[must_use]
    pub fn kept(self, reason: Reason, by: impl Into<String>) -> Self {
        Self { act: Act::Keep, reason, by: by.into(), until: None, ..self }
    }
}

/// How many images, and for how long, a pipeline retains.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// So many of the newest stay.
    pub newest: usize,
    /// Younger ones stay too.
    pub age: SignedDuration,
    /// How long each stage of a retirement lasts; zero means no stages.
    pub soak: SignedDuration,
    /// What else it says.
    pub terms: Terms,
}

/// Everything a verdict rests on.
#[derive(Debug, Default)]
pub struct Basis {
    /// This stack's images.
    pub images: Vec<Image>,
    /// What names which image: channels, bakes on their way, recipes, and everything of the account.
    pub named: Named,
    /// How the versions of launch templates stand that alone name an image.
    pub versions: BTreeMap<Reference, Standing>,
    /// How far the retirement of images is.
    pub retiring: BTreeMap<AmiId, Since>,
    /// Bakes on their way.
    pub running: BTreeSet<BakeId>,
    /// Images of which no record says that they were made.
    pub unrecorded: BTreeSet<AmiId>,
    /// Images that somebody protects against deregistration, beside the bake that made them.
    pub protected: BTreeSet<AmiId>,
    /// Pipelines whose recipe or channels can't be read.
    pub unreadable: BTreeSet<PipelineName>,
    /// What each pipeline retains; one without a recipe is not here.
    pub retention: BTreeMap<PipelineName, Retention>,
}

/// EC2 tells a day late that an image was started.
const LAUNCHES_ARE_LATE: SignedDuration = SignedDuration::from_hours(24);

/// Judges every image. Pure: the same basis gives the same verdicts, in the order of pipelines and from the newest image.
pub fn judge(basis: &Basis, now: Timestamp) -> Vec<Verdict> {
    let mut by_pipeline: BTreeMap<PipelineName, Vec<&Image>> = BTreeMap::new();
    for image in &basis.images {
        if let Some(pipeline) = tag(&image.tags, tags::TAG_PIPELINE) {
            by_pipeline.entry(pipeline).or_default().push(image);
        }
    }
    let mut verdicts = Vec::new();
    for (pipeline, mut images) in by_pipeline {
        images.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| b.id.cmp(&a.id)));
        // Only what can be started, and is known to have passed its tests, counts as "the newest": else a copy, or an
        // image that fails its tests a minute later, would push out a good one.
        let mut usable = 0;
        for image in images {
            let counts = counts(image, basis);
            usable += usize::from(counts);
            let rank = counts.then_some(usable);
            verdicts.push(verdict(image, &pipeline, basis, rank, now));
        }
    }
    verdicts
}

/// Whether an image is one of those that "the newest" are counted of.
fn counts(image: &Image, basis: &Basis) -> bool {
    let bake = tag::<BakeId>(&image.tags, tags::TAG_BAKE);
    image.state == ImageState::Available
        && !basis.unrecorded.contains(&image.id)
        && !bake.is_some_and(|bake| basis.running.contains(&bake))
}

fn verdict(
    image: &Image,
    pipeline: &PipelineName,
    basis: &Basis,
    rank: Option<usize>,
    now: Timestamp,
) -> Verdict {
    let was = basis.retiring.get(&image.id).copied();
    let retention = basis.retention.get(pipeline);
    let mut reasons = reasons(image, pipeline, basis, rank, now);
    let versions = superseded(&mut reasons, &basis.versions);
    let (act, until) = if versions.is_empty() {
        decision(&reasons, image, was, retention, now)
    } else {
        without_versions(was, retention, now)
    };
    let (only_versions, goes) = (!versions.is_empty(), act == Act::DeleteVersions);
    let versions = if goes { versions } else { Vec::new() };
    if act == Act::Wait && !reasons.is_empty() || act == Act::Restore && only_versions {
        reasons.insert(0, Because { reason: told(act, was), by: String::new() });
    }
    if reasons.is_empty() {
        reasons.push(Because { reason: told(act, was), by: String::new() });
    }
    let first = reasons.remove(0);
    Verdict {
        image: image.id.clone(),
        name: image.name.clone(),
        pipeline: pipeline.clone(),
        bake: tag(&image.tags, tags::TAG_BAKE),
        act,
        reason: first.reason,
        by: first.by,
        also: reasons,
        until,
        was,
        versions,
        snapshots: if act == Act::Deregister { image.snapshots.clone() } else { Vec::new() },
        terms: retention.map(|retention| retention.terms),
        judged: now,
    }
}

/// Every reason for which an image stays, the strongest first.
fn reasons(
    image: &Image,
    pipeline: &PipelineName,
    basis: &Basis,
    rank: Option<usize>,
    now: Timestamp,
) -> Vec<Because> {
    let mut reasons = Vec::new();
    let mut hold = |holds: bool, reason: Reason| {
        if holds {
            reasons.push(Because { reason, by: String::new() });
        }
    };
    hold(image.tags.contains_key(tags::TAG_KEEP), Reason::KeepTag);
    hold(basis.unrecorded.contains(&image.id), Reason::Unrecorded);
    hold(basis.unreadable.contains(pipeline), Reason::Unreadable);
    let retention = basis.retention.get(pipeline);
    hold(retention.is_none(), Reason::NoRecipe);
    hold(basis.protected.contains(&image.id), Reason::Protected);
    let named = basis.named.get(&image.id).into_iter().flatten();
    reasons.extend(named.map(|one| Because { reason: Reason::Named(one.kind), by: one.id.clone() }));
    let bake = tag::<BakeId>(&image.tags, tags::TAG_BAKE);
    if let Some(bake) = bake.filter(|bake| basis.running.contains(bake)) {
        reasons.push(Because { reason: Reason::Named(Kind::Baking), by: bake.to_string() });
    }
    let Some(retention) = retention else { return reasons };
    let mut hold = |holds: bool, reason: Reason| {
        if holds {
            reasons.push(Because { reason, by: String::new() });
        }
    };
    hold(rank.is_some_and(|rank| rank <= retention.newest), Reason::Newest);
    hold(now.duration_since(image.created) < retention.age, Reason::Young);
    // Without a soak nobody waits for what is told late.
    let late = if retention.soak.is_zero() { SignedDuration::ZERO } else { LAUNCHES_ARE_LATE };
    let lately = |launched| now.duration_since(launched) < retention.soak.saturating_add(late);
    hold(image.launched.is_some_and(lately), Reason::Launched);
    reasons
}

/// The versions of launch templates that are all there is to keep an image, if all of them are superseded; their reasons
/// say so then. Of one that isn't, its reason says why not.
fn superseded(reasons: &mut [Because], versions: &BTreeMap<Reference, Standing>) -> Vec<Template> {
    let standing = |one: &Because| {
        let Reason::Named(kind) = one.reason else { return None };
        versions.get(&Reference::new(kind, &one.by))
    };
    let mut all = Vec::new();
    for one in reasons.iter() {
        match standing(one) {
            Some(Standing::Superseded(version)) => all.push(version.clone()),
            Some(Standing::Stays(_)) | None => {}
        }
    }
    let every = all.len() == reasons.len();
    for one in reasons.iter_mut() {
        match standing(one) {
            Some(Standing::Superseded(_)) if every => one.reason = Reason::Superseded,
            Some(Standing::Stays(why)) => one.by = format!("{}: {why}", one.by),
            Some(Standing::Superseded(_)) | None => {}
        }
    }
    if every { all } else { Vec::new() }
}

/// What is to be done with an image that nothing but superseded versions names.
fn without_versions(
    was: Option<Since>,
    retention: Option<&Retention>,
    now: Timestamp,
) -> (Act, Option<Timestamp>) {
    let soak = retention.map_or(SignedDuration::ZERO, |retention| retention.soak);
    match was.map(|was| was.stage) {
        Some(Retiring::Undone | Retiring::Returning) => match next(was, soak, now) {
            first @ (Act::Wait | Act::Restore, _) => first,
            _ => (Act::DeleteVersions, None),
        },
        Some(Retiring::Deprecated | Retiring::Disabled) | None => (Act::DeleteVersions, None),
    }
}

/// What is to be done for these reasons, and when, if a soak isn't over.
fn decision(
    reasons: &[Because],
    image: &Image,
    was: Option<Since>,
    retention: Option<&Retention>,
    now: Timestamp,
) -> (Act, Option<Timestamp>) {
    let (Some(retention), true) = (retention, reasons.is_empty()) else {
        let stage = was.map(|was| was.stage);
        let on_its_way =
            matches!(stage, Some(Retiring::Deprecated | Retiring::Disabled | Retiring::Returning));
        let act =
            if on_its_way && reasons.iter().any(|one| needs(one.reason)) { Act::Restore } else { Act::Keep };
        return (act, None);
    };
    // Somebody took the mark away by hand, or a function died before it was made: it begins anew from where it was.
    let untrue = match was.map(|was| was.stage) {
        Some(Retiring::Deprecated) => image.deprecated.is_none(),
        Some(Retiring::Disabled) => image.state != ImageState::Disabled,
        Some(Retiring::Undone | Retiring::Returning) | None => false,
    };
    if untrue && !retention.soak.is_zero() {
        return (Act::Restore, None);
    }
    next(was, retention.soak, now)
}

/// Whether a reason says that somebody needs the image as it was, and not only that it can't be judged.
fn needs(reason: Reason) -> bool {
    match reason {
        Reason::Named(_)
        | Reason::KeepTag
        | Reason::Newest
        | Reason::Young
        | Reason::Launched
        | Reason::Referenced
        | Reason::Validated => true,
        Reason::NoRecipe
        | Reason::Unreadable
        | Reason::Unrecorded
        | Reason::OtherStack
        | Reason::Shared
        | Reason::Attached
        | Reason::Locked
        | Reason::Halted
        | Reason::UnreadableBake
        | Reason::Incomplete
        | Reason::Protected
        | Reason::Deprecated
        | Reason::Disabled
        | Reason::Undone
        | Reason::Changed
        | Reason::Stale
        | Reason::Later
        | Reason::Superseded
        | Reason::Retired => false,
    }
}

/// Why an image that nothing needs is where it is.
fn told(act: Act, was: Option<Since>) -> Reason {
    match act {
        Act::DeleteVersions | Act::Deprecate | Act::Disable | Act::Deregister | Act::Keep => Reason::Retired,
        Act::Restore => Reason::Changed,
        Act::Wait => match was.map(|was| was.stage) {
            Some(Retiring::Undone) => Reason::Undone,
            Some(Retiring::Disabled) => Reason::Disabled,
            // One that returns doesn't wait.
            Some(Retiring::Deprecated | Retiring::Returning) | None => Reason::Deprecated,
        },
    }
}

/// A tag's value, understood.
pub(super) fn tag<V: std::str::FromStr>(tags: &BTreeMap<String, String>, key: &str) -> Option<V> {
    tags.get(key)?.parse().ok()
}
