//! The choices of a bake, made once: every alias resolved, and all that a bake must not be started with refused.

use std::collections::BTreeMap;

use futures::try_join;
use jiff::Timestamp;

use super::{LaunchPorts, Material, ReadRecipe, Start};
use crate::{
    domain::{
        bake::{Bake, BakeSpec, Deadlines, Options, Parent, Progress, ROOM, Settings},
        builder_limits::{BuilderLimits, LimitedBase},
        digest::token,
        error::{Error, Result},
        id::{BakeId, Digest, ImageName, PipelineName, StackId},
        recipe::Recipe,
    },
    ports::{Bucket, Image, Stack, Table},
    steps::inputs::{self, Resolved},
    store::{Ledger, keys, lease_end},
};

/// Turns a start into a bake: every alias resolved, every choice made, the digest computed.
pub(super) async fn resolve(
    start: Start,
    pushed: Option<ReadRecipe>,
    cloud: &impl LaunchPorts,
    now: Timestamp,
) -> Result<(Bake, Material)> {
    let Start { bake: id, started, trigger } = start;
    if let Some(parent) = trigger.cascade() {
        promoted(parent, cloud).await?;
    }
    let pipeline = trigger.pipeline().clone();
    let ledger = Ledger(cloud);
    let pushed = pushed.map(|pushed| *pushed);
    let (resolved, limited) =
        try_join!(inputs::resolve(&trigger, pushed, cloud, now), ledger.builder_limits(&pipeline))?;
    let Resolved { pointer, recipe, artifact, base, image, inputs } = resolved;
    let limits = limited.map(|limited| limited.limits).unwrap_or_default();
    within(&limits, &recipe, &image, cloud.stack())?;
    let signer = signer(&pipeline, &pointer.version, cloud).await?;
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
        signer,
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
            imdsv2: recipe.attributes.imdsv2,
            protected: recipe.attributes.protected,
            concurrency: limits.concurrency(&recipe.builder),
            deadlines,
            tags,
        },
    };
    // The stage began with the execution, not with this function's turn.
    let progress = Progress::new(started.min(now));
    Ok((Bake { spec, progress }, Material { pointer, recipe, image }))
}

/// The key that signed a recipe. It is refused where none of the stack's did: whoever may write to the bucket must not choose
/// what is root on a builder.
async fn signer(
    pipeline: &PipelineName,
    version: &Digest,
    cloud: &(impl Bucket + Stack),
) -> Result<Option<String>> {
    let signers = cloud.signers();
    if signers.is_empty() {
        return Ok(None);
    }
    let signature = cloud.text(&keys::signature(pipeline, version)).await?;
    signers.check(pipeline, version, signature.as_deref())
}

/// Refuses a recipe that asks for more than an operator allowed its pipeline.
fn within(limits: &BuilderLimits, recipe: &Recipe, image: &Image, stack: &StackId) -> Result<()> {
    let base = LimitedBase {
        owner: &image.owner,
        own: stack.account(),
        architecture: &image.architecture,
        gib: image.gib,
    };
    limits.check(recipe, Some(base))
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
