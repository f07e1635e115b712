//! The target groups of a group.

use jiff::Timestamp;
use ovenbird_core::domain::id::InstanceId;

use super::{Group, Lifecycle, Process, checks::not_found};
use crate::{
    Result, World,
    load_balancing::{TargetId, TargetState},
};

impl World {
    /// Attaches target groups: instances in service are registered, and new ones when they come into service.
    pub fn attach_target_groups(&mut self, now: Timestamp, group: &str, arns: &[String]) -> Result<()> {
        for arn in arns {
            self.target_group(arn).map_err(|_| not_found(arn))?;
        }
        let group = self.group_mut(group)?;
        let new: Vec<_> = arns.iter().filter(|arn| !group.target_groups.contains(arn)).cloned().collect();
        group.target_groups.extend(new.clone());
        let serving: Vec<_> = group
            .members
            .iter()
            .filter(|member| member.lifecycle == Lifecycle::InService)
            .map(|member| member.instance.clone())
            .collect();
        if group.does(Process::AddToLoadBalancer) {
            for instance in serving {
                self.register_in(now, &new, &instance);
            }
        }
        Ok(())
    }

    /// Detaches target groups: the group's instances are deregistered there.
    pub fn detach_target_groups(&mut self, now: Timestamp, group: &str, arns: &[String]) -> Result<()> {
        let group = self.group_mut(group)?;
        if let Some(unknown) = arns.iter().find(|arn| !group.target_groups.contains(arn)) {
            return Err(not_found(unknown));
        }
        group.target_groups.retain(|arn| !arns.contains(arn));
        let all: Vec<_> = group.members.iter().map(|member| member.instance.clone()).collect();
        for instance in all {
            self.deregister_in(now, arns, &instance);
        }
        Ok(())
    }

    /// The target groups of a group and how each stands: `InService` once it has a healthy instance of the group, else
    /// `Added`.
    pub fn describe_group_target_groups(&self, group: &str) -> Result<Vec<(String, &'static str)>> {
        let group = self.auto_scaling_group(group)?;
        let state = |arn: &String| {
            let target_group = self.target_group(arn).ok();
            let mut healthy = target_group.into_iter().flat_map(|one| self.healthy_targets(one));
            let serves = healthy.any(|instance| group.member(instance.as_str()).is_some());
            (arn.clone(), if serves { "InService" } else { "Added" })
        };
        Ok(group.target_groups.iter().map(state).collect())
    }

    pub(super) fn register_in(&mut self, now: Timestamp, arns: &[String], instance: &InstanceId) {
        for arn in arns {
            // A target group that is gone takes nobody; the next launch says so.
            let _ = self.register_targets(now, arn, &[TargetId::of(instance)]);
        }
    }

    pub(super) fn deregister_in(&mut self, now: Timestamp, arns: &[String], instance: &InstanceId) {
        for arn in arns {
            // One that is gone has nobody any more.
            let _ = self.deregister_targets(now, arn, &[TargetId::of(instance)]);
        }
    }

    /// Whether an instance still drains in one of the group's target groups.
    pub(super) fn drains(&self, group: &Group, instance: &InstanceId) -> bool {
        group.target_groups.iter().any(|arn| self.is_draining(arn, instance))
    }

    /// The states of an instance in the group's target groups.
    pub(super) fn target_states(&self, group: &Group, instance: &InstanceId) -> Vec<TargetState> {
        let described = group.target_groups.iter().filter_map(|arn| {
            self.describe_target_health(arn, &[TargetId::of(instance)]).ok()?.into_iter().next()
        });
        described.map(|target| target.health.state).collect()
    }
}
