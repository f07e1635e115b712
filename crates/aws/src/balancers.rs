//! Rules of load balancers, through Elastic Load Balancing.

use std::collections::BTreeSet;

use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, ForwardActionConfig, Rule, TagDescription, TargetGroup,
    TargetGroupStickinessConfig, TargetGroupTuple,
};
use ovenbird_core::{
    Result,
    domain::{
        rollout::{Route, Weight},
        tags::TAG_STACK,
    },
    ports::Balancers,
};

use crate::{
    Cloud,
    errors::{code, translate},
};

/// What errors are about: ARNs have the account's number in them.
const RULES: &str = "the load balancer's rules";
/// How Elastic Load Balancing says that a rule is gone, or its listener with it.
const GONE: [&str; 2] = ["RuleNotFound", "ListenerNotFound"];

impl Balancers for Cloud {
    async fn find_routes(&self, target_groups: &[String]) -> Result<(Vec<Route>, Vec<String>)> {
        let mut routes = Vec::new();
        for listener in self.listeners(target_groups).await? {
            let operation = "elasticloadbalancing:DescribeRules";
            let mut pages = self.balancing.describe_rules().listener_arn(&listener).into_paginator().send();
            while let Some(page) = pages.next().await {
                let page = page.map_err(|error| translate(operation, RULES, &error))?;
                routes.extend(page.rules().iter().filter_map(|rule| route(rule, &listener)));
            }
        }
        routes.retain(|route| route.weights.iter().any(|one| target_groups.contains(&one.target_group)));
        let foreign = self.foreign(&routes).await?;
        Ok((routes, foreign))
    }

    async fn routes(&self, rules: &[String]) -> Result<Vec<Route>> {
        // One by one: of several, one that is gone makes all of the answer an error.
        let mut routes = Vec::new();
        for rule in rules {
            match self.balancing.describe_rules().rule_arns(rule).send().await {
                Ok(answer) => routes.extend(
                    answer.rules().iter().filter_map(|one| route(one, &listener_of(one.rule_arn()?)?)),
                ),
                Err(error) if GONE.contains(&code(&error)) => {}
                Err(error) => return Err(translate("elasticloadbalancing:DescribeRules", RULES, &error)),
            }
        }
        Ok(routes)
    }

    async fn share_out(&self, route: &Route) -> Result<()> {
        if route.is_default {
            let request =
                self.balancing.modify_listener().listener_arn(&route.listener).default_actions(action(route));
            let answer = request.send().await;
            return answer
                .map(drop)
                .map_err(|error| translate("elasticloadbalancing:ModifyListener", RULES, &error));
        }
        let request = self.balancing.modify_rule().rule_arn(&route.rule).actions(action(route));
        let answer = request.send().await;
        answer.map(drop).map_err(|error| translate("elasticloadbalancing:ModifyRule", RULES, &error))
    }
}

impl Cloud {
    /// The listeners of all load balancers that know these target groups.
    async fn listeners(&self, target_groups: &[String]) -> Result<Vec<String>> {
        let operation = "elasticloadbalancing:DescribeTargetGroups";
        let request =
            self.balancing.describe_target_groups().set_target_group_arns(Some(target_groups.to_vec()));
        let answer = request.send().await.map_err(|error| translate(operation, RULES, &error))?;
        let balancers: BTreeSet<&String> =
            answer.target_groups().iter().flat_map(TargetGroup::load_balancer_arns).collect();
        let mut listeners = Vec::new();
        for balancer in balancers {
            let operation = "elasticloadbalancing:DescribeListeners";
            let mut pages =
                self.balancing.describe_listeners().load_balancer_arn(balancer).into_paginator().send();
            while let Some(page) = pages.next().await {
                let page = page.map_err(|error| translate(operation, RULES, &error))?;
                let arns = page.listeners().iter().filter_map(|listener| listener.listener_arn());
                listeners.extend(arns.map(str::to_owned));
            }
        }
        Ok(listeners)
    }

    /// Of the rules and listeners that would be changed, those without this stack's tag.
    async fn foreign(&self, routes: &[Route]) -> Result<Vec<String>> {
        let changed: BTreeSet<&String> =
            routes.iter().map(|route| if route.is_default { &route.listener } else { &route.rule }).collect();
        let changed: Vec<String> = changed.into_iter().cloned().collect();
        let mut foreign = Vec::new();
        // DescribeTags takes 20 at a time.
        for arns in changed.chunks(20) {
            let request = self.balancing.describe_tags().set_resource_arns(Some(arns.to_vec()));
            let answer = request.send().await;
            let answer =
                answer.map_err(|error| translate("elasticloadbalancing:DescribeTags", RULES, &error))?;
            let ours = |arn: &&String| {
                let its =
                    answer.tag_descriptions().iter().filter(|one| one.resource_arn() == Some(arn.as_str()));
                its.flat_map(TagDescription::tags).any(|tag| {
                    tag.key() == Some(TAG_STACK) && tag.value() == Some(self.settings.stack.as_str())
                })
            };
            foreign.extend(arns.iter().filter(|arn| !ours(arn)).cloned());
        }
        Ok(foreign)
    }
}

/// A rule in core's words; none when it forwards nothing.
///
/// An action may name its one target group beside `ForwardConfig`, or in both ways.
fn route(rule: &Rule, listener: &str) -> Option<Route> {
    let forward = rule.actions().iter().find(|action| action.r#type() == Some(&ActionTypeEnum::Forward))?;
    let config = forward.forward_config();
    let tuples = config.map(ForwardActionConfig::target_groups).unwrap_or_default();
    let mut weights: Vec<Weight> = tuples
        .iter()
        .filter_map(|tuple| {
            let weight = u32::try_from(tuple.weight().unwrap_or(1)).unwrap_or(0);
            Some(Weight { target_group: tuple.target_group_arn()?.to_owned(), weight })
        })
        .collect();
    if weights.is_empty() {
        weights.push(Weight { target_group: forward.target_group_arn()?.to_owned(), weight: 1 });
    }
    let sticky = config
        .and_then(ForwardActionConfig::target_group_stickiness_config)
        .filter(|sticky| sticky.enabled() == Some(true))
        .and_then(|sticky| u32::try_from(sticky.duration_seconds()?).ok());
    Some(Route {
        rule: rule.rule_arn()?.to_owned(),
        listener: listener.to_owned(),
        is_default: rule.is_default() == Some(true),
        weights,
        sticky,
    })
}

/// A rule's ARN is its listener's, `:listener-rule/` for `:listener/`, with an id of its own at the end.
fn listener_of(rule: &str) -> Option<String> {
    let (listener, _) = rule.rsplit_once('/')?;
    Some(listener.replacen(":listener-rule/", ":listener/", 1))
}

fn action(route: &Route) -> Action {
    let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let sticky = TargetGroupStickinessConfig::builder()
        .enabled(route.sticky.is_some())
        .set_duration_seconds(route.sticky.map(number))
        .build();
    let tuples = route.weights.iter().map(|one| {
        TargetGroupTuple::builder().target_group_arn(&one.target_group).weight(number(one.weight)).build()
    });
    let forward = ForwardActionConfig::builder()
        .set_target_groups(Some(tuples.collect()))
        .target_group_stickiness_config(sticky)
        .build();
    Action::builder().r#type(ActionTypeEnum::Forward).forward_config(forward).build()
}
