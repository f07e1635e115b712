//! Who can do something about an error, and when.

use super::Error;

/// Why something can't be done at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Somebody else wrote it since it was read.
    Changed,
    /// An earlier try of the same call made it, and it can't be seen yet.
    Unseen,
    /// It is on its way out of the Recycle Bin.
    Returning,
    /// It is being removed at this moment.
    Going,
    /// Something that is on its way out still uses it.
    InUse,
    /// AWS asked to slow down while it was removed.
    Unfinished,
}

impl Retry {
    /// The words of it, after the name of the thing.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Changed => "was changed by somebody else meanwhile",
            Self::Unseen => "was made by an earlier try, and can't be seen yet",
            Self::Going => "is being removed at this moment",
            Self::Returning => "is still on its way out of the Recycle Bin",
            Self::InUse => "is still in use",
            Self::Unfinished => "could not be removed yet",
        }
    }
}

/// Who can do something about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Whoever asked: the input, the recipe, the artifact or the tests are to be changed.
    User,
    /// The world: AWS, the account's settings, or time.
    World,
    /// Whoever maintains Ovenbird, or mixed two versions of it.
    Bug,
}

impl Kind {
    /// The exit status of a command that failed so. A wrong use of the command line is 2, which the parser says.
    pub fn exit_status(self) -> u8 {
        match self {
            Self::User | Self::World => 1,
            Self::Bug => 255,
        }
    }
}

impl Error {
    /// Who can do something about it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::BadInput { .. }
            | Self::NoRecipe { .. }
            | Self::BadRecipe { .. }
            | Self::NoArtifact { .. }
            | Self::NoBase { .. }
            | Self::StepFailed { .. }
            | Self::TestsFailed { .. }
            | Self::SealFailed { .. }
            | Self::RunnerFailed { .. }
            | Self::BuilderSilent { .. }
            | Self::NotPromotable { .. }
            | Self::ParameterTaken { .. }
            | Self::BakeEnded { .. } => Kind::User,
            Self::NoCapacity { .. }
            | Self::BuilderLost { .. }
            | Self::DeadlinePassed { .. }
            | Self::ImageFailed { .. }
            | Self::ParameterBusy { .. }
            | Self::Unseen { .. }
            | Self::NotFollowed { .. }
            | Self::LeaseLost { .. }
            | Self::LeftBehind { .. }
            | Self::PruneIncomplete { .. }
            | Self::TryAgain { .. }
            | Self::Throttled { .. }
            | Self::Denied { .. }
            | Self::Aws { .. } => Kind::World,
            Self::Corrupt { .. } => Kind::Bug,
        }
    }
}
