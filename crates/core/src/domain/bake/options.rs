//! What a person may ask for when they start a bake.

use serde::{Deserialize, Serialize};

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
    #[serde(default)]
    pub keep_builder: bool,
}

fn yes() -> bool {
    true
}

impl Default for Options {
    fn default() -> Self {
        Self { force: false, promote: true, keep_builder: false }
    }
}
