//! Commands in instances, through SSM.

use std::fmt;

use crate::domain::{
    error::Result,
    id::{CommandId, InstanceId},
};

/// How a command stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandState {
    /// Not ended yet.
    Running,
    /// Ended with exit status 0.
    Succeeded,
    /// Ended badly.
    Failed {
        /// How it ended.
        exit: CommandExit,
        /// The last lines of its output.
        output: String,
    },
}

/// How a command ended badly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandExit {
    /// By itself, with this status; -1 where SSM never learned it.
    Status(i32),
    /// It took longer than it was given.
    TimedOut,
    /// Somebody cancelled it.
    Cancelled,
}

impl CommandExit {
    /// As a command ends whose instance goes down: SSM calls it failed, and has no status of it.
    pub const CUT_SHORT: Self = Self::Status(-1);
}

impl fmt::Display for CommandExit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(formatter, "exit {status}"),
            Self::TimedOut => formatter.write_str("timed out"),
            Self::Cancelled => formatter.write_str("cancelled"),
        }
    }
}

/// Commands in instances, through SSM.
pub trait Commands {
    /// Whether the instance's agent answers.
    async fn online(&self, instance: &InstanceId) -> Result<bool>;
    /// The command that was sent to the instance with this comment.
    async fn find(&self, instance: &InstanceId, comment: &str) -> Result<Option<CommandId>>;
    /// Sends a shell script.
    async fn send(
        &self,
        instance: &InstanceId,
        comment: &str,
        script: &str,
        timeout_seconds: i64,
    ) -> Result<CommandId>;
    /// How it stands; `None` when SSM doesn't know it (yet).
    async fn outcome(&self, instance: &InstanceId, command: &CommandId) -> Result<Option<CommandState>>;
}
