//! Rollouts: their records, and the channel's fields that say which one is under way.
//!
//! A channel names its rollout in the same transaction that makes the rollout's record. So there is no rollout that the
//! channel doesn't know, and no image on its way that a prune can't see.

use jiff::Timestamp;

use super::{
    channels::{Channel, Hold, Rejected, Rolling, Target, channel_key},
    images::used,
    ledger::{Ledger, doc, encode, expect, read},
    versioned::Versioned,
};
use crate::{
    domain::{
        destination::Destination,
        error::{Error, Result},
        id::{AmiId, ChannelName, Digest, PipelineName, RolloutId},
        rollout::{Outcome, Phase, Progress, Rollout, RolloutSpec},
    },
    ports::{Expect, Index, Key, Row, Table, Write},
};

/// So many rejected images a channel remembers.
const REJECTED: usize = 50;

/// What became of the wish to roll an image out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rolled {
    /// This rollout is the channel's, and is to be started.
    Begins(RolloutId),
    /// It comes after the one that is under way.
    Waits(RolloutId),
    /// The channel has the image already.
    Unchanged,
    /// Something newer is the channel's, or on its way there.
    Superseded,
    /// Automation may not promote this to it, and why.
    Closed(String),
}

/// On whose word an image is rolled out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asker {
    /// A bake: it heeds holds, rejections and the order of versions.
    Bake {
        /// Whether older versions may take the place of newer ones.
        force: bool,
    },
    /// A person, whose word ends a hold.
    Person {
        /// What holds the channel from now on: after a rollback, automation must not undo it.
        hold: Option<Hold>,
    },
}

impl<T: Table> Ledger<'_, T> {
    /// A rollout's record.
    pub async fn rollout(
        &self,
        pipeline: &PipelineName,
        id: &RolloutId,
    ) -> Result<Option<Versioned<Rollout>>> {
        let found = read(self.0.get(&rollout_key(pipeline, id)).await?)?;
        Ok(found.map(|(row, rollout)| Versioned::read(row, rollout)))
    }

    /// The rollouts of a pipeline, the newest first.
    pub async fn rollouts(&self, pipeline: &PipelineName) -> Result<Vec<Rollout>> {
        let mut all: Vec<Rollout> = self.all(&format!("PIPELINE#{pipeline}"), "ROLLOUT#").await?;
        all.sort_by_key(|rollout| std::cmp::Reverse(rollout.progress.began));
        Ok(all)
    }

    /// Writes a rollout's record, if nobody else wrote it since it was read.
    pub async fn save_rollout(&self, rollout: &mut Versioned<Rollout>) -> Result<()> {
        let (key, doc) = (rollout_key(&rollout.spec.to.pipeline, &rollout.spec.id), encode(&**rollout));
        if rollout.row.as_ref().is_some_and(|row| row.doc == doc) {
            return Ok(());
        }
        let expect = expect(rollout.row.as_ref());
        self.0
            .commit(vec![Write::Put { key: key.clone(), doc: doc.clone(), expect, index: Index::default() }])
            .await?;
        let version = rollout.row.as_ref().map_or(0, |row| row.version) + 1;
        rollout.row = Some(Row { key, version, doc });
        Ok(())
    }

    /// Makes a rollout the channel's, or the one that comes next.
    pub async fn roll(
        &self,
        spec: &RolloutSpec,
        tests: Option<&Digest>,
        asker: Asker,
        now: Timestamp,
    ) -> Result<Rolled> {
        let refuse =
            |problem: &str| Error::NotPromotable { image: spec.image.clone(), problem: problem.to_owned() };
        let found = self.image_row(&spec.digest, &spec.image).await?;
        let (image_row, record) = found.ok_or_else(|| refuse("no record of it"))?;
        let passed = match tests {
            Some(tests) => record.passed(tests).is_some(),
            None => !record.passed.is_empty(),
        };
        if !passed {
            return Err(refuse("it has not passed its tests"));
        }
        let (row, mut channel) = self.channel_or_new(&spec.to.pipeline, &spec.to.channel).await?;
        for (one, answer) in [
            (&channel.rolling, Rolled::Begins(spec.id.clone())),
            (&channel.waiting, Rolled::Waits(spec.id.clone())),
        ] {
            if one.as_ref().is_some_and(|one| one.rollout == spec.id) {
                return Ok(answer);
            }
        }
        // An earlier try of the same wish, which has ended meanwhile.
        if let Some(earlier) = self.rollout(&spec.to.pipeline, &spec.id).await? {
            return Ok(match earlier.progress.outcome {
                Some(Outcome::Settled) => Rolled::Unchanged,
                _ => Rolled::Superseded,
            });
        }
        let points = channel.current.as_ref().is_some_and(|current| current.image == spec.image);
        if points && channel.rolling.is_none() {
            return Ok(Rolled::Unchanged);
        }
        match asker {
            Asker::Bake { force } => {
                if let Some(why) = channel.closed_to(&spec.image) {
                    return Ok(Rolled::Closed(why));
                }
                if !force && channel.is_ahead_of(&spec.order) {
                    return Ok(Rolled::Superseded);
                }
            }
            Asker::Person { hold } => channel.hold = hold,
        }
        let rolling =
            Rolling { rollout: spec.id.clone(), image: spec.image.clone(), order: spec.order.clone() };
        let key = rollout_key(&spec.to.pipeline, &spec.id);
        let rollout = Rollout { spec: spec.clone(), progress: Progress::new(now) };
        let mut writes = vec![
            Write::Put { key, doc: encode(&rollout), expect: Expect::Absent, index: Index::default() },
            // Written and not only checked: a prune that has found nothing to name the image must see it.
            used(image_row, &record),
        ];
        let answer = if channel.rolling.is_none() {
            channel.rolling = Some(rolling);
            Rolled::Begins(spec.id.clone())
        } else {
            if let Some(other) = channel.waiting.replace(rolling) {
                writes.extend(self.outdated(&spec.to.pipeline, &other.rollout, now).await?);
            }
            Rolled::Waits(spec.id.clone())
        };
        writes.push(put_channel(&channel, row.as_ref()));
        writes.extend(self.owned_parameter(&spec.to).await?);
        self.0.commit(writes).await?;
        Ok(answer)
    }

    /// Lets the channel point at the image of its rollout. The rollout stays the channel's until it has ended. Gives the
    /// image that the channel had before.
    pub async fn settle(&self, spec: &RolloutSpec, now: Timestamp) -> Result<Option<AmiId>> {
        let (row, mut channel) = self.channel_or_new(&spec.to.pipeline, &spec.to.channel).await?;
        own(&channel, spec)?;
        if channel.current.as_ref().is_some_and(|current| current.rollout.as_ref() == Some(&spec.id)) {
            return Ok(channel.previous.first().map(|before| before.image.clone()));
        }
        let previous = channel.current.as_ref().map(|before| before.image.clone());
        let image = self.image_row(&spec.digest, &spec.image).await?;
        let (image_row, record) = image.ok_or_else(|| Error::NotPromotable {
            image: spec.image.clone(),
            problem: "no record of it".into(),
        })?;
        channel.point(Target {
            image: spec.image.clone(),
            digest: spec.digest.clone(),
            bake: spec.bake.clone(),
            order: spec.order.clone(),
            promoted: now,
            generation: 0,
            rollout: Some(spec.id.clone()),
            by: Some(spec.by.clone()),
            why: spec.why.clone(),
        });
        let mut writes = vec![put_channel(&channel, row.as_ref()), used(image_row, &record)];
        writes.extend(self.owned_parameter(&spec.to).await?);
        self.0.commit(writes).await?;
        Ok(previous)
    }

    /// Takes the image of a rollout out of its channel again, if the channel points at it.
    pub async fn unsettle(&self, spec: &RolloutSpec) -> Result<()> {
        let (row, mut channel) = self.channel_or_new(&spec.to.pipeline, &spec.to.channel).await?;
        let ours = |target: &Target| target.rollout.as_ref() == Some(&spec.id);
        if !channel.current.as_ref().is_some_and(ours) {
            return Ok(());
        }
        channel.current = if channel.previous.is_empty() { None } else { Some(channel.previous.remove(0)) };
        channel.generation += 1;
        self.0.commit(vec![put_channel(&channel, row.as_ref())]).await
    }

    /// Ends a rollout in its channel, and gives the one that comes next.
    ///
    /// A bad image is rejected: automation never promotes it to this channel again. One that went back for another reason
    /// is not: the next bake may reuse it.
    pub async fn leave(&self, rollout: &Rollout, now: Timestamp) -> Result<Option<RolloutId>> {
        let spec = &rollout.spec;
        let (row, mut channel) = self.channel_or_new(&spec.to.pipeline, &spec.to.channel).await?;
        if channel.rolling.as_ref().is_none_or(|rolling| rolling.rollout != spec.id) {
            // An earlier try did it, and what follows may not have been started.
            return Ok(channel.rolling.map(|rolling| rolling.rollout));
        }
        let went_back = match rollout.progress.outcome {
            Some(Outcome::Reverted | Outcome::Left) => true,
            Some(Outcome::Settled | Outcome::Aborted | Outcome::Refused) | None => false,
        };
        let rejects = went_back && !rollout.progress.aborted && !rollout.progress.blameless;
        if rejects {
            let why = rollout.progress.reason.clone().unwrap_or_default();
            channel.rejected.retain(|one| one.image != spec.image);
            channel.rejected.insert(0, Rejected { image: spec.image.clone(), why, at: now });
            channel.rejected.truncate(REJECTED);
        }
        channel.rolling = channel.waiting.take();
        self.0.commit(vec![put_channel(&channel, row.as_ref())]).await?;
        Ok(channel.rolling.map(|rolling| rolling.rollout))
    }

    /// Takes a rollout that changed nothing yet out of its channel: the bake that asked for it failed. Gives the
    /// channel's rollout that has not begun either, and which nobody else may start; a second try gives it again.
    pub async fn withdraw(
        &self,
        pipeline: &PipelineName,
        id: &RolloutId,
        now: Timestamp,
    ) -> Result<Option<RolloutId>> {
        let Some(rollout) = self.rollout(pipeline, id).await? else { return Ok(None) };
        let (row, mut channel) = self.channel_or_new(pipeline, &rollout.spec.to.channel).await?;
        match rollout.progress.phase {
            Phase::Preflight => {}
            Phase::Ended => return Ok(channel.rolling.map(|rolling| rolling.rollout)),
            Phase::Stage
            | Phase::Watch
            | Phase::Paused
            | Phase::Settling
            | Phase::Keeping
            | Phase::Reverting => return Ok(None),
        }
        let ours = |one: &Option<Rolling>| one.as_ref().is_some_and(|one| one.rollout == *id);
        if ours(&channel.waiting) {
            channel.waiting = None;
        }
        if ours(&channel.rolling) {
            channel.rolling = channel.waiting.take();
        }
        let key = rollout_key(pipeline, id);
        let mut ended = Rollout::clone(&rollout);
        ended.progress.reason = Some("the bake that asked for it failed".into());
        ended.progress.end(Outcome::Refused, now);
        let expect = expect(rollout.row.as_ref());
        let record = Write::Put { key, doc: encode(&ended), expect, index: Index::default() };
        self.0.commit(vec![record, put_channel(&channel, row.as_ref())]).await?;
        Ok(channel.rolling.map(|rolling| rolling.rollout))
    }

    /// Holds a channel: automation promotes nothing to it. Or releases it.
    pub async fn hold(&self, pipeline: &PipelineName, name: &ChannelName, hold: Option<Hold>) -> Result<()> {
        let (row, mut channel) = self.channel_or_new(pipeline, name).await?;
        if row.is_none() {
            return Err(Error::bad_input(
                format!("channel `{pipeline}/{name}`"),
                "does not exist",
                "See `ovenbird channels`",
            ));
        }
        channel.hold = hold;
        self.0.commit(vec![put_channel(&channel, row.as_ref())]).await
    }

    /// Says that an image is good for a channel after all.
    pub async fn accept(&self, to: &Destination, image: &AmiId) -> Result<()> {
        let (row, mut channel) = self.channel_or_new(&to.pipeline, &to.channel).await?;
        let before = channel.rejected.len();
        channel.rejected.retain(|one| one.image != *image);
        if channel.rejected.len() == before {
            return Ok(());
        }
        self.0.commit(vec![put_channel(&channel, row.as_ref())]).await
    }

    async fn channel_or_new(
        &self,
        pipeline: &PipelineName,
        name: &ChannelName,
    ) -> Result<(Option<Row>, Channel)> {
        let row = self.0.get(&channel_key(pipeline, name)).await?;
        let channel = row.as_ref().map(doc::<Channel>).transpose()?;
        Ok((row, channel.unwrap_or_else(|| Channel::new(pipeline.clone(), name.clone()))))
    }

    /// The write by which a rollout that never began says that something newer took its place.
    async fn outdated(
        &self,
        pipeline: &PipelineName,
        id: &RolloutId,
        now: Timestamp,
    ) -> Result<Option<Write>> {
        let key = rollout_key(pipeline, id);
        let Some((row, mut rollout)) = read::<Rollout>(self.0.get(&key).await?)? else { return Ok(None) };
        rollout.progress.reason = Some("something newer was promoted before its turn came".into());
        rollout.progress.end(Outcome::Refused, now);
        Ok(Some(Write::Put {
            key,
            doc: encode(&rollout),
            expect: Expect::Version(row.version),
            index: Index::default(),
        }))
    }
}

/// Refuses to move a channel for a rollout that isn't the channel's any more.
fn own(channel: &Channel, spec: &RolloutSpec) -> Result<()> {
    if channel.rolling.as_ref().is_some_and(|rolling| rolling.rollout == spec.id) {
        return Ok(());
    }
    Err(Error::NotPromotable {
        image: spec.image.clone(),
        problem: format!("rollout {} is not the one of channel {}", spec.id, spec.to.name()),
    })
}

fn put_channel(channel: &Channel, row: Option<&Row>) -> Write {
    Write::Put {
        key: channel_key(&channel.pipeline, &channel.name),
        doc: encode(channel),
        expect: expect(row),
        index: Index::default(),
    }
}

fn rollout_key(pipeline: &PipelineName, id: &RolloutId) -> Key {
    Key { pk: format!("PIPELINE#{pipeline}"), sk: format!("ROLLOUT#{id}") }
}
