//! Objects of the bucket, and URLs by which a builder reaches single ones.

use jiff::Timestamp;

use crate::domain::{error::Result, id::Digest, names::Names, plan::PresignedUrl};

/// An object of the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its key in the bucket: `artifacts/storefront/app.jar`.
    pub key: String,
    /// Its version, on a versioned bucket.
    pub version: Option<String>,
    /// Its size.
    pub bytes: u64,
    /// When it was written.
    pub written: Timestamp,
    /// SHA-256 of its bytes, when S3 was given it or made it at the upload, and it is of the whole object.
    pub sha256: Option<Digest>,
}

/// Among how many objects an artifact is looked for; ten of S3's pages.
pub const LOOKED_THROUGH: usize = 10_000;

/// The stack's bucket: artifacts, recipes, runners, plans and reports.
pub trait Bucket {
    /// A small text object. A larger one than is read by its key (`store::keys::largest`) is an error.
    async fn text(&self, key: &str) -> Result<Option<String>>;
    /// The same, and when it was written.
    async fn written_text(&self, key: &str) -> Result<Option<(String, Timestamp)>>;
    /// Writes a small text object.
    async fn put_text(&self, key: &str, text: &str) -> Result<()>;
    /// An object's facts.
    async fn head(&self, key: &str, version: Option<&str>) -> Result<Option<Object>>;
    /// The newest artifact under a prefix, of those that a recipe's `match` has, if it has one.
    async fn newest(&self, prefix: &str, names: Option<&Names>) -> Result<Option<Object>>;
    /// Whether an artifact is under a prefix, of those that a recipe's `match` has. Where the first [`LOOKED_THROUGH`] objects
    /// have none and there are more, the answer is yes: who waits for it must not wait for somebody's million uploads.
    async fn has_any(&self, prefix: &str, names: Option<&Names>) -> Result<bool>;
    /// SHA-256 of an object's bytes, streamed.
    async fn sha256(&self, key: &str, version: Option<&str>) -> Result<Digest>;
    /// The names directly under a prefix that ends in `/`.
    async fn folders(&self, prefix: &str) -> Result<Vec<String>>;
}

/// URLs that let a builder read and write single objects without any permission of its own.
pub trait Presigner {
    /// For one GET of the object (or of one version of it).
    async fn get_url(&self, key: &str, version: Option<&str>, seconds: u64) -> Result<PresignedUrl>;
    /// Where a builder reaches the cloud, when it isn't AWS's own.
    fn endpoint(&self) -> Option<String>;
    /// For one PUT of the object.
    async fn put_url(&self, key: &str, seconds: u64) -> Result<PresignedUrl>;
}
