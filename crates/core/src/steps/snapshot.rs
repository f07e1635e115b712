//! snapshot: seals the builder, then makes the image of it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Action, comment, resume, table::check};
use crate::{
    domain::{
        bake::{Bake, Document, Stage, To},
        error::{Error, Result},
        plan, tags,
    },
    ports::{Commands, Image, Images, Stack, Table},
    store::{Claim, ImageCopy, ImageSet, ImageStatus, Ledger, lease_end},
};

/// Sends the seal command to a builder that passed its tests.
pub async fn seal(document: Document, cloud: &(impl Commands + Table), now: Timestamp) -> Result<Document> {
    check(Action::Seal, &document)?;
    let mut bake = resume(cloud, &document).await?;
    let ledger = Ledger(cloud);
    if bake.progress.stage == Stage::Validation {
        bake.progress.enter(Stage::Seal, now);
        bake.progress.command = None;
        ledger.save(&mut bake).await?;
    }
    if bake.progress.command.is_none() {
        let comment = comment(&bake, Stage::Seal);
        let builder = bake.builder()?;
        let script = if bake.progress.spot { plan::SEAL_RUNNING_SCRIPT } else { plan::SEAL_SCRIPT };
        // Sealing twice is sealing once, but the second command may never start: the first powers off.
        let command = match cloud.find(builder, &comment).await? {
            Some(command) => command,
            None => cloud.send(builder, &comment, script, bake.spec.settings.deadlines.imaging).await?,
        };
        bake.progress.command = Some(command);
        ledger.save(&mut bake).await?;
    }
    Ok(bake.into_inner().go(To::Await))
}

/// Orders the image of a sealed builder.
pub async fn create_image(
    document: Document,
    cloud: &(impl Images + Stack + Table),
    now: Timestamp,
) -> Result<Document> {
    check(Action::CreateImage, &document)?;
    let mut bake = resume(cloud, &document).await?;
    let ledger = Ledger(cloud);
    if bake.progress.stage == Stage::Seal {
        bake.progress.enter(Stage::Image, now);
        ledger.save(&mut bake).await?;
    }
    // The lease is renewed before the image exists: an old holder stops here, with nothing made.
    let deadlines = bake.spec.settings.deadlines;
    let expires = lease_end(now, deadlines.imaging + deadlines.builder);
    let lost = || Error::LeaseLost { bake: bake.spec.id.clone() };
    match ledger.claim(&bake.spec, now, expires, None).await? {
        Claim::Granted(fence) if fence == bake.progress.fence => {}
        Claim::Granted(_) => {
            ledger.release(&bake.spec.digest, &bake.spec.id).await?;
            return Err(lost());
        }
        Claim::Held(_) => return Err(lost()),
    }
    if bake.progress.image.is_none() {
        let name = &bake.spec.image_name;
        let image = match cloud.named(name).await? {
            Some(image) => own(&bake, image)?,
            None => {
                // EC2 can't stop a one-time spot instance: that one runs, sealed, and is taken down for its image.
                let tags = bake.spec.tags(cloud.stack());
                cloud.create(bake.builder()?, name, bake.progress.spot, &tags).await?
            }
        };
        // Recorded before any wait: a wait that times out must not leak the image.
        bake.progress.image = Some(image);
        ledger.save(&mut bake).await?;
    }
    let record = ImageSet {
        home: ImageCopy { image: bake.image()?.clone(), snapshots: Vec::new() },
        copies: BTreeMap::new(),
        name: bake.spec.image_name.clone(),
        pipeline: bake.spec.pipeline.clone(),
        digest: Some(bake.spec.digest.clone()),
        bake: bake.spec.id.clone(),
        status: ImageStatus::Baking,
        passed: Vec::new(),
        fence: bake.progress.fence,
        uses: 0,
    };
    ledger.record_image(&bake.spec.digest, &record).await?;
    Ok(bake.into_inner().go(To::Await))
}

/// Takes an image found under the bake's name, if this bake made it.
fn own(bake: &Bake, image: Image) -> Result<crate::domain::id::AmiId> {
    if image.tags.get(tags::TAG_BAKE).map(String::as_str) == Some(bake.spec.id.as_str()) {
        return Ok(image.id);
    }
    Err(Error::bad_input(
        format!("image name `{}`", bake.spec.image_name),
        format!("is taken by {}, which this bake did not make", image.id),
        format!("Rename or deregister it: `aws ec2 deregister-image --image-id {}`", image.id),
    ))
}
