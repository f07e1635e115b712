//! The plan of a run: reads the inventory, first says what dead bakes left, then judges every image.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use jiff::Timestamp;

use super::{
    DeadBake, MOST_AWAY, MOST_PER_RUN, MOST_UNRECORDED, Plan, Verdict,
    basis::{Based, basis},
    dangling, judge,
    leftovers::{Found, Leftovers},
    unused, versions,
};
use crate::{
    domain::{
        error::Result,
        event::Event,
        id::{AmiId, SnapshotId},
        price::AtMost,
        retirement::{Act, Retiring, Since},
    },
    ports::{Bucket, Image, PrunePorts, Snapshot, Versions},
    steps::{
        AT_ONCE_OF_EC2,
        guard::{Guard, Kept, Purpose, Reason},
        inventory::{Inventory, Seen},
    },
    store::{Ledger, decode, keys},
};

/// A plan that does nothing.
pub(super) fn nothing(made: Timestamp) -> Plan {
    Plan {
        made,
        dead_bakes: Vec::new(),
        retire: Vec::new(),
        keep: Vec::new(),
        stays: Vec::new(),
        problems: Vec::new(),
        later: 0,
        unused: Vec::new(),
        holds: AtMost::default(),
        frees: AtMost::default(),
        will_free: AtMost::default(),
        halted: None,
    }
}

/// The plan to clean up after one bake.
pub async fn plan_of(dead: &DeadBake, cloud: &impl PrunePorts, now: Timestamp) -> Result<Plan> {
    let mut found = Found::look(cloud, Some(&dead.bake)).await?;
    let bake = Ledger(cloud).bake(&dead.pipeline, &dead.bake).await?;
    if bake.is_some_and(|bake| bake.progress.status.ended_well()) {
        // Retention decides about its image, and not the clean-up.
        let owned: BTreeSet<_> = found.images.drain(..).flat_map(|image| image.snapshots).collect();
        found.snapshots.retain(|snapshot| !owned.contains(&snapshot.id));
    }
    let images = found.images.iter().map(|one| one.id.to_string());
    let instances = found.instances.iter().map(|one| one.id.to_string());
    let snapshots = found.snapshots.iter().map(|one| one.id.to_string());
    let volumes = found.volumes.iter().map(|one| one.id.to_string());
    let leaves = instances.chain(volumes).chain(images).chain(snapshots).collect();
    Ok(Plan { dead_bakes: vec![DeadBake { leaves, ..dead.clone() }], ..nothing(now) })
}

/// Reads the inventory and judges every image.
///
/// Dead bakes come first, and rest on no recipe: a recipe that can't be read must not leave their builders running.
pub async fn plan<C: PrunePorts>(cloud: &C, bucket: &impl Bucket, now: Timestamp) -> Result<Plan> {
    Ok(plan_and_drifts(cloud, bucket, now).await?.0)
}

/// The same, with what is to be told of the parameters that were read.
pub async fn plan_and_drifts<C: PrunePorts>(
    cloud: &C,
    bucket: &impl Bucket,
    now: Timestamp,
) -> Result<(Plan, Vec<Event>)> {
    let mut found = Found::look(cloud, None).await?;
    let mut left = Leftovers::of_running(cloud, now).await?;
    let retirements = Ledger(cloud).retirements().await?;
    let mut retiring: BTreeMap<AmiId, Since> =
        retirements.iter().map(|one| (one.image.clone(), one.since())).collect();
    left.returning(&retirements, now);
    left.sort(&found, &retiring, cloud, now).await?;
    for image in &left.back {
        // Whoever took it out of the Recycle Bin by hand: it is made as it was, as after an undo.
        let back = Since { stage: Retiring::Returning, since: now };
        retiring.entry(image.clone()).or_insert(back);
    }
    let mut plan = nothing(now);
    let inventory = Inventory::take(cloud, Versions::Every).await?;
    // An account may have a hundred thousand, of which each takes room: from here on the basis has them.
    let images = std::mem::take(&mut found.images);
    let Based { mut basis, problems, drifts, consumers } =
        basis(images, &left, &inventory.named, cloud, bucket).await?;
    basis.retiring = retiring;
    let mut verdicts = judge(&basis, now);
    match versions::standings(&verdicts, &basis, &inventory, cloud, now).await {
        Ok(standings) if standings.is_empty() => {}
        Ok(standings) => {
            basis.versions = standings;
            verdicts = judge(&basis, now);
        }
        Err(error) if error.goes_by() => return Err(error),
        Err(error) => plan.problems.push(format!(
            "no version of a launch template is deleted: {}; fix: {}",
            error.chain(),
            error.hint()
        )),
    }
    plan.problems.extend(left.problems);
    plan.problems.extend(problems);
    plan.problems.extend(inventory.failed.iter().map(|(source, error)| {
        format!("{source} can't be looked at, so no image goes: {}; fix: {}", error.chain(), error.hint())
    }));
    let there: BTreeSet<&AmiId> = basis.images.iter().map(|image| &image.id).chain(&left.doomed).collect();
    plan.problems.extend(dangling::problems(&basis.named, &there, &inventory.pins, cloud, now).await?);
    plan.unused = unused::unused(&basis, &found.instances, &consumers, &left.ended, bucket, now).await?;
    plan.stays = left.stays;
    plan.halted = unrecorded(left.unrecorded.len()).or(implausible(&inventory, bucket, now).await?);
    if plan.halted.is_some() {
        plan.keep.extend(verdicts.into_iter().map(|one| held(one, Reason::Halted)));
        return Ok((plan, drifts));
    }
    plan.later = left.dead.len().saturating_sub(MOST_PER_RUN);
    plan.dead_bakes = left.dead.into_values().take(MOST_PER_RUN).collect();
    let all_stay = if left.unreadable > 0 {
        Some(Reason::UnreadableBake)
    } else if !inventory.failed.is_empty() {
        Some(Reason::Incomplete)
    } else {
        None
    };
    if let Some(reason) = all_stay {
        plan.keep.extend(verdicts.into_iter().map(|one| held(one, reason)));
        return Ok((plan, drifts));
    }
    let guard = Guard::planning(cloud, &inventory);
    let mut room = Room::new(basis.images.len() + left.doomed.len());
    let images: BTreeMap<&AmiId, &Image> = basis.images.iter().map(|image| (&image.id, image)).collect();
    let (due, stay): (Vec<_>, Vec<_>) = verdicts.into_iter().partition(|one| one.act.does_something());
    plan.keep.extend(stay);
    // The oldest first: those that a run has no room for are then the youngest.
    let mut due = due.into_iter().rev();
    loop {
        let some: Vec<Verdict> = due.by_ref().take(AT_ONCE_OF_EC2).collect();
        if some.is_empty() {
            break;
        }
        // The guard is asked already here, so that people see what will really happen. It is asked again before the act.
        let asked = some.iter().map(|verdict| {
            let image = images.get(&verdict.image).filter(|_| room.has(verdict.act));
            let (guard, cloud) = (&guard, cloud);
            async move {
                match image {
                    Some(image) => refusal(guard, image, verdict, cloud).await,
                    None => Ok(None),
                }
            }
        });
        let refused = join_all(asked).await;
        for (verdict, refused) in some.into_iter().zip(refused) {
            match refused? {
                // What had no room before the others of its time were asked has none now.
                _ if !room.has(verdict.act) => {
                    plan.later += 1;
                    plan.keep.push(verdict.kept(Reason::Later, ""));
                }
                Some(kept) => plan.keep.push(verdict.kept(kept.reason, kept.by)),
                None => {
                    room.take(verdict.act);
                    plan.retire.push(verdict);
                }
            }
        }
    }
    count_room(&mut plan, &basis.images, &found.snapshots);
    Ok((plan, drifts))
}

/// Counts how much room there is, and how much goes: with this run, and with all images that are on their way.
fn count_room(plan: &mut Plan, images: &[Image], snapshots: &[Snapshot]) {
    let sizes: BTreeMap<&SnapshotId, Option<u64>> =
        snapshots.iter().map(|snapshot| (&snapshot.id, snapshot.bytes)).collect();
    let all: BTreeSet<&SnapshotId> = images.iter().flat_map(|image| &image.snapshots).collect();
    let images: BTreeMap<&AmiId, &Image> = images.iter().map(|image| (&image.id, image)).collect();
    for snapshot in all {
        plan.holds.add(sizes.get(snapshot).copied().flatten());
    }
    let mut count = |verdict: &Verdict, now: bool| {
        let Some(image) = images.get(&verdict.image) else { return };
        for snapshot in &image.snapshots {
            let bytes = sizes.get(snapshot).copied().flatten();
            plan.will_free.add(bytes);
            if now {
                plan.frees.add(bytes);
            }
        }
    };
    for verdict in plan.retire.iter().filter(|verdict| verdict.act != Act::Restore) {
        count(verdict, verdict.act == Act::Deregister);
    }
    let soaks = |verdict: &&Verdict| matches!(verdict.reason, Reason::Deprecated | Reason::Disabled);
    for verdict in plan.keep.iter().filter(soaks) {
        count(verdict, false);
    }
}

/// Why an image would stay that is to go; none for one that is to be restored.
async fn refusal<C: PrunePorts>(
    guard: &Guard<'_, C>,
    image: &Image,
    verdict: &Verdict,
    cloud: &C,
) -> Result<Option<Kept>> {
    let (Some(id), Some(terms)) = (&verdict.bake, verdict.terms) else { return Ok(None) };
    if verdict.act == Act::Restore {
        return Ok(None);
    }
    let bake = Ledger(cloud).bake(&verdict.pipeline, id).await?;
    guard.keeps_beside(image, bake.as_deref(), Purpose::Retirement(terms), &verdict.versions).await
}

/// What would go or be restored, kept because of a run's own trouble. What stays anyway keeps its own reasons.
fn held(verdict: Verdict, reason: Reason) -> Verdict {
    if verdict.act.does_something() { verdict.kept(reason, "") } else { verdict }
}

/// Why nothing is destroyed when so many images have no record.
fn unrecorded(images: usize) -> Option<String> {
    (images > MOST_UNRECORDED).then(|| {
        format!(
            "{images} images have this stack's tags and no record, more than {MOST_UNRECORDED}: the table is not the \
             one in which they were recorded. Nothing is destroyed"
        )
    })
}

/// Why nothing is destroyed after an inventory that can't be true.
async fn implausible(inventory: &Inventory, bucket: &impl Bucket, now: Timestamp) -> Result<Option<String>> {
    let key = keys::prune_seen();
    let mut seen: Seen = match bucket.text(&key).await? {
        Some(text) => decode(&key, &text)?,
        None => Seen::default(),
    };
    let before = seen.clone();
    let wrong = seen.compare(&inventory.seen, now);
    if seen != before {
        let text = serde_json::to_string(&seen);
        let text = text.unwrap_or_else(|_| unreachable!("it has string keys only"));
        bucket.put_text(&key, &text).await?;
    }
    Ok(wrong)
}

/// How many more images a run may take.
struct Room {
    /// Those that nothing can be started from any more after it.
    away: usize,
    /// All others.
    others: usize,
}

impl Room {
    fn new(images: usize) -> Self {
        // Ten, or a tenth of all, whichever is less: but with few images still one.
        Self { away: (images / 10).clamp(1, MOST_AWAY), others: MOST_PER_RUN }
    }

    fn has(&self, act: Act) -> bool {
        let left = if act.takes_away() { self.away } else { self.others };
        left > 0
    }

    fn take(&mut self, act: Act) {
        let left = if act.takes_away() { &mut self.away } else { &mut self.others };
        *left -= 1;
    }
}
