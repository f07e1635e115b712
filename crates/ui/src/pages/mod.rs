//! The pages: each reads what it shows, and is HTML that escapes what others wrote.

pub mod act;
mod bake;
mod bakes;
mod doctor;
mod fleet;
pub mod layout;
mod lineage;
mod overview;
mod pipeline;
mod prune;
pub mod prune_act;
pub mod question;
mod requests;
mod rollout;

use ovenbird_core::{domain::id::PipelineName, store::Ledger};

use self::layout::{Body, View};
use crate::{
    Account, Reader,
    read::{Snapshot, each},
    site::Page,
};

/// What a page says.
pub async fn body<A: Account>(reader: &Reader<A>, view: &View<'_>) -> Body {
    match view.page {
        Page::Overview => overview::body(reader, view).await,
        Page::Pipeline(pipeline) => pipeline::body(reader, view, pipeline).await,
        Page::Bakes => bakes::body(reader, view).await,
        Page::Bake(pipeline, bake) => bake::body(reader, view, pipeline, bake).await,
        Page::Lineage => lineage::body(reader, view).await,
        Page::Fleet => fleet::body(reader, view).await,
        Page::Rollouts => rollout::list(reader, view).await,
        Page::Rollout(pipeline, rollout) => rollout::one(reader, view, pipeline, rollout).await,
        Page::Prune => prune::body(reader, view, None).await,
        Page::PruneOf(pipeline) => prune::body(reader, view, Some(pipeline)).await,
        Page::Doctor => doctor::body(reader, view).await,
        Page::Act(act) => act::question(view, act, None),
        Page::PruneAct(act) => prune_act::question(view, act, None),
    }
}

/// The pages that no list of bakes or pipelines has, and that other pages lead to: rollouts, and the bakes that channels
/// still name.
pub async fn linked<A: Account>(reader: &Reader<A>, snapshot: &Snapshot) -> Vec<Page> {
    let ledger = Ledger(reader.account.cloud());
    let names = || snapshot.pipelines.iter().map(|one| &one.pipeline);
    let found = each(names(), async |name: &PipelineName| {
        let rollouts = ledger.rollouts(name).await.unwrap_or_default().into_iter();
        let rollouts = rollouts.map(|one| Page::Rollout(one.spec.to.pipeline.clone(), one.spec.id));
        let channels = ledger.channels(name).await.unwrap_or_default();
        let targets = channels.into_iter().flat_map(|one| one.current.into_iter().chain(one.previous));
        let bakes = targets.map(|target| Page::Bake(name.clone(), target.bake));
        rollouts.chain(bakes).collect::<Vec<_>>()
    });
    found.await.into_iter().flatten().collect()
}
