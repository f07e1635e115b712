//! Why something stays, or that it goes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::reference::Kind;

/// Why something stays, or that it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// EC2's own look says that something names it, and ours found nothing.
    Referenced,
    /// It carries the tag `ovenbird:keep`.
    KeepTag,
    /// It passed its tests: whether it stays is for retention to say, not for the clean-up after a bake.
    Validated,
    /// It is among the newest that the recipe retains.
    Newest,
    /// It is younger than the recipe retains.
    Young,
    /// An instance was started from it lately.
    Launched,
    /// Its pipeline has no recipe that says what to retain.
    NoRecipe,
    /// Its pipeline's recipe, or a record of it, can't be read.
    Unreadable,
    /// It carries this stack's tags, and no record of this stack says that it was made.
    Unrecorded,
    /// It is another stack's.
    OtherStack,
    /// Another image needs it.
    Shared,
    /// It is attached to an instance.
    Attached,
    /// It is locked: EC2 deletes it only when its lock has ended.
    Locked,
    /// The run destroys nothing at all.
    Halted,
    /// The record of a bake on its way can't be read, and that bake may start from any image.
    UnreadableBake,
    /// Not everything that may name images could be looked at.
    Incomplete,
    /// It is protected against deregistration.
    Protected,
    /// It is deprecated, and that soaks.
    Deprecated,
    /// It is disabled, and that soaks.
    Disabled,
    /// A person took it back.
    Undone,
    /// It isn't any more as the plan says.
    Changed,
    /// It was judged too long ago.
    Stale,
    /// A run takes so many, and this one is for another run.
    Later,
    /// Only versions of launch templates name it that Ovenbird made and nothing launches by any more.
    Superseded,
    /// Nothing that was looked at uses it, and the recipe does not retain it.
    Retired,
    /// Something names it.
    #[serde(untagged)]
    Named(Kind),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Referenced => "EC2 says that something names it",
            Self::KeepTag => "it has the tag `ovenbird:keep`",
            Self::Validated => "it passed its tests",
            Self::Newest => "it is among the newest retained",
            Self::Young => "it is younger than retained",
            Self::Launched => "an instance was started from it lately",
            Self::NoRecipe => "its pipeline has no recipe",
            Self::Unreadable => "its pipeline's recipe or records can't be read",
            Self::Unrecorded => "it has this stack's tags, and no record",
            Self::OtherStack => "it is another stack's",
            Self::Halted => "this run destroys nothing",
            Self::UnreadableBake => {
                "the record of a running bake can't be read, and that bake may start from this image"
            }
            Self::Shared => "another image needs it",
            Self::Attached => "it is attached to an instance, or on its way out",
            Self::Locked => "it is locked, and goes when its lock has ended",
            Self::Incomplete => "not everything that may name images could be looked at",
            Self::Protected => "it is protected against deregistration",
            Self::Deprecated => "it is deprecated, and is disabled when it has been so for long enough",
            Self::Disabled => "it is disabled, and is deregistered when it has been so for long enough",
            Self::Undone => "a person took it back; tag it with `ovenbird:keep` to keep it for good",
            Self::Changed => "it isn't any more as the plan says",
            Self::Stale => "it was judged too long ago",
            Self::Later => "another run takes it: a run takes only so many",
            Self::Superseded => "nothing names it but a superseded version of a launch template",
            Self::Retired => "nothing that was looked at names it, and its recipe doesn't retain it",
            Self::Named(kind) => return kind.fmt(f),
        })
    }
}

/// What stays although its removal was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Its id.
    pub id: String,
    /// Why.
    pub reason: Reason,
    /// What exactly uses it: an instance, a parameter, an image; empty where the reason says all.
    #[serde(default)]
    pub by: String,
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.id, self.reason)?;
        if self.by.is_empty() { Ok(()) } else { write!(f, " ({})", self.by) }
    }
}
