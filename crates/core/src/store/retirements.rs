//! Which images are being retired, how far, and what it takes to undo that; also of those that are gone.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    images::{ImageSet, image_key, put_back},
    ledger::{Ledger, encode, expect, read},
};
use crate::{
    domain::{
        error::Result,
        id::{AmiId, BakeId, PipelineName, SnapshotId},
        retirement::{Retiring, Since},
    },
    ports::{Expect, Index, Key, Permission, Row, Table, Write},
};

/// All of them are in one partition: prune reads them all at once.
const PARTITION: &str = "RETIREMENTS";

/// What every sort key begins with: DynamoDB takes no empty prefix.
const PREFIX: &str = "RETIREMENT#";

/// An image on its way out, or taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retirement {
    /// The image.
    pub image: AmiId,
    /// Its pipeline.
    pub pipeline: PipelineName,
    /// The bake that made it.
    pub bake: BakeId,
    /// How far it is.
    pub stage: Retiring,
    /// Since when.
    pub since: Timestamp,
    /// Who could start it before it was disabled: EC2 forgets that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub permissions: Vec<Permission>,
    /// Its record before it was disabled. From then on it has none, and so no bake reuses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<ImageSet>,
}

/// An image that was deregistered, and what it takes to have it as it was before its retirement, if a Recycle Bin kept it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// The image.
    pub image: AmiId,
    /// Its pipeline.
    pub pipeline: PipelineName,
    /// The bake that made it.
    pub bake: BakeId,
    /// When it was deregistered.
    pub at: Timestamp,
    /// The snapshots that it had.
    pub snapshots: Vec<SnapshotId>,
    /// Who could start it before it was disabled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub permissions: Vec<Permission>,
    /// Its record before its retirement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<ImageSet>,
}

/// So long it is known how a deregistered image was: a Recycle Bin keeps nothing for more than a year.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(400 * 24);

/// For so long a note that an image goes needs no other one. An undo waits much longer for what is noted to be done.
const A_MOMENT: SignedDuration = SignedDuration::from_mins(5);

impl Retirement {
    /// One of an image that comes out of the Recycle Bin.
    pub fn returning(gone: Gone, now: Timestamp) -> Self {
        let Gone { image, pipeline, bake, at: _, snapshots: _, permissions, set } = gone;
        Self { image, pipeline, bake, stage: Retiring::Returning, since: now, permissions, set }
    }

    /// The write of it as it was read: whoever read it before that can't write it any more.
    pub(crate) fn rewritten(&self, row: Row) -> Write {
        let (doc, index) = (encode(self), Index::default());
        Write::Put { key: row.key, doc, expect: Expect::Version(row.version), index }
    }

    /// How far it is, and since when.
    pub fn since(&self) -> Since {
        Since { stage: self.stage, since: self.since }
    }
}

impl<T: Table> Ledger<'_, T> {
    /// Every image on its way out, or taken back.
    pub async fn retirements(&self) -> Result<Vec<Retirement>> {
        self.all(PARTITION, PREFIX).await
    }

    /// One image's, as read.
    pub(crate) async fn retirement(&self, image: &AmiId) -> Result<Option<(Row, Retirement)>> {
        read(self.0.get(&key(image)).await?)
    }

    /// Writes how far an image is, if nobody wrote it since it was `read`; in the same moment its record goes, if
    /// nobody wrote that since, or comes back.
    pub(crate) async fn retire(
        &self,
        retirement: &Retirement,
        read: Option<&Row>,
        more: Vec<Write>,
    ) -> Result<()> {
        let (doc, index) = (encode(retirement), Index::default());
        let mut writes = vec![Write::Put { key: key(&retirement.image), doc, expect: expect(read), index }];
        writes.extend(more);
        self.0.commit(writes).await
    }

    /// The image is as before: its record comes back, and that it was on its way out is forgotten.
    pub(crate) async fn unretire(&self, row: &Row, set: Option<&ImageSet>) -> Result<()> {
        let mut writes = vec![Write::Delete { key: row.key.clone(), expect: Expect::Version(row.version) }];
        if let Some(set) = set {
            writes.extend(put_back(self, set).await?);
        }
        self.0.commit(writes).await
    }

    /// The writes that bring an image's record back.
    pub(crate) async fn putting_back(&self, set: &ImageSet) -> Result<Vec<Write>> {
        put_back(self, set).await
    }

    /// What is known of an image that was deregistered.
    pub(crate) async fn gone(&self, image: &AmiId) -> Result<Option<Gone>> {
        Ok(read(self.0.get(&gone_key(image)).await?)?.map(|(_, gone)| gone))
    }

    /// Notes what it takes to have an image as it was, right before it is deregistered, in one moment with the others.
    ///
    /// A try before this one may have noted it already, and its own record with it is gone since: that note stays. So does all
    /// of one that was made a moment ago and says the same.
    pub(crate) async fn going(&self, gone: &Gone, others: Vec<Write>) -> Result<()> {
        let before: Option<(Row, Gone)> = read(self.0.get(&gone_key(&gone.image)).await?)?;
        let (row, noted) = before.unzip();
        let set = gone.set.clone().or_else(|| noted.as_ref()?.set.clone());
        let gone = Gone { set, ..gone.clone() };
        let noted = noted.is_some_and(|noted| {
            gone.at.duration_since(noted.at) < A_MOMENT && Gone { at: gone.at, ..noted } == gone
        });
        let (key, expect) = (gone_key(&gone.image), expect(row.as_ref()));
        let mut writes = match noted {
            true if others.is_empty() => return Ok(()),
            true => vec![Write::Check { key, expect }],
            false => {
                let index = Index { expires: Some(gone.at + REMEMBERED), ..Index::default() };
                vec![Write::Put { key, doc: encode(&gone), expect, index }]
            }
        };
        writes.extend(others);
        self.0.commit(writes).await
    }

    /// Brings an image's record back that [`Self::going`] took: the image stays after all. One that is disabled has none, and
    /// its retirement has it.
    pub(crate) async fn staying(&self, image: &AmiId) -> Result<()> {
        let Some(set) = self.gone(image).await?.and_then(|gone| gone.set) else { return Ok(()) };
        if self.retirement(image).await?.is_some_and(|(_, retirement)| retirement.set.is_some()) {
            return Ok(());
        }
        match put_back(self, &set).await? {
            writes if writes.is_empty() => Ok(()),
            writes => self.0.commit(writes).await,
        }
    }

    /// The write that forgets it: the image is there again.
    pub(crate) async fn back(&self, image: &AmiId) -> Result<Vec<Write>> {
        let row = self.0.get(&gone_key(image)).await?;
        let write = row.map(|row| Write::Delete { key: row.key, expect: Expect::Version(row.version) });
        Ok(write.into_iter().collect())
    }

    /// Forgets how far an image `was` on its way out: it is gone. False when somebody took it back meanwhile.
    pub(crate) async fn forget_retirement(&self, image: &AmiId, was: Option<Since>) -> Result<bool> {
        match self.retirement(image).await? {
            Some((row, retirement)) if Some(retirement.since()) == was => {
                self.unretire(&row, None).await.map(|()| true)
            }
            Some(_) => Ok(false),
            None => Ok(true),
        }
    }
}

fn gone_key(image: &AmiId) -> Key {
    Key { sk: "GONE".to_owned(), ..image_key(image) }
}

fn key(image: &AmiId) -> Key {
    Key { pk: PARTITION.to_owned(), sk: format!("{PREFIX}{image}") }
}
