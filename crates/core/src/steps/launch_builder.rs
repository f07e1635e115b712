//! launch-builder: resolves every input of a bake, then reuses an image, waits for a twin or launches a
//! builder. It launches the instance that tests a finished image, too.

pub mod launch;
mod resolve;
mod user_data;

use jiff::Timestamp;

use self::{launch::Wanted, resolve::resolve};
use super::{Action, followers::followers, is_over, limits, resume, table::check};
use crate::{
    domain::{
        bake::{Bake, BakeSpec, Document, Progress, Stage, Status, To},
        error::{Error, Result},
        id::{BakeId, Digest, InstanceId},
        offer::offers,
        recipe::Recipe,
        tags,
        trigger::Trigger,
        turn::Answer,
    },
    ports::{
        Bucket, Builders, Image, ImageState, Images, Parameters, Presigner, Profile, Role, Stack, Table,
        Workflow,
    },
    store::{
        Claim, Halt, ImageSet, ImageStatus, Ledger, Versioned, lease_end,
        recipes::{self, RecipePointer},
    },
};

/// What a new execution brings.
#[derive(Debug, Clone)]
pub struct Start {
    /// The execution's name.
    pub bake: BakeId,
    /// When the execution started.
    pub started: Timestamp,
    /// What started it.
    pub trigger: Trigger,
}

/// What an instance of a bake is made of. The call that resolves a bake's inputs has it already; a later one reads it.
struct Material {
    pointer: RecipePointer,
    recipe: Recipe,
    /// The image that the instance starts from.
    image: Image,
}

/// All that launch-builder asks of the outside world.
pub trait LaunchPorts:
    Builders + Images + Parameters + Bucket + Presigner + Table + Workflow + Stack
{
}

impl<C: Builders + Images + Parameters + Bucket + Presigner + Table + Workflow + Stack> LaunchPorts for C {}

/// A recipe as it was read from the bucket.
pub type ReadRecipe = (RecipePointer, Recipe);

/// Whether there is something to bake.
#[derive(Debug, Clone)]
pub enum Asked {
    /// There is, and the current recipe where the answer rests on it.
    Bake(Option<ReadRecipe>),
    /// There is not, and why.
    Nothing(String),
}

/// Whether there is something to bake: what started it starts nothing of a pipeline that a person paused or removed, and
/// neither does the upload of what is no artifact. A bake that has begun goes on.
///
/// # Errors
/// When a person asks for a bake of a pipeline that was removed.
pub async fn asked(start: &Start, cloud: &impl LaunchPorts) -> Result<Asked> {
    let ledger = Ledger(cloud);
    let pipeline = start.trigger.pipeline();
    let Some(halt) = ledger.halt(pipeline).await? else { return wanted(&start.trigger, cloud).await };
    if ledger.bake(pipeline, &start.bake).await?.is_some() {
        return Ok(Asked::Bake(None));
    }
    match (halt, &start.trigger) {
        // Whoever paused it may still want to see what a bake makes.
        (Halt::Paused(_), Trigger::Manual { .. }) => Ok(Asked::Bake(None)),
        (Halt::Paused(said), Trigger::Upload { .. } | Trigger::Cascade { .. }) => {
            Ok(Asked::Nothing(format!("{} paused pipeline {pipeline}", said.by)))
        }
        (Halt::Removed(said), Trigger::Upload { .. } | Trigger::Cascade { .. }) => {
            Ok(Asked::Nothing(format!("{} removed pipeline {pipeline}", said.by)))
        }
        (Halt::Removed(said), Trigger::Manual { .. }) => Err(Error::bad_input(
            format!("pipeline `{pipeline}`"),
            format!("was removed by {} at {}", said.by, said.at),
            "Push its recipe, and it is there again: `ovenbird recipe push`",
        )),
    }
}

/// Whether an upload is an artifact by the recipe. Where there is none to ask, the bake itself says so.
async fn wanted(trigger: &Trigger, bucket: &impl Bucket) -> Result<Asked> {
    let Trigger::Upload { key, .. } = trigger else { return Ok(Asked::Bake(None)) };
    match recipes::recipe(bucket, key.pipeline()).await {
        Ok(pushed) => {
            let refused = pushed.1.artifact.as_ref().and_then(|artifact| artifact.refuses(key.file_name()));
            Ok(refused.map_or(Asked::Bake(Some(pushed)), Asked::Nothing))
        }
        Err(Error::NoRecipe { .. } | Error::BadRecipe { .. }) => Ok(Asked::Bake(None)),
        Err(error) => Err(error),
    }
}

/// The first step of an execution. What was read of the recipe already is not read again.
pub async fn start(
    start: Start,
    pushed: Option<ReadRecipe>,
    cloud: &impl LaunchPorts,
    now: Timestamp,
) -> Result<Document> {
    let ledger = Ledger(cloud);
    let (bake, material) = match ledger.bake(start.trigger.pipeline(), &start.bake).await? {
        // Step Functions forgets names after 90 days, and a record lasts longer: this execution asks for something else.
        Some(bake) if bake.spec.started != start.started => {
            return Err(Error::bad_input(
                format!("the execution's name `{}`", start.bake),
                format!("is that of a bake that began at {}", bake.spec.started),
                "Start it under a name of its own, or with `ovenbird bake PIPELINE`",
            ));
        }
        // An earlier try of this step got this far: its choices stand.
        Some(bake) => (bake, None),
        None => {
            let (bake, material) = resolve(start, pushed, cloud, now).await?;
            let mut bake = Versioned::new(bake);
            ledger.save(&mut bake).await?;
            (bake, Some(material))
        }
    };
    if bake.progress.status != Status::Running {
        return Err(Error::BakeEnded { bake: bake.spec.id.clone(), status: bake.progress.status });
    }
    // Before anything costs money: promote would refuse it at the end.
    if bake.spec.options.promote {
        let to = bake.spec.destination();
        for follower in followers(&to) {
            follower.preflight(&to, cloud).await?;
        }
    }
    if !bake.spec.options.force && is_superseded(&bake.spec, cloud).await? {
        return Ok(bake.into_inner().end(Status::Superseded, To::Done));
    }
    obtain(bake, material, cloud, now).await
}

/// The wait for others is over: looks again for an image, then for the lease, then asks for its turn, then launches.
pub async fn take_over(document: Document, cloud: &impl LaunchPorts, now: Timestamp) -> Result<Document> {
    check(Action::TakeOver, &document)?;
    let bake = resume(cloud, &document).await?;
    // A newer one may have been promoted while it waited.
    if !bake.spec.options.force && is_superseded(&bake.spec, cloud).await? {
        return Ok(bake.into_inner().end(Status::Superseded, To::Done));
    }
    obtain(bake, None, cloud, now).await
}

/// Launches a fresh instance of the finished image; it runs the tests by itself.
pub async fn verify(document: Document, cloud: &impl LaunchPorts, now: Timestamp) -> Result<Document> {
    check(Action::Verify, &document)?;
    let mut bake = resume(cloud, &document).await?;
    let ledger = Ledger(cloud);
    if bake.progress.stage != Stage::Boot {
        bake.progress.enter(Stage::Boot, now);
        bake.progress.offer = 0;
        ledger.save(&mut bake).await?;
    }
    if bake.progress.booted.is_none() {
        let (booted, _) = instance(&mut bake, None, Role::Verifier, cloud, now).await?;
        bake.progress.booted = Some(booted);
        ledger.save(&mut bake).await?;
    }
    Ok(bake.into_inner().go(To::Await))
}

async fn is_superseded(spec: &BakeSpec, table: &impl Table) -> Result<bool> {
    if !spec.options.promote {
        return Ok(false);
    }
    let channel = Ledger(table).channel(&spec.pipeline, &spec.settings.channel).await?;
    Ok(channel
        .and_then(|channel| channel.current)
        .filter(|current| current.digest != spec.digest)
        .is_some_and(|current| spec.order().compare(&current.order) == std::cmp::Ordering::Less))
}

/// The image of the digest: one that exists, one that a twin makes, or one that this bake will make.
async fn obtain(
    mut bake: Versioned<Bake>,
    material: Option<Material>,
    cloud: &impl LaunchPorts,
    now: Timestamp,
) -> Result<Document> {
    let ledger = Ledger(cloud);
    let found = if bake.spec.options.force { None } else { usable(&bake.spec.digest, cloud).await? };
    if let Some(record) = &found
        && let Some(count) = record.passed(&bake.spec.inputs.tests)
    {
        take(&mut bake.progress, record);
        bake.progress.tests_passed = Some(count);
        ledger.save_reusing(&mut bake).await?;
        return Ok(bake.into_inner().go(To::Promote));
    }
    // It may have to wait for its turn, and holds the lease meanwhile: its twins want what it will make.
    let deadlines = &bake.spec.settings.deadlines;
    let expires = lease_end(now, deadlines.of(Stage::AwaitTurn) + deadlines.total());
    let mut claim = ledger.claim(&bake.spec, now, expires, None).await?;
    if let Claim::Held(holder) = &claim
        && is_over(holder, cloud).await?
    {
        // It was stopped, or died: its lease would else hold everybody up until it expires, hours later.
        claim = ledger.claim(&bake.spec, now, expires, Some(holder)).await?;
    }
    match claim {
        Claim::Held(_) => {
            if bake.progress.stage != Stage::AwaitTwin {
                bake.progress.enter(Stage::AwaitTwin, now);
                ledger.save(&mut bake).await?;
            }
            Ok(bake.into_inner().go(To::Twin))
        }
        Claim::Granted(fence) => {
            bake.progress.fence = fence;
            match turn(&bake.spec, cloud, now).await? {
                Answer::Granted => {}
                Answer::Wait(_) => {
                    if bake.progress.stage != Stage::AwaitTurn {
                        bake.progress.enter(Stage::AwaitTurn, now);
                    }
                    ledger.save(&mut bake).await?;
                    return Ok(bake.into_inner().go(To::Twin));
                }
                Answer::Overtaken(newer) => {
                    bake.progress.not_promoted =
                        Some(format!("a newer upload, bake {newer}, came before this one had a builder"));
                    ledger.save(&mut bake).await?;
                    return Ok(bake.into_inner().end(Status::Superseded, To::Done));
                }
            }
            match found {
                // Only the tests are others: the image stays, and a fresh instance of it must pass them.
                Some(record) => {
                    take(&mut bake.progress, &record);
                    ledger.save_reusing(&mut bake).await?;
                    Ok(bake.into_inner().go(To::Verify))
                }
                None => launch_builder(bake, material, cloud, now).await,
            }
        }
    }
}

/// Asks for the bake's turn to have a builder. A bake in front of it whose execution is over has none any more: it was
/// stopped, or died, and nobody cleaned up after it yet.
async fn turn(spec: &BakeSpec, cloud: &impl LaunchPorts, now: Timestamp) -> Result<Answer> {
    let mut dead = Vec::new();
    loop {
        let answer = Ledger(cloud).take_turn(spec, limits(spec, cloud)?, &dead, now).await?;
        match answer {
            Answer::Wait(Some(first)) if !dead.contains(&first) && is_over(&first, cloud).await? => {
                dead.push(first);
            }
            Answer::Granted | Answer::Wait(_) | Answer::Overtaken(_) => return Ok(answer),
        }
    }
}

/// The digest's image, if it was validated, still can be started, and is this stack's: with the table of a stack that is
/// gone come records of images that this one's roles may neither change nor remove.
async fn usable(digest: &Digest, cloud: &(impl Images + Stack + Table)) -> Result<Option<ImageSet>> {
    let record = Ledger(cloud).image(digest).await?;
    let Some(record) = record.filter(|record| record.status == ImageStatus::Validated) else {
        return Ok(None);
    };
    let image = cloud.image(&record.home.image).await?;
    let ours =
        |image: &Image| image.tags.get(tags::TAG_STACK).map(String::as_str) == Some(cloud.stack().as_str());
    Ok(image.filter(|image| image.state == ImageState::Available && ours(image)).map(|_| record))
}

async fn launch_builder(
    mut bake: Versioned<Bake>,
    material: Option<Material>,
    cloud: &impl LaunchPorts,
    now: Timestamp,
) -> Result<Document> {
    let ledger = Ledger(cloud);
    if bake.progress.stage != Stage::Builder {
        bake.progress.enter(Stage::Builder, now);
    }
    ledger.save(&mut bake).await?;
    if bake.progress.builder.is_none() {
        let first = material.is_some();
        let (builder, spot) = match instance(&mut bake, material, Role::Builder, cloud, now).await {
            // No try before this one may have launched.
            Err(error) if first && !error.goes_by() => {
                return Err(launch::refused(&mut bake, error, cloud).await);
            }
            launched => launched?,
        };
        (bake.progress.builder, bake.progress.spot) = (Some(builder), spot);
        ledger.save(&mut bake).await?;
    }
    Ok(bake.into_inner().go(To::Await))
}

/// Launches the bake's instance of this role, or finds the one that an earlier try launched; gives it, and
/// whether it is a spot instance. Who has the material has just made the bake's record, and there was no earlier try.
async fn instance(
    bake: &mut Versioned<Bake>,
    material: Option<Material>,
    role: Role,
    cloud: &impl LaunchPorts,
    now: Timestamp,
) -> Result<(InstanceId, bool)> {
    let is_first = material.is_some();
    if !is_first {
        let ours = cloud.of_bake(&bake.spec.id).await?.into_iter().find(|instance| {
            !instance.state.is_gone()
                && instance.tags.get(tags::TAG_ROLE).map(String::as_str) == Some(role.as_str())
        });
        if let Some(instance) = ours {
            return Ok((instance.id, instance.spot));
        }
    }
    let mut tags = bake.tags(cloud.stack());
    tags.insert(tags::TAG_ROLE.to_owned(), role.as_str().to_owned());
    tags.insert("Name".to_owned(), format!("ovenbird {} {}", bake.spec.pipeline, role.as_str()));
    let material = match material {
        Some(material) => material,
        None => self::material(bake, role, cloud).await?,
    };
    let user_data = user_data::user_data(bake, &material, (role, is_first), cloud, now).await?;
    let Material { recipe, image, pointer: _ } = material;
    let builder = &recipe.builder;
    let offers = offers(builder, &image.architecture, &cloud.stack_subnets());
    let wanted = Wanted {
        image: image.id.clone(),
        security_groups: builder.security_groups.clone(),
        profile: profile(&recipe, bake.spec.options.keep_builder),
        volume: match role {
            Role::Builder => launch::root_volume(builder, &image)?,
            // The image has its builder's volume.
            Role::Verifier => None,
        },
        devices: image.devices,
        user_data,
        purpose: role.as_str(),
        tags,
    };
    launch::launch(bake, &wanted, &offers, cloud).await
}

/// The instance profile that a recipe's instances need. The least is none.
fn profile(recipe: &Recipe, keep_builder: bool) -> Profile {
    match &recipe.builder.instance_profile {
        Some(name) => Profile::Named(name.clone()),
        // A person may want to get in: Session Manager's agent has to register.
        None if keep_builder || recipe.secrets().next().is_some() => Profile::Stack,
        None => Profile::None,
    }
}

/// What the bake's instance of this role is made of, read once more.
async fn material(bake: &Bake, role: Role, cloud: &impl LaunchPorts) -> Result<Material> {
    let (pointer, recipe) = recipes::recipe_version(cloud, &bake.spec.pipeline, &bake.spec.recipe).await?;
    let gone = "was deregistered meanwhile";
    let image = match role {
        Role::Builder => {
            let base = &bake.spec.base.image;
            let gone = || Error::NoBase { what: format!("image `{base}`"), problem: gone.into() };
            cloud.image(base).await?.ok_or_else(gone)?
        }
        Role::Verifier => {
            let image = bake.image()?;
            let gone = || Error::ImageFailed { image: image.clone(), reason: format!("it {gone}") };
            cloud.image(image).await?.ok_or_else(gone)?
        }
    };
    Ok(Material { pointer, recipe, image })
}

/// The bake takes an image that was there already.
fn take(progress: &mut Progress, record: &ImageSet) {
    progress.image = Some(record.home.image.clone());
    progress.snapshots.clone_from(&record.home.snapshots);
    progress.reused = true;
}
