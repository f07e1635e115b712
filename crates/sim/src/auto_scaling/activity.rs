//! What a group did: scaling activities.

use jiff::{SignedDuration, Timestamp};
use ovenbird_core::domain::id::InstanceId;
use serde::{Deserialize, Serialize};

use super::{Group, invalid};
use crate::{Page, Paging, Result, World};

/// Activities are shown for six weeks.
const SHOWN: SignedDuration = SignedDuration::from_hours(6 * 7 * 24);

/// Auto Scaling's states of an activity, those that occur here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ActivityStatus {
    /// Before the instance is in service.
    PreInService,
    /// A hook waits.
    MidLifecycleAction,
    /// Requests end.
    #[serde(rename = "WaitingForELBConnectionDraining")]
    WaitingForDraining,
    /// Under way.
    InProgress,
    /// Done.
    Successful,
    /// It could not be done.
    Failed,
    /// Given up.
    Cancelled,
}

impl ActivityStatus {
    /// Auto Scaling's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PreInService => "PreInService",
            Self::MidLifecycleAction => "MidLifecycleAction",
            Self::WaitingForDraining => "WaitingForELBConnectionDraining",
            Self::InProgress => "InProgress",
            Self::Successful => "Successful",
            Self::Failed => "Failed",
            Self::Cancelled => "Cancelled",
        }
    }

    /// Whether it is under way no more.
    pub fn is_over(self) -> bool {
        match self {
            Self::Successful | Self::Failed | Self::Cancelled => true,
            Self::PreInService | Self::MidLifecycleAction | Self::WaitingForDraining | Self::InProgress => {
                false
            }
        }
    }
}

/// A scaling activity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// Its id.
    pub id: String,
    /// Its group.
    pub group: String,
    /// Its instance, if there is one.
    pub instance: Option<InstanceId>,
    /// What it does.
    pub description: String,
    /// Why it began.
    pub cause: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// How it stands.
    pub status: ActivityStatus,
    /// What is to be said of how it stands.
    pub message: Option<String>,
    /// How far it is, in per cent.
    pub progress: u8,
}

impl Group {
    pub(super) fn begin(&mut self, activity: Activity) -> String {
        let id = activity.id.clone();
        self.activities.push(activity);
        id
    }

    /// Notes how an activity stands.
    pub(super) fn note(
        &mut self,
        now: Timestamp,
        id: Option<&str>,
        status: ActivityStatus,
        message: Option<String>,
    ) {
        let Some(activity) = self.activities.iter_mut().rev().find(|one| Some(one.id.as_str()) == id) else {
            return;
        };
        activity.status = status;
        if status.is_over() {
            activity.ended = Some(now);
            activity.progress = 100;
            self.scaled = Some(now);
        }
        if message.is_some() {
            activity.message = message;
        }
    }

    pub(super) fn forget_activities(&mut self, now: Timestamp) {
        self.activities.retain(|one| one.ended.is_none_or(|ended| now.duration_since(ended) < SHOWN));
    }
}

impl World {
    /// The activities of a group or of all, the newest first; by their ids, if there are any.
    pub fn describe_scaling_activities(
        &self,
        group: Option<&str>,
        ids: &[String],
        paging: &Paging,
    ) -> Result<Page<Activity>> {
        if paging.max_results.is_some_and(|most| !(1..=100).contains(&most)) {
            return Err(invalid("MaxRecords is between 1 and 100."));
        }
        if let Some(name) = group {
            self.auto_scaling_group(name)?;
        }
        let groups = self.auto_scaling_groups().filter(|one| group.is_none_or(|name| one.name == name));
        let all = groups.flat_map(|one| &one.activities);
        let mut found: Vec<_> = all.filter(|one| ids.is_empty() || ids.contains(&one.id)).cloned().collect();
        let key = |one: &Activity| {
            let since = i64::MAX - one.started.as_millisecond();
            format!("{since:020}/{}", one.id)
        };
        found.sort_by_key(key);
        let max_results = Some(paging.max_results.unwrap_or(100));
        Paging { max_results, ..paging.clone() }.cut(found, 1, key)
    }
}
