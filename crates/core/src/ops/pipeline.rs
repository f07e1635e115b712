//! A person pauses a pipeline, lets it go on, or removes it.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    domain::{
        error::{Error, Result},
        id::{AmiId, InstanceId, PipelineName},
    },
    ports::{Bucket, Table},
    store::{Channel, Child, Halt, Ledger, ParameterOwner, Said},
};

/// What the removal of a pipeline does, and what stands against it.
#[derive(Debug, Clone)]
pub struct Removal {
    /// The pipeline.
    pub pipeline: PipelineName,
    /// Its channels, which go.
    pub channels: Vec<Channel>,
    /// The parameters that follow them. They stay as they are, and keep the images that they name.
    pub parameters: Vec<ParameterOwner>,
    /// Why it can't be removed now; it can be when this is empty.
    pub against: Vec<String>,
}

/// What the removal of a pipeline would do.
///
/// `fleet` has the instances of the account that run, by the image that they were started from.
///
/// # Errors
/// When there is no such pipeline, or it was removed before.
pub async fn removal(
    pipeline: &PipelineName,
    fleet: &BTreeMap<AmiId, BTreeSet<InstanceId>>,
    cloud: &(impl Bucket + Table),
) -> Result<Removal> {
    let ledger = Ledger(cloud);
    here(pipeline, cloud).await?;
    let channels = ledger.channels(pipeline).await?;
    let parameters = ledger.parameters().await?.into_iter().filter(|owner| owner.pipeline == *pipeline);
    let mut against = Vec::new();
    for channel in &channels {
        for Child { pipeline: child, .. } in ledger.children(pipeline, &channel.name).await? {
            against.push(format!("pipeline {child} is built on its channel {}", channel.name));
        }
        if channel.rolling.is_some() || channel.waiting.is_some() {
            against.push(format!("a rollout of its channel {} is under way", channel.name));
        }
    }
    let (running, _) = ledger.running().await?;
    for bake in running.iter().filter(|bake| bake.spec.pipeline == *pipeline) {
        against.push(format!("its bake {} is on its way", bake.spec.id));
    }
    for (image, instances) in fleet {
        let maker = ledger.maker(image).await?;
        if maker.is_some_and(|bake| bake.spec.pipeline == *pipeline) {
            let ids: Vec<&str> = instances.iter().map(InstanceId::as_str).collect();
            against.push(format!("{} on its image {image}", running_on(&ids)));
        }
    }
    Ok(Removal { pipeline: pipeline.clone(), channels, parameters: parameters.collect(), against })
}

fn running_on(ids: &[&str]) -> String {
    match ids {
        [one] => format!("instance {one} runs"),
        all => format!("instances {} run", all.join(", ")),
    }
}

/// Removes a pipeline as its plan says. Nothing bakes it any more, and prune retires its images.
///
/// # Errors
/// When something stands against it, or a channel moved since the plan was made.
pub async fn remove(plan: &Removal, said: Said, cloud: &(impl Bucket + Table)) -> Result<()> {
    if !plan.against.is_empty() {
        return Err(Error::bad_input(
            format!("pipeline `{}`", plan.pipeline),
            format!("can't be removed: {}", plan.against.join("; ")),
            "End what uses it first",
        ));
    }
    let ledger = Ledger(cloud);
    let child = Child::new(plan.pipeline.clone(), false);
    // First, so that no promotion of its base starts it; the removal says the same once more.
    ledger.stand_on(&child, None).await?;
    ledger.remove_pipeline(&plan.pipeline, said, &plan.channels).await
}

/// Pauses a pipeline: no upload and no move of its base starts a bake of it. People may.
///
/// # Errors
/// When there is no such pipeline.
pub async fn pause(pipeline: &PipelineName, said: Said, cloud: &(impl Bucket + Table)) -> Result<()> {
    here(pipeline, cloud).await?;
    Ledger(cloud).pause(pipeline, Some(said)).await
}

/// Lets a paused pipeline go on. What was uploaded meanwhile isn't baked by that.
///
/// # Errors
/// When there is no such pipeline, or it isn't paused.
pub async fn resume(pipeline: &PipelineName, cloud: &(impl Bucket + Table)) -> Result<()> {
    here(pipeline, cloud).await?;
    match Ledger(cloud).halt(pipeline).await? {
        Some(Halt::Paused(_)) => Ledger(cloud).pause(pipeline, None).await,
        Some(Halt::Removed(_)) | None => Err(Error::bad_input(
            format!("pipeline `{pipeline}`"),
            "is not paused",
            "`ovenbird pipeline list` says which are",
        )),
    }
}

async fn here(pipeline: &PipelineName, cloud: &(impl Bucket + Table)) -> Result<()> {
    let known = Ledger(cloud).pipelines(cloud).await?;
    if known.contains(pipeline) { Ok(()) } else { Err(Error::NoRecipe { pipeline: pipeline.clone() }) }
}
