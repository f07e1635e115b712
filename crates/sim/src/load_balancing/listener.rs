//! Listeners, and the actions of their rules.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Rule, check_tags, validation};
use crate::{ApiError, Page, Paging, Result, Tags, World};

/// How many target groups one action may forward to.
const MOST_GROUPS: usize = 5;

/// The types that a fixed response may have.
const CONTENT_TYPES: [&str; 5] =
    ["text/plain", "text/css", "text/html", "application/javascript", "application/json"];

/// A listener of a load balancer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Its ARN.
    pub arn: String,
    /// Its load balancer.
    pub balancer: String,
    /// Its port.
    pub port: u16,
    /// Its rules by priority; the default one, which has none, is the last.
    pub rules: Vec<Rule>,
    /// Its tags.
    pub tags: Tags,
}

impl Listener {
    /// What happens to a request that no rule is for.
    pub fn default_action(&self) -> Option<&Action> {
        self.rules.iter().find(|rule| rule.priority.is_none()).map(|rule| &rule.action)
    }
}

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It goes to a target.
    Forward(Forward),
    /// It is answered by the load balancer.
    FixedResponse {
        /// The HTTP status.
        status: u16,
        /// The body's type.
        content_type: Option<String>,
        /// The body.
        body: Option<String>,
    },
}

/// Target groups with their weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forward {
    /// The groups.
    pub groups: Vec<Weighted>,
    /// For how long a client stays with its group, in seconds, 1 to 604,800; none means not at all.
    #[serde(default)]
    pub stickiness: Option<u32>,
}

/// A target group with its weight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weighted {
    /// The group's ARN.
    pub group: String,
    /// Its share of the requests: 0 to 999.
    pub weight: u16,
}

impl Forward {
    /// Everything to one group.
    pub fn to(group: &str) -> Self {
        Self { groups: vec![Weighted { group: group.to_owned(), weight: 1 }], stickiness: None }
    }
}

impl Action {
    /// The target groups that it names.
    pub(super) fn groups(&self) -> impl Iterator<Item = &str> {
        let groups = match self {
            Self::Forward(forward) => forward.groups.as_slice(),
            Self::FixedResponse { .. } => &[],
        };
        groups.iter().map(|weighted| weighted.group.as_str())
    }
}

/// The parameters of `CreateListener`; the protocol is HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateListener {
    /// Of which load balancer.
    pub balancer: String,
    /// On which port.
    pub port: u16,
    /// What happens to a request that no rule is for.
    pub default_action: Action,
    /// The tags.
    pub tags: Tags,
}

/// The parameters of `ModifyListener`: what is none stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModifyListener {
    /// Another port.
    pub port: Option<u16>,
    /// Another default action.
    pub default_action: Option<Action>,
}

impl World {
    /// Makes a listener.
    pub fn create_listener(&mut self, request: &CreateListener) -> Result<Listener> {
        check_tags(&request.tags)?;
        self.balancer(&request.balancer)?;
        self.check_port(&request.balancer, request.port, None)?;
        self.check_action(&request.balancer, &request.default_action)?;
        let id = self.elb_id("listener");
        let (_, name) = request.balancer.split_once(":loadbalancer/").unwrap_or_default();
        let arn = self.elb_arn(&format!("listener/{name}/{id}"));
        let rule = Rule {
            arn: self.rule_arn(&arn),
            priority: None,
            conditions: Vec::new(),
            action: request.default_action.clone(),
            tags: Tags::new(),
        };
        let listener = Listener {
            arn: arn.clone(),
            balancer: request.balancer.clone(),
            port: request.port,
            rules: vec![rule],
            tags: request.tags.clone(),
        };
        self.balancing.listeners.insert(arn, listener.clone());
        self.note_use();
        Ok(listener)
    }

    /// Changes a listener. Weights count from now on.
    pub fn modify_listener(&mut self, arn: &str, change: &ModifyListener) -> Result<Listener> {
        let balancer = self.listener(arn)?.balancer.clone();
        if let Some(port) = change.port {
            self.check_port(&balancer, port, Some(arn))?;
        }
        if let Some(action) = &change.default_action {
            self.check_action(&balancer, action)?;
        }
        let listener = self.listener_mut(arn)?;
        listener.port = change.port.unwrap_or(listener.port);
        if let Some(action) = &change.default_action
            && let Some(rule) = listener.rules.iter_mut().find(|rule| rule.priority.is_none())
        {
            rule.action = action.clone();
        }
        let listener = listener.clone();
        self.note_use();
        Ok(listener)
    }

    /// All listeners.
    pub fn listeners(&self) -> impl Iterator<Item = &Listener> {
        self.balancing.listeners.values()
    }

    /// Listeners by ARN, or those of a load balancer.
    pub fn describe_listeners(
        &self,
        balancer: Option<&str>,
        arns: &[String],
        paging: &Paging,
    ) -> Result<Page<Listener>> {
        match balancer {
            Some(balancer) => drop(self.balancer(balancer)?),
            None if arns.is_empty() => {
                return Err(validation("You must specify either listener ARNs or a load balancer ARN"));
            }
            None => {}
        }
        for arn in arns {
            self.listener(arn)?;
        }
        let wanted = |one: &&Listener| {
            balancer.is_none_or(|balancer| one.balancer == balancer)
                && (arns.is_empty() || arns.contains(&one.arn))
        };
        let found = self.balancing.listeners.values().filter(wanted);
        paging.cut(found.cloned(), 1, |one| one.arn.clone())
    }

    /// Deletes a listener with its rules.
    pub fn delete_listener(&mut self, arn: &str) -> Result<()> {
        self.listener(arn)?;
        self.balancing.listeners.remove(arn);
        self.note_use();
        Ok(())
    }

    fn check_port(&self, balancer: &str, port: u16, but: Option<&str>) -> Result<()> {
        if port == 0 {
            return Err(validation("Port '0' must be between 1 and 65535"));
        }
        let others = self.balancing.listeners.values().filter(|one| Some(one.arn.as_str()) != but);
        match others.clone().find(|one| one.balancer == balancer && one.port == port) {
            Some(_) => {
                let message = "A listener already exists on this port for this load balancer";
                Err(ApiError::new("DuplicateListener", message))
            }
            None => Ok(()),
        }
    }

    /// Refuses what Elastic Load Balancing refuses of an action.
    pub(super) fn check_action(&self, balancer: &str, action: &Action) -> Result<()> {
        let forward = match action {
            Action::Forward(forward) => forward,
            Action::FixedResponse { status, body, content_type } => {
                if let Some(unknown) =
                    content_type.as_ref().filter(|one| !CONTENT_TYPES.contains(&one.as_str()))
                {
                    return Err(validation(format!("'{unknown}' is not a content type of a fixed response")));
                }
                let known = matches!(status / 100, 2 | 4 | 5);
                if !known || body.as_ref().is_some_and(|body| body.len() > 1024) {
                    return Err(validation(
                        "A fixed response has status 2XX, 4XX or 5XX and at most 1024 bytes",
                    ));
                }
                return Ok(());
            }
        };
        if forward.groups.is_empty() {
            return Err(validation("A forward action needs a target group"));
        }
        if forward.groups.len() > MOST_GROUPS {
            let message = "A forward action has at most 5 target groups";
            return Err(ApiError::new("TooManyUniqueTargetGroupsPerLoadBalancer", message));
        }
        let unique: BTreeSet<_> = forward.groups.iter().map(|weighted| &weighted.group).collect();
        if unique.len() < forward.groups.len() {
            return Err(validation("A target group can be named once in an action"));
        }
        if forward.stickiness.is_some_and(|seconds| !(1..=604_800).contains(&seconds)) {
            return Err(validation("Target group stickiness lasts between 1 and 604800 seconds"));
        }
        let vpc = &self.balancer(balancer)?.vpc;
        for weighted in &forward.groups {
            let group = self.target_group(&weighted.group)?;
            if weighted.weight > 999 {
                let message = format!("Weight '{}' must be between 0 and 999", weighted.weight);
                return Err(validation(message));
            }
            if group.vpc != *vpc {
                let message = format!("The target group '{}' is in another VPC", group.name);
                return Err(ApiError::new("InvalidConfigurationRequest", message));
            }
            if self.balancers_of(&group.arn).iter().any(|one| *one != balancer) {
                let message = format!(
                    "The following target groups cannot be associated with more than one load balancer: {}",
                    group.arn
                );
                return Err(ApiError::new("TargetGroupAssociationLimit", message));
            }
        }
        Ok(())
    }

    /// The ARNs of the load balancers that send to a target group.
    pub fn balancers_of_target_group(&self, group: &str) -> Vec<String> {
        self.balancers_of(group).into_iter().map(str::to_owned).collect()
    }

    /// The load balancers that a rule sends from to a target group.
    pub(crate) fn balancers_of(&self, group: &str) -> BTreeSet<&str> {
        let named = |listener: &&Listener| {
            listener.rules.iter().any(|rule| rule.action.groups().any(|one| one == group))
        };
        self.balancing.listeners.values().filter(named).map(|one| one.balancer.as_str()).collect()
    }

    pub(super) fn listener(&self, arn: &str) -> Result<&Listener> {
        self.balancing.listeners.get(arn).ok_or_else(|| no_listener(arn))
    }

    pub(super) fn listener_mut(&mut self, arn: &str) -> Result<&mut Listener> {
        self.balancing.listeners.get_mut(arn).ok_or_else(|| no_listener(arn))
    }
}

fn no_listener(arn: &str) -> ApiError {
    ApiError::new("ListenerNotFound", format!("Listener '{arn}' not found"))
}
