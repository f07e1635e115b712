//! Auto Scaling groups, target groups and alarms, through their services.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_autoscaling::types::{
    AlarmSpecification, AutoScalingGroup, DesiredConfiguration, Instance, InstanceRefresh,
    InstanceRefreshStatus, LaunchTemplate, LaunchTemplateOverrides, LaunchTemplateSpecification,
    MixedInstancesPolicy, RefreshPreferences, RefreshStrategy, ScaleInProtectedInstances,
    ScalingActivityStatusCode, StandbyInstances,
};
use aws_sdk_cloudwatch::types::{AlarmType, StateValue};
use aws_sdk_ec2::types::{Filter, Subnet};
use aws_sdk_elasticloadbalancingv2::types::{
    AnomalyResultEnum, DescribeTargetHealthInputIncludeEnum, TargetHealthDescription, TargetHealthReasonEnum,
    TargetHealthStateEnum,
};
use jiff::Timestamp;
use ovenbird_core::{
    Result,
    domain::{
        error::{Error, Retry},
        id::{GroupName, InstanceId},
        rollout::{
            AlarmState, FailedLaunch, Group, Launches, Member, Override, Refresh, RefreshState, Sizes,
            Target, TargetState, Template,
        },
        tags::TAG_STACK,
    },
    ports::{GoesBack, Groups, LAUNCHING, RefreshOrder},
};

use crate::{
    Cloud,
    errors::{code, translate, unreadable},
};

impl Groups for Cloud {
    async fn group(&self, name: &GroupName) -> Result<Option<Group>> {
        let Some(group) = self.describe(name).await? else { return Ok(None) };
        // Auto Scaling says a status of what is being deleted, and of nothing else.
        if group.status().is_some() {
            return Ok(None);
        }
        let members = group.instances().iter().map(member).collect::<Result<_>>()?;
        // Attached the old way or the new one; Auto Scaling may say either, or both.
        let sources = group.traffic_sources().iter().filter_map(|one| one.identifier());
        let attached = group.target_group_arns().iter().map(String::as_str);
        let target_groups: BTreeSet<&str> =
            attached.chain(sources).filter(|arn| arn.contains(":targetgroup/")).collect();
        let ours = group
            .tags()
            .iter()
            .any(|tag| tag.key() == Some(TAG_STACK) && tag.value() == Some(self.settings.stack.as_str()));
        Ok(Some(Group {
            name: name.clone(),
            launches: launches(&group),
            min: count(group.min_size()),
            max: count(group.max_size()),
            desired: count(group.desired_capacity()),
            members,
            target_groups: target_groups.into_iter().map(str::to_owned).collect(),
            suspended: group
                .suspended_processes()
                .iter()
                .filter_map(|one| one.process_name())
                .map(str::to_owned)
                .collect(),
            subnets: group.vpc_zone_identifier().map(subnets).unwrap_or_default(),
            warm_pool: group.warm_pool_configuration().is_some(),
            weighted: overrides(&group).iter().any(|one| one.weighted_capacity().is_some()),
            ours,
        }))
    }

    async fn failed_launch(&self, group: &GroupName, since: Timestamp) -> Result<Option<FailedLaunch>> {
        let operation = "autoscaling:DescribeScalingActivities";
        // The newest come first; 100 is the most that one answer has.
        let request = self
            .autoscaling
            .describe_scaling_activities()
            .auto_scaling_group_name(group.as_str())
            .max_records(100);
        let answer = request.send().await.map_err(|error| translate(operation, group.as_str(), &error))?;
        let launches = answer.activities().iter().filter_map(|one| {
            let begun = Timestamp::from_second(one.start_time()?.secs()).ok()?;
            let succeeded = match one.status_code()? {
                ScalingActivityStatusCode::Successful => true,
                ScalingActivityStatusCode::Failed => false,
                _ => return None,
            };
            let launches = one.description()?.starts_with(LAUNCHING);
            // Auto Scaling says whole seconds.
            let meant = launches && begun.as_second() >= since.as_second();
            meant.then(|| (begun, succeeded, one.status_message().unwrap_or_default().to_owned()))
        });
        Ok(FailedLaunch::of(launches))
    }

    async fn free_addresses(&self, subnets: &[String]) -> Result<BTreeMap<String, u32>> {
        // By a filter: asked by its id, a subnet that is gone would be an error.
        let only = Filter::builder().name("subnet-id").set_values(Some(subnets.to_vec())).build();
        let request = self.ec2.describe_subnets().filters(only);
        let all = request.into_paginator().items().send().try_collect().await;
        let all = all.map_err(|error| translate("ec2:DescribeSubnets", subnets.join(" "), &error))?;
        let free = |subnet: &Subnet| {
            Some((subnet.subnet_id()?.to_owned(), count(subnet.available_ip_address_count())))
        };
        Ok(all.iter().filter_map(free).collect())
    }

    async fn newest_refresh(&self, group: &GroupName) -> Result<Option<Refresh>> {
        let operation = "autoscaling:DescribeInstanceRefreshes";
        let request = self
            .autoscaling
            .describe_instance_refreshes()
            .auto_scaling_group_name(group.as_str())
            .max_records(1);
        let answer = request.send().await.map_err(|error| translate(operation, group.as_str(), &error))?;
        answer.instance_refreshes().first().map(|one| refresh(one, group)).transpose()
    }

    async fn start_refresh(&self, order: &RefreshOrder) -> Result<String> {
        let operation = "autoscaling:StartInstanceRefresh";
        let desired = match self.launching(&order.group, &order.to).await? {
            Launching::Template(template) => DesiredConfiguration::builder().launch_template(template),
            Launching::Mixed(policy) => DesiredConfiguration::builder().mixed_instances_policy(policy),
        };
        let mut preferences = RefreshPreferences::builder()
            // New before old: without the second number EC2 ends an instance first.
            .min_healthy_percentage(100)
            .max_healthy_percentage(200)
            .skip_matching(true)
            .auto_rollback(order.auto_rollback)
            .scale_in_protected_instances(ScaleInProtectedInstances::Refresh)
            .standby_instances(StandbyInstances::Ignore);
        if let Some(percent) = order.percent {
            preferences =
                preferences.checkpoint_percentages(i32::try_from(percent).unwrap_or(100)).checkpoint_delay(0);
        }
        if !order.alarms.is_empty() {
            let alarms = AlarmSpecification::builder().set_alarms(Some(order.alarms.clone())).build();
            preferences = preferences.alarm_specification(alarms);
        }
        let request = self
            .autoscaling
            .start_instance_refresh()
            .auto_scaling_group_name(order.group.as_str())
            .strategy(RefreshStrategy::Rolling)
            .desired_configuration(desired.build())
            .preferences(preferences.build());
        match request.send().await {
            Ok(answer) => {
                let id = answer.instance_refresh_id().map(str::to_owned);
                id.ok_or_else(|| unreadable(operation, order.group.as_str(), "no id of the refresh"))
            }
            // Most likely this very call: its answer was lost, and the SDK sent it again. The next try finds the refresh.
            Err(error) if code(&error) == "InstanceRefreshInProgress" => Err(Error::TryAgain {
                what: format!("the refresh of group `{}`", order.group),
                why: Retry::Unseen,
            }),
            Err(error) => Err(translate(operation, order.group.as_str(), &error)),
        }
    }

    async fn roll_back_refresh(&self, group: &GroupName) -> Result<GoesBack> {
        let request = self.autoscaling.rollback_instance_refresh().auto_scaling_group_name(group.as_str());
        match request.send().await {
            Ok(_) => Ok(GoesBack::Yes),
            Err(error) if code(&error) == "ActiveInstanceRefreshNotFound" => Ok(GoesBack::None),
            Err(error) if code(&error) == "IrreversibleInstanceRefresh" => Ok(GoesBack::Never),
            Err(error) => Err(translate("autoscaling:RollbackInstanceRefresh", group.as_str(), &error)),
        }
    }

    async fn cancel_refresh(&self, group: &GroupName) -> Result<()> {
        let request = self.autoscaling.cancel_instance_refresh().auto_scaling_group_name(group.as_str());
        match request.wait_for_transitioning_instances(true).send().await {
            Ok(_) => Ok(()),
            Err(error) if code(&error) == "ActiveInstanceRefreshNotFound" => Ok(()),
            Err(error) => Err(translate("autoscaling:CancelInstanceRefresh", group.as_str(), &error)),
        }
    }

    async fn change(
        &self,
        group: &GroupName,
        template: Option<&Template>,
        sizes: Option<Sizes>,
    ) -> Result<()> {
        let operation = "autoscaling:UpdateAutoScalingGroup";
        let number = |size: u32| i32::try_from(size).unwrap_or(i32::MAX);
        let request = self.autoscaling.update_auto_scaling_group().auto_scaling_group_name(group.as_str());
        let request = match template {
            None => request,
            Some(template) => match self.launching(group, template).await? {
                Launching::Template(template) => request.launch_template(template),
                Launching::Mixed(policy) => request.mixed_instances_policy(policy),
            },
        };
        let request = request
            .set_min_size(sizes.map(|sizes| number(sizes.min)))
            .set_max_size(sizes.map(|sizes| number(sizes.max)))
            .set_desired_capacity(sizes.map(|sizes| number(sizes.desired)));
        let answer = request.send().await;
        answer.map(drop).map_err(|error| translate(operation, group.as_str(), &error))
    }

    async fn targets(&self, target_group: &str) -> Result<Vec<Target>> {
        let operation = "elasticloadbalancing:DescribeTargetHealth";
        // Without the account's number, which an ARN has and no message should.
        let subject = target_group.rsplit(':').next().unwrap_or_default();
        let request = self.balancing.describe_target_health().target_group_arn(target_group);
        let request = request.include(DescribeTargetHealthInputIncludeEnum::Anomaly);
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) if code(&error) == "TargetGroupNotFound" => return Ok(Vec::new()),
            Err(error) => return Err(translate(operation, subject, &error)),
        };
        answer
            .target_health_descriptions()
            .iter()
            // Targets that are no instances of ours: addresses, functions.
            .filter_map(|one| Some((InstanceId::parse(one.target()?.id()?).ok()?, one)))
            .map(|(instance, one)| {
                target(instance, one).ok_or_else(|| unreadable(operation, subject, "a target without health"))
            })
            .collect()
    }

    async fn alarms(&self, names: &[String]) -> Result<Vec<(String, AlarmState)>> {
        let request = self
            .cloudwatch
            .describe_alarms()
            .set_alarm_names(Some(names.to_vec()))
            .alarm_types(AlarmType::MetricAlarm)
            .alarm_types(AlarmType::CompositeAlarm);
        let answer = request.send().await;
        let answer =
            answer.map_err(|error| translate("cloudwatch:DescribeAlarms", "the rollout's alarms", &error))?;
        let metric = answer.metric_alarms().iter().map(|one| (one.alarm_name(), one.state_value()));
        let composite = answer.composite_alarms().iter().map(|one| (one.alarm_name(), one.state_value()));
        let found: Vec<_> = metric.chain(composite).collect();
        let state = |name: &String| {
            let known = found.iter().find(|(one, _)| *one == Some(name.as_str()))?;
            Some(match known.1 {
                Some(StateValue::Ok) => AlarmState::Ok,
                Some(StateValue::Alarm) => AlarmState::Alarm,
                // A word that isn't understood is no "all is well".
                _ => AlarmState::InsufficientData,
            })
        };
        Ok(names.iter().map(|name| (name.clone(), state(name).unwrap_or(AlarmState::Missing))).collect())
    }
}

/// What a group is told to launch.
enum Launching {
    Template(LaunchTemplateSpecification),
    Mixed(MixedInstancesPolicy),
}

impl Cloud {
    /// What a group launches now, with this version. A policy of mixed instances is given back as it is but for the version:
    /// AWS doesn't say what becomes of a part that is left out.
    async fn launching(&self, group: &GroupName, template: &Template) -> Result<Launching> {
        let specification = LaunchTemplateSpecification::builder()
            .launch_template_id(&template.id)
            .version(template.version.to_string())
            .build();
        let found = self.describe(group).await?;
        let policy = found.as_ref().and_then(AutoScalingGroup::mixed_instances_policy);
        Ok(match policy {
            None => Launching::Template(specification),
            Some(policy) => {
                let overrides = policy.launch_template().and_then(|one| one.overrides.clone());
                let base = LaunchTemplate::builder()
                    .launch_template_specification(specification)
                    .set_overrides(overrides);
                let distribution = policy.instances_distribution().cloned();
                let policy = MixedInstancesPolicy::builder().launch_template(base.build());
                Launching::Mixed(policy.set_instances_distribution(distribution).build())
            }
        })
    }

    async fn describe(&self, name: &GroupName) -> Result<Option<AutoScalingGroup>> {
        let operation = "autoscaling:DescribeAutoScalingGroups";
        let request = self.autoscaling.describe_auto_scaling_groups().auto_scaling_group_names(name.as_str());
        let answer = request.send().await.map_err(|error| translate(operation, name.as_str(), &error))?;
        Ok(answer.auto_scaling_groups.and_then(|groups| groups.into_iter().next()))
    }
}

/// The subnets of a group, which Auto Scaling writes into one text: `subnet-1,subnet-2`.
fn subnets(identifier: &str) -> Vec<String> {
    identifier.split(',').map(str::trim).filter(|id| !id.is_empty()).map(str::to_owned).collect()
}

fn count(number: Option<i32>) -> u32 {
    number.and_then(|number| u32::try_from(number).ok()).unwrap_or(0)
}

/// The id and number of a version; none when it is no number.
fn version(spec: &LaunchTemplateSpecification) -> Option<(String, u64)> {
    Some((spec.launch_template_id()?.to_owned(), spec.version()?.parse().ok()?))
}

fn launches(group: &AutoScalingGroup) -> Launches {
    let name = group.auto_scaling_group_name().unwrap_or_default();
    let mixed = group.mixed_instances_policy().and_then(|policy| policy.launch_template());
    let base = mixed.and_then(|one| one.launch_template_specification());
    let Some(spec) = group.launch_template().or(base) else {
        let what = match group.launch_configuration_name() {
            Some(configuration) => format!("launch configuration {configuration}"),
            None => "nothing that Auto Scaling names".to_owned(),
        };
        let fix = "Let the group launch a version of a launch template by its number".to_owned();
        return Launches::Unpinned { what, fix };
    };
    let overrides: Vec<Override> = overrides(group)
        .iter()
        .map(|one| Override {
            template: one.launch_template_specification().is_some(),
            image: one.image_id().is_some(),
            attributes: one.instance_requirements().is_some(),
        })
        .collect();
    Launches::mixed(pinned(spec, name, mixed.is_some()), &overrides)
}

/// The overrides of a group's policy of mixed instances.
fn overrides(group: &AutoScalingGroup) -> &[LaunchTemplateOverrides] {
    let policy = group.mixed_instances_policy().and_then(|policy| policy.launch_template());
    policy.map(LaunchTemplate::overrides).unwrap_or_default()
}

/// A version that a group names, which must be a number.
fn pinned(spec: &LaunchTemplateSpecification, group: &str, mixed: bool) -> Launches {
    let template = spec.launch_template_name().or(spec.launch_template_id()).unwrap_or_default();
    match version(spec) {
        Some((id, version)) => Launches::Template(Template { id, name: template.to_owned(), version }),
        None => Launches::Unpinned {
            what: format!("version {} of launch template {template}", spec.version().unwrap_or("$Default")),
            fix: if mixed {
                "Name the version by its number in the policy's `LaunchTemplateSpecification`".to_owned()
            } else {
                format!(
                    "aws autoscaling update-auto-scaling-group --auto-scaling-group-name {group} \
                     --launch-template LaunchTemplateName={template},Version=NUMBER"
                )
            },
        },
    }
}

fn member(instance: &Instance) -> Result<Member> {
    let id = instance.instance_id().unwrap_or_default();
    let instance_id = InstanceId::parse(id)
        .map_err(|error| unreadable("autoscaling:DescribeAutoScalingGroups", id, error))?;
    Ok(Member {
        instance: instance_id,
        version: instance.launch_template().and_then(version),
        lifecycle: instance.lifecycle_state().map(|state| state.as_str().to_owned()).unwrap_or_default(),
        healthy: instance.health_status().is_some_and(|status| status.eq_ignore_ascii_case("healthy")),
    })
}

fn refresh(one: &InstanceRefresh, group: &GroupName) -> Result<Refresh> {
    let operation = "autoscaling:DescribeInstanceRefreshes";
    let status =
        one.status().ok_or_else(|| unreadable(operation, group.as_str(), "a refresh without a status"))?;
    let state = match status {
        InstanceRefreshStatus::Pending
        | InstanceRefreshStatus::InProgress
        | InstanceRefreshStatus::Baking => RefreshState::Running,
        InstanceRefreshStatus::RollbackInProgress => RefreshState::RollingBack,
        InstanceRefreshStatus::Cancelling => RefreshState::Cancelling,
        InstanceRefreshStatus::Successful => RefreshState::Successful,
        InstanceRefreshStatus::RollbackSuccessful => RefreshState::RolledBack,
        InstanceRefreshStatus::Failed
        | InstanceRefreshStatus::Cancelled
        | InstanceRefreshStatus::RollbackFailed => RefreshState::Failed,
        other => return Err(unreadable(operation, group.as_str(), other.as_str())),
    };
    let id = one
        .instance_refresh_id()
        .ok_or_else(|| unreadable(operation, group.as_str(), "a refresh without an id"))?;
    Ok(Refresh {
        id: id.to_owned(),
        state,
        status: status.as_str().to_owned(),
        reason: one.status_reason().unwrap_or_default().to_owned(),
        percent: count(one.percentage_complete()),
        desired: one.desired_configuration().and_then(|desired| {
            let mixed = desired.mixed_instances_policy().and_then(|policy| policy.launch_template());
            let base = mixed.and_then(|one| one.launch_template_specification());
            desired.launch_template().or(base).and_then(version)
        }),
    })
}

fn target(instance: InstanceId, one: &TargetHealthDescription) -> Option<Target> {
    let health = one.target_health()?;
    let state = match health.state()? {
        TargetHealthStateEnum::Initial => TargetState::Initial,
        TargetHealthStateEnum::Healthy => TargetState::Healthy,
        TargetHealthStateEnum::Unhealthy | TargetHealthStateEnum::UnhealthyDraining => TargetState::Unhealthy,
        TargetHealthStateEnum::Draining => TargetState::Draining,
        // `unused`, `unavailable`, and what isn't known yet: nobody says that it is well.
        _ => TargetState::Unused,
    };
    let reason = match (health.reason(), health.description()) {
        (Some(reason), Some(text)) => format!("{}: {text}", reason.as_str()),
        (Some(reason), None) => reason.as_str().to_owned(),
        (None, text) => text.unwrap_or_default().to_owned(),
    };
    let silent = matches!(
        health.reason(),
        Some(TargetHealthReasonEnum::Timeout | TargetHealthReasonEnum::FailedHealthChecks)
    );
    let anomalous = one
        .anomaly_detection()
        .is_some_and(|anomaly| anomaly.result() == Some(&AnomalyResultEnum::Anomalous));
    Some(Target { instance, state, reason, silent, anomalous })
}
