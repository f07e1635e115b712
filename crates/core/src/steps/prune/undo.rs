//! Taking an image back: as long as it is there, or out of the Recycle Bin.

use jiff::{SignedDuration, Timestamp};

use super::{Plan, Verdict, plan::nothing};
use crate::{
    domain::{
        error::{Error, Result, Retry},
        id::{AmiId, BakeId, PipelineName},
        retirement::{Act, Retiring, Since},
    },
    ports::{PrunePorts, Table},
    steps::{
        clean_up::UNSEEN,
        guard::{Guard, Lost, Reason, Terms},
    },
    store::Ledger,
};

/// An image that may be taken back: whose it is, and how far it was on its way out.
struct Retired {
    pipeline: PipelineName,
    bake: BakeId,
    was: Option<Since>,
}

/// What the table says of an image on its way out, or of one that a run deregistered; none of any other.
async fn retired(image: &AmiId, table: &impl Table) -> Result<Option<Retired>> {
    let ledger = Ledger(table);
    let (mut retirement, gone) = (ledger.retirement(image).await?, ledger.gone(image).await?);
    if retirement.is_none() && gone.is_none() {
        // Another undo may have ended between the two: it writes the one and removes the other in one moment.
        retirement = ledger.retirement(image).await?;
    }
    let was = retirement.as_ref().map(|(_, one)| one.since());
    let of_retirement = retirement.map(|(_, one)| (one.pipeline, one.bake));
    let found = of_retirement.or_else(|| gone.map(|gone| (gone.pipeline, gone.bake)));
    Ok(found.map(|(pipeline, bake)| Retired { pipeline, bake, was }))
}

/// Refuses what there is no use to start a run for. A run that fails raises the alarm of prune, and nothing is wrong with that.
pub async fn ask_undo(image: &AmiId, table: &impl Table) -> Result<()> {
    if retired(image, table).await?.is_some() {
        return Ok(());
    }
    let (problem, fix) = match Ledger(table).maker(image).await? {
        None => (
            "was made by no bake of this stack",
            "`ovenbird list` shows its bakes with their images".to_owned(),
        ),
        Some(bake) if bake.progress.retired().is_some() => (
            "was deregistered too long ago: what it takes to have it back is forgotten",
            format!("Bake it again: `ovenbird bake {} --force`", bake.spec.pipeline),
        ),
        Some(_) => (
            "is not on its way out: there is nothing to take back",
            format!("`ovenbird prune explain {image}` says what becomes of it"),
        ),
    };
    Err(Error::bad_input(format!("image `{image}`"), problem, fix))
}

/// The plan to take one image back: as long as it is there, or out of the Recycle Bin.
pub(super) async fn undo(image: &AmiId, cloud: &impl PrunePorts, now: Timestamp) -> Result<Plan> {
    let Some(Retired { pipeline, bake, was }) = retired(image, cloud).await? else {
        return Err(Error::bad_input(
            format!("image `{image}`"),
            "is not on its way out, and no run deregistered it in the last 400 days",
            "`ovenbird prune` says which images are on their way out",
        ));
    };
    let images = cloud.images(Some(&bake)).await?;
    let name = match images.into_iter().find(|found| found.id == *image) {
        Some(found) => found.name,
        None => in_bin(image, &pipeline, &bake, cloud, now).await?,
    };
    let verdict = Verdict {
        image: image.clone(),
        name,
        pipeline,
        bake: Some(bake),
        act: Act::Restore,
        reason: Reason::Undone,
        by: String::new(),
        also: Vec::new(),
        until: None,
        was,
        versions: Vec::new(),
        snapshots: Vec::new(),
        // It asks for no terms: nothing is taken away.
        terms: Some(Terms { history: 0, shared: false }),
        judged: now,
    };
    Ok(Plan { retire: vec![verdict], ..nothing(now) })
}

/// Whether an image, or its snapshots, were taken out of the Recycle Bin so lately that EC2 may show them in neither place.
fn comes(is: Since, now: Timestamp) -> bool {
    let within = match is.stage {
        // When each of them was is noted nowhere: only when the first undo began.
        Retiring::Returning => SignedDuration::from_hours(1),
        Retiring::Undone => UNSEEN,
        Retiring::Deprecated | Retiring::Disabled => return false,
    };
    now.duration_since(is.since) < within
}

/// The name of an image that the Recycle Bin has, with all its snapshots. An error says why it can't be had back.
async fn in_bin(
    image: &AmiId,
    pipeline: &PipelineName,
    bake: &BakeId,
    cloud: &impl PrunePorts,
    now: Timestamp,
) -> Result<String> {
    let anew = format!("Bake it again: `ovenbird bake {pipeline} --force`");
    let wrong = |problem: String, fix: &str| {
        Err(Error::bad_input(format!("image `{image}`"), problem, format!("{anew}. {fix}")))
    };
    let ledger = Ledger(cloud);
    let Some(bake) = ledger.bake(pipeline, bake).await? else {
        return wrong("is deregistered, and its bake has no record any more".into(), "");
    };
    let lost = match Guard::new(cloud).lost(image, &bake).await? {
        Ok(name) => return Ok(name),
        Err(lost) => lost,
    };
    // Read after the bin was: another undo may have emptied it a moment ago.
    if ledger.retirement(image).await?.is_some_and(|(_, retirement)| comes(retirement.since(), now)) {
        let what = match lost {
            Lost::Image => format!("image {image}"),
            Lost::Snapshot(snapshot) => format!("snapshot {snapshot}"),
        };
        return Err(Error::TryAgain { what, why: Retry::Returning });
    }
    match lost {
        Lost::Image => wrong(
            "is deregistered, and the Recycle Bin doesn't have it".into(),
            "So that the next one can be had back, have a rule of the Recycle Bin keep images and snapshots: see \"Out of \
             the Recycle Bin\" in docs/prune.md",
        ),
        Lost::Snapshot(snapshot) => wrong(
            format!("is in the Recycle Bin, and its snapshot {snapshot} is gone"),
            "Have the Recycle Bin keep snapshots for as long as images, so that the next one can be had back",
        ),
    }
}
