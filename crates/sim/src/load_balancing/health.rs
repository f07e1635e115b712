//! The health of targets: what checks saw, and what follows from it.

use jiff::{SignedDuration, Timestamp};
use ovenbird_core::domain::id::InstanceId;
use serde::{Deserialize, Serialize};

use super::{Target, TargetGroup};
use crate::{ApiError, InstanceState, Result, World};

/// How a target stands by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Phase {
    /// Not yet judged.
    Initial,
    /// Good.
    Healthy,
    /// Bad.
    Unhealthy,
    /// Deregistered, with requests that may be under way.
    Draining {
        /// Since when.
        since: Timestamp,
    },
}

/// What a health check saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seen {
    /// An HTTP status.
    Status(u16),
    /// No answer in time.
    Timeout,
    /// No connection, or one that broke.
    Failed,
}

/// What anomaly detection says of a target; nothing here computes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anomaly {
    /// `anomalous`, not `normal`.
    pub anomalous: bool,
    /// Whether it gets fewer requests because of it.
    pub mitigation_in_effect: bool,
}

/// Elastic Load Balancing's states of a target, those that occur here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetState {
    /// Not yet judged.
    Initial,
    /// It gets requests.
    Healthy,
    /// It gets none, unless no other is healthy.
    Unhealthy,
    /// It gets no new ones.
    Draining,
    /// Nothing sends to it.
    Unused,
}

impl TargetState {
    /// Elastic Load Balancing's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Draining => "draining",
            Self::Unused => "unused",
        }
    }
}

/// The health of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetHealth {
    /// Its state.
    pub state: TargetState,
    /// Why, as a code; none for a healthy one.
    pub reason: Option<&'static str>,
    /// Why, in words.
    pub description: Option<String>,
}

impl TargetHealth {
    pub(super) fn new(state: TargetState, reason: &'static str, description: impl Into<String>) -> Self {
        Self { state, reason: Some(reason), description: Some(description.into()) }
    }
}

/// A health check that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueProbe {
    /// Of which group.
    pub group: String,
    /// At which instance.
    pub instance: InstanceId,
    /// The target's port, which names it.
    pub port: u16,
    /// The port to ask.
    pub check_port: u16,
    /// The path to ask for.
    pub path: String,
    /// How long the answer may take, in seconds.
    pub timeout: u32,
}

impl World {
    /// The health checks that are due: of targets that something sends to, each after its group's interval.
    pub fn due_probes(&self, now: Timestamp) -> Vec<DueProbe> {
        let mut due = Vec::new();
        for group in self.balancing.groups.values().filter(|group| group.in_use) {
            let interval = SignedDuration::from_secs(i64::from(group.health_check.interval));
            for target in &group.targets {
                let waits = target.seen.is_some_and(|(at, _)| now.duration_since(at) < interval);
                let judged = !waits && self.unused(group, target).is_none();
                if judged && !matches!(target.phase, Phase::Draining { .. }) {
                    due.push(DueProbe {
                        group: group.arn.clone(),
                        instance: target.instance.clone(),
                        port: target.port,
                        check_port: group.health_check.port.unwrap_or(target.port),
                        path: group.health_check.path.clone(),
                        timeout: group.health_check.timeout,
                    });
                }
            }
        }
        due
    }

    /// Tells what a health check saw. A new target needs one good check, a sick one the group's threshold.
    pub fn probed(
        &mut self,
        now: Timestamp,
        group: &str,
        instance: &str,
        port: u16,
        seen: Seen,
    ) -> Result<()> {
        let known = self.target_group(group)?;
        let target = known.targets.iter().find(|one| one.instance.as_str() == instance && one.port == port);
        let Some(target) = target else {
            let message = format!("The target '{instance}:{port}' is not registered");
            return Err(ApiError::new("InvalidTarget", message));
        };
        if self.unused(known, target).is_some() {
            return Ok(());
        }
        let check = known.health_check.clone();
        let good = match seen {
            Seen::Status(status) => check.accepts(status),
            Seen::Timeout | Seen::Failed => false,
        };
        let known = self.target_group_mut(group)?;
        for target in
            known.targets.iter_mut().filter(|one| one.instance.as_str() == instance && one.port == port)
        {
            (target.good, target.bad) = if good { (target.good + 1, 0) } else { (0, target.bad + 1) };
            target.seen = Some((now, seen));
            if !good {
                target.failed = Some(seen);
            }
            let next = match target.phase {
                Phase::Initial if good => Phase::Healthy,
                Phase::Unhealthy if target.good >= check.healthy_threshold => Phase::Healthy,
                Phase::Initial | Phase::Healthy if target.bad >= check.unhealthy_threshold => {
                    Phase::Unhealthy
                }
                Phase::Initial | Phase::Healthy | Phase::Unhealthy | Phase::Draining { .. } => target.phase,
            };
            if next != target.phase {
                target.healthy_since = (next == Phase::Healthy).then_some(now);
            }
            target.phase = next;
        }
        Ok(())
    }

    /// Sets what anomaly detection says of a target.
    pub fn set_anomaly(&mut self, group: &str, instance: &str, anomaly: Anomaly) -> Result<()> {
        let group = self.target_group_mut(group)?;
        for target in group.targets.iter_mut().filter(|one| one.instance.as_str() == instance) {
            target.anomaly = anomaly;
        }
        Ok(())
    }

    /// A target's health, as it is answered.
    pub(super) fn target_health(&self, group: &TargetGroup, target: &Target) -> TargetHealth {
        if let Phase::Draining { .. } = target.phase {
            let words = "Target deregistration is in progress";
            return TargetHealth::new(TargetState::Draining, "Target.DeregistrationInProgress", words);
        }
        if let Some((reason, words)) = self.unused(group, target) {
            return TargetHealth::new(TargetState::Unused, reason, words);
        }
        match (target.phase, target.seen) {
            (Phase::Healthy, _) => {
                TargetHealth { state: TargetState::Healthy, reason: None, description: None }
            }
            (Phase::Initial | Phase::Draining { .. }, None) => {
                let words = "Target registration is in progress";
                TargetHealth::new(TargetState::Initial, "Elb.RegistrationInProgress", words)
            }
            (Phase::Initial | Phase::Draining { .. }, Some(_)) => {
                let words = "Initial health checks in progress";
                TargetHealth::new(TargetState::Initial, "Elb.InitialHealthChecking", words)
            }
            (Phase::Unhealthy, _) => {
                let (reason, words) = match target.failed {
                    Some(Seen::Status(status)) => (
                        "Target.ResponseCodeMismatch",
                        format!("Health checks failed with these codes: [{status}]"),
                    ),
                    Some(Seen::Timeout) => ("Target.Timeout", "Request timed out".into()),
                    Some(Seen::Failed) | None => ("Target.FailedHealthChecks", "Health checks failed".into()),
                };
                TargetHealth::new(TargetState::Unhealthy, reason, words)
            }
        }
    }

    /// Why nothing is sent to a target, nor any check.
    pub(super) fn unused(&self, group: &TargetGroup, target: &Target) -> Option<(&'static str, String)> {
        if !group.in_use {
            let words = "Target group is not configured to receive traffic from the load balancer";
            return Some(("Target.NotInUse", words.into()));
        }
        let instance = self.instances.get(&target.instance)?;
        match instance.state {
            InstanceState::Running => {}
            InstanceState::Pending
            | InstanceState::Stopping
            | InstanceState::Stopped
            | InstanceState::ShuttingDown
            | InstanceState::Terminated => {
                let words = format!("Target is in the {} state", instance.state.as_str());
                return Some(("Target.InvalidState", words));
            }
        }
        let balancers = self.balancers_of(&group.arn);
        let reached = balancers
            .iter()
            .any(|arn| self.balancer(arn).is_ok_and(|balancer| balancer.zones.contains(&instance.zone)));
        let words = "Target is in an Availability Zone that is not enabled for the load balancer";
        (!reached).then(|| ("Target.NotInUse", words.into()))
    }
}
