//! What images are judged by: what this stack's own records and recipes say.

use std::collections::{BTreeMap, BTreeSet};

use futures::{future::join_all, join};
use jiff::SignedDuration;

use super::{Basis, Retention, leftovers::Leftovers, tag, unused::Consumers};
use crate::{
    domain::{
        bake::Stage,
        error::{Error, Result},
        event::Event,
        id::{AmiId, ParameterName, PipelineName},
        recipe::{Base, Recipe, Retain},
        reference::{Kind, Reference, images_in},
        retirement::Floors,
        tags::TAG_PIPELINE,
    },
    ports::{Bucket, Image, PrunePorts, Table},
    steps::{
        AT_ONCE, events,
        guard::Terms,
        inventory::{self, Named},
    },
    store::{Channel, Ledger, Standing, recipes},
};

/// What images are judged by, and what could not be read of it.
pub(super) struct Based {
    pub basis: Basis,
    pub problems: Vec<String>,
    /// Parameters that say something else than their channels.
    pub drifts: Vec<Event>,
    /// Which pipelines are there, and what of this stack uses them.
    pub consumers: Consumers,
}

/// Of all images of this stack, those that go with their dead bake are left out.
pub(super) async fn basis<C: PrunePorts>(
    images: Vec<Image>,
    left: &Leftovers,
    named: &Named,
    cloud: &C,
    bucket: &impl Bucket,
) -> Result<Based> {
    let ledger = Ledger(cloud);
    let mut pipelines: BTreeSet<PipelineName> =
        images.iter().filter_map(|image| tag(&image.tags, TAG_PIPELINE)).collect();
    let mut basis = Basis {
        images: images.into_iter().filter(|image| !left.doomed.contains(&image.id)).collect(),
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
    let Standing { here, removed } = ledger.standing(bucket).await?;
    let mut consumers = Consumers::default();
    consumers
        .pipelines
        .extend(here.iter().filter(|(_, paused)| paused.is_none()).map(|(name, _)| name.clone()));
    pipelines.extend(here.into_keys());
    let floors = cloud.floors()?;
    let mut problems = Vec::new();
    let owners = ledger.parameters().await?;
    let mut parameters: BTreeSet<ParameterName> =
        owners.iter().map(|owner| owner.parameter.clone()).collect();
    let mut currents = BTreeMap::new();
    for (pipeline, read) in of_pipelines(pipelines, &ledger, bucket).await {
        match read {
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
                match &recipe.base {
                    Base::Image(image) => {
                        note(&mut basis.named, image, Reference::new(Kind::Recipe, pipeline.as_str()));
                    }
                    Base::Channel { pipeline: parent, .. } => drop(consumers.parents.insert(parent.clone())),
                    Base::Parameter(_) | Base::Newest { .. } => {}
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
    consumers.followers.extend(owners.into_iter().map(|owner| owner.parameter));
    Ok(Based { basis, problems, drifts, consumers })
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

/// A pipeline's channels, and its recipe if it has one.
type Said = (Vec<Channel>, Option<Recipe>);

/// What each pipeline says, some of them asked at once.
async fn of_pipelines<T: Table>(
    pipelines: BTreeSet<PipelineName>,
    ledger: &Ledger<'_, T>,
    bucket: &impl Bucket,
) -> Vec<(PipelineName, Result<Said>)> {
    let pipelines: Vec<PipelineName> = pipelines.into_iter().collect();
    let mut said = Vec::new();
    for some in pipelines.chunks(AT_ONCE) {
        said.extend(join_all(some.iter().map(|pipeline| of_pipeline(pipeline, ledger, bucket))).await);
    }
    pipelines.into_iter().zip(said).collect()
}

async fn of_pipeline<T: Table>(
    pipeline: &PipelineName,
    ledger: &Ledger<'_, T>,
    bucket: &impl Bucket,
) -> Result<Said> {
    let (channels, recipe) = join!(ledger.channels(pipeline), recipes::recipe(bucket, pipeline));
    let channels = channels?;
    match recipe {
        Ok((_, recipe)) => Ok((channels, Some(recipe))),
        Err(Error::NoRecipe { .. }) => Ok((channels, None)),
        Err(error) => Err(error),
    }
}
