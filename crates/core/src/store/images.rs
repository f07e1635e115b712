//! Records of images: each by its own id, and the last one of each digest by the digest.

use std::collections::BTreeMap;

use futures::try_join;
use serde::{Deserialize, Serialize};

use super::ledger::{Ledger, doc, encode, expect, read};
use crate::{
    domain::{
        bake::Bake,
        error::{Error, Result},
        id::{AmiId, BakeId, Digest, ImageName, PipelineName, SnapshotId},
        place::Place,
    },
    ports::{Expect, Index, Key, Row, Table, Write},
};

/// How many sets of tests an image remembers to have passed.
const SETS: usize = 16;

/// How an image stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageStatus {
    /// Being made.
    Baking,
    /// Made, and its tests passed.
    Validated,
}

/// One image and its copies: what was made, what it passed, and how often it was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSet {
    /// The image at the stack's own place, by which the set is found.
    #[serde(flatten)]
    pub home: ImageCopy,
    /// Its copies at other places.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub copies: BTreeMap<Place, ImageCopy>,
    /// The name of the image and of each copy.
    pub name: ImageName,
    /// The pipeline that made it.
    pub pipeline: PipelineName,
    /// What it was made of; none in what the first stage wrote, which is found under the digest alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The bake that made it.
    pub bake: BakeId,
    /// How it stands.
    pub status: ImageStatus,
    /// The sets of tests that it passed, the last one last; none while it bakes.
    #[serde(default)]
    pub passed: Vec<Passed>,
    /// The fencing number under which it was made.
    pub fence: u64,
    /// How often a channel was moved to it, or a bake took it for its own. Each writes it, so that a removal of the
    /// record that began before that fails.
    #[serde(default)]
    pub uses: u64,
    /// The last bakes that took it for their own, whatever became of them since. The index of bakes on their way may not
    /// show the last ones yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub takers: Vec<Taker>,
}

/// A bake that took an image which was there already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taker {
    /// Its pipeline.
    pub pipeline: PipelineName,
    /// Its id.
    pub bake: BakeId,
}

/// So many takers an image remembers. All but the last few are in the index: no bake ends within its lag.
const TAKERS: usize = 4;

/// An image at one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageCopy {
    /// The image's id there.
    pub image: AmiId,
    /// The image's snapshots there.
    pub snapshots: Vec<SnapshotId>,
}

/// What a digest leads to: the last image that was made of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Made {
    image: AmiId,
}

impl ImageSet {
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
    /// The last image that was made of a digest.
    pub async fn image(&self, digest: &Digest) -> Result<Option<ImageSet>> {
        let Some((_, made)) = read::<Made>(self.0.get(&digest_key(digest)).await?)? else { return Ok(None) };
        Ok(self.image_row(digest, &made.image).await?.map(|(_, set)| set))
    }

    /// Records an image, and that it is the last one of its digest, in the same moment as the bake holds the lease under
    /// its own fencing number.
    pub async fn record_image(&self, digest: &Digest, set: &ImageSet) -> Result<()> {
        let (key, of_digest) = (image_key(&set.home.image), digest_key(digest));
        let lease = self.held(digest, &set.bake, set.fence);
        let (lease, made_row, row) = try_join!(lease, self.0.get(&of_digest), self.0.get(&key))?;
        let mut before = read::<ImageSet>(row.clone())?.map(|(_, before)| before);
        let mut writes = Vec::new();
        if let Some(old) = made_row.as_ref().filter(|row| is_of_the_first_stage(row)) {
            let old: ImageSet = doc(old)?;
            if old.home.image == set.home.image {
                before = Some(old);
            } else {
                writes.extend(put(image_key(&old.home.image), encode(&old), None));
            }
        }
        let (uses, takers) = before.map_or((0, Vec::new()), |before| (before.uses, before.takers));
        writes.extend(put(key, encode(&ImageSet { uses, takers, ..set.clone() }), row));
        let made = encode(&Made { image: set.home.image.clone() });
        writes.extend(put(digest_key(digest), made, made_row));
        if writes.is_empty() {
            return Ok(());
        }
        writes.push(lease);
        self.0.commit(writes).await
    }

    /// Records that an image that was there already passed the bake's tests, too, on the same condition.
    pub async fn record_passed(&self, bake: &Bake, passed: Passed) -> Result<()> {
        let lease = self.held(&bake.spec.digest, &bake.spec.id, bake.progress.fence).await?;
        let image = bake.image()?;
        let found = self.image_row(&bake.spec.digest, image).await?;
        let (row, mut set) = found.ok_or_else(|| Error::NotPromotable {
            image: image.clone(),
            problem: "no record of it".into(),
        })?;
        set.pass(passed);
        let mut writes = put(row.key.clone(), encode(&set), Some(row));
        if writes.is_empty() {
            return Ok(());
        }
        writes.push(lease);
        self.0.commit(writes).await
    }

    /// The record of an image of this digest, as read.
    ///
    /// The first stage kept it under the digest, where only the last image of a digest had one.
    pub(crate) async fn image_row(&self, digest: &Digest, image: &AmiId) -> Result<Option<(Row, ImageSet)>> {
        if let Some(found) = read::<ImageSet>(self.0.get(&image_key(image)).await?)? {
            let other = found.1.digest.as_ref().is_some_and(|of| of != digest);
            return Ok(Some(found).filter(|_| !other));
        }
        match self.0.get(&digest_key(digest)).await? {
            Some(row) if is_of_the_first_stage(&row) => {
                Ok(read::<ImageSet>(Some(row))?.filter(|(_, set)| set.home.image == *image))
            }
            Some(_) | None => Ok(None),
        }
    }

    /// Removes an image's record, if nobody wrote it since it was read; its digest then leads nowhere.
    pub(crate) async fn forget_row(&self, digest: &Digest, row: &Row) -> Result<()> {
        self.0.commit(self.forgetting(digest, row).await?).await
    }

    /// The writes of that.
    pub(crate) async fn forgetting(&self, digest: &Digest, row: &Row) -> Result<Vec<Write>> {
        let gone = |row: &Row| Write::Delete { key: row.key.clone(), expect: Expect::Version(row.version) };
        let mut writes = vec![gone(row)];
        let key = digest_key(digest);
        if row.key != key
            && let Some((made_row, made)) = read::<Made>(self.0.get(&key).await?)?
            && row.key == image_key(&made.image)
        {
            writes.push(gone(&made_row));
        }
        Ok(writes)
    }

    /// Removes the record of an image that EC2 no longer has.
    pub async fn forget_image(&self, digest: &Digest, image: &AmiId) -> Result<()> {
        match self.image_row(digest, image).await? {
            Some((row, _)) => self.forget_row(digest, &row).await,
            None => Ok(()),
        }
    }
}

/// Whether an item under a digest is the whole record of its image, as the first stage wrote it.
fn is_of_the_first_stage(row: &Row) -> bool {
    row.doc.get("status").is_some()
}

pub(super) fn image_key(image: &AmiId) -> Key {
    Key { pk: format!("IMAGE#{image}"), sk: "SET".to_owned() }
}

fn digest_key(digest: &Digest) -> Key {
    Key { pk: format!("DIGEST#{digest}"), sk: "IMAGE".to_owned() }
}

/// The write of an item, if it says something new.
fn put(key: Key, doc: serde_json::Value, row: Option<Row>) -> Vec<Write> {
    match row {
        Some(row) if row.doc == doc => Vec::new(),
        row => vec![Write::Put { key, doc, expect: expect(row.as_ref()), index: Index::default() }],
    }
}

/// The writes that bring an image's record back. Its digest leads to it again, unless it leads to another by now.
pub(super) async fn put_back<T: Table>(ledger: &Ledger<'_, T>, set: &ImageSet) -> Result<Vec<Write>> {
    let key = image_key(&set.home.image);
    let mut writes = match ledger.0.get(&key).await? {
        Some(_) => Vec::new(),
        None => put(key, encode(set), None),
    };
    if let Some(digest) = &set.digest
        && ledger.0.get(&digest_key(digest)).await?.is_none()
    {
        writes.extend(put(digest_key(digest), encode(&Made { image: set.home.image.clone() }), None));
    }
    Ok(writes)
}

/// The write that counts one use more of an image, if nobody wrote its record since it was read.
pub(super) fn used(row: Row, set: &ImageSet) -> Write {
    Write::Put {
        key: row.key,
        doc: encode(&ImageSet { uses: set.uses + 1, ..set.clone() }),
        expect: Expect::Version(row.version),
        index: Index::default(),
    }
}

/// The same, by a bake that takes it for its own.
pub(super) fn taken(row: Row, set: &ImageSet, bake: &Bake) -> Write {
    let mut set = set.clone();
    let taker = Taker { pipeline: bake.spec.pipeline.clone(), bake: bake.spec.id.clone() };
    set.takers.retain(|one| *one != taker);
    set.takers.push(taker);
    let surplus = set.takers.len().saturating_sub(TAKERS);
    set.takers.drain(..surplus);
    used(row, &set)
}
