//! promote: records that the image is validated, moves the channel, and brings what follows it to the image.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Action, followers::followers, resume, table::check};
use crate::{
    domain::{
        bake::{Bake, BakeSpec, Document, Stage, Status, To},
        error::{Error, Result},
    },
    ports::{ImageState, Images, Parameters, Table},
    store::{ImageCopy, ImageSet, ImageStatus, Ledger, Passed, Promotion, among_others},
};

/// Promotes the bake's image, unless something newer was promoted already.
pub async fn run(
    document: Document,
    cloud: &(impl Images + Parameters + Table),
    now: Timestamp,
) -> Result<Document> {
    check(Action::Promote, &document)?;
    let mut bake = resume(cloud, &document).await?;
    let ledger = Ledger(cloud);
    if bake.progress.stage != Stage::Promotion {
        bake.progress.enter(Stage::Promotion, now);
        ledger.save(&mut bake).await?;
    }
    startable(&bake, cloud).await?;
    if !bake.progress.reused {
        validated(&bake, &ledger).await?;
    } else if bake.progress.booted.is_some() {
        ledger.record_passed(&bake, passed(&bake)?).await?;
    }
    if !bake.spec.options.promote {
        return Ok(bake.into_inner().end(Status::Validated, To::Done));
    }
    match among_others(async || ledger.promote(&bake, now).await).await? {
        Promotion::Superseded => Ok(bake.into_inner().end(Status::Superseded, To::Done)),
        Promotion::Moved | Promotion::Unchanged | Promotion::Overtaken => {
            follow(&bake.spec, cloud).await?;
            let to = if followers(&bake.spec).is_empty() { To::Done } else { To::Await };
            Ok(bake.into_inner().end(Status::Promoted, to))
        }
    }
}

/// Refuses to move a channel to an image that nothing can be started from.
async fn startable(bake: &Bake, images: &impl Images) -> Result<()> {
    let id = bake.image()?;
    let refuse = |problem: String| Error::NotPromotable { image: id.clone(), problem };
    let image = images.image(id).await?.ok_or_else(|| refuse("it no longer exists".into()))?;
    match image.state {
        ImageState::Available => Ok(()),
        ImageState::Pending => Err(refuse("it is still pending".into())),
        ImageState::Failed => Err(refuse(format!("it failed: {}", image.reason))),
        ImageState::Disabled => Err(refuse("somebody disabled it".into())),
    }
}

/// Records that the image passed its tests: from here on it is reused for its digest.
async fn validated<T: Table>(bake: &Bake, ledger: &Ledger<'_, T>) -> Result<()> {
    let record = ImageSet {
        home: ImageCopy { image: bake.image()?.clone(), snapshots: bake.progress.snapshots.clone() },
        copies: BTreeMap::new(),
        name: bake.spec.image_name.clone(),
        pipeline: bake.spec.pipeline.clone(),
        digest: Some(bake.spec.digest.clone()),
        bake: bake.spec.id.clone(),
        status: ImageStatus::Validated,
        passed: vec![passed(bake)?],
        fence: bake.progress.fence,
        uses: 0,
    };
    ledger.record_image(&bake.spec.digest, &record).await
}

/// What the bake saw its image pass.
fn passed(bake: &Bake) -> Result<Passed> {
    let image = bake.image()?.clone();
    let count = bake
        .progress
        .tests_passed
        .ok_or_else(|| Error::NotPromotable { image, problem: "its tests were never seen to pass".into() })?;
    Ok(Passed { tests: bake.spec.inputs.tests.clone(), count, bake: bake.spec.id.clone() })
}

/// Brings everything that follows the bake's channel to what that points at, whoever moved it last.
pub(super) async fn follow(spec: &BakeSpec, cloud: &(impl Parameters + Table)) -> Result<()> {
    for follower in followers(spec) {
        follower.apply(spec, cloud).await?;
    }
    Ok(())
}

/// Takes the promotion of a failed bake back: the channel, then what follows it, the last first.
///
/// A second try finds the channel as it was, and lets the followers follow it all the same.
pub async fn undo(bake: &Bake, cloud: &(impl Parameters + Table)) -> Result<()> {
    if bake.progress.stage != Stage::Promotion || !bake.spec.options.promote {
        return Ok(());
    }
    Ledger(cloud).take_back(&bake.spec).await?;
    for follower in followers(&bake.spec).iter().rev() {
        follower.revert(bake, cloud).await?;
    }
    Ok(())
}
