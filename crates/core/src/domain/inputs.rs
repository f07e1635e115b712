//! What an image is made of: same inputs, same digest, same image.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    digest::canonical,
    id::{AmiId, Digest, ParameterName, PipelineName},
};

/// All that an image depends on, each input by its own digest: kept with the bake, so that two bakes can be compared.
///
/// A field that is missing here is a bug that ships a stale image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// The version of the rule by which the digest is made of the others; 0 where it was not recorded yet.
    #[serde(default)]
    pub rule: u32,
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
    /// The versions of the parameters that the steps read secrets from, by Systems Manager's count: a secret that was
    /// rotated gives another image. Never the values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<ParameterName, i64>,
    /// The runner that works on the builder.
    pub runner: Digest,
    /// What the image must pass. It is no part of the image: an image that passed other tests is tested again.
    pub tests: Digest,
}

impl Inputs {
    /// The version of the rule by which digests are made now. It grows when equal inputs get another digest: each
    /// pipeline then bakes once more, and `ovenbird explain` says why.
    pub const RULE: u32 = 2;

    /// The digest of a pipeline's image of these inputs. The tests are not in it.
    ///
    /// The pipeline is: who may push another pipeline's recipe chooses the network, the role and the steps of its
    /// builders, and must not make what this pipeline takes for its own image.
    pub fn digest(&self, pipeline: &PipelineName) -> Digest {
        let Self {
            rule,
            base,
            architecture,
            configuration,
            volume,
            files,
            artifact,
            secrets,
            runner,
            tests: _,
        } = self;
        let mut inputs = serde_json::json!({
            "v": rule, "pipeline": pipeline, "base": base, "architecture": architecture,
            "configuration": configuration, "volume": volume, "files": files, "artifact": artifact, "runner": runner,
        });
        // Only where there are some: the digests of all other recipes stay what they were.
        if !secrets.is_empty() {
            inputs["secrets"] = serde_json::json!(secrets);
        }
        canonical(&inputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::digest::sha256;

    fn inputs() -> Inputs {
        Inputs {
            rule: Inputs::RULE,
            base: AmiId::parse("ami-0123456789abcdef0").unwrap(),
            architecture: "x86_64".into(),
            configuration: sha256(b"configuration"),
            volume: None,
            files: Some(sha256(b"files")),
            artifact: None,
            secrets: BTreeMap::new(),
            runner: sha256(b"runner"),
            tests: sha256(b"tests"),
        }
    }

    #[test]
    fn every_input_but_the_tests_changes_the_digest() {
        let other = sha256(b"other");
        let key = ParameterName::parse("/ovenbird/secrets/key").unwrap();
        let changed = [
            Inputs { base: AmiId::parse("ami-0123456789abcdef1").unwrap(), ..inputs() },
            Inputs { rule: Inputs::RULE + 1, ..inputs() },
            Inputs { architecture: "arm64".into(), ..inputs() },
            Inputs { configuration: other.clone(), ..inputs() },
            Inputs { volume: Some(other.clone()), ..inputs() },
            Inputs { files: None, ..inputs() },
            Inputs { artifact: Some(other.clone()), ..inputs() },
            Inputs { secrets: [(key.clone(), 1)].into(), ..inputs() },
            Inputs { runner: other.clone(), ..inputs() },
        ];
        let shop = PipelineName::parse("shop").unwrap();
        for one in &changed {
            assert_ne!(one.digest(&shop), inputs().digest(&shop), "{one:?}");
        }
        let [first, second] = [1, 2].map(|version| [(key.clone(), version)].into());
        let [first, second] = [first, second].map(|secrets| Inputs { secrets, ..inputs() }.digest(&shop));
        assert_ne!(first, second, "a rotated secret");
        assert_eq!(Inputs { tests: other, ..inputs() }.digest(&shop), inputs().digest(&shop));
    }

    #[test]
    fn two_pipelines_with_the_same_inputs_have_two_digests() {
        let [shop, other] = ["shop", "other"].map(|name| PipelineName::parse(name).unwrap());
        assert_ne!(inputs().digest(&shop), inputs().digest(&other));
    }
}
