//! `StartInstanceRefresh`, and what makes a rollback impossible.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{InstanceRefresh, RefreshPreferences, RefreshStatus};
use crate::{
    ApiError, Result, World,
    alarms::AlarmState,
    auto_scaling::{Configuration, Group, Process, invalid},
};

/// The parameters of `StartInstanceRefresh`, with the strategy `Rolling`. It takes no client token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StartInstanceRefresh {
    /// Of which group.
    pub group: String,
    /// What the group shall launch; none means what it launches already.
    pub desired: Option<Configuration>,
    /// How it goes on.
    pub preferences: RefreshPreferences,
}

impl World {
    /// Starts a refresh, of which a group has one at a time. Gives its id.
    pub fn start_instance_refresh(
        &mut self,
        now: Timestamp,
        request: &StartInstanceRefresh,
    ) -> Result<String> {
        let group = self.group_mut(&request.group)?.clone();
        if group.active_refresh().is_some() {
            let message = "An Instance Refresh is already in progress and blocks the execution of this Instance Refresh.";
            return Err(ApiError::new("InstanceRefreshInProgress", message));
        }
        if !group.does(Process::InstanceRefresh) {
            return Err(invalid("The InstanceRefresh process of the group is suspended."));
        }
        let preferences = request.preferences.resolve(&group)?;
        if let Some(desired) = &request.desired {
            self.check_configuration(desired)?;
        }
        if preferences.auto_rollback
            && let Some(why) = self.irreversible(&group, request.desired.as_ref())
        {
            return Err(invalid(format!("The AutoRollback parameter cannot be set to true when {why}")));
        }
        for name in &preferences.alarms {
            let unknown = || invalid(format!("The alarm {name} does not exist."));
            match self.alarms.get(name).ok_or_else(unknown)?.state {
                AlarmState::Ok => {}
                state @ (AlarmState::Alarm | AlarmState::InsufficientData) => {
                    let state = state.as_str();
                    return Err(invalid(format!("The alarm {name} is in the {state} state.")));
                }
            }
        }
        let refresh = InstanceRefresh {
            id: self.scaling_id("refresh"),
            status: RefreshStatus::Pending,
            reason: None,
            started: now,
            ended: None,
            percentage: 0,
            instances_to_update: group.members.len(),
            preferences,
            desired: request.desired.clone(),
            rollback: None,
            waiting: BTreeSet::new(),
            kept: BTreeSet::new(),
            total: 0,
            completed: 0,
            blocked: None,
            checkpoint: None,
            baking: None,
            waits_for_transitions: true,
        };
        let id = refresh.id.clone();
        self.group_mut(&request.group)?.refreshes.push(refresh);
        Ok(id)
    }

    /// Why a refresh to this configuration can't be undone. What it goes back to is the configuration that the group
    /// has, and that must mean the same then as now.
    pub(super) fn irreversible(
        &self,
        group: &Group,
        desired: Option<&Configuration>,
    ) -> Option<&'static str> {
        let Some(desired) = desired else {
            return Some("the DesiredConfiguration parameter is empty");
        };
        if !group.configuration.is_pinned() || !desired.is_pinned() {
            return Some("the launch template's version is $Latest or $Default");
        }
        if self.reads_parameter(&group.configuration) || self.reads_parameter(desired) {
            return Some("the launch template uses a Systems Manager parameter as its ImageId");
        }
        None
    }
}
