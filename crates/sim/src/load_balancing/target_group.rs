//! Target groups: make, look, change, delete.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Target, attributes, check_name, check_tags, validation};
use crate::{ApiError, Page, Paging, Result, Tags, World};

/// A target group of instances that speak HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetGroup {
    /// Its ARN.
    pub arn: String,
    /// Its name, unique in account and Region.
    pub name: String,
    /// The port of a target that names none itself.
    pub port: u16,
    /// Its network.
    pub vpc: String,
    /// How its targets are checked.
    pub health_check: HealthCheck,
    /// Its attributes by name, each with a value.
    pub attributes: BTreeMap<String, String>,
    /// Its targets.
    pub targets: Vec<Target>,
    /// Whether a listener's rule sends to it: only then are targets checked.
    pub in_use: bool,
    /// Its tags.
    pub tags: Tags,
}

/// How targets are checked, with Elastic Load Balancing's defaults for HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// The path.
    pub path: String,
    /// The port; none means the target's own.
    pub port: Option<u16>,
    /// From one check to the next, in seconds: 5 to 300.
    pub interval: u32,
    /// After so many seconds without an answer a check has failed: 2 to 120, below the interval.
    pub timeout: u32,
    /// So many good checks in a row make a sick target healthy: 2 to 10. A new one needs one.
    pub healthy_threshold: u32,
    /// So many bad checks in a row make a target unhealthy: 2 to 10.
    pub unhealthy_threshold: u32,
    /// The good statuses: `200`, `200,202`, `200-299`.
    pub matcher: String,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            path: "/".into(),
            port: None,
            interval: 30,
            timeout: 5,
            healthy_threshold: 5,
            unhealthy_threshold: 2,
            matcher: "200".into(),
        }
    }
}

/// What is said of a health check; what is none stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HealthCheckChange {
    /// The path.
    pub path: Option<String>,
    /// The port: a number, or `traffic-port` for the target's own.
    pub port: Option<String>,
    /// From one check to the next, in seconds.
    pub interval: Option<u32>,
    /// How long an answer may take, in seconds.
    pub timeout: Option<u32>,
    /// So many good checks in a row make a sick target healthy.
    pub healthy_threshold: Option<u32>,
    /// So many bad checks in a row make a target unhealthy.
    pub unhealthy_threshold: Option<u32>,
    /// The good statuses.
    pub matcher: Option<String>,
}

impl HealthCheck {
    /// Whether a status is good.
    pub fn accepts(&self, status: u16) -> bool {
        ranges(&self.matcher).is_some_and(|ranges| ranges.iter().any(|range| range.contains(&status)))
    }

    fn with(&self, change: &HealthCheckChange) -> Result<Self> {
        let port = match change.port.as_deref() {
            None => self.port,
            Some("traffic-port") => None,
            Some(text) => match text.parse() {
                Ok(port) if port > 0 => Some(port),
                Ok(_) | Err(_) => return Err(validation(format!("Health check port '{text}' is not valid"))),
            },
        };
        let made = Self {
            path: change.path.clone().unwrap_or_else(|| self.path.clone()),
            port,
            interval: change.interval.unwrap_or(self.interval),
            timeout: change.timeout.unwrap_or(self.timeout),
            healthy_threshold: change.healthy_threshold.unwrap_or(self.healthy_threshold),
            unhealthy_threshold: change.unhealthy_threshold.unwrap_or(self.unhealthy_threshold),
            matcher: change.matcher.clone().unwrap_or_else(|| self.matcher.clone()),
        };
        made.check()?;
        Ok(made)
    }

    fn check(&self) -> Result<()> {
        for (what, value, range) in [
            ("interval", self.interval, 5..=300),
            ("timeout", self.timeout, 2..=120),
            ("healthy threshold count", self.healthy_threshold, 2..=10),
            ("unhealthy threshold count", self.unhealthy_threshold, 2..=10),
        ] {
            if !range.contains(&value) {
                let (from, to) = (range.start(), range.end());
                return Err(validation(format!(
                    "Health check {what} '{value}' must be between {from} and {to}"
                )));
            }
        }
        if self.timeout >= self.interval {
            let message = format!(
                "Health check timeout '{}' must be smaller than the interval '{}'",
                self.timeout, self.interval
            );
            return Err(validation(message));
        }
        if !self.path.starts_with('/') || self.path.len() > 1024 {
            return Err(validation(format!("Health check path '{}' must begin with a '/'", self.path)));
        }
        let valid = ranges(&self.matcher).is_some_and(|ranges| {
            ranges.iter().all(|range| *range.start() >= 200 && *range.end() <= 499 && !range.is_empty())
        });
        if valid {
            Ok(())
        } else {
            let message =
                format!("Health check matcher HTTP code '{}' must be within '200-499'", self.matcher);
            Err(validation(message))
        }
    }
}

/// The ranges of `200`, `200,202` and `200-299`.
fn ranges(matcher: &str) -> Option<Vec<std::ops::RangeInclusive<u16>>> {
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        Some(from.trim().parse().ok()?..=to.trim().parse().ok()?)
    };
    matcher.split(',').map(range).collect()
}

/// The parameters of `CreateTargetGroup`, for instances and HTTP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreateTargetGroup {
    /// The name.
    pub name: String,
    /// The port of a target that names none itself.
    pub port: u16,
    /// The network.
    pub vpc: String,
    /// How its targets are checked.
    pub health_check: HealthCheckChange,
    /// The tags.
    pub tags: Tags,
}

impl World {
    /// Makes a target group. One of the same name and settings is the same.
    pub fn create_target_group(&mut self, request: &CreateTargetGroup) -> Result<TargetGroup> {
        check_name(&request.name, "target group")?;
        check_tags(&request.tags)?;
        if request.port == 0 {
            return Err(validation("A port must be specified"));
        }
        if !self.vpcs.iter().any(|vpc| vpc.id == request.vpc) {
            return Err(validation(format!("The VPC ID '{}' is not found", request.vpc)));
        }
        let health_check = HealthCheck::default().with(&request.health_check)?;
        if let Some(known) = self.balancing.groups.values().find(|one| one.name == request.name) {
            let same =
                (known.port, &known.vpc, &known.health_check) == (request.port, &request.vpc, &health_check);
            if same {
                return Ok(known.clone());
            }
            let message = "A target group with the same name exists, but with different settings";
            return Err(ApiError::new("DuplicateTargetGroupName", message));
        }
        let id = self.elb_id("targetgroup");
        let arn = self.elb_arn(&format!("targetgroup/{}/{id}", request.name));
        let group = TargetGroup {
            arn: arn.clone(),
            name: request.name.clone(),
            port: request.port,
            vpc: request.vpc.clone(),
            health_check,
            attributes: attributes::defaults(),
            targets: Vec::new(),
            in_use: false,
            tags: request.tags.clone(),
        };
        self.balancing.groups.insert(arn, group.clone());
        Ok(group)
    }

    /// Changes how targets are checked.
    pub fn modify_target_group(&mut self, arn: &str, change: &HealthCheckChange) -> Result<TargetGroup> {
        let group = self.target_group_mut(arn)?;
        group.health_check = group.health_check.with(change)?;
        Ok(group.clone())
    }

    /// Target groups by ARN, by name, those that a load balancer sends to, or all.
    pub fn describe_target_groups(
        &self,
        balancer: Option<&str>,
        arns: &[String],
        names: &[String],
        paging: &Paging,
    ) -> Result<Page<TargetGroup>> {
        if let Some(balancer) = balancer {
            self.balancer(balancer)?;
        }
        for arn in arns {
            self.target_group(arn)?;
        }
        let groups = || self.balancing.groups.values();
        if let Some(unknown) = names.iter().find(|name| !groups().any(|one| one.name == **name)) {
            let message = format!("One or more target groups not found: {unknown}");
            return Err(ApiError::new("TargetGroupNotFound", message));
        }
        let wanted = |one: &&TargetGroup| {
            balancer.is_none_or(|balancer| self.balancers_of(&one.arn).contains(balancer))
                && (arns.is_empty() || arns.contains(&one.arn))
                && (names.is_empty() || names.contains(&one.name))
        };
        paging.cut(groups().filter(wanted).cloned(), 1, |one| one.arn.clone())
    }

    /// Deletes a target group that no rule sends to. One that is not there is deleted, too.
    pub fn delete_target_group(&mut self, arn: &str) -> Result<()> {
        if super::kind(arn) != Some("targetgroup") {
            return Err(validation(format!("'{arn}' is not a valid target group ARN")));
        }
        if !self.balancers_of(arn).is_empty() {
            let message = format!("Target group '{arn}' is currently in use by a listener or a rule");
            return Err(ApiError::new("ResourceInUse", message));
        }
        self.balancing.groups.remove(arn);
        Ok(())
    }

    pub(crate) fn target_group(&self, arn: &str) -> Result<&TargetGroup> {
        self.balancing.groups.get(arn).ok_or_else(|| no_group(arn))
    }

    pub(crate) fn target_group_mut(&mut self, arn: &str) -> Result<&mut TargetGroup> {
        self.balancing.groups.get_mut(arn).ok_or_else(|| no_group(arn))
    }

    /// Notes which groups a rule sends to. The targets of one that comes into use begin anew: nobody checked them.
    pub(super) fn note_use(&mut self) {
        let arns: Vec<String> = self.balancing.groups.keys().cloned().collect();
        for arn in arns {
            let used = !self.balancers_of(&arn).is_empty();
            if let Some(group) = self.balancing.groups.get_mut(&arn)
                && group.in_use != used
            {
                group.in_use = used;
                group.targets.iter_mut().for_each(Target::begin);
            }
        }
    }
}

fn no_group(arn: &str) -> ApiError {
    ApiError::new("TargetGroupNotFound", format!("Target group '{arn}' not found"))
}
