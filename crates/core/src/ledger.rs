//! The table's meaning: bakes, channels, leases and images, and the conditions of every write.

mod family;
mod parameters;
mod records;

use std::cmp::Ordering;

use jiff::{SignedDuration, Timestamp};
use serde::{Serialize, de::DeserializeOwned};

pub use self::{
    family::{Ancestor, Child},
    parameters::ParameterOwner,
    records::{Channel, Claim, ImageRecord, ImageStatus, Lease, Passed, Promotion, Target},
};
use crate::{
    bake::{Bake, Status},
    error::{Error, Result},
    id::{AmiId, BakeId, ChannelName, Digest, PipelineName},
    ports::{Expect, Index, Key, Row, Table, Write},
};

/// The table with its meaning.
#[derive(Debug)]
pub struct Ledger<'a, T>(pub &'a T);

impl<T: Table> Ledger<'_, T> {
    /// The bake's record.
    pub async fn bake(&self, pipeline: &PipelineName, bake: &BakeId) -> Result<Option<Bake>> {
        read(self.0.get(&bake_key(pipeline, bake)).await?).map(|found| found.map(|(_, bake)| bake))
    }

    /// The bakes of a pipeline, newest first.
    pub async fn bakes(&self, pipeline: &PipelineName) -> Result<Vec<Bake>> {
        let mut bakes: Vec<Bake> = self.all(&format!("PIPELINE#{pipeline}"), "BAKE#").await?;
        bakes.sort_by_key(|bake| std::cmp::Reverse(bake.started));
        Ok(bakes)
    }

    /// The bakes on their way, oldest first; and an error for each record of one that can't be read.
    ///
    /// One bad record must not hide the others from prune, which would then clean up after nobody.
    pub async fn running(&self) -> Result<(Vec<Bake>, Vec<Error>)> {
        let (mut bakes, mut unreadable) = (Vec::new(), Vec::new());
        for row in self.0.by_status(Status::Running.as_str()).await? {
            match doc(&row) {
                Ok(bake) => bakes.push(bake),
                Err(error) => unreadable.push(error),
            }
        }
        Ok((bakes, unreadable))
    }

    /// Writes the bake's record, which only its own steps do.
    ///
    /// A bake that has ended stays ended: a function that was still at work when its execution was stopped would else
    /// bring a cancelled bake back to life, and with it a lease and a builder that nobody looks after.
    pub async fn save(&self, bake: &Bake) -> Result<()> {
        match self.saved(bake).await? {
            Some(write) => self.0.commit(vec![write]).await,
            None => Ok(()),
        }
    }

    /// Writes the record of a bake that takes an image that was there already, if that still is its digest's.
    ///
    /// The image's record is written with it: a prune that has found nothing to use the image must see it.
    pub async fn save_reusing(&self, bake: &Bake) -> Result<()> {
        // Fifty bakes may take one image in the same second, and of those that write at once one wins.
        for _ in 1..MOST_CONFLICTS {
            match self.try_save_reusing(bake).await {
                Err(Error::TryAgain { .. }) => {}
                other => return other,
            }
        }
        self.try_save_reusing(bake).await
    }

    async fn try_save_reusing(&self, bake: &Bake) -> Result<()> {
        let Some(write) = self.saved(bake).await? else { return Ok(()) };
        let image = bake.image()?;
        let gone = || Error::TryAgain { what: format!("image {image}") };
        let (row, record) = self.image_row(&bake.digest, image).await?.ok_or_else(gone)?;
        self.0.commit(vec![write, used(row, &record)]).await
    }

    /// The write of the bake's record, if that says something new.
    async fn saved(&self, bake: &Bake) -> Result<Option<Write>> {
        let key = bake_key(&bake.pipeline, &bake.bake);
        let row = self.0.get(&key).await?;
        let doc = encode(bake);
        if row.as_ref().is_some_and(|row| row.doc == doc) {
            return Ok(None);
        }
        if let Some(row) = &row
            && bake.status == Status::Running
        {
            let stored: Bake = self::doc(row)?;
            if stored.status != Status::Running {
                return Err(Error::BakeEnded { bake: stored.bake, status: stored.status });
            }
        }
        let index = Index {
            status: Some((bake.status.as_str().to_owned(), bake.started.to_string())),
            image: bake.image.clone(),
            expires: None,
        };
        Ok(Some(Write::Put { key, doc, expect: expect(row.as_ref()), index }))
    }

    /// Asks for the right to bake a digest. A holder whose execution is over, as `dead` says, holds it no more.
    pub async fn claim(
        &self,
        digest: &Digest,
        bake: &Bake,
        now: Timestamp,
        expires: Timestamp,
        dead: Option<&BakeId>,
    ) -> Result<Claim> {
        let key = lease_key(digest);
        let row = self.0.get(&key).await?;
        let lease = read::<Lease>(row.clone())?.map(|(_, lease)| lease);
        if let Some(lease) = &lease
            && let Some(holder) = &lease.holder
            && *holder != bake.bake
            && Some(holder) != dead
            && lease.expires > now
        {
            return Ok(Claim::Held(holder.clone()));
        }
        let fence = match &lease {
            Some(lease) if lease.holder.as_ref() == Some(&bake.bake) => lease.fence,
            Some(lease) => lease.fence + 1,
            None => 1,
        };
        let lease = Lease { holder: Some(bake.bake.clone()), expires, fence };
        let doc = encode(&lease);
        if row.as_ref().is_none_or(|row| row.doc != doc) {
            let put = Write::Put { key, doc, expect: expect(row.as_ref()), index: Index::default() };
            self.0.commit(vec![put]).await?;
        }
        Ok(Claim::Granted(fence))
    }

    /// Who holds the digest's lease at this moment.
    pub async fn holder(&self, digest: &Digest, now: Timestamp) -> Result<Option<BakeId>> {
        let lease = read::<Lease>(self.0.get(&lease_key(digest)).await?)?;
        Ok(lease.and_then(|(_, lease)| lease.holder.filter(|_| lease.expires > now)))
    }

    /// Gives the lease back. Its fencing number stays, so that it never goes down.
    pub async fn release(&self, digest: &Digest, bake: &BakeId) -> Result<()> {
        match self.released(digest, bake).await? {
            Some(write) => self.0.commit(vec![write]).await,
            None => Ok(()),
        }
    }

    /// Writes the record of a bake that has ended, and gives its lease back in the same moment: were they two
    /// moments, an execution that dies between them would leave a lease that no prune looks for.
    pub async fn close(&self, bake: &Bake) -> Result<()> {
        let record = self.saved(bake).await?;
        let lease = self.released(&bake.digest, &bake.bake).await?;
        let writes: Vec<Write> = record.into_iter().chain(lease).collect();
        if writes.is_empty() { Ok(()) } else { self.0.commit(writes).await }
    }

    /// The write that gives the bake's lease back, if it holds one.
    async fn released(&self, digest: &Digest, bake: &BakeId) -> Result<Option<Write>> {
        let key = lease_key(digest);
        let Some((row, lease)) = read::<Lease>(self.0.get(&key).await?)? else { return Ok(None) };
        if lease.holder.as_ref() != Some(bake) {
            return Ok(None);
        }
        let doc = encode(&Lease { holder: None, ..lease });
        let expect = Expect::Version(row.version);
        Ok(Some(Write::Put { key, doc, expect, index: Index::default() }))
    }

    /// The digest's image.
    pub async fn image(&self, digest: &Digest) -> Result<Option<ImageRecord>> {
        read(self.0.get(&image_key(digest)).await?).map(|found| found.map(|(_, record)| record))
    }

    /// Records the digest's image, in the same moment as the bake holds the lease under its own fencing number.
    pub async fn record_image(&self, digest: &Digest, record: &ImageRecord) -> Result<()> {
        let lease = self.held(digest, &record.bake, record.fence).await?;
        let row = self.0.get(&image_key(digest)).await?;
        let before = read::<ImageRecord>(row.clone())?.map(|(_, before)| before);
        let uses = before.filter(|before| before.image == record.image).map_or(0, |one| one.uses);
        self.write_image(digest, &ImageRecord { uses, ..record.clone() }, row, lease).await
    }

    /// Records that an image that was there already passed the bake's tests, too, on the same condition.
    pub async fn record_passed(&self, bake: &Bake, passed: Passed) -> Result<()> {
        let lease = self.held(&bake.digest, &bake.bake, bake.fence).await?;
        let row = self.0.get(&image_key(&bake.digest)).await?;
        let image = bake.image()?;
        let found = read::<ImageRecord>(row)?.filter(|(_, record)| record.image == *image);
        let (row, mut record) = found.ok_or_else(|| Error::NotPromotable {
            image: image.clone(),
            problem: "another image of its digest took its place".into(),
        })?;
        record.pass(passed);
        self.write_image(&bake.digest, &record, Some(row), lease).await
    }

    /// The check that the bake holds the lease, for the write that depends on it.
    async fn held(&self, digest: &Digest, bake: &BakeId, fence: u64) -> Result<Write> {
        let key = lease_key(digest);
        let lost = || Error::LeaseLost { bake: bake.clone() };
        let (row, lease) = read::<Lease>(self.0.get(&key).await?)?.ok_or_else(lost)?;
        if lease.holder.as_ref() != Some(bake) || lease.fence != fence {
            return Err(lost());
        }
        Ok(Write::Check { key, expect: Expect::Version(row.version) })
    }

    async fn write_image(
        &self,
        digest: &Digest,
        record: &ImageRecord,
        row: Option<Row>,
        lease: Write,
    ) -> Result<()> {
        let doc = encode(record);
        if row.as_ref().is_some_and(|row| row.doc == doc) {
            return Ok(());
        }
        let index = Index { image: Some(record.image.clone()), ..Index::default() };
        let key = image_key(digest);
        self.0.commit(vec![Write::Put { key, doc, expect: expect(row.as_ref()), index }, lease]).await
    }

    /// The bake that made an image; none when none of ours did.
    pub async fn maker(&self, image: &AmiId) -> Result<Option<Bake>> {
        let rows = self.0.by_image(image).await?.into_iter().filter(|row| row.key.sk.starts_with("BAKE#"));
        let bakes = rows.map(|row| doc::<Bake>(&row)).collect::<Result<Vec<_>>>()?;
        Ok(bakes.into_iter().find(|bake| !bake.reused))
    }

    /// The record of the digest's image as read, if it is this image.
    pub(crate) async fn image_row(
        &self,
        digest: &Digest,
        image: &AmiId,
    ) -> Result<Option<(Row, ImageRecord)>> {
        let found = read::<ImageRecord>(self.0.get(&image_key(digest)).await?)?;
        Ok(found.filter(|(_, record)| record.image == *image))
    }

    /// Removes an image's record, if nobody wrote it since it was read.
    pub(crate) async fn forget_row(&self, row: &Row) -> Result<()> {
        let expect = Expect::Version(row.version);
        self.0.commit(vec![Write::Delete { key: row.key.clone(), expect }]).await
    }

    /// Removes the record of the digest's image if it still is this one, which EC2 no longer has.
    pub async fn forget_image(&self, digest: &Digest, image: &AmiId) -> Result<()> {
        match self.image_row(digest, image).await? {
            Some((row, _)) => self.forget_row(&row).await,
            None => Ok(()),
        }
    }

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
        let image_key = image_key(&bake.digest);
        let (image_row, record) =
            read::<ImageRecord>(self.0.get(&image_key).await?)?.ok_or_else(|| refuse("no record of it"))?;
        if record.image != *image {
            return Err(refuse("another image of its digest took its place"));
        }
        if record.passed(&bake.inputs.tests).is_none() {
            return Err(refuse("it has not passed its tests"));
        }

        let key = channel_key(&bake.pipeline, &bake.settings.channel);
        let row = self.0.get(&key).await?;
        let channel = read::<Channel>(row.clone())?.map(|(_, channel)| channel);
        let mut channel = channel.unwrap_or_else(|| Channel {
            pipeline: bake.pipeline.clone(),
            name: bake.settings.channel.clone(),
            current: None,
            previous: Vec::new(),
            generation: 0,
        });
        let order = bake.order();
        if let Some(current) = &channel.current {
            let age = order.compare(&current.order);
            if current.image == *image && (current.bake == bake.bake || age != Ordering::Greater) {
                return Ok(Promotion::Unchanged);
            }
            if channel.previous.iter().any(|target| target.bake == bake.bake) {
                return Ok(Promotion::Overtaken);
            }
            if !bake.options.force && age == Ordering::Less {
                return Ok(Promotion::Superseded);
            }
        }
        channel.point(Target {
            image: image.clone(),
            digest: bake.digest.clone(),
            bake: bake.bake.clone(),
            order,
            promoted: now,
            generation: 0,
        });
        let index = Index { image: Some(image.clone()), ..Index::default() };
        let mut writes = vec![
            Write::Put { key, doc: encode(&channel), expect: expect(row.as_ref()), index },
            // Written and not only checked: a prune that has found nothing to name the image must see it.
            used(image_row, &record),
        ];
        writes.extend(self.owned_parameter(bake).await?);
        self.0.commit(writes).await?;
        Ok(Promotion::Moved)
    }

    /// Takes a bake's promotion back: out of the channel's history too, if something newer was promoted over it.
    pub async fn take_back(&self, bake: &Bake) -> Result<()> {
        let key = channel_key(&bake.pipeline, &bake.settings.channel);
        let Some((row, mut channel)) = read::<Channel>(self.0.get(&key).await?)? else { return Ok(()) };
        if !channel.has(&bake.bake) {
            return Ok(());
        }
        channel.previous.retain(|target| target.bake != bake.bake);
        if channel.current.as_ref().is_some_and(|current| current.bake == bake.bake) {
            channel.current =
                if channel.previous.is_empty() { None } else { Some(channel.previous.remove(0)) };
        }
        channel.generation += 1;
        let index =
            Index { image: channel.current.as_ref().map(|target| target.image.clone()), ..Index::default() };
        let expect = Expect::Version(row.version);
        self.0.commit(vec![Write::Put { key, doc: encode(&channel), expect, index }]).await
    }

    async fn all<D: DeserializeOwned>(&self, pk: &str, prefix: &str) -> Result<Vec<D>> {
        self.0.list(pk, prefix).await?.iter().map(doc).collect()
    }
}

/// How often one call tries a write that others may make at the same time.
pub(crate) const MOST_CONFLICTS: usize = 8;

/// A lease lasts this long beyond the deadline of the stage it covers: time for the step to be retried.
pub fn lease_end(now: Timestamp, stage_seconds: i64) -> Timestamp {
    now + SignedDuration::from_secs(stage_seconds + 600)
}

/// The write that counts one use more of an image, if nobody wrote its record since it was read.
fn used(row: Row, record: &ImageRecord) -> Write {
    Write::Put {
        key: row.key,
        doc: encode(&ImageRecord { uses: record.uses + 1, ..record.clone() }),
        expect: Expect::Version(row.version),
        index: Index { image: Some(record.image.clone()), ..Index::default() },
    }
}

fn bake_key(pipeline: &PipelineName, bake: &BakeId) -> Key {
    Key { pk: format!("PIPELINE#{pipeline}"), sk: format!("BAKE#{bake}") }
}

fn channel_key(pipeline: &PipelineName, channel: &ChannelName) -> Key {
    Key { pk: format!("PIPELINE#{pipeline}"), sk: format!("CHANNEL#{channel}") }
}

fn lease_key(digest: &Digest) -> Key {
    Key { pk: format!("DIGEST#{digest}"), sk: "LEASE".to_owned() }
}

fn image_key(digest: &Digest) -> Key {
    Key { pk: format!("DIGEST#{digest}"), sk: "IMAGE".to_owned() }
}

fn expect(row: Option<&Row>) -> Expect {
    row.map_or(Expect::Absent, |row| Expect::Version(row.version))
}

fn encode(doc: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(doc).unwrap_or_else(|_| unreachable!("our documents have string keys only"))
}

fn doc<D: DeserializeOwned>(row: &Row) -> Result<D> {
    serde_json::from_value(row.doc.clone())
        .map_err(|source| Error::Corrupt { what: format!("item {} {}", row.key.pk, row.key.sk), source })
}

fn read<D: DeserializeOwned>(row: Option<Row>) -> Result<Option<(Row, D)>> {
    row.map(|row| doc(&row).map(|doc| (row, doc))).transpose()
}
