//! SSM's commands: send, look, cancel, and which instances answer.

use jiff::Timestamp;
use ovenbird_core::domain::id::{CommandId, InstanceId};
use serde::{Deserialize, Serialize};

use crate::{ApiError, Filter, Instance, Order, Page, Paging, Result, World};

/// SSM's states of a command in an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommandStatus {
    /// Sent.
    Pending,
    /// Running.
    InProgress,
    /// Ended with exit status 0.
    Success,
    /// Ended with another one.
    Failed,
    /// Its time was over.
    TimedOut,
    /// Somebody cancelled it.
    Cancelled,
}

impl CommandStatus {
    /// SSM's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::InProgress => "InProgress",
            Self::Success => "Success",
            Self::Failed => "Failed",
            Self::TimedOut => "TimedOut",
            Self::Cancelled => "Cancelled",
        }
    }

    fn is_over(self) -> bool {
        match self {
            Self::Pending | Self::InProgress => false,
            Self::Success | Self::Failed | Self::TimedOut | Self::Cancelled => true,
        }
    }
}

/// A command in one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invocation {
    /// The instance that it was sent to.
    pub instance: InstanceId,
    /// How far it is in this instance.
    pub status: CommandStatus,
    /// Its exit status; -1 while it has none.
    pub exit: i32,
    /// What the script wrote to standard output; empty until it ends.
    pub stdout: String,
    /// Its errors.
    pub stderr: String,
    /// When it ended.
    pub ended: Option<Timestamp>,
}

/// A command as SSM keeps it: one script, sent to some instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The id that SSM gave it: a UUID.
    pub id: CommandId,
    /// What its sender says of it.
    pub comment: String,
    /// The document it runs.
    pub document: String,
    /// When it was sent.
    pub requested: Timestamp,
    /// What it runs.
    pub script: String,
    /// How long it may take.
    pub timeout_seconds: u64,
    /// In each instance.
    pub invocations: Vec<Invocation>,
}

impl Command {
    /// How it stands in all: the worst of its instances, or under way.
    pub fn status(&self) -> CommandStatus {
        let all = || self.invocations.iter().map(|invocation| invocation.status);
        let bad = all().find(|status| status.is_over() && *status != CommandStatus::Success);
        all().find(|status| !status.is_over()).or(bad).unwrap_or(CommandStatus::Success)
    }
}

/// How a command ended in an instance.
pub(crate) struct CommandEnd {
    pub exit: i32,
    pub stdout: String,
    pub stderr: String,
    pub timed_out: bool,
}

/// The parameters of `SendCommand`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SendCommand {
    /// The document: `AWS-RunShellScript`.
    pub document: String,
    /// The ids of the instances to send it to.
    pub instances: Vec<String>,
    /// What the sender says of it, at most 100 characters.
    pub comment: String,
    /// The lines of the script.
    pub commands: Vec<String>,
    /// How long it may take, in seconds, as text.
    pub execution_timeout: Option<String>,
    /// The folder that it runs in.
    pub working_directory: Option<String>,
}

/// An instance that answers to SSM, or did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceInformation {
    /// The instance that the agent runs on.
    pub instance: InstanceId,
    /// Whether it answers now.
    pub online: bool,
    /// Since when.
    pub since: Timestamp,
    /// Its address, as the agent reported it.
    pub address: Option<String>,
}

impl World {
    /// Sends a shell script to instances that answer.
    pub fn send_command(&mut self, now: Timestamp, request: &SendCommand) -> Result<Command> {
        if request.document != "AWS-RunShellScript" {
            let message = format!("Document with name {} does not exist.", request.document);
            return Err(ApiError::new("InvalidDocument", message));
        }
        if request.comment.chars().count() > 100 {
            let message = "Value at 'comment' failed to satisfy constraint: Member must have length less than or equal to 100";
            return Err(ApiError::new("ValidationException", message));
        }
        if request.commands.is_empty() {
            return Err(ApiError::new(
                "InvalidParameters",
                "Document AWS-RunShellScript requires the parameter commands.",
            ));
        }
        if request.instances.is_empty() || request.instances.len() > 50 {
            return Err(ApiError::new("ValidationException", "Between 1 and 50 instance ids are needed."));
        }
        let timeout_seconds = match &request.execution_timeout {
            None => 3_600,
            Some(text) => {
                let seconds = text.parse().ok().filter(|seconds| (1..=172_800).contains(seconds));
                seconds.ok_or_else(|| {
                    ApiError::new("InvalidParameters", "executionTimeout is 1 to 172800 seconds.")
                })?
            }
        };
        let mut invocations = Vec::new();
        for id in &request.instances {
            let instance = self.instances.values().find(|instance| instance.id.as_str() == id);
            let instance = instance.filter(|instance| instance.agent_since.is_some());
            let unfit = || {
                let message = format!("Instances [[{id}]] not in a valid state for account {}", self.account);
                ApiError::new("InvalidInstanceId", message)
            };
            invocations.push(Invocation {
                instance: instance.ok_or_else(unfit)?.id.clone(),
                status: CommandStatus::Pending,
                exit: -1,
                stdout: String::new(),
                stderr: String::new(),
                ended: None,
            });
        }
        let hash = self.next_id("command");
        let id =
            format!("{}-{}-{}-{}-{}", &hash[..8], &hash[8..12], &hash[12..16], &hash[16..20], &hash[20..32]);
        let id = CommandId::parse(&id)
            .unwrap_or_else(|error| unreachable!("a command id by construction: {error}"));
        let mut script = request.commands.join("\n");
        if let Some(folder) = &request.working_directory {
            script = format!("cd {} || exit\n{script}", ovenbird_core::domain::plan::quote(folder));
        }
        let command = Command {
            id: id.clone(),
            comment: request.comment.clone(),
            document: request.document.clone(),
            requested: now,
            script: script.clone(),
            timeout_seconds,
            invocations,
        };
        for invocation in &command.invocations {
            self.orders.push(Order::Run {
                instance: invocation.instance.clone(),
                command: id.clone(),
                script: script.clone(),
                timeout_seconds,
            });
        }
        self.commands.insert(id, command.clone());
        Ok(command)
    }

    /// A command in one instance.
    pub fn get_command_invocation(&self, command: &str, instance: &str) -> Result<(Command, Invocation)> {
        let found = self.commands.values().find(|one| one.id.as_str() == command);
        let missing = || ApiError::new("InvocationDoesNotExist", "");
        let found = found.ok_or_else(missing)?;
        let invocation = found.invocations.iter().find(|one| one.instance.as_str() == instance);
        Ok((found.clone(), invocation.ok_or_else(missing)?.clone()))
    }

    /// Commands in instances, newest first.
    pub fn list_command_invocations(
        &self,
        command: Option<&str>,
        instance: Option<&str>,
        paging: &Paging,
    ) -> Result<Page<(Command, Invocation)>> {
        let mut found = Vec::new();
        for one in self.found(command, instance)? {
            for invocation in &one.invocations {
                if instance.is_none_or(|wanted| invocation.instance.as_str() == wanted) {
                    found.push((one.clone(), invocation.clone()));
                }
            }
        }
        page(found, paging)
    }

    /// Commands, newest first.
    pub fn list_commands(
        &self,
        command: Option<&str>,
        instance: Option<&str>,
        paging: &Paging,
    ) -> Result<Page<Command>> {
        page(self.found(command, instance)?, paging)
    }

    fn found(&self, command: Option<&str>, instance: Option<&str>) -> Result<Vec<Command>> {
        if let Some(wanted) = command
            && CommandId::parse(wanted).is_err()
        {
            return Err(ApiError::new("InvalidCommandId", format!("{wanted} is no command id")));
        }
        let mut found: Vec<Command> = self
            .commands
            .values()
            .filter(|one| command.is_none_or(|wanted| one.id.as_str() == wanted))
            .filter(|one| {
                instance.is_none_or(|wanted| one.invocations.iter().any(|i| i.instance.as_str() == wanted))
            })
            .cloned()
            .collect();
        found.sort_by(|a, b| b.requested.cmp(&a.requested).then_with(|| a.id.cmp(&b.id)));
        Ok(found)
    }

    /// The instances that answer, or did until they stopped.
    pub fn describe_instance_information(
        &self,
        filters: &[Filter],
        paging: &Paging,
    ) -> Result<Page<InstanceInformation>> {
        let known = ["InstanceIds", "PingStatus", "PlatformTypes", "ResourceType"];
        let known = |name: &str| known.contains(&name) || name.starts_with("tag:");
        if let Some(unknown) = filters.iter().find(|filter| !known(&filter.name)) {
            return Err(ApiError::new("InvalidFilterKey", format!("{} is no filter", unknown.name)));
        }
        let field = |instance: &Instance, name: &str| match name {
            "PingStatus" => "Online".to_owned(),
            "PlatformTypes" => "Linux".to_owned(),
            "ResourceType" => "EC2Instance".to_owned(),
            name => match name.strip_prefix("tag:") {
                Some(key) => instance.tags.get(key).cloned().unwrap_or_default(),
                None => instance.id.to_string(),
            },
        };
        let mut found = Vec::new();
        for instance in self.instances.values() {
            let Some(since) = instance.agent_since else { continue };
            if filters.iter().all(|filter| filter.values.contains(&field(instance, &filter.name))) {
                found.push(InstanceInformation {
                    instance: instance.id.clone(),
                    online: true,
                    since,
                    address: instance.address.clone(),
                });
            }
        }
        page(found, paging)
    }

    /// Ends a command where it hasn't ended.
    pub fn cancel_command(&mut self, command: &str, instances: &[String]) -> Result<()> {
        let found = self.commands.find_mut(|one| one.id.as_str() == command);
        let found =
            found.ok_or_else(|| ApiError::new("InvalidCommandId", format!("{command} is no command")))?;
        for invocation in &mut found.invocations {
            let meant = instances.is_empty() || instances.iter().any(|id| id == invocation.instance.as_str());
            if meant && !invocation.status.is_over() {
                invocation.status = CommandStatus::Cancelled;
                self.orders
                    .push(Order::Cancel { instance: invocation.instance.clone(), command: found.id.clone() });
            }
        }
        Ok(())
    }

    pub(crate) fn command_started(&mut self, instance: &InstanceId, id: &CommandId) {
        if let Some(invocation) = self.invocation(instance, id)
            && invocation.status == CommandStatus::Pending
        {
            invocation.status = CommandStatus::InProgress;
        }
    }

    fn invocation(&mut self, instance: &InstanceId, id: &CommandId) -> Option<&mut Invocation> {
        self.commands.get_mut(id)?.invocations.iter_mut().find(|one| one.instance == *instance)
    }

    pub(crate) fn command_ended(
        &mut self,
        now: Timestamp,
        instance: &InstanceId,
        id: &CommandId,
        end: CommandEnd,
    ) {
        // One that was cancelled or lost stays so.
        let Some(invocation) = self.invocation(instance, id).filter(|one| !one.status.is_over()) else {
            return;
        };
        invocation.status = match (end.timed_out, end.exit) {
            (true, _) => CommandStatus::TimedOut,
            (false, 0) => CommandStatus::Success,
            (false, _) => CommandStatus::Failed,
        };
        invocation.exit = end.exit;
        invocation.stdout = end.stdout;
        invocation.stderr = end.stderr;
        invocation.ended = Some(now);
    }

    /// An instance went down: what ran in it can't answer any more.
    pub(crate) fn end_commands(&mut self, now: Timestamp, instance: &InstanceId) {
        let open = |one: &Invocation| one.instance == *instance && !one.status.is_over();
        let all = self.commands.filter_mut(|command| command.invocations.iter().any(open));
        for invocation in all.flat_map(|command| &mut command.invocations).filter(|one| open(one)) {
            invocation.status = CommandStatus::Failed;
            invocation.stderr = "The instance went down while the command ran".into();
            invocation.ended = Some(now);
        }
    }
}

/// SSM's pages are numbered: their order is by time and not by name.
fn page<T>(all: Vec<T>, paging: &Paging) -> Result<Page<T>> {
    let most = paging.max_results.unwrap_or(50);
    if !(1..=50).contains(&most) {
        return Err(ApiError::new("ValidationException", "MaxResults is 1 to 50."));
    }
    let most = usize::try_from(most).unwrap_or(50);
    let start: usize = match &paging.next_token {
        Some(token) => token.parse().map_err(|_| ApiError::new("InvalidNextToken", token.clone()))?,
        None => 0,
    };
    let next_token = (all.len() > start + most).then(|| (start + most).to_string());
    Ok(Page { items: all.into_iter().skip(start).take(most).collect(), next_token })
}
