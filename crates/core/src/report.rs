//! The reports that the runner leaves: what ran, how long, and how it ended.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// With this exit status.
    Status(i32),
    /// By this signal.
    Signal(i32),
    /// It was killed after so many seconds.
    TimedOut(u64),
    /// It could not begin, or the runner could not do the step.
    Failed(String),
}

impl Exit {
    /// Whether it ended well.
    pub fn is_success(&self) -> bool {
        *self == Self::Status(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "exit {status}"),
            Self::Signal(signal) => write!(f, "killed by signal {signal}"),
            Self::TimedOut(seconds) => write!(f, "timed out after {seconds} s"),
            Self::Failed(problem) => f.write_str(problem),
        }
    }
}

/// One step, done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReport {
    /// Its name.
    pub name: String,
    /// How it ended.
    pub exit: Exit,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
    /// The last lines of its output.
    pub output_tail: String,
}

/// The steps, done or stopped at the first failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvisionReport {
    /// When the first began.
    pub started: Timestamp,
    /// When the last ended.
    pub ended: Timestamp,
    /// Each that ran.
    pub steps: Vec<StepReport>,
}

impl ProvisionReport {
    /// The step that failed.
    pub fn failure(&self) -> Option<&StepReport> {
        self.steps.iter().find(|step| !step.exit.is_success())
    }
}

/// One test, done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestOutcome {
    /// Its name.
    pub name: String,
    /// Whether it passed.
    pub passed: bool,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
    /// What was seen.
    pub detail: String,
}

/// The tests: all of them ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestReport {
    /// When the first began.
    pub started: Timestamp,
    /// When the last ended.
    pub ended: Timestamp,
    /// Each.
    pub tests: Vec<TestOutcome>,
}
