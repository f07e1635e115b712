//! Instance refreshes: a group's instances are replaced by new ones, a few at a time.
//!
//! Sources of the rules: the API reference (`RefreshPreferences`, `InstanceRefresh`, `RollbackDetails`) and the user
//! guide's "How an instance refresh works", "Undo changes with a rollback", "Use an instance refresh with skip
//! matching" and "Add checkpoints". Where they are silent, the model does what hurts a caller more.

mod end;
mod preferences;
mod start;
mod step;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use ovenbird_core::domain::id::InstanceId;
use serde::{Deserialize, Serialize};

pub use self::{
    preferences::{Preferences, RefreshPreferences, WhenFound},
    start::StartInstanceRefresh,
};
use super::{Configuration, Group, capacity::Bounds, invalid};
use crate::{Page, Paging, Result, World};

/// Refreshes are shown for six weeks.
const SHOWN: SignedDuration = SignedDuration::from_hours(6 * 7 * 24);

/// Auto Scaling's states of a refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefreshStatus {
    /// Asked for.
    Pending,
    /// Replacing.
    InProgress,
    /// All is replaced; it waits whether that holds.
    Baking,
    /// Done.
    Successful,
    /// Given up.
    Failed,
    /// To be cancelled; what is on its way is waited for.
    Cancelling,
    /// Cancelled; what was replaced stays so.
    Cancelled,
    /// Replacing by what was before.
    RollbackInProgress,
    /// What was before could not be brought back.
    RollbackFailed,
    /// All is as before.
    RollbackSuccessful,
}

impl RefreshStatus {
    /// Auto Scaling's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::InProgress => "InProgress",
            Self::Baking => "Baking",
            Self::Successful => "Successful",
            Self::Failed => "Failed",
            Self::Cancelling => "Cancelling",
            Self::Cancelled => "Cancelled",
            Self::RollbackInProgress => "RollbackInProgress",
            Self::RollbackFailed => "RollbackFailed",
            Self::RollbackSuccessful => "RollbackSuccessful",
        }
    }

    /// Whether it is under way.
    pub fn is_active(self) -> bool {
        match self {
            Self::Pending | Self::InProgress | Self::Baking | Self::Cancelling | Self::RollbackInProgress => {
                true
            }
            Self::Successful | Self::Failed | Self::Cancelled => false,
            Self::RollbackFailed | Self::RollbackSuccessful => false,
        }
    }
}

/// What is to be said of a rollback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollbackDetails {
    /// Why it began.
    pub reason: String,
    /// When it began.
    pub started: Timestamp,
    /// How far the refresh was, in per cent.
    pub percentage_on_rollback: u32,
    /// How many instances the refresh had yet to replace.
    pub instances_to_update_on_rollback: usize,
}

/// A refresh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceRefresh {
    /// Its id.
    pub id: String,
    /// How it stands.
    pub status: RefreshStatus,
    /// What is to be said of how it stands.
    pub reason: Option<String>,
    /// When it was asked for.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// How far it is, in per cent; a rollback runs back to 0.
    pub percentage: u32,
    /// How many instances it has yet to replace.
    pub instances_to_update: usize,
    /// How it goes on, with every default filled in.
    pub preferences: Preferences,
    /// What its new instances are launched by; none means as the group says.
    pub desired: Option<Configuration>,
    /// Its rollback, if there was one.
    pub rollback: Option<RollbackDetails>,
    /// The instances that are yet to be replaced.
    pub(super) waiting: BTreeSet<InstanceId>,
    /// The instances that stay as they are: because they match, or because they are ignored.
    pub(super) kept: BTreeSet<InstanceId>,
    /// How many instances it replaces in all.
    pub(super) total: usize,
    /// How many it has replaced, by ready ones.
    pub(super) completed: usize,
    /// Since when it can't go on; an hour of it is too much.
    pub(super) blocked: Option<Timestamp>,
    /// The checkpoint that was reached last, and until when it waits there.
    pub(super) checkpoint: Option<(u32, Timestamp)>,
    /// Until when it bakes.
    pub(super) baking: Option<Timestamp>,
    /// Whether a cancellation waits for what is on its way.
    pub(super) waits_for_transitions: bool,
}

impl InstanceRefresh {
    /// What new instances are launched by, while it is under way; none means as the group says.
    pub(super) fn launches(&self) -> Option<&Configuration> {
        match self.status {
            RefreshStatus::Pending
            | RefreshStatus::InProgress
            | RefreshStatus::Baking
            | RefreshStatus::Cancelling => self.desired.as_ref(),
            // The group has the configuration of before until a refresh succeeds.
            RefreshStatus::RollbackInProgress
            | RefreshStatus::Successful
            | RefreshStatus::Failed
            | RefreshStatus::Cancelled
            | RefreshStatus::RollbackFailed
            | RefreshStatus::RollbackSuccessful => None,
        }
    }

    pub(super) fn bounds(&self, group: &Group) -> Bounds {
        Bounds::of(group, self.preferences.min_healthy, self.preferences.max_healthy.unwrap_or(100))
    }

    /// Notes that it can't go on, and why.
    pub(super) fn block(&mut self, now: Timestamp, why: &str) {
        self.blocked.get_or_insert(now);
        self.reason = Some(why.to_owned());
    }
}

impl Group {
    pub(super) fn active_refresh_mut(&mut self) -> Option<&mut InstanceRefresh> {
        self.refreshes.last_mut().filter(|refresh| refresh.status.is_active())
    }

    pub(super) fn forget_refreshes(&mut self, now: Timestamp) {
        self.refreshes.retain(|one| one.ended.is_none_or(|ended| now.duration_since(ended) < SHOWN));
    }
}

impl World {
    /// The refreshes of a group, the newest first; by their ids, if there are any.
    pub fn describe_instance_refreshes(
        &self,
        group: &str,
        ids: &[String],
        paging: &Paging,
    ) -> Result<Page<InstanceRefresh>> {
        if paging.max_results.is_some_and(|most| !(1..=100).contains(&most)) {
            return Err(invalid("MaxRecords is between 1 and 100."));
        }
        let group = self.auto_scaling_group(group)?;
        if let Some(unknown) = ids.iter().find(|id| !group.refreshes.iter().any(|one| one.id == **id)) {
            return Err(invalid(format!("Instance refresh not found: {unknown}")));
        }
        let newest_first = group.refreshes.iter().rev();
        let found = newest_first.filter(|one| ids.is_empty() || ids.contains(&one.id)).cloned();
        let key = |one: &InstanceRefresh| {
            let place = group.refreshes.iter().rev().position(|other| other.id == one.id);
            format!("{:06}", place.unwrap_or_default())
        };
        let max_results = Some(paging.max_results.unwrap_or(50));
        Paging { max_results, ..paging.clone() }.cut(found, 1, key)
    }
}
