//! Commands in machines, by the world's Systems Manager, and parameters.

use std::collections::BTreeMap;

use ovenbird_core::{
    Result,
    domain::id::{AmiId, CommandId, InstanceId, ParameterName},
    ports::{self, Commands, Parameters},
};

use super::{super::Cloud, translate};
use ovenbird_sim::{CommandStatus, Filter, Paging, SendCommand};

impl Commands for Cloud {
    async fn online(&self, id: &InstanceId) -> Result<bool> {
        self.call(&["ssm:DescribeInstanceInformation"], |state| {
            let filter = Filter { name: "InstanceIds".into(), values: vec![id.to_string()] };
            let page = state.world.describe_instance_information(&[filter], &Paging::default());
            let page =
                page.map_err(|error| translate("ssm:DescribeInstanceInformation", id.as_str(), &error))?;
            Ok(page.items.iter().any(|one| one.online))
        })
        .await
    }

    async fn find(&self, id: &InstanceId, comment: &str) -> Result<Option<CommandId>> {
        self.call(&["ssm:ListCommandInvocations"], |state| {
            let page = state.world.list_command_invocations(None, Some(id.as_str()), &Paging::default());
            let page = page.map_err(|error| translate("ssm:ListCommandInvocations", id.as_str(), &error))?;
            let found = page.items.into_iter().find(|(command, _)| command.comment == comment);
            Ok(found.map(|(command, _)| command.id))
        })
        .await
    }

    async fn send(
        &self,
        id: &InstanceId,
        comment: &str,
        script: &str,
        timeout_seconds: i64,
    ) -> Result<CommandId> {
        self.call(&["ssm:SendCommand"], |state| {
            let request = SendCommand {
                document: "AWS-RunShellScript".into(),
                instances: vec![id.to_string()],
                comment: comment.to_owned(),
                commands: vec![script.to_owned()],
                execution_timeout: Some(timeout_seconds.to_string()),
                working_directory: None,
            };
            let sent = state.world.send_command(state.now, &request);
            sent.map(|command| command.id).map_err(|error| translate("ssm:SendCommand", id.as_str(), &error))
        })
        .await
    }

    async fn outcome(&self, id: &InstanceId, command: &CommandId) -> Result<Option<ports::CommandState>> {
        self.call(&["ssm:GetCommandInvocation"], |state| {
            let Ok((_, invocation)) = state.world.get_command_invocation(command.as_str(), id.as_str())
            else {
                return Ok(None);
            };
            let failed = |exit| ports::CommandState::Failed { exit, output: invocation.stdout.clone() };
            Ok(Some(match invocation.status {
                CommandStatus::Pending | CommandStatus::InProgress => ports::CommandState::Running,
                CommandStatus::Success => ports::CommandState::Succeeded,
                CommandStatus::Failed => failed(ports::CommandExit::Status(invocation.exit)),
                CommandStatus::TimedOut => failed(ports::CommandExit::TimedOut),
                CommandStatus::Cancelled => failed(ports::CommandExit::Cancelled),
            }))
        })
        .await
    }
}

impl Parameters for Cloud {
    async fn parameter(&self, name: &ParameterName) -> Result<Option<String>> {
        self.call(&["ssm:GetParameter"], |state| Ok(state.parameters.get(name).cloned())).await
    }

    async fn values(&self, names: &[ParameterName]) -> Result<BTreeMap<ParameterName, String>> {
        let mut found = BTreeMap::new();
        // SSM takes ten names at once.
        for names in names.chunks(10) {
            let values = self.call(&["ssm:GetParameters"], |state| {
                let values =
                    names.iter().filter_map(|name| Some((name.clone(), state.parameters.get(name)?.clone())));
                Ok(values.collect::<Vec<_>>())
            });
            found.extend(values.await?);
        }
        Ok(found)
    }

    async fn put_image(&self, name: &ParameterName, image: &AmiId) -> Result<()> {
        self.call(&["ssm:PutParameter"], |state| {
            state.parameters.insert(name.clone(), image.to_string());
            Ok(())
        })
        .await
    }

    async fn remove(&self, name: &ParameterName) -> Result<()> {
        self.call(&["ssm:DeleteParameter"], |state| {
            state.parameters.remove(name);
            Ok(())
        })
        .await
    }
}
