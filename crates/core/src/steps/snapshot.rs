//! snapshot: seals the builder, then makes the image of it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Action, order, resume, table::check};
use crate::{
    domain::{
        bake::{Bake, Document, Stage, To},
        error::{Error, Result},
        mailbox::Order,
        tags,
    },
    ports::{Bucket, Image, Images, Stack, Table},
    store::{Claim, ImageCopy, ImageSet, ImageStatus, Ledger, lease_end},
};

/// Orders the seal of a builder that passed its tests. Sealing twice is sealing once.
pub async fn seal(document: Document, cloud: &(impl Bucket + Table), now: Timestamp) -> Result<Document> {
    check(Action::Seal, &document)?;
    let mut bake = resume(cloud, &document).await?;
    if bake.progress.stage == Stage::Validation {
        bake.progress.enter(Stage::Seal, now);
        Ledger(cloud).save(&mut bake).await?;
    }
    let seal = if bake.progress.spot { Order::SealRunning } else { Order::Seal };
    order(&bake, Stage::Seal, seal, cloud).await?;
    Ok(bake.into_inner().go(To::Await).signed(document.seen.signed))
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
    // Who writes down that the bake is at its image now has asked for none before.
    let is_first = bake.progress.stage == Stage::Seal;
    if is_first {
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
        let earlier = if is_first { None } else { cloud.named(name).await? };
        let image = match earlier {
            Some(image) => own(&bake, image)?,
            None => {
                // EC2 can't stop a one-time spot instance: that one runs, sealed, and is taken down for its image.
                let tags = bake.tags(cloud.stack());
                let description = bake.spec.description();
                let asked =
                    cloud.create(bake.builder()?, name, &description, bake.progress.spot, &tags).await;
                if asked.as_ref().is_err_and(|error| !error.goes_by()) {
                    // The clean-up need not look for what EC2 may not show yet. Without this, it does.
                    bake.progress.refused = true;
                    let _ = ledger.save(&mut bake).await;
                }
                asked?
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
        takers: Vec::new(),
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
        format!("Rename or deregister it: `{}`", super::deregistration(&image.id)),
    ))
}
