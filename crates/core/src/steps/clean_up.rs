//! clean-up: removes what one bake no longer needs, and all that a failed one made. It is part of prune.
//!
//! It finds by tag and not only by recorded id, takes "already gone" for success, tries everything before it
//! gives up, and never touches an image that was validated.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::{promote, prune::Shears};
use crate::{
    bake::{Bake, Failure, Status},
    error::{Error, Result},
    id::{AmiId, BakeId, SnapshotId},
    ledger::{ImageStatus, Ledger},
    ports::{self, Builders, InstanceState, Parameters, Retirement, Table},
};

/// Cleans up after a bake that ended well: its instances go, its lease is free, its record is closed.
pub async fn after_success<B, R, P, T>(
    document: Bake,
    shears: &Shears<'_, B, R, P, T>,
    now: Timestamp,
) -> Result<Bake>
where
    B: Builders,
    R: Retirement,
    P: Parameters,
    T: Table,
{
    let ledger = Ledger(shears.table);
    let mut left = Leftovers::default();
    let mut bake = document;
    let record = ledger.bake(&bake.pipeline, &bake.bake).await?;
    if record.is_none_or(|record| record.status == Status::Running) {
        // Before anything is removed: from here on a lost execution's image is retention's business, and no
        // later prune takes the promotion back.
        let status = bake.status;
        bake.finish(status, now);
        ledger.close(&bake).await?;
    }
    terminate(&bake.bake, shears.builders, &mut left).await?;
    left.check(&bake.bake)?;
    Ok(bake)
}

/// Cleans up after a bake that failed: nothing it made stays, the channel is as it was.
///
/// `keep` leaves its instances until the bake expires, to look at them; the failure then says how. Gives the
/// failure as it is recorded.
pub async fn after_failure<B, R, P, T>(
    id: &BakeId,
    record: Option<Bake>,
    mut failure: Option<Failure>,
    keep: bool,
    shears: &Shears<'_, B, R, P, T>,
    now: Timestamp,
) -> Result<Option<Failure>>
where
    B: Builders,
    R: Retirement,
    P: Parameters,
    T: Table,
{
    let ledger = Ledger(shears.table);
    let mut left = Leftovers::default();
    match record.as_ref().filter(|_| keep) {
        Some(bake) => {
            let kept = kept(bake, shears.builders).await?;
            if let Some(failure) = &mut failure {
                failure.cause.push_str(&kept);
            }
        }
        None => terminate(id, shears.builders, &mut left).await?,
    }
    if let Some(bake) = &record {
        promote::undo(bake, shears.parameters, shears.table).await?;
    }
    images(id, record.as_ref(), shears.retirement, &ledger, &mut left).await?;
    left.check(id)?;
    if let Some(mut bake) = record {
        if bake.status == Status::Running {
            bake.failure.clone_from(&failure);
            bake.finish(Status::Failed, now);
        }
        ledger.close(&bake).await?;
    }
    Ok(failure)
}

/// How to get into the instances that a failed bake leaves, and when they go.
async fn kept(bake: &Bake, builders: &impl Builders) -> Result<String> {
    let mut text = String::new();
    for instance in builders.of_bake(&bake.bake).await? {
        let id = &instance.id;
        let start = match instance.state {
            InstanceState::Pending | InstanceState::Running => String::new(),
            InstanceState::Stopping | InstanceState::Stopped => {
                format!("`aws ec2 start-instances --instance-ids {id}`, then ")
            }
            InstanceState::ShuttingDown | InstanceState::Terminated => continue,
        };
        text += &format!(
            "\nkept as asked: {id}, until {:.0}. Get in: {start}`aws ssm start-session --target {id}`. The first \
             prune run after that removes it; `ovenbird clean {}` does at once",
            bake.expires, bake.bake
        );
    }
    Ok(text)
}

/// The error that a state machine's catch kept: its name, and what the function said.
pub fn caught(document: &Value, stage: crate::bake::Stage) -> Failure {
    let text = |name: &str| document.pointer(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    if document.get("error").is_none() {
        let word = text("/next/to");
        let cause = format!(
            "The state machine knows no way on from `{word}`: deploy functions and state machine of one version"
        );
        return Failure { error: "UnknownWay".into(), cause, stage };
    }
    let cause = text("/error/Cause");
    // A Lambda's cause is a JSON text; what a person wants to read is in it.
    let message = serde_json::from_str::<Value>(&cause)
        .ok()
        .and_then(|cause| cause.get("errorMessage")?.as_str().map(str::to_owned));
    Failure { error: text("/error/Error"), cause: message.unwrap_or(cause), stage }
}

async fn terminate(bake: &BakeId, builders: &impl Builders, left: &mut Leftovers) -> Result<()> {
    for instance in builders.of_bake(bake).await?.into_iter().filter(|instance| !instance.state.is_gone()) {
        let command = format!("aws ec2 terminate-instances --instance-ids {}", instance.id);
        left.note(builders.terminate(&instance.id).await, command);
    }
    Ok(())
}

async fn images<R: Retirement, T: Table>(
    bake: &BakeId,
    record: Option<&Bake>,
    retirement: &R,
    ledger: &Ledger<'_, T>,
    left: &mut Leftovers,
) -> Result<()> {
    let mut kept = BTreeSet::new();
    if let Some(record) = record {
        let validated =
            ledger.image(&record.digest).await?.filter(|image| image.status == ImageStatus::Validated);
        kept.extend(validated.map(|image| image.image));
        for channel in ledger.channels(&record.pipeline).await? {
            kept.extend(channel.current.into_iter().chain(channel.previous).map(|target| target.image));
        }
    }
    let is_kept = |image: &AmiId| kept.contains(image);
    let mut kept_snapshots = Vec::new();
    for image in retirement.images(Some(bake)).await? {
        if is_kept(&image.id) || image.tags.contains_key(ports::TAG_KEEP) {
            kept_snapshots.extend(image.snapshots);
            continue;
        }
        let command = format!("aws ec2 deregister-image --image-id {}", image.id);
        left.note(retirement.deregister(&image.id).await, command);
        if let Some(record) = record {
            ledger.forget_image(&record.digest, &image.id).await?;
        }
    }
    if let Some(record) = record
        && let Some(image) = &record.image
        && !is_kept(image)
    {
        ledger.forget_image(&record.digest, image).await?;
    }
    for snapshot in retirement.snapshots(Some(bake)).await? {
        if !kept_snapshots.contains(&snapshot.id) {
            let command = format!("aws ec2 delete-snapshot --snapshot-id {}", snapshot.id);
            left.note(retirement.delete_snapshot(&snapshot.id).await, command);
        }
    }
    Ok(())
}

/// The bake's snapshots that belong to no image: what is left when an image was deregistered and no more.
pub(super) async fn orphans<R: Retirement>(bake: &BakeId, retirement: &R) -> Result<Vec<SnapshotId>> {
    let images = retirement.images(Some(bake)).await?;
    let owned: BTreeSet<_> = images.into_iter().flat_map(|image| image.snapshots).collect();
    let snapshots = retirement.snapshots(Some(bake)).await?.into_iter().map(|snapshot| snapshot.id);
    Ok(snapshots.filter(|snapshot| !owned.contains(snapshot)).collect())
}

/// What could not be removed, with the commands that remove it.
#[derive(Debug, Default)]
struct Leftovers {
    what: Vec<String>,
    throttled: bool,
}

impl Leftovers {
    fn note(&mut self, result: Result<()>, command: String) {
        if let Err(error) = result {
            self.throttled |= matches!(error, Error::Throttled { .. } | Error::TryAgain { .. });
            self.what.push(format!("{error}; `{command}`"));
        }
    }

    fn check(self, bake: &BakeId) -> Result<()> {
        if self.what.is_empty() {
            return Ok(());
        }
        let what = self.what.join("\n");
        if self.throttled {
            // The state machine tries again by itself.
            return Err(Error::TryAgain { what });
        }
        Err(Error::LeftBehind { bake: bake.clone(), what })
    }
}
