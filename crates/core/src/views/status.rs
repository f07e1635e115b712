//! How each pipeline stands: what its channels point at, what runs on that, and what went wrong last.
//!
//! It is made in two parts, because a stack may have hundreds of pipelines. [`records`] reads one pipeline, and may run for
//! many at once. [`status`] then asks the world about all of them together: every base and every parameter once.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, TryStreamExt as _, stream, try_join};
use jiff::Timestamp;
use serde::Serialize;

use super::parts::{ArtifactView, BaseView};
use crate::{
    domain::{
        bake::{Bake, Stage, Status},
        error::{Error, Result},
        id::{AmiId, BakeId, ChannelName, Digest, InstanceId, ParameterName, PipelineName, RolloutId},
        recipe::{Base, Recipe},
        rollout::{Phase, Rollout},
    },
    ports::{Bucket, Images, Parameters, Table},
    steps::inputs,
    store::{Channel, Hold, Ledger, ParameterOwner, Rolling, Versioned, recipes},
};

/// Among how many of a pipeline's newest bakes the last failure and older images are looked for, beside those that its
/// channels remember.
pub const RECENT: usize = 20;

/// The instances of the account that are starting or running and aren't a bake's, by the image they were started from.
pub type Fleet = BTreeMap<AmiId, BTreeSet<InstanceId>>;

/// How a pipeline stands. Its fields are always there: what there is none of is `null` or empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PipelineStatus {
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The version of its current recipe; none when it has none any more.
    pub recipe: Option<Digest>,
    /// Why its recipe can't be baked; none when it can.
    pub recipe_problem: Option<String>,
    /// Its channels, also those that its recipe no longer names.
    pub channels: Vec<ChannelStatus>,
    /// The bakes that are on their way, the newest first.
    pub running: Vec<BakeSummary>,
    /// The newest bake that has ended.
    pub last_bake: Option<BakeSummary>,
    /// The newest bake that failed, among the [`RECENT`] newest.
    pub last_failure: Option<BakeSummary>,
}

/// A person's word that automation promotes nothing to a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Whose word.
    pub by: String,
    /// Why.
    pub why: Option<String>,
    /// Since when.
    pub since: Timestamp,
}

impl From<&Hold> for Held {
    fn from(hold: &Hold) -> Self {
        Self { by: hold.by.clone(), why: hold.why.clone(), since: hold.since }
    }
}

/// An image on its way to a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Coming {
    /// The rollout that brings it.
    pub rollout: RolloutId,
    /// The image.
    pub image: AmiId,
    /// Where the rollout is; none when its record is gone.
    pub phase: Option<Phase>,
    /// What it waits for; none when it waits for nothing.
    pub awaits: Option<String>,
    /// Whether it waits for a person's approval.
    pub asks: bool,
}

impl Coming {
    fn new(rolling: &Rolling, rollout: Option<&Rollout>) -> Self {
        Self {
            rollout: rolling.rollout.clone(),
            image: rolling.image.clone(),
            phase: rollout.map(|rollout| rollout.progress.phase),
            awaits: rollout
                .map(|rollout| rollout.progress.awaits.clone())
                .filter(|awaits| !awaits.is_empty()),
            asks: rollout.is_some_and(Rollout::awaits_approval),
        }
    }
}

/// How a channel stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChannelStatus {
    /// Its name.
    pub channel: ChannelName,
    /// Whether the pipeline's recipe names it.
    pub in_recipe: bool,
    /// Whether bakes promote to it. To the others people promote.
    pub by_bakes: bool,
    /// What it points at; none when nothing was ever promoted, or the first promotion was taken back.
    pub current: Option<Current>,
    /// The parameters that follow it.
    pub parameters: Vec<ParameterStatus>,
    /// The instances that run on its image.
    pub on_current: BTreeSet<InstanceId>,
    /// The instances that run on another image of its pipeline, as far as the channel and the newest bakes name it.
    pub on_others: BTreeMap<AmiId, BTreeSet<InstanceId>>,
    /// Since when each of its former images isn't the newest good one any more. That is the age that counts: an image of a
    /// year ago that nothing replaced is not old.
    pub outdated: BTreeMap<AmiId, Timestamp>,
    /// Who holds it, so that automation promotes nothing to it.
    pub hold: Option<Held>,
    /// The rollout that is under way.
    pub rolling: Option<Coming>,
}

/// What a channel points at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Current {
    /// The image.
    pub image: AmiId,
    /// The bake that promoted it.
    pub bake: BakeId,
    /// Since when.
    pub promoted: Timestamp,
    /// How often the channel had moved then.
    pub generation: u64,
    /// What is in it; none for a pipeline without artifacts, or when the bake is no longer on record.
    pub artifact: Option<ArtifactView>,
    /// What it was made on; none when the bake is no longer on record.
    pub base: Option<BaseView>,
    /// What a bake would be made on now; none when that can't be told.
    pub base_now: Option<AmiId>,
    /// Whether a bake would be made on another base now; none when that can't be told.
    pub behind: Option<bool>,
    /// Why the base can't be told; none when it can.
    pub base_problem: Option<String>,
}

/// A parameter that follows a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ParameterStatus {
    /// Its name.
    pub parameter: ParameterName,
    /// What it says; none when it isn't there.
    pub value: Option<String>,
    /// Whether it says another image than the channel does.
    pub drifted: bool,
    /// Whether it was left for later: then nothing is known of what it says. Only who reads a part at a time leaves any.
    #[serde(skip)]
    pub unread: bool,
}

/// What the parameters say that were read; none for one that isn't there.
pub type Values = BTreeMap<ParameterName, Option<String>>;

impl ParameterStatus {
    /// How a parameter stands to its channel's image, by what was read.
    pub fn new(parameter: &ParameterName, image: Option<&AmiId>, values: &Values) -> Self {
        let read = values.get(parameter);
        let value = read.cloned().flatten();
        let drifted = read.is_some() && value.as_deref() != image.map(AmiId::as_str);
        Self { parameter: parameter.clone(), value, drifted, unread: read.is_none() }
    }
}

/// One bake, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BakeSummary {
    /// Its id.
    pub bake: BakeId,
    /// How it stands.
    pub status: Status,
    /// The stage it is in, or was in at its end.
    pub stage: Stage,
    /// When it started.
    pub started: Timestamp,
    /// When its stage began.
    pub stage_since: Timestamp,
    /// When it ended; none while it is on its way.
    pub ended: Option<Timestamp>,
    /// The name of the error that it failed with.
    pub error: Option<String>,
}

impl From<&Bake> for BakeSummary {
    fn from(bake: &Bake) -> Self {
        Self {
            bake: bake.spec.id.clone(),
            status: bake.progress.status,
            stage: bake.progress.stage,
            started: bake.spec.started,
            stage_since: bake.progress.stage_since().unwrap_or(bake.spec.started),
            ended: bake.progress.ended(),
            error: bake.progress.failure.as_ref().map(|failure| failure.error.clone()),
        }
    }
}

/// What is on record of a pipeline.
#[derive(Debug)]
pub struct Records {
    pipeline: PipelineName,
    recipe: Option<(Digest, Recipe)>,
    recipe_problem: Option<String>,
    channels: Vec<Channel>,
    bakes: Vec<Bake>,
    /// The bakes that the channels' images were promoted by.
    promoted: BTreeMap<BakeId, Bake>,
    /// The rollouts that are under way.
    rollouts: BTreeMap<RolloutId, Rollout>,
}

impl Records {
    /// The newest bakes, the newest first; [`RECENT`] at most.
    pub fn bakes(&self) -> &[Bake] {
        &self.bakes
    }

    /// The image that a channel points at.
    fn image(&self, name: &ChannelName) -> Option<&AmiId> {
        let channel = self.channels.iter().find(|channel| channel.name == *name)?;
        channel.current.as_ref().map(|current| &current.image)
    }
}

/// Since when each former image of a channel isn't its newest good one any more: since the one after it was promoted. An
/// image that came back later counts from its last time.
fn outdated(channel: &Channel) -> BTreeMap<AmiId, Timestamp> {
    let (mut since, mut found) = (None, BTreeMap::new());
    for target in channel.current.iter().chain(&channel.previous) {
        let is_current = channel.current.as_ref().is_some_and(|current| current.image == target.image);
        if let Some(since) = since.filter(|_| !is_current) {
            found.entry(target.image.clone()).or_insert(since);
        }
        since = Some(target.promoted);
    }
    found
}

/// Reads what is on record of a pipeline: four questions for most, because a stack may have hundreds of them.
pub async fn records(cloud: &(impl Bucket + Table), pipeline: &PipelineName) -> Result<Records> {
    let ledger = Ledger(cloud);
    let recipe = async {
        match recipes::recipe_in_view(cloud, pipeline).await {
            Ok((pointer, recipe)) => Ok((Some((pointer.version, recipe)), None)),
            Err(error @ (Error::NoRecipe { .. } | Error::BadRecipe { .. })) => {
                Ok((None, Some(error.chain())))
            }
            Err(error) => Err(error),
        }
    };
    // None of the three needs another.
    let (recipe, channels, bakes) =
        try_join!(recipe, ledger.channels(pipeline), ledger.newest_bakes(pipeline, RECENT))?;
    let (recipe, recipe_problem) = recipe;
    let mut promoted = BTreeMap::new();
    for target in channels.iter().filter_map(|channel| channel.current.as_ref()) {
        let recent = bakes.iter().find(|bake| bake.spec.id == target.bake);
        let bake = match recent {
            Some(bake) => Some(bake.clone()),
            None => ledger.bake(pipeline, &target.bake).await?.map(Versioned::into_inner),
        };
        promoted.extend(bake.map(|bake| (target.bake.clone(), bake)));
    }
    let mut rollouts = BTreeMap::new();
    for rolling in channels.iter().filter_map(|channel| channel.rolling.as_ref()) {
        let rollout = ledger.rollout(pipeline, &rolling.rollout).await?.map(Versioned::into_inner);
        rollouts.extend(rollout.map(|rollout| (rolling.rollout.clone(), rollout)));
    }
    Ok(Records { pipeline: pipeline.clone(), recipe, recipe_problem, channels, bakes, promoted, rollouts })
}

/// How pipelines stand, of which this is on record.
pub async fn status(
    cloud: &(impl Images + Parameters + Table),
    all: &[Records],
    fleet: &Fleet,
    now: Timestamp,
) -> Result<Vec<PipelineStatus>> {
    let followers = followers(cloud, all).await?;
    let names: Vec<_> = followers.iter().map(|one| one.owner.parameter.clone()).collect();
    let values = values(cloud, &names).await?;
    status_by(cloud, all, fleet, &followers, &values, now).await
}

/// A parameter that follows a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follower {
    /// Which one, and whose it is.
    pub owner: ParameterOwner,
    /// The image that the channel points at, and that the parameter should say.
    pub image: Option<AmiId>,
}

/// The parameters that follow channels of these pipelines.
pub async fn followers(table: &impl Table, all: &[Records]) -> Result<Vec<Follower>> {
    let owners = Ledger(table).parameters().await?;
    let follower = |owner: ParameterOwner| {
        let records = all.iter().find(|records| records.pipeline == owner.pipeline)?;
        let image = records.image(&owner.channel).cloned();
        Some(Follower { owner, image })
    };
    Ok(owners.into_iter().filter_map(follower).collect())
}

/// What these parameters say: a call for ten of them.
pub async fn values(cloud: &impl Parameters, names: &[ParameterName]) -> Result<Values> {
    // SSM refuses an empty list.
    let mut found = if names.is_empty() { BTreeMap::new() } else { cloud.values(names).await? };
    Ok(names.iter().map(|name| (name.clone(), found.remove(name))).collect())
}

/// How pipelines stand, of which this is on record, when so much is known of the parameters that follow their channels.
pub async fn status_by(
    cloud: &(impl Images + Parameters + Table),
    all: &[Records],
    fleet: &Fleet,
    followers: &[Follower],
    values: &Values,
    now: Timestamp,
) -> Result<Vec<PipelineStatus>> {
    let bases = bases(cloud, all, now).await?;
    Ok(all.iter().map(|records| one(records, &bases, followers, values, fleet)).collect())
}

/// What each base is now, or why that can't be told, by the base as recipes write it.
type Bases = BTreeMap<String, Result<AmiId, String>>;

/// How many bases are looked up at once.
const AT_ONCE: usize = 16;

async fn bases(cloud: &(impl Images + Parameters + Table), all: &[Records], now: Timestamp) -> Result<Bases> {
    let recipes = all.iter().filter_map(|records| records.recipe.as_ref());
    // Each once, however many pipelines have it.
    let bases: BTreeMap<String, &Base> =
        recipes.map(|(_, recipe)| (recipe.base.to_string(), &recipe.base)).collect();
    let found = stream::iter(bases).map(async |(written, base)| {
        let found = match base {
            // It is what it is: whether it exists is for the bake to say.
            Base::Image(image) => Ok(image.clone()),
            base @ (Base::Parameter(_) | Base::Newest { .. } | Base::Channel { .. }) => {
                match inputs::base_image(base, cloud, now).await {
                    Ok((image, _)) => Ok(image.id),
                    // Who may not look at it sees all else.
                    Err(error @ (Error::NoBase { .. } | Error::Denied { .. })) => Err(error.chain()),
                    Err(error) => return Err(error),
                }
            }
        };
        Ok((written, found))
    });
    found.buffer_unordered(AT_ONCE).try_collect().await
}

fn one(
    records: &Records,
    bases: &Bases,
    followers: &[Follower],
    values: &Values,
    fleet: &Fleet,
) -> PipelineStatus {
    let Records { pipeline, recipe, recipe_problem, channels, bakes, promoted, rollouts } = records;
    let recipe_now = recipe.as_ref().map(|(_, recipe)| recipe);
    let base = recipe_now.and_then(|recipe| bases.get(&recipe.base.to_string()));
    let named: Vec<&ChannelName> = recipe_now
        .iter()
        .flat_map(|recipe| std::iter::once(&recipe.promote).chain(&recipe.channels))
        .map(|promote| &promote.channel)
        .collect();
    let by_bakes = |name: &ChannelName| recipe_now.is_some_and(|recipe| recipe.promote.channel == *name);
    let images: BTreeSet<&AmiId> = bakes
        .iter()
        .filter_map(|bake| bake.progress.image.as_ref())
        .chain(channels.iter().flat_map(|one| one.current.iter().chain(&one.previous)).map(|one| &one.image))
        .collect();
    let mut stand: Vec<_> = channels
        .iter()
        .map(|channel| {
            let current = channel.current.as_ref().map(|target| {
                let bake = promoted.get(&target.bake);
                let base_now = base.and_then(|base| base.as_ref().ok());
                Current {
                    image: target.image.clone(),
                    bake: target.bake.clone(),
                    promoted: target.promoted,
                    generation: target.generation,
                    artifact: bake.and_then(|bake| bake.spec.artifact.as_ref()).map(ArtifactView::from),
                    base: bake.map(|bake| BaseView::from(&bake.spec.base)),
                    behind: bake.zip(base_now).map(|(bake, now)| bake.spec.base.image != *now),
                    base_now: base_now.cloned(),
                    base_problem: base.and_then(|base| base.as_ref().err()).cloned(),
                }
            });
            let image = current.as_ref().map(|current| &current.image);
            let owners = followers.iter().map(|follower| &follower.owner);
            let own = owners.filter(|owner| owner.pipeline == *pipeline && owner.channel == channel.name);
            let parameters = own.map(|owner| ParameterStatus::new(&owner.parameter, image, values));
            let on_others = images.iter().filter(|one| Some(**one) != image);
            let on_others = on_others.filter_map(|one| Some(((*one).clone(), fleet.get(*one)?.clone())));
            ChannelStatus {
                channel: channel.name.clone(),
                in_recipe: named.contains(&&channel.name),
                by_bakes: by_bakes(&channel.name),
                parameters: parameters.collect(),
                on_current: image.and_then(|image| fleet.get(image)).cloned().unwrap_or_default(),
                on_others: on_others.collect(),
                outdated: outdated(channel),
                hold: channel.hold.as_ref().map(Held::from),
                rolling: channel
                    .rolling
                    .as_ref()
                    .map(|rolling| Coming::new(rolling, rollouts.get(&rolling.rollout))),
                current,
            }
        })
        .collect();
    for name in named.into_iter().filter(|name| channels.iter().all(|channel| channel.name != **name)) {
        stand.push(ChannelStatus {
            channel: name.clone(),
            in_recipe: true,
            by_bakes: by_bakes(name),
            current: None,
            parameters: Vec::new(),
            on_current: BTreeSet::new(),
            on_others: BTreeMap::new(),
            outdated: BTreeMap::new(),
            hold: None,
            rolling: None,
        });
    }
    stand.sort_by(|a, b| b.in_recipe.cmp(&a.in_recipe).then_with(|| a.channel.cmp(&b.channel)));
    let ended = |bake: &&Bake| bake.progress.status != Status::Running;
    // Where a channel points at something, that is told of the channel.
    let base_problem = base.and_then(|base| base.as_ref().err());
    let unbaked = base_problem.filter(|_| stand.iter().all(|channel| channel.current.is_none()));
    PipelineStatus {
        pipeline: pipeline.clone(),
        recipe: recipe.as_ref().map(|(version, _)| version.clone()),
        recipe_problem: recipe_problem.as_ref().or(unbaked).cloned(),
        channels: stand,
        running: bakes.iter().filter(|bake| !ended(bake)).map(BakeSummary::from).collect(),
        last_bake: bakes.iter().find(ended).map(BakeSummary::from),
        last_failure: bakes.iter().find(|bake| bake.progress.status == Status::Failed).map(BakeSummary::from),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_image_is_outdated_since_the_one_after_it_was_promoted() {
        let target = |image: u8, day: u8| {
            json!({"image": format!("ami-0000000{image}"), "digest": "0".repeat(64), "bake": "b", "generation": day,
                "order": {"artifact": null, "uploaded": "2026-01-01T00:00:00Z", "sequencer": "",
                    "started": "2026-01-01T00:00:00Z"},
                "promoted": format!("2026-01-0{day}T00:00:00Z")})
        };
        // The second one came back after the third, and is current.
        let channel = json!({"pipeline": "shop", "name": "production", "generation": 5, "current": target(2, 5),
            "previous": [target(3, 4), target(3, 3), target(2, 2), target(1, 1)]});
        let found = outdated(&serde_json::from_value(channel).unwrap());
        let day = |day: u8| format!("2026-01-0{day}T00:00:00Z").parse::<Timestamp>().unwrap();
        let image = |number: u8| format!("ami-0000000{number}").parse::<AmiId>().unwrap();
        assert_eq!(found, BTreeMap::from([(image(3), day(5)), (image(1), day(2))]));
    }
}
