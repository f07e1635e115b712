//! The way back from the last stage: what EC2's Recycle Bin kept of an image.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::Guard;
use crate::{
    domain::{
        bake::Bake,
        error::{Error, Result, Retry},
        id::{AmiId, SnapshotId},
    },
    ports::{Image, PrunePorts},
    store::{Gone, Ledger, Retirement},
};

impl<C: PrunePorts> Guard<'_, C> {
    /// Takes an image out of the Recycle Bin, its snapshots first: EC2 takes no image out whose snapshots aren't whole.
    /// It has its tags then, and is as it was right before it was deregistered: [`Guard::restore`] does the rest.
    pub async fn take_out(&self, id: &AmiId, bake: &Bake, now: Timestamp) -> Result<Image> {
        // Noted first: from here on no run takes the snapshots for leftovers.
        self.begin_return(id, bake, now).await?;
        let snapshots = self.was(id, bake).await?.snapshots;
        for snapshot in self.cloud.binned_snapshots(&snapshots).await? {
            self.cloud.return_snapshot(&snapshot).await?;
        }
        let there = self.cloud.there(&snapshots).await?;
        let whole: BTreeSet<&SnapshotId> = there.iter().filter(|one| one.1).map(|(id, _)| id).collect();
        if let Some(snapshot) = snapshots.iter().find(|snapshot| !whole.contains(snapshot)) {
            return Err(Error::TryAgain { what: format!("snapshot {snapshot}"), why: Retry::Returning });
        }
        self.cloud.return_image(id).await?;
        let found = self.cloud.images(Some(&bake.spec.id)).await?;
        let image = found.into_iter().find(|image| image.id == *id);
        image.ok_or_else(|| Error::TryAgain { what: format!("image {id}"), why: Retry::Returning })
    }

    /// Notes of an image that it comes out of the Recycle Bin, whoever takes it out, unless that is noted.
    pub async fn begin_return(&self, image: &AmiId, bake: &Bake, now: Timestamp) -> Result<()> {
        let ledger = Ledger(self.cloud);
        let read = ledger.retirement(image).await?;
        if super::stages::is_returning(read.as_ref()) {
            return Ok(());
        }
        let retirement = Retirement::returning(self.was(image, bake).await?, now);
        ledger.retire(&retirement, read.as_ref().map(|(row, _)| row), Vec::new()).await
    }

    /// What an image was that is gone, by all that is noted of it.
    async fn was(&self, image: &AmiId, bake: &Bake) -> Result<Gone> {
        let ledger = Ledger(self.cloud);
        let gone = ledger.gone(image).await?.unwrap_or_else(|| Gone {
            image: image.clone(),
            pipeline: bake.spec.pipeline.clone(),
            bake: bake.spec.id.clone(),
            at: bake.spec.started,
            snapshots: bake.progress.snapshots.clone(),
            permissions: Vec::new(),
            set: None,
        });
        // Somebody deregistered it by hand while it was on its way out: what was noted before it was disabled is there.
        Ok(match ledger.retirement(image).await? {
            Some((_, Retirement { permissions, set: Some(set), .. })) => {
                Gone { permissions, set: Some(set), ..gone }
            }
            Some(_) | None => gone,
        })
    }

    /// The name of an image that the Recycle Bin has with all its snapshots; else what is lost of it.
    pub async fn lost(&self, image: &AmiId, bake: &Bake) -> Result<std::result::Result<String, Lost>> {
        let Some(binned) = self.cloud.binned_image(image).await? else { return Ok(Err(Lost::Image)) };
        let snapshots = self.was(image, bake).await?.snapshots;
        let in_bin = self.cloud.binned_snapshots(&snapshots).await?;
        let there = self.cloud.there(&snapshots).await?;
        let is_there = |snapshot: &SnapshotId| there.iter().any(|(id, _)| id == snapshot);
        let lost = snapshots.into_iter().find(|snapshot| !in_bin.contains(snapshot) && !is_there(snapshot));
        Ok(lost.map_or(Ok(binned), |snapshot| Err(Lost::Snapshot(snapshot))))
    }
}

/// What the Recycle Bin lacks of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// The image itself.
    Image,
    /// One of its snapshots: the bin shows the image all the same, and nobody can take it out.
    Snapshot(SnapshotId),
}
