//! What dead bakes left, and what carries this stack's tags without a record.

use std::collections::{BTreeMap, BTreeSet};

use futures::try_join;
use jiff::{SignedDuration, Timestamp};

use super::{DeadBake, is_dead, tag};
use crate::{
    domain::{
        bake::{Bake, Status},
        error::{Error, Result},
        id::{AmiId, BakeId, PipelineName},
        retirement::{Retiring, Since},
        tags::{TAG_BAKE, TAG_KEEP, TAG_PIPELINE},
    },
    ports::{Execution, Image, Instance, PrunePorts, Snapshot, Volume},
    steps::{
        deregistration,
        guard::{Kept, Reason, is_back, made_image, made_instance, made_snapshot, protected_by_others},
    },
    store::{ImageStatus, Ledger, Retirement},
};

/// Everything of this stack that EC2 shows.
#[derive(Debug)]
pub(super) struct Found {
    pub images: Vec<Image>,
    pub instances: Vec<Instance>,
    pub snapshots: Vec<Snapshot>,
    pub volumes: Vec<Volume>,
}

impl Found {
    /// One bake's, or all.
    pub async fn look(cloud: &impl PrunePorts, bake: Option<&BakeId>) -> Result<Self> {
        let instances = async {
            match bake {
                Some(bake) => cloud.of_bake(bake).await,
                None => cloud.all().await,
            }
        };
        let (images, mut instances, snapshots, volumes) =
            try_join!(cloud.images(bake), instances, cloud.snapshots(bake), cloud.volumes(bake))?;
        instances.retain(|instance| !instance.state.is_gone());
        Ok(Self { images, instances, snapshots, volumes })
    }
}

/// What was found out about bakes.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    /// Bakes on their way, by their records and their executions.
    pub running: BTreeMap<BakeId, Bake>,
    /// Bakes whose execution is dead, and what each left.
    pub dead: BTreeMap<BakeId, DeadBake>,
    /// Images that go with their dead bake: retention has no say in them.
    pub doomed: BTreeSet<AmiId>,
    /// Images of which no record says that they were made.
    pub unrecorded: BTreeSet<AmiId>,
    /// Images that somebody protects against deregistration, beside the bake that made them.
    pub protected: BTreeSet<AmiId>,
    /// When the bake of each image ended: before that, the bake itself may have started it.
    pub ended: BTreeMap<AmiId, Timestamp>,
    /// Images that were deregistered and are there again.
    pub back: BTreeSet<AmiId>,
    /// Bakes whose image comes out of the Recycle Bin at this moment: its snapshots are there before it.
    pub coming: BTreeSet<BakeId>,
    /// Snapshots that another image needs, or that are locked.
    pub stays: Vec<Kept>,
    /// What an operator must look at.
    pub problems: Vec<String>,
    /// Records of running bakes that can't be read: any image may be what such a bake starts from.
    pub unreadable: usize,
}

/// An image that isn't out of the Recycle Bin after this time doesn't come any more, and its snapshots are leftovers.
const COMES_WITHIN: SignedDuration = SignedDuration::from_hours(24);

impl Leftovers {
    /// Notes the bakes whose image comes out of the Recycle Bin.
    pub fn returning(&mut self, retirements: &[Retirement], now: Timestamp) {
        let comes = |one: &&Retirement| {
            one.stage == Retiring::Returning && now.duration_since(one.since) < COMES_WITHIN
        };
        self.coming.extend(retirements.iter().filter(comes).map(|one| one.bake.clone()));
    }

    /// Which bakes are on their way, and which only say so.
    pub async fn of_running(cloud: &impl PrunePorts, now: Timestamp) -> Result<Self> {
        let mut left = Self::default();
        let (running, unreadable) = Ledger(cloud).running().await?;
        left.unreadable = unreadable.len();
        left.problems.extend(unreadable.iter().map(Error::chain));
        for bake in running {
            let execution = cloud.bake_execution(&bake.spec.id).await?;
            if is_dead(&bake, execution.as_ref(), now) {
                left.dead_bake(&bake);
                continue;
            }
            if execution == Some(Execution::Succeeded) {
                left.problems.push(format!(
                    "bake {}: its record says that it is on its way, and its execution succeeded: the table was put \
                     back to an earlier time. What it made stays",
                    bake.spec.id
                ));
                left.unrecorded.extend(bake.progress.image.clone());
            }
            left.running.insert(bake.spec.id.clone(), bake);
        }
        Ok(left)
    }

    fn dead_bake(&mut self, bake: &Bake) -> &mut DeadBake {
        let dead = DeadBake::new(bake.spec.pipeline.clone(), bake.spec.id.clone());
        self.dead.entry(bake.spec.id.clone()).or_insert(dead)
    }

    /// Says of everything that was found whether it is what a dead bake left.
    ///
    /// Images that are `retiring` were proven once, and are retention's business: a disabled one has no record.
    pub async fn sort(
        &mut self,
        found: &Found,
        retiring: &BTreeMap<AmiId, Since>,
        cloud: &impl PrunePorts,
        now: Timestamp,
    ) -> Result<()> {
        let ledger = Ledger(cloud);
        let tagged = found
            .images
            .iter()
            .map(|one| &one.tags)
            .chain(found.instances.iter().map(|one| &one.tags))
            .chain(found.snapshots.iter().map(|one| &one.tags))
            .chain(found.volumes.iter().map(|one| &one.tags));
        let named: BTreeSet<_> = tagged.filter_map(of_tags).collect();
        let (bakes, unreadable) = ledger.bakes_of(&named).await?;
        self.problems.extend(unreadable.iter().map(Error::chain));
        let bakes: BTreeMap<(PipelineName, BakeId), Bake> = bakes
            .into_iter()
            .map(|bake| ((bake.spec.pipeline.clone(), bake.spec.id.clone()), bake))
            .collect();
        let bake_of = |tags: &BTreeMap<String, String>| bakes.get(&of_tags(tags)?);

        for image in &found.images {
            let bake = bake_of(&image.tags);
            if protected_by_others(image, bake) {
                self.protected.insert(image.id.clone());
            }
            if bake.is_some_and(|bake| is_back(bake, image, now)) {
                self.back.insert(image.id.clone());
            }
            if let Some(ended) = bake.and_then(|bake| bake.progress.ended()) {
                self.ended.insert(image.id.clone(), ended);
            }
            if image.tags.contains_key(TAG_KEEP) {
                continue;
            }
            match bake {
                Some(bake) if made_image(bake, image) => {
                    if !self.running.contains_key(&bake.spec.id)
                        && !bake.progress.status.ended_well()
                        && !retiring.contains_key(&image.id)
                        && !validated(bake, &image.id, &ledger).await?
                    {
                        self.dead_bake(bake).leaves.push(image.id.to_string());
                        self.doomed.insert(image.id.clone());
                    }
                }
                Some(_) | None => {
                    self.unrecorded.insert(image.id.clone());
                    self.problems.push(unrecorded("image", image.id.as_str(), &deregistration(&image.id)));
                }
            }
        }
        for instance in found.instances.iter().filter(|one| !one.tags.contains_key(TAG_KEEP)) {
            let id = instance.id.as_str();
            match bake_of(&instance.tags) {
                Some(bake) if made_instance(bake, instance) => {
                    let kept = bake.spec.options.keep_builder
                        && bake.progress.status == Status::Failed
                        && now < bake.expires();
                    if !self.running.contains_key(&bake.spec.id) && !kept {
                        self.dead_bake(bake).leaves.push(id.to_owned());
                    }
                }
                Some(_) | None => {
                    self.problems.push(unrecorded(
                        "instance",
                        id,
                        &format!("aws ec2 terminate-instances --instance-ids {id}"),
                    ));
                }
            }
        }
        self.snapshots(found, bake_of, cloud).await?;
        for volume in found.volumes.iter().filter(|one| !one.tags.contains_key(TAG_KEEP)) {
            let id = volume.id.as_str();
            match bake_of(&volume.tags) {
                // An attached one goes with its instance, or stays with it.
                _ if volume.attached.is_some() || !volume.state.is_left() => {}
                Some(bake) if self.running.contains_key(&bake.spec.id) => {}
                Some(bake) => self.dead_bake(bake).leaves.push(id.to_owned()),
                None => self.problems.push(unrecorded(
                    "volume",
                    id,
                    &format!("aws ec2 delete-volume --volume-id {id}"),
                )),
            }
        }
        Ok(())
    }

    async fn snapshots<'b>(
        &mut self,
        found: &Found,
        bake_of: impl Fn(&BTreeMap<String, String>) -> Option<&'b Bake>,
        cloud: &impl PrunePorts,
    ) -> Result<()> {
        let owned: BTreeSet<_> = found.images.iter().flat_map(|image| &image.snapshots).collect();
        let alone = found.snapshots.iter().filter(|one| !owned.contains(&one.id));
        let alone: Vec<&Snapshot> = alone.filter(|one| !one.tags.contains_key(TAG_KEEP)).collect();
        if alone.is_empty() {
            return Ok(());
        }
        let ids: Vec<_> = alone.iter().map(|snapshot| snapshot.id.clone()).collect();
        let users = cloud.images_with(&ids).await?;
        let locked = cloud.locked(&ids).await?;
        for snapshot in alone {
            let id = snapshot.id.as_str();
            if let Some(user) = users.iter().find(|user| user.snapshots.contains(&snapshot.id)) {
                let by = user.id.to_string();
                self.stays.push(Kept { id: id.to_owned(), reason: Reason::Shared, by });
                continue;
            }
            if locked.contains(&snapshot.id) {
                self.stays.push(Kept { id: id.to_owned(), reason: Reason::Locked, by: String::new() });
                continue;
            }
            match bake_of(&snapshot.tags) {
                Some(bake)
                    if self.running.contains_key(&bake.spec.id) || self.coming.contains(&bake.spec.id) => {}
                Some(bake) if made_snapshot(bake, snapshot) => {
                    self.dead_bake(bake).leaves.push(id.to_owned());
                }
                Some(_) | None => {
                    self.problems.push(unrecorded(
                        "snapshot",
                        id,
                        &format!("aws ec2 delete-snapshot --snapshot-id {id}"),
                    ));
                }
            }
        }
        Ok(())
    }
}

/// The pipeline and the bake that tags name.
fn of_tags(tags: &BTreeMap<String, String>) -> Option<(PipelineName, BakeId)> {
    Some((tag(tags, TAG_PIPELINE)?, tag(tags, TAG_BAKE)?))
}

/// Whether an image of a bake that did not end well passed its tests all the same: another bake promoted it.
async fn validated<T: crate::ports::Table>(
    bake: &Bake,
    image: &AmiId,
    ledger: &Ledger<'_, T>,
) -> Result<bool> {
    let record = ledger.image_row(&bake.spec.digest, image).await?;
    Ok(record.is_some_and(|(_, set)| set.status == ImageStatus::Validated))
}

fn unrecorded(kind: &str, id: &str, command: &str) -> String {
    format!(
        "{kind} {id} has this stack's tags, and no record says that this stack made it. It stays. If it is yours, keep \
         it: `aws ec2 create-tags --resources {id} --tags Key={TAG_KEEP},Value=`; if nobody needs it: `{command}`"
    )
}
