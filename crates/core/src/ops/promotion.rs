//! A person promotes an image to a channel, or goes back to the one before.

use jiff::Timestamp;

use crate::{
    domain::{
        destination::Destination,
        error::{Error, Result},
        id::{AmiId, BakeId, ChannelName, PipelineName},
        rollout::RolloutSpec,
    },
    ports::{Bucket, Table, Workflow},
    steps::rollout::{rollout_id, start},
    store::{Asker, Channel, Hold, Ledger, Rolled, among_others, recipes},
};

/// Who asks, and why.
#[derive(Debug, Clone)]
pub struct Person {
    /// Who, as AWS knows them: `user/alice`.
    pub by: String,
    /// Why, in their words.
    pub why: Option<String>,
    /// A number of this request, so that it is done once however often it is sent.
    pub request: BakeId,
}

/// What is to be promoted where.
#[derive(Debug, Clone)]
pub struct Promotion {
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The channel.
    pub channel: ChannelName,
    /// The image.
    pub image: AmiId,
    /// Also where it was rejected before.
    pub force: bool,
}

/// Promotes an image that was baked and tested before: the same image, not baked again. It ends a hold.
///
/// # Errors
/// When the recipe has no such channel, when the image is another pipeline's, never passed its tests, or was rejected for
/// this channel and `force` is not set.
pub async fn promote(
    what: &Promotion,
    person: &Person,
    cloud: &(impl Bucket + Table + Workflow),
    now: Timestamp,
) -> Result<Rolled> {
    roll(what, person, None, cloud, now).await
}

/// Brings a channel back to its image before, or to another one that it had, and holds it: automation promotes nothing to it
/// until a person does.
///
/// # Errors
/// When the channel has no other image to go back to, or a rollout is under way: that is aborted, which brings the channel
/// back as well.
pub async fn roll_back(
    pipeline: &PipelineName,
    name: &ChannelName,
    image: Option<&AmiId>,
    person: &Person,
    cloud: &(impl Bucket + Table + Workflow),
    now: Timestamp,
) -> Result<Rolled> {
    let what = back_to(pipeline, name, image, cloud).await?;
    let hold = Hold { by: person.by.clone(), why: person.why.clone(), since: now };
    roll(&what, person, Some(hold), cloud, now).await
}

/// The promotion with which a channel goes back.
///
/// # Errors
/// As [`roll_back`].
pub async fn back_to(
    pipeline: &PipelineName,
    name: &ChannelName,
    image: Option<&AmiId>,
    table: &impl Table,
) -> Result<Promotion> {
    let channel = channel(pipeline, name, table).await?;
    let what = || format!("channel `{pipeline}/{name}`");
    if let Some(rolling) = &channel.rolling {
        return Err(Error::bad_input(
            what(),
            format!("is being brought to {}", rolling.image),
            format!("Abort that, which brings it back: `ovenbird rollout {pipeline} abort --channel {name}`"),
        ));
    }
    let image = match image {
        Some(image) if channel.images().any(|known| known == image) => image.clone(),
        Some(image) => {
            return Err(Error::bad_input(
                what(),
                format!("never had {image}"),
                format!("Promote it: `ovenbird promote {pipeline} --image {image} --channel {name}`"),
            ));
        }
        None => channel.goes_back_to().cloned().ok_or_else(|| {
            let fix = format!(
                "See which it had, `ovenbird history {pipeline}`, and name one: `ovenbird rollback {pipeline} --channel {name} \
                 --image IMAGE`"
            );
            Error::bad_input(what(), "has no image before this one", fix)
        })?,
    };
    // What the channel had once it may have again, whatever was said of it since.
    Ok(Promotion { pipeline: pipeline.clone(), channel: name.clone(), image, force: true })
}

/// Holds a channel, so that automation promotes nothing to it; or ends that.
///
/// # Errors
/// When nothing was ever promoted to such a channel.
pub async fn hold(
    pipeline: &PipelineName,
    name: &ChannelName,
    hold: Option<Hold>,
    table: &impl Table,
) -> Result<()> {
    among_others(async || Ledger(table).hold(pipeline, name, hold.clone()).await).await
}

async fn roll(
    what: &Promotion,
    person: &Person,
    hold: Option<Hold>,
    cloud: &(impl Bucket + Table + Workflow),
    now: Timestamp,
) -> Result<Rolled> {
    let ledger = Ledger(cloud);
    let (spec, rejected) = rollout_of(what, person, cloud).await?;
    if rejected {
        ledger.accept(&spec.to, &what.image).await?;
    }
    let asker = Asker::Person { hold };
    let rolled = among_others(async || ledger.roll(&spec, None, asker.clone(), now).await).await?;
    if let Rolled::Begins(id) = &rolled
        && let Some(rollout) = ledger.rollout(&what.pipeline, id).await?
    {
        start(&rollout, cloud).await?;
    }
    Ok(rolled)
}

/// The rollout that a person asks for, and whether its image was rejected for the channel before.
pub(super) async fn rollout_of(
    what: &Promotion,
    person: &Person,
    cloud: &(impl Bucket + Table),
) -> Result<(RolloutSpec, bool)> {
    let ledger = Ledger(cloud);
    let to = destination(what, cloud).await?;
    let refuse = |problem: &str| Error::NotPromotable { image: what.image.clone(), problem: problem.into() };
    let maker = ledger.maker(&what.image).await?.ok_or_else(|| refuse("no bake of this stack made it"))?;
    if maker.spec.pipeline != what.pipeline {
        return Err(refuse(&format!("it is an image of pipeline `{}`", maker.spec.pipeline)));
    }
    let known = ledger.channel(&what.pipeline, &what.channel).await?;
    let rejected =
        known.as_ref().and_then(|channel| channel.rejected.iter().find(|one| one.image == what.image));
    if let Some(rejected) = rejected.filter(|_| !what.force) {
        return Err(refuse(&format!("it was rejected for this channel: {}", rejected.why)));
    }
    let rejected = rejected.is_some();
    let spec = RolloutSpec {
        id: rollout_id(&to, &person.request),
        image: what.image.clone(),
        digest: maker.spec.digest.clone(),
        bake: maker.spec.id.clone(),
        order: maker.spec.order(),
        by: person.by.clone(),
        why: person.why.clone(),
        proven: known.is_some_and(|channel| {
            channel.current.iter().chain(&channel.previous).any(|target| target.image == what.image)
        }),
        to,
    };
    Ok((spec, rejected))
}

/// The channel, with what follows it as the current recipe says.
async fn destination(what: &Promotion, bucket: &impl Bucket) -> Result<Destination> {
    let (_, recipe) = recipes::recipe(bucket, &what.pipeline).await?;
    recipe.destination(&what.channel).ok_or_else(|| {
        let names =
            std::iter::once(&recipe.promote).chain(&recipe.channels).map(|one| one.channel.to_string());
        Error::bad_input(
            format!("channel `{}`", what.channel),
            format!("is not in the recipe of pipeline `{}`", what.pipeline),
            format!(
                "Use one of its channels ({}), or add a `[[channel]]`",
                names.collect::<Vec<_>>().join(", ")
            ),
        )
    })
}

/// A channel that something was promoted to.
pub(super) async fn channel(
    pipeline: &PipelineName,
    name: &ChannelName,
    table: &impl Table,
) -> Result<Channel> {
    let found = Ledger(table).channel(pipeline, name).await?;
    found.ok_or_else(|| {
        Error::bad_input(format!("channel `{pipeline}/{name}`"), "does not exist", "See `ovenbird channels`")
    })
}
