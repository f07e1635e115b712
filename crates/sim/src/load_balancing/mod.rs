//! Elastic Load Balancing (API version 2015-12-01): application load balancers, their listeners and target groups.
//!
//! The model balances nothing: whoever carries requests reads [`World::routes`]. It probes nothing either: what a
//! health check saw comes in by [`World::probed`]. Sources of the rules: the API reference of each action, and the
//! user guide's pages "Target group health checks" and "Edit target group attributes".

mod attributes;
mod balancer;
mod health;
mod listener;
mod routes;
mod rule;
mod target_group;
mod targets;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::{
    balancer::{CreateLoadBalancer, LoadBalancer},
    health::{Anomaly, DueProbe, Seen, TargetHealth, TargetState},
    listener::{Action, CreateListener, Forward, Listener, ModifyListener, Weighted},
    routes::{Pool, Route, RouteAction, RouteTarget},
    rule::{Condition, CreateRule, Rule},
    target_group::{CreateTargetGroup, HealthCheck, HealthCheckChange, TargetGroup},
    targets::{Target, TargetDescription, TargetId},
};
use crate::{ApiError, Result, Tags, World, table::Table};

/// Everything of Elastic Load Balancing in an account.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct LoadBalancing {
    /// By ARN.
    #[serde(default)]
    pub(crate) balancers: Table<String, LoadBalancer>,
    /// By ARN.
    #[serde(default)]
    pub(crate) listeners: Table<String, Listener>,
    /// By ARN.
    #[serde(default)]
    pub(crate) groups: Table<String, TargetGroup>,
}

/// Elastic Load Balancing's limit of tags for one resource.
const MOST_TAGS: usize = 50;

impl World {
    /// Adds or changes tags of load balancers, listeners, rules and target groups.
    pub fn add_elb_tags(&mut self, arns: &[String], tags: &Tags) -> Result<()> {
        check_tags(tags)?;
        for arn in arns {
            let own = self.elb_tags_mut(arn)?;
            if own.keys().chain(tags.keys().filter(|key| !own.contains_key(*key))).count() > MOST_TAGS {
                return Err(too_many_tags());
            }
        }
        for arn in arns {
            self.elb_tags_mut(arn)?.extend(tags.clone());
        }
        Ok(())
    }

    /// Removes tags by key.
    pub fn remove_elb_tags(&mut self, arns: &[String], keys: &[String]) -> Result<()> {
        for arn in arns {
            self.elb_tags_mut(arn)?;
        }
        for arn in arns {
            self.elb_tags_mut(arn)?.retain(|key, _| !keys.contains(key));
        }
        Ok(())
    }

    /// The tags of at most 20 resources.
    pub fn describe_elb_tags(&self, arns: &[String]) -> Result<Vec<(String, Tags)>> {
        if arns.is_empty() || arns.len() > 20 {
            return Err(validation("Between 1 and 20 resources can be described at once."));
        }
        arns.iter().map(|arn| Ok((arn.clone(), self.elb_tags(arn)?.clone()))).collect()
    }

    fn elb_tags(&self, arn: &str) -> Result<&Tags> {
        match kind(arn) {
            Some("loadbalancer") => self.balancer(arn).map(|one| &one.tags),
            Some("targetgroup") => self.target_group(arn).map(|one| &one.tags),
            Some("listener") => self.listener(arn).map(|one| &one.tags),
            Some("listener-rule") => self.rule(arn).map(|one| &one.tags),
            Some(_) | None => Err(validation(format!("'{arn}' is not a valid resource ARN"))),
        }
    }

    fn elb_tags_mut(&mut self, arn: &str) -> Result<&mut Tags> {
        match kind(arn) {
            Some("loadbalancer") => self.balancer_mut(arn).map(|one| &mut one.tags),
            Some("targetgroup") => self.target_group_mut(arn).map(|one| &mut one.tags),
            Some("listener") => self.listener_mut(arn).map(|one| &mut one.tags),
            Some("listener-rule") => self.rule_mut(arn).map(|one| &mut one.tags),
            Some(_) | None => Err(validation(format!("'{arn}' is not a valid resource ARN"))),
        }
    }

    /// What time alone brings about: load balancers become active, drained targets and those of ended instances go.
    pub(crate) fn tick_load_balancing(&mut self, now: Timestamp) {
        for balancer in self.balancing.balancers.filter_mut(|balancer| !balancer.active) {
            balancer.active = true;
        }
        self.drop_targets(now);
    }

    /// Whether there is a load balancer or a target group.
    pub(crate) fn has_load_balancing(&self) -> bool {
        !self.balancing.balancers.is_empty() || !self.balancing.groups.is_empty()
    }

    /// The end of a new ARN: 16 hexadecimal digits.
    fn elb_id(&mut self, kind: &str) -> String {
        self.next_id(kind)[..16].to_owned()
    }

    fn elb_arn(&self, rest: &str) -> String {
        format!("arn:aws:elasticloadbalancing:{}:{}:{rest}", self.region, self.account)
    }
}

/// The kind of resource that an ARN names.
fn kind(arn: &str) -> Option<&str> {
    let rest = arn.strip_prefix("arn:aws:elasticloadbalancing:")?;
    rest.splitn(3, ':').nth(2)?.split('/').next()
}

fn validation(message: impl Into<String>) -> ApiError {
    ApiError::new("ValidationError", message)
}

fn too_many_tags() -> ApiError {
    ApiError::new("TooManyTags", "You've reached the limit on the number of tags for this resource.")
}

fn check_tags(tags: &Tags) -> Result<()> {
    if tags.len() > MOST_TAGS {
        return Err(too_many_tags());
    }
    for (key, value) in tags {
        let fits = (1..=128).contains(&key.chars().count()) && value.chars().count() <= 256;
        if !fits || key.starts_with("aws:") {
            return Err(validation(format!("The tag '{key}' is not valid.")));
        }
    }
    Ok(())
}

/// A name of a load balancer or target group.
fn check_name(name: &str, what: &str) -> Result<()> {
    if name.is_empty() || name.len() > 32 {
        return Err(validation(format!("The {what} name '{name}' must have between 1 and 32 characters")));
    }
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if !plain || name.starts_with('-') || name.ends_with('-') {
        let message = format!(
            "The {what} name '{name}' can only contain letters, digits and hyphens, and no hyphen at its ends"
        );
        return Err(validation(message));
    }
    Ok(())
}
