//! clean-up: removes what one bake no longer needs, and all that a failed one made. It is part of prune.
//!
//! It finds by tag and not only by recorded id, takes "already gone" for success, tries everything before it
//! gives up, and destroys through the guard alone.

use std::collections::BTreeSet;

use futures::try_join;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{
    deregistration,
    guard::{Fate, Guard, Kept, Purpose, Reason, made_image},
    promote,
};
use crate::{
    domain::{
        bake::{Bake, Failure, Stage, Status},
        error::{Error, Result, Retry},
        id::{AmiId, BakeId},
        tags::TAG_ROLE,
    },
    ports::{Builders, Image, Instance, InstanceState, PrunePorts, Role, Table},
    store::{Ledger, Versioned},
};

/// So long after it was made EC2 may not show a thing: AWS's support told users of another tool to ask for two minutes and a
/// half. <https://github.com/hashicorp/packer/issues/3377>
pub(super) const UNSEEN: SignedDuration = SignedDuration::from_secs(150);

/// Cleans up after a bake that ended well: its record is closed and its lease free, its instances go. Gives the bake as
/// it is recorded, and what stays.
pub async fn after_success(
    mut bake: Versioned<Bake>,
    ends: Status,
    cloud: &impl PrunePorts,
    now: Timestamp,
) -> Result<(Bake, Vec<Kept>)> {
    let before = bake.clone();
    let close = async {
        if bake.progress.status == Status::Running {
            // Before anything is removed: from here on a lost execution's image is retention's business, and no
            // later prune takes the promotion back.
            bake.progress.finish(ends, now);
            Ledger(cloud).close(&mut bake).await?;
        }
        Ok(())
    };
    // EC2 is asked meanwhile, and nothing is removed before both have answered.
    let ((), found) = try_join!(close, instances(&before.spec.id, Some(&before), cloud))?;
    let mut removal = Removal::new(cloud);
    removal.instances(found, Some(&bake)).await;
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
    mut record: Option<Versioned<Bake>>,
    mut failure: Option<Failure>,
    keep: bool,
    cloud: &impl PrunePorts,
    now: Timestamp,
) -> Result<CleanedUp> {
    let ledger = Ledger(cloud);
    let mut removal = Removal::new(cloud);
    let found = instances(id, record.as_deref(), cloud).await?;
    let mut unseen: Vec<String> = record.iter().flat_map(|bake| unseen_instances(bake, &found)).collect();
    if keep && let Some(bake) = &record {
        let text = kept_instances(bake, &found);
        if let Some(failure) = &mut failure {
            failure.cause.push_str(&text);
        }
    } else {
        removal.instances(found, record.as_deref()).await;
    }
    if let Some(bake) = &record {
        promote::undo(bake, cloud, now).await?;
    }
    let images: Vec<Image> = cloud.images(Some(id)).await?;
    if let Some(bake) = &mut record {
        unseen.extend(unseen_image(bake, &images));
        // With the image goes what says which snapshots it had.
        note_snapshots(bake, &images, &ledger).await?;
    }
    let mut gone = BTreeSet::new();
    if let Some(bake) = &record
        && let Some(image) = bake.progress.image.as_ref().filter(|_| !bake.progress.reused)
        && !images.iter().any(|one| one.id == *image)
        && ledger.image_row(&bake.spec.digest, image).await?.is_none()
    {
        // An earlier try removed it, after its record. EC2 may still show it to who asks for a snapshot's images.
        gone.insert(image.clone());
    }
    gone.extend(removal.images(images, record.as_deref()).await);
    let seen = removal.snapshots(id, record.as_deref(), &gone).await?;
    removal.volumes(id, record.as_deref()).await?;
    let kept = removal.done(id)?;
    let Some(mut bake) = record else { return Ok(CleanedUp { failure, record: None, kept }) };
    if !bake.progress.reused {
        let hidden = bake.progress.snapshots.iter().filter(|id| !seen.contains(id.as_str()));
        unseen.extend(hidden.map(|id| format!("snapshot {id}")));
    }
    if !unseen.is_empty() && bake.progress.status == Status::Running && is_new(&bake, now) {
        return Err(Error::Unseen { bake: id.clone(), what: unseen.join(", ") });
    }
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

/// Whether EC2 may not show yet what the bake made last.
pub(super) fn is_new(bake: &Bake, now: Timestamp) -> bool {
    let makes = |stage| matches!(stage, Stage::Builder | Stage::Image | Stage::Boot);
    let last = bake.progress.timeline.iter().rfind(|span| makes(span.stage));
    last.is_some_and(|span| now < span.start + UNSEEN)
}

/// The bake's instances, whatever became of them: those with its tags, and those on record. EC2 shows tags later than ids.
async fn instances(id: &BakeId, bake: Option<&Bake>, builders: &impl Builders) -> Result<Vec<Instance>> {
    let mut found = builders.of_bake(id).await?;
    let recorded = bake.iter().flat_map(|bake| [&bake.progress.builder, &bake.progress.booted]).flatten();
    for recorded in recorded {
        if !found.iter().any(|one| one.id == *recorded) {
            found.extend(builders.instance(recorded).await?);
        }
    }
    Ok(found)
}

/// What instances the bake has, or may have, that are not among these.
fn unseen_instances(bake: &Bake, found: &[Instance]) -> Vec<String> {
    let progress = &bake.progress;
    let roles =
        [(Role::Builder, Stage::Builder, &progress.builder), (Role::Verifier, Stage::Boot, &progress.booted)];
    let unseen = roles.into_iter().filter_map(|(role, stage, recorded)| {
        let seen = found.iter().any(|one| match recorded {
            Some(id) => one.id == *id,
            None => one.tags.get(TAG_ROLE).map(String::as_str) == Some(role.as_str()),
        });
        match recorded {
            _ if seen => None,
            Some(id) => Some(format!("instance {id}")),
            None => (progress.stage == stage && !progress.refused).then(|| format!("a {}", role.as_str())),
        }
    });
    unseen.collect()
}

/// Which image the bake made, or may have made, that is not among these.
fn unseen_image(bake: &Bake, found: &[Image]) -> Option<String> {
    match &bake.progress.image {
        Some(id) if bake.progress.reused || found.iter().any(|one| one.id == *id) => None,
        Some(id) => Some(format!("image {id}")),
        None => (bake.progress.stage == Stage::Image && found.is_empty() && !bake.progress.refused)
            .then(|| format!("image `{}`", bake.spec.image_name)),
    }
}

/// Writes down which snapshots the images of a failed bake have.
async fn note_snapshots<T: Table>(
    bake: &mut Versioned<Bake>,
    found: &[Image],
    ledger: &Ledger<'_, T>,
) -> Result<()> {
    if bake.progress.status != Status::Running || bake.progress.reused {
        return Ok(());
    }
    let made = found.iter().filter(|image| made_image(bake, image)).flat_map(|image| &image.snapshots);
    let new: Vec<_> = made.filter(|id| !bake.progress.snapshots.contains(id)).cloned().collect();
    if new.is_empty() {
        return Ok(());
    }
    bake.progress.snapshots.extend(new);
    ledger.save(bake).await
}

/// How to get into the instances that a failed bake leaves, and when they go.
fn kept_instances(bake: &Bake, instances: &[Instance]) -> String {
    let mut text = String::new();
    for instance in instances {
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
    text
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

    async fn instances(&mut self, found: Vec<Instance>, bake: Option<&Bake>) {
        for instance in found.into_iter().filter(|one| !one.state.is_gone()) {
            let fate = self.guard.terminate(&instance, bake).await;
            self.note(fate, || format!("aws ec2 terminate-instances --instance-ids {}", instance.id));
        }
    }

    /// Gives the images that went.
    async fn images(&mut self, images: Vec<Image>, bake: Option<&Bake>) -> BTreeSet<AmiId> {
        let mut gone = BTreeSet::new();
        for image in images {
            let fate = self.guard.deregister(&image, bake, Purpose::CleanUp).await;
            if matches!(fate, Ok(None)) {
                gone.insert(image.id.clone());
            }
            self.note(fate, || deregistration(&image.id));
        }
        gone
    }

    /// Gives the snapshots that were there.
    async fn snapshots(
        &mut self,
        id: &BakeId,
        bake: Option<&Bake>,
        gone: &BTreeSet<AmiId>,
    ) -> Result<BTreeSet<String>> {
        let mut seen = BTreeSet::new();
        for snapshot in self.cloud.snapshots(Some(id)).await? {
            let fate = self.guard.delete_snapshot(&snapshot, bake, gone).await;
            self.note(fate, || format!("aws ec2 delete-snapshot --snapshot-id {}", snapshot.id));
            seen.insert(snapshot.id.to_string());
        }
        Ok(seen)
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
