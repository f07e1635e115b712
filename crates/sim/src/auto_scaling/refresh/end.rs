//! How a refresh ends: done, failed, cancelled, rolled back.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::{InstanceRefresh, RefreshStatus, RollbackDetails};
use crate::{
    ApiError, Result, World,
    auto_scaling::{Group, no_group},
};

impl World {
    /// Cancels the refresh of a group. What it replaced stays so. Gives its id.
    pub fn cancel_instance_refresh(&mut self, group: &str, wait_for_transitions: bool) -> Result<String> {
        let group = self.scaling.groups.get_mut(group).ok_or_else(|| no_group(group))?;
        let refresh = group.active_refresh_mut().ok_or_else(none_active)?;
        match refresh.status {
            RefreshStatus::Pending
            | RefreshStatus::InProgress
            | RefreshStatus::Baking
            | RefreshStatus::RollbackInProgress => {}
            RefreshStatus::Cancelling
            | RefreshStatus::Successful
            | RefreshStatus::Failed
            | RefreshStatus::Cancelled
            | RefreshStatus::RollbackFailed
            | RefreshStatus::RollbackSuccessful => return Err(none_active()),
        }
        // Whatever the group launches now, it launches by its own configuration once the refresh has ended.
        refresh.status = RefreshStatus::Cancelling;
        refresh.reason = Some("Cancelled due to user request.".into());
        refresh.waits_for_transitions = wait_for_transitions;
        Ok(refresh.id.clone())
    }

    /// Begins to undo the refresh of a group: instances are replaced by such as the group's own configuration says.
    /// Gives its id. A refresh that has ended can't be undone.
    pub fn rollback_instance_refresh(&mut self, now: Timestamp, name: &str) -> Result<String> {
        let group = self.auto_scaling_group(name)?;
        let refresh = group.active_refresh().ok_or_else(none_active)?;
        match refresh.status {
            RefreshStatus::Pending | RefreshStatus::InProgress | RefreshStatus::Baking => {}
            RefreshStatus::RollbackInProgress => {
                return Err(irreversible("The instance refresh is being rolled back already."));
            }
            RefreshStatus::Cancelling
            | RefreshStatus::Successful
            | RefreshStatus::Failed
            | RefreshStatus::Cancelled
            | RefreshStatus::RollbackFailed
            | RefreshStatus::RollbackSuccessful => return Err(none_active()),
        }
        if let Some(why) = self.irreversible(group, refresh.desired.as_ref()) {
            return Err(irreversible(&format!("The instance refresh can't be rolled back: {why}.")));
        }
        let (id, mut group) = (refresh.id.clone(), group.clone());
        self.begin_rollback(now, &mut group, "User initiated rollback.");
        self.scaling.groups.insert(name.to_owned(), group);
        Ok(id)
    }

    /// The refresh can't go on: it goes back if it is to do so by itself, else it has failed.
    pub(super) fn give_up(&mut self, now: Timestamp, group: &mut Group, why: &str) {
        let Some(refresh) = group.active_refresh_mut() else { return };
        match refresh.status {
            RefreshStatus::RollbackInProgress => refresh.end(now, RefreshStatus::RollbackFailed, why),
            RefreshStatus::Pending | RefreshStatus::InProgress | RefreshStatus::Baking
                if refresh.preferences.auto_rollback =>
            {
                let desired = refresh.desired.clone();
                match self.irreversible(group, desired.as_ref()) {
                    None => self.begin_rollback(now, group, why),
                    // Somebody changed the template's version meanwhile.
                    Some(_) => group.end_refresh(now, RefreshStatus::Failed, why),
                }
            }
            RefreshStatus::Pending
            | RefreshStatus::InProgress
            | RefreshStatus::Baking
            | RefreshStatus::Cancelling
            | RefreshStatus::Successful
            | RefreshStatus::Failed
            | RefreshStatus::Cancelled
            | RefreshStatus::RollbackFailed
            | RefreshStatus::RollbackSuccessful => refresh.end(now, RefreshStatus::Failed, why),
        }
    }

    fn begin_rollback(&mut self, now: Timestamp, group: &mut Group, why: &str) {
        let stays = |group: &Group| -> BTreeSet<_> {
            let members = group.members.iter().filter(|member| !member.lifecycle.is_ending());
            let old = members.filter(|member| self.matches(member, &group.configuration));
            old.map(|member| member.instance.clone()).collect()
        };
        let kept = stays(group);
        let waiting: BTreeSet<_> = group
            .members
            .iter()
            .filter(|member| !member.lifecycle.is_ending() && !kept.contains(&member.instance))
            .map(|member| member.instance.clone())
            .collect();
        let Some(refresh) = group.active_refresh_mut() else { return };
        refresh.rollback = Some(RollbackDetails {
            reason: why.to_owned(),
            started: now,
            percentage_on_rollback: refresh.percentage,
            instances_to_update_on_rollback: refresh.instances_to_update,
        });
        refresh.status = RefreshStatus::RollbackInProgress;
        refresh.reason = Some(why.to_owned());
        (refresh.total, refresh.completed) = (waiting.len(), 0);
        refresh.instances_to_update = waiting.len();
        (refresh.kept, refresh.waiting) = (kept, waiting);
        (refresh.blocked, refresh.checkpoint, refresh.baking) = (None, None, None);
    }

    /// Everything is replaced: it bakes, or is done. What it launched is what the group launches from now on.
    pub(super) fn finish_refresh(&mut self, now: Timestamp, group: &mut Group) {
        let Some(refresh) = group.active_refresh_mut() else { return };
        let bake = SignedDuration::from_secs(i64::from(refresh.preferences.bake));
        match (refresh.status, refresh.baking) {
            (RefreshStatus::RollbackInProgress, _) => {
                refresh.percentage = 0;
                refresh.end(now, RefreshStatus::RollbackSuccessful, "");
                return;
            }
            (_, None) if !bake.is_zero() => {
                (refresh.status, refresh.baking) = (RefreshStatus::Baking, Some(now + bake));
                return;
            }
            (_, Some(until)) if now < until => return,
            _ => {}
        }
        let desired = refresh.desired.clone();
        refresh.end(now, RefreshStatus::Successful, "");
        if let Some(desired) = desired {
            group.configuration = desired;
        }
    }
}

impl InstanceRefresh {
    fn end(&mut self, now: Timestamp, status: RefreshStatus, why: &str) {
        self.status = status;
        self.ended = Some(now);
        self.blocked = None;
        self.reason = (!why.is_empty()).then(|| why.to_owned());
    }
}

impl Group {
    pub(super) fn end_refresh(&mut self, now: Timestamp, status: RefreshStatus, why: &str) {
        if let Some(refresh) = self.active_refresh_mut() {
            refresh.end(now, status, why);
        }
    }

    /// A group that is being deleted has no refresh any more.
    pub(in super::super) fn end_refresh_for_deletion(&mut self, now: Timestamp) {
        self.end_refresh(now, RefreshStatus::Cancelled, "The group is being deleted.");
    }
}

fn none_active() -> ApiError {
    let message = "No in progress or pending Instance Refresh found for Auto Scaling group";
    ApiError::new("ActiveInstanceRefreshNotFound", message)
}

fn irreversible(message: &str) -> ApiError {
    ApiError::new("IrreversibleInstanceRefresh", message)
}
