//! Executions of the bake and rollout state machines.

use serde_json::Value;

use crate::domain::{error::Result, id::BakeId};

/// How an execution stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Execution {
    /// On its way.
    Running,
    /// It ended well, and the bake's record says so, too: a record that doesn't is older than what happened.
    Succeeded,
    /// It ended badly.
    Failed,
    /// Somebody stopped it.
    Stopped {
        /// What was said with the stop; empty when nothing was.
        cause: String,
    },
    /// It took longer than its state machine allows.
    TimedOut,
}

impl Execution {
    /// Whether no state of it will run any more.
    pub fn is_over(&self) -> bool {
        match self {
            Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Stopped { .. } | Self::TimedOut => true,
        }
    }
}

/// Executions of the bake and rollout state machines.
pub trait Workflow {
    /// Starts a bake under this name; one of this name that is there already, or was, is no error.
    async fn start_bake(&self, bake: &BakeId, input: &Value) -> Result<()>;
    /// Starts an execution of the rollout state machine under this name; one of this name that is there already, or was,
    /// is no error.
    async fn start_rollout(&self, name: &BakeId, input: &Value) -> Result<()>;
    /// How an execution of the rollout state machine stands; none when Step Functions knows none of this name.
    async fn rollout_execution(&self, name: &BakeId) -> Result<Option<Execution>>;
    /// How the bake's execution stands; none when Step Functions knows none of this name (it forgets after 90 days).
    async fn bake_execution(&self, bake: &BakeId) -> Result<Option<Execution>>;
}
