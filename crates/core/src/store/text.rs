//! Documents of the bucket: all are JSON.

use serde::de::DeserializeOwned;

use crate::domain::error::{Error, Result};

/// What a text of the bucket says; `what` names it in the error.
pub fn decode<D: DeserializeOwned>(what: &str, text: &str) -> Result<D> {
    serde_json::from_str(text).map_err(|source| Error::Corrupt { what: what.to_owned(), source })
}
