//! Everything that can go wrong in a bake, once, with its three renderings.
//!
//! `name()` is what the state machine matches, `Display` and the source chain say what happened to what,
//! and `hint()` is the command, setting or permission that fixes it. A variant's text never repeats its source.

mod hint;
mod kind;
mod name;
#[cfg(test)]
mod tests;
mod told;

use std::fmt::Write as _;

pub use self::kind::{Kind, Retry};

use crate::domain::{
    id::{AmiId, BakeId, IdError, InstanceId, ParameterName, PipelineName},
    offer::{Loss, Offer, Shortage},
    stage::{Stage, Status},
};

/// The result of a step or a port.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What stands for a code where no answer came: no network, no credentials, or a connection that broke.
pub const NO_ANSWER: &str = "NoAnswer";

/// A failure of a bake or of a prune run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An input from outside can't be taken as it is.
    #[error("{what}: {problem}")]
    BadInput {
        /// The thing that was given, by name.
        what: String,
        /// What is wrong with it.
        problem: String,
        /// How to make it right.
        fix: String,
    },
    /// No recipe was pushed for the pipeline.
    #[error("no recipe for pipeline `{pipeline}`")]
    NoRecipe {
        /// The pipeline asked for.
        pipeline: PipelineName,
    },
    /// The recipe that was pushed can't be used.
    #[error("the recipe of pipeline `{pipeline}` is wrong: {problem}")]
    BadRecipe {
        /// The pipeline whose recipe it is.
        pipeline: PipelineName,
        /// Every error found, with line and column.
        problem: String,
    },
    /// The artifact isn't in the bucket, or is empty.
    #[error("artifact `{key}` {problem}")]
    NoArtifact {
        /// The pipeline that it is for.
        pipeline: PipelineName,
        /// The key in the bucket.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The recipe's base resolves to no usable image.
    #[error("no base image: {what} {problem}")]
    NoBase {
        /// The base as the recipe names it.
        what: String,
        /// What was found instead.
        problem: String,
    },
    /// EC2 has no capacity for an offer, or for any offer of the recipe.
    #[error("no capacity: {tried}")]
    NoCapacity {
        /// What was tried, in order, with EC2's code: `c7i.large spot in subnet-1 (InsufficientInstanceCapacity)`.
        tried: String,
        /// What was short the last time.
        shortage: Shortage,
        /// EC2's last answer.
        #[source]
        source: Option<Box<Error>>,
    },
    /// A provisioning step failed on the builder.
    #[error("step `{step}` failed on the builder ({exit})\n{output}")]
    StepFailed {
        /// The step's name.
        step: String,
        /// How it ended: `exit 1`, `timed out after 600 s`.
        exit: String,
        /// The last lines of its output.
        output: String,
    },
    /// At least one test failed; an image that fails its tests is never promoted.
    #[error("{failed} of {total} tests failed: {detail}\neach test's outcome: `ovenbird tests {bake}`")]
    TestsFailed {
        /// How many tests failed.
        failed: usize,
        /// How many tests ran.
        total: usize,
        /// The first failure with the last lines of its output, and the names of the others.
        detail: String,
        /// The bake whose tests they are.
        bake: BakeId,
    },
    /// The seal failed: something that belongs to this one machine would be in the image.
    #[error("{instance} could not be sealed: {problem}")]
    SealFailed {
        /// The builder.
        instance: InstanceId,
        /// What could not be removed, and why.
        problem: String,
    },
    /// The runner failed at what it does itself: it could not start, fetch its plan, or report.
    #[error("the runner on {instance} failed: {problem}")]
    RunnerFailed {
        /// The instance.
        instance: InstanceId,
        /// What it says.
        problem: String,
    },
    /// An instance runs, and is not heard of.
    #[error(
        "instance {instance} said nothing for {seconds} s in stage {stage}; it {what}. Its console ends:\n{console}"
    )]
    BuilderSilent {
        /// The instance.
        instance: InstanceId,
        /// The stage.
        stage: Stage,
        /// For how long.
        seconds: i64,
        /// Whether it was ever heard of.
        heard: bool,
        /// What it did when it was last heard of, as `was at …`.
        what: String,
        /// The last lines of its console.
        console: String,
    },
    /// The builder is gone, or stopped when it should be working.
    #[error("builder {instance} is {state} in stage {stage}{reason}\n{console}")]
    BuilderLost {
        /// The builder that is gone or stopped.
        instance: InstanceId,
        /// The stage in which it went.
        stage: Stage,
        /// EC2's state of it.
        state: String,
        /// EC2's state reason, with a leading `: `, or nothing.
        reason: String,
        /// What that reason means.
        loss: Loss,
        /// The last lines of its console.
        console: String,
    },
    /// A stage took longer than the recipe allows.
    #[error("stage {stage} passed its deadline of {allowed} s: waited for {awaited}, last saw {seen}")]
    DeadlinePassed {
        /// The stage that took too long.
        stage: Stage,
        /// The deadline, in seconds.
        allowed: i64,
        /// What would have ended the wait.
        awaited: &'static str,
        /// What the last look found: EC2's state of the instance, or that no report is there.
        seen: String,
    },
    /// EC2 could not make the image.
    #[error("image {image} failed: {reason}")]
    ImageFailed {
        /// The image that stays unusable.
        image: AmiId,
        /// EC2's state reason.
        reason: String,
    },
    /// A promotion was refused because the image has not passed its tests, or is gone.
    #[error("image {image} can't be promoted: {problem}")]
    NotPromotable {
        /// The image that was to be promoted.
        image: AmiId,
        /// What it lacks, or that it is gone.
        problem: String,
    },
    /// The parameter that a recipe promotes to is another pipeline's.
    #[error("parameter `{parameter}` follows channel {owner}")]
    ParameterTaken {
        /// The parameter that the recipe names.
        parameter: ParameterName,
        /// The channel that it follows, with its pipeline: `storefront/production`.
        owner: String,
    },
    /// A parameter may still take the image that is to go, or does not show yet that it went back.
    #[error("parameter `{parameter}` {what}")]
    ParameterBusy {
        /// The parameter.
        parameter: ParameterName,
        /// What it may still do, or does not yet.
        what: String,
    },
    /// EC2 may not show yet all that a bake made: its clean-up looks again.
    #[error("bake `{bake}` may have made what EC2 does not show yet: {what}")]
    Unseen {
        /// The bake that is cleaned up after.
        bake: BakeId,
        /// What it may be.
        what: String,
    },
    /// The promotion stands, and something that follows the channel does not have its image.
    #[error("channel `{channel}` has its image, and not all follows it: {what}")]
    NotFollowed {
        /// The channel: `storefront/production`.
        channel: String,
        /// What does not follow, and how it stands.
        what: String,
    },
    /// A step of a bake that was cancelled, or cleaned up after, meanwhile.
    #[error("bake `{bake}` has ended already: {}", status.as_str())]
    BakeEnded {
        /// The bake that a step was still at work for.
        bake: BakeId,
        /// How it ended.
        status: Status,
    },
    /// Another bake took the digest's lease over; this one may not write any more.
    #[error("bake `{bake}` lost the lease of its digest")]
    LeaseLost {
        /// The bake that lost it.
        bake: BakeId,
    },
    /// Something that a failed bake made could not be removed.
    #[error("bake `{bake}` left behind: {what}")]
    LeftBehind {
        /// The bake whose clean-up could not finish.
        bake: BakeId,
        /// Every resource left, with the command that removes it.
        what: String,
    },
    /// A prune run could not do all that it planned; the rest was done.
    #[error("prune run `{run}` could not do everything:\n{failures}")]
    PruneIncomplete {
        /// The run: the name of its execution.
        run: String,
        /// Each item that failed, with its error.
        failures: String,
    },
    /// What was asked for can't be done at this moment, and may simply be asked for again.
    #[error("{what} {}", why.words())]
    TryAgain {
        /// The thing it is about.
        what: String,
        /// Why not now.
        why: Retry,
    },
    /// AWS asks to slow down.
    #[error("{operation} was throttled")]
    Throttled {
        /// The API operation, as IAM writes it: `ec2:DescribeImages`.
        operation: String,
        /// AWS's answer.
        #[source]
        source: Option<Box<Error>>,
    },
    /// A role lacks a permission.
    #[error("not allowed to call {operation} on {subject}")]
    Denied {
        /// The API operation, as IAM writes it: `ec2:CreateImage`.
        operation: String,
        /// The resource that it was about.
        subject: String,
        /// AWS's answer.
        #[source]
        source: Option<Box<Error>>,
    },
    /// Any other answer of AWS that no decision hangs on.
    #[error("{operation} on {subject}: {code}: {message}{}", request(request_id))]
    Aws {
        /// The API operation, as IAM writes it.
        operation: String,
        /// The resource that it was about: an id, a key or a name.
        subject: String,
        /// AWS's error code.
        code: String,
        /// AWS's message.
        message: String,
        /// AWS's id of the request, empty when it never got there.
        request_id: String,
    },
    /// A stored document isn't what this version writes.
    #[error("{what} can't be read")]
    Corrupt {
        /// Which document.
        what: String,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
}

fn request(id: &str) -> String {
    if id.is_empty() { String::new() } else { format!(" (request {id})") }
}

impl Error {
    /// Whether it goes by: no answer, too many requests, or something that isn't ready yet. Whoever meets it tries again.
    pub fn goes_by(&self) -> bool {
        matches!(self, Self::Throttled { .. } | Self::TryAgain { .. })
    }

    /// The text with all its causes, one below the other.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            let _ = write!(text, "\n  caused by: {cause}");
            source = cause.source();
        }
        text
    }

    /// What kept an answer away, where a request got none; none for every other error.
    pub fn no_answer(&self) -> Option<&str> {
        if let Self::Throttled { source: Some(source), .. } = self {
            return source.no_answer();
        }
        if let Self::Aws { code, message, .. } = self { (code == NO_ANSWER).then_some(message) } else { None }
    }

    /// EC2's refusal of one offer, when the adapter says that something is short; else the refusal as it is.
    pub fn refused(offer: &Offer, code: &str, shortage: Option<Shortage>, refusal: Self) -> Self {
        match shortage {
            Some(shortage) => Self::NoCapacity {
                tried: format!("{offer} ({code})"),
                shortage,
                source: Some(Box::new(refusal)),
            },
            None => refusal,
        }
    }

    /// What somebody else wrote since it was read.
    pub fn changed(what: impl Into<String>) -> Self {
        Self::TryAgain { what: what.into(), why: Retry::Changed }
    }

    /// A refusal of an outside input.
    pub fn bad_input(what: impl Into<String>, problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::BadInput { what: what.into(), problem: problem.into(), fix: fix.into() }
    }

    /// A refusal of a text that is no identifier.
    pub fn bad_id(what: &str, error: &IdError) -> Self {
        Self::bad_input(what, error.to_string(), format!("Give {}: {}", error.kind, error.rule))
    }
}
