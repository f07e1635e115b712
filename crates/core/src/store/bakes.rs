//! Records of bakes: what every step writes before and after it acts.

use super::{
    images::used,
    ledger::{Ledger, among_others, doc, encode, expect, read},
};
use crate::{
    domain::{
        bake::{Bake, Status},
        error::{Error, Result},
        id::{AmiId, BakeId, PipelineName},
    },
    ports::{Index, Key, Table, Write},
};

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
        among_others(async || {
            let Some(write) = self.saved(bake).await? else { return Ok(()) };
            let image = bake.image()?;
            let gone = || Error::changed(format!("image {image}"));
            let (row, record) = self.image_row(&bake.digest, image).await?.ok_or_else(gone)?;
            self.0.commit(vec![write, used(row, &record)]).await
        })
        .await
    }

    /// The write of the bake's record, if that says something new.
    pub(super) async fn saved(&self, bake: &Bake) -> Result<Option<Write>> {
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

    /// Writes the record of a bake that has ended, and gives its lease back in the same moment: were they two
    /// moments, an execution that dies between them would leave a lease that no prune looks for.
    pub async fn close(&self, bake: &Bake) -> Result<()> {
        let record = self.saved(bake).await?;
        let lease = self.released(&bake.digest, &bake.bake).await?;
        let writes: Vec<Write> = record.into_iter().chain(lease).collect();
        if writes.is_empty() { Ok(()) } else { self.0.commit(writes).await }
    }

    /// The bake that made an image; none when none of ours did.
    pub async fn maker(&self, image: &AmiId) -> Result<Option<Bake>> {
        let rows = self.0.by_image(image).await?.into_iter().filter(|row| row.key.sk.starts_with("BAKE#"));
        let bakes = rows.map(|row| doc::<Bake>(&row)).collect::<Result<Vec<_>>>()?;
        Ok(bakes.into_iter().find(|bake| !bake.reused))
    }
}

pub(super) fn bake_key(pipeline: &PipelineName, bake: &BakeId) -> Key {
    Key { pk: format!("PIPELINE#{pipeline}"), sk: format!("BAKE#{bake}") }
}
