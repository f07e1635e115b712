//! How an instance of a group goes from state to state.

use jiff::Timestamp;
use ovenbird_core::domain::id::InstanceId;

use super::{
    ActionResult, Activity, ActivityStatus, Group, Lifecycle, Member, Process, Transition, hooks::waited, is,
};
use crate::{InstanceState, World};

impl World {
    /// Every instance goes as far as it can.
    pub(super) fn move_members(&mut self, now: Timestamp, group: &mut Group) {
        let ids: Vec<InstanceId> = group.members.iter().map(|member| member.instance.clone()).collect();
        for id in ids {
            while self.step(now, group, &id) {}
        }
    }

    /// One step of an instance; false when it has to wait.
    fn step(&mut self, now: Timestamp, group: &mut Group, id: &InstanceId) -> bool {
        let Some(index) = group.members.iter().position(|member| is(member, id)) else { return false };
        let mut member = group.members[index].clone();
        let before = member.lifecycle;
        match before {
            Lifecycle::Pending | Lifecycle::PendingWait | Lifecycle::PendingProceed
                if self.is_down(&member) =>
            {
                self.lost_before_service(now, group, &mut member);
            }
            Lifecycle::Pending => {
                if self.ec2_state(id) == Some(InstanceState::Running) {
                    let waits = self.begin_waits(now, group, &mut member, Transition::Launching);
                    member.lifecycle = if waits { Lifecycle::PendingWait } else { Lifecycle::PendingProceed };
                    if waits {
                        let status = ActivityStatus::MidLifecycleAction;
                        group.note(now, member.activity.as_deref(), status, None);
                    }
                }
            }
            Lifecycle::PendingWait => match waited(now, group, &mut member) {
                Some((ActionResult::Continue, _)) => member.lifecycle = Lifecycle::PendingProceed,
                Some((ActionResult::Abandon, by_time)) => {
                    let how = if by_time {
                        "Heartbeat Timeout"
                    } else {
                        "Lifecycle Action Completed with ABANDON Result"
                    };
                    let message = format!(
                        "Instance failed to complete user's Lifecycle Action: Lifecycle Action was abandoned: {how}"
                    );
                    let status = ActivityStatus::Cancelled;
                    group.note(now, member.activity.as_deref(), status, Some(message));
                    let cause = "an instance was taken out of service in response to a launch failure.";
                    self.take_out(now, group, &mut member, cause);
                }
                None => {}
            },
            Lifecycle::PendingProceed => {
                if group.does(Process::AddToLoadBalancer) {
                    self.register_in(now, &group.target_groups.clone(), id);
                }
                member.lifecycle = Lifecycle::InService;
                member.in_service = Some(now);
                member.waits.clear();
                group.note(now, member.activity.take().as_deref(), ActivityStatus::Successful, None);
            }
            Lifecycle::EnteringStandby => {
                if !self.drains(group, id) {
                    member.lifecycle = Lifecycle::Standby;
                    group.note(now, member.activity.take().as_deref(), ActivityStatus::Successful, None);
                }
            }
            Lifecycle::Terminating => {
                if !self.drains(group, id) {
                    // A group that is deleted waits for nobody.
                    let waits =
                        !group.deleting && self.begin_waits(now, group, &mut member, Transition::Terminating);
                    member.lifecycle =
                        if waits { Lifecycle::TerminatingWait } else { Lifecycle::TerminatingProceed };
                    let status =
                        if waits { ActivityStatus::MidLifecycleAction } else { ActivityStatus::InProgress };
                    group.note(now, member.activity.as_deref(), status, None);
                    if !waits {
                        self.terminate(id);
                    }
                }
            }
            Lifecycle::TerminatingWait => {
                let ended = waited(now, group, &mut member);
                let abandoned = matches!(ended, Some((ActionResult::Abandon, _)));
                if abandoned && group.retains_abandoned && !group.deleting {
                    member.lifecycle = Lifecycle::TerminatingRetained;
                    member.waits.clear();
                    let message = "The instance is retained: a termination lifecycle action was abandoned.";
                    let status = ActivityStatus::Cancelled;
                    group.note(now, member.activity.take().as_deref(), status, Some(message.into()));
                } else if group.deleting || ended.is_some() {
                    member.lifecycle = Lifecycle::TerminatingProceed;
                    group.note(now, member.activity.as_deref(), ActivityStatus::InProgress, None);
                    self.terminate(id);
                }
            }
            Lifecycle::TerminatingProceed => {
                if matches!(self.ec2_state(id), None | Some(InstanceState::Terminated)) {
                    group.note(now, member.activity.as_deref(), ActivityStatus::Successful, None);
                    group.members.remove(index);
                    return false;
                }
            }
            Lifecycle::TerminatingRetained => {
                // Whoever else ended it, it is gone.
                if matches!(self.ec2_state(id), None | Some(InstanceState::Terminated)) {
                    group.members.remove(index);
                    return false;
                }
                if group.deleting {
                    member.lifecycle = Lifecycle::TerminatingProceed;
                    self.terminate(id);
                }
            }
            Lifecycle::InService | Lifecycle::Standby => {}
        }
        let moved = member.lifecycle != before;
        group.members[index] = member;
        moved
    }

    fn ec2_state(&self, id: &InstanceId) -> Option<InstanceState> {
        self.instances.get(id).map(|instance| instance.state)
    }

    fn terminate(&mut self, id: &InstanceId) {
        // One that EC2 has forgotten is terminated, too.
        let _ = self.terminate_instances(&[id.to_string()], false);
    }

    /// EC2 gave up an instance before it was in service.
    fn lost_before_service(&mut self, now: Timestamp, group: &mut Group, member: &mut Member) {
        let reason = self.instances.get(&member.instance).and_then(|one| one.state_reason.clone());
        let reason = reason.map(|(_, message)| message).unwrap_or_default();
        let message = format!(
            "Instance became unhealthy while waiting for instance to be in InService state. Termination Reason: {reason}"
        );
        group.note(now, member.activity.as_deref(), ActivityStatus::Cancelled, Some(message));
        member.unhealthy.get_or_insert_with(|| "a launch failure".to_owned());
        group.launch_failed(now);
        self.take_out(
            now,
            group,
            member,
            "an instance was taken out of service in response to a launch failure.",
        );
    }

    /// Begins to end an instance: from now on no new request reaches it.
    pub(super) fn take_out(&mut self, now: Timestamp, group: &mut Group, member: &mut Member, cause: &str) {
        if member.lifecycle.is_ending() {
            return;
        }
        if let Some(activity) = member.activity.take() {
            let over = group.activities.iter().any(|one| one.id == activity && one.status.is_over());
            if !over {
                group.note(now, Some(&activity), ActivityStatus::Cancelled, None);
            }
        }
        self.deregister_in(now, &group.target_groups.clone(), &member.instance);
        let draining = self.drains(group, &member.instance);
        let status = if draining { ActivityStatus::WaitingForDraining } else { ActivityStatus::InProgress };
        let activity = self.termination(now, group, &member.instance, status, cause);
        member.activity = Some(group.begin(activity));
        member.lifecycle = Lifecycle::Terminating;
        member.in_service = None;
        member.waits.clear();
    }

    /// Ends an instance that was retained. Its hooks have had their time.
    pub(super) fn end_retained(&mut self, now: Timestamp, group: &mut Group, id: &InstanceId, cause: &str) {
        let Some(index) = group.members.iter().position(|member| is(member, id)) else { return };
        let activity = self.termination(now, group, id, ActivityStatus::InProgress, cause);
        group.members[index].activity = Some(group.begin(activity));
        group.members[index].lifecycle = Lifecycle::TerminatingProceed;
        self.terminate(id);
    }

    fn termination(
        &mut self,
        now: Timestamp,
        group: &Group,
        id: &InstanceId,
        status: ActivityStatus,
        cause: &str,
    ) -> Activity {
        Activity {
            id: self.scaling_id("activity"),
            group: group.name.clone(),
            instance: Some(id.clone()),
            description: format!("Terminating EC2 instance: {id}"),
            cause: format!("At {now:.0} {cause}"),
            started: now,
            ended: None,
            status,
            message: None,
            progress: 50,
        }
    }

    /// Begins to end an instance of a group, by its id.
    pub(super) fn end_member(&mut self, now: Timestamp, group: &mut Group, id: &InstanceId, cause: &str) {
        let Some(index) = group.members.iter().position(|member| is(member, id)) else { return };
        let mut member = group.members[index].clone();
        self.take_out(now, group, &mut member, cause);
        group.members[index] = member;
    }
}
