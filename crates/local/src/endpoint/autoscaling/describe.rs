//! Looks at groups, their instances and their activities.

use ovenbird_sim::{
    ApiError, Filter,
    auto_scaling::{Activity, DeletionProtection, DescribeGroups, Group, HealthCheckType, Member},
};

use super::configuration::{complete, write, write_spec};
use crate::endpoint::{
    query::{Query, parts, texts, time},
    xml_writer::Xml,
};

pub(super) fn groups(query: &Query<'_>) -> Result<String, ApiError> {
    let filter = |filter: &crate::endpoint::query_form::Params<'_>| {
        Ok(Filter { name: filter.required("Name")?.to_owned(), values: texts(filter, "Values") })
    };
    let request = DescribeGroups {
        names: texts(&query.params, "AutoScalingGroupNames"),
        filters: parts(&query.params, "Filters").iter().map(filter).collect::<Result<_, ApiError>>()?,
        paging: query.paging("MaxRecords", "NextToken")?,
    };
    let with_instances = query.params.parsed("IncludeInstances")?.unwrap_or(true);
    query.finish()?;
    let mut page = query.look(|world| world.describe_auto_scaling_groups(&request))?;
    query.look(|world| {
        for group in &mut page.items {
            complete(&mut group.configuration, world);
            for member in &mut group.members {
                member.template = world.whole_spec(&member.template);
            }
        }
    });
    query.answer(|xml| {
        xml.members("AutoScalingGroups", &page.items, |xml, one| group(xml, one, with_instances));
        xml.optional("NextToken", page.next_token.as_ref());
    })
}

/// None can be made here, so there are none; AWS answers alike for a name that it doesn't know.
pub(super) fn launch_configurations(query: &Query<'_>) -> Result<String, ApiError> {
    let _ = texts(&query.params, "LaunchConfigurationNames");
    let _ = query.paging("MaxRecords", "NextToken")?;
    query.finish()?;
    query.answer(|xml| xml.members("LaunchConfigurations", [(); 0], |_, ()| {}))
}

fn group(xml: &mut Xml, group: &Group, with_instances: bool) {
    xml.text("AutoScalingGroupName", &group.name);
    xml.text("AutoScalingGroupARN", &group.arn);
    write(xml, &group.configuration);
    xml.text("MinSize", group.min_size);
    xml.text("MaxSize", group.max_size);
    xml.text("DesiredCapacity", group.desired);
    xml.text("DefaultCooldown", group.default_cooldown);
    xml.member_texts("AvailabilityZones", &group.zones);
    xml.part("LoadBalancerNames", |_| {});
    xml.member_texts("TargetGroupARNs", &group.target_groups);
    xml.text(
        "HealthCheckType",
        match group.health_check_type {
            HealthCheckType::Ec2 => "EC2",
            HealthCheckType::Elb => "ELB",
        },
    );
    xml.text("HealthCheckGracePeriod", group.health_check_grace);
    let members = if with_instances { group.members.as_slice() } else { &[] };
    xml.members("Instances", members, member);
    xml.text("CreatedTime", time(group.created));
    xml.members("SuspendedProcesses", &group.suspended, |xml, (process, reason)| {
        xml.text("ProcessName", process.as_str());
        xml.text("SuspensionReason", reason);
    });
    xml.text("VPCZoneIdentifier", group.subnets.join(","));
    xml.part("EnabledMetrics", |_| {});
    xml.optional("Status", group.status());
    xml.members("Tags", group.group_tags(), |xml, tag| {
        xml.text("ResourceId", &group.name);
        xml.text("ResourceType", "auto-scaling-group");
        xml.text("Key", &tag.key);
        xml.text("Value", &tag.value);
        xml.text("PropagateAtLaunch", tag.propagate);
    });
    xml.member_texts("TerminationPolicies", group.termination_policies.iter().map(|one| one.as_str()));
    xml.text("NewInstancesProtectedFromScaleIn", group.protects_new_instances);
    xml.optional("DefaultInstanceWarmup", group.default_warmup);
    if let Some(policy) = group.maintenance {
        xml.part("InstanceMaintenancePolicy", |xml| {
            xml.text("MinHealthyPercentage", policy.min_healthy);
            xml.text("MaxHealthyPercentage", policy.max_healthy);
        });
    }
    if group.retains_abandoned {
        xml.part("InstanceLifecyclePolicy", |xml| {
            xml.part("RetentionTriggers", |xml| xml.text("TerminateHookAbandon", "retain"));
        });
    }
    xml.text(
        "DeletionProtection",
        match group.deletion_protection {
            DeletionProtection::None => "none",
            DeletionProtection::PreventForceDeletion => "prevent-force-deletion",
            DeletionProtection::PreventAllDeletion => "prevent-all-deletion",
        },
    );
}

fn member(xml: &mut Xml, member: &Member) {
    xml.text("InstanceId", &member.instance);
    xml.text("InstanceType", &member.instance_type);
    xml.text("AvailabilityZone", &member.zone);
    xml.text("LifecycleState", member.lifecycle.as_str());
    xml.text("HealthStatus", member.health_status());
    xml.part("LaunchTemplate", |xml| write_spec(xml, &member.template));
    xml.text("ImageId", &member.image);
    xml.text("ProtectedFromScaleIn", member.protected);
    xml.text("WeightedCapacity", member.weight);
}

pub(super) fn instances(query: &Query<'_>) -> Result<String, ApiError> {
    let ids = texts(&query.params, "InstanceIds");
    query.finish()?;
    let wanted = |one: &&Member| ids.is_empty() || ids.iter().any(|id| id == one.instance.as_str());
    let found: Vec<(String, Member)> = query.look(|world| {
        let groups = world.auto_scaling_groups();
        groups
            .flat_map(|group| {
                group.members.iter().filter(wanted).map(|one| {
                    let mut member = one.clone();
                    member.template = world.whole_spec(&member.template);
                    (group.name.clone(), member)
                })
            })
            .collect()
    });
    query.answer(|xml| {
        xml.members("AutoScalingInstances", &found, |xml, (group, one)| {
            xml.text("AutoScalingGroupName", group);
            member(xml, one);
        });
    })
}

pub(super) fn target_groups(query: &Query<'_>) -> Result<String, ApiError> {
    let group = query.name("AutoScalingGroupName")?;
    query.finish()?;
    let found = query.look(|world| world.describe_group_target_groups(&group))?;
    query.answer(|xml| {
        xml.members("LoadBalancerTargetGroups", found, |xml, (arn, state)| {
            xml.text("LoadBalancerTargetGroupARN", arn);
            xml.text("State", state);
        });
    })
}

pub(super) fn activities(query: &Query<'_>) -> Result<String, ApiError> {
    let group = query.params.text("AutoScalingGroupName");
    let ids = texts(&query.params, "ActivityIds");
    let paging = query.paging("MaxRecords", "NextToken")?;
    query.finish()?;
    let page = query.look(|world| world.describe_scaling_activities(group, &ids, &paging))?;
    query.answer(|xml| {
        xml.members("Activities", &page.items, activity);
        xml.optional("NextToken", page.next_token.as_ref());
    })
}

/// An activity, as it is answered.
pub(super) fn activity(xml: &mut Xml, activity: &Activity) {
    xml.text("ActivityId", &activity.id);
    xml.text("AutoScalingGroupName", &activity.group);
    xml.text("Description", &activity.description);
    xml.text("Cause", &activity.cause);
    xml.text("StartTime", time(activity.started));
    xml.optional("EndTime", activity.ended.map(time));
    xml.text("StatusCode", activity.status.as_str());
    xml.optional("StatusMessage", activity.message.as_ref());
    xml.text("Progress", activity.progress);
}
