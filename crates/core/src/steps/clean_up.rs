//! clean-up: removes what one bake no longer needs, and all that a failed one made. It is part of prune.
//!
//! It finds by tag and not only by recorded id, takes "already gone" for success, tries everything before it
//! gives up, and destroys through the guard alone.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::{
    deregistration,
    guard::{Fate, Guard, Kept, Purpose, Reason},
    promote,
};
use crate::{
    domain::{
        bake::{Bake, Failure, Status},
        error::{Error, Result, Retry},
        id::{AmiId, BakeId},
    },
    ports::{Builders, Image, InstanceState, PrunePorts},
    store::{Ledger, Versioned},
};

/// Cleans up after a bake that ended well: its record is closed and its lease free, its instances go. Gives the bake as
/// it is recorded, and what stays.
pub async fn after_success(
    mut bake: Versioned<Bake>,
    ends: Status,
    cloud: &impl PrunePorts,
    now: Timestamp,
) -> Result<(Bake, Vec<Kept>)> {
    if bake.progress.status == Status::Running {
        // Before anything is removed: from here on a lost execution's image is retention's business, and no
        // later prune takes the promotion back.
        bake.progress.finish(ends, now);
        Ledger(cloud).close(&mut bake).await?;
    }
    let mut removal = Removal::new(cloud);
    removal.instances(&bake.spec.id, Some(&bake)).await?;
    let kept = removal.done(&bake.spec.id)?;
    Ok((bake.into_inner(), kept))
}

/// Removes what a bake left beside its instances and its image.
pub async fn snapshots_and_volumes(bake: &Bake, cloud: &impl PrunePorts) -> Result<Vec<Kept>> {
    let mut removal = Removal::new(cloud);
    removal.snapshots(&bake.spec.id, Some(bake), &BTreeSet::new()).await?;
    removal.volumes(&bake.spec.id, Some(bake)).await?;
    removal.done(&bake.spec.id)
}

/// A failed bake, cleaned up after.
#[derive(Debug)]
pub struct CleanedUp {
    /// Why it failed, as recorded.
    pub failure: Option<Failure>,
    /// Its record, closed.
    pub record: Option<Bake>,
    /// What stays, and why.
    pub kept: Vec<Kept>,
}

/// Cleans up after a bake that failed: nothing it made stays, the channel is as it was.
///
/// `keep` leaves its instances until the bake expires, to look at them; the failure then says how.
pub async fn after_failure(
    id: &BakeId,
    record: Option<Versioned<Bake>>,
    mut failure: Option<Failure>,
    keep: bool,
    cloud: &impl PrunePorts,
    now: Timestamp,
) -> Result<CleanedUp> {
    let ledger = Ledger(cloud);
    let mut removal = Removal::new(cloud);
    match record.as_deref().filter(|_| keep) {
        Some(bake) => {
            let text = kept_instances(bake, cloud).await?;
            if let Some(failure) = &mut failure {
                failure.cause.push_str(&text);
            }
        }
        None => removal.instances(id, record.as_deref()).await?,
    }
    if let Some(bake) = &record {
        promote::undo(bake, cloud, now).await?;
    }
    let gone = removal.images(id, record.as_deref()).await?;
    removal.snapshots(id, record.as_deref(), &gone).await?;
    removal.volumes(id, record.as_deref()).await?;
    let kept = removal.done(id)?;
    let Some(mut bake) = record else { return Ok(CleanedUp { failure, record: None, kept }) };
    if let Some(image) = &bake.progress.image
        && !bake.progress.reused
        && !kept.iter().any(|kept| kept.id == image.as_str())
    {
        // An image that somebody else deregistered is on no list of EC2's, and still on ours.
        ledger.forget_image(&bake.spec.digest, image).await?;
    }
    if bake.progress.status == Status::Running {
        bake.progress.failure.clone_from(&failure);
        bake.progress.finish(failure.as_ref().map_or(Status::Failed, Failure::status), now);
        if !kept.is_empty() {
            // What stays is known by this record alone.
            bake.progress.forgotten = None;
        }
    }
    ledger.close(&mut bake).await?;
    Ok(CleanedUp { failure, record: Some(bake.into_inner()), kept })
}

/// How to get into the instances that a failed bake leaves, and when they go.
async fn kept_instances(bake: &Bake, builders: &impl Builders) -> Result<String> {
    let mut text = String::new();
    for instance in builders.of_bake(&bake.spec.id).await? {
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
            bake.expires(),
            bake.spec.id
        );
    }
    Ok(text)
}

/// The error that a state machine's catch kept: its name, and what the function said.
pub fn caught(document: &Value, stage: crate::domain::bake::Stage) -> Failure {
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

/// A removal under way: it tries everything, notes what could not be removed and what stays for a reason.
struct Removal<'a, C> {
    cloud: &'a C,
    guard: Guard<'a, C>,
    failed: Vec<String>,
    throttled: bool,
    kept: Vec<Kept>,
}

impl<'a, C: PrunePorts> Removal<'a, C> {
    fn new(cloud: &'a C) -> Self {
        Self { cloud, guard: Guard::new(cloud), failed: Vec::new(), throttled: false, kept: Vec::new() }
    }

    async fn instances(&mut self, id: &BakeId, bake: Option<&Bake>) -> Result<()> {
        for instance in self.cloud.of_bake(id).await?.into_iter().filter(|one| !one.state.is_gone()) {
            let fate = self.guard.terminate(&instance, bake).await;
            self.note(fate, || format!("aws ec2 terminate-instances --instance-ids {}", instance.id));
        }
        Ok(())
    }

    /// Gives the images that went.
    async fn images(&mut self, id: &BakeId, bake: Option<&Bake>) -> Result<BTreeSet<AmiId>> {
        let mut gone = BTreeSet::new();
        let images: Vec<Image> = self.cloud.images(Some(id)).await?;
        for image in images {
            let fate = self.guard.deregister(&image, bake, Purpose::CleanUp).await;
            if matches!(fate, Ok(None)) {
                gone.insert(image.id.clone());
            }
            self.note(fate, || deregistration(&image.id));
        }
        Ok(gone)
    }

    async fn snapshots(&mut self, id: &BakeId, bake: Option<&Bake>, gone: &BTreeSet<AmiId>) -> Result<()> {
        for snapshot in self.cloud.snapshots(Some(id)).await? {
            let fate = self.guard.delete_snapshot(&snapshot, bake, gone).await;
            self.note(fate, || format!("aws ec2 delete-snapshot --snapshot-id {}", snapshot.id));
        }
        Ok(())
    }

    async fn volumes(&mut self, id: &BakeId, bake: Option<&Bake>) -> Result<()> {
        for volume in self.cloud.volumes(Some(id)).await? {
            let fate = self.guard.delete_volume(&volume, bake).await;
            self.note(fate, || format!("aws ec2 delete-volume --volume-id {}", volume.id));
        }
        Ok(())
    }

    fn note(&mut self, fate: Fate, command: impl Fn() -> String) {
        match fate {
            Ok(None) => {}
            // Attached to an instance that is being terminated, and goes with it.
            Ok(Some(kept)) if kept.reason == Reason::Attached => {}
            Ok(Some(kept)) => self.kept.push(kept),
            Err(error) => {
                self.throttled |= error.goes_by();
                self.failed.push(format!("{error}; `{}`", command()));
            }
        }
    }

    /// What stays for a reason; an error when something could not be removed.
    fn done(self, bake: &BakeId) -> Result<Vec<Kept>> {
        if self.failed.is_empty() {
            return Ok(self.kept);
        }
        let what = self.failed.join("\n");
        if self.throttled {
            // The state machine tries again by itself.
            return Err(Error::TryAgain { what, why: Retry::Unfinished });
        }
        Err(Error::LeftBehind { bake: bake.clone(), what })
    }
}
