//! Which images are being retired, how far, and what it takes to undo that.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    images::{ImageSet, put_back},
    ledger::{Ledger, encode, expect, read},
};
use crate::{
    domain::{
        error::Result,
        id::{AmiId, BakeId, PipelineName},
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

impl Retirement {
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

    /// Forgets an image that is gone.
    pub(crate) async fn forget_retirement(&self, image: &AmiId) -> Result<()> {
        match self.retirement(image).await? {
            Some((row, _)) => self.unretire(&row, None).await,
            None => Ok(()),
        }
    }
}

fn key(image: &AmiId) -> Key {
    Key { pk: PARTITION.to_owned(), sk: format!("{PREFIX}{image}") }
}
