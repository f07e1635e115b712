//! What becomes of requests now, for whoever carries them.

use jiff::Timestamp;
use ovenbird_core::domain::id::InstanceId;

use super::{Action, Condition, Target, TargetGroup, TargetState};
use crate::World;

/// A rule of a listener, as requests meet it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The load balancer.
    pub balancer: String,
    /// The listener.
    pub listener: String,
    /// The name that clients look up, which is an address where the load balancer was given one.
    pub dns_name: String,
    /// The listener's port.
    pub port: u16,
    /// The rule's place; none for the default.
    pub priority: Option<u32>,
    /// What a request must meet.
    pub conditions: Vec<Condition>,
    /// What happens to it.
    pub action: RouteAction,
}

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteAction {
    /// It goes to a pool, by weight.
    Forward {
        /// The pools.
        pools: Vec<Pool>,
        /// For how long a client stays with its pool, in seconds.
        stickiness: Option<u32>,
    },
    /// It is answered by the load balancer.
    Fixed {
        /// The HTTP status.
        status: u16,
        /// The body's type.
        content_type: Option<String>,
        /// The body.
        body: Option<String>,
    },
}

/// A target group as requests meet it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// The group's ARN.
    pub group: String,
    /// Its share of the requests: 0 to 999.
    pub weight: u16,
    /// Who gets new requests: the healthy ones, or all that are in use if none is healthy (the load balancer fails
    /// open).
    pub targets: Vec<RouteTarget>,
    /// Who may only end what is under way.
    pub draining: Vec<RouteTarget>,
    /// How long a new target's share grows, in seconds; 0 means not at all.
    pub slow_start: i64,
    /// How a target is chosen: `round_robin`, `least_outstanding_requests` or `weighted_random`.
    pub algorithm: String,
    /// For how long a client stays with its target, in seconds; none means not at all.
    pub stickiness: Option<i64>,
}

/// A target that requests reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteTarget {
    /// The instance.
    pub instance: InstanceId,
    /// Its address, once its machine has one.
    pub address: Option<String>,
    /// The port.
    pub port: u16,
    /// Since when it is healthy; none if it isn't.
    pub healthy_since: Option<Timestamp>,
}

impl World {
    /// What becomes of requests now: the rules of active load balancers, in the order in which they are tried.
    pub fn routes(&self) -> Vec<Route> {
        let mut routes = Vec::new();
        for listener in self.balancing.listeners.values() {
            let balancer = self.balancer(&listener.balancer).ok().filter(|balancer| balancer.active);
            let Some(balancer) = balancer else { continue };
            for rule in &listener.rules {
                let action = match &rule.action {
                    Action::FixedResponse { status, content_type, body } => RouteAction::Fixed {
                        status: *status,
                        content_type: content_type.clone(),
                        body: body.clone(),
                    },
                    Action::Forward(forward) => RouteAction::Forward {
                        pools: forward
                            .groups
                            .iter()
                            .filter_map(|weighted| self.pool(&weighted.group, weighted.weight))
                            .collect(),
                        stickiness: forward.stickiness,
                    },
                };
                routes.push(Route {
                    balancer: listener.balancer.clone(),
                    listener: listener.arn.clone(),
                    dns_name: balancer.dns_name.clone(),
                    port: listener.port,
                    priority: rule.priority,
                    conditions: rule.conditions.clone(),
                    action,
                });
            }
        }
        routes
    }

    fn pool(&self, arn: &str, weight: u16) -> Option<Pool> {
        let group = self.balancing.groups.get(arn)?;
        let in_state = |states: &[TargetState]| -> Vec<RouteTarget> {
            let targets = group.targets.iter();
            let chosen = targets.filter(|target| states.contains(&self.target_health(group, target).state));
            chosen.map(|target| self.route_target(target)).collect()
        };
        let healthy = in_state(&[TargetState::Healthy]);
        let targets = if healthy.is_empty() {
            in_state(&[TargetState::Initial, TargetState::Unhealthy])
        } else {
            healthy
        };
        let draining = in_state(&[TargetState::Draining]);
        Some(Pool {
            group: arn.to_owned(),
            weight,
            targets,
            draining,
            slow_start: group.slow_start(),
            algorithm: group.algorithm().to_owned(),
            stickiness: group.stickiness(),
        })
    }

    fn route_target(&self, target: &Target) -> RouteTarget {
        RouteTarget {
            instance: target.instance.clone(),
            address: self.instances.get(&target.instance).and_then(|instance| instance.address.clone()),
            port: target.port,
            healthy_since: target.healthy_since,
        }
    }

    /// The instances that a group holds for healthy.
    pub fn healthy_targets<'a>(&'a self, group: &'a TargetGroup) -> impl Iterator<Item = &'a InstanceId> {
        let healthy = |target: &&Target| self.target_health(group, target).state == TargetState::Healthy;
        group.targets.iter().filter(healthy).map(|target| &target.instance)
    }
}
