//! promote: records that the image is validated, moves the channel, and brings what follows it to the image.

use std::collections::BTreeMap;

use futures::try_join;
use jiff::{SignedDuration, Timestamp};

use super::{
    Action, available, events,
    followers::{Applied, Reverting, followers},
    resume, rollout,
    table::check,
};
use crate::{
    domain::{
        bake::{Available, Bake, Document, Stage, Status, To},
        destination::Destination,
        error::{Error, Result, Retry},
    },
    ports::{ImageAttributes, ImageState, Images, Parameters, Table, Templates, Workflow},
    store::{
        Asker, ImageCopy, ImageSet, ImageStatus, Ledger, Passed, Promotion, Rolled, Versioned, among_others,
    },
};

/// An image that was seen to be available so long ago is not looked at once more before a channel points at it.
const JUST_NOW: SignedDuration = SignedDuration::from_secs(3);

/// Promotes the bake's image, unless something newer was promoted already, and says what is to be told of it.
pub async fn run(
    document: Document,
    cloud: &(impl Images + ImageAttributes + Parameters + Templates + Table + Workflow),
    now: Timestamp,
) -> Result<Document> {
    let document = promoted(document, cloud, now).await?;
    let Some(ends) = document.ends else { return Ok(document) };
    let events = events::of_bake(&document.bake, ends, cloud).await?;
    Ok(Document { events, ..document })
}

async fn promoted(
    document: Document,
    cloud: &(impl Images + ImageAttributes + Parameters + Templates + Table + Workflow),
    now: Timestamp,
) -> Result<Document> {
    check(Action::Promote, &document)?;
    let mut bake = resume(cloud, &document).await?;
    let (ledger, to) = (Ledger(cloud), bake.spec.destination());
    let (begins, writes) = (bake.progress.stage != Stage::Promotion, to.parameter.is_some());
    if begins {
        bake.progress.enter(Stage::Promotion, now);
    }
    if writes {
        // Before it is: should this bake fail, its image must not be destroyed while SSM may still take it.
        bake.progress.written = Some(now);
    }
    if begins || writes {
        ledger.save(&mut bake).await?;
    }
    let seen = document.seen.available;
    let image = match seen.filter(|seen| begins && now.duration_since(seen.since) < JUST_NOW) {
        Some(seen) => seen,
        None => startable(&bake, cloud, now).await?,
    };
    if !bake.progress.reused {
        validated(&bake, &ledger).await?;
    } else if bake.progress.booted.is_some() {
        ledger.record_passed(&bake, passed(&bake)?).await?;
    }
    attributes(&bake, image, cloud).await?;
    if !bake.spec.options.promote {
        return Ok(bake.into_inner().end(Status::Validated, To::Done));
    }
    if to.runs_machines() {
        return roll_out(bake, cloud, now).await;
    }
    match among_others(async || ledger.promote(&bake, now).await).await? {
        Promotion::Superseded => Ok(bake.into_inner().end(Status::Superseded, To::Done)),
        Promotion::Closed(why) => closed(bake, why, cloud).await,
        Promotion::Moved | Promotion::Unchanged | Promotion::Overtaken => {
            let applied = follow(&to, cloud).await?;
            let to = if applied == Applied::Settled { To::Done } else { To::Await };
            let mut document = bake.into_inner().end(Status::Promoted, to);
            if let Applied::Refused(why) = applied {
                document.seen.refused = Some(why);
            }
            // What follows at once is there already.
            document.next.seconds = 0;
            Ok(document)
        }
    }
}

/// Hands the image over to a rollout, which brings it to the channel once machines were seen to serve from it.
async fn roll_out(
    mut bake: Versioned<Bake>,
    cloud: &(impl Table + Workflow),
    now: Timestamp,
) -> Result<Document> {
    let ledger = Ledger(cloud);
    let spec = rollout::of_bake(&bake.spec, bake.image()?.clone());
    let asker = Asker::Bake { force: bake.spec.options.force };
    let tests = bake.spec.inputs.tests.clone();
    match among_others(async || ledger.roll(&spec, Some(&tests), asker.clone(), now).await).await? {
        Rolled::Begins(id) => {
            bake.progress.rollout = Some(id.clone());
            ledger.save(&mut bake).await?;
            if let Some(record) = ledger.rollout(&bake.spec.pipeline, &id).await? {
                rollout::start(&record, cloud).await?;
            }
            Ok(bake.into_inner().end(Status::Validated, To::Done))
        }
        // The one that is under way starts it when it has ended.
        Rolled::Waits(id) => {
            bake.progress.rollout = Some(id);
            ledger.save(&mut bake).await?;
            Ok(bake.into_inner().end(Status::Validated, To::Done))
        }
        Rolled::Unchanged => Ok(bake.into_inner().end(Status::Promoted, To::Done)),
        Rolled::Superseded => Ok(bake.into_inner().end(Status::Superseded, To::Done)),
        Rolled::Closed(why) => closed(bake, why, cloud).await,
    }
}

/// All is well with the image, and automation may not promote it.
async fn closed(mut bake: Versioned<Bake>, why: String, table: &impl Table) -> Result<Document> {
    bake.progress.not_promoted = Some(why);
    Ledger(table).save(&mut bake).await?;
    Ok(bake.into_inner().end(Status::Validated, To::Done))
}

/// Refuses to move a channel to an image that nothing can be started from.
async fn startable(bake: &Bake, images: &impl Images, now: Timestamp) -> Result<Available> {
    let id = bake.image()?;
    let refuse = |problem: String| Error::NotPromotable { image: id.clone(), problem };
    let image = images.image(id).await?.ok_or_else(|| refuse("it no longer exists".into()))?;
    match image.state {
        ImageState::Available => Ok(available(&image, now)),
        // It was seen available: this answer is older than that.
        ImageState::Pending => Err(Error::TryAgain { what: format!("image {id}"), why: Retry::Unseen }),
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
        takers: Vec::new(),
    };
    ledger.record_image(&bake.spec.digest, &record).await
}

/// Gives the image what the recipe asks of an image that passed its tests: before anything is started from it.
///
/// What EC2 shows decides, so a second try does only what is left to do. The spec of the bake that made the image says
/// already whose the protection is. Nothing is read back: EC2 may show an image for a while as it was before.
async fn attributes(bake: &Bake, seen: Available, cloud: &(impl ImageAttributes + Table)) -> Result<()> {
    let image = bake.image()?;
    let imdsv2 = async {
        if bake.spec.settings.imdsv2 && !seen.imdsv2 { cloud.require_imdsv2(image).await } else { Ok(()) }
    };
    let protection = async {
        if !seen.protected && protects(bake, cloud).await? {
            cloud.protect(image).await?;
        }
        Ok(())
    };
    // Side by side: each is a call of its own to EC2, and somebody waits for the promotion.
    try_join!(imdsv2, protection).map(|((), ())| ())
}

/// Whether the image is to be protected. Prune lifts a protection only if the bake that made the image asked for it, so a
/// bake that reuses an image adds none.
async fn protects(bake: &Bake, table: &impl Table) -> Result<bool> {
    if !bake.progress.reused {
        return Ok(bake.spec.settings.protected);
    }
    let ledger = Ledger(table);
    let Some((_, set)) = ledger.image_row(&bake.spec.digest, bake.image()?).await? else { return Ok(false) };
    let maker = ledger.bake(&set.pipeline, &set.bake).await?;
    Ok(bake.spec.settings.protected && maker.is_some_and(|maker| maker.spec.settings.protected))
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

/// Brings everything that follows a channel to what that points at, whoever moved it last. Gives what is left to do most.
async fn follow(to: &Destination, cloud: &(impl Parameters + Templates + Table)) -> Result<Applied> {
    let mut all = Applied::Settled;
    for follower in followers(to) {
        let applied = follower.apply(to, cloud).await?;
        if let Applied::Refused(why) = &applied {
            tracing::info!(channel = to.name(), "written again later: {why}");
        }
        all = all.max(applied);
    }
    Ok(all)
}

/// Says at the end of a bake what does not follow its channel, although all was waited for that it may take. The promotion
/// stands: an image is no worse for a parameter that lags.
///
/// # Errors
/// `NotFollowed`, so that somebody is told.
pub fn followed(bake: &Bake) -> Result<()> {
    match &bake.progress.behind {
        None => Ok(()),
        Some(what) => Err(Error::NotFollowed { channel: bake.spec.destination().name(), what: what.clone() }),
    }
}

/// Takes the promotion of a failed bake back: the channel, then what follows it, the last first.
///
/// A second try finds the channel as it was, and lets the followers follow it all the same. A rollout that has begun
/// is not taken back: it judges the image by itself.
pub async fn undo(
    bake: &Bake,
    cloud: &(impl Parameters + Templates + Table + Workflow),
    now: Timestamp,
) -> Result<()> {
    if bake.progress.stage != Stage::Promotion || !bake.spec.options.promote {
        return Ok(());
    }
    let (ledger, to) = (Ledger(cloud), bake.spec.destination());
    if to.runs_machines() {
        let next = ledger.withdraw(&to.pipeline, &rollout::rollout_id(&to, &bake.spec.id), now).await?;
        return match next {
            Some(next) => rollout::start_waiting(&to.pipeline, &next, cloud).await,
            None => Ok(()),
        };
    }
    ledger.take_back(&bake.spec).await?;
    let what = Reverting { image: bake.progress.image.as_ref(), written: bake.progress.written, now };
    for follower in followers(&to).iter().rev() {
        follower.revert(&to, what, cloud).await?;
    }
    Ok(())
}
