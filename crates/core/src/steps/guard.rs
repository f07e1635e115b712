//! guard: the one place that destroys. Nothing else terminates, deregisters or deletes.
//!
//! Each act asks first, right before it, whether something may still use the thing; a plan may be minutes old. Doubt
//! keeps: what can't be read is an error, and nothing is destroyed after it.

mod reason;
mod recycle_bin;
mod refused;
mod stages;
mod versions;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use self::refused::{unfinished, unless_gone};
pub use self::{
    reason::{Kept, Reason},
    recycle_bin::Lost,
    stages::Due,
};
use crate::{
    domain::{
        bake::{Bake, Progress, Status},
        error::{Error, Result},
        id::{AmiId, BakeId, Digest, InstanceId, ParameterName},
        reference::{Kind, Reference},
        rollout::Template,
        tags::{TAG_BAKE, TAG_KEEP, TAG_ROLE, TAG_STACK},
    },
    ports::{Image, Instance, Protection, PrunePorts, Role, Row, Snapshot, Versions, Volume},
    steps::inventory::{self, Inventory},
    store::{ImageStatus, Ledger, Taker},
};

/// EC2 may show an image for a while that it has deregistered: by then it doesn't any more.
const STILL_SHOWN: SignedDuration = SignedDuration::from_hours(1);

/// What became of something that was to go.
pub type Fate = Result<Option<Kept>>;

/// What an image's recipe says of its retirement, beside how many stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// So many different images of a channel's history stay.
    pub history: usize,
    /// Whether an image goes although it is shared outside of this account.
    pub shared: bool,
}

/// For what an image is to go.
#[derive(Debug, Clone, Copy)]
pub enum Purpose {
    /// The clean-up after its own bake: the bake's own instances of it don't count, and what passed its tests stays.
    CleanUp,
    /// It is old.
    Retirement(Terms),
}

/// Whether an image may go.
pub(super) enum Answer {
    Stays(Kept),
    /// It may, and this is its record as it was before anything was asked.
    MayGo(Option<(Digest, Row)>),
}

/// The one place that destroys.
#[derive(Debug)]
pub struct Guard<'a, C> {
    cloud: &'a C,
    /// What names images, as a plan has just read it; none right before an act.
    seen: Option<&'a Inventory>,
}

impl<'a, C: PrunePorts> Guard<'a, C> {
    /// The guard of this account's stack.
    pub fn new(cloud: &'a C) -> Self {
        Self { cloud, seen: None }
    }

    /// The same for a plan, which has just read what names images. It destroys nothing.
    pub(super) fn planning(cloud: &'a C, seen: &'a Inventory) -> Self {
        Self { cloud, seen: Some(seen) }
    }

    /// Terminates a bake's builder or verifier, unless it is not the bake's own.
    pub async fn terminate(&self, instance: &Instance, bake: Option<&Bake>) -> Fate {
        let id = instance.id.to_string();
        if let Some(kept) = self.foreign(&id, &instance.tags, bake) {
            return Ok(Some(kept));
        }
        if !bake.is_some_and(|bake| made_instance(bake, instance)) {
            return Ok(Some(kept(id, Reason::Unrecorded, "")));
        }
        let shown = async {
            let shown = self.cloud.instance(&instance.id).await?;
            Ok(shown.is_some_and(|one| !one.state.is_gone()))
        };
        unless_gone(self.cloud.terminate(&instance.id).await, (), shown).await.map(|()| None)
    }

    /// Why an image stays; none when nothing that is looked at needs it. It destroys nothing.
    pub async fn keeps(&self, image: &Image, bake: Option<&Bake>, purpose: Purpose) -> Fate {
        self.keeps_beside(image, bake, purpose, &[]).await
    }

    /// The same when these versions of launch templates don't count.
    pub async fn keeps_beside(
        &self,
        image: &Image,
        bake: Option<&Bake>,
        purpose: Purpose,
        versions: &[Template],
    ) -> Fate {
        Ok(match self.ask_beside(image, bake, purpose, versions::without(versions)).await? {
            Answer::Stays(kept) => Some(kept),
            Answer::MayGo(_) => None,
        })
    }

    /// Deregisters an image, unless something may use it. Its record goes first: from then on no bake reuses it.
    pub async fn deregister(&self, image: &Image, bake: Option<&Bake>, purpose: Purpose) -> Fate {
        let had_record = match self.ask(image, bake, purpose).await? {
            Answer::Stays(kept) => return Ok(Some(kept)),
            Answer::MayGo(Some((digest, row))) => {
                Ledger(self.cloud).forget_row(&digest, &row).await?;
                true
            }
            Answer::MayGo(None) => false,
        };
        self.deregister_at_once(image, bake, had_record).await
    }

    /// Lifts the protection and deregisters. If this dies between the two, the next try finds an image without a
    /// protection.
    ///
    /// Who removes an image takes its record first, and says so in its bake's last. So one that had no record, or whose bake
    /// says that, may be gone already, although EC2 still shows it: then a refusal is not the last word, and the step is
    /// tried again.
    async fn deregister_at_once(&self, image: &Image, bake: Option<&Bake>, had_record: bool) -> Fate {
        let done = async {
            if image.protection != Protection::Off {
                self.cloud.unprotect(&image.id).await?;
            }
            self.cloud.deregister(&image.id).await
        };
        let shown = async {
            let shown = self.cloud.images(bake_of(&image.tags).as_ref()).await?;
            Ok(shown.iter().any(|one| one.id == image.id))
        };
        let gone = match unless_gone(done.await, true, shown).await {
            Err(refused @ Error::Denied { .. }) if !had_record || self.is_retired(bake).await? => {
                return Err(unfinished(&format!("image {}", image.id), &refused));
            }
            done => done?,
        };
        // Somebody has just protected it, or has lifted a protection whose cooldown lasts.
        Ok((!gone).then(|| kept(image.id.as_str(), Reason::Protected, "")))
    }

    /// Whether another run has retired the image of a bake since the record was read.
    async fn is_retired(&self, bake: Option<&Bake>) -> Result<bool> {
        let Some(bake) = bake else { return Ok(false) };
        let now = Ledger(self.cloud).bake(&bake.spec.pipeline, &bake.spec.id).await?;
        Ok(now.is_some_and(|now| now.progress.retired().is_some()))
    }

    pub(super) async fn ask(&self, image: &Image, bake: Option<&Bake>, purpose: Purpose) -> Result<Answer> {
        self.ask_beside(image, bake, purpose, BTreeSet::new()).await
    }

    /// Asks whether an image may go, when what has these ids doesn't count.
    async fn ask_beside(
        &self,
        image: &Image,
        bake: Option<&Bake>,
        purpose: Purpose,
        beside: BTreeSet<String>,
    ) -> Result<Answer> {
        let stays = |reason| Ok(Answer::Stays(kept(image.id.as_str(), reason, "")));
        if let Some(kept) = self.foreign(image.id.as_str(), &image.tags, bake) {
            return Ok(Answer::Stays(kept));
        }
        let Some(bake) = bake.filter(|bake| made_image(bake, image)) else {
            return stays(Reason::Unrecorded);
        };
        // Read before anything else is: each promotion writes the record, so one that comes after this line makes the
        // removal of the record fail, and all is asked again.
        let record = Ledger(self.cloud).image_row(&bake.spec.digest, &image.id).await?;
        if let Purpose::CleanUp = purpose
            && record.as_ref().is_some_and(|(_, record)| record.status == ImageStatus::Validated)
        {
            return stays(Reason::Validated);
        }
        for Taker { pipeline, bake: taker } in record.iter().flat_map(|(_, record)| &record.takers) {
            let found = Ledger(self.cloud).bake(pipeline, taker).await?;
            if found.is_some_and(|found| found.progress.status == Status::Running) {
                let reason = Reason::Named(Kind::Baking);
                return Ok(Answer::Stays(kept(image.id.as_str(), reason, taker.as_str())));
            }
        }
        if protected_by_others(image, Some(bake)) {
            return stays(Reason::Protected);
        }
        if let Purpose::CleanUp = purpose
            && let Some((_, retirement)) = Ledger(self.cloud).retirement(&image.id).await?
        {
            // It passed its tests once: it has no record since it is disabled.
            return Ok(Answer::Stays(kept(
                image.id.as_str(),
                Reason::Disabled,
                retirement.pipeline.as_str(),
            )));
        }
        Ok(match self.user_of_image(&image.id, bake, purpose, beside).await? {
            Some(kept) => Answer::Stays(kept),
            None => Answer::MayGo(record.map(|(row, _)| (bake.spec.digest.clone(), row))),
        })
    }

    /// Deletes a snapshot of a bake's, unless an image needs it. `gone` are images that were deregistered a moment
    /// ago: EC2 may still show them.
    pub async fn delete_snapshot(
        &self,
        snapshot: &Snapshot,
        bake: Option<&Bake>,
        gone: &BTreeSet<AmiId>,
    ) -> Fate {
        let id = snapshot.id.to_string();
        if let Some(kept) = self.foreign(&id, &snapshot.tags, bake) {
            return Ok(Some(kept));
        }
        if !bake.is_some_and(|bake| made_snapshot(bake, snapshot)) {
            return Ok(Some(kept(id, Reason::Unrecorded, "")));
        }
        let users = self.cloud.images_with(std::slice::from_ref(&snapshot.id)).await?;
        if let Some(user) = users.iter().find(|user| !gone.contains(&user.id)) {
            return Ok(Some(kept(id, Reason::Shared, user.id.as_str())));
        }
        let shown = async {
            let shown = self.cloud.snapshots(bake_of(&snapshot.tags).as_ref()).await?;
            Ok(shown.iter().any(|one| one.id == snapshot.id))
        };
        let refused = match unless_gone(self.cloud.delete_snapshot(&snapshot.id).await, (), shown).await {
            Ok(()) => return Ok(None),
            Err(error) => error,
        };
        // EC2 documents no code by which it refuses to delete a locked one. So whatever it says, its locks are looked at.
        match self.cloud.locked(std::slice::from_ref(&snapshot.id)).await {
            Ok(locked) if locked.contains(&snapshot.id) => return Ok(Some(kept(id, Reason::Locked, ""))),
            Ok(_) | Err(_) => {}
        }
        // As of an image: another run that removes the same may have removed it, although EC2 still shows it.
        let perhaps_gone =
            matches!(refused, Error::Denied { .. }) && (!gone.is_empty() || self.is_retired(bake).await?);
        Err(if perhaps_gone { unfinished(&format!("snapshot {id}"), &refused) } else { refused })
    }

    /// Deletes a volume that a bake's instance left.
    pub async fn delete_volume(&self, volume: &Volume, bake: Option<&Bake>) -> Fate {
        let id = volume.id.to_string();
        if let Some(kept) = self.foreign(&id, &volume.tags, bake) {
            return Ok(Some(kept));
        }
        if !volume.state.is_left() || volume.attached.is_some() {
            let by = volume.attached.as_ref().map_or("", InstanceId::as_str);
            return Ok(Some(kept(id, Reason::Attached, by)));
        }
        if bake.is_none() {
            return Ok(Some(kept(id, Reason::Unrecorded, "")));
        }
        let shown = async {
            let shown = self.cloud.volumes(bake_of(&volume.tags).as_ref()).await?;
            Ok(shown.iter().any(|one| one.id == volume.id))
        };
        unless_gone(self.cloud.delete_volume(&volume.id).await, (), shown).await.map(|()| None)
    }

    /// What every kind of thing is asked: whether it is this stack's, this bake's, and may go at all.
    fn foreign(&self, id: &str, tags: &BTreeMap<String, String>, bake: Option<&Bake>) -> Option<Kept> {
        let is = |key: &str, value: &str| tags.get(key).map(String::as_str) == Some(value);
        if !is(TAG_STACK, self.cloud.stack().as_str()) {
            return Some(kept(id, Reason::OtherStack, ""));
        }
        if tags.contains_key(TAG_KEEP) {
            return Some(kept(id, Reason::KeepTag, ""));
        }
        match bake {
            Some(bake) if is(TAG_BAKE, bake.spec.id.as_str()) => None,
            Some(_) | None => Some(kept(id, Reason::Unrecorded, "")),
        }
    }

    /// What uses an image of this bake, if anything does; what has the ids in `own` doesn't count.
    async fn user_of_image(
        &self,
        image: &AmiId,
        bake: &Bake,
        purpose: Purpose,
        mut own: BTreeSet<String>,
    ) -> Result<Option<Kept>> {
        let stays = |reason, by: &str| Ok(Some(kept(image.as_str(), reason, by)));
        if let Purpose::CleanUp = purpose {
            // Terminated a moment ago: one answer says so, and the next one may still show them as they were.
            let instances = self.cloud.of_bake(&bake.spec.id).await?;
            let made = instances.iter().filter(|one| made_instance(bake, one)).map(|one| &one.id);
            let recorded = [&bake.progress.builder, &bake.progress.booted].into_iter().flatten();
            own.extend(made.chain(recorded).map(ToString::to_string));
        }
        let ledger = Ledger(self.cloud);
        let (running, unreadable) = ledger.running().await?;
        if let Some(error) = unreadable.into_iter().next() {
            // It may start from any image.
            return Err(error);
        }
        for other in &running {
            if other.spec.base.image == *image {
                return stays(Reason::Named(Kind::Base), other.spec.id.as_str());
            }
            let own = other.spec.id == bake.spec.id;
            if other.progress.image.as_ref() == Some(image) && !(own && matches!(purpose, Purpose::CleanUp)) {
                return stays(Reason::Named(Kind::Baking), other.spec.id.as_str());
            }
        }
        let history = match purpose {
            Purpose::Retirement(terms) => terms.history,
            // It is retention's business.
            Purpose::CleanUp => usize::MAX,
        };
        for channel in ledger.channels(&bake.spec.pipeline).await? {
            let named = inventory::of_channel(&channel, history);
            if let Some((_, Reference { kind, id })) = named.iter().find(|(of, _)| of == image) {
                return stays(Reason::Named(*kind), id);
            }
        }
        if let Some(name) = self.parameter_with(image, bake).await? {
            return stays(Reason::Named(Kind::Parameter), name.as_str());
        }
        for instance in self.cloud.instances_of(image).await? {
            if matches!(purpose, Purpose::CleanUp)
                && instance.tags.get(TAG_STACK).map(String::as_str) == Some(self.cloud.stack().as_str())
                && made_instance(bake, &instance)
            {
                own.insert(instance.id.to_string());
                continue;
            }
            return stays(Reason::Named(Kind::Instance), instance.id.as_str());
        }
        let taken;
        let inventory = match self.seen {
            Some(seen) => seen,
            None => {
                taken = Inventory::take(self.cloud, Versions::NewestAndDefault).await?.whole()?;
                &taken
            }
        };
        if let Some(Reference { kind, id }) = inventory.of(image).find(|one| !own.contains(&one.id)) {
            return stays(Reason::Named(*kind), id);
        }
        if let Purpose::Retirement(Terms { shared: false, .. }) = purpose
            && let Some(with) = self.cloud.permissions(image).await?.first()
        {
            return stays(Reason::Named(Kind::Account), &with.to_string());
        }
        // Last, so that as little time as possible passes between this and the act: EC2's own word on it.
        let witnesses = self.cloud.witnesses(image).await?;
        match witnesses.into_iter().find(|witness| !own.contains(&witness.id)) {
            Some(witness) => stays(Reason::Referenced, &witness.to_string()),
            None => Ok(None),
        }
    }

    /// A parameter that follows a channel, of whatever pipeline, and names the image at this moment: an operator who
    /// rolled back by `put-parameter` leaves the channel as it was.
    async fn parameter_with(&self, image: &AmiId, bake: &Bake) -> Result<Option<ParameterName>> {
        let owners = Ledger(self.cloud).parameters().await?;
        let names: BTreeSet<ParameterName> = owners
            .into_iter()
            .map(|owner| owner.parameter)
            .chain(bake.spec.settings.parameter.clone())
            .collect();
        let names: Vec<ParameterName> = names.into_iter().collect();
        let values = self.cloud.values(&names).await?;
        Ok(values.into_iter().find(|(_, value)| value == image.as_str()).map(|(name, _)| name))
    }
}

/// The bake that a thing's tags name.
fn bake_of(tags: &BTreeMap<String, String>) -> Option<BakeId> {
    tags.get(TAG_BAKE).and_then(|id| BakeId::parse(id).ok())
}

/// Whether a protection against deregistration is somebody else's than the bake's that made the image. With a cooldown it
/// never is the bake's.
pub fn protected_by_others(image: &Image, bake: Option<&Bake>) -> bool {
    match image.protection {
        Protection::Off => false,
        Protection::On => !bake.is_some_and(|bake| bake.spec.settings.protected && made_image(bake, image)),
        Protection::WithCooldown => true,
    }
}

/// Whether an image was deregistered once and is there again: somebody took it out of the Recycle Bin. The record of its
/// bake is history since, and with it nobody would know in a year whose the image is.
pub fn is_back(bake: &Bake, image: &Image, now: Timestamp) -> bool {
    let Progress { status, reused, .. } = &bake.progress;
    let long_gone = bake.progress.retired().is_some_and(|at| now.duration_since(at) > STILL_SHOWN);
    long_gone && status.ended_well() && !reused && made_image(bake, image)
}

/// Whether the record says that the bake made this image. A copy that somebody made has the same tags.
pub fn made_image(bake: &Bake, image: &Image) -> bool {
    match &bake.progress.image {
        Some(made) if !bake.progress.reused => *made == image.id,
        // The reply to `CreateImage` was lost. The name is unique in the account and Region, so no copy has it.
        Some(_) | None => image.name == bake.spec.image_name.as_str(),
    }
}

/// Whether the bake launched this instance. "Launch more like this" in the console copies tags.
pub fn made_instance(bake: &Bake, instance: &Instance) -> bool {
    if instance.tags.get(TAG_BAKE).map(String::as_str) != Some(bake.spec.id.as_str()) {
        return false;
    }
    let recorded = match instance.tags.get(TAG_ROLE).map(String::as_str) {
        Some(role) if role == Role::Builder.as_str() => &bake.progress.builder,
        Some(role) if role == Role::Verifier.as_str() => &bake.progress.booted,
        Some(_) | None => return false,
    };
    // None: the reply to `RunInstances` was lost.
    recorded.as_ref().is_none_or(|id| *id == instance.id)
}

/// Whether the bake made this snapshot: by its record, or by what `CreateImage` wrote to it.
pub fn made_snapshot(bake: &Bake, snapshot: &Snapshot) -> bool {
    let by_builder = bake
        .progress
        .builder
        .as_ref()
        .is_some_and(|builder| snapshot.description.contains(&format!("CreateImage({builder})")));
    bake.progress.snapshots.contains(&snapshot.id) || by_builder
}

pub(super) fn kept(id: impl Into<String>, reason: Reason, by: &str) -> Kept {
    Kept { id: id.into(), reason, by: by.to_owned() }
}
