//! What the processes counted, as Elastic Load Balancing gives it to `CloudWatch`: by the minute, and only what there is.
//!
//! The metrics and their dimensions: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html>
//! Those by Availability Zone are left out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use ovenbird_core::domain::{
    rollout::arn_name,
    traffic::{balancer_name, begin},
};
use ovenbird_sim::load_balancing::{Route, RouteAction};

use super::{
    layout::{group_name, listener_name},
    process::Process,
};

/// What is to be told to `CloudWatch`.
pub(crate) type Counts = Arc<Mutex<Vec<Datum>>>;

/// So many of them are kept at most while nobody takes them.
const MOST: usize = 10_000;

/// One count of a minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Datum {
    /// The metric's name.
    pub metric: &'static str,
    /// The load balancer: `app/shop/50dc6c495c0c9188`.
    pub balancer: String,
    /// The target group, if it is counted by it: `targetgroup/shop/73e2d6bc24d8a067`.
    pub target_group: Option<String>,
    /// When the minute began.
    pub at: Timestamp,
    /// How many.
    pub count: u64,
}

/// What one process counted, by names in its configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counted {
    /// Of each listener, the answers with a status of 5xx, whoever made them.
    failed: BTreeMap<String, u64>,
    /// Of each target group, the requests that had a target, and the answers of targets with 5xx.
    groups: BTreeMap<String, (u64, u64)>,
}

impl Counted {
    /// The command that asks for it. Listeners come first: an answer that ends meanwhile is missed and not counted twice.
    pub(super) fn command<'a>(groups: impl Iterator<Item = &'a str>) -> String {
        let tables = groups.map(|group| format!(";show table {group}"));
        format!("show stat -1 1 -1{}", tables.collect::<String>())
    }

    /// Reads the answer: lines of comma-separated values with a head, then a table of one line for each target group.
    pub(super) fn parse(answer: &str) -> Self {
        let (mut counted, mut columns, mut table) = (Self::default(), Vec::new(), None);
        for line in answer.lines() {
            if let Some(head) = line.strip_prefix("# pxname,") {
                columns = head.split(',').collect();
            } else if let Some(head) = line.strip_prefix("# table: ") {
                table = head.split(',').next().map(str::to_owned);
            } else if let Some(table) = table.as_ref().filter(|_| line.contains(" gpc0=")) {
                let value = |name: &str| {
                    let word = line.split(' ').find_map(|word| word.strip_prefix(name));
                    word.and_then(|value| value.parse().ok()).unwrap_or_default()
                };
                counted.groups.insert(table.clone(), (value("gpc0="), value("gpc1=")));
            } else if let Some((name, values)) = line.split_once(',') {
                let mut values = columns.iter().zip(values.split(','));
                let failed = values.find(|(column, _)| **column == "hrsp_5xx");
                let failed = failed.and_then(|(_, value)| value.parse().ok());
                counted.failed.extend(failed.map(|failed| (name.to_owned(), failed)));
            }
        }
        counted
    }

    /// What is new in it.
    pub(super) fn since(&self, before: &Self) -> Self {
        let failed = self.failed.iter().map(|(name, count)| {
            let known = before.failed.get(name).copied().unwrap_or_default();
            (name.clone(), count.saturating_sub(known))
        });
        let groups = self.groups.iter().map(|(name, (requests, failed))| {
            let known = before.groups.get(name).copied().unwrap_or_default();
            (name.clone(), (requests.saturating_sub(known.0), failed.saturating_sub(known.1)))
        });
        Self { failed: failed.collect(), groups: groups.collect() }
    }
}

/// What all processes counted since the minute began.
#[derive(Debug)]
pub(super) struct Tally {
    counts: Counts,
    /// When that was.
    minute: Timestamp,
    /// The load balancer of each listener and of each target group, by their names in a configuration.
    balancers: BTreeMap<String, String>,
    /// Each target group's name at `CloudWatch`.
    groups: BTreeMap<String, String>,
    /// Of each target group.
    carried: BTreeMap<String, (u64, u64)>,
    /// The answers with 5xx that each load balancer made itself. An answer of a target is counted when it begins, and by
    /// the listener when it ends: until then there is one less.
    refused: BTreeMap<String, i64>,
}

impl Tally {
    /// Nothing is counted yet.
    pub(super) fn new(counts: Counts, now: Timestamp) -> Self {
        let (balancers, groups) = (BTreeMap::new(), BTreeMap::new());
        let (carried, refused) = (BTreeMap::new(), BTreeMap::new());
        Self { counts, minute: begin(now), balancers, groups, carried, refused }
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// How long the minute still is.
    pub(super) fn left(&self, now: Timestamp) -> Duration {
        let gone = Duration::try_from(now.duration_since(self.minute)).unwrap_or_default();
        Duration::from_mins(1).saturating_sub(gone)
    }

    /// Learns what the names of a configuration mean. Those of a process that only ends what it has are still known.
    pub(super) fn learn(&mut self, routes: &[Route]) {
        for route in routes {
            let balancer = balancer_name(&route.balancer).to_owned();
            self.balancers.insert(listener_name(&route.listener), balancer.clone());
            let RouteAction::Forward { pools, .. } = &route.action else { continue };
            for pool in pools {
                let name = group_name(&pool.group);
                self.groups.insert(name.clone(), arn_name(&pool.group).to_owned());
                self.balancers.insert(name, balancer.clone());
            }
        }
    }

    /// Takes what a process has counted. One that doesn't answer has ended, and its counts with it.
    pub(super) async fn take(&mut self, process: &mut Process) {
        match process.count().await {
            Ok(counted) => self.add(&counted),
            Err(error) => tracing::debug!("what a load balancer's process counted: {error}"),
        }
    }

    fn add(&mut self, counted: &Counted) {
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        for (listener, failed) in &counted.failed {
            if let Some(balancer) = self.balancers.get(listener) {
                *self.refused.entry(balancer.clone()).or_default() += signed(*failed);
            }
        }
        for (group, (requests, failed)) in &counted.groups {
            let carried = self.carried.entry(group.clone()).or_default();
            *carried = (carried.0 + requests, carried.1 + failed);
            if let Some(balancer) = self.balancers.get(group) {
                *self.refused.entry(balancer.clone()).or_default() -= signed(*failed);
            }
        }
    }

    /// Gives out what there is, as counts of the minute that is over, and begins the next.
    pub(super) fn close(&mut self, now: Timestamp) {
        let at = std::mem::replace(&mut self.minute, begin(now));
        let mut data = Vec::new();
        let mut tell = |metric, balancer: &String, target_group: Option<&String>, count| {
            if count > 0 {
                let (balancer, target_group) = (balancer.clone(), target_group.cloned());
                data.push(Datum { metric, balancer, target_group, at, count });
            }
        };
        let known: BTreeSet<String> = self.balancers.values().cloned().collect();
        for balancer in &known {
            let mut all = (0, 0);
            for (group, (requests, failed)) in &self.carried {
                if self.balancers.get(group) == Some(balancer) {
                    all = (all.0 + requests, all.1 + failed);
                    tell(REQUESTS, balancer, self.groups.get(group), *requests);
                    tell(FAILED, balancer, self.groups.get(group), *failed);
                }
            }
            tell(REQUESTS, balancer, None, all.0);
            tell(FAILED, balancer, None, all.1);
            let refused = self.refused.entry(balancer.clone()).or_default();
            tell(REFUSED, balancer, None, u64::try_from(*refused).unwrap_or_default());
            *refused = (*refused).min(0);
        }
        self.carried.clear();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.extend(data);
        let old = counts.len().saturating_sub(MOST);
        counts.drain(..old);
    }
}

const REQUESTS: &str = "RequestCount";
const FAILED: &str = "HTTPCode_Target_5XX_Count";
const REFUSED: &str = "HTTPCode_ELB_5XX_Count";

#[cfg(test)]
mod tests {
    use super::*;

    /// As `HAProxy` 2.6 answers.
    const ANSWER: &str = "# pxname,svname,qcur,hrsp_4xx,hrsp_5xx,hrsp_other,\n\
        l-1,FRONTEND,,2,3,0,\n\
        \n\
        # table: tg-a, type: integer, size:1, used:1\n\
        0x55aee07c97b8: key=1 use=0 exp=0 gpc0=4 gpc1=1\n\
        \n\
        # table: tg-b, type: integer, size:1, used:0\n\
        \n";

    #[test]
    fn an_answer_is_read() {
        let counted = Counted::parse(ANSWER);
        assert_eq!(counted.failed, BTreeMap::from([("l-1".to_owned(), 3)]));
        // Nobody asked for the other one yet.
        assert_eq!(counted.groups, BTreeMap::from([("tg-a".to_owned(), (4, 1))]));
        let groups = ["tg-a", "tg-b"];
        assert_eq!(Counted::command(groups.into_iter()), "show stat -1 1 -1;show table tg-a;show table tg-b");
    }

    #[test]
    fn a_minute_is_given_out_when_it_is_over_and_what_is_under_way_is_waited_for() {
        let at = |text: &str| format!("2026-01-01T12:{text}Z").parse::<Timestamp>().expect("a time");
        let mut tally = Tally::new(Counts::default(), at("00:40"));
        assert_eq!(tally.left(at("00:40")), Duration::from_secs(20));
        assert_eq!(tally.left(at("01:10")), Duration::ZERO);
        tally.balancers = ["l-1", "tg-a"].map(|name| (name.to_owned(), "app/shop/1".to_owned())).into();
        tally.groups = BTreeMap::from([("tg-a".to_owned(), "targetgroup/shop/2".to_owned())]);
        let mut told = |failed: u64, requests: u64, of_targets: u64, now: &str| {
            tally.add(&Counted {
                failed: BTreeMap::from([("l-1".to_owned(), failed)]),
                groups: BTreeMap::from([("tg-a".to_owned(), (requests, of_targets))]),
            });
            tally.close(at(now));
            let data = std::mem::take(&mut *tally.counts.lock().unwrap_or_else(PoisonError::into_inner));
            let line = |one: Datum| {
                let group = one.target_group.unwrap_or_default();
                format!("{} {}{group} {} {}", one.at.strftime("%M"), one.metric, one.balancer, one.count)
            };
            data.into_iter().map(line).collect::<Vec<_>>()
        };
        // The target's answer has begun, and has not ended.
        assert_eq!(
            told(0, 3, 1, "01:00"),
            [
                "00 RequestCounttargetgroup/shop/2 app/shop/1 3",
                "00 HTTPCode_Target_5XX_Counttargetgroup/shop/2 app/shop/1 1",
                "00 RequestCount app/shop/1 3",
                "00 HTTPCode_Target_5XX_Count app/shop/1 1",
            ]
        );
        // It ended, and the load balancer refused another one.
        assert_eq!(told(2, 0, 0, "02:00.1"), ["01 HTTPCode_ELB_5XX_Count app/shop/1 1"]);
        assert_eq!(told(0, 0, 0, "03:00"), [""; 0]);
    }
}
