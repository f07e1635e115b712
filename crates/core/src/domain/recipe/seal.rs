//! What a recipe says of the seal: exceptions from the list of what is a machine's own.

use serde::{Deserialize, Serialize};

/// Patterns of paths that the seal leaves alone, or removes in addition.
///
/// `*` and `?` stay within a name, `**` stands for any folders. The list itself is in `docs/recipe.md`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Seal {
    /// These stay, with all that is in them, though they are on the list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keep: Vec<String>,
    /// These go, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
}

impl Seal {
    /// Whether the recipe says nothing of it.
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}
