//! launch-builder: resolves every input of a bake, then reuses an image, waits for a twin or launches a
//! builder. It launches the instance that tests a finished image, too.

pub mod launch;
mod user_data;

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Action, followers::followers, inputs, is_over, limits, resume, table::check};
use crate::{
    domain::{
        bake::{
            Bake, BakeSpec, Deadlines, Document, Options, Parent, Progress, ROOM, Settings, Stage, Status, To,
        },
        digest::token,
        error::{Error, Result},
        id::{BakeId, Digest, ImageName, InstanceId, PipelineName},
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
    steps::{inputs::Resolved, launch_builder::launch::Wanted},
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

/// Why there is nothing to bake: what started it starts nothing of a pipeline that a person paused or removed. None when
/// there is, and for a bake that has begun.
///
/// # Errors
/// When a person asks for a bake of a pipeline that was removed.
pub async fn declined(start: &Start, cloud: &impl LaunchPorts) -> Result<Option<String>> {
    let ledger = Ledger(cloud);
    let pipeline = start.trigger.pipeline();
    let Some(halt) = ledger.halt(pipeline).await? else { return Ok(None) };
    if ledger.bake(pipeline, &start.bake).await?.is_some() {
        return Ok(None);
    }
    match (halt, &start.trigger) {
        // Whoever paused it may still want to see what a bake makes.
        (Halt::Paused(_), Trigger::Manual { .. }) => Ok(None),
        (Halt::Paused(said), Trigger::Upload { .. } | Trigger::Cascade { .. }) => {
            Ok(Some(format!("{} paused pipeline {pipeline}", said.by)))
        }
        (Halt::Removed(said), Trigger::Upload { .. } | Trigger::Cascade { .. }) => {
            Ok(Some(format!("{} removed pipeline {pipeline}", said.by)))
        }
        (Halt::Removed(said), Trigger::Manual { .. }) => Err(Error::bad_input(
            format!("pipeline `{pipeline}`"),
            format!("was removed by {} at {}", said.by, said.at),
            "Push its recipe, and it is there again: `ovenbird recipe push`",
        )),
    }
}

/// The first step of an execution.
pub async fn start(start: Start, cloud: &impl LaunchPorts, now: Timestamp) -> Result<Document> {
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
            let (bake, material) = resolve(start, cloud, now).await?;
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

/// Turns a start into a bake: every alias resolved, every choice made, the digest computed.
async fn resolve(start: Start, cloud: &impl LaunchPorts, now: Timestamp) -> Result<(Bake, Material)> {
    let Start { bake: id, started, trigger } = start;
    if let Some(parent) = trigger.cascade() {
        promoted(parent, cloud).await?;
    }
    let pipeline = trigger.pipeline().clone();
    let Resolved { pointer, recipe, artifact, base, image, inputs } =
        inputs::resolve(&trigger, cloud, now).await?;
    let allowed = cloud.runners();
    if !allowed.is_empty() && !allowed.contains(&inputs.runner) {
        // It is root on every builder: whoever may write to the bucket must not choose it.
        return Err(Error::bad_input(
            format!("runner {} for {}", inputs.runner, inputs.architecture),
            "is none of those that the stack allows",
            "Push an allowed one with `make push-runner`, or deploy with its hash in the parameter `RunnerSha256s`",
        ));
    }
    let digest = inputs.digest(&pipeline);
    let options = trigger.options();
    let tags = labelled(&recipe, &options, &pipeline)?;
    let deadlines = Deadlines {
        builder: seconds(recipe.deadlines.builder),
        validation: seconds(recipe.deadlines.validation),
        imaging: seconds(recipe.deadlines.imaging),
        promotion: seconds(recipe.deadlines.promotion),
    };
    let spec = BakeSpec {
        image_name: image_name(&pipeline, &digest, &id),
        expires: lease_end(started, deadlines.total()),
        id,
        pipeline,
        trigger: trigger.word().to_owned(),
        cascade: trigger.cascade().cloned(),
        started,
        options,
        artifact,
        recipe: pointer.version.clone(),
        base,
        inputs,
        digest,
        settings: Settings {
            channel: recipe.promote.channel.clone(),
            parameter: recipe.promote.parameter.clone(),
            launch_templates: recipe.promote.launch_templates.clone(),
            groups: recipe.promote.groups.clone(),
            rollout: (!recipe.promote.groups.is_empty()).then(|| recipe.rollout.clone()),
            verify_boot: recipe.validate.boot,
            concurrency: recipe.builder.concurrency,
            deadlines,
            tags,
        },
    };
    // The stage began with the execution, not with this function's turn.
    let progress = Progress::new(started.min(now));
    Ok((Bake { spec, progress }, Material { pointer, recipe, image }))
}

/// Refuses a cascade of a promotion that never was: whoever starts executions by hand could else have its bake told as
/// one of another pipeline's.
async fn promoted(parent: &Parent, table: &impl Table) -> Result<()> {
    let ledger = Ledger(table);
    let channel = ledger.channel(&parent.pipeline, &parent.channel).await?;
    let moved = channel.is_some_and(|channel| channel.generation >= parent.generation);
    if moved && ledger.bake(&parent.pipeline, &parent.bake).await?.is_some() {
        return Ok(());
    }
    Err(Error::bad_input(
        "the execution's input",
        format!("names a promotion that was not made: {parent}"),
        "Start bakes by hand without `cascade`: promotions alone start so",
    ))
}

/// The recipe's tags with the labels of this bake over them.
fn labelled(recipe: &Recipe, options: &Options, pipeline: &PipelineName) -> Result<BTreeMap<String, String>> {
    let mut tags = recipe.builder.tags.clone();
    tags.extend(options.labels.iter().map(|(key, value)| (key.clone(), value.clone())));
    if tags.len() > ROOM {
        return Err(Error::bad_input(
            format!("the bake of pipeline `{pipeline}`"),
            format!("would have {} tags and labels, and EC2 has room for {ROOM}", tags.len()),
            "Pass fewer labels, or take tags out of the recipe's `[builder]`",
        ));
    }
    Ok(tags)
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

/// The digest's image, if it was validated and still can be started.
async fn usable(digest: &Digest, cloud: &(impl Images + Table)) -> Result<Option<ImageSet>> {
    let record = Ledger(cloud).image(digest).await?;
    let Some(record) = record.filter(|record| record.status == ImageStatus::Validated) else {
        return Ok(None);
    };
    let image = cloud.image(&record.home.image).await?;
    Ok(image.filter(|image| image.state == ImageState::Available).map(|_| record))
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
        let (builder, spot) = instance(&mut bake, material, Role::Builder, cloud, now).await?;
        (bake.progress.builder, bake.progress.spot) = (Some(builder), spot);
        ledger.save(&mut bake).await?;
    }
    Ok(bake.into_inner().go(To::Await))
}

/// Launches the bake's instance of this role, or finds the one that an earlier try launched; gives it, and
/// whether it is a spot instance.
async fn instance(
    bake: &mut Versioned<Bake>,
    material: Option<Material>,
    role: Role,
    cloud: &impl LaunchPorts,
    now: Timestamp,
) -> Result<(InstanceId, bool)> {
    let ours = cloud.of_bake(&bake.spec.id).await?.into_iter().find(|instance| {
        !instance.state.is_gone()
            && instance.tags.get(tags::TAG_ROLE).map(String::as_str) == Some(role.as_str())
    });
    if let Some(instance) = ours {
        return Ok((instance.id, instance.spot));
    }
    let mut tags = bake.tags(cloud.stack());
    tags.insert(tags::TAG_ROLE.to_owned(), role.as_str().to_owned());
    tags.insert("Name".to_owned(), format!("ovenbird {} {}", bake.spec.pipeline, role.as_str()));
    let material = match material {
        Some(material) => material,
        None => self::material(bake, role, cloud).await?,
    };
    let user_data = user_data::user_data(bake, &material, role, cloud, now).await?;
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

/// Unique for the bake, and readable: `storefront-3f9a1c22b7d0-1b2c3d4e`.
fn image_name(pipeline: &PipelineName, digest: &Digest, bake: &BakeId) -> ImageName {
    let name = format!("{pipeline}-{}-{}", &digest.as_str()[..12], &token(bake, "image")[..8]);
    ImageName::parse(&name)
        .unwrap_or_else(|_| unreachable!("a pipeline's name is at most 40 plain characters"))
}

/// A recipe's times are at most half a day long.
fn seconds(time: std::time::Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(43_200)
}
