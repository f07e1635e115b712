//! `ovenbird list`, `ovenbird show` and `ovenbird lineage`: what was baked, and on what.

use ovenbird_core::{
    Error, Result,
    bake::Bake,
    id::{AmiId, BakeId, PipelineName},
    ledger::Ledger,
    lineage::{self, Link},
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

/// One bake, with the lineage of its image.
pub async fn show(bake: &str, target: &Target) -> Result<(Bake, Vec<Link>)> {
    let site = target.site().await?;
    let bake = find(&site, bake).await?;
    let links = lineage::lineage(&Ledger(&site.cloud), &bake).await?;
    Ok((bake, links))
}

/// The lineage of an image, or of what a bake made.
pub async fn lineage(of: &str, target: &Target) -> Result<Vec<Link>> {
    let site = target.site().await?;
    let bake = match AmiId::parse(of) {
        Ok(image) => Ledger(&site.cloud).maker(&image).await?.ok_or_else(|| {
            let fix = "List the bakes with their images: `ovenbird list`";
            Error::bad_input(format!("image `{image}`"), "was made by no bake on record", fix)
        })?,
        Err(_) => find(&site, of).await?,
    };
    lineage::lineage(&Ledger(&site.cloud), &bake).await
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
