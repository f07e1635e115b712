//! Registers a recipe that was pushed: which channel moves its bakes, and that its pipeline is one of the stack's.
//!
//! A function does it and not `recipe push`: these records belong to other pipelines, too, and who may push the recipes of one
//! pipeline must not be able to write them.

use crate::{
    domain::{
        error::Result,
        recipe::{Base, Recipe},
        trigger::Pushed,
    },
    ports::{Bucket, Table},
    store::{Ancestor, Child, Halt, Ledger, recipes},
};

/// Registers the pipeline's current recipe; says what was done, for whoever looks at the execution.
///
/// S3 may tell of a push twice, and late. So what is registered is the recipe that is current now, whichever the event tells of.
///
/// # Errors
/// When the recipe can't be read, or its pipeline would stand on itself.
pub async fn register(pushed: &Pushed, cloud: &(impl Bucket + Table)) -> Result<String> {
    let ledger = Ledger(cloud);
    let pipeline = &pushed.pipeline;
    if let Some(Halt::Removed(said)) = ledger.halt(pipeline).await?
        // The event's time has no fractions of a second.
        && pushed.at.as_second() < said.at.as_second()
    {
        return Ok(format!("a recipe of pipeline {pipeline} was pushed before {} removed it", said.by));
    }
    let (_, recipe) = recipes::recipe(cloud, pipeline).await?;
    // First: a pipeline that would stand on itself is refused before anything is written.
    ledger.stand_on(&Child::of(&recipe), Ancestor::of(&recipe).as_ref()).await?;
    ledger.note_pipeline(pipeline, cloud).await?;
    Ok(format!("a recipe of pipeline {pipeline} was pushed, and is registered"))
}

/// Whether a recipe is registered.
///
/// # Errors
/// When its pipeline would stand on itself.
pub async fn is_registered(recipe: &Recipe, cloud: &impl Table) -> Result<bool> {
    let ledger = Ledger(cloud);
    let (child, base) = (Child::of(recipe), Ancestor::of(recipe));
    Ok(ledger.stands_on(&child, base.as_ref()).await? && ledger.is_noted(&recipe.pipeline).await?)
}

/// The channel that a recipe names as its base, as `pipeline/channel`, if that points at no image yet: no bake can begin.
pub async fn missing_base(recipe: &Recipe, table: &impl Table) -> Result<Option<String>> {
    let Base::Channel { pipeline, channel } = &recipe.base else { return Ok(None) };
    let found = Ledger(table).channel(pipeline, channel).await?;
    let missing = found.is_none_or(|found| found.current.is_none());
    Ok(missing.then(|| format!("{pipeline}/{channel}")))
}
