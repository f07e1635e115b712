//! The instances of a group.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use ovenbird_core::domain::id::{AmiId, InstanceId};
use serde::{Deserialize, Serialize};

use super::HookWait;
use crate::launch_templates::TemplateSpec;

/// Auto Scaling's states of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lifecycle {
    /// Starting.
    Pending,
    /// Started; a hook waits.
    #[serde(rename = "Pending:Wait")]
    PendingWait,
    /// Started; no hook waits any more.
    #[serde(rename = "Pending:Proceed")]
    PendingProceed,
    /// In service.
    InService,
    /// On the way to standby; its requests end.
    EnteringStandby,
    /// Running, and not in service.
    Standby,
    /// Ending; its requests end.
    Terminating,
    /// Ending; a hook waits.
    #[serde(rename = "Terminating:Wait")]
    TerminatingWait,
    /// Ending; EC2 terminates it.
    #[serde(rename = "Terminating:Proceed")]
    TerminatingProceed,
    /// Kept for somebody to look at: its end was abandoned, and the group retains such instances. It runs until it is
    /// terminated by `TerminateInstanceInAutoScalingGroup`.
    #[serde(rename = "Terminating:Retained")]
    TerminatingRetained,
}

impl Lifecycle {
    /// Auto Scaling's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::PendingWait => "Pending:Wait",
            Self::PendingProceed => "Pending:Proceed",
            Self::InService => "InService",
            Self::EnteringStandby => "EnteringStandby",
            Self::Standby => "Standby",
            Self::Terminating => "Terminating",
            Self::TerminatingWait => "Terminating:Wait",
            Self::TerminatingProceed => "Terminating:Proceed",
            Self::TerminatingRetained => "Terminating:Retained",
        }
    }

    /// Whether it is on its way into service.
    pub fn is_pending(self) -> bool {
        match self {
            Self::Pending | Self::PendingWait | Self::PendingProceed => true,
            Self::InService | Self::EnteringStandby | Self::Standby => false,
            Self::Terminating | Self::TerminatingWait => false,
            Self::TerminatingProceed | Self::TerminatingRetained => false,
        }
    }

    /// Whether it is on its way out, or retained there.
    pub fn is_ending(self) -> bool {
        match self {
            Self::Terminating | Self::TerminatingWait => true,
            Self::TerminatingProceed | Self::TerminatingRetained => true,
            Self::Pending | Self::PendingWait | Self::PendingProceed => false,
            Self::InService | Self::EnteringStandby | Self::Standby => false,
        }
    }

    /// Whether it is on standby or on its way there.
    pub fn is_standby(self) -> bool {
        match self {
            Self::EnteringStandby | Self::Standby => true,
            Self::Pending | Self::PendingWait | Self::PendingProceed | Self::InService => false,
            Self::Terminating | Self::TerminatingWait => false,
            Self::TerminatingProceed | Self::TerminatingRetained => false,
        }
    }

    /// Whether it is part of the group's capacity.
    pub(super) fn counts(self) -> bool {
        !self.is_ending() && !self.is_standby()
    }
}

impl fmt::Display for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An instance of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Which.
    pub instance: InstanceId,
    /// Its type.
    pub instance_type: String,
    /// Its zone.
    pub zone: String,
    /// Its image.
    pub image: AmiId,
    /// The version it was launched by, by id, name and number.
    pub template: TemplateSpec,
    /// How many units of capacity it is.
    pub weight: u32,
    /// How it stands.
    pub lifecycle: Lifecycle,
    /// Why it is unhealthy; none while it is healthy.
    pub unhealthy: Option<String>,
    /// Whether it stays when the group shrinks.
    pub protected: bool,
    /// When the group launched it.
    pub launched: Timestamp,
    /// Since when it is in service; none before.
    pub in_service: Option<Timestamp>,
    /// The hooks that wait.
    pub waits: Vec<HookWait>,
    /// The activity that is under way with it.
    pub(super) activity: Option<String>,
}

impl Member {
    /// `Healthy` or `Unhealthy`.
    pub fn health_status(&self) -> &'static str {
        if self.unhealthy.is_some() { "Unhealthy" } else { "Healthy" }
    }

    /// Whether it is in service and healthy for at least so many seconds.
    pub(super) fn is_warm(&self, now: Timestamp, seconds: u32) -> bool {
        let served =
            |since: Timestamp| now.duration_since(since) >= SignedDuration::from_secs(i64::from(seconds));
        self.lifecycle == Lifecycle::InService
            && self.unhealthy.is_none()
            && self.in_service.is_some_and(served)
    }
}
