//! What a group does by itself, and stopping it from doing so.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::invalid;
use crate::{ApiError, Result, World};

/// What a group does by itself. Those that no part of the model does can be suspended all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Process {
    /// Launches instances.
    Launch,
    /// Terminates instances.
    Terminate,
    /// Registers new instances with target groups.
    AddToLoadBalancer,
    /// Scales when an alarm tells it to.
    AlarmNotification,
    /// Balances the zones.
    #[serde(rename = "AZRebalance")]
    AzRebalance,
    /// Finds out who is unhealthy.
    HealthCheck,
    /// Goes on with an instance refresh.
    InstanceRefresh,
    /// Replaces who is unhealthy.
    ReplaceUnhealthy,
    /// Scales at set times.
    ScheduledActions,
}

impl Process {
    /// Every one.
    pub const ALL: [Self; 9] = [
        Self::Launch,
        Self::Terminate,
        Self::AddToLoadBalancer,
        Self::AlarmNotification,
        Self::AzRebalance,
        Self::HealthCheck,
        Self::InstanceRefresh,
        Self::ReplaceUnhealthy,
        Self::ScheduledActions,
    ];

    /// Auto Scaling's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Launch => "Launch",
            Self::Terminate => "Terminate",
            Self::AddToLoadBalancer => "AddToLoadBalancer",
            Self::AlarmNotification => "AlarmNotification",
            Self::AzRebalance => "AZRebalance",
            Self::HealthCheck => "HealthCheck",
            Self::InstanceRefresh => "InstanceRefresh",
            Self::ReplaceUnhealthy => "ReplaceUnhealthy",
            Self::ScheduledActions => "ScheduledActions",
        }
    }

    /// Reads Auto Scaling's word.
    pub fn parse(word: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|process| process.as_str() == word);
        found.ok_or_else(|| ApiError::new("ValidationError", format!("Invalid Process Type: {word}")))
    }
}

impl World {
    /// From now on a group doesn't do this; none means nothing of all.
    pub fn suspend_processes(&mut self, now: Timestamp, group: &str, processes: &[Process]) -> Result<()> {
        let reason = format!("User suspended at {now:.0}");
        let group = self.group_mut(group)?;
        for process in chosen(processes) {
            group.suspended.entry(process).or_insert_with(|| reason.clone());
        }
        Ok(())
    }

    /// From now on a group does this again; none means everything.
    pub fn resume_processes(&mut self, group: &str, processes: &[Process]) -> Result<()> {
        let group = self.group_mut(group)?;
        for process in chosen(processes) {
            group.suspended.remove(&process);
        }
        if processes.contains(&Process::Launch) || processes.is_empty() {
            group.launch_after = None;
        }
        Ok(())
    }

    /// Protects instances from going when the group shrinks, or takes the protection away.
    pub fn set_instance_protection(&mut self, group: &str, ids: &[String], protected: bool) -> Result<()> {
        if ids.is_empty() || ids.len() > 50 {
            return Err(invalid("Between 1 and 50 instance ids are needed."));
        }
        let group = self.group_mut(group)?;
        for id in ids {
            let member = group.member(id).ok_or_else(|| super::not_a_member(id))?;
            if member.lifecycle != super::Lifecycle::InService {
                return Err(invalid(format!("The instance {id} is not in InService.")));
            }
        }
        for member in &mut group.members {
            if ids.iter().any(|id| id == member.instance.as_str()) {
                member.protected = protected;
            }
        }
        Ok(())
    }
}

fn chosen(processes: &[Process]) -> Vec<Process> {
    if processes.is_empty() { Process::ALL.to_vec() } else { processes.to_vec() }
}
