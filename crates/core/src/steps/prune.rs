//! prune: the only step that may destroy. It plans, shows the plan with a reason for each image, then acts.
//!
//! It fails closed: when any part of the inventory can't be read, nothing is removed.

mod judge;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use self::judge::tag;
pub use self::judge::{Inventory, Reason, Retention, Verdict, judge};
use super::{clean_up, promote};
use crate::{
    bake::{Bake, Failure, Status},
    error::{Error, Result},
    id::{AmiId, BakeId, Digest, PipelineName},
    ledger::{Channel, ImageStatus, Ledger},
    ports::{self, Bucket, Builders, Image, Parameters, Retirement, Table},
    pushed,
};

/// No run removes more than this, so that a mistake stays small.
pub const MOST_PER_RUN: usize = 50;

/// What prune works with.
#[derive(Debug)]
pub struct Shears<'a, B, R, P, T> {
    /// Instances.
    pub builders: &'a B,
    /// Images and snapshots.
    pub retirement: &'a R,
    /// Parameters, to take a promotion back.
    pub parameters: &'a P,
    /// Records.
    pub table: &'a T,
}

/// A bake whose execution is dead, and that may have left something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadBake {
    /// Its pipeline.
    pub pipeline: PipelineName,
    /// Its id.
    pub bake: BakeId,
}

/// What a prune run will do, and what it will not and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Bakes to clean up after.
    pub dead_bakes: Vec<DeadBake>,
    /// Images to retire.
    pub retire: Vec<Verdict>,
    /// Images that stay.
    pub keep: Vec<Verdict>,
}

/// Reads the inventory and judges every image.
pub async fn plan<B, R, P, T>(
    shears: &Shears<'_, B, R, P, T>,
    bucket: &impl Bucket,
    now: Timestamp,
) -> Result<Plan>
where
    B: Builders,
    R: Retirement,
    P: Parameters,
    T: Table,
{
    let ledger = Ledger(shears.table);
    let mut inventory = Inventory {
        images: shears.retirement.images(None).await?,
        instances: shears.retirement.in_use().await?,
        ..Inventory::default()
    };
    let mut dead = BTreeMap::new();
    for bake in ledger.with_status(Status::Running).await? {
        if bake.expires < now {
            dead.insert(bake.bake.clone(), bake.pipeline.clone());
        } else {
            inventory.running.insert(bake.bake.clone());
            inventory.bases.insert(bake.base.image);
        }
    }
    let mut pipelines: BTreeSet<PipelineName> =
        inventory.images.iter().filter_map(|image| tag(&image.tags, ports::TAG_PIPELINE)).collect();
    pipelines
        .extend(bucket.folders("recipes/").await?.iter().filter_map(|name| PipelineName::parse(name).ok()));
    for pipeline in pipelines {
        for channel in ledger.channels(&pipeline).await? {
            if let Some(image) = unsettled(&channel, &ledger).await? {
                inventory.unsettled.insert(image);
            }
            inventory.channels.extend(channel.current.map(|target| target.image));
        }
        if let Some(retention) = retention(&pipeline, bucket).await? {
            inventory.retention.insert(pipeline, retention);
        }
    }
    // A builder, a half-made image or a snapshot without one is what a lost execution left.
    let builders = shears.builders.all().await?;
    let unvalidated = unvalidated(&inventory.images, &ledger).await?;
    let owned: BTreeSet<_> = inventory.images.iter().flat_map(|image| &image.snapshots).collect();
    let mut snapshots = shears.retirement.snapshots(None).await?;
    snapshots.retain(|snapshot| !owned.contains(&snapshot.id));
    let tagged = builders
        .iter()
        .map(|instance| &instance.tags)
        .chain(unvalidated.iter().map(|image| &image.tags))
        .chain(snapshots.iter().map(|snapshot| &snapshot.tags));
    for tags in tagged {
        let (Some(bake), Some(pipeline)) =
            (tag::<BakeId>(tags, ports::TAG_BAKE), tag(tags, ports::TAG_PIPELINE))
        else {
            continue;
        };
        let expired = tag::<Timestamp>(tags, ports::TAG_EXPIRES).is_none_or(|expires| expires < now);
        if expired && !inventory.running.contains(&bake) {
            dead.insert(bake, pipeline);
        }
    }
    let (mut retire, keep) = judge(&inventory, now);
    retire.truncate(MOST_PER_RUN);
    let dead_bakes =
        dead.into_iter().take(MOST_PER_RUN).map(|(bake, pipeline)| DeadBake { pipeline, bake }).collect();
    Ok(Plan { dead_bakes, retire, keep })
}

/// Retires one image: looks again whether something refers to it, then removes it with its snapshots.
pub async fn retire<B, R, P, T>(
    verdict: &Verdict,
    shears: &Shears<'_, B, R, P, T>,
    now: Timestamp,
) -> Result<Verdict>
where
    B: Builders,
    R: Retirement,
    P: Parameters,
    T: Table,
{
    let ledger = Ledger(shears.table);
    // The plan may be minutes old: an instance may have been started, a rollback made.
    let stays = |reason| Ok(Verdict { reason, ..verdict.clone() });
    if shears.retirement.in_use().await?.contains(&verdict.image) {
        return stays(Reason::Instance);
    }
    let running = ledger.with_status(Status::Running).await?;
    if running.iter().any(|bake| bake.base.image == verdict.image && bake.expires > now) {
        return stays(Reason::Base);
    }
    for channel in ledger.channels(&verdict.pipeline).await? {
        if unsettled(&channel, &ledger).await?.is_some_and(|image| image == verdict.image) {
            return stays(Reason::Unsettled);
        }
        if channel.current.is_some_and(|target| target.image == verdict.image) {
            return stays(Reason::Channel);
        }
    }
    let image = shears.retirement.images(None).await?.into_iter().find(|image| image.id == verdict.image);
    let mut snapshots = BTreeSet::new();
    if let Some(image) = image {
        if image.tags.contains_key(ports::TAG_KEEP) {
            return stays(Reason::KeepTag);
        }
        // Forgotten before it is removed: from here on no bake reuses it.
        if let Some(digest) = tag::<Digest>(&image.tags, ports::TAG_DIGEST) {
            ledger.forget_image(&digest, &image.id).await?;
        }
        shears.retirement.deregister(&image.id).await?;
        snapshots.extend(image.snapshots);
    }
    // Also when the image is gone: the try before this one may have ended between the two.
    if let Some(bake) = &verdict.bake {
        snapshots.extend(clean_up::orphans(bake, shears.retirement).await?);
    }
    for snapshot in snapshots {
        shears.retirement.delete_snapshot(&snapshot).await?;
    }
    stays(Reason::Retired)
}

/// Cleans up after a bake whose execution is dead.
pub async fn reap<B, R, P, T>(dead: &DeadBake, shears: &Shears<'_, B, R, P, T>, now: Timestamp) -> Result<()>
where
    B: Builders,
    R: Retirement,
    P: Parameters,
    T: Table,
{
    let record: Option<Bake> = Ledger(shears.table).bake(&dead.pipeline, &dead.bake).await?;
    if record.as_ref().is_some_and(|bake| bake.status == Status::Running && now < bake.expires) {
        return Err(Error::bad_input(
            format!("bake `{}`", dead.bake),
            "is still on its way",
            "Stop its execution first; its own clean-up then runs",
        ));
    }
    if let Some(mut bake) = record.clone() {
        let channel = Ledger(shears.table).channel(&bake.pipeline, &bake.settings.channel).await?;
        if bake.status == Status::Running && channel.is_some_and(|channel| channel.has(&bake.bake)) {
            // Machines have been starting from it since: what was left undone of the promotion is done.
            promote::follow(&bake, shears.parameters, shears.table).await?;
            bake.status = Status::Promoted;
        }
        if ended_well(&bake) {
            // Its image is retention's business; only what it forgot to end is left of it.
            clean_up::after_success(bake, shears, now).await?;
            for snapshot in clean_up::orphans(&dead.bake, shears.retirement).await? {
                shears.retirement.delete_snapshot(&snapshot).await?;
            }
            return Ok(());
        }
    }
    let failure = record.as_ref().map(|bake| Failure {
        error: "ExecutionLost".into(),
        cause: "The execution ended without its clean-up; prune reaped what it left".into(),
        stage: bake.stage,
    });
    clean_up::after_failure(&dead.bake, record, failure, false, shears, now).await.map(drop)
}

/// What the channel goes back to if the promotion that moved it last fails; none when that is finished.
async fn unsettled<T: Table>(channel: &Channel, ledger: &Ledger<'_, T>) -> Result<Option<AmiId>> {
    let (Some(current), Some(previous)) = (&channel.current, channel.previous.first()) else {
        return Ok(None);
    };
    let bake = ledger.bake(&channel.pipeline, &current.bake).await?;
    let running = bake.is_some_and(|bake| bake.status == Status::Running);
    Ok(running.then(|| previous.image.clone()))
}

/// Whether the bake's image is retention's business, and no longer its own.
fn ended_well(bake: &Bake) -> bool {
    match bake.status {
        Status::Promoted | Status::Validated | Status::Superseded => true,
        Status::Running | Status::Failed => false,
    }
}

/// The images that no record says passed their tests.
async fn unvalidated<'i, T: Table>(images: &'i [Image], ledger: &Ledger<'_, T>) -> Result<Vec<&'i Image>> {
    let mut found = Vec::new();
    for image in images {
        let Some(digest) = tag::<Digest>(&image.tags, ports::TAG_DIGEST) else { continue };
        let record = ledger.image(&digest).await?.filter(|record| record.image == image.id);
        if record.is_some_and(|record| record.status == ImageStatus::Validated) {
            continue;
        }
        // A forced bake of the same digest took its place there; its own bake still knows that it ended well.
        let bake = match (tag(&image.tags, ports::TAG_PIPELINE), tag(&image.tags, ports::TAG_BAKE)) {
            (Some(pipeline), Some(bake)) => ledger.bake(&pipeline, &bake).await?,
            _ => None,
        };
        if !bake.is_some_and(|bake| ended_well(&bake)) {
            found.push(image);
        }
    }
    Ok(found)
}

async fn retention(pipeline: &PipelineName, bucket: &impl Bucket) -> Result<Option<Retention>> {
    let recipe = match pushed::recipe(bucket, pipeline).await {
        Ok((_, recipe)) => recipe,
        Err(Error::NoRecipe { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(Retention {
        newest: recipe.retain.newest as usize,
        age: SignedDuration::from_hours(24 * i64::from(recipe.retain.days)),
    }))
}
