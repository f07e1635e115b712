//! Who is unhealthy.

use jiff::{SignedDuration, Timestamp};

use super::{Group, HealthCheckType, Lifecycle, Member, Process, not_a_member};
use crate::{InstanceState, Result, World, load_balancing::TargetState};

impl World {
    /// Says that an instance is healthy or not, as a health check of one's own does. Within the grace period, an
    /// unhealthy one stays healthy if the period is respected.
    pub fn set_instance_health(
        &mut self,
        now: Timestamp,
        instance: &str,
        healthy: bool,
        respect_grace: bool,
    ) -> Result<()> {
        let name = self.group_of(instance)?.name.clone();
        let group = self.group_mut(&name)?;
        let grace = group.health_check_grace;
        let known = group.members.iter_mut().find(|member| member.instance.as_str() == instance);
        let member = known.ok_or_else(|| not_a_member(instance))?;
        if healthy {
            member.unhealthy = None;
        } else if !respect_grace || !in_grace(now, member, grace) {
            member.unhealthy.get_or_insert_with(|| "a user health-check".to_owned());
        }
        Ok(())
    }

    /// Finds out who is unhealthy. Only a `Healthy` word of `SetInstanceHealth` makes one healthy again.
    pub(super) fn check_health(&self, now: Timestamp, group: &mut Group) {
        if !group.does(Process::HealthCheck) {
            return;
        }
        let mut found = Vec::new();
        for member in &group.members {
            if member.unhealthy.is_some() || !member.lifecycle.counts() {
                continue;
            }
            let reason = if self.is_down(member) {
                Some("an EC2 health check indicating it has been terminated or stopped")
            } else if self.is_sick(now, group, member) {
                Some("an ELB system health check failure")
            } else {
                None
            };
            found.extend(reason.map(|reason| (member.instance.clone(), reason)));
        }
        for (instance, reason) in found {
            if let Some(member) = group.members.iter_mut().find(|member| super::is(member, &instance)) {
                member.unhealthy = Some(reason.to_owned());
            }
        }
    }

    /// Whether EC2 runs an instance no more.
    pub(super) fn is_down(&self, member: &Member) -> bool {
        self.instances.get(&member.instance).is_none_or(|instance| match instance.state {
            InstanceState::Pending | InstanceState::Running => false,
            InstanceState::Stopping
            | InstanceState::Stopped
            | InstanceState::ShuttingDown
            | InstanceState::Terminated => true,
        })
    }

    /// Whether a target group that may judge it holds an instance for unhealthy.
    fn is_sick(&self, now: Timestamp, group: &Group, member: &Member) -> bool {
        group.health_check_type == HealthCheckType::Elb
            && member.lifecycle == Lifecycle::InService
            && !in_grace(now, member, group.health_check_grace)
            && self.target_states(group, &member.instance).contains(&TargetState::Unhealthy)
    }

    /// Whether an instance is ready to use: in service, healthy, its first health checks passed, and warmed up.
    ///
    /// A group that asks EC2 alone doesn't look at its target groups: what answers nothing but 500 is ready there.
    pub(super) fn is_ready(&self, now: Timestamp, group: &Group, member: &Member, warmup: u32) -> bool {
        let checked = match group.health_check_type {
            HealthCheckType::Ec2 => true,
            HealthCheckType::Elb => {
                let passed = |state: &TargetState| match state {
                    TargetState::Healthy | TargetState::Unused => true,
                    TargetState::Initial | TargetState::Unhealthy | TargetState::Draining => false,
                };
                self.target_states(group, &member.instance).iter().all(passed)
            }
        };
        checked && member.is_warm(now, warmup) && !self.is_down(member)
    }
}

fn in_grace(now: Timestamp, member: &Member, grace: u32) -> bool {
    let grace = SignedDuration::from_secs(i64::from(grace));
    member.in_service.is_none_or(|since| now.duration_since(since) < grace)
}
