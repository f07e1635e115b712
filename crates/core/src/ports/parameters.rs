//! SSM parameters.

use std::collections::BTreeMap;

use crate::domain::{
    error::Result,
    id::{AmiId, ParameterName},
};

/// SSM parameters.
pub trait Parameters {
    /// The value.
    async fn parameter(&self, name: &ParameterName) -> Result<Option<String>>;
    /// The values of those of the names that exist.
    async fn values(&self, names: &[ParameterName]) -> Result<BTreeMap<ParameterName, String>>;
    /// Writes an image's id. AWS answers before it has validated it: read it back.
    async fn put_image(&self, name: &ParameterName, image: &AmiId) -> Result<()>;
    /// Removes; one that is gone already is no error.
    async fn remove(&self, name: &ParameterName) -> Result<()>;
}
