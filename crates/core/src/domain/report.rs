//! The reports that the runner leaves: what ran, how long, and how it ended.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The name of the step before the recipe's own: artifact and files come onto the builder.
pub const FETCH: &str = "fetch";

/// How a machine came to boot again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reboot {
    /// It was shut down in order.
    InOrder,
    /// It crashed, or was reset.
    Unordered,
}

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
    /// It could not begin, the runner could not do the step, or its exit status means this.
    Failed(String),
    /// It was left out: its `only-if` did not hold.
    Skipped,
    /// The machine booted again while it ran, which the recipe did not ask for.
    Rebooted(Reboot),
}

impl Exit {
    /// Whether it ended well; what was left out did no harm.
    pub fn is_success(&self) -> bool {
        match self {
            Self::Status(status) => *status == 0,
            Self::Skipped => true,
            Self::Signal(_) | Self::TimedOut(_) | Self::Failed(_) | Self::Rebooted(_) => false,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "exit {status}"),
            Self::Signal(signal) => write!(f, "killed by signal {signal}"),
            Self::TimedOut(seconds) => write!(f, "timed out after {seconds} s"),
            Self::Failed(problem) => f.write_str(problem),
            Self::Skipped => f.write_str("skipped"),
            Self::Rebooted(Reboot::InOrder) => f.write_str(
                "the machine was shut down and booted again in this step. If the step means to do that, give it \
                 `reboot = true`",
            ),
            Self::Rebooted(Reboot::Unordered) => f.write_str(
                "the machine booted again in this step, and was not shut down before: it crashed, or was reset",
            ),
        }
    }
}

/// One step, done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReport {
    /// The step's name, as the plan has it.
    pub name: String,
    /// How it ended; the last try, where it was tried again.
    pub exit: Exit,
    /// How often it was tried; 0 when it was left out.
    #[serde(default)]
    pub tries: u32,
    /// How long it took, in milliseconds, all tries and the pauses between them together.
    pub milliseconds: u64,
    /// The last lines of its output.
    pub output_tail: String,
    /// Where in the kept log the whole of its output is; none where there is none.
    #[serde(default)]
    pub log: Option<LogPart>,
}

/// A part of the kept log of all steps, in bytes. The log is a UTF-8 text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPart {
    /// Where it begins.
    pub from: usize,
    /// How long it is.
    pub bytes: usize,
}

impl LogPart {
    /// The part of a log; none if the log is another one.
    pub fn of(self, log: &str) -> Option<&str> {
        log.get(self.from..self.from.checked_add(self.bytes)?)
    }
}

impl StepReport {
    /// How it ended, and after how many tries if there were more than one.
    pub fn verdict(&self) -> String {
        match self.tries {
            0 | 1 => self.exit.to_string(),
            tries => format!("{}, tried {tries} times", self.exit),
        }
    }
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
    /// The test's name, as the plan has it; for a case of its JUnit file, both names: `suite: adds`.
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
    /// When one failed: how each service of the recipe and each failed one stands, with its last log lines.
    #[serde(default)]
    pub units: Vec<String>,
}

/// The seal, done or failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealReport {
    /// When it ended.
    pub ended: Timestamp,
    /// What went wrong; none means that the machine is sealed whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(exit: Exit, tries: u32) -> StepReport {
        StepReport { name: "it".into(), exit, tries, milliseconds: 1, output_tail: String::new(), log: None }
    }

    #[test]
    fn what_was_left_out_is_no_failure() {
        let now = Timestamp::UNIX_EPOCH;
        let steps = vec![step(Exit::Skipped, 0), step(Exit::Status(0), 2), step(Exit::Status(3), 3)];
        let report = ProvisionReport { started: now, ended: now, steps };
        assert_eq!(report.failure().unwrap().verdict(), "exit 3, tried 3 times");
    }
}
