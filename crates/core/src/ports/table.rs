//! The table: versioned items, written conditionally.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::{
    error::Result,
    id::{AmiId, PipelineName},
};

/// The key of an item of the table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// The partition.
    pub pk: String,
    /// The place in it.
    pub sk: String,
}

/// An item of the table as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The key that it was read by.
    pub key: Key,
    /// How often it was written; a conditional write names it.
    pub version: u64,
    /// What it holds.
    pub doc: Value,
}

/// What a write demands of the item before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// That it isn't there.
    Absent,
    /// That it is as it was read.
    Version(u64),
}

/// Under what an item is found besides its key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index {
    /// By status: the status and the time.
    pub status: Option<(String, String)>,
    /// By image.
    pub image: Option<AmiId>,
    /// By time: the pipeline and when it was.
    pub time: Option<(PipelineName, Timestamp)>,
    /// After this moment the table may drop it.
    pub expires: Option<Timestamp>,
}

/// A conditional write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Puts an item.
    Put {
        /// The item's key.
        key: Key,
        /// The whole new document; nothing of the old one stays.
        doc: Value,
        /// What the item must be before the write.
        expect: Expect,
        /// What it is found by besides its key.
        index: Index,
    },
    /// Deletes an item.
    Delete {
        /// The item's key.
        key: Key,
        /// What the item must be before the write.
        expect: Expect,
    },
    /// Changes nothing, but lets the others happen only if the condition holds.
    Check {
        /// The item's key.
        key: Key,
        /// What the item must be.
        expect: Expect,
    },
}

/// The table: versioned items, written conditionally. All decisions on them are in [`crate::store`].
pub trait Table {
    /// One item, strongly consistent.
    async fn get(&self, key: &Key) -> Result<Option<Row>>;
    /// Those of these items that there are, in no order, strongly consistent. Each key once.
    async fn rows(&self, keys: &[Key]) -> Result<Vec<Row>>;
    /// The items of a partition whose place begins with the prefix, last first.
    async fn list(&self, pk: &str, prefix: &str) -> Result<Vec<Row>>;
    /// The items of a status, oldest first; eventually consistent.
    async fn by_status(&self, status: &str) -> Result<Vec<Row>>;
    /// So many items of a pipeline, the newest first; eventually consistent.
    async fn by_time(&self, pipeline: &PipelineName, most: usize) -> Result<Vec<Row>>;
    /// The items that name an image; eventually consistent.
    async fn by_image(&self, image: &AmiId) -> Result<Vec<Row>>;
    /// All of the writes or none; a condition that doesn't hold is [`crate::Error::TryAgain`].
    async fn commit(&self, writes: Vec<Write>) -> Result<()>;
}
