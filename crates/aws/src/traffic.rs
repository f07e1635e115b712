//! What load balancers counted, through `CloudWatch`.
//!
//! The metrics and their dimensions: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html>

use std::collections::BTreeMap;

use aws_sdk_cloudwatch::{
    primitives::DateTime,
    types::{Dimension, Metric, MetricDataQuery, MetricStat, ScanBy},
};
use jiff::Timestamp;
use ovenbird_core::{
    Result,
    domain::{
        rollout::arn_name,
        traffic::{BalancerTraffic, GroupTraffic, PerMinute, balancer_name},
    },
    ports::Traffic,
};

use crate::{Cloud, errors::translate};

/// What errors are about: ARNs have the account's number in them.
const SUBJECT: &str = "the requests of load balancers";

impl Traffic for Cloud {
    async fn traffic(
        &self,
        target_groups: &[String],
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<BalancerTraffic>> {
        if target_groups.is_empty() {
            // Asked for none, Elastic Load Balancing tells of all.
            return Ok(Vec::new());
        }
        let mut all = self.carriers(target_groups).await?;
        let mut metrics = Vec::new();
        for one in &all {
            metrics.push(metric("HTTPCode_ELB_5XX_Count", &one.balancer, None));
            for group in &one.groups {
                let of = Some(group.target_group.as_str());
                metrics.push(metric("RequestCount", &one.balancer, of));
                metrics.push(metric("HTTPCode_Target_5XX_Count", &one.balancer, of));
            }
        }
        if metrics.is_empty() {
            return Ok(all);
        }
        let mut counts = self.sums(metrics, since, until).await?.into_iter();
        for one in &mut all {
            one.refused = counts.next().unwrap_or_default();
            for group in &mut one.groups {
                group.requests = counts.next().unwrap_or_default();
                group.failed = counts.next().unwrap_or_default();
            }
        }
        Ok(all)
    }
}

impl Cloud {
    /// The Application Load Balancers of target groups. Others count no requests.
    async fn carriers(&self, target_groups: &[String]) -> Result<Vec<BalancerTraffic>> {
        let request =
            self.balancing.describe_target_groups().set_target_group_arns(Some(target_groups.to_vec()));
        let answer = request.send().await;
        let answer = answer
            .map_err(|error| translate("elasticloadbalancing:DescribeTargetGroups", SUBJECT, &error))?;
        let mut found: BTreeMap<String, Vec<GroupTraffic>> = BTreeMap::new();
        for group in answer.target_groups() {
            let name = arn_name(group.target_group_arn().unwrap_or_default());
            for balancer in group.load_balancer_arns() {
                let balancer = balancer_name(balancer);
                if balancer.starts_with("app/") {
                    let group = GroupTraffic { target_group: name.to_owned(), ..GroupTraffic::default() };
                    found.entry(balancer.to_owned()).or_default().push(group);
                }
            }
        }
        let traffic = |(balancer, groups)| BalancerTraffic { balancer, groups, ..BalancerTraffic::default() };
        Ok(found.into_iter().map(traffic).collect())
    }

    /// The sums of metrics by the minute, in the metrics' order.
    async fn sums(&self, metrics: Vec<Metric>, since: Timestamp, until: Timestamp) -> Result<Vec<PerMinute>> {
        let mut sums = vec![PerMinute::new(); metrics.len()];
        let queries = metrics.into_iter().enumerate().map(|(number, metric)| {
            let stat = MetricStat::builder().metric(metric).period(60).stat("Sum").build();
            MetricDataQuery::builder().id(format!("m{number}")).metric_stat(stat).build()
        });
        let request = self
            .cloudwatch
            .get_metric_data()
            .set_metric_data_queries(Some(queries.collect()))
            .start_time(DateTime::from_secs(since.as_second()))
            .end_time(DateTime::from_secs(until.as_second()))
            .scan_by(ScanBy::TimestampAscending);
        let mut pages = request.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| translate("cloudwatch:GetMetricData", SUBJECT, &error))?;
            for result in page.metric_data_results() {
                let number = result.id().and_then(|id| id.strip_prefix('m')?.parse::<usize>().ok());
                let Some(sums) = number.and_then(|number| sums.get_mut(number)) else { continue };
                for (at, value) in result.timestamps().iter().zip(result.values()) {
                    let Ok(at) = Timestamp::from_second(at.secs()) else { continue };
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        reason = "a count of requests is a whole number"
                    )]
                    sums.insert(at, value.round() as u64);
                }
            }
        }
        Ok(sums)
    }
}

fn metric(name: &str, balancer: &str, target_group: Option<&str>) -> Metric {
    let dimension = |name: &str, value: &str| Dimension::builder().name(name).value(value).build();
    let of_group = target_group.map(|group| dimension("TargetGroup", group));
    Metric::builder()
        .namespace("AWS/ApplicationELB")
        .metric_name(name)
        .set_dimensions(Some(of_group.into_iter().chain([dimension("LoadBalancer", balancer)]).collect()))
        .build()
}
