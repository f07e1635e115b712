//! Rules of listeners.

use serde::{Deserialize, Serialize};

use super::{Action, Listener, check_tags, validation};
use crate::{ApiError, Result, Tags, World};

/// A rule: what happens to a request that meets every condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Its ARN.
    pub arn: String,
    /// Its place, 1 to 50,000, the lowest first; none for the default, which is the last.
    pub priority: Option<u32>,
    /// What a request must meet.
    pub conditions: Vec<Condition>,
    /// What happens to it.
    pub action: Action,
    /// Its tags.
    pub tags: Tags,
}

/// What a request must meet: one of the values, with `*` and `?`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// Its path.
    PathPattern(Vec<String>),
    /// Its host.
    HostHeader(Vec<String>),
    /// A header of it.
    HttpHeader {
        /// The header's name.
        name: String,
        /// The values.
        values: Vec<String>,
    },
}

impl Condition {
    fn values(&self) -> &[String] {
        match self {
            Self::PathPattern(values) | Self::HostHeader(values) | Self::HttpHeader { values, .. } => values,
        }
    }
}

/// The parameters of `CreateRule`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateRule {
    /// Of which listener.
    pub listener: String,
    /// Its place: 1 to 50,000.
    pub priority: u32,
    /// What a request must meet.
    pub conditions: Vec<Condition>,
    /// What happens to it.
    pub action: Action,
    /// The tags.
    pub tags: Tags,
}

impl World {
    /// Makes a rule.
    pub fn create_rule(&mut self, request: &CreateRule) -> Result<Rule> {
        check_tags(&request.tags)?;
        check_conditions(&request.conditions)?;
        if !(1..=50_000).contains(&request.priority) {
            return Err(validation(format!("Priority '{}' must be between 1 and 50000", request.priority)));
        }
        let listener = self.listener(&request.listener)?;
        if listener.rules.iter().any(|rule| rule.priority == Some(request.priority)) {
            let message = format!("Priority '{}' is currently in use", request.priority);
            return Err(ApiError::new("PriorityInUse", message));
        }
        if listener.rules.len() > 100 {
            return Err(ApiError::new("TooManyRules", "A listener has at most 100 rules beside its default"));
        }
        let balancer = listener.balancer.clone();
        self.check_action(&balancer, &request.action)?;
        let rule = Rule {
            arn: self.rule_arn(&request.listener),
            priority: Some(request.priority),
            conditions: request.conditions.clone(),
            action: request.action.clone(),
            tags: request.tags.clone(),
        };
        let listener = self.listener_mut(&request.listener)?;
        listener.rules.push(rule.clone());
        listener.rules.sort_by_key(|rule| rule.priority.unwrap_or(u32::MAX));
        self.note_use();
        Ok(rule)
    }

    /// Changes a rule: what is none stays.
    pub fn modify_rule(
        &mut self,
        arn: &str,
        conditions: Option<&[Condition]>,
        action: Option<&Action>,
    ) -> Result<Rule> {
        if self.rule(arn)?.priority.is_none() && conditions.is_some() {
            let message = "The default rule has no conditions";
            return Err(ApiError::new("OperationNotPermitted", message));
        }
        if let Some(conditions) = conditions {
            check_conditions(conditions)?;
        }
        if let Some(action) = action {
            let balancer = self.balancer_of_rule(arn).unwrap_or_default();
            self.check_action(&balancer, action)?;
        }
        let rule = self.rule_mut(arn)?;
        if let Some(conditions) = conditions {
            rule.conditions = conditions.to_vec();
        }
        if let Some(action) = action {
            rule.action = action.clone();
        }
        let rule = rule.clone();
        self.note_use();
        Ok(rule)
    }

    /// Rules by ARN, or those of a listener, by priority.
    pub fn describe_rules(&self, listener: Option<&str>, arns: &[String]) -> Result<Vec<Rule>> {
        match listener {
            Some(_) if !arns.is_empty() => Err(validation("Specify either rule ARNs or a listener ARN")),
            Some(listener) => Ok(self.listener(listener)?.rules.clone()),
            None if arns.is_empty() => Err(validation("You must specify either rule ARNs or a listener ARN")),
            None => arns.iter().map(|arn| self.rule(arn).cloned()).collect(),
        }
    }

    /// Deletes a rule; the default one goes with its listener alone.
    pub fn delete_rule(&mut self, arn: &str) -> Result<()> {
        if self.rule(arn)?.priority.is_none() {
            return Err(ApiError::new("OperationNotPermitted", "Default rule cannot be deleted"));
        }
        let of = |listener: &Listener| listener.rules.iter().any(|rule| rule.arn == arn);
        if let Some(listener) = self.balancing.listeners.find_mut(of) {
            listener.rules.retain(|rule| rule.arn != arn);
        }
        self.note_use();
        Ok(())
    }

    pub(super) fn rule_arn(&mut self, listener: &str) -> String {
        let id = self.elb_id("listener-rule");
        format!("{}/{id}", listener.replacen(":listener/", ":listener-rule/", 1))
    }

    /// The load balancer that a rule belongs to.
    fn balancer_of_rule(&self, arn: &str) -> Option<String> {
        let listeners = self.balancing.listeners.values();
        let mut of = listeners.filter(|listener| listener.rules.iter().any(|rule| rule.arn == arn));
        of.next().map(|listener| listener.balancer.clone())
    }

    pub(super) fn rule(&self, arn: &str) -> Result<&Rule> {
        let mut rules = self.balancing.listeners.values().flat_map(|listener| &listener.rules);
        rules.find(|rule| rule.arn == arn).ok_or_else(|| no_rule(arn))
    }

    pub(super) fn rule_mut(&mut self, arn: &str) -> Result<&mut Rule> {
        let of = |listener: &Listener| listener.rules.iter().any(|rule| rule.arn == arn);
        let rules = self.balancing.listeners.find_mut(of).map(|listener| &mut listener.rules);
        rules.into_iter().flatten().find(|rule| rule.arn == arn).ok_or_else(|| no_rule(arn))
    }
}

fn check_conditions(conditions: &[Condition]) -> Result<()> {
    if conditions.is_empty() {
        return Err(validation("A condition must be specified"));
    }
    let values: usize = conditions.iter().map(|condition| condition.values().len()).sum();
    if conditions.iter().any(|condition| condition.values().is_empty()) || values > 5 {
        return Err(validation("A condition has values, and a rule at most 5 of them"));
    }
    for condition in conditions {
        if let Condition::HttpHeader { name, .. } = condition {
            let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
            if name.is_empty() || name.len() > 40 || !name.bytes().all(token) {
                return Err(validation(format!("'{name}' is not a header name of at most 40 characters")));
            }
        }
        if let Some(long) = condition.values().iter().find(|value| value.len() > 128) {
            return Err(validation(format!("The value '{long}' has more than 128 characters")));
        }
    }
    Ok(())
}

fn no_rule(arn: &str) -> ApiError {
    ApiError::new("RuleNotFound", format!("Rule '{arn}' not found"))
}
