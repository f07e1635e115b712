//! What starts bakes and who hears of failures, through S3, EventBridge, SNS and Step Functions.

use aws_sdk_eventbridge::types::RuleState;
use aws_sdk_sfn::types::ExecutionStatus;
use jiff::Timestamp;
use ovenbird_core::{
    Result,
    domain::id::BakeId,
    ports::{Rule, Run, Signals, Subscription},
};

use crate::{Cloud, errors::translate};

/// What SNS says in place of the ARN of a subscription that nobody confirmed.
const PENDING: &str = "PendingConfirmation";

impl Signals for Cloud {
    async fn uploads_are_told(&self) -> Result<bool> {
        let bucket = &self.settings.bucket;
        let answer = self.s3.get_bucket_notification_configuration().bucket(bucket).send().await;
        let answer = answer.map_err(|error| translate("s3:GetBucketNotification", bucket, &error))?;
        Ok(answer.event_bridge_configuration().is_some())
    }

    async fn rules(&self, target: &str) -> Result<Vec<Rule>> {
        let mut found = Vec::new();
        let mut token = None;
        loop {
            let request = self.events.list_rule_names_by_target().target_arn(target);
            let page = request.set_next_token(token).send().await;
            let page = page.map_err(|error| translate("events:ListRuleNamesByTarget", target, &error))?;
            for name in page.rule_names() {
                let rule = self.events.describe_rule().name(name).send().await;
                let rule = rule.map_err(|error| translate("events:DescribeRule", name, &error))?;
                let is_enabled = rule.state() != Some(&RuleState::Disabled);
                found.push(Rule { name: name.clone(), is_enabled });
            }
            token = page.next_token().map(str::to_owned);
            if token.is_none() {
                return Ok(found);
            }
        }
    }

    async fn subscriptions(&self, topic: &str) -> Result<Vec<Subscription>> {
        let mut pages = self.sns.list_subscriptions_by_topic().topic_arn(topic).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| translate("sns:ListSubscriptionsByTopic", topic, &error))?;
            found.extend(page.subscriptions().iter().map(|one| Subscription {
                protocol: one.protocol().unwrap_or_default().to_owned(),
                endpoint: one.endpoint().unwrap_or_default().to_owned(),
                is_confirmed: one.subscription_arn() != Some(PENDING),
            }));
        }
        Ok(found)
    }

    async fn runs(&self, machine: &str, most: u8) -> Result<Vec<Run>> {
        let request = self.sfn.list_executions().state_machine_arn(machine).max_results(most.into());
        let answer = request.send().await;
        let answer = answer.map_err(|error| translate("states:ListExecutions", machine, &error))?;
        let found = answer.executions().iter().filter_map(|one| {
            Some(Run {
                name: BakeId::parse(one.name()).ok()?,
                started: Timestamp::from_second(one.start_date().secs()).ok()?,
                ended_badly: matches!(
                    one.status(),
                    ExecutionStatus::Failed | ExecutionStatus::TimedOut | ExecutionStatus::Aborted
                ),
            })
        });
        Ok(found.collect())
    }
}
