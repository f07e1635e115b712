//! Targets: register, deregister, look.

use jiff::{SignedDuration, Timestamp};
use ovenbird_core::domain::id::InstanceId;
use serde::{Deserialize, Serialize};

use super::{Anomaly, Seen, TargetGroup, TargetHealth, TargetState, health::Phase, validation};
use crate::{ApiError, InstanceState, Result, World};

/// A target: an instance, and a port if it isn't its group's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetId {
    /// The instance.
    pub instance: String,
    /// The port; none means the group's.
    pub port: Option<u16>,
}

impl TargetId {
    /// An instance on its group's port.
    pub fn of(instance: impl ToString) -> Self {
        Self { instance: instance.to_string(), port: None }
    }
}

/// A registered target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Its instance.
    pub instance: InstanceId,
    /// Its port.
    pub port: u16,
    /// When it was registered.
    pub registered: Timestamp,
    /// How it stands.
    pub(super) phase: Phase,
    /// Good checks in a row.
    pub(super) good: u32,
    /// Bad checks in a row.
    pub(super) bad: u32,
    /// What the last check saw, and when.
    pub(super) seen: Option<(Timestamp, Seen)>,
    /// What the last bad check saw: the reason for which it is unhealthy, also while checks are good again.
    #[serde(default)]
    pub(super) failed: Option<Seen>,
    /// Since when it is healthy.
    pub healthy_since: Option<Timestamp>,
    /// What the load balancer's anomaly detection says of it.
    #[serde(default)]
    pub anomaly: Anomaly,
}

impl Target {
    /// As if it had just been registered, unless it drains.
    pub(super) fn begin(&mut self) {
        if !matches!(self.phase, Phase::Draining { .. }) {
            self.phase = Phase::Initial;
            (self.good, self.bad, self.seen, self.failed, self.healthy_since) = (0, 0, None, None, None);
        }
    }
}

/// A target as `DescribeTargetHealth` answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetDescription {
    /// The instance.
    pub instance: String,
    /// The port.
    pub port: u16,
    /// Its health.
    pub health: TargetHealth,
    /// What anomaly detection says of it.
    pub anomaly: Anomaly,
}

impl World {
    /// Registers running instances. One that drains is taken back, one that is registered stays as it is.
    pub fn register_targets(&mut self, now: Timestamp, arn: &str, targets: &[TargetId]) -> Result<()> {
        let group = self.target_group(arn)?;
        let (vpc, port) = (group.vpc.clone(), group.port);
        if targets.is_empty() {
            return Err(validation("At least one target must be specified"));
        }
        let mut new = Vec::new();
        for target in targets {
            let id = &target.instance;
            let found = self.instance(id).ok().filter(|instance| instance.vpc == vpc);
            let missing = || {
                let message = format!("The following targets are not in the target group VPC: '{id}'");
                ApiError::new("InvalidTarget", message)
            };
            let instance = found.ok_or_else(missing)?;
            if instance.state != InstanceState::Running {
                let message = format!(
                    "The following targets are not in a running state and cannot be registered: '{id}'"
                );
                return Err(ApiError::new("InvalidTarget", message));
            }
            new.push((instance.id.clone(), target.port.unwrap_or(port)));
        }
        let group = self.target_group_mut(arn)?;
        for (instance, port) in new {
            let known =
                group.targets.iter_mut().find(|target| target.instance == instance && target.port == port);
            match known {
                Some(target) => {
                    if matches!(target.phase, Phase::Draining { .. }) {
                        target.phase = Phase::Initial;
                        target.registered = now;
                        target.begin();
                    }
                }
                None => group.targets.push(Target {
                    instance,
                    port,
                    registered: now,
                    phase: Phase::Initial,
                    good: 0,
                    bad: 0,
                    seen: None,
                    failed: None,
                    healthy_since: None,
                    anomaly: Anomaly::default(),
                }),
            }
        }
        Ok(())
    }

    /// Deregisters targets: no new request reaches them, and those under way have the group's delay to end. A target
    /// that isn't there is deregistered, too.
    pub fn deregister_targets(&mut self, now: Timestamp, arn: &str, targets: &[TargetId]) -> Result<()> {
        if targets.is_empty() {
            return Err(validation("At least one target must be specified"));
        }
        let group = self.target_group_mut(arn)?;
        for id in targets {
            let named = |target: &Target| is(target, id);
            for target in group.targets.iter_mut().filter(|target| named(target)) {
                if !matches!(target.phase, Phase::Draining { .. }) {
                    target.phase = Phase::Draining { since: now };
                    target.healthy_since = None;
                }
            }
        }
        self.drop_targets(now);
        Ok(())
    }

    /// A draining target has no request under way any more: it goes before its delay is over.
    pub fn drained(&mut self, arn: &str, instance: &str, port: u16) -> Result<()> {
        let group = self.target_group_mut(arn)?;
        group.targets.retain(|target| {
            let named = target.instance.as_str() == instance && target.port == port;
            !(named && matches!(target.phase, Phase::Draining { .. }))
        });
        Ok(())
    }

    /// The health of targets, or of all. One that isn't registered is `unused`.
    pub fn describe_target_health(&self, arn: &str, targets: &[TargetId]) -> Result<Vec<TargetDescription>> {
        let group = self.target_group(arn)?;
        let describe = |target: &Target| TargetDescription {
            instance: target.instance.to_string(),
            port: target.port,
            health: self.target_health(group, target),
            anomaly: target.anomaly,
        };
        if targets.is_empty() {
            return Ok(group.targets.iter().map(describe).collect());
        }
        let mut found = Vec::new();
        for id in targets {
            if InstanceId::parse(&id.instance).is_err() {
                let message = format!("The target ID '{}' is not valid", id.instance);
                return Err(ApiError::new("InvalidTarget", message));
            }
            let before = found.len();
            found.extend(group.targets.iter().filter(|target| is(target, id)).map(describe));
            if found.len() == before {
                found.push(TargetDescription {
                    instance: id.instance.clone(),
                    port: id.port.unwrap_or(group.port),
                    health: TargetHealth::new(
                        TargetState::Unused,
                        "Target.NotRegistered",
                        "Target is not registered to the target group",
                    ),
                    anomaly: Anomaly::default(),
                });
            }
        }
        Ok(found)
    }

    /// Removes targets whose draining is over, who can get nothing to drain, or whose instance has ended.
    pub(super) fn drop_targets(&mut self, now: Timestamp) {
        let instances = &self.instances;
        let goes = |target: &Target, in_use: bool, delay: SignedDuration| {
            let ended = instances
                .get(&target.instance)
                .is_none_or(|instance| instance.state == InstanceState::Terminated);
            let drained = match target.phase {
                Phase::Draining { since } => !in_use || now.duration_since(since) >= delay,
                Phase::Initial | Phase::Healthy | Phase::Unhealthy => false,
            };
            ended || drained
        };
        let delay = |group: &TargetGroup| SignedDuration::from_secs(group.deregistration_delay());
        let meant =
            |group: &TargetGroup| group.targets.iter().any(|target| goes(target, group.in_use, delay(group)));
        for group in self.balancing.groups.filter_mut(meant) {
            let (in_use, delay) = (group.in_use, delay(group));
            group.targets.retain(|target| !goes(target, in_use, delay));
        }
    }

    /// Whether an instance still drains in a group.
    pub(crate) fn is_draining(&self, arn: &str, instance: &InstanceId) -> bool {
        let group = self.balancing.groups.get(arn);
        let mut targets = group.into_iter().flat_map(|group: &TargetGroup| &group.targets);
        targets.any(|target| target.instance == *instance && matches!(target.phase, Phase::Draining { .. }))
    }
}

/// Whether a registered target is meant: on this port, or on every one.
fn is(target: &Target, id: &TargetId) -> bool {
    target.instance.as_str() == id.instance && id.port.is_none_or(|port| target.port == port)
}
