//! Auto Scaling groups: an override of a mixed instances policy may name an image that no launch template names. While
//! an instance refresh runs, what it launches stands in the refresh alone, and what it goes back to in the group alone.

use aws_sdk_autoscaling::types::{
    DesiredConfiguration, InstanceRefreshStatus, LaunchTemplate, LaunchTemplateSpecification,
    MixedInstancesPolicy,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use ovenbird_core::{Result, domain::reference::Kind, ports::Look};

use super::Named;
use crate::{
    Cloud,
    errors::{code, translate},
};

/// So many groups' refreshes are asked for at once.
const AT_ONCE: usize = 4;

pub(super) async fn groups_and_refreshes(cloud: &Cloud) -> Result<Look> {
    let mut pages = cloud.autoscaling.describe_auto_scaling_groups().into_paginator().send();
    let (mut named, mut groups) = (Named::default(), Vec::new());
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| {
            translate("autoscaling:DescribeAutoScalingGroups", "all Auto Scaling groups", &error)
        })?;
        for group in page.auto_scaling_groups() {
            let name = group.auto_scaling_group_name().unwrap_or_default();
            named.look.seen += 1;
            note(&mut named, name, group.mixed_instances_policy());
            pin(&mut named, name, group.launch_template());
            for member in group.instances() {
                pin(&mut named, name, member.launch_template());
            }
            groups.push(name.to_owned());
        }
    }
    let refreshes: Vec<Vec<_>> = stream::iter(groups.iter().map(|group| refreshing(cloud, group)))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    for (group, desired) in refreshes.iter().flatten() {
        let by = format!("{group}, by an instance refresh");
        note(&mut named, &by, desired.mixed_instances_policy());
        pin(&mut named, &by, desired.launch_template());
    }
    named.resolved(cloud).await
}

/// What a group's instance refreshes under way launch.
async fn refreshing(cloud: &Cloud, group: &str) -> Result<Vec<(String, DesiredConfiguration)>> {
    let request = cloud.autoscaling.describe_instance_refreshes().auto_scaling_group_name(group);
    let mut pages = request.into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = match page {
            Ok(page) => page,
            // Deleted since the list was read.
            Err(error) if code(&error) == "ValidationError" && error.to_string().contains("not found") => {
                break;
            }
            Err(error) => return Err(translate("autoscaling:DescribeInstanceRefreshes", group, &error)),
        };
        for refresh in page.instance_refreshes() {
            let ended = matches!(
                refresh.status(),
                Some(
                    InstanceRefreshStatus::Successful
                        | InstanceRefreshStatus::Failed
                        | InstanceRefreshStatus::Cancelled
                        | InstanceRefreshStatus::RollbackSuccessful
                        | InstanceRefreshStatus::RollbackFailed
                )
            );
            let desired = refresh.desired_configuration().filter(|_| !ended);
            found.extend(desired.map(|desired| (group.to_owned(), desired.clone())));
        }
    }
    Ok(found)
}

fn note(named: &mut Named, id: &str, policy: Option<&MixedInstancesPolicy>) {
    let overrides = policy.and_then(|policy| policy.launch_template()).map(LaunchTemplate::overrides);
    for one in overrides.unwrap_or_default() {
        named.note(Kind::AutoScalingGroup, id, one.image_id());
        pin(named, id, one.launch_template_specification());
    }
    let own = policy.and_then(|policy| policy.launch_template());
    pin(named, id, own.and_then(|own| own.launch_template_specification()));
}

/// Notes a launch template's version that a group launches by, or that a member was launched by.
fn pin(named: &mut Named, group: &str, spec: Option<&LaunchTemplateSpecification>) {
    let Some(spec) = spec else { return };
    let template = spec.launch_template_id().or(spec.launch_template_name());
    named.pin(&format!("group {group}"), template, spec.version());
}
