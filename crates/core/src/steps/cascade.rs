//! cascade: starts the bakes of the pipelines that stand on what a bake promoted. It is part of promote.
//!
//! It runs when the bake is closed, so that no child is baked on a promotion that is taken back. A grandchild is
//! started by its own parent's promotion: the oldest ancestors come first.

use super::recorded;
use crate::{
    domain::{
        artifact,
        bake::{ChildBake, Document, Parent, Status},
        digest::token,
        error::Result,
        id::{BakeId, PipelineName},
        rollout::RolloutSpec,
        trigger::Trigger,
    },
    ports::{Bucket, Table, Workflow},
    store::{Child, Ledger, recipes},
};

/// Starts each child's bake under a name that is the promotion's: started twice is started once.
pub async fn run(document: Document, cloud: &(impl Workflow + Bucket + Table)) -> Result<Document> {
    // The record, and not the document: its timeline may lack the end that a lost reply of the clean-up told.
    let mut bake = recorded(cloud, &document.bake).await?;
    match bake.progress.status {
        Status::Promoted => {}
        Status::Running | Status::Validated | Status::Superseded | Status::Failed | Status::Cancelled => {
            return Ok(document);
        }
    }
    let ledger = Ledger(cloud);
    let (spec, channel) = (&bake.spec, &bake.spec.settings.channel);
    let Some(channel) = ledger.channel(&spec.pipeline, channel).await? else { return Ok(document) };
    let Some(target) = channel.moved_by(&spec.id) else { return Ok(document) };
    if channel.current.as_ref().is_none_or(|current| current.image != target.image) {
        // Something newer was promoted over it, whose bake starts the children.
        return Ok(document);
    }
    let parent = Parent {
        pipeline: spec.pipeline.clone(),
        channel: spec.settings.channel.clone(),
        bake: spec.id.clone(),
        generation: target.generation,
    };
    let children = start_children(&parent, cloud).await?;
    if !children.is_empty() {
        bake.progress.children = children;
        ledger.save(&mut bake).await?;
    }
    Ok(Document { bake: bake.into_inner(), ..document })
}

/// Starts the bakes of the pipelines that stand on the channel that a rollout moved.
pub async fn after_rollout(spec: &RolloutSpec, cloud: &(impl Workflow + Bucket + Table)) -> Result<()> {
    let ledger = Ledger(cloud);
    let Some(channel) = ledger.channel(&spec.to.pipeline, &spec.to.channel).await? else { return Ok(()) };
    // Something newer may have been promoted over it, whose rollout starts the children.
    let Some(target) = channel.current.filter(|target| target.rollout.as_ref() == Some(&spec.id)) else {
        return Ok(());
    };
    let parent = Parent {
        pipeline: spec.to.pipeline.clone(),
        channel: spec.to.channel.clone(),
        bake: spec.bake.clone(),
        generation: target.generation,
    };
    start_children(&parent, cloud).await.map(drop)
}

/// Starts each child's bake under a name that is the promotion's. One that can't be started keeps none of the others from
/// being started: they belong to other people, who wait for a fix of what they stand on.
async fn start_children(parent: &Parent, cloud: &(impl Workflow + Bucket + Table)) -> Result<Vec<ChildBake>> {
    let (mut children, mut failed) = (Vec::new(), None);
    for child in Ledger(cloud).children(&parent.pipeline, &parent.channel).await? {
        match start_child(&child, parent, cloud).await {
            Ok(bake) => children.push(ChildBake { pipeline: child.pipeline, bake }),
            Err(error) => {
                tracing::warn!("{} stands on {parent}, and was not started: {error}", child.pipeline);
                failed.get_or_insert(error);
            }
        }
    }
    // The state machine tries once more. Those that were started are not started again.
    failed.map_or(Ok(children), Err)
}

/// Gives the child's bake; none when it has nothing to bake yet.
async fn start_child(
    child: &Child,
    parent: &Parent,
    cloud: &(impl Workflow + Bucket),
) -> Result<Option<BakeId>> {
    if child.artifact && !has_artifact(child, cloud).await? {
        tracing::info!("{} stands on {parent}, and has no artifact to bake yet", child.pipeline);
        return Ok(None);
    }
    let id = name(&child.pipeline, parent);
    cloud.start_bake(&id, &Trigger::cascade_input(&child.pipeline, parent)).await?;
    Ok(Some(id))
}

/// Whether the child has something that its recipe takes for an artifact.
async fn has_artifact(child: &Child, bucket: &impl Bucket) -> Result<bool> {
    let names = match recipes::recipe_in_view(bucket, &child.pipeline).await {
        Ok((_, recipe)) => recipe.artifact.and_then(|artifact| artifact.names),
        Err(error) if error.goes_by() => return Err(error),
        // What is wrong with its recipe, its own bake says.
        Err(_) => None,
    };
    bucket.has_any(&artifact::prefix(&child.pipeline), names.as_ref()).await
}

/// The name of a child's bake: one for each promotion of its parent.
fn name(child: &PipelineName, parent: &Parent) -> BakeId {
    let name = format!("{child}-after-{}", &token(&parent.bake, child.as_str())[..16]);
    BakeId::parse(&name).unwrap_or_else(|_| unreachable!("a pipeline's name is at most 40 plain characters"))
}
