//! What load balancers counted: what a test says that they did.

use std::collections::BTreeMap;

use jiff::Timestamp;
use ovenbird_core::{
    Error, Result,
    domain::{
        rollout::arn_name,
        traffic::{BalancerTraffic, GroupTraffic, PerMinute, balancer_name},
    },
    ports::Traffic,
};

use super::super::Cloud;

impl Traffic for Cloud {
    async fn traffic(
        &self,
        target_groups: &[String],
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<BalancerTraffic>> {
        self.call(&["elasticloadbalancing:DescribeTargetGroups", "cloudwatch:GetMetricData"], |state| {
            let Some(metrics) = &state.around.metrics else {
                let (operation, subject) = ("cloudwatch:GetMetricData".to_owned(), "the requests".to_owned());
                return Err(Error::Denied { operation, subject, source: None });
            };
            let counted = |metric: &str, of: &str| -> PerMinute {
                let counts = metrics.get(&(metric.to_owned(), of.to_owned()));
                let counts = counts.into_iter().flatten().map(|(at, count)| (*at, *count));
                counts.filter(|(at, _)| (since..until).contains(at)).collect()
            };
            let mut found: BTreeMap<String, Vec<GroupTraffic>> = BTreeMap::new();
            for arn in target_groups {
                let name = arn_name(arn);
                for balancer in state.world.balancers_of_target_group(arn) {
                    let balancer = balancer_name(&balancer).to_owned();
                    found.entry(balancer).or_default().push(GroupTraffic {
                        target_group: name.to_owned(),
                        requests: counted("RequestCount", name),
                        failed: counted("HTTPCode_Target_5XX_Count", name),
                    });
                }
            }
            let traffic = found.into_iter().map(|(balancer, groups)| {
                let refused = counted("HTTPCode_ELB_5XX_Count", &balancer);
                BalancerTraffic { balancer, refused, groups }
            });
            Ok(traffic.collect())
        })
        .await
    }
}
