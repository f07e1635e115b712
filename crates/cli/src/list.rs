//! `ovenbird list` and `ovenbird show`: what was baked.

use ovenbird_core::{
    Error, Result,
    bake::Bake,
    id::{BakeId, PipelineName},
    ledger::Ledger,
    ports::Bucket as _,
};

use crate::target::{Site, Target};

/// The bakes of one pipeline or of all, newest first.
pub async fn list(pipeline: Option<&str>, target: &Target) -> Result<Vec<Bake>> {
    let site = target.site().await?;
    let pipelines = match pipeline {
        Some(name) => vec![PipelineName::parse(name).map_err(|error| Error::bad_id("PIPELINE", &error))?],
        None => pipelines(&site).await?,
    };
    let mut bakes = Vec::new();
    for pipeline in &pipelines {
        bakes.extend(Ledger(&site.cloud).bakes(pipeline).await?);
    }
    bakes.sort_by_key(|bake| std::cmp::Reverse(bake.started));
    Ok(bakes)
}

/// One bake.
pub async fn show(bake: &str, target: &Target) -> Result<Bake> {
    find(&target.site().await?, bake).await
}

/// Finds a bake by its id alone.
pub async fn find(site: &Site, bake: &str) -> Result<Bake> {
    let id = BakeId::parse(bake).map_err(|error| Error::bad_id("BAKE", &error))?;
    for pipeline in pipelines(site).await? {
        if let Some(bake) = Ledger(&site.cloud).bake(&pipeline, &id).await? {
            return Ok(bake);
        }
    }
    Err(Error::bad_input(format!("bake `{id}`"), "is not on record", "List those that are: `ovenbird list`"))
}

/// Every pipeline that ever had a recipe.
async fn pipelines(site: &Site) -> Result<Vec<PipelineName>> {
    let names = site.cloud.folders("recipes/").await?;
    Ok(names.iter().filter_map(|name| PipelineName::parse(name).ok()).collect())
}
