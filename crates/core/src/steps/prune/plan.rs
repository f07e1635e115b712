//! The plan of a run: reads the inventory, first says what dead bakes left, then judges every image.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{
    Basis, DeadBake, MOST_AWAY, MOST_PER_RUN, MOST_UNRECORDED, Plan, Retention, Verdict, dangling, judge,
    leftovers::{Found, Leftovers},
    tag, versions,
};
use crate::{
    domain::{
        bake::Stage,
        error::{Error, Result},
        event::Event,
        id::{AmiId, ParameterName, PipelineName, SnapshotId},
        price::AtMost,
        recipe::{Base, Recipe, Retain},
        reference::{Kind, Reference, images_in},
        retirement::{Act, Floors, Since},
        tags::TAG_PIPELINE,
    },
    ports::{Bucket, Image, PrunePorts, Versions},
    steps::{
        events,
        guard::{Guard, Kept, Purpose, Reason, Terms},
        inventory::{self, Inventory, Named, Seen},
    },
    store::{Channel, Ledger, Standing, decode, keys, recipes},
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

/// The plan to take one image back.
pub(super) async fn undo(image: &AmiId, cloud: &impl PrunePorts, now: Timestamp) -> Result<Plan> {
    let wrong = |problem: String, fix: String| Error::bad_input(format!("image `{image}`"), problem, fix);
    let Some((_, retirement)) = Ledger(cloud).retirement(image).await? else {
        return Err(wrong("is not on its way out".into(), "`ovenbird prune` says which images are".into()));
    };
    let images = cloud.images(Some(&retirement.bake)).await?;
    let Some(found) = images.into_iter().find(|found| found.id == *image) else {
        let fix = format!(
            "If the Recycle Bin keeps images: `aws ec2 restore-image-from-recycle-bin --image-id {image}`; else bake \
             it again: `ovenbird bake {} --force`",
            retirement.pipeline
        );
        return Err(wrong("is deregistered already".into(), fix));
    };
    let verdict = Verdict {
        image: found.id,
        name: found.name,
        pipeline: retirement.pipeline.clone(),
        bake: Some(retirement.bake.clone()),
        act: Act::Restore,
        reason: Reason::Undone,
        by: String::new(),
        also: Vec::new(),
        until: None,
        was: Some(retirement.since()),
        versions: Vec::new(),
        snapshots: Vec::new(),
        // It asks for no terms: nothing is taken away.
        terms: Some(Terms { history: 0, shared: false }),
        judged: now,
    };
    Ok(Plan { retire: vec![verdict], ..nothing(now) })
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
    let found = Found::look(cloud, None).await?;
    let mut left = Leftovers::of_running(cloud, now).await?;
    let retiring = Ledger(cloud).retirements().await?;
    let retiring: BTreeMap<AmiId, Since> =
        retiring.into_iter().map(|one| (one.image.clone(), one.since())).collect();
    left.sort(&found, &retiring, cloud, now).await?;
    let mut plan = nothing(now);
    let inventory = Inventory::take(cloud, Versions::Every).await?;
    let Based { mut basis, problems, drifts } =
        basis(&found.images, &left, &inventory.named, cloud, bucket).await?;
    basis.retiring = retiring;
    let mut verdicts = judge(&basis, now);
    match versions::standings(&verdicts, &basis, &inventory.pins, cloud, now).await {
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
    let there: BTreeSet<&AmiId> = found.images.iter().map(|image| &image.id).collect();
    plan.problems.extend(dangling::problems(&basis.named, &there, &inventory.pins, cloud).await?);
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
    let mut room = Room::new(found.images.len());
    let images: BTreeMap<&AmiId, &Image> = found.images.iter().map(|image| (&image.id, image)).collect();
    let (due, stay): (Vec<_>, Vec<_>) = verdicts.into_iter().partition(|one| one.act.does_something());
    plan.keep.extend(stay);
    // The oldest first: those that a run has no room for are then the youngest.
    for verdict in due.into_iter().rev() {
        let Some(image) = images.get(&verdict.image) else { continue };
        if !room.has(verdict.act) {
            plan.later += 1;
            plan.keep.push(verdict.kept(Reason::Later, ""));
            continue;
        }
        // The guard is asked already here, so that people see what will really happen. It is asked again before the act.
        match refusal(&guard, image, &verdict, cloud).await? {
            Some(kept) => plan.keep.push(verdict.kept(kept.reason, kept.by)),
            None => {
                room.take(verdict.act);
                plan.retire.push(verdict);
            }
        }
    }
    count_room(&mut plan, &found);
    Ok((plan, drifts))
}

/// Counts how much room there is, and how much goes: with this run, and with all images that are on their way.
fn count_room(plan: &mut Plan, found: &Found) {
    let sizes: BTreeMap<&SnapshotId, Option<u64>> =
        found.snapshots.iter().map(|snapshot| (&snapshot.id, snapshot.bytes)).collect();
    let images: BTreeMap<&AmiId, &Image> = found.images.iter().map(|image| (&image.id, image)).collect();
    let all: BTreeSet<&SnapshotId> = found.images.iter().flat_map(|image| &image.snapshots).collect();
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

    fn of(&mut self, act: Act) -> &mut usize {
        if act.takes_away() { &mut self.away } else { &mut self.others }
    }

    fn has(&mut self, act: Act) -> bool {
        *self.of(act) > 0
    }

    fn take(&mut self, act: Act) {
        *self.of(act) -= 1;
    }
}

/// What images are judged by, and what could not be read of it.
struct Based {
    basis: Basis,
    problems: Vec<String>,
    /// Parameters that say something else than their channels.
    drifts: Vec<Event>,
}

async fn basis<C: PrunePorts>(
    images: &[Image],
    left: &Leftovers,
    named: &Named,
    cloud: &C,
    bucket: &impl Bucket,
) -> Result<Based> {
    let ledger = Ledger(cloud);
    let mut basis = Basis {
        images: images.iter().filter(|image| !left.doomed.contains(&image.id)).cloned().collect(),
        named: named.clone(),
        unrecorded: left.unrecorded.clone(),
        protected: left.protected.clone(),
        ..Basis::default()
    };
    let note = |named: &mut Named, image: &AmiId, reference: Reference| {
        named.entry(image.clone()).or_default().insert(reference);
    };
    for (id, bake) in &left.running {
        basis.running.insert(id.clone());
        note(&mut basis.named, &bake.spec.base.image, Reference::new(Kind::Base, id.as_str()));
        if let Some(image) = &bake.progress.image {
            note(&mut basis.named, image, Reference::new(Kind::Baking, id.as_str()));
        }
    }
    let mut pipelines: BTreeSet<PipelineName> =
        images.iter().filter_map(|image| tag(&image.tags, TAG_PIPELINE)).collect();
    let Standing { here, removed } = ledger.standing(bucket).await?;
    pipelines.extend(here.into_keys());
    let floors = cloud.floors()?;
    let mut problems = Vec::new();
    let owners = ledger.parameters().await?;
    let mut parameters: BTreeSet<ParameterName> =
        owners.iter().map(|owner| owner.parameter.clone()).collect();
    let mut currents = BTreeMap::new();
    for pipeline in pipelines {
        match of_pipeline(&pipeline, &ledger, bucket).await {
            Ok((channels, recipe)) => {
                let history = recipe.as_ref().map_or(usize::MAX, |recipe| recipe.retain.history as usize);
                for (image, reference) in
                    channels.iter().flat_map(|channel| inventory::of_channel(channel, history))
                {
                    note(&mut basis.named, &image, reference);
                }
                currents.extend(channels.into_iter().filter_map(|channel| {
                    // One that a rollout is about to settle is written at this moment.
                    let settled = channel.rolling.is_none();
                    let current = channel.current.filter(|_| settled)?;
                    Some(((channel.pipeline, channel.name), current.image))
                }));
                let Some(recipe) = recipe else { continue };
                if let Base::Image(image) = &recipe.base {
                    note(&mut basis.named, image, Reference::new(Kind::Recipe, pipeline.as_str()));
                }
                let retained = if removed.contains_key(&pipeline) {
                    // It still says how its images go, and no longer that any stays. The account's days hold all the same.
                    let none = Retain { newest: 0, days: 0, ..recipe.retain };
                    retention(&none, Floors { newest: 0, ..floors })
                } else {
                    retention(&recipe.retain, floors)
                };
                basis.retention.insert(pipeline, retained);
                parameters.extend(recipe.promote.parameter);
            }
            // It passes by itself: the run is tried again.
            Err(error) if error.goes_by() => return Err(error),
            Err(error) => {
                problems.push(format!(
                    "pipeline {pipeline}: its images stay: {}; fix: {}",
                    error.chain(),
                    error.hint()
                ));
                basis.unreadable.insert(pipeline);
            }
        }
    }
    let names: Vec<ParameterName> = parameters.into_iter().collect();
    let values = cloud.values(&names).await?;
    for (name, value) in &values {
        for image in images_in(value) {
            note(&mut basis.named, &image, Reference::new(Kind::Parameter, name.as_str()));
        }
    }
    // A bake that promotes at this moment has moved its channel, and writes the parameter next.
    for bake in left.running.values().filter(|bake| bake.progress.stage == Stage::Promotion) {
        currents.remove(&(bake.spec.pipeline.clone(), bake.spec.settings.channel.clone()));
    }
    let drifts = events::of_drifts(&owners, &currents, &values);
    Ok(Based { basis, problems, drifts })
}

/// What a pipeline retains: as its recipe says, and never less than the account's floors.
fn retention(retain: &Retain, floors: Floors) -> Retention {
    let days = |days: u32| SignedDuration::from_hours(24 * i64::from(days));
    Retention {
        newest: retain.newest.max(floors.newest) as usize,
        age: days(retain.days.max(floors.days)),
        soak: days(retain.soak),
        terms: Terms { history: retain.history as usize, shared: retain.retire_shared },
    }
}

/// A pipeline's channels, and its recipe.
async fn of_pipeline<T: crate::ports::Table>(
    pipeline: &PipelineName,
    ledger: &Ledger<'_, T>,
    bucket: &impl Bucket,
) -> Result<(Vec<Channel>, Option<Recipe>)> {
    let channels = ledger.channels(pipeline).await?;
    match recipes::recipe(bucket, pipeline).await {
        Ok((_, recipe)) => Ok((channels, Some(recipe))),
        Err(Error::NoRecipe { .. }) => Ok((channels, None)),
        Err(error) => Err(error),
    }
}
