//! Groups: make, change, delete.

use std::collections::BTreeMap;

use ovenbird_sim::{
    ApiError,
    auto_scaling::{
        CreateGroup, DeletionProtection, GroupTag, HealthCheckType, MaintenancePolicy, Process,
        TerminationPolicy, UpdateGroup,
    },
};

use super::{configuration, hooks};
use crate::endpoint::{
    query::{Query, needed, parts, texts},
    query_form::Params,
};

pub(super) fn create(query: &Query<'_>) -> Result<String, ApiError> {
    let params = &query.params;
    let missing = |what: &str| invalid(&format!("{what} is needed."));
    let configuration = configuration::read(params)?;
    let configuration = configuration.ok_or_else(|| missing("LaunchTemplate or MixedInstancesPolicy"))?;
    let common = common(params)?;
    let name = query.name("AutoScalingGroupName")?;
    let min_size = common.min_size.ok_or_else(|| missing("MinSize"))?;
    let max_size = common.max_size.ok_or_else(|| missing("MaxSize"))?;
    let subnets = common.subnets.unwrap_or_default();
    let request = CreateGroup {
        desired: common.desired,
        target_groups: texts(params, "TargetGroupARNs"),
        health_check_type: common.health_check_type,
        health_check_grace: common.health_check_grace,
        default_warmup: common.default_warmup.flatten(),
        default_cooldown: common.default_cooldown,
        termination_policies: common.termination_policies.unwrap_or_default(),
        protects_new_instances: common.protects_new_instances.unwrap_or(false),
        maintenance: common.maintenance.flatten(),
        deletion_protection: common.deletion_protection.unwrap_or_default(),
        retains_abandoned: common.retains_abandoned.unwrap_or(false),
        hooks: parts(params, "LifecycleHookSpecificationList")
            .iter()
            .map(hooks::read)
            .collect::<Result<_, _>>()?,
        tags: tags(params)?.remove("").unwrap_or_default(),
        ..CreateGroup::new(&name, configuration, (min_size, min_size, max_size), &subnets)
    };
    query.finish()?;
    query.world(|world, now| world.create_auto_scaling_group(now, &request))?;
    query.done()
}

pub(super) fn update(query: &Query<'_>) -> Result<String, ApiError> {
    let name = query.name("AutoScalingGroupName")?;
    let change = UpdateGroup { configuration: configuration::read(&query.params)?, ..common(&query.params)? };
    query.finish()?;
    query.world(|world, _| world.update_auto_scaling_group(&name, &change))?;
    query.done()
}

pub(super) fn delete(query: &Query<'_>) -> Result<String, ApiError> {
    let (name, force) = (query.name("AutoScalingGroupName")?, query.params.flag("ForceDelete")?);
    query.finish()?;
    query.world(|world, now| world.delete_auto_scaling_group(now, &name, force))?;
    query.done()
}

pub(super) fn set_desired_capacity(query: &Query<'_>) -> Result<String, ApiError> {
    let name = query.name("AutoScalingGroupName")?;
    let desired =
        query.params.parsed("DesiredCapacity")?.ok_or_else(|| invalid("DesiredCapacity is needed."))?;
    let honor = query.params.flag("HonorCooldown")?;
    query.finish()?;
    query.world(|world, now| world.set_desired_capacity(now, &name, desired, honor))?;
    query.done()
}

pub(super) fn suspend_processes(query: &Query<'_>) -> Result<String, ApiError> {
    let (name, processes) = processes(query)?;
    query.world(|world, now| world.suspend_processes(now, &name, &processes))?;
    query.done()
}

pub(super) fn resume_processes(query: &Query<'_>) -> Result<String, ApiError> {
    let (name, processes) = processes(query)?;
    query.world(|world, _| world.resume_processes(&name, &processes))?;
    query.done()
}

fn processes(query: &Query<'_>) -> Result<(String, Vec<Process>), ApiError> {
    let name = query.name("AutoScalingGroupName")?;
    let words = texts(&query.params, "ScalingProcesses");
    query.finish()?;
    Ok((name, words.iter().map(|word| Process::parse(word)).collect::<Result<_, _>>()?))
}

pub(super) fn attach(query: &Query<'_>) -> Result<String, ApiError> {
    let (name, arns) = (query.name("AutoScalingGroupName")?, texts(&query.params, "TargetGroupARNs"));
    query.finish()?;
    query.world(|world, now| world.attach_target_groups(now, &name, &arns))?;
    query.done()
}

pub(super) fn detach(query: &Query<'_>) -> Result<String, ApiError> {
    let (name, arns) = (query.name("AutoScalingGroupName")?, texts(&query.params, "TargetGroupARNs"));
    query.finish()?;
    query.world(|world, now| world.detach_target_groups(now, &name, &arns))?;
    query.done()
}

pub(super) fn create_or_update_tags(query: &Query<'_>) -> Result<String, ApiError> {
    needed("tags", parts(&query.params, "Tags"))?;
    let tags = tags(&query.params)?;
    query.finish()?;
    for (group, tags) in &tags {
        query.world(|world, _| world.create_or_update_group_tags(group, tags))?;
    }
    query.done()
}

pub(super) fn delete_tags(query: &Query<'_>) -> Result<String, ApiError> {
    needed("tags", parts(&query.params, "Tags"))?;
    let tags = tags(&query.params)?;
    query.finish()?;
    for (group, tags) in &tags {
        let keys: Vec<_> = tags.iter().map(|tag| tag.key.clone()).collect();
        query.world(|world, _| world.delete_group_tags(group, &keys))?;
    }
    query.done()
}

/// Tags by the group that they name; by nothing where the call names it.
fn tags(params: &Params<'_>) -> Result<BTreeMap<String, Vec<GroupTag>>, ApiError> {
    let mut all: BTreeMap<String, Vec<GroupTag>> = BTreeMap::new();
    let own = params.text("AutoScalingGroupName");
    for tag in parts(params, "Tags") {
        let of = tag.text("ResourceId").filter(|of| Some(*of) != own).unwrap_or_default();
        if tag.text("ResourceType").is_some_and(|kind| kind != "auto-scaling-group") {
            return Err(invalid("The ResourceType of a tag is auto-scaling-group."));
        }
        all.entry(of.to_owned()).or_default().push(GroupTag {
            key: tag.required("Key")?.to_owned(),
            value: tag.text("Value").unwrap_or_default().to_owned(),
            propagate: tag.flag("PropagateAtLaunch")?,
        });
    }
    Ok(all)
}

/// What both `Create…` and `Update…` say of a group, but for what it launches.
fn common(params: &Params<'_>) -> Result<UpdateGroup, ApiError> {
    let policies = texts(params, "TerminationPolicies");
    let policies: Vec<_> =
        policies.iter().map(|word| TerminationPolicy::parse(word)).collect::<Result<_, _>>()?;
    let subnets = params.text("VPCZoneIdentifier");
    let subnets = subnets.map(|list| list.split(',').map(|id| id.trim().to_owned()).collect());
    let health_check_type = match params.text("HealthCheckType") {
        None => None,
        Some("EC2") => Some(HealthCheckType::Ec2),
        Some("ELB" | "EC2,ELB" | "ELB,EC2") => Some(HealthCheckType::Elb),
        Some(other) => return Err(invalid(&format!("Invalid HealthCheckType: {other}"))),
    };
    let deletion_protection = match params.text("DeletionProtection") {
        None => None,
        Some("none") => Some(DeletionProtection::None),
        Some("prevent-force-deletion") => Some(DeletionProtection::PreventForceDeletion),
        Some("prevent-all-deletion") => Some(DeletionProtection::PreventAllDeletion),
        Some(other) => return Err(invalid(&format!("Invalid DeletionProtection: {other}"))),
    };
    let triggers = params.part("InstanceLifecyclePolicy").part("RetentionTriggers");
    let retains_abandoned = match triggers.text("TerminateHookAbandon") {
        None => None,
        Some("retain") => Some(true),
        Some("terminate") => Some(false),
        Some(other) => return Err(invalid(&format!("Invalid TerminateHookAbandon: {other}"))),
    };
    let maintenance = params.part("InstanceMaintenancePolicy");
    let bounds: (Option<i64>, Option<i64>) =
        (maintenance.parsed("MinHealthyPercentage")?, maintenance.parsed("MaxHealthyPercentage")?);
    let percent = |value: i64| u32::try_from(value).map_err(|_| invalid("A percentage is no less than 0."));
    let maintenance = match bounds {
        (None, None) => None,
        (Some(-1), Some(-1)) => Some(None),
        (Some(min), Some(max)) => {
            Some(Some(MaintenancePolicy { min_healthy: percent(min)?, max_healthy: percent(max)? }))
        }
        (Some(_), None) | (None, Some(_)) => {
            return Err(invalid("Both MinHealthyPercentage and MaxHealthyPercentage must be specified."));
        }
    };
    let warmup: Option<i64> = params.parsed("DefaultInstanceWarmup")?;
    let seconds =
        |value: i64| u32::try_from(value).map_err(|_| invalid("DefaultInstanceWarmup is -1 or more."));
    let default_warmup = match warmup {
        None => None,
        Some(-1) => Some(None),
        Some(value) => Some(Some(seconds(value)?)),
    };
    Ok(UpdateGroup {
        configuration: None,
        min_size: params.parsed("MinSize")?,
        max_size: params.parsed("MaxSize")?,
        desired: params.parsed("DesiredCapacity")?,
        subnets,
        health_check_type,
        health_check_grace: params.parsed("HealthCheckGracePeriod")?,
        default_warmup,
        default_cooldown: params.parsed("DefaultCooldown")?,
        termination_policies: (!policies.is_empty()).then_some(policies),
        protects_new_instances: params.parsed("NewInstancesProtectedFromScaleIn")?,
        maintenance,
        deletion_protection,
        retains_abandoned,
    })
}

fn invalid(message: &str) -> ApiError {
    ApiError::new("ValidationError", message)
}
