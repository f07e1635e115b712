//! Commands in builders, through SSM.

use aws_sdk_ssm::types::{CommandInvocationStatus, InstanceInformationStringFilter, PingStatus};
use ovenbird_core::{
    Result,
    domain::id::{CommandId, InstanceId},
    ports::{CommandExit, CommandState, Commands},
};

use crate::{
    Cloud,
    errors::{code, translate, unreadable},
};

/// How many of the output's last lines an error shows.
const TAIL_LINES: usize = 30;

impl Commands for Cloud {
    async fn online(&self, instance: &InstanceId) -> Result<bool> {
        let filter =
            InstanceInformationStringFilter::builder().key("InstanceIds").values(instance.as_str()).build();
        let filter = filter
            .map_err(|error| unreadable("ssm:DescribeInstanceInformation", instance.as_str(), error))?;
        let answer = self.ssm.describe_instance_information().filters(filter).send().await;
        match answer {
            Ok(answer) => Ok(answer
                .instance_information_list()
                .iter()
                .any(|information| information.ping_status() == Some(&PingStatus::Online))),
            // An instance that hasn't registered yet is no valid id to SSM.
            Err(error) if code(&error) == "InvalidInstanceId" => Ok(false),
            Err(error) => Err(translate("ssm:DescribeInstanceInformation", instance.as_str(), &error)),
        }
    }

    async fn find(&self, instance: &InstanceId, comment: &str) -> Result<Option<CommandId>> {
        let mut pages =
            self.ssm.list_command_invocations().instance_id(instance.as_str()).into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = match page {
                Ok(page) => page,
                Err(error) if code(&error) == "InvalidInstanceId" => return Ok(None),
                Err(error) => return Err(translate("ssm:ListCommandInvocations", instance.as_str(), &error)),
            };
            for invocation in page.command_invocations() {
                if invocation.comment() == Some(comment) {
                    return command("ssm:ListCommandInvocations", invocation.command_id()).map(Some);
                }
            }
        }
        Ok(None)
    }

    async fn send(
        &self,
        instance: &InstanceId,
        comment: &str,
        script: &str,
        timeout_seconds: i64,
    ) -> Result<CommandId> {
        let answer = self
            .ssm
            .send_command()
            .document_name("AWS-RunShellScript")
            .instance_ids(instance.as_str())
            .comment(comment)
            .parameters("commands", vec![script.to_owned()])
            .parameters("executionTimeout", vec![timeout_seconds.to_string()])
            .send()
            .await
            .map_err(|error| translate("ssm:SendCommand", instance.as_str(), &error))?;
        command("ssm:SendCommand", answer.command().and_then(|command| command.command_id()))
    }

    async fn outcome(&self, instance: &InstanceId, command: &CommandId) -> Result<Option<CommandState>> {
        let answer =
            self.ssm.get_command_invocation().instance_id(instance.as_str()).command_id(command.as_str());
        let answer = match answer.send().await {
            Ok(answer) => answer,
            // SSM knows a command some moments after it took it.
            Err(error) if code(&error) == "InvocationDoesNotExist" => return Ok(None),
            Err(error) => return Err(translate("ssm:GetCommandInvocation", instance.as_str(), &error)),
        };
        let exit = match answer.status() {
            Some(CommandInvocationStatus::Success) => return Ok(Some(CommandState::Succeeded)),
            Some(
                CommandInvocationStatus::Pending
                | CommandInvocationStatus::InProgress
                | CommandInvocationStatus::Delayed
                | CommandInvocationStatus::Cancelling,
            ) => return Ok(Some(CommandState::Running)),
            Some(CommandInvocationStatus::Failed) => CommandExit::Status(answer.response_code()),
            Some(CommandInvocationStatus::TimedOut) => CommandExit::TimedOut,
            Some(CommandInvocationStatus::Cancelled) => CommandExit::Cancelled,
            other => {
                return Err(unreadable(
                    "ssm:GetCommandInvocation",
                    instance.as_str(),
                    format!("status {other:?}"),
                ));
            }
        };
        let output = [answer.standard_output_content(), answer.standard_error_content()];
        let lines: Vec<&str> = output.into_iter().flatten().flat_map(str::lines).collect();
        let output = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
        Ok(Some(CommandState::Failed { exit, output }))
    }
}

fn command(operation: &'static str, id: Option<&str>) -> Result<CommandId> {
    CommandId::parse(id.unwrap_or_default()).map_err(|error| unreadable(operation, "the command", error))
}
