//! snapshot: seals the builder, then makes the image of it.

use jiff::Timestamp;

use super::{comment, resume, wrong_stage};
use crate::{
    domain::{
        bake::{Bake, Stage, To},
        error::{Error, Result},
        plan, tags,
    },
    ports::{Commands, Image, Images, Stack, Table},
    store::{ImageRecord, ImageStatus, Ledger, lease_end},
};

/// Sends the seal command after the tests, and asks for the image after the seal.
pub async fn run(
    document: Bake,
    ssm: &impl Commands,
    images: &(impl Images + Stack),
    table: &impl Table,
    now: Timestamp,
) -> Result<Bake> {
    match document.stage {
        Stage::Validation => seal(document, ssm, table, now).await,
        Stage::Seal => create(document, images, table, now).await,
        Stage::Launch
        | Stage::AwaitTwin
        | Stage::Builder
        | Stage::Image
        | Stage::Boot
        | Stage::Promotion
        | Stage::CleanUp => Err(wrong_stage(&document, "snapshot")),
    }
}

async fn seal(document: Bake, ssm: &impl Commands, table: &impl Table, now: Timestamp) -> Result<Bake> {
    let mut bake = resume(table, &document).await?;
    let ledger = Ledger(table);
    if bake.stage == Stage::Validation {
        bake.enter(Stage::Seal, now);
        bake.command = None;
        ledger.save(&bake).await?;
    }
    if bake.command.is_none() {
        let comment = comment(&bake, Stage::Seal);
        let builder = bake.builder()?;
        let script = if bake.spot { plan::SEAL_RUNNING_SCRIPT } else { plan::SEAL_SCRIPT };
        // Sealing twice is sealing once, but the second command may never start: the first powers off.
        let command = match ssm.find(builder, &comment).await? {
            Some(command) => command,
            None => ssm.send(builder, &comment, script, bake.settings.deadlines.imaging).await?,
        };
        bake.command = Some(command);
        ledger.save(&bake).await?;
    }
    Ok(bake.go(To::Await))
}

async fn create(
    document: Bake,
    images: &(impl Images + Stack),
    table: &impl Table,
    now: Timestamp,
) -> Result<Bake> {
    let mut bake = resume(table, &document).await?;
    let ledger = Ledger(table);
    if bake.stage == Stage::Seal {
        bake.enter(Stage::Image, now);
        ledger.save(&bake).await?;
    }
    // The lease is renewed before the image exists: an old holder stops here, with nothing made.
    let expires = lease_end(now, bake.settings.deadlines.imaging + bake.settings.deadlines.builder);
    match ledger.claim(&bake.digest, &bake, now, expires, None).await? {
        crate::store::Claim::Granted(fence) if fence == bake.fence => {}
        crate::store::Claim::Granted(_) => {
            ledger.release(&bake.digest, &bake.bake).await?;
            return Err(Error::LeaseLost { bake: bake.bake });
        }
        crate::store::Claim::Held(_) => return Err(Error::LeaseLost { bake: bake.bake }),
    }
    if bake.image.is_none() {
        let image = match images.named(&bake.image_name).await? {
            Some(image) => own(&bake, image)?,
            None => {
                // EC2 can't stop a one-time spot instance: that one runs, sealed, and is taken down for its image.
                images
                    .create(bake.builder()?, &bake.image_name, bake.spot, &bake.tags(images.stack()))
                    .await?
            }
        };
        // Recorded before any wait: a wait that times out must not leak the image.
        bake.image = Some(image);
        ledger.save(&bake).await?;
    }
    let record = ImageRecord {
        image: bake.image()?.clone(),
        name: bake.image_name.clone(),
        pipeline: bake.pipeline.clone(),
        bake: bake.bake.clone(),
        status: ImageStatus::Baking,
        snapshots: Vec::new(),
        passed: Vec::new(),
        fence: bake.fence,
        uses: 0,
    };
    ledger.record_image(&bake.digest, &record).await?;
    Ok(bake.go(To::Await))
}

/// Takes an image found under the bake's name, if this bake made it.
fn own(bake: &Bake, image: Image) -> Result<crate::domain::id::AmiId> {
    if image.tags.get(tags::TAG_BAKE).map(String::as_str) == Some(bake.bake.as_str()) {
        return Ok(image.id);
    }
    Err(Error::bad_input(
        format!("image name `{}`", bake.image_name),
        format!("is taken by {}, which this bake did not make", image.id),
        format!("Rename or deregister it: `aws ec2 deregister-image --image-id {}`", image.id),
    ))
}
