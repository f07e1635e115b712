//! The table of all steps: what each does, in which function, to a bake in which stage, and what it may leave.
//!
//! The check of a document's stage, the contracts of the state machines and the table in `statemachine/README.md` come of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::{
    bake::{Document, Stage},
    error::{Error, Result},
};

/// A Lambda function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Function {
    /// Starts instances.
    LaunchBuilder,
    /// Looks at what a bake waits for, and writes nothing but fresh URLs for its instance.
    PollReadiness,
    /// Starts the tests.
    RunValidation,
    /// Seals the builder and makes the image.
    Snapshot,
    /// Moves channels.
    Promote,
    /// Removes, and nobody else does.
    Prune,
}

impl Function {
    /// The function's name, as in the template and in `functions/`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LaunchBuilder => "launch-builder",
            Self::PollReadiness => "poll-readiness",
            Self::RunValidation => "run-validation",
            Self::Snapshot => "snapshot",
            Self::Promote => "promote",
            Self::Prune => "prune",
        }
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a state of the bake's state machine asks of its function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Resolve the inputs; reuse an image, wait for others, or launch the builder.
    Start,
    /// The wait for others is over: look again for an image, for the lease and for its turn, then launch.
    TakeOver,
    /// Launch a fresh instance of the image, which tests itself.
    Verify,
    /// Look whether what the bake waits for is there.
    Look,
    /// Start the tests on the builder.
    Test,
    /// Start to seal the builder.
    Seal,
    /// Order the image of the sealed builder.
    CreateImage,
    /// Move the channel, and what follows it.
    Promote,
    /// Start the bakes of the pipelines that stand on what was promoted.
    StartChildren,
    /// Remove what a bake that ended well no longer needs.
    CleanUp,
    /// Remove everything that a failed bake made.
    CleanUpFailed,
}

impl Action {
    /// The action's word, as in the state machine.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::TakeOver => "take-over",
            Self::Verify => "verify",
            Self::Look => "look",
            Self::Test => "test",
            Self::Seal => "seal",
            Self::CreateImage => "create-image",
            Self::Promote => "promote",
            Self::StartChildren => "start-children",
            Self::CleanUp => "clean-up",
            Self::CleanUpFailed => "clean-up-failed",
        }
    }
}

/// What a step may leave behind when its execution dies. The clean-up of a failed bake removes all of it; a prune does
/// when that did not run either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leaves {
    /// The digest's lease. The clean-up gives it back; it also ends by itself.
    Lease,
    /// The bake's turn to have a builder, or its place in the line. The clean-up gives it back.
    Turn,
    /// An instance with its volumes.
    Instance,
    /// A command that runs on the builder, and ends with it.
    Command,
    /// An image with its snapshots.
    Image,
    /// A moved channel. The clean-up moves it back.
    Channel,
    /// A written parameter. The clean-up lets it follow the channel again.
    Parameter,
    /// Executions of other bakes, which clean up after themselves.
    Executions,
}

impl Leaves {
    /// What it is, in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lease => "the lease",
            Self::Turn => "its turn to have a builder",
            Self::Instance => "an instance with its volumes",
            Self::Command => "a command on the builder",
            Self::Image => "an image with its snapshots",
            Self::Channel => "a moved channel",
            Self::Parameter => "a written parameter",
            Self::Executions => "executions of other bakes",
        }
    }
}

/// One step of a bake.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// What it does.
    pub action: Action,
    /// Where.
    pub function: Function,
    /// The stages of the documents that it takes; none where it is given something else, or takes every stage.
    pub takes: &'static [Stage],
    /// What it may leave.
    pub leaves: &'static [Leaves],
}

/// Every step of a bake, in the order of a usual one.
pub const STEPS: &[Step] = &[
    Step {
        action: Action::Start,
        function: Function::LaunchBuilder,
        takes: &[],
        leaves: &[Leaves::Lease, Leaves::Turn, Leaves::Instance],
    },
    Step {
        action: Action::TakeOver,
        function: Function::LaunchBuilder,
        takes: &[Stage::AwaitTwin, Stage::AwaitTurn],
        leaves: &[Leaves::Lease, Leaves::Turn, Leaves::Instance],
    },
    Step {
        action: Action::Look,
        function: Function::PollReadiness,
        takes: &[
            Stage::AwaitTwin,
            Stage::AwaitTurn,
            Stage::Builder,
            Stage::Validation,
            Stage::Seal,
            Stage::Image,
            Stage::Boot,
            Stage::Promotion,
        ],
        leaves: &[],
    },
    Step {
        action: Action::Test,
        function: Function::RunValidation,
        takes: &[Stage::Builder],
        leaves: &[Leaves::Command],
    },
    Step {
        action: Action::Seal,
        function: Function::Snapshot,
        takes: &[Stage::Validation],
        leaves: &[Leaves::Command],
    },
    Step {
        action: Action::CreateImage,
        function: Function::Snapshot,
        takes: &[Stage::Seal],
        leaves: &[Leaves::Image],
    },
    Step {
        action: Action::Verify,
        function: Function::LaunchBuilder,
        // At the first three an image is there already, for other tests.
        takes: &[Stage::Launch, Stage::AwaitTwin, Stage::AwaitTurn, Stage::Image],
        leaves: &[Leaves::Instance],
    },
    Step {
        action: Action::Promote,
        function: Function::Promote,
        // At the first three an image is there already; at the last one the parameter is to be written again.
        takes: &[
            Stage::Launch,
            Stage::AwaitTwin,
            Stage::AwaitTurn,
            Stage::Image,
            Stage::Boot,
            Stage::Promotion,
        ],
        leaves: &[Leaves::Channel, Leaves::Parameter],
    },
    Step { action: Action::CleanUp, function: Function::Prune, takes: &[], leaves: &[] },
    Step {
        action: Action::StartChildren,
        function: Function::Promote,
        takes: &[],
        leaves: &[Leaves::Executions],
    },
    Step { action: Action::CleanUpFailed, function: Function::Prune, takes: &[], leaves: &[] },
];

/// Refuses a document in a stage that this action doesn't take.
pub(super) fn check(action: Action, document: &Document) -> Result<()> {
    let stage = document.bake.progress.stage;
    let step = STEPS.iter().find(|step| step.action == action);
    if step.is_some_and(|step| step.takes.contains(&stage)) { Ok(()) } else { Err(wrong(action, document)) }
}

/// The error of an action on a bake in another stage.
pub(super) fn wrong(action: Action, document: &Document) -> Error {
    let (spec, stage) = (&document.bake.spec, document.bake.progress.stage);
    Error::bad_input(
        format!("bake `{}` in stage {stage}", spec.id),
        format!("can't be worked on by `{}`, which takes bakes in other stages", action.as_str()),
        "Deploy functions and state machine of one version",
    )
}
