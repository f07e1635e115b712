//! promote: records that the image is validated, moves the channel, and writes the parameter that follows it.

use jiff::Timestamp;

use super::{resume, wrong_stage};
use crate::{
    domain::{
        bake::{Bake, Stage, Status, To},
        error::{Error, Result},
    },
    ports::{ImageState, Images, Parameters, Table},
    store::{ImageRecord, ImageStatus, Ledger, Passed, Promotion, among_others},
};

/// Promotes the bake's image, unless something newer was promoted already.
pub async fn run(
    document: Bake,
    images: &impl Images,
    parameters: &impl Parameters,
    table: &impl Table,
    now: Timestamp,
) -> Result<Bake> {
    match document.stage {
        Stage::Launch | Stage::AwaitTwin | Stage::Image | Stage::Boot => {}
        Stage::Builder | Stage::Validation | Stage::Seal | Stage::Promotion | Stage::CleanUp => {
            return Err(wrong_stage(&document, "promote"));
        }
    }
    let mut bake = resume(table, &document).await?;
    let ledger = Ledger(table);
    if bake.stage != Stage::Promotion {
        bake.image = bake.image.or(document.image);
        bake.reused = document.reused;
        bake.enter(Stage::Promotion, now);
        ledger.save(&bake).await?;
    }
    preflight(&bake, images).await?;
    if !bake.reused {
        validated(&bake, &ledger).await?;
    } else if bake.booted.is_some() {
        ledger.record_passed(&bake, passed(&bake)?).await?;
    }
    if !bake.options.promote {
        bake.status = Status::Validated;
    } else {
        match among_others(async || ledger.promote(&bake, now).await).await? {
            Promotion::Superseded => bake.status = Status::Superseded,
            Promotion::Moved | Promotion::Unchanged | Promotion::Overtaken => {
                bake.status = Status::Promoted;
                follow(&bake, parameters, table).await?;
            }
        }
    }
    let to = if bake.status == Status::Promoted && bake.settings.parameter.is_some() {
        To::Await
    } else {
        To::Done
    };
    Ok(bake.go(to))
}

/// Refuses to move a channel to an image that nothing can be started from.
async fn preflight(bake: &Bake, images: &impl Images) -> Result<()> {
    let id = bake.image()?;
    let refuse = |problem: String| Error::NotPromotable { image: id.clone(), problem };
    let image = images.look(id).await?.ok_or_else(|| refuse("it no longer exists".into()))?;
    match image.state {
        ImageState::Available => Ok(()),
        ImageState::Pending => Err(refuse("it is still pending".into())),
        ImageState::Failed => Err(refuse(format!("it failed: {}", image.reason))),
        ImageState::Disabled => Err(refuse("somebody disabled it".into())),
    }
}

/// Records that the image passed its tests: from here on it is reused for its digest.
async fn validated<T: Table>(bake: &Bake, ledger: &Ledger<'_, T>) -> Result<()> {
    let record = ImageRecord {
        image: bake.image()?.clone(),
        name: bake.image_name.clone(),
        pipeline: bake.pipeline.clone(),
        bake: bake.bake.clone(),
        status: ImageStatus::Validated,
        snapshots: bake.snapshots.clone(),
        passed: vec![passed(bake)?],
        fence: bake.fence,
        uses: 0,
    };
    ledger.record_image(&bake.digest, &record).await
}

/// What the bake saw its image pass.
fn passed(bake: &Bake) -> Result<Passed> {
    let image = bake.image()?.clone();
    let count = bake
        .tests_passed
        .ok_or_else(|| Error::NotPromotable { image, problem: "its tests were never seen to pass".into() })?;
    Ok(Passed { tests: bake.inputs.tests.clone(), count, bake: bake.bake.clone() })
}

/// Lets the parameter follow the channel, whoever moved that last.
///
/// Two promotions may write it at once, and the slower one would leave its older image there: after each write the
/// channel is read again. So the last write of all is one that was seen to agree with the channel.
pub(super) async fn follow(bake: &Bake, parameters: &impl Parameters, table: &impl Table) -> Result<()> {
    let Some(name) = &bake.settings.parameter else { return Ok(()) };
    let ledger = Ledger(table);
    // A promotion that moves nothing claims nothing, and a parameter may have come into the recipe since.
    ledger.claim_parameter(bake).await?;
    for _ in 0..MOST_MOVES {
        let Some(channel) = ledger.channel(&bake.pipeline, &bake.settings.channel).await? else {
            return Ok(());
        };
        let Some(current) = &channel.current else { return Ok(()) };
        // Written only when it differs: each write is a version of the parameter.
        if parameters.get(name).await?.as_deref() == Some(current.image.as_str()) {
            return Ok(());
        }
        parameters.put_image(name, &current.image).await?;
        let after = ledger.channel(&bake.pipeline, &bake.settings.channel).await?;
        if after.is_some_and(|after| after.generation == channel.generation) {
            return Ok(());
        }
    }
    Err(Error::changed(format!("channel {}/{}", bake.pipeline, bake.settings.channel)))
}

/// How often a channel may move while its parameter is written, before the step is tried again as a whole.
const MOST_MOVES: usize = 3;

/// Takes the promotion of a failed bake back: the channel, then the parameter that follows it.
///
/// A second try finds the channel as it was, and lets the parameter follow it all the same.
pub async fn undo(bake: &Bake, parameters: &impl Parameters, table: &impl Table) -> Result<()> {
    if bake.stage != Stage::Promotion || !bake.options.promote {
        return Ok(());
    }
    let ledger = Ledger(table);
    ledger.take_back(bake).await?;
    if let Some(name) = &bake.settings.parameter {
        match ledger.check_parameter(name, &bake.pipeline).await {
            // This bake never wrote it.
            Err(Error::ParameterTaken { .. }) => return Ok(()),
            other => other?,
        }
    }
    let channel = ledger.channel(&bake.pipeline, &bake.settings.channel).await?;
    if channel.is_some_and(|channel| channel.current.is_some()) {
        return follow(bake, parameters, table).await;
    }
    // The first promotion of all: the parameter goes again, if what it holds is ours.
    let (Some(name), Some(image)) = (&bake.settings.parameter, &bake.image) else { return Ok(()) };
    if parameters.get(name).await?.as_deref() == Some(image.as_str()) {
        parameters.remove(name).await?;
        // Another bake may have promoted meanwhile, and it was its image that went.
        let channel = ledger.channel(&bake.pipeline, &bake.settings.channel).await?;
        if channel.is_some_and(|channel| channel.current.is_some()) {
            return follow(bake, parameters, table).await;
        }
    }
    ledger.release_parameter(bake).await
}
