//! Pipelines whose images nobody used for long: they bake, and cost, for nobody. It is told, and nothing is done about it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Basis, tag};
use crate::{
    domain::{
        error::Result,
        id::{AmiId, ParameterName, PipelineName},
        reference::{Kind, Reference},
        tags::TAG_PIPELINE,
    },
    ports::{Bucket, Image, Instance},
    store::{decode, keys},
};

/// After so long without a use a pipeline is told of.
///
/// A quarter, so that what runs once a month, or at the end of a quarter, is not. EC2 tells a day or more late of a launch, and
/// that is nothing beside it.
pub const UNUSED_AFTER: SignedDuration = SignedDuration::from_hours(90 * 24);

/// A pipeline whose images nobody used for long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unused {
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The last day of which a use is known; if none is, since when there is an image to be used.
    pub since: Timestamp,
    /// How many images of it there are.
    pub images: usize,
}

/// What of this stack uses images, and is no use by others.
#[derive(Debug, Default)]
pub(super) struct Consumers {
    /// The pipelines that are there, and that nobody paused.
    pub pipelines: BTreeSet<PipelineName>,
    /// Those that another pipeline has as base.
    pub parents: BTreeSet<PipelineName>,
    /// Parameters that follow a channel: we write them ourselves, whether somebody reads them or not.
    pub followers: BTreeSet<ParameterName>,
}

/// What runs saw of uses.
///
/// Images go, and with them what EC2 knew of their launches.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Used {
    /// The last day on which a run looked: with it this is written every day, and the bucket's rule doesn't forget it.
    looked: Timestamp,
    /// The last day on which each pipeline was seen to be used.
    pipelines: BTreeMap<PipelineName, Timestamp>,
}

/// Pipelines whose images nobody used for long, by this look and those before it.
pub(super) async fn unused(
    basis: &Basis,
    instances: &[Instance],
    consumers: &Consumers,
    ended: &BTreeMap<AmiId, Timestamp>,
    bucket: &impl Bucket,
    now: Timestamp,
) -> Result<Vec<Unused>> {
    let key = keys::prune_used();
    let before: Used = match bucket.text(&key).await? {
        Some(text) => decode(&key, &text)?,
        None => Used::default(),
    };
    let (used, unused) = before.and(basis, instances, consumers, ended, now);
    if used != before {
        let text = serde_json::to_string(&used);
        bucket.put_text(&key, &text.unwrap_or_else(|_| unreachable!("it has string keys only"))).await?;
    }
    Ok(unused)
}

impl Used {
    /// The same with what is seen now; and the pipelines that nobody used for long.
    fn and(
        &self,
        basis: &Basis,
        instances: &[Instance],
        consumers: &Consumers,
        ended: &BTreeMap<AmiId, Timestamp>,
        now: Timestamp,
    ) -> (Self, Vec<Unused>) {
        let own = of_bakes(instances);
        let mut by_pipeline: BTreeMap<PipelineName, Vec<&Image>> = BTreeMap::new();
        for image in &basis.images {
            if let Some(pipeline) = tag(&image.tags, TAG_PIPELINE) {
                by_pipeline.entry(pipeline).or_default().push(image);
            }
        }
        let mut used = Self { looked: day(now), ..Self::default() };
        let mut unused = Vec::new();
        for pipeline in &consumers.pipelines {
            let known = self.pipelines.get(pipeline).copied();
            let images = by_pipeline.remove(pipeline).unwrap_or_default();
            let Some(oldest) = images.iter().map(|image| image.created).min() else {
                // There is nothing that could be used.
                used.pipelines.extend(known.map(|known| (pipeline.clone(), known)));
                continue;
            };
            let mut named = images.iter().flat_map(|image| basis.named.get(&image.id).into_iter().flatten());
            let in_use = consumers.parents.contains(pipeline)
                || named.any(|by| is_use(by, pipeline, &own, &consumers.followers));
            // A bake starts its image itself, for its tests.
            let by_others =
                |image: &&Image| image.launched.filter(|at| ended.get(&image.id).is_none_or(|end| at > end));
            let last = if in_use { Some(now) } else { images.iter().filter_map(by_others).max() };
            let since = day(last.into_iter().chain(known).max().unwrap_or(oldest));
            used.pipelines.insert(pipeline.clone(), since);
            if now.duration_since(since) > UNUSED_AFTER {
                unused.push(Unused { pipeline: pipeline.clone(), since, images: images.len() });
            }
        }
        (used, unused)
    }
}

/// The instances that bakes started, with their pipelines.
fn of_bakes(instances: &[Instance]) -> BTreeMap<&str, PipelineName> {
    instances.iter().filter_map(|one| Some((one.id.as_str(), tag(&one.tags, TAG_PIPELINE)?))).collect()
}

/// Whether what names an image of a pipeline is a use of it by others. A channel, its history and its parameter are the
/// pipeline's own.
fn is_use(
    by: &Reference,
    pipeline: &PipelineName,
    of_bakes: &BTreeMap<&str, PipelineName>,
    followers: &BTreeSet<ParameterName>,
) -> bool {
    match by.kind {
        Kind::Channel | Kind::Previous | Kind::Baking => false,
        Kind::Parameter => !followers.iter().any(|name| name.as_str() == by.id),
        // A bake starts its own image for its tests; another pipeline's bake starts it as its base.
        Kind::Instance => of_bakes.get(by.id.as_str()) != Some(pipeline),
        Kind::LaunchTemplate
        | Kind::AutoScalingGroup
        | Kind::LaunchConfiguration
        | Kind::Fleet
        | Kind::SpotFleet
        | Kind::Base
        | Kind::Recipe
        | Kind::Account => true,
    }
}

/// The beginning of a time's day, in UTC.
fn day(at: Timestamp) -> Timestamp {
    let second = at.as_second();
    Timestamp::from_second(second - second.rem_euclid(24 * 3600)).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::offer::Loss,
        ports::{ImageState, InstanceState, Protection},
    };

    const DAY: SignedDuration = SignedDuration::from_hours(24);

    fn now() -> Timestamp {
        "2026-06-01T12:00:00Z".parse().unwrap()
    }

    /// A pipeline with an image a hundred days old, that was started so many days ago.
    fn basis(launched: Option<i32>) -> Basis {
        let image = Image {
            id: "ami-0123456789abcdef0".parse().unwrap(),
            name: "shop-1".to_owned(),
            owner: String::new(),
            state: ImageState::Available,
            reason: String::new(),
            created: now() - DAY * 100,
            architecture: "x86_64".to_owned(),
            root_device: None,
            gib: None,
            devices: Vec::new(),
            deprecated: None,
            protection: Protection::Off,
            imdsv2: false,
            launched: launched.map(|days| now() - DAY * days),
            snapshots: Vec::new(),
            tags: BTreeMap::from([(TAG_PIPELINE.to_owned(), "shop".to_owned())]),
        };
        Basis { images: vec![image], ..Basis::default() }
    }

    fn look(
        before: &Used,
        launched: Option<i32>,
        ended: Option<i32>,
        at: Timestamp,
    ) -> (Used, Option<Timestamp>) {
        let pipelines = BTreeSet::from(["shop".parse().unwrap()]);
        let consumers = Consumers { pipelines, ..Consumers::default() };
        let basis = basis(launched);
        let ended = ended.map(|days| (basis.images[0].id.clone(), now() - DAY * days)).into_iter().collect();
        let (used, unused) = before.and(&basis, &[], &consumers, &ended, at);
        (used, unused.first().map(|one| one.since))
    }

    #[test]
    fn a_launch_counts_unless_it_is_the_bake_s_own() {
        let since = |launched, ended| look(&Used::default(), launched, ended, now()).1;
        assert_eq!(since(None, None), Some(day(now() - DAY * 100)));
        assert_eq!(since(Some(95), None), Some(day(now() - DAY * 95)));
        assert_eq!(since(Some(89), None), None);
        assert_eq!(since(Some(95), Some(96)), Some(day(now() - DAY * 95)));
        assert_eq!(since(Some(95), Some(94)), Some(day(now() - DAY * 100)), "it tested itself");
    }

    #[test]
    fn an_instance_of_the_pipeline_s_own_bake_is_no_use_and_another_pipeline_s_is() {
        let instance = |pipeline: &str| Instance {
            id: "i-0123456789abcdef0".parse().unwrap(),
            image: "ami-0123456789abcdef0".parse().unwrap(),
            state: InstanceState::Running,
            reason: String::new(),
            loss: Loss::Unknown,
            spot: false,
            tags: BTreeMap::from([(TAG_PIPELINE.to_owned(), pipeline.to_owned())]),
        };
        let by = Reference::new(Kind::Instance, "i-0123456789abcdef0");
        let counts = |instances: &[Instance]| {
            is_use(&by, &"shop".parse().unwrap(), &of_bakes(instances), &BTreeSet::new())
        };
        assert!(counts(&[]) && counts(&[instance("other")]) && !counts(&[instance("shop")]));
    }

    #[test]
    fn what_was_seen_once_is_remembered_when_nothing_shows_it_any_more() {
        let (used, told) = look(&Used::default(), Some(10), None, now());
        assert_eq!(told, None);
        let (later, told) = look(&used, None, None, now() + DAY * 79);
        assert_eq!((later.pipelines == used.pipelines, told), (true, None));
        let (_, told) = look(&later, None, None, now() + DAY * 81);
        assert_eq!(told, Some(day(now() - DAY * 10)));
    }

    #[test]
    fn one_look_a_day_is_noted() {
        let (used, _) = look(&Used::default(), Some(10), None, now());
        assert_eq!(look(&used, Some(10), None, now() + SignedDuration::from_hours(1)).0, used);
        assert_ne!(look(&used, Some(10), None, now() + DAY).0, used);
    }
}
