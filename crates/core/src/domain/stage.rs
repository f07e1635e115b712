//! Where a bake is on its way, and how it ends.
//!
//! The words of such enums are matches that the compiler checks, and not `strum`'s: a new variant must get its word, and a
//! word that is stored must not change with a variant's name.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a bake is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Inputs are resolved and the builder is started.
    Launch,
    /// Another bake of the same digest is on its way; this one waits for its image.
    AwaitTwin,
    /// Its turn to have a builder has not come yet: others of its pipeline, or of the stack, have theirs.
    AwaitTurn,
    /// The builder boots and is configured.
    Builder,
    /// The tests run on the builder.
    Validation,
    /// The builder is cleaned and, unless it is a spot instance, stops.
    Seal,
    /// EC2 makes the image.
    Image,
    /// A fresh instance of the image boots and runs the tests.
    Boot,
    /// The channel and what follows it move.
    Promotion,
    /// What the bake no longer needs is removed.
    CleanUp,
}

impl Stage {
    /// The stage's word, as in the document.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Launch => "launch",
            Self::AwaitTwin => "await-twin",
            Self::AwaitTurn => "await-turn",
            Self::Builder => "builder",
            Self::Validation => "validation",
            Self::Seal => "seal",
            Self::Image => "image",
            Self::Boot => "boot",
            Self::Promotion => "promotion",
            Self::CleanUp => "clean-up",
        }
    }

    /// Whether what is waited for is a report in the instance's mailbox. The bucket can be asked as often as one likes.
    pub fn reports(self) -> bool {
        match self {
            Self::Builder | Self::Validation | Self::Seal | Self::Boot => true,
            Self::Launch
            | Self::AwaitTwin
            | Self::AwaitTurn
            | Self::Image
            | Self::Promotion
            | Self::CleanUp => false,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a bake stands, as operators see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// On its way.
    Running,
    /// Its image was made (or found) and its channel points at it.
    Promoted,
    /// Its image was made and validated, and it was asked not to promote.
    Validated,
    /// A newer artifact was promoted first; the image stays for reuse until it is retired. Or a newer upload was there
    /// before it had a builder; then it has no image.
    Superseded,
    /// It failed; `failure` says why.
    Failed,
    /// Somebody stopped it; `failure` says who.
    Cancelled,
}

impl Status {
    /// Whether a bake ended with an image that is retention's business, and no longer its own.
    pub fn ended_well(self) -> bool {
        match self {
            Self::Promoted | Self::Validated | Self::Superseded => true,
            Self::Running | Self::Failed | Self::Cancelled => false,
        }
    }

    /// The status's word, which is also its key in the table's index.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Promoted => "promoted",
            Self::Validated => "validated",
            Self::Superseded => "superseded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}
