//! What a person may ask for when they start a bake.

use serde::{Deserialize, Serialize};

use super::Labels;

/// What a manual start may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Options {
    /// Bake even when an image of this digest exists, and promote even over a newer artifact.
    #[serde(default)]
    pub force: bool,
    /// Move the channel when the image is validated.
    #[serde(default = "yes")]
    pub promote: bool,
    /// Leave the builder of a failed bake running, to look at it.
    #[serde(default, alias = "keep_builder")]
    pub keep_builder: bool,
    /// What the person says of the bake.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

fn yes() -> bool {
    true
}

impl Default for Options {
    fn default() -> Self {
        Self { force: false, promote: true, keep_builder: false, labels: Labels::default() }
    }
}
