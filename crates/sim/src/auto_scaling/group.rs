//! Groups: make, look, change, delete.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{
    Configuration, DeletionProtection, Group, GroupTag, HealthCheckType, Hook, MaintenancePolicy,
    TerminationPolicy, invalid, no_group,
};
use crate::{
    ApiError, Filter, Page, Paging, Result, Tags, World,
    filters::{Fields, Filtered, Filters, one},
};

/// The parameters of `CreateAutoScalingGroup`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateGroup {
    /// The name.
    pub name: String,
    /// What it launches.
    pub configuration: Configuration,
    /// The least that may be desired.
    pub min_size: u32,
    /// The most that may be desired.
    pub max_size: u32,
    /// So much it shall have; none means the least.
    pub desired: Option<u32>,
    /// Its subnets.
    pub subnets: Vec<String>,
    /// The ARNs of its target groups.
    pub target_groups: Vec<String>,
    /// What says that an instance is healthy; none means EC2 alone.
    pub health_check_type: Option<HealthCheckType>,
    /// How long target groups don't judge an instance in service, in seconds; none means 0.
    pub health_check_grace: Option<u32>,
    /// After so many seconds in service an instance is ready to use.
    pub default_warmup: Option<u32>,
    /// The cooldown in seconds; none means 300.
    pub default_cooldown: Option<u32>,
    /// Who goes first when it shrinks; none means `Default`.
    pub termination_policies: Vec<TerminationPolicy>,
    /// Whether new instances are protected from going when it shrinks.
    pub protects_new_instances: bool,
    /// How far its healthy capacity may go while instances are replaced.
    pub maintenance: Option<MaintenancePolicy>,
    /// Who may not delete it.
    pub deletion_protection: DeletionProtection,
    /// Whether an instance whose termination hook was abandoned is retained (`TerminateHookAbandon`).
    pub retains_abandoned: bool,
    /// Its lifecycle hooks.
    pub hooks: Vec<Hook>,
    /// Its tags.
    pub tags: Vec<GroupTag>,
}

impl CreateGroup {
    /// A group with what it must have, and nothing more.
    pub fn new(name: &str, configuration: Configuration, sizes: (u32, u32, u32), subnets: &[String]) -> Self {
        let (min_size, desired, max_size) = sizes;
        Self {
            name: name.to_owned(),
            configuration,
            min_size,
            max_size,
            desired: Some(desired),
            subnets: subnets.to_vec(),
            target_groups: Vec::new(),
            health_check_type: None,
            health_check_grace: None,
            default_warmup: None,
            default_cooldown: None,
            termination_policies: Vec::new(),
            protects_new_instances: false,
            maintenance: None,
            deletion_protection: DeletionProtection::None,
            retains_abandoned: false,
            hooks: Vec::new(),
            tags: Vec::new(),
        }
    }
}

/// The parameters of `UpdateAutoScalingGroup`: what is none stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpdateGroup {
    /// What it launches.
    pub configuration: Option<Configuration>,
    /// The least that may be desired.
    pub min_size: Option<u32>,
    /// The most that may be desired.
    pub max_size: Option<u32>,
    /// So much it shall have.
    pub desired: Option<u32>,
    /// Its subnets.
    pub subnets: Option<Vec<String>>,
    /// What says that an instance is healthy.
    pub health_check_type: Option<HealthCheckType>,
    /// How long target groups don't judge an instance in service, in seconds.
    pub health_check_grace: Option<u32>,
    /// After so many seconds in service an instance is ready to use; a none inside takes the setting away (-1 at AWS).
    pub default_warmup: Option<Option<u32>>,
    /// The cooldown in seconds.
    pub default_cooldown: Option<u32>,
    /// Who goes first when it shrinks.
    pub termination_policies: Option<Vec<TerminationPolicy>>,
    /// Whether new instances are protected from going when it shrinks.
    pub protects_new_instances: Option<bool>,
    /// How far its healthy capacity may go while instances are replaced; a none inside takes the policy away.
    pub maintenance: Option<Option<MaintenancePolicy>>,
    /// Who may not delete it.
    pub deletion_protection: Option<DeletionProtection>,
    /// Whether an instance whose termination hook was abandoned is retained (`TerminateHookAbandon`).
    pub retains_abandoned: Option<bool>,
}

/// The parameters of `DescribeAutoScalingGroups`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DescribeGroups {
    /// With these names; unknown ones are left out.
    pub names: Vec<String>,
    /// That pass these: `tag-key`, `tag-value`, `tag:KEY`.
    pub filters: Vec<Filter>,
    /// On which page: at most 100 groups, 50 unless told.
    pub paging: Paging,
}

impl World {
    /// Makes a group. Its instances come with the next ticks.
    pub fn create_auto_scaling_group(&mut self, now: Timestamp, request: &CreateGroup) -> Result<()> {
        if self.scaling.groups.contains_key(&request.name) {
            let message = "AutoScalingGroup by this name already exists - A group with the name ";
            return Err(ApiError::new("AlreadyExists", format!("{message}{} already exists", request.name)));
        }
        let zones = self.check_subnets(&request.subnets)?;
        let id = self.scaling_id("group");
        let arn = format!(
            "arn:aws:autoscaling:{}:{}:autoScalingGroup:{id}:autoScalingGroupName/{}",
            self.region, self.account, request.name
        );
        let mut group = Group {
            name: request.name.clone(),
            arn,
            created: now,
            configuration: request.configuration.clone(),
            min_size: request.min_size,
            max_size: request.max_size,
            desired: request.desired.unwrap_or(request.min_size),
            default_cooldown: request.default_cooldown.unwrap_or(300),
            subnets: request.subnets.clone(),
            zones,
            target_groups: request.target_groups.clone(),
            health_check_type: request.health_check_type.unwrap_or(HealthCheckType::Ec2),
            health_check_grace: request.health_check_grace.unwrap_or(0),
            default_warmup: request.default_warmup,
            termination_policies: request.termination_policies.clone(),
            protects_new_instances: request.protects_new_instances,
            maintenance: request.maintenance,
            deletion_protection: request.deletion_protection,
            retains_abandoned: request.retains_abandoned,
            suspended: BTreeMap::new(),
            tags: Tags::new(),
            propagated: BTreeSet::new(),
            hooks: BTreeMap::new(),
            members: Vec::new(),
            activities: Vec::new(),
            refreshes: Vec::new(),
            deleting: false,
            launch_after: None,
            scaled: None,
        };
        if group.termination_policies.is_empty() {
            group.termination_policies.push(TerminationPolicy::Default);
        }
        for tag in &request.tags {
            group.tag(tag)?;
        }
        for hook in &request.hooks {
            group.put_hook(hook.clone())?;
        }
        self.check_group(&group)?;
        self.scaling.groups.insert(group.name.clone(), group);
        Ok(())
    }

    /// Groups by name and filter.
    pub fn describe_auto_scaling_groups(&self, request: &DescribeGroups) -> Result<Page<Group>> {
        let most = request.paging.max_results.unwrap_or(50);
        if !(1..=100).contains(&most) {
            return Err(invalid("MaxRecords is between 1 and 100."));
        }
        let filters = Filters::<Group>::read(&request.filters).map_err(|error| invalid(error.message))?;
        let named = |group: &&Group| request.names.is_empty() || request.names.contains(&group.name);
        let found = self.auto_scaling_groups().filter(named).filter(|group| filters.pass(self, group));
        let paging = Paging { max_results: Some(most), ..request.paging.clone() };
        paging.cut(found.cloned(), 1, |group| group.name.clone())
    }

    /// Changes a group. What it launches stays as it is while a refresh with a desired configuration is under way.
    pub fn update_auto_scaling_group(&mut self, name: &str, change: &UpdateGroup) -> Result<()> {
        let zones = change.subnets.as_ref().map(|subnets| self.check_subnets(subnets)).transpose()?;
        let mut group = self.group_mut(name)?.clone();
        if let Some(configuration) = &change.configuration {
            if group.active_refresh().is_some_and(|refresh| refresh.desired.is_some()) {
                let message = "An active instance refresh with a desired configuration exists. All configuration options derived from the desired configuration are not available for update while the instance refresh is active.";
                return Err(invalid(message));
            }
            group.configuration = configuration.clone();
        }
        group.min_size = change.min_size.unwrap_or(group.min_size);
        group.max_size = change.max_size.unwrap_or(group.max_size);
        group.desired = match change.desired {
            Some(desired) => desired,
            // Without a word, what is desired follows the limits.
            None => group.desired.min(group.max_size).max(group.min_size),
        };
        if let (Some(subnets), Some(zones)) = (&change.subnets, zones) {
            (group.subnets, group.zones) = (subnets.clone(), zones);
        }
        group.health_check_type = change.health_check_type.unwrap_or(group.health_check_type);
        group.health_check_grace = change.health_check_grace.unwrap_or(group.health_check_grace);
        group.default_warmup = change.default_warmup.unwrap_or(group.default_warmup);
        group.default_cooldown = change.default_cooldown.unwrap_or(group.default_cooldown);
        if let Some(policies) = &change.termination_policies {
            group.termination_policies.clone_from(policies);
        }
        group.protects_new_instances = change.protects_new_instances.unwrap_or(group.protects_new_instances);
        group.maintenance = change.maintenance.unwrap_or(group.maintenance);
        group.deletion_protection = change.deletion_protection.unwrap_or(group.deletion_protection);
        group.retains_abandoned = change.retains_abandoned.unwrap_or(group.retains_abandoned);
        group.launch_after = None;
        self.check_group(&group)?;
        self.scaling.groups.insert(group.name.clone(), group);
        Ok(())
    }

    /// Deletes a group: an empty one at once, by force with all its instances, as soon as these are gone.
    pub fn delete_auto_scaling_group(&mut self, now: Timestamp, name: &str, force: bool) -> Result<()> {
        let group = self.scaling.groups.get_mut(name).ok_or_else(|| no_group(name))?;
        let refused = match group.deletion_protection {
            DeletionProtection::None => false,
            DeletionProtection::PreventForceDeletion => force,
            DeletionProtection::PreventAllDeletion => true,
        };
        if refused {
            return Err(invalid(format!(
                "The deletion protection of AutoScalingGroup {name} prevents this."
            )));
        }
        if !force && !group.members.is_empty() {
            let message = "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) still in the group.";
            return Err(ApiError::new("ResourceInUse", message));
        }
        (group.deleting, group.min_size, group.desired) = (true, 0, 0);
        group.end_refresh_for_deletion(now);
        if group.members.is_empty() {
            self.scaling.groups.remove(name);
        }
        Ok(())
    }

    /// Sets what is desired, within the group's limits.
    pub fn set_desired_capacity(
        &mut self,
        now: Timestamp,
        name: &str,
        desired: u32,
        honor_cooldown: bool,
    ) -> Result<()> {
        let group = self.group_mut(name)?;
        if desired > group.max_size {
            return Err(invalid(format!(
                "New SetDesiredCapacity value {desired} is above max value {} for the AutoScalingGroup.",
                group.max_size
            )));
        }
        if desired < group.min_size {
            return Err(invalid(format!(
                "New SetDesiredCapacity value {desired} is below min value {} for the AutoScalingGroup.",
                group.min_size
            )));
        }
        if honor_cooldown {
            let cooldown = SignedDuration::from_secs(i64::from(group.default_cooldown));
            let cooling = group.scaled.is_some_and(|scaled| now.duration_since(scaled) < cooldown);
            if cooling || group.activities.iter().any(|activity| !activity.status.is_over()) {
                let message = format!("Scaling activity is in progress or in cooldown for group {name}.");
                return Err(ApiError::new("ScalingActivityInProgress", message));
            }
        }
        group.desired = desired;
        group.launch_after = None;
        Ok(())
    }
}

impl Filtered for Group {
    const FIELDS: Fields<Self> = &[
        ("auto-scaling-group", |it, _| one(&it.name)),
        ("tag-value", |it, _| it.tags.values().cloned().collect()),
    ];

    fn tags(&self) -> Option<&Tags> {
        Some(&self.tags)
    }
}
