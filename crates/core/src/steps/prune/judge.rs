//! Which image stays and which goes, and why: a pure judgement on the inventory.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        id::{AmiId, BakeId, PipelineName},
        tags,
    },
    ports::{Image, ImageState},
    steps::guard::Reason,
};

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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bake: Option<BakeId>,
    /// Why it stays or goes.
    pub reason: Reason,
    /// What exactly uses it; empty where the reason says all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
}

/// How many images, and for how long, a pipeline retains.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// So many of the newest stay.
    pub newest: usize,
    /// Younger ones stay too.
    pub age: SignedDuration,
}

/// Everything a verdict rests on.
#[derive(Debug, Default)]
pub struct Inventory {
    /// This stack's images.
    pub images: Vec<Image>,
    /// What channels point at, and what they go back to. What they pointed at before is kept by retention alone.
    pub channels: BTreeMap<AmiId, (Reason, String)>,
    /// What parameters that follow a channel name.
    pub parameters: BTreeMap<AmiId, String>,
    /// What instances use.
    pub instances: BTreeSet<AmiId>,
    /// Bakes on their way.
    pub running: BTreeSet<BakeId>,
    /// What they start from.
    pub bases: BTreeSet<AmiId>,
    /// What they reuse.
    pub reused: BTreeSet<AmiId>,
    /// Those of which no record says that they were made.
    pub unrecorded: BTreeSet<AmiId>,
    /// Pipelines whose recipe or channels can't be read.
    pub unreadable: BTreeSet<PipelineName>,
    /// What each pipeline retains; one without a recipe is not here.
    pub retention: BTreeMap<PipelineName, Retention>,
}

/// Judges every image. Pure: the same inventory gives the same plan.
pub fn judge(inventory: &Inventory, now: Timestamp) -> (Vec<Verdict>, Vec<Verdict>) {
    let mut by_pipeline: BTreeMap<PipelineName, Vec<&Image>> = BTreeMap::new();
    for image in &inventory.images {
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
            let counts = counts(image, inventory);
            usable += usize::from(counts);
            let rank = counts.then_some(usable);
            let (reason, by) = reason(image, &pipeline, inventory, rank, now);
            verdicts.push(Verdict {
                image: image.id.clone(),
                name: image.name.clone(),
                pipeline: pipeline.clone(),
                bake: tag(&image.tags, tags::TAG_BAKE),
                reason,
                by,
            });
        }
    }
    verdicts.into_iter().partition(|verdict| verdict.reason == Reason::Retired)
}

/// Whether an image is one of those that "the newest" are counted of.
fn counts(image: &Image, inventory: &Inventory) -> bool {
    let bake = tag::<BakeId>(&image.tags, tags::TAG_BAKE);
    image.state == ImageState::Available
        && !inventory.unrecorded.contains(&image.id)
        && !bake.is_some_and(|bake| inventory.running.contains(&bake))
}

fn reason(
    image: &Image,
    pipeline: &PipelineName,
    inventory: &Inventory,
    rank: Option<usize>,
    now: Timestamp,
) -> (Reason, String) {
    if image.tags.contains_key(tags::TAG_KEEP) {
        return (Reason::KeepTag, String::new());
    }
    if inventory.unrecorded.contains(&image.id) {
        return (Reason::Unrecorded, String::new());
    }
    if inventory.unreadable.contains(pipeline) {
        return (Reason::Unreadable, String::new());
    }
    let Some(retention) = inventory.retention.get(pipeline) else { return (Reason::NoRecipe, String::new()) };
    if let Some((reason, channel)) = inventory.channels.get(&image.id) {
        return (*reason, channel.clone());
    }
    if let Some(name) = inventory.parameters.get(&image.id) {
        return (Reason::Parameter, name.clone());
    }
    let bake = tag::<BakeId>(&image.tags, tags::TAG_BAKE);
    let reason = if inventory.instances.contains(&image.id) {
        Reason::Instance
    } else if inventory.reused.contains(&image.id)
        || bake.is_some_and(|bake| inventory.running.contains(&bake))
    {
        Reason::Baking
    } else if inventory.bases.contains(&image.id) {
        Reason::Base
    } else if rank.is_some_and(|rank| rank <= retention.newest) {
        Reason::Newest
    } else if now.duration_since(image.created) < retention.age {
        Reason::Young
    } else {
        Reason::Retired
    };
    (reason, String::new())
}

/// A tag's value, understood.
pub(super) fn tag<V: std::str::FromStr>(tags: &BTreeMap<String, String>, key: &str) -> Option<V> {
    tags.get(key)?.parse().ok()
}
