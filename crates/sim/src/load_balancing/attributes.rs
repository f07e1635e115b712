//! Attributes of target groups.

use std::collections::BTreeMap;

use super::{TargetGroup, validation};
use crate::{ApiError, Result, World};

const DELAY: &str = "deregistration_delay.timeout_seconds";
const SLOW_START: &str = "slow_start.duration_seconds";
const ALGORITHM: &str = "load_balancing.algorithm.type";
const MITIGATION: &str = "load_balancing.algorithm.anomaly_mitigation";
const STICKY: &str = "stickiness.enabled";
const STICKY_TYPE: &str = "stickiness.type";
const STICKY_SECONDS: &str = "stickiness.lb_cookie.duration_seconds";

/// A new group's attributes.
pub(super) fn defaults() -> BTreeMap<String, String> {
    let defaults = [
        (DELAY, "300"),
        (SLOW_START, "0"),
        (ALGORITHM, "round_robin"),
        (MITIGATION, "off"),
        (STICKY, "false"),
        (STICKY_TYPE, "lb_cookie"),
        (STICKY_SECONDS, "86400"),
    ];
    defaults.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

impl TargetGroup {
    /// How long a target drains, in seconds.
    pub fn deregistration_delay(&self) -> i64 {
        self.seconds(DELAY)
    }

    /// How long a healthy target's share of the requests grows, in seconds; 0 means not at all.
    pub fn slow_start(&self) -> i64 {
        self.seconds(SLOW_START)
    }

    /// How a target is chosen for a request.
    pub fn algorithm(&self) -> &str {
        self.attributes.get(ALGORITHM).map(String::as_str).unwrap_or("round_robin")
    }

    /// For how long a client stays with its target, in seconds; none means not at all.
    pub fn stickiness(&self) -> Option<i64> {
        let sticky = self.attributes.get(STICKY).is_some_and(|value| value == "true");
        sticky.then(|| self.seconds(STICKY_SECONDS))
    }

    fn seconds(&self, name: &str) -> i64 {
        self.attributes.get(name).and_then(|value| value.parse().ok()).unwrap_or_default()
    }
}

impl World {
    /// Changes attributes, all or none. Gives all of them.
    pub fn modify_target_group_attributes(
        &mut self,
        arn: &str,
        change: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>> {
        let mut made = self.target_group(arn)?.attributes.clone();
        for (name, value) in change {
            if !made.contains_key(name) {
                return Err(validation(format!("Target group attribute key '{name}' is not recognized")));
            }
            made.insert(name.clone(), value.clone());
        }
        check(&made)?;
        self.target_group_mut(arn)?.attributes = made.clone();
        Ok(made)
    }

    /// A target group's attributes.
    pub fn describe_target_group_attributes(&self, arn: &str) -> Result<BTreeMap<String, String>> {
        Ok(self.target_group(arn)?.attributes.clone())
    }
}

fn check(attributes: &BTreeMap<String, String>) -> Result<()> {
    let value = |name: &str| attributes.get(name).map(String::as_str).unwrap_or_default();
    let number = |name: &str| value(name).parse::<u32>().ok();
    let within = |name: &str, from: u32, to: u32| number(name).is_some_and(|it| (from..=to).contains(&it));
    for (name, fits) in [
        (DELAY, within(DELAY, 0, 3600)),
        (SLOW_START, number(SLOW_START) == Some(0) || within(SLOW_START, 30, 900)),
        (
            ALGORITHM,
            ["round_robin", "least_outstanding_requests", "weighted_random"].contains(&value(ALGORITHM)),
        ),
        (MITIGATION, ["on", "off"].contains(&value(MITIGATION))),
        (STICKY, ["true", "false"].contains(&value(STICKY))),
        (STICKY_TYPE, value(STICKY_TYPE) == "lb_cookie"),
        (STICKY_SECONDS, within(STICKY_SECONDS, 1, 604_800)),
    ] {
        if !fits {
            let message = format!("Target group attribute '{name}' can't have the value '{}'", value(name));
            return Err(validation(message));
        }
    }
    let plain = value(ALGORITHM) == "round_robin";
    if number(SLOW_START) != Some(0) && !plain {
        let message = "Slow start is for the algorithm round_robin alone";
        return Err(ApiError::new("InvalidConfigurationRequest", message));
    }
    if value(MITIGATION) == "on" && value(ALGORITHM) != "weighted_random" {
        let message = "Anomaly mitigation is for the algorithm weighted_random alone";
        return Err(ApiError::new("InvalidConfigurationRequest", message));
    }
    Ok(())
}
