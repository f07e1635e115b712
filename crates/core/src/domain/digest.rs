//! SHA-256 over every input of a pipeline's image: same digest, same image.

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::domain::id::Digest;

/// The digest of a document, whatever the order of its keys.
pub fn canonical(document: &Value) -> Digest {
    sha256(sorted(document).to_string().as_bytes())
}

/// Sorts every object by key. A feature of some other crate can make `serde_json` keep the order of insertion.
pub(crate) fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let entries: BTreeMap<_, _> =
                map.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
            entries.into_iter().collect()
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// SHA-256 of bytes that come piece by piece.
#[derive(Debug, Default)]
pub struct Hash(Sha256);

impl Hash {
    /// The next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all pieces.
    pub fn finish(self) -> Digest {
        let hex = hex::encode(self.0.finalize());
        Digest::parse(&hex).unwrap_or_else(|_| unreachable!("32 bytes are 64 hexadecimal digits"))
    }
}

/// SHA-256 of some bytes.
pub fn sha256(bytes: &[u8]) -> Digest {
    let mut hash = Hash::default();
    hash.update(bytes);
    hash.finish()
}

/// A client token for one purpose of one bake: at most 64 ASCII characters, the same however often it is asked.
pub fn token(of: impl std::fmt::Display, purpose: &str) -> String {
    sha256(format!("{of}/{purpose}").as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_s_digest_knows_no_order_of_keys() {
        let one: Value = serde_json::from_str(r#"{"a": [{"x": 1, "y": 2}], "b": null}"#).unwrap();
        let two: Value = serde_json::from_str(r#"{"b": null, "a": [{"y": 2, "x": 1}]}"#).unwrap();
        assert_eq!(canonical(&one), canonical(&two));
    }
}
