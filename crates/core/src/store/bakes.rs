//! Records of bakes: what every step writes before and after it acts.

use std::collections::BTreeSet;

use super::{
    images::taken,
    ledger::{Ledger, among_others, doc, encode, expect, read},
    versioned::Versioned,
};
use crate::{
    domain::{
        bake::{Bake, Status},
        error::{Error, Result},
        id::{AmiId, BakeId, PipelineName},
    },
    ports::{Index, Key, Row, Table, Write},
};

/// So many records are read at once.
const PORTION: usize = 100;

impl<T: Table> Ledger<'_, T> {
    /// The bake's record.
    pub async fn bake(&self, pipeline: &PipelineName, bake: &BakeId) -> Result<Option<Versioned<Bake>>> {
        let found = read(self.0.get(&bake_key(pipeline, bake)).await?)?;
        Ok(found.map(|(row, bake)| Versioned::read(row, bake)))
    }

    /// The records of these bakes, those that there are; and an error for each that can't be read.
    ///
    /// Read in portions: an account has ten thousand bakes, and their records as they are in the table take much room.
    pub async fn bakes_of(
        &self,
        bakes: &BTreeSet<(PipelineName, BakeId)>,
    ) -> Result<(Vec<Bake>, Vec<Error>)> {
        let keys: Vec<Key> = bakes.iter().map(|(pipeline, bake)| bake_key(pipeline, bake)).collect();
        let (mut found, mut unreadable) = (Vec::new(), Vec::new());
        for keys in keys.chunks(PORTION) {
            for row in self.0.rows(keys).await? {
                match doc(&row) {
                    Ok(bake) => found.push(bake),
                    Err(error) => unreadable.push(error),
                }
            }
        }
        Ok((found, unreadable))
    }

    /// So many bakes of a pipeline, the newest first.
    ///
    /// What the first stage recorded is in no index by time. It is read when the others are too few.
    pub async fn bakes(&self, pipeline: &PipelineName, most: usize) -> Result<Vec<Bake>> {
        let rows = self.0.by_time(pipeline, most).await?;
        let mut bakes: Vec<Bake> = rows.iter().map(doc).collect::<Result<_>>()?;
        if bakes.len() < most {
            bakes = self.all(&format!("PIPELINE#{pipeline}"), "BAKE#").await?;
            bakes.sort_by_key(|bake| std::cmp::Reverse(bake.spec.started));
            bakes.truncate(most);
        }
        Ok(bakes)
    }

    /// So many of a pipeline's newest bakes, the newest first, at the price of one question.
    ///
    /// The first stage's bakes are in no index by time: they are told of only as long as the pipeline has no other.
    pub async fn newest_bakes(&self, pipeline: &PipelineName, most: usize) -> Result<Vec<Bake>> {
        let rows = self.0.by_time(pipeline, most).await?;
        if rows.is_empty() {
            return self.bakes(pipeline, most).await;
        }
        rows.iter().map(doc).collect()
    }

    /// The bakes of a pipeline whose ids begin so; the id itself is the longest beginning.
    pub async fn bakes_like(&self, pipeline: &PipelineName, beginning: &BakeId) -> Result<Vec<Bake>> {
        self.all(&format!("PIPELINE#{pipeline}"), &format!("BAKE#{beginning}")).await
    }

    /// The bakes on their way, oldest first; and an error for each record of one that can't be read.
    ///
    /// One bad record must not hide the others from prune, which would then clean up after nobody.
    ///
    /// What is safe to destroy rests on this, and an index lags. So it only says which records to read, as the list of those
    /// that have a builder does, which doesn't lag. A bake that has just begun without one may be missing: what it is about
    /// to take names it (see [`ImageSet::takers`](super::ImageSet::takers)).
    pub async fn running(&self) -> Result<(Vec<Bake>, Vec<Error>)> {
        let (mut bakes, mut unreadable) = (Vec::new(), Vec::new());
        let indexed = self.0.by_status(Status::Running.as_str()).await?;
        let at_work = self.with_builders().await?;
        let at_work = at_work.iter().map(|turn| bake_key(&turn.pipeline, &turn.bake));
        let keys: BTreeSet<Key> = indexed.into_iter().map(|row| row.key).chain(at_work).collect();
        for keys in keys.into_iter().collect::<Vec<_>>().chunks(PORTION) {
            for row in self.0.rows(keys).await? {
                match doc::<Bake>(&row) {
                    Ok(bake) if bake.progress.status == Status::Running => bakes.push(bake),
                    Ok(_) => {}
                    Err(error) => unreadable.push(error),
                }
            }
        }
        bakes.sort_by_key(|bake| bake.spec.started);
        Ok((bakes, unreadable))
    }

    /// Writes the bake's record, if it says something new and nobody else wrote it since it was read.
    ///
    /// A bake that has ended stays ended: a function that was still at work when its execution was stopped would else
    /// bring a cancelled bake back to life, and with it a lease and a builder that nobody looks after.
    pub async fn save(&self, bake: &mut Versioned<Bake>) -> Result<()> {
        self.save_with(bake, Vec::new()).await
    }

    /// Writes the record of a bake that takes an image that was there already, if that still is its digest's.
    ///
    /// The image's record is written with it and names the bake: a prune that has found nothing to use the image must see
    /// it.
    pub async fn save_reusing(&self, bake: &mut Versioned<Bake>) -> Result<()> {
        if changed(bake)?.is_none() {
            return Ok(());
        }
        let image = bake.image()?.clone();
        // Another bake may take the same image at this moment.
        among_others(async || {
            let used = self.use_of(bake, &image).await?;
            self.save_with(bake, vec![used]).await
        })
        .await
    }

    async fn use_of(&self, bake: &Bake, image: &AmiId) -> Result<Write> {
        let found = self.image_row(&bake.spec.digest, image).await?;
        let (row, record) = found.ok_or_else(|| Error::changed(format!("image {image}")))?;
        Ok(taken(row, &record, bake))
    }

    /// Writes the record of a bake that has ended, and gives its lease and its turn back in the same moment: were they
    /// two moments, an execution that dies between them would leave a lease that no prune looks for.
    pub async fn close(&self, bake: &mut Versioned<Bake>) -> Result<()> {
        // Every bake's turn is in one item: others end at this moment, too.
        among_others(async || {
            let mut others = self.turn_given_back(&bake.spec).await?;
            others.extend(self.released(&bake.spec.digest, &bake.spec.id).await?);
            self.save_with(bake, others).await
        })
        .await
    }

    /// Writes the bake's record, if it says something new, in one moment with the others.
    async fn save_with(&self, bake: &mut Versioned<Bake>, mut others: Vec<Write>) -> Result<()> {
        let Some(doc) = changed(bake)? else {
            return if others.is_empty() { Ok(()) } else { self.0.commit(others).await };
        };
        let key = bake_key(&bake.spec.pipeline, &bake.spec.id);
        let index = Index {
            status: Some((bake.progress.status.as_str().to_owned(), bake.spec.started.to_string())),
            image: bake.progress.image.clone(),
            time: Some((bake.spec.pipeline.clone(), bake.spec.started)),
            expires: bake.progress.forgotten,
        };
        let expect = expect(bake.row.as_ref());
        others.insert(0, Write::Put { key: key.clone(), doc: doc.clone(), expect, index });
        self.0.commit(others).await?;
        let version = bake.row.as_ref().map_or(0, |row| row.version) + 1;
        bake.row = Some(Row { key, version, doc });
        Ok(())
    }

    /// The bake that made an image; none when none of ours did.
    pub async fn maker(&self, image: &AmiId) -> Result<Option<Bake>> {
        let rows = self.0.by_image(image).await?.into_iter().filter(|row| row.key.sk.starts_with("BAKE#"));
        let bakes = rows.map(|row| doc::<Bake>(&row)).collect::<Result<Vec<_>>>()?;
        Ok(bakes.into_iter().find(|bake| !bake.progress.reused))
    }
}

/// What is to be written of a record; none when the table has it already. An error when the bake has ended.
fn changed(bake: &Versioned<Bake>) -> Result<Option<serde_json::Value>> {
    let doc = encode(&**bake);
    let Some(row) = &bake.row else { return Ok(Some(doc)) };
    if row.doc == doc {
        return Ok(None);
    }
    let stored: Bake = self::doc(row)?;
    match stored.progress.status {
        Status::Running => Ok(Some(doc)),
        _ if bake.progress.status == Status::Running => {
            Err(Error::BakeEnded { bake: stored.spec.id, status: stored.progress.status })
        }
        Status::Promoted | Status::Validated | Status::Superseded | Status::Failed | Status::Cancelled => {
            Ok(Some(doc))
        }
    }
}

pub(super) fn bake_key(pipeline: &PipelineName, bake: &BakeId) -> Key {
    Key { pk: format!("PIPELINE#{pipeline}"), sk: format!("BAKE#{bake}") }
}
