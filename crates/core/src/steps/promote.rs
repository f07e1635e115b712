//! promote: records that the image is validated, moves the channel, and writes the parameter that follows it.

use jiff::Timestamp;

use super::{resume, wrong_stage};
use crate::{
    bake::{Bake, Stage, Status, To},
    error::{Error, Result},
    ledger::{ImageRecord, ImageStatus, Ledger, Promotion},
    ports::{ImageState, Images, Parameters, Table},
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
    }
    if !bake.options.promote {
        bake.status = Status::Validated;
    } else {
        match ledger.promote(&bake, now).await? {
            Promotion::Superseded => bake.status = Status::Superseded,
            Promotion::Moved | Promotion::Unchanged => {
                bake.status = Status::Promoted;
                if let Some(name) = &bake.settings.parameter {
                    // Written only when it differs: each write is a version of the parameter.
                    if parameters.get(name).await?.as_deref() != Some(bake.image()?.as_str()) {
                        parameters.put_image(name, bake.image()?).await?;
                    }
                }
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
    }
}

/// Records that the image passed its tests: from here on it is reused for its digest.
async fn validated<T: Table>(bake: &Bake, ledger: &Ledger<'_, T>) -> Result<()> {
    let image = bake.image()?;
    let tests_passed = bake.tests_passed.ok_or_else(|| Error::NotPromotable {
        image: image.clone(),
        problem: "its tests were never seen to pass".into(),
    })?;
    let record = ImageRecord {
        image: image.clone(),
        name: bake.image_name.clone(),
        pipeline: bake.pipeline.clone(),
        bake: bake.bake.clone(),
        status: ImageStatus::Validated,
        snapshots: bake.snapshots.clone(),
        tests_passed,
        fence: bake.fence,
    };
    ledger.record_image(&bake.digest, &record).await
}

/// Takes the promotion of a failed bake back: the parameter first, then the channel.
///
/// In this order a second try still sees that the channel is to be taken back, and does both again.
pub async fn undo(bake: &Bake, parameters: &impl Parameters, table: &impl Table) -> Result<()> {
    let ledger = Ledger(table);
    let Some(channel) = ledger.channel(&bake.pipeline, &bake.settings.channel).await? else { return Ok(()) };
    if channel.current.as_ref().is_none_or(|current| current.bake != bake.bake) {
        return Ok(());
    }
    if let Some(name) = &bake.settings.parameter {
        match channel.previous.first() {
            Some(target) => parameters.put_image(name, &target.image).await?,
            None => parameters.remove(name).await?,
        }
    }
    ledger.take_back(bake).await
}
