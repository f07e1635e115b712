//! Executions of the state machines, through Step Functions.

use aws_sdk_sfn::types::ExecutionStatus;
use jiff::Timestamp;
use ovenbird_core::{
    Error, Result,
    domain::{
        bake::Failure,
        id::{BakeId, Digest, StackId},
        retirement::Floors,
        signature::Signers,
    },
    ports::{self, Stack, Workflow},
};

use crate::{
    Cloud,
    errors::{code, translate, unreadable},
};

/// An execution in a list of the newest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// Its name.
    pub name: BakeId,
    /// When it began.
    pub started: Timestamp,
    /// Whether it ended well; none while it is on its way.
    pub succeeded: Option<bool>,
}

/// How an execution stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Execution {
    /// On its way.
    Running,
    /// Ended well, with this output.
    Succeeded(String),
    /// Ended badly.
    Failed {
        /// What it was started with, a JSON text.
        input: String,
        /// The error's name.
        error: String,
        /// What happened.
        cause: String,
        /// When it started.
        started: Timestamp,
        /// When it ended.
        ended: Option<Timestamp>,
    },
}

impl Workflow for Cloud {
    async fn start_bake(&self, bake: &BakeId, input: &serde_json::Value) -> Result<()> {
        self.start_once(self.bake_machine()?, bake, input).await
    }

    async fn start_rollout(&self, name: &BakeId, input: &serde_json::Value) -> Result<()> {
        self.start_once(self.rollout_machine()?, name, input).await
    }

    async fn rollout_execution(&self, name: &BakeId) -> Result<Option<ports::Execution>> {
        self.standing(self.rollout_machine()?, name).await
    }

    async fn bake_execution(&self, bake: &BakeId) -> Result<Option<ports::Execution>> {
        self.standing(self.bake_machine()?, bake).await
    }
}

impl Stack for Cloud {
    fn stack(&self) -> &StackId {
        &self.settings.stack
    }

    fn floors(&self) -> Result<Floors> {
        self.settings.floors.ok_or_else(|| {
            Error::bad_input(
                "the function's environment",
                "doesn't say what the account retains at least",
                "Deploy with `infra/template.yaml`, which sets `OVENBIRD_RETAIN_NEWEST` and `OVENBIRD_RETAIN_DAYS`",
            )
        })
    }

    fn most_builders(&self) -> Result<u32> {
        self.settings.most_builders.ok_or_else(|| {
            Error::bad_input(
                "the function's environment",
                "doesn't say how many builders there may be",
                "Deploy with `infra/template.yaml`, which sets `OVENBIRD_MOST_BUILDERS`",
            )
        })
    }

    fn runners(&self) -> Vec<Digest> {
        self.settings.runners.clone()
    }

    fn signers(&self) -> &Signers {
        &self.settings.signers
    }
}

impl Cloud {
    fn bake_machine(&self) -> Result<&str> {
        named(self.settings.bake_machine.as_deref(), "OVENBIRD_BAKE_STATE_MACHINE")
    }

    fn rollout_machine(&self) -> Result<&str> {
        named(self.settings.rollout_machine.as_deref(), "OVENBIRD_ROLLOUT_STATE_MACHINE")
    }

    /// Starts an execution; one of this name that is there already, or was, is no error.
    async fn start_once(&self, machine: &str, name: &BakeId, input: &serde_json::Value) -> Result<()> {
        let request = self
            .sfn
            .start_execution()
            .state_machine_arn(machine)
            .name(name.as_str())
            .input(input.to_string());
        match request.send().await {
            Ok(_) => Ok(()),
            // It ended already: names are taken for 90 days.
            Err(error) if code(&error) == "ExecutionAlreadyExists" => Ok(()),
            Err(error) => Err(translate("states:StartExecution", machine_name(machine), &error)),
        }
    }

    async fn standing(&self, machine: &str, name: &BakeId) -> Result<Option<ports::Execution>> {
        let request = self.sfn.describe_execution().execution_arn(execution(machine, name));
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) if code(&error) == "ExecutionDoesNotExist" => return Ok(None),
            Err(error) => return Err(translate("states:DescribeExecution", name.as_str(), &error)),
        };
        Ok(Some(match answer.status() {
            ExecutionStatus::Running | ExecutionStatus::PendingRedrive => ports::Execution::Running,
            ExecutionStatus::Succeeded => ports::Execution::Succeeded,
            ExecutionStatus::Failed => ports::Execution::Failed,
            ExecutionStatus::TimedOut => ports::Execution::TimedOut,
            ExecutionStatus::Aborted => {
                ports::Execution::Stopped { cause: answer.cause().unwrap_or_default().to_owned() }
            }
            // Nothing may be destroyed on a word that isn't understood.
            other => return Err(unreadable("states:DescribeExecution", name.as_str(), other)),
        }))
    }

    /// Stops an execution; one that has ended already is no error.
    pub async fn stop(&self, machine: &str, name: &BakeId, cause: &str) -> Result<()> {
        let request = self.sfn.stop_execution().execution_arn(execution(machine, name));
        match request.error(Failure::CANCELLED).cause(cause).send().await {
            Ok(_) => Ok(()),
            Err(error) => match self.execution(machine, name).await? {
                // None: it ended so long ago that it is forgotten.
                Some(Execution::Succeeded(_) | Execution::Failed { .. }) | None => Ok(()),
                Some(Execution::Running) => Err(translate("states:StopExecution", name.as_str(), &error)),
            },
        }
    }

    /// Starts an execution under a name; one of this name that ended already is an error.
    pub async fn start(&self, machine: &str, name: &BakeId, input: &str) -> Result<()> {
        let request = self.sfn.start_execution().state_machine_arn(machine).name(name.as_str()).input(input);
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) if code(&error) == "ExecutionAlreadyExists" => Err(Error::bad_input(
                format!("bake `{name}`"),
                "exists already",
                "Leave the name out: one is made for you",
            )),
            Err(error) => Err(translate("states:StartExecution", machine_name(machine), &error)),
        }
    }

    /// How an execution stands; none when there is none of this name.
    pub async fn execution(&self, machine: &str, name: &BakeId) -> Result<Option<Execution>> {
        let request = self.sfn.describe_execution().execution_arn(execution(machine, name));
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) if code(&error) == "ExecutionDoesNotExist" => return Ok(None),
            Err(error) => return Err(translate("states:DescribeExecution", name.as_str(), &error)),
        };
        Ok(Some(match answer.status() {
            ExecutionStatus::Running | ExecutionStatus::PendingRedrive => Execution::Running,
            ExecutionStatus::Succeeded => {
                Execution::Succeeded(answer.output().unwrap_or_default().to_owned())
            }
            other => Execution::Failed {
                input: answer.input().unwrap_or_default().to_owned(),
                error: answer.error().unwrap_or(other.as_str()).to_owned(),
                cause: answer.cause().unwrap_or_default().to_owned(),
                started: time(Some(answer.start_date())).unwrap_or(Timestamp::UNIX_EPOCH),
                ended: time(answer.stop_date()),
            },
        }))
    }

    /// The newest executions, newest first.
    pub async fn newest_executions(&self, machine: &str, most: i32) -> Result<Vec<Newest>> {
        let request = self.sfn.list_executions().state_machine_arn(machine).max_results(most);
        let answer = request.send().await;
        let answer =
            answer.map_err(|error| translate("states:ListExecutions", machine_name(machine), &error))?;
        let found = answer.executions().iter().filter_map(|one| {
            let name = BakeId::parse(one.name()).ok()?;
            let started = Timestamp::from_second(one.start_date().secs()).ok()?;
            let succeeded = match one.status() {
                ExecutionStatus::Running | ExecutionStatus::PendingRedrive => None,
                status => Some(*status == ExecutionStatus::Succeeded),
            };
            Some(Newest { name, started, succeeded })
        });
        Ok(found.collect())
    }

    /// What an execution was started with; none when there is none of this name any more.
    pub async fn input(&self, machine: &str, name: &BakeId) -> Result<Option<String>> {
        match self.sfn.describe_execution().execution_arn(execution(machine, name)).send().await {
            Ok(answer) => Ok(answer.input().map(str::to_owned)),
            Err(error) if code(&error) == "ExecutionDoesNotExist" => Ok(None),
            Err(error) => Err(translate("states:DescribeExecution", name.as_str(), &error)),
        }
    }

    /// The newest executions that failed, newest first, and when each started.
    pub async fn failed_executions(&self, machine: &str) -> Result<Vec<(BakeId, Timestamp)>> {
        let request = self.sfn.list_executions().state_machine_arn(machine).max_results(50);
        let request = request.status_filter(ExecutionStatus::Failed);
        let answer = request.send().await;
        let answer =
            answer.map_err(|error| translate("states:ListExecutions", machine_name(machine), &error))?;
        let failed = answer.executions().iter().filter_map(|execution| {
            let started = time(Some(execution.start_date()))?;
            Some((BakeId::parse(execution.name()).ok()?, started))
        });
        Ok(failed.collect())
    }
}

/// What the environment says under a name.
fn named<'s>(value: Option<&'s str>, variable: &str) -> Result<&'s str> {
    value.ok_or_else(|| {
        Error::bad_input(
            format!("environment variable `{variable}`"),
            "is not set",
            "Deploy with `infra/template.yaml`, which sets it",
        )
    })
}

/// The ARN of an execution of a machine.
fn execution(machine: &str, name: &BakeId) -> String {
    format!("{}:{name}", machine.replacen(":stateMachine:", ":execution:", 1))
}

/// The machine's name without the account's id, which no log should show.
fn machine_name(arn: &str) -> &str {
    arn.rsplit(':').next().unwrap_or(arn)
}

/// A moment of an answer; Step Functions tells it to the millisecond.
fn time(moment: Option<&aws_sdk_sfn::primitives::DateTime>) -> Option<Timestamp> {
    Timestamp::from_millisecond(moment?.to_millis().ok()?).ok()
}
