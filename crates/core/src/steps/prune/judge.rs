//! Which image stays and which goes, and why: a pure judgement on the inventory.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    id::{AmiId, BakeId, PipelineName},
    ports::{self, Image, ImageState},
};

/// Why an image stays or goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// A channel points at it.
    Channel,
    /// A channel pointed at it until a promotion that isn't finished, and may yet be taken back.
    Unsettled,
    /// An instance runs (or could be started again) from it.
    Instance,
    /// It carries the tag `ovenbird:keep`.
    KeepTag,
    /// Its bake is still on its way.
    Baking,
    /// A bake on its way starts from it.
    Base,
    /// It is among the newest that the recipe retains.
    Newest,
    /// It is younger than the recipe retains.
    Young,
    /// Its pipeline has no recipe that says what to retain.
    NoRecipe,
    /// Nothing refers to it and the recipe does not retain it.
    Retired,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Channel => "a channel points at it",
            Self::Unsettled => "the promotion that replaced it isn't finished",
            Self::Instance => "an instance uses it",
            Self::KeepTag => "it has the tag `ovenbird:keep`",
            Self::Baking => "its bake is on its way",
            Self::Base => "a bake on its way starts from it",
            Self::Newest => "it is among the newest retained",
            Self::Young => "it is younger than retained",
            Self::NoRecipe => "its pipeline has no recipe",
            Self::Retired => "nothing refers to it",
        })
    }
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bake: Option<BakeId>,
    /// Why it stays or goes.
    pub reason: Reason,
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
    /// Our images.
    pub images: Vec<Image>,
    /// What channels point at now. What they pointed at before is kept by retention, not by the channel.
    pub channels: BTreeSet<AmiId>,
    /// What channels go back to when the promotion on its way fails.
    pub unsettled: BTreeSet<AmiId>,
    /// What instances use.
    pub instances: BTreeSet<AmiId>,
    /// Bakes on their way.
    pub running: BTreeSet<BakeId>,
    /// What they start from.
    pub bases: BTreeSet<AmiId>,
    /// What each pipeline retains; one without a recipe is not here.
    pub retention: BTreeMap<PipelineName, Retention>,
}

/// Judges every image. Pure: the same inventory gives the same plan.
pub fn judge(inventory: &Inventory, now: Timestamp) -> (Vec<Verdict>, Vec<Verdict>) {
    let mut by_pipeline: BTreeMap<PipelineName, Vec<&Image>> = BTreeMap::new();
    for image in &inventory.images {
        if let Some(pipeline) = tag(&image.tags, ports::TAG_PIPELINE) {
            by_pipeline.entry(pipeline).or_default().push(image);
        }
    }
    let mut verdicts = Vec::new();
    for (pipeline, mut images) in by_pipeline {
        images.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| b.id.cmp(&a.id)));
        let retention = inventory.retention.get(&pipeline);
        // Only images that can be started count as "the newest".
        let mut usable = 0;
        for image in images {
            usable += usize::from(image.state == ImageState::Available);
            let reason = reason(image, inventory, retention, usable, now);
            verdicts.push(Verdict {
                image: image.id.clone(),
                name: image.name.clone(),
                pipeline: pipeline.clone(),
                bake: tag(&image.tags, ports::TAG_BAKE),
                reason,
            });
        }
    }
    verdicts.into_iter().partition(|verdict| verdict.reason == Reason::Retired)
}

fn reason(
    image: &Image,
    inventory: &Inventory,
    retention: Option<&Retention>,
    rank: usize,
    now: Timestamp,
) -> Reason {
    let Some(retention) = retention else { return Reason::NoRecipe };
    let bake = tag::<BakeId>(&image.tags, ports::TAG_BAKE);
    if inventory.channels.contains(&image.id) {
        Reason::Channel
    } else if inventory.unsettled.contains(&image.id) {
        Reason::Unsettled
    } else if inventory.instances.contains(&image.id) {
        Reason::Instance
    } else if image.tags.contains_key(ports::TAG_KEEP) {
        Reason::KeepTag
    } else if bake.is_some_and(|bake| inventory.running.contains(&bake)) {
        Reason::Baking
    } else if inventory.bases.contains(&image.id) {
        Reason::Base
    } else if rank <= retention.newest {
        Reason::Newest
    } else if now.duration_since(image.created) < retention.age {
        Reason::Young
    } else {
        Reason::Retired
    }
}

/// A tag's value, understood.
pub(super) fn tag<V: std::str::FromStr>(tags: &BTreeMap<String, String>, key: &str) -> Option<V> {
    tags.get(key)?.parse().ok()
}
