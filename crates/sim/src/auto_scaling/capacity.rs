//! A group becomes as large as it shall be, of healthy instances.

use jiff::Timestamp;
use ovenbird_core::domain::id::InstanceId;

use super::{Activity, ActivityStatus, Group, Lifecycle, MaintenancePolicy, Member, Process, invalid};
use crate::{Result, World};

const ALL_PROTECTED: &str =
    "Could not scale to desired capacity because all remaining instances are protected from scale in.";

/// How much of a group must be ready, and how much it may have, while instances are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// So many units must be ready.
    pub min: u32,
    /// So many units may be there.
    pub max: u32,
}

impl Bounds {
    /// The lower bound is rounded up ("rounded up to the nearest integer", the API reference of earlier years), the
    /// upper one down. Nothing says that a replacement may go beyond the group's maximum size, so it doesn't.
    pub fn of(group: &Group, min_healthy: u32, max_healthy: u32) -> Self {
        let units = |percent: u32| u64::from(group.desired) * u64::from(percent);
        let min = u32::try_from(units(min_healthy).div_ceil(100)).unwrap_or(u32::MAX);
        let max = u32::try_from(units(max_healthy) / 100).unwrap_or(u32::MAX);
        Self { min, max: max.min(group.max_size.max(group.desired)) }
    }
}

impl World {
    /// The units of a group that are ready to use.
    pub(super) fn ready_units(&self, now: Timestamp, group: &Group, warmup: u32) -> u32 {
        let ready = group.members.iter().filter(|member| self.is_ready(now, group, member, warmup));
        ready.map(|member| member.weight).sum()
    }

    pub(super) fn replace_and_scale(&mut self, now: Timestamp, group: &mut Group) {
        if group.deleting {
            let all: Vec<InstanceId> = group.members.iter().map(|member| member.instance.clone()).collect();
            for id in all {
                self.end_member(
                    now,
                    group,
                    &id,
                    "an instance was taken out of service in response to the deletion of its group.",
                );
            }
            return;
        }
        let ahead = self.step_refresh(now, group).max(self.replace_unhealthy(now, group));
        let wanted = group.desired + ahead;
        self.scale_out(now, group, wanted);
        self.scale_in(now, group, wanted);
    }

    fn scale_out(&mut self, now: Timestamp, group: &mut Group, wanted: u32) {
        let may = group.does(Process::Launch) && group.launch_after.is_none_or(|after| now >= after);
        while may && group.capacity() < wanted {
            let (from, to) = (group.capacity(), group.capacity() + 1);
            let cause = format!(
                "At {now:.0} an instance was started in response to a difference between desired and actual capacity, increasing the capacity from {from} to {to}."
            );
            if self.launch_member(now, group, &cause).is_none() {
                return;
            }
        }
    }

    fn scale_in(&mut self, now: Timestamp, group: &mut Group, wanted: u32) {
        while group.does(Process::Terminate) && group.capacity() > wanted {
            let Some(id) = group.next_to_go() else {
                self.note_protected(now, group);
                return;
            };
            let Some(member) = group.member(id.as_str()).cloned() else { return };
            // With weights, what goes may be more than there is too much.
            if group.capacity() - member.weight < wanted || !self.may_shrink(now, group, &member) {
                return;
            }
            let (from, to) = (group.capacity(), group.capacity() - member.weight);
            let cause = format!(
                "an instance was taken out of service in response to a difference between desired and actual capacity, shrinking the capacity from {from} to {to}."
            );
            self.end_member(now, group, &id, &cause);
        }
    }

    /// While a refresh is under way, what is ready doesn't fall below what the refresh keeps.
    fn may_shrink(&self, now: Timestamp, group: &Group, member: &Member) -> bool {
        let Some(refresh) = group.active_refresh() else { return true };
        let warmup = refresh.preferences.warmup;
        let bounds = refresh.bounds(group);
        !self.is_ready(now, group, member, warmup)
            || self.ready_units(now, group, warmup).saturating_sub(member.weight) >= bounds.min
    }

    fn note_protected(&mut self, now: Timestamp, group: &mut Group) {
        if group.activities.last().is_some_and(|last| last.message.as_deref() == Some(ALL_PROTECTED)) {
            return;
        }
        let id = group.begin(Activity {
            id: self.scaling_id("activity"),
            group: group.name.clone(),
            instance: None,
            description: "Terminating an EC2 instance".into(),
            cause: format!("At {now:.0} a difference between desired and actual capacity."),
            started: now,
            ended: None,
            status: ActivityStatus::InProgress,
            message: None,
            progress: 0,
        });
        group.note(now, Some(&id), ActivityStatus::Failed, Some(ALL_PROTECTED.into()));
    }

    /// Replaces who is unhealthy: who is gone at once, who runs as the maintenance policy says, without one at once.
    /// Gives the units to launch before.
    fn replace_unhealthy(&mut self, now: Timestamp, group: &mut Group) -> u32 {
        if !group.does(Process::ReplaceUnhealthy) || !group.does(Process::Terminate) {
            return 0;
        }
        let mut sick: Vec<Member> = group
            .members
            .iter()
            .filter(|member| member.unhealthy.is_some() && member.lifecycle.counts())
            .cloned()
            .collect();
        let policy = group.maintenance;
        let mut end = |world: &mut Self, member: &Member| {
            let why = member.unhealthy.clone().unwrap_or_default();
            let cause = format!("an instance was taken out of service in response to {why}.");
            world.end_member(now, group, &member.instance, &cause);
        };
        sick.retain(|member| {
            let at_once = self.is_down(member) || policy.is_none();
            if at_once {
                end(self, member);
            }
            !at_once
        });
        let Some(MaintenancePolicy { min_healthy, max_healthy }) = policy else { return 0 };
        let bounds = Bounds::of(group, min_healthy, max_healthy);
        let room = group.max_size.saturating_sub(group.desired);
        let mut ahead = 0;
        for member in sick {
            let ready = self.ready_units(now, group, group.warmup());
            // Where the maximum size leaves no room to launch first, nothing else helps.
            if ready >= bounds.min || room == 0 {
                let why = member.unhealthy.clone().unwrap_or_default();
                let cause = format!("an instance was taken out of service in response to {why}.");
                self.end_member(now, group, &member.instance, &cause);
            } else {
                ahead += member.weight;
            }
        }
        ahead.min(bounds.max.saturating_sub(group.desired).max(1)).min(room)
    }

    /// Ends an instance of a group; its place is taken by a new one, or given up.
    pub fn terminate_instance_in_auto_scaling_group(
        &mut self,
        now: Timestamp,
        instance: &str,
        decrement: bool,
    ) -> Result<Activity> {
        let name = self.group_of(instance)?.name.clone();
        let mut group = self.group_mut(&name)?.clone();
        let member = group.member(instance).cloned().ok_or_else(|| super::not_a_member(instance))?;
        let cause = "instance was taken out of service in response to a user request.";
        if member.lifecycle == Lifecycle::TerminatingRetained {
            self.end_retained(now, &mut group, &member.instance, cause);
            let activity = group.activities.last().cloned();
            self.scaling.groups.insert(name, group);
            return activity.ok_or_else(|| invalid(format!("The instance {instance} can't be terminated.")));
        }
        if member.lifecycle.is_ending() {
            return Err(invalid(format!("The instance {instance} is being terminated already.")));
        }
        if decrement && member.lifecycle.counts() {
            group.shrink(member.weight)?;
        }
        self.end_member(now, &mut group, &member.instance, cause);
        let activity = group.activities.last().cloned();
        self.scaling.groups.insert(name, group);
        activity.ok_or_else(|| invalid(format!("The instance {instance} can't be terminated.")))
    }
}

impl Group {
    /// Makes less desired, but not less than the minimum.
    pub(super) fn shrink(&mut self, units: u32) -> Result<()> {
        match self.desired.checked_sub(units).filter(|desired| *desired >= self.min_size) {
            Some(desired) => {
                self.desired = desired;
                Ok(())
            }
            None => Err(invalid(format!(
                "Currently, desiredSize equals minSize ({}). Terminating instance without replacement will violate group's min size constraint. Either set shouldDecrementDesiredCapacity flag to false or lower group's min size.",
                self.min_size
            ))),
        }
    }
}
