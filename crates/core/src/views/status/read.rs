//! Reads what is on record of pipelines, and how they stand in the world.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, TryStreamExt as _, stream, try_join};
use jiff::Timestamp;

use super::{
    ArtifactView, BakeSummary, BaseView, ChannelStatus, Coming, Current, Fleet, Held, ParameterStatus,
    PipelineStatus, RECENT, Values,
};
use crate::{
    domain::{
        bake::{Bake, Status},
        error::{Error, Result},
        id::{AmiId, BakeId, ChannelName, Digest, ParameterName, PipelineName, RolloutId},
        recipe::{Base, Recipe},
        rollout::Rollout,
    },
    ports::{Bucket, Images, Parameters, Table},
    steps::inputs,
    store::{Channel, Ledger, ParameterOwner, Versioned, recipes},
};

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
                    other_base: bake.and_then(|bake| {
                        let now = recipe_now?.base.to_string();
                        (now != bake.spec.base.written).then_some(now)
                    }),
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
