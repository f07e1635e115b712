//! SHA-256 over every input of an image: same digest, same image.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::id::{AmiId, Digest};

/// All that an image depends on. A field that is missing here is a bug that ships a stale image.
#[derive(Debug, Serialize)]
pub struct Inputs<'a> {
    /// The base image, resolved: an alias that moved gives another digest.
    pub base: &'a AmiId,
    /// The architecture of the base.
    pub architecture: &'a str,
    /// The recipe in its canonical form, so that comments and the order of keys don't matter.
    pub recipe: &'a Value,
    /// The files beside the recipe: SHA-256 of their bundle.
    pub files: Option<&'a Digest>,
    /// The artifact's bytes: its SHA-256.
    pub artifact: Option<&'a Digest>,
    /// The runner that works on the builder: its SHA-256.
    pub runner: &'a Digest,
}

impl Inputs<'_> {
    /// The digest.
    pub fn digest(&self) -> Digest {
        let value = serde_json::to_value(self)
            .unwrap_or_else(|_| unreachable!("our documents have string keys only"));
        sha256(canonical(value).to_string().as_bytes())
    }
}

/// Sorts every object by key. A feature of some other crate can make `serde_json` keep the order of insertion.
pub(crate) fn canonical(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<_, _> =
                map.into_iter().map(|(key, value)| (key, canonical(value))).collect();
            sorted.into_iter().collect()
        }
        Value::Array(items) => items.into_iter().map(canonical).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
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
pub fn token(bake: &crate::id::BakeId, purpose: &str) -> String {
    sha256(format!("{bake}/{purpose}").as_bytes()).to_string()
}
