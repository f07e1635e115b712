//! What would launch instances of an image of this stack that is gone.
//!
//! Prune lets no image go that something names. People and other tools do, and then the next instance can't start: at night,
//! when a group grows.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::{
    domain::{
        bake::Bake,
        error::Result,
        id::{AmiId, TemplateName},
        reference::{Kind, Reference},
        template::{LaunchTemplate, Pins},
    },
    ports::PrunePorts,
    steps::{clean_up, inventory::Named},
    store::Ledger,
};

/// One sentence for each image that is gone and still named, with what names it and what fixes it.
///
/// Of what is named and not `there`, most is other people's: only what a bake of this stack made is told.
pub(super) async fn problems(
    named: &Named,
    there: &BTreeSet<&AmiId>,
    pins: &Pins,
    cloud: &impl PrunePorts,
    now: Timestamp,
) -> Result<Vec<String>> {
    let mut templates = BTreeMap::new();
    let mut problems = Vec::new();
    for (image, by) in named.iter().filter(|(image, _)| !there.contains(image)) {
        if !by.iter().any(|reference| launches(reference.kind)) {
            continue;
        }
        let Some(maker) = maker(image, cloud, now).await? else { continue };
        let mut launching = Vec::new();
        for reference in by.iter().filter(|reference| launches(reference.kind)) {
            if is_used(reference, pins, &mut templates, cloud).await? {
                launching.push(reference.to_string());
            }
        }
        if !launching.is_empty() {
            problems.push(told(image, &maker, &launching));
        }
    }
    Ok(problems)
}

/// Whether what names an image would launch instances of it, or hand it to somebody who does.
///
/// An instance runs on without its image. A channel that only may go back to an image says so when it is to go back.
fn launches(kind: Kind) -> bool {
    match kind {
        Kind::Channel
        | Kind::Parameter
        | Kind::LaunchTemplate
        | Kind::AutoScalingGroup
        | Kind::LaunchConfiguration
        | Kind::Fleet
        | Kind::SpotFleet
        | Kind::Recipe => true,
        Kind::Previous | Kind::Instance | Kind::Baking | Kind::Base | Kind::Account => false,
    }
}

/// The bake of this stack that made an image which is gone; none when no bake did, or the image was only made just now.
///
/// Of one that was made just now, EC2 may not show the tags yet by which it is looked for: it is told by a later run, if it is
/// gone.
async fn maker(image: &AmiId, cloud: &impl PrunePorts, now: Timestamp) -> Result<Option<Bake>> {
    let bake = Ledger(cloud).maker(image).await?;
    let Some(bake) = bake.filter(|bake| !clean_up::is_new(bake, now)) else { return Ok(None) };
    let there = cloud.images(Some(&bake.spec.id)).await?;
    Ok((!there.iter().any(|one| one.id == *image)).then_some(bake))
}

/// Whether a reference still counts: an old version of a launch template by which nothing launches is history.
async fn is_used(
    reference: &Reference,
    pins: &Pins,
    templates: &mut BTreeMap<TemplateName, Option<LaunchTemplate>>,
    cloud: &impl PrunePorts,
) -> Result<bool> {
    let Some((template, number)) = reference.as_version() else { return Ok(true) };
    if !templates.contains_key(&template) {
        templates.insert(template.clone(), cloud.every_version(&template).await?);
    }
    let found = templates.get(&template).and_then(Option::as_ref);
    Ok(found.is_some_and(|found| found.use_of(number, pins).is_some()))
}

fn told(image: &AmiId, maker: &Bake, launching: &[String]) -> String {
    let pipeline = &maker.spec.pipeline;
    format!(
        "image {image} of pipeline {pipeline} is gone, or has not this stack's tags, and {}: no instance can be launched by \
         that if it is gone; fix: `ovenbird prune undo {image}` if the Recycle Bin has it; tag it where the table is an older \
         stack's (docs/aws.md); else name another image there (`ovenbird channels`), or bake it again (`ovenbird bake \
         {pipeline} --force`)",
        launching.join(", ")
    )
}
