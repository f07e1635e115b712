//! An error's name, which the state machines and scripts match.

use super::Error;

impl Error {
    /// Every name that `name()` can give; the contract test compares it with the state machines.
    pub const NAMES: &'static [&'static str] = &[
        "BadInput",
        "NoRecipe",
        "BadRecipe",
        "NoArtifact",
        "NoBase",
        "NoCapacity",
        "StepFailed",
        "TestsFailed",
        "SealFailed",
        "RunnerFailed",
        "BuilderSilent",
        "BuilderLost",
        "DeadlinePassed",
        "ImageFailed",
        "NotPromotable",
        "ParameterTaken",
        "ParameterBusy",
        "Unseen",
        "NotFollowed",
        "BakeEnded",
        "LeaseLost",
        "LeftBehind",
        "PruneIncomplete",
        "TryAgain",
        "Throttled",
        "Denied",
        "Aws",
        "Corrupt",
    ];

    /// The stable name that `ErrorEquals` in the state machines matches.
    pub fn name(&self) -> &'static str {
        match self {
            Self::BadInput { .. } => "BadInput",
            Self::NoRecipe { .. } => "NoRecipe",
            Self::BadRecipe { .. } => "BadRecipe",
            Self::NoArtifact { .. } => "NoArtifact",
            Self::NoBase { .. } => "NoBase",
            Self::NoCapacity { .. } => "NoCapacity",
            Self::StepFailed { .. } => "StepFailed",
            Self::TestsFailed { .. } => "TestsFailed",
            Self::SealFailed { .. } => "SealFailed",
            Self::RunnerFailed { .. } => "RunnerFailed",
            Self::BuilderSilent { .. } => "BuilderSilent",
            Self::BuilderLost { .. } => "BuilderLost",
            Self::DeadlinePassed { .. } => "DeadlinePassed",
            Self::ImageFailed { .. } => "ImageFailed",
            Self::NotPromotable { .. } => "NotPromotable",
            Self::ParameterTaken { .. } => "ParameterTaken",
            Self::ParameterBusy { .. } => "ParameterBusy",
            Self::Unseen { .. } => "Unseen",
            Self::NotFollowed { .. } => "NotFollowed",
            Self::BakeEnded { .. } => "BakeEnded",
            Self::LeaseLost { .. } => "LeaseLost",
            Self::LeftBehind { .. } => "LeftBehind",
            Self::PruneIncomplete { .. } => "PruneIncomplete",
            Self::TryAgain { .. } => "TryAgain",
            Self::Throttled { .. } => "Throttled",
            Self::Denied { .. } => "Denied",
            Self::Aws { .. } => "Aws",
            Self::Corrupt { .. } => "Corrupt",
        }
    }
}
