//! Channels: what a promotion moves, in one conditional write, and how one is taken back.

use std::{cmp::Ordering, collections::BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    images::used,
    ledger::{Ledger, encode, expect, read},
};
use crate::{
    domain::{
        bake::{Bake, BakeSpec, Order},
        error::{Error, Result},
        id::{AmiId, BakeId, ChannelName, Digest, PipelineName, RolloutId},
    },
    ports::{Expect, Index, Key, Table, Write},
};

/// How many different images a channel remembers.
const HISTORY: usize = 20;

/// How many promotions a channel remembers: those of one image, again and again, must not push out the others.
const PROMOTIONS: usize = 100;

/// What a channel points at, or pointed at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The image.
    pub image: AmiId,
    /// Its digest.
    pub digest: Digest,
    /// The bake that promoted it.
    pub bake: BakeId,
    /// Its place in the line of versions.
    pub order: Order,
    /// Since when.
    pub promoted: Timestamp,
    /// The channel's generation with which it came.
    pub generation: u64,
    /// The rollout that brought it; none where nothing that follows the channel runs machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutId>,
    /// Who promoted it, if that was a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why, in that person's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A rollout of a channel that is under way, or waits for its turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rolling {
    /// Which.
    pub rollout: RolloutId,
    /// Its image.
    pub image: AmiId,
    /// The image's place in the line of versions.
    pub order: Order,
}

/// A person's word that nothing is promoted to a channel by automation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Whose word.
    pub by: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Since when.
    pub since: Timestamp,
}

/// An image that was found bad on its way to a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// The image.
    pub image: AmiId,
    /// Why.
    pub why: String,
    /// When.
    pub at: Timestamp,
}

/// A named pointer of a pipeline to its current image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// Its pipeline.
    pub pipeline: PipelineName,
    /// Its name.
    pub name: ChannelName,
    /// What it points at; none after the first promotion was taken back.
    pub current: Option<Target>,
    /// What it pointed at before, newest first.
    pub previous: Vec<Target>,
    /// How often it moved.
    pub generation: u64,
    /// The rollout that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolling: Option<Rolling>,
    /// The rollout that comes next. Of several that wait, the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Rolling>,
    /// Whether automation promotes nothing to it, and who wants that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// Images that automation never promotes to it again, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<Rejected>,
}

impl Channel {
    /// A channel to which nothing was promoted yet.
    pub fn new(pipeline: PipelineName, name: ChannelName) -> Self {
        Self {
            pipeline,
            name,
            current: None,
            previous: Vec::new(),
            generation: 0,
            rolling: None,
            waiting: None,
            hold: None,
            rejected: Vec::new(),
        }
    }

    /// Every image that it names in any way. None of them may be removed.
    pub fn images(&self) -> impl Iterator<Item = &AmiId> {
        let targets = self.current.iter().chain(&self.previous).map(|target| &target.image);
        targets.chain(self.rolling.iter().chain(&self.waiting).map(|one| &one.image))
    }

    /// Why automation may not promote this image to it; none when it may.
    pub fn closed_to(&self, image: &AmiId) -> Option<String> {
        if let Some(hold) = &self.hold {
            let why = hold.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            return Some(format!("{} holds channel {}/{}{why}", hold.by, self.pipeline, self.name));
        }
        let rejected = self.rejected.iter().find(|one| one.image == *image)?;
        Some(format!("{image} was rejected for channel {}/{}: {}", self.pipeline, self.name, rejected.why))
    }

    /// Whether something newer than this is its current image, on its way there, or next.
    pub(super) fn is_ahead_of(&self, order: &Order) -> bool {
        let orders = self.current.iter().map(|target| &target.order);
        let coming = self.rolling.iter().chain(&self.waiting).map(|one| &one.order);
        orders.chain(coming).any(|other| order.compare(other) == Ordering::Less)
    }

    /// Whether it points or pointed at what this bake promoted.
    pub fn has(&self, bake: &BakeId) -> bool {
        self.current.iter().chain(&self.previous).any(|target| target.bake == *bake)
    }

    /// The image before the current one: what the channel goes back to.
    ///
    /// A channel that was brought back already has an image that it had before. The one before it then is meant: whoever goes
    /// back a second time wants to get further back, and not to the image that was left.
    pub fn goes_back_to(&self) -> Option<&AmiId> {
        let current = self.current.as_ref().map(|target| &target.image);
        let images = || self.previous.iter().map(|target| &target.image);
        let first = images().rposition(|image| Some(image) == current);
        images().skip(first.unwrap_or_default()).find(|image| Some(*image) != current)
    }

    /// What this bake promoted, if with that the channel moved to another image.
    pub fn moved_by(&self, bake: &BakeId) -> Option<&Target> {
        let mut targets = self.current.iter().chain(&self.previous);
        let target = targets.find(|target| target.bake == *bake)?;
        targets.next().is_none_or(|before| before.image != target.image).then_some(target)
    }

    /// Points at a new target.
    pub(super) fn point(&mut self, target: Target) {
        self.generation += 1;
        self.previous.splice(0..0, self.current.replace(Target { generation: self.generation, ..target }));
        self.previous.truncate(PROMOTIONS);
        let mut images = BTreeSet::new();
        let kept = self.previous.iter().take_while(|target| {
            images.insert(target.image.clone());
            images.len() <= HISTORY
        });
        let kept = kept.count();
        self.previous.truncate(kept);
    }
}

/// What became of a promotion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Promotion {
    /// The channel points at the image.
    Moved,
    /// It already did, by this bake or by one of the same image that is at least as new.
    Unchanged,
    /// It did, before something newer was promoted over it.
    Overtaken,
    /// It points at something newer, and never pointed at this.
    Superseded,
    /// Automation may not promote this to it, and why.
    Closed(String),
}

impl<T: Table> Ledger<'_, T> {
    /// A channel.
    pub async fn channel(&self, pipeline: &PipelineName, name: &ChannelName) -> Result<Option<Channel>> {
        read(self.0.get(&channel_key(pipeline, name)).await?).map(|found| found.map(|(_, channel)| channel))
    }

    /// The channels of a pipeline.
    pub async fn channels(&self, pipeline: &PipelineName) -> Result<Vec<Channel>> {
        self.all(&format!("PIPELINE#{pipeline}"), "CHANNEL#").await
    }

    /// Moves the bake's channel to its image, if that is validated and nothing newer was promoted.
    pub async fn promote(&self, bake: &Bake, now: Timestamp) -> Result<Promotion> {
        let image = bake.image()?;
        let refuse =
            |problem: &str| Error::NotPromotable { image: image.clone(), problem: problem.to_owned() };
        let found = self.image_row(&bake.spec.digest, image).await?;
        let (image_row, record) = found.ok_or_else(|| refuse("no record of it"))?;
        if record.passed(&bake.spec.inputs.tests).is_none() {
            return Err(refuse("it has not passed its tests"));
        }

        let key = channel_key(&bake.spec.pipeline, &bake.spec.settings.channel);
        let row = self.0.get(&key).await?;
        let channel = read::<Channel>(row.clone())?.map(|(_, channel)| channel);
        let mut channel = channel
            .unwrap_or_else(|| Channel::new(bake.spec.pipeline.clone(), bake.spec.settings.channel.clone()));
        let order = bake.spec.order();
        if let Some(current) = &channel.current {
            let age = order.compare(&current.order);
            if current.image == *image && (current.bake == bake.spec.id || age != Ordering::Greater) {
                return Ok(Promotion::Unchanged);
            }
            if channel.previous.iter().any(|target| target.bake == bake.spec.id) {
                return Ok(Promotion::Overtaken);
            }
            if !bake.spec.options.force && age == Ordering::Less {
                return Ok(Promotion::Superseded);
            }
        }
        if let Some(why) = channel.closed_to(image) {
            return Ok(Promotion::Closed(why));
        }
        channel.point(Target {
            image: image.clone(),
            digest: bake.spec.digest.clone(),
            bake: bake.spec.id.clone(),
            order,
            promoted: now,
            generation: 0,
            rollout: None,
            by: None,
            why: None,
        });
        let (doc, index) = (encode(&channel), Index::default());
        let mut writes = vec![
            Write::Put { key, doc, expect: expect(row.as_ref()), index },
            // Written and not only checked: a prune that has found nothing to name the image must see it.
            used(image_row, &record),
        ];
        writes.extend(self.owned_parameter(&bake.spec.destination()).await?);
        self.0.commit(writes).await?;
        Ok(Promotion::Moved)
    }

    /// Takes a bake's promotion back: out of the channel's history too, if something newer was promoted over it.
    pub async fn take_back(&self, bake: &BakeSpec) -> Result<()> {
        let key = channel_key(&bake.pipeline, &bake.settings.channel);
        let Some((row, mut channel)) = read::<Channel>(self.0.get(&key).await?)? else { return Ok(()) };
        if !channel.has(&bake.id) {
            return Ok(());
        }
        channel.previous.retain(|target| target.bake != bake.id);
        if channel.current.as_ref().is_some_and(|current| current.bake == bake.id) {
            channel.current =
                if channel.previous.is_empty() { None } else { Some(channel.previous.remove(0)) };
        }
        channel.generation += 1;
        let (doc, expect, index) = (encode(&channel), Expect::Version(row.version), Index::default());
        self.0.commit(vec![Write::Put { key, doc, expect, index }]).await
    }
}

pub(super) fn channel_key(pipeline: &PipelineName, channel: &ChannelName) -> Key {
    Key { pk: format!("PIPELINE#{pipeline}"), sk: format!("CHANNEL#{channel}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A channel that had these images, the newest first.
    fn had(images: &[u8]) -> Channel {
        let target = |(place, image): (usize, &u8)| {
            json!({"image": format!("ami-0000000{image}"), "digest": "0".repeat(64), "bake": "b",
                "generation": images.len() - place, "promoted": "2026-01-01T00:00:00Z",
                "order": {"uploaded": "2026-01-01T00:00:00Z", "started": "2026-01-01T00:00:00Z"}})
        };
        let mut targets: Vec<_> = images.iter().enumerate().map(target).collect();
        let current = targets.remove(0);
        let channel = json!({"pipeline": "shop", "name": "production", "generation": images.len(),
            "current": current, "previous": targets});
        serde_json::from_value(channel).unwrap()
    }

    #[test]
    fn who_goes_back_twice_gets_further_back_and_never_to_what_was_left() {
        let back = |images: &[u8]| {
            let to = had(images).goes_back_to().map(|image| image.as_str().to_owned());
            to.map(|image| image.trim_start_matches("ami-0000000").parse::<u8>().unwrap())
        };
        assert_eq!(back(&[3, 2, 1]), Some(2));
        assert_eq!(back(&[3, 3, 2, 1]), Some(2), "promoted twice");
        // Back from 3 to 2, and that is bad as well.
        assert_eq!(back(&[2, 3, 2, 1]), Some(1));
        assert_eq!(back(&[1, 2, 3, 2, 1]), None, "there was nothing before it");
        // Back from 3, and forward to 4.
        assert_eq!(back(&[4, 2, 3, 2, 1]), Some(2));
        assert_eq!(back(&[1]), None);
    }
}
