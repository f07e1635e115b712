//! The requests that load balancers carried, as `CloudWatch` has them: counted by the minute, and known a minute or two
//! later.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::rollout::arn_name;

/// How many minutes are looked at.
pub const MINUTES: usize = 10;

/// One of them.
const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// What was counted, by the beginning of the minute. Elastic Load Balancing counts what there is: no number is no request,
/// or one that is not known yet.
pub type PerMinute = BTreeMap<Timestamp, u64>;

/// What an Application Load Balancer carried to some of its target groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BalancerTraffic {
    /// The load balancer as `CloudWatch` names it: `app/shop/50dc6c495c0c9188`.
    pub balancer: String,
    /// The answers of its own with a status of 5xx, to requests for any target group: it counts them by no other.
    pub refused: PerMinute,
    /// Those target groups.
    pub groups: Vec<GroupTraffic>,
}

/// A load balancer as `CloudWatch` names it, by its ARN: `app/shop/50dc6c495c0c9188`.
pub fn balancer_name(arn: &str) -> &str {
    let name = arn_name(arn);
    name.strip_prefix("loadbalancer/").unwrap_or(name)
}

/// What was carried to one target group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupTraffic {
    /// The target group as `CloudWatch` names it: `targetgroup/shop/73e2d6bc24d8a067`.
    pub target_group: String,
    /// The requests for which a target was chosen.
    pub requests: PerMinute,
    /// The answers of targets with a status of 5xx.
    pub failed: PerMinute,
}

impl BalancerTraffic {
    /// The newest minute of which something is known.
    pub fn latest(&self) -> Option<Timestamp> {
        let of_groups = self.groups.iter().flat_map(|group| [&group.requests, &group.failed]);
        of_groups.chain([&self.refused]).filter_map(|counts| counts.keys().next_back()).max().copied()
    }
}

/// How much was counted in a minute.
pub fn count(counts: &PerMinute, minute: Timestamp) -> u64 {
    counts.get(&minute).copied().unwrap_or_default()
}

/// The beginnings of the last minutes that are over, the oldest first.
pub fn minutes(now: Timestamp) -> [Timestamp; MINUTES] {
    let end = begin(now);
    std::array::from_fn(|number| {
        let ago = i32::try_from(MINUTES - number).unwrap_or(i32::MAX);
        end.checked_sub(MINUTE * ago).unwrap_or(end)
    })
}

/// The beginning of a moment's minute.
pub fn begin(at: Timestamp) -> Timestamp {
    let second = at.as_second();
    Timestamp::from_second(second - second.rem_euclid(60)).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-01-01T{text}Z").parse().unwrap()
    }

    #[test]
    fn the_minute_that_is_not_over_is_none_of_the_last_ones() {
        let last = minutes(at("12:10:59.9"));
        assert_eq!((last[0], last[9]), (at("12:00:00"), at("12:09:00")));
        assert_eq!(minutes(at("12:10:00")), last);
    }

    #[test]
    fn the_newest_minute_is_that_of_any_count() {
        let counts = |minute: &str, count: u64| PerMinute::from([(at(minute), count)]);
        let group = GroupTraffic { requests: counts("12:01:00", 5), ..GroupTraffic::default() };
        let mut balancer = BalancerTraffic { groups: vec![group], ..BalancerTraffic::default() };
        assert_eq!(balancer.latest(), Some(at("12:01:00")));
        // Without a target no request is counted, and each is answered with 503.
        balancer.refused = counts("12:03:00", 7);
        assert_eq!(balancer.latest(), Some(at("12:03:00")));
        assert_eq!(count(&balancer.groups[0].requests, at("12:03:00")), 0);
        assert_eq!(BalancerTraffic::default().latest(), None);
    }
}
