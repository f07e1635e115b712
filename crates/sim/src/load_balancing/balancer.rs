//! Load balancers: make, look, delete.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{check_name, check_tags, validation};
use crate::{ApiError, Page, Paging, Result, Tags, World};

/// An application load balancer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadBalancer {
    /// Its ARN.
    pub arn: String,
    /// Its name, unique in account and Region.
    pub name: String,
    /// The name that clients look up.
    pub dns_name: String,
    /// When it was made.
    pub created: Timestamp,
    /// `internet-facing` or `internal`.
    pub scheme: String,
    /// Its network.
    pub vpc: String,
    /// Its subnets, each in a zone of its own.
    pub subnets: Vec<String>,
    /// The zones of these subnets.
    pub zones: Vec<String>,
    /// Its security groups.
    pub security_groups: Vec<String>,
    /// Whether it takes requests; before, it is `provisioning`.
    pub active: bool,
    /// Its tags.
    pub tags: Tags,
}

impl LoadBalancer {
    /// The word for its state.
    pub fn state(&self) -> &'static str {
        if self.active { "active" } else { "provisioning" }
    }
}

/// The parameters of `CreateLoadBalancer`, for an application load balancer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreateLoadBalancer {
    /// The name.
    pub name: String,
    /// At least two subnets, each in a zone of its own.
    pub subnets: Vec<String>,
    /// Security groups; none means the network's default one.
    pub security_groups: Vec<String>,
    /// `internet-facing` or `internal`; none means the first.
    pub scheme: Option<String>,
    /// The tags.
    pub tags: Tags,
}

impl World {
    /// Makes a load balancer. One of the same name and settings is the same.
    pub fn create_load_balancer(
        &mut self,
        now: Timestamp,
        request: &CreateLoadBalancer,
    ) -> Result<LoadBalancer> {
        check_name(&request.name, "load balancer")?;
        if request.name.starts_with("internal-") {
            return Err(validation("The load balancer name can't begin with 'internal-'"));
        }
        check_tags(&request.tags)?;
        let scheme = request.scheme.clone().unwrap_or_else(|| "internet-facing".into());
        if !matches!(scheme.as_str(), "internet-facing" | "internal") {
            return Err(ApiError::new("InvalidScheme", format!("'{scheme}' is not a scheme")));
        }
        let missing =
            |id: &str| ApiError::new("SubnetNotFound", format!("The subnet ID '{id}' does not exist"));
        let mut subnets = Vec::new();
        for id in &request.subnets {
            let found = self.subnets.iter().find(|subnet| subnet.id == *id);
            subnets.push(found.ok_or_else(|| missing(id))?.clone());
        }
        let zones: BTreeSet<_> = subnets.iter().map(|subnet| subnet.zone.clone()).collect();
        if zones.len() < 2 {
            let message = "At least two subnets in two different Availability Zones must be specified";
            return Err(validation(message));
        }
        if zones.len() < subnets.len() {
            let message =
                "A load balancer cannot be attached to multiple subnets in the same Availability Zone";
            return Err(ApiError::new("InvalidConfigurationRequest", message));
        }
        let groups = self
            .describe_security_groups(&request.security_groups, &[])
            .map_err(|error| ApiError::new("InvalidSecurityGroup", error.message))?;
        let taken = if request.security_groups.is_empty() { 1 } else { groups.len() };
        let security_groups: Vec<_> = groups.into_iter().take(taken).map(|group| group.id).collect();
        if let Some(known) = self.balancing.balancers.values().find(|one| one.name == request.name) {
            let same = known.subnets == request.subnets
                && known.scheme == scheme
                && known.security_groups == security_groups;
            if same {
                return Ok(known.clone());
            }
            let message = "A load balancer with the same name exists, but with different settings";
            return Err(ApiError::new("DuplicateLoadBalancerName", message));
        }
        let id = self.elb_id("loadbalancer");
        let arn = self.elb_arn(&format!("loadbalancer/app/{}/{id}", request.name));
        let number = u32::from_str_radix(&id[..7], 16).unwrap_or_default();
        let prefix = if scheme == "internal" { "internal-" } else { "" };
        let balancer = LoadBalancer {
            arn: arn.clone(),
            name: request.name.clone(),
            dns_name: format!("{prefix}{}-{number:010}.{}.elb.amazonaws.com", request.name, self.region),
            created: now,
            scheme,
            vpc: subnets.first().map(|subnet| subnet.vpc.clone()).unwrap_or_default(),
            subnets: request.subnets.clone(),
            zones: zones.into_iter().collect(),
            security_groups,
            active: false,
            tags: request.tags.clone(),
        };
        self.balancing.balancers.insert(arn, balancer.clone());
        Ok(balancer)
    }

    /// Load balancers by ARN or by name, or all.
    pub fn describe_load_balancers(
        &self,
        arns: &[String],
        names: &[String],
        paging: &Paging,
    ) -> Result<Page<LoadBalancer>> {
        if !arns.is_empty() && !names.is_empty() {
            return Err(validation("Load balancer ARNs and names can't be specified at the same time"));
        }
        for arn in arns {
            self.balancer(arn)?;
        }
        let balancers = || self.balancing.balancers.values();
        if let Some(unknown) = names.iter().find(|name| !balancers().any(|one| one.name == **name)) {
            let message = format!("Load balancers '[{unknown}]' not found");
            return Err(ApiError::new("LoadBalancerNotFound", message));
        }
        let all = arns.is_empty() && names.is_empty();
        let found = balancers().filter(|one| all || arns.contains(&one.arn) || names.contains(&one.name));
        paging.cut(found.cloned(), 1, |one| one.arn.clone())
    }

    /// Every load balancer.
    pub fn load_balancers(&self) -> impl Iterator<Item = &LoadBalancer> {
        self.balancing.balancers.values()
    }

    /// Gives a load balancer the name that clients look up: whoever carries its requests chooses it.
    pub fn set_dns_name(&mut self, arn: &str, name: &str) -> Result<()> {
        name.clone_into(&mut self.balancer_mut(arn)?.dns_name);
        Ok(())
    }

    /// Deletes a load balancer with its listeners; its target groups stay. One that isn't there is deleted, too.
    pub fn delete_load_balancer(&mut self, arn: &str) -> Result<()> {
        if super::kind(arn) != Some("loadbalancer") {
            return Err(validation(format!("'{arn}' is not a valid load balancer ARN")));
        }
        self.balancing.balancers.remove(arn);
        self.balancing.listeners.retain(|_, listener| listener.balancer != arn);
        self.note_use();
        Ok(())
    }

    pub(super) fn balancer(&self, arn: &str) -> Result<&LoadBalancer> {
        self.balancing.balancers.get(arn).ok_or_else(|| no_balancer(arn))
    }

    pub(super) fn balancer_mut(&mut self, arn: &str) -> Result<&mut LoadBalancer> {
        self.balancing.balancers.get_mut(arn).ok_or_else(|| no_balancer(arn))
    }
}

fn no_balancer(arn: &str) -> ApiError {
    ApiError::new("LoadBalancerNotFound", format!("Load balancer '{arn}' not found"))
}
