//! The plan of a run: reads the inventory, first says what dead bakes left, then judges every image.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{
    DeadBake, Inventory, MOST_PER_RUN, MOST_UNRECORDED, Plan, Retention, Verdict, judge,
    leftovers::{Found, Leftovers},
    tag,
};
use crate::{
    domain::{
        error::{Error, Result},
        id::{ParameterName, PipelineName},
        tags::TAG_PIPELINE,
    },
    ports::{Bucket, Image, PrunePorts},
    steps::guard::{Guard, Purpose, Reason},
    store::{Channel, Ledger, recipes},
};

/// A plan that does nothing.
pub(super) fn nothing(made: Timestamp) -> Plan {
    Plan {
        made,
        dead_bakes: Vec::new(),
        retire: Vec::new(),
        keep: Vec::new(),
        stays: Vec::new(),
        problems: Vec::new(),
        later: 0,
        halted: None,
    }
}

/// The plan to clean up after one bake.
pub async fn plan_of(dead: &DeadBake, cloud: &impl PrunePorts, now: Timestamp) -> Result<Plan> {
    let mut found = Found::look(cloud, Some(&dead.bake)).await?;
    let bake = Ledger(cloud).bake(&dead.pipeline, &dead.bake).await?;
    if bake.is_some_and(|bake| bake.progress.status.ended_well()) {
        // Retention decides about its image, and not the clean-up.
        let owned: BTreeSet<_> = found.images.drain(..).flat_map(|image| image.snapshots).collect();
        found.snapshots.retain(|snapshot| !owned.contains(&snapshot.id));
    }
    let images = found.images.iter().map(|one| one.id.to_string());
    let instances = found.instances.iter().map(|one| one.id.to_string());
    let snapshots = found.snapshots.iter().map(|one| one.id.to_string());
    let volumes = found.volumes.iter().map(|one| one.id.to_string());
    let leaves = instances.chain(volumes).chain(images).chain(snapshots).collect();
    Ok(Plan { dead_bakes: vec![DeadBake { leaves, ..dead.clone() }], ..nothing(now) })
}

/// Reads the inventory and judges every image.
///
/// Dead bakes come first, and rest on no recipe: a recipe that can't be read must not leave their builders running.
pub async fn plan<C: PrunePorts>(cloud: &C, bucket: &impl Bucket, now: Timestamp) -> Result<Plan> {
    let found = Found::look(cloud, None).await?;
    let mut left = Leftovers::of_running(cloud, now).await?;
    left.sort(&found, cloud, now).await?;
    let mut plan = nothing(now);
    let Inventoried { inventory, problems } = inventory(&found.images, &left, cloud, bucket).await?;
    let (retire, keep) = judge(&inventory, now);
    plan.keep = keep;
    plan.problems = left.problems;
    plan.problems.extend(problems);
    plan.stays = left.stays;
    if left.unrecorded.len() > MOST_UNRECORDED {
        let stays = |verdict| Verdict { reason: Reason::Halted, ..verdict };
        plan.keep.extend(retire.into_iter().map(stays));
        plan.halted = Some(format!(
            "{} images have this stack's tags and no record, more than {MOST_UNRECORDED}: the table is not the one in \
             which they were recorded. Nothing is destroyed",
            left.unrecorded.len()
        ));
        return Ok(plan);
    }
    plan.later = left.dead.len().saturating_sub(MOST_PER_RUN);
    plan.dead_bakes = left.dead.into_values().take(MOST_PER_RUN).collect();
    if left.unreadable > 0 {
        let stays = |verdict| Verdict { reason: Reason::UnreadableBake, ..verdict };
        plan.keep.extend(retire.into_iter().map(stays));
        return Ok(plan);
    }
    // The guard is asked already here, so that people see what will really happen. It is asked again before the act.
    for verdict in retire {
        if plan.retire.len() == MOST_PER_RUN {
            plan.later += 1;
            continue;
        }
        let image = found.images.iter().find(|image| image.id == verdict.image);
        let (Some(image), Some(id)) = (image, &verdict.bake) else { continue };
        let bake = Ledger(cloud).bake(&verdict.pipeline, id).await?;
        match Guard::new(cloud).keeps(image, bake.as_deref(), Purpose::Retirement).await? {
            Some(kept) => plan.keep.push(Verdict { reason: kept.reason, by: kept.by, ..verdict }),
            None => plan.retire.push(verdict),
        }
    }
    Ok(plan)
}

/// What images are judged by, and what could not be read of it.
struct Inventoried {
    inventory: Inventory,
    problems: Vec<String>,
}

async fn inventory<C: PrunePorts>(
    images: &[Image],
    left: &Leftovers,
    cloud: &C,
    bucket: &impl Bucket,
) -> Result<Inventoried> {
    let ledger = Ledger(cloud);
    let mut inventory = Inventory {
        images: images.iter().filter(|image| !left.doomed.contains(&image.id)).cloned().collect(),
        instances: cloud.in_use().await?,
        unrecorded: left.unrecorded.clone(),
        ..Inventory::default()
    };
    for (id, bake) in &left.running {
        inventory.running.insert(id.clone());
        inventory.bases.insert(bake.spec.base.image.clone());
        inventory.reused.extend(bake.progress.image.clone());
    }
    let mut pipelines: BTreeSet<PipelineName> =
        images.iter().filter_map(|image| tag(&image.tags, TAG_PIPELINE)).collect();
    pipelines.extend(ledger.pipelines(bucket).await?);
    let mut problems = Vec::new();
    let mut parameters: BTreeSet<ParameterName> =
        ledger.parameters().await?.into_iter().map(|owner| owner.parameter).collect();
    for pipeline in pipelines {
        match of_pipeline(&pipeline, &ledger, bucket).await {
            Ok((channels, recipe)) => {
                for channel in &channels {
                    note(channel, &mut inventory.channels);
                }
                if let Some((retention, parameter)) = recipe {
                    inventory.retention.insert(pipeline, retention);
                    parameters.extend(parameter);
                }
            }
            // It passes by itself: the run is tried again.
            Err(error @ (Error::Throttled { .. } | Error::TryAgain { .. })) => return Err(error),
            Err(error) => {
                problems.push(format!(
                    "pipeline {pipeline}: its images stay: {}; fix: {}",
                    error.chain(),
                    error.hint()
                ));
                inventory.unreadable.insert(pipeline);
            }
        }
    }
    let names: Vec<ParameterName> = parameters.into_iter().collect();
    for (name, value) in cloud.values(&names).await? {
        // What is no image id names no image.
        if let Ok(image) = value.parse() {
            inventory.parameters.insert(image, name.to_string());
        }
    }
    Ok(Inventoried { inventory, problems })
}

/// A pipeline's channels, and what its recipe says of retention and of the parameter.
async fn of_pipeline<T: crate::ports::Table>(
    pipeline: &PipelineName,
    ledger: &Ledger<'_, T>,
    bucket: &impl Bucket,
) -> Result<(Vec<Channel>, Option<(Retention, Option<ParameterName>)>)> {
    let channels = ledger.channels(pipeline).await?;
    let recipe = match recipes::recipe(bucket, pipeline).await {
        Ok((_, recipe)) => recipe,
        Err(Error::NoRecipe { .. }) => return Ok((channels, None)),
        Err(error) => return Err(error),
    };
    let retention = Retention {
        newest: recipe.retain.newest as usize,
        age: SignedDuration::from_hours(24 * i64::from(recipe.retain.days)),
    };
    Ok((channels, Some((retention, recipe.promote.parameter))))
}

fn note(channel: &Channel, named: &mut BTreeMap<crate::domain::id::AmiId, (Reason, String)>) {
    let by = format!("{}/{}", channel.pipeline, channel.name);
    if let Some(image) = channel.goes_back_to() {
        named.entry(image.clone()).or_insert((Reason::Previous, by.clone()));
    }
    if let Some(current) = &channel.current {
        named.insert(current.image.clone(), (Reason::Channel, by));
    }
}
