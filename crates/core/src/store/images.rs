//! Records of images, by digest: what was made, what it passed, and how often it was taken.

use serde::{Deserialize, Serialize};

use super::ledger::{Ledger, encode, expect, read};
use crate::{
    domain::{
        bake::Bake,
        error::{Error, Result},
        id::{AmiId, BakeId, Digest, ImageName, PipelineName, SnapshotId},
    },
    ports::{Expect, Index, Key, Row, Table, Write},
};

/// How many sets of tests an image remembers to have passed.
const SETS: usize = 16;

/// How a digest's image stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageStatus {
    /// Being made.
    Baking,
    /// Made, and its tests passed.
    Validated,
}

/// A digest's image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// The image.
    pub image: AmiId,
    /// Its name.
    pub name: ImageName,
    /// Its pipeline.
    pub pipeline: PipelineName,
    /// The bake that made it.
    pub bake: BakeId,
    /// How it stands.
    pub status: ImageStatus,
    /// Its snapshots.
    pub snapshots: Vec<SnapshotId>,
    /// The sets of tests that it passed, the last one last; none while it bakes.
    #[serde(default)]
    pub passed: Vec<Passed>,
    /// The fencing number under which it was made.
    pub fence: u64,
    /// How often a channel was moved to it, or a bake took it for its own. Each writes it, so that a removal of the
    /// record that began before that fails.
    #[serde(default)]
    pub uses: u64,
}

impl ImageRecord {
    /// How many tests it passed of this set; none when it never passed the set.
    pub fn passed(&self, tests: &Digest) -> Option<usize> {
        match self.status {
            ImageStatus::Baking => None,
            ImageStatus::Validated => self.passed.iter().find(|one| one.tests == *tests).map(|one| one.count),
        }
    }

    /// Notes that it passed a set.
    pub fn pass(&mut self, passed: Passed) {
        self.passed.retain(|one| one.tests != passed.tests);
        self.passed.push(passed);
        let surplus = self.passed.len().saturating_sub(SETS);
        self.passed.drain(..surplus);
    }
}

/// A set of tests that an image passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// The set's digest.
    pub tests: Digest,
    /// How many tests are in it.
    pub count: usize,
    /// The bake that ran them.
    pub bake: BakeId,
}

impl<T: Table> Ledger<'_, T> {
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
        let lease = self.held(&bake.spec.digest, &bake.spec.id, bake.progress.fence).await?;
        let row = self.0.get(&image_key(&bake.spec.digest)).await?;
        let image = bake.image()?;
        let found = read::<ImageRecord>(row)?.filter(|(_, record)| record.image == *image);
        let (row, mut record) = found.ok_or_else(|| Error::NotPromotable {
            image: image.clone(),
            problem: "another image of its digest took its place".into(),
        })?;
        record.pass(passed);
        self.write_image(&bake.spec.digest, &record, Some(row), lease).await
    }

    pub(super) async fn write_image(
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
        let (key, index) = (image_key(digest), Index::default());
        self.0.commit(vec![Write::Put { key, doc, expect: expect(row.as_ref()), index }, lease]).await
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
}

pub(super) fn image_key(digest: &Digest) -> Key {
    Key { pk: format!("DIGEST#{digest}"), sk: "IMAGE".to_owned() }
}

/// The write that counts one use more of an image, if nobody wrote its record since it was read.
pub(super) fn used(row: Row, record: &ImageRecord) -> Write {
    Write::Put {
        key: row.key,
        doc: encode(&ImageRecord { uses: record.uses + 1, ..record.clone() }),
        expect: Expect::Version(row.version),
        index: Index::default(),
    }
}
