//! The lineage of an image: what it was made on, and that on what, back to an image that isn't ours. And the other way:
//! what was made on it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    domain::{
        bake::{Bake, Stage, Status},
        error::Result,
        id::{AmiId, BakeId, PipelineName},
    },
    ports::Table,
    store::{DEEPEST, Ledger},
};

/// One image of a lineage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    /// The image's id, ours or not.
    pub image: AmiId,
    /// Its name, as EC2 has it.
    pub name: String,
    /// How it was found: the artifact of an image of ours, or the base as the recipe above names it.
    pub by: String,
    /// When it was made; none for one that isn't ours.
    pub made: Option<Timestamp>,
    /// The pipeline it belongs to; none for one that isn't ours.
    pub pipeline: Option<PipelineName>,
    /// The bake that made it; none for one that isn't ours.
    pub bake: Option<BakeId>,
}

/// The lineage of what a bake made or reused, itself first. One that made nothing yet begins with its base.
pub async fn lineage<T: Table>(ledger: &Ledger<'_, T>, bake: &Bake) -> Result<Vec<Link>> {
    let mut links = Vec::new();
    let mut bake = bake.clone();
    while links.len() < DEEPEST {
        if let Some(image) = &bake.progress.image {
            // A reused image is as old as the bake that made it.
            if let Some(maker) = ledger.maker(image).await? {
                bake = maker;
            }
        }
        links.extend(link(&bake));
        let Some(parent) = &bake.spec.base.parent else { break };
        let Some(above) = ledger.bake(&parent.pipeline, &parent.bake).await? else { break };
        bake = above.into_inner();
    }
    // The last one's base: not ours, or its bake is no longer on record.
    let base = &bake.spec.base;
    links.push(Link {
        image: base.image.clone(),
        name: base.name.clone(),
        by: base.written.clone(),
        made: None,
        pipeline: base.parent.as_ref().map(|parent| parent.pipeline.clone()),
        bake: base.parent.as_ref().map(|parent| parent.bake.clone()),
    });
    Ok(links)
}

fn link(bake: &Bake) -> Option<Link> {
    let made = bake.progress.timeline.iter().find(|span| span.stage == Stage::Image);
    Some(Link {
        image: bake.progress.image.clone()?,
        name: bake.spec.image_name.to_string(),
        by: bake.spec.artifact.as_ref().map(|artifact| artifact.key.to_string()).unwrap_or_default(),
        made: Some(made.map_or(bake.spec.started, |span| span.end.unwrap_or(span.start))),
        pipeline: Some(bake.spec.pipeline.clone()),
        bake: Some(bake.spec.id.clone()),
    })
}

/// An image that stands on another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Descendant {
    /// The image's id.
    pub image: AmiId,
    /// Its name.
    pub name: String,
    /// What it was made on: the image that was asked about, or another of its descendants.
    pub base: AmiId,
    /// How many images it is away from the one that was asked about.
    pub depth: usize,
    /// The pipeline it belongs to.
    pub pipeline: PipelineName,
    /// The bake that made it.
    pub bake: BakeId,
    /// When its bake started.
    pub started: Timestamp,
}

/// What was made on an image by these bakes, and what was made on that; each image once, below what it stands on.
pub fn descendants(image: &AmiId, bakes: &[Bake]) -> Vec<Descendant> {
    let (mut found, mut seen) = (Vec::new(), BTreeSet::from([image.clone()]));
    below(image, 1, bakes, &mut seen, &mut found);
    found
}

fn below(
    base: &AmiId,
    depth: usize,
    bakes: &[Bake],
    seen: &mut BTreeSet<AmiId>,
    found: &mut Vec<Descendant>,
) {
    let made_on = bakes.iter().filter(|bake| bake.spec.base.image == *base && !bake.progress.reused);
    for bake in made_on {
        let Some(image) = bake.progress.image.clone() else { continue };
        // A failed bake's image is gone; one that is on its way will be there.
        let stays = bake.progress.status == Status::Running || bake.progress.status.ended_well();
        if !stays || depth > DEEPEST || !seen.insert(image.clone()) {
            continue;
        }
        found.push(Descendant {
            image: image.clone(),
            name: bake.spec.image_name.to_string(),
            base: base.clone(),
            depth,
            pipeline: bake.spec.pipeline.clone(),
            bake: bake.spec.id.clone(),
            started: bake.spec.started,
        });
        below(&image, depth + 1, bakes, seen, found);
    }
}
