//! Standby: an instance runs, and is not in service.

use jiff::Timestamp;
use ovenbird_core::domain::id::InstanceId;

use super::{Activity, ActivityStatus, Lifecycle, invalid, not_a_member};
use crate::{Result, World};

impl World {
    /// Takes instances in service out of it: requests end, then they are on standby. Their places are given up, or
    /// taken by new instances.
    pub fn enter_standby(
        &mut self,
        now: Timestamp,
        name: &str,
        ids: &[String],
        decrement: bool,
    ) -> Result<()> {
        check_count(ids)?;
        let mut group = self.group_mut(name)?.clone();
        for id in ids {
            let member = group.member(id).ok_or_else(|| not_a_member(id))?;
            if member.lifecycle != Lifecycle::InService {
                return Err(invalid(format!("The instance {id} is not in InService.")));
            }
            let weight = member.weight;
            if decrement {
                group.shrink(weight)?;
            }
        }
        for id in ids {
            let Some(index) = group.members.iter().position(|one| one.instance.as_str() == id) else {
                continue;
            };
            let instance = group.members[index].instance.clone();
            self.deregister_in(now, &group.target_groups.clone(), &instance);
            let activity = self.standby_activity(now, name, &instance, "Moving EC2 instance to Standby");
            let activity = group.begin(activity);
            let member = &mut group.members[index];
            member.lifecycle = Lifecycle::EnteringStandby;
            member.in_service = None;
            member.activity = Some(activity);
        }
        self.scaling.groups.insert(name.to_owned(), group);
        Ok(())
    }

    /// Puts instances on standby back into service, as many more are desired. They go the way of a new instance, with
    /// its hooks.
    pub fn exit_standby(&mut self, now: Timestamp, name: &str, ids: &[String]) -> Result<()> {
        check_count(ids)?;
        let mut group = self.group_mut(name)?.clone();
        for id in ids {
            let member = group.member(id).ok_or_else(|| not_a_member(id))?;
            if member.lifecycle != Lifecycle::Standby {
                return Err(invalid(format!("The instance {id} is not in Standby.")));
            }
            let weight = member.weight;
            group.desired += weight;
            if group.desired > group.max_size {
                return Err(invalid(format!(
                    "The AutoScalingGroup {name} has {} as its max size; exiting standby would exceed it.",
                    group.max_size
                )));
            }
        }
        for id in ids {
            let Some(index) = group.members.iter().position(|one| one.instance.as_str() == id) else {
                continue;
            };
            let instance = group.members[index].instance.clone();
            let activity = self.standby_activity(now, name, &instance, "Moving EC2 instance out of Standby");
            let activity = group.begin(activity);
            let member = &mut group.members[index];
            (member.lifecycle, member.unhealthy, member.activity) =
                (Lifecycle::Pending, None, Some(activity));
        }
        self.scaling.groups.insert(name.to_owned(), group);
        Ok(())
    }

    fn standby_activity(
        &mut self,
        now: Timestamp,
        group: &str,
        instance: &InstanceId,
        what: &str,
    ) -> Activity {
        Activity {
            id: self.scaling_id("activity"),
            group: group.to_owned(),
            instance: Some(instance.clone()),
            description: format!("{what}: {instance}"),
            cause: format!("At {now:.0} instance {instance} was moved in response to a user request."),
            started: now,
            ended: None,
            status: ActivityStatus::InProgress,
            message: None,
            progress: 50,
        }
    }
}

fn check_count(ids: &[String]) -> Result<()> {
    if ids.is_empty() || ids.len() > 20 {
        return Err(invalid("Between 1 and 20 instance ids are needed."));
    }
    Ok(())
}
