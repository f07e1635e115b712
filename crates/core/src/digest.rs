//! SHA-256 over every input of a pipeline's image: same digest, same image.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::id::{AmiId, Digest, PipelineName};

/// All that an image depends on, each input by its own digest: kept with the bake, so that two bakes can be compared.
///
/// A field that is missing here is a bug that ships a stale image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// The base image, resolved: an alias that moved gives another digest.
    pub base: AmiId,
    /// The architecture of the base.
    pub architecture: String,
    /// The recipe's placement of the artifact and its steps, in canonical form: comments and the order of keys
    /// don't matter.
    pub configuration: Digest,
    /// The root volume that the recipe asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<Digest>,
    /// The files beside the recipe, with their modes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Digest>,
    /// The artifact's bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Digest>,
    /// The runner that works on the builder.
    pub runner: Digest,
    /// What the image must pass. It is no part of the image: an image that passed other tests is tested again.
    pub tests: Digest,
}

impl Inputs {
    /// The digest of a pipeline's image of these inputs. The tests are not in it.
    ///
    /// The pipeline is: who may push another pipeline's recipe chooses the network, the role and the steps of its
    /// builders, and must not make what this pipeline takes for its own image.
    pub fn digest(&self, pipeline: &PipelineName) -> Digest {
        let Self { base, architecture, configuration, volume, files, artifact, runner, tests: _ } = self;
        canonical(&serde_json::json!({
            "v": 2, "pipeline": pipeline, "base": base, "architecture": architecture,
            "configuration": configuration, "volume": volume, "files": files, "artifact": artifact, "runner": runner,
        }))
    }
}

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
pub fn token(bake: &crate::id::BakeId, purpose: &str) -> String {
    sha256(format!("{bake}/{purpose}").as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs() -> Inputs {
        Inputs {
            base: AmiId::parse("ami-0123456789abcdef0").unwrap(),
            architecture: "x86_64".into(),
            configuration: sha256(b"configuration"),
            volume: None,
            files: Some(sha256(b"files")),
            artifact: None,
            runner: sha256(b"runner"),
            tests: sha256(b"tests"),
        }
    }

    #[test]
    fn every_input_but_the_tests_changes_the_digest() {
        let other = sha256(b"other");
        let changed = [
            Inputs { base: AmiId::parse("ami-0123456789abcdef1").unwrap(), ..inputs() },
            Inputs { architecture: "arm64".into(), ..inputs() },
            Inputs { configuration: other.clone(), ..inputs() },
            Inputs { volume: Some(other.clone()), ..inputs() },
            Inputs { files: None, ..inputs() },
            Inputs { artifact: Some(other.clone()), ..inputs() },
            Inputs { runner: other.clone(), ..inputs() },
        ];
        let shop = PipelineName::parse("shop").unwrap();
        for one in &changed {
            assert_ne!(one.digest(&shop), inputs().digest(&shop), "{one:?}");
        }
        assert_eq!(Inputs { tests: other, ..inputs() }.digest(&shop), inputs().digest(&shop));
    }

    #[test]
    fn two_pipelines_with_the_same_inputs_have_two_digests() {
        let [shop, other] = ["shop", "other"].map(|name| PipelineName::parse(name).unwrap());
        assert_ne!(inputs().digest(&shop), inputs().digest(&other));
    }

    #[test]
    fn a_document_s_digest_knows_no_order_of_keys() {
        let one: Value = serde_json::from_str(r#"{"a": [{"x": 1, "y": 2}], "b": null}"#).unwrap();
        let two: Value = serde_json::from_str(r#"{"b": null, "a": [{"y": 2, "x": 1}]}"#).unwrap();
        assert_eq!(canonical(&one), canonical(&two));
    }
}
