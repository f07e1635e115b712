//! EC2 Auto Scaling (API version 2011-01-01): groups that launch, check, replace and scale instances, and their
//! instance refreshes.
//!
//! A call only says what is wanted, as at AWS; [`World::tick`] brings it about, through the model's own launches and
//! terminations. Sources of the rules: the API reference of each action and the user guide's pages on the instance
//! lifecycle, health checks, termination policies, instance maintenance policies and instance refresh.

mod activity;
mod capacity;
mod checks;
mod configuration;
mod group;
mod health;
mod hooks;
mod launching;
mod lifecycle;
mod members;
mod processes;
pub mod refresh;
mod standby;
mod tags;
mod target_groups;
mod termination;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use ovenbird_core::domain::id::InstanceId;
use serde::{Deserialize, Serialize};

use self::refresh::InstanceRefresh;
pub use self::{
    activity::{Activity, ActivityStatus},
    configuration::{Configuration, Distribution, MixedInstancesPolicy, Override},
    group::{CreateGroup, DescribeGroups, UpdateGroup},
    hooks::{ActionResult, Hook, HookWait, Transition},
    members::{Lifecycle, Member},
    processes::Process,
    tags::GroupTag,
    termination::TerminationPolicy,
};
use crate::{ApiError, Result, Tags, World, table::Table};

/// Everything of Auto Scaling in an account.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct AutoScaling {
    #[serde(default)]
    pub(crate) groups: Table<String, Group>,
}

/// What says that an instance is healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HealthCheckType {
    /// EC2: it runs.
    #[serde(rename = "EC2")]
    Ec2,
    /// The target groups, too.
    #[serde(rename = "ELB")]
    Elb,
}

/// How far a group's healthy capacity may go below and above the desired one while instances are replaced, in per
/// cent of the desired capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaintenancePolicy {
    /// At least: 0 to 100.
    pub min_healthy: u32,
    /// At most: 100 to 200.
    pub max_healthy: u32,
}

/// Who may not delete a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeletionProtection {
    /// Everybody may.
    #[default]
    None,
    /// Nobody may by force.
    PreventForceDeletion,
    /// Nobody may.
    PreventAllDeletion,
}

/// An Auto Scaling group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its name, unique in account and Region.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// When it was made.
    pub created: Timestamp,
    /// What it launches.
    pub configuration: Configuration,
    /// The least that may be desired.
    pub min_size: u32,
    /// The most that may be desired.
    pub max_size: u32,
    /// So much it shall have, in instances or, with weights, in units.
    pub desired: u32,
    /// After a scaling activity, `SetDesiredCapacity` that honours it waits so many seconds.
    pub default_cooldown: u32,
    /// Its subnets.
    pub subnets: Vec<String>,
    /// The zones of these subnets.
    pub zones: Vec<String>,
    /// The ARNs of its target groups.
    pub target_groups: Vec<String>,
    /// What says that an instance is healthy.
    pub health_check_type: HealthCheckType,
    /// For so many seconds in service, an instance isn't judged by its target groups.
    pub health_check_grace: u32,
    /// After so many seconds in service an instance is ready to use.
    pub default_warmup: Option<u32>,
    /// Who goes first when the group shrinks.
    pub termination_policies: Vec<TerminationPolicy>,
    /// Whether new instances are protected from going when the group shrinks.
    pub protects_new_instances: bool,
    /// How far its healthy capacity may go while instances are replaced.
    pub maintenance: Option<MaintenancePolicy>,
    /// Who may not delete it.
    pub deletion_protection: DeletionProtection,
    /// Whether an instance whose termination hook was abandoned is retained (`TerminateHookAbandon`).
    #[serde(default)]
    pub retains_abandoned: bool,
    /// What it doesn't do at present, and why.
    pub suspended: BTreeMap<Process, String>,
    /// Its tags.
    pub tags: Tags,
    /// The keys of those tags that its new instances get.
    pub propagated: BTreeSet<String>,
    /// Its lifecycle hooks by name.
    pub hooks: BTreeMap<String, Hook>,
    /// Its instances, the oldest first.
    pub members: Vec<Member>,
    /// What it did, the newest last.
    pub activities: Vec<Activity>,
    /// Its refreshes, the newest last.
    pub refreshes: Vec<InstanceRefresh>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// After a failed launch, none before this.
    launch_after: Option<Timestamp>,
    /// When its last scaling ended.
    scaled: Option<Timestamp>,
}

impl Group {
    /// What stands in `Status` of a group that is being deleted.
    pub fn status(&self) -> Option<&'static str> {
        self.deleting.then_some("Delete in progress")
    }

    /// An instance of the group.
    pub fn member(&self, instance: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.instance.as_str() == instance)
    }

    /// The capacity that it has or is about to have: what isn't ending and isn't on standby.
    pub fn capacity(&self) -> u32 {
        self.members.iter().filter(|member| member.lifecycle.counts()).map(|member| member.weight).sum()
    }

    /// What a new instance is launched by now: during a refresh what that wants, else the group's own.
    pub fn launching(&self) -> &Configuration {
        self.active_refresh().and_then(InstanceRefresh::launches).unwrap_or(&self.configuration)
    }

    /// The refresh that is under way.
    pub fn active_refresh(&self) -> Option<&InstanceRefresh> {
        self.refreshes.last().filter(|refresh| refresh.status.is_active())
    }

    fn does(&self, process: Process) -> bool {
        !self.suspended.contains_key(&process)
    }

    /// For so many seconds in service, an instance isn't yet ready to use.
    fn warmup(&self) -> u32 {
        self.default_warmup.unwrap_or(self.health_check_grace)
    }
}

impl World {
    /// Every Auto Scaling group.
    pub fn auto_scaling_groups(&self) -> impl Iterator<Item = &Group> {
        self.scaling.groups.values()
    }

    /// A group.
    pub fn auto_scaling_group(&self, name: &str) -> Result<&Group> {
        self.scaling.groups.get(name).ok_or_else(|| no_group(name))
    }

    /// A group that isn't being deleted, to change it.
    fn group_mut(&mut self, name: &str) -> Result<&mut Group> {
        let group = self.scaling.groups.get_mut(name).ok_or_else(|| no_group(name))?;
        if group.deleting {
            let message = format!("AutoScalingGroup {name} is pending delete");
            return Err(ApiError::new("ScalingActivityInProgress", message));
        }
        Ok(group)
    }

    /// The group that an instance belongs to.
    fn group_of(&self, instance: &str) -> Result<&Group> {
        let mut of = self.scaling.groups.values().filter(|group| group.member(instance).is_some());
        of.next().ok_or_else(|| not_a_member(instance))
    }

    /// What time and machines bring about in every group.
    pub(crate) fn tick_auto_scaling(&mut self, now: Timestamp) {
        let names: Vec<String> = self.scaling.groups.keys().cloned().collect();
        for name in names {
            // Taken out while it works, so that it can launch, terminate and register by the world's own calls.
            let Some(mut group) = self.scaling.groups.remove(&name) else { continue };
            self.tick_group(now, &mut group);
            if !(group.deleting && group.members.is_empty()) {
                self.scaling.groups.insert(name, group);
            }
        }
    }

    fn tick_group(&mut self, now: Timestamp, group: &mut Group) {
        self.move_members(now, group);
        self.check_health(now, group);
        self.replace_and_scale(now, group);
        // What began just now goes as far as it can at once.
        self.move_members(now, group);
        group.forget_activities(now);
        group.forget_refreshes(now);
    }

    /// An id as Auto Scaling gives it to activities, refreshes and lifecycle actions.
    fn scaling_id(&mut self, kind: &str) -> String {
        let hash = self.next_id(kind);
        let part = |from: usize, to: usize| &hash[from..to];
        format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
    }
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new("ValidationError", message)
}

fn no_group(name: &str) -> ApiError {
    invalid(format!("AutoScalingGroup name not found - no such group: {name}"))
}

fn not_a_member(instance: &str) -> ApiError {
    invalid(format!("Instance Id not found - No managed instance found for instance ID: {instance}"))
}

/// Whether an instance is the member's.
fn is(member: &Member, instance: &InstanceId) -> bool {
    member.instance == *instance
}
