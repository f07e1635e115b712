//! What a prune run did, as it is kept beside its plan.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a prune run did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// When it ended.
    pub ended: Timestamp,
    /// What became of each dead bake: [`super::Reaped`], or the item with its error.
    pub cleaned: Vec<Value>,
    /// What became of each image: [`super::Verdict`], or the item with its error.
    pub retired: Vec<Value>,
    /// What an operator must look at.
    #[serde(default)]
    pub failures: Vec<String>,
}
