//! One CloudFormation stack: made, changed, watched and asked.

use std::time::{Duration, Instant};

use super::api::Api;
use crate::{
    error::{LocalError, Result},
    xml::Element,
};

const VERSION: &str = "2010-05-15";

/// How long a deployment may take; usually it takes a few seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// A stack of a cloud.
#[derive(Debug)]
pub(super) struct Stack<'a> {
    /// The cloud.
    pub api: &'a Api,
    /// The stack's name.
    pub name: &'a str,
}

/// Whether a stack in this state has everything its template says.
pub(super) fn is_whole(status: &str) -> bool {
    matches!(status, "CREATE_COMPLETE" | "UPDATE_COMPLETE")
}

impl Stack<'_> {
    /// Its status; none when it isn't there.
    pub async fn status(&self) -> Result<Option<String>> {
        let Some(stack) = self.describe().await? else { return Ok(None) };
        let status = stack.all("StackStatus").next().map(|status| status.text.trim().to_owned());
        Ok(status.filter(|status| status != "DELETE_COMPLETE"))
    }

    /// One of its outputs.
    pub async fn output(&self, name: &str) -> Result<String> {
        let stack = self.describe().await?.unwrap_or_default();
        let value = stack.all("member").find(|member| member.text_of("OutputKey") == name);
        value.map(|member| member.text_of("OutputValue").to_owned()).ok_or_else(|| LocalError::Deploy {
            what: format!("stack `{}`", self.name),
            problem: format!("it has no output `{name}`"),
        })
    }

    /// The names of its resources of one type.
    pub async fn resources(&self, kind: &str) -> Result<Vec<String>> {
        let answer = self.call("DescribeStackResources", &[]).await?;
        let ours = answer.all("member").filter(|member| member.text_of("ResourceType") == kind);
        Ok(ours.map(|member| member.text_of("PhysicalResourceId").to_owned()).collect())
    }

    /// Deletes it and waits until it is gone.
    pub async fn delete(&self) -> Result<()> {
        self.call("DeleteStack", &[]).await?;
        let deadline = Instant::now() + PATIENCE;
        while let Some(status) = self.status().await? {
            if status == "DELETE_FAILED" || Instant::now() > deadline {
                return Err(self.failed(&status).await);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Makes it, or changes it to the template of this URL, and waits for the end of that. A request takes 51,200 bytes of
    /// a template itself, an object in S3 may have 1 MB.
    pub async fn deploy(&self, template: &str, parameters: &[(&str, &str)]) -> Result<()> {
        let action = if self.status().await?.is_some() { "UpdateStack" } else { "CreateStack" };
        let mut form = vec![
            ("TemplateURL".to_owned(), template),
            ("Capabilities.member.1".to_owned(), "CAPABILITY_NAMED_IAM"),
            ("Capabilities.member.2".to_owned(), "CAPABILITY_AUTO_EXPAND"),
        ];
        for (number, (name, value)) in (1..).zip(parameters) {
            form.push((format!("Parameters.member.{number}.ParameterKey"), name));
            form.push((format!("Parameters.member.{number}.ParameterValue"), value));
        }
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        match self.call(action, &form).await {
            Err(LocalError::Refused { body, .. }) if body.contains("No updates are to be performed") => {
                return Ok(());
            }
            other => other?,
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status().await?.unwrap_or_default();
            if is_whole(&status) {
                return Ok(());
            }
            if !status.ends_with("_IN_PROGRESS") || status.contains("ROLLBACK") || Instant::now() > deadline {
                return Err(self.failed(&status).await);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The error of a deployment, with the first resource that failed.
    async fn failed(&self, status: &str) -> LocalError {
        let events = self.call("DescribeStackEvents", &[]).await.unwrap_or_default();
        let failed =
            events.all("member").filter(|event| event.text_of("ResourceStatus").ends_with("_FAILED"));
        let reasons: Vec<String> = failed
            .map(|event| {
                format!("{}: {}", event.text_of("LogicalResourceId"), event.text_of("ResourceStatusReason"))
            })
            .collect();
        let problem = format!("it ended as {status}: {}", reasons.join("; "));
        LocalError::Deploy { what: format!("stack `{}`", self.name), problem }
    }

    async fn describe(&self) -> Result<Option<Element>> {
        match self.call("DescribeStacks", &[]).await {
            Ok(answer) => Ok(Some(answer)),
            Err(LocalError::Refused { body, .. }) if body.contains("does not exist") => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn call(&self, action: &str, parameters: &[(&str, &str)]) -> Result<Element> {
        let parameters: Vec<_> =
            [("StackName", self.name)].into_iter().chain(parameters.iter().copied()).collect();
        self.api.query("cloudformation", VERSION, action, &parameters).await
    }
}
