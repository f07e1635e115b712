//! Where images are.

use serde::{Deserialize, Serialize};

/// An account and a Region. Today the stack's own is the only one; no type may take that for granted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// The account and Region of the stack.
    Home,
}
