//! The inventory: everything of the account that names an image, complete or nothing.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::AT_ONCE;
use crate::{
    domain::{
        error::{Error, Result},
        id::{AmiId, PipelineName, TemplateName},
        reference::{Kind, Reference, images_in},
        template::{Pin, Pins},
    },
    ports::{Bucket, Look, References, Source, Table, Versions},
    store::{Channel, Ledger},
};

/// Which image is named by what.
pub type Named = BTreeMap<AmiId, BTreeSet<Reference>>;

/// A look at everything.
#[derive(Debug, Default)]
pub struct Inventory {
    /// Which image is named by what, whoever's it is.
    pub named: Named,
    /// What launches by the number of a launch template's version.
    pub pins: Pins,
    /// The launch templates that have this stack's tag.
    pub ours: BTreeSet<TemplateName>,
    /// How many things of each kind were seen.
    pub seen: BTreeMap<Source, usize>,
    /// What could not be looked at. Then no image may go, because any may be named there.
    pub failed: Vec<(Source, Error)>,
}

impl Inventory {
    /// Looks at every source, at all of them at once. What passes by itself is an error: the caller tries again.
    pub async fn take(cloud: &impl References, versions: Versions) -> Result<Self> {
        let mut inventory = Self::default();
        let looks = join_all(Source::ALL.map(|source| look(source, cloud, versions))).await;
        for (source, look) in Source::ALL.into_iter().zip(looks) {
            match look {
                Ok(look) => inventory.add(source, look),
                Err(error) if error.goes_by() => return Err(error),
                Err(error) => inventory.failed.push((source, error)),
            }
        }
        Ok(inventory)
    }

    fn add(&mut self, source: Source, look: Look) {
        self.seen.insert(source, look.seen);
        self.pins.extend(look.pins);
        self.ours.extend(look.ours);
        for (image, reference) in look.named {
            self.named.entry(image).or_default().insert(reference);
        }
    }

    /// What names an image.
    pub fn of(&self, image: &AmiId) -> impl Iterator<Item = &Reference> {
        self.named.get(image).into_iter().flatten()
    }

    /// The same, or the first error: for who can't go on with less than all.
    pub fn whole(mut self) -> Result<Self> {
        if self.failed.is_empty() {
            return Ok(self);
        }
        Err(self.failed.swap_remove(0).1)
    }
}

async fn look(source: Source, cloud: &impl References, versions: Versions) -> Result<Look> {
    match source {
        Source::Instances => cloud.named_by_instances().await,
        Source::LaunchTemplates => cloud.named_by_launch_templates(versions).await,
        Source::AutoScalingGroups => cloud.named_by_groups().await,
        Source::LaunchConfigurations => cloud.named_by_launch_configurations().await,
        Source::Fleets => cloud.named_by_fleets().await,
        Source::SpotFleets => cloud.named_by_spot_fleets().await,
        Source::Parameters => cloud.named_by_parameters().await,
    }
}

/// The versions that rollouts under way made or go back to, whatever their groups launch by at this moment.
pub async fn pinned_by_rollouts(cloud: &(impl Table + Bucket)) -> Result<Vec<Pin>> {
    let ledger = Ledger(cloud);
    let mut pins = Vec::new();
    let pipelines: Vec<PipelineName> = ledger.pipelines(cloud).await?.into_iter().collect();
    for some in pipelines.chunks(AT_ONCE) {
        let found = join_all(some.iter().map(|pipeline| pinned_by_rollouts_of(pipeline, &ledger))).await;
        for of_pipeline in found {
            pins.extend(of_pipeline?);
        }
    }
    Ok(pins)
}

async fn pinned_by_rollouts_of(pipeline: &PipelineName, ledger: &Ledger<'_, impl Table>) -> Result<Vec<Pin>> {
    let mut pins = Vec::new();
    for channel in ledger.channels(pipeline).await? {
        let Some(rolling) = channel.rolling else { continue };
        let Some(rollout) = ledger.rollout(pipeline, &rolling.rollout).await? else { continue };
        let groups = rollout.progress.groups.iter();
        let of_groups = groups.flat_map(|group| std::iter::once(&group.before).chain(&group.after));
        let source = rollout.progress.pair.as_ref().map(|pair| &pair.source);
        pins.extend(of_groups.chain(source).map(|version| Pin {
            template: version.id.clone(),
            version: version.version,
            by: format!("rollout {}", rolling.rollout),
        }));
    }
    Ok(pins)
}

/// What a channel names: everything that its record says but its history, and so many different images of that.
///
/// It reads the record's text and not its fields, so that a field that channels get later is not forgotten here.
pub fn of_channel(channel: &Channel, history: usize) -> Vec<(AmiId, Reference)> {
    let by = format!("{}/{}", channel.pipeline, channel.name);
    let mut doc =
        serde_json::to_value(channel).unwrap_or_else(|_| unreachable!("our documents have string keys only"));
    let previous = doc.as_object_mut().and_then(|fields| {
        // What was rejected is nobody's to use: retention says whether it stays.
        fields.remove("rejected");
        fields.remove("previous")
    });
    let previous = previous.unwrap_or_default();
    let now: BTreeSet<AmiId> = images_in(&doc.to_string()).collect();
    let mut before: Vec<AmiId> = Vec::new();
    for image in images_in(&previous.to_string()) {
        if !now.contains(&image) && !before.contains(&image) && before.len() < history {
            before.push(image);
        }
    }
    // After it went back, that isn't the newest of its history.
    let back = channel.goes_back_to().filter(|image| history > 0 && !now.contains(image));
    before.extend(back.filter(|image| !before.contains(image)).cloned());
    let named = |kind: Kind, by: &str| {
        let reference = Reference::new(kind, by);
        move |image: AmiId| (image, reference.clone())
    };
    let before = before.into_iter().map(named(Kind::Previous, &by));
    now.into_iter().map(named(Kind::Channel, &by)).chain(before).collect()
}

/// What earlier runs saw, so that a list that is suddenly short is noticed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen(BTreeMap<Source, Most>);

/// The most that was seen of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Most {
    count: usize,
    at: Timestamp,
}

/// With fewer things than this, half of them may well go in a day.
const FEW: usize = 8;

/// For so long a number is remembered. A short list that stays short for so long is true.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(7 * 24);

impl Seen {
    /// Notes what was seen now, and says of what there is less than half of what was seen in the last seven days.
    pub fn compare(&mut self, now_seen: &BTreeMap<Source, usize>, now: Timestamp) -> Option<String> {
        let mut wrong = Vec::new();
        for (source, count) in now_seen {
            let most = self.0.get(source).filter(|most| now.duration_since(most.at) < REMEMBERED);
            match most {
                Some(most) if most.count > *count => {
                    if most.count >= FEW && *count * 2 < most.count {
                        wrong.push(format!(
                            "{count} {source} where there were {} on {:.0}",
                            most.count, most.at
                        ));
                    }
                }
                Some(_) | None => drop(self.0.insert(*source, Most { count: *count, at: now })),
            }
        }
        (!wrong.is_empty()).then(|| {
            format!(
                "the inventory is implausibly small: {}. If that is right, it is believed seven days after that date",
                wrong.join(", ")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-06-01T00:00:00Z".parse().unwrap()
    }

    fn seen(count: usize) -> BTreeMap<Source, usize> {
        BTreeMap::from([(Source::Instances, count)])
    }

    #[test]
    fn less_than_half_of_what_was_there_is_implausible_for_seven_days() {
        let mut record = Seen::default();
        assert_eq!(record.compare(&seen(100), now()), None);
        assert_eq!(record.compare(&seen(50), now()), None);
        for hours in [0, 1, 7 * 24 - 1] {
            let at = now() + SignedDuration::from_hours(hours);
            let wrong = record.compare(&seen(49), at).unwrap();
            assert!(wrong.contains("49 instances where there were 100"), "{wrong}");
        }
        let later = now() + SignedDuration::from_hours(7 * 24);
        assert_eq!(record.compare(&seen(49), later), None);
        // From then on, that is what is compared with.
        assert_eq!(record.compare(&seen(25), later), None);
        assert!(record.compare(&seen(24), later).is_some());
    }

    #[test]
    fn a_number_that_stays_the_same_is_remembered_from_the_last_time_it_was_seen() {
        let mut record = Seen::default();
        let days = |days: i64| now() + SignedDuration::from_hours(24 * days);
        assert_eq!(record.compare(&seen(100), days(0)), None);
        assert_eq!(record.compare(&seen(100), days(6)), None);
        assert!(record.compare(&seen(10), days(12)).is_some());
        assert_eq!(record.compare(&seen(10), days(13)), None);
    }

    #[test]
    fn what_a_channel_goes_back_to_is_kept_also_behind_what_it_left() {
        let target = |image: u8| {
            serde_json::json!({"image": format!("ami-0000000{image}"), "digest": "0".repeat(64), "bake": "b",
                "generation": 1, "promoted": now(), "order": {"uploaded": now(), "started": now()}})
        };
        // It went back from 3 to 2.
        let channel = serde_json::json!({"pipeline": "shop", "name": "production", "generation": 4,
            "current": target(2), "previous": [target(3), target(2), target(1)]});
        let channel: Channel = serde_json::from_value(channel).unwrap();
        let named = |history| -> Vec<String> {
            of_channel(&channel, history).into_iter().map(|(image, _)| image.to_string()).collect()
        };
        assert_eq!(named(1), ["ami-00000002", "ami-00000003", "ami-00000001"]);
        assert_eq!(named(2), named(1));
        assert_eq!(named(0), ["ami-00000002"]);
    }

    #[test]
    fn a_small_account_may_shrink_as_it_likes() {
        let mut record = Seen::default();
        assert_eq!(record.compare(&seen(FEW - 1), now()), None);
        assert_eq!(record.compare(&seen(0), now()), None);
        assert_eq!(record.compare(&seen(FEW), now()), None);
        assert!(record.compare(&seen(FEW / 2 - 1), now()).is_some());
    }
}
