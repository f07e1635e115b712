//! Single instances of groups.

use ovenbird_sim::{ApiError, auto_scaling::Activity};

use super::describe::activity;
use crate::endpoint::query::{Query, texts};

pub(super) fn terminate(query: &Query<'_>) -> Result<String, ApiError> {
    let id = query.name("InstanceId")?;
    let decrement = query.params.flag("ShouldDecrementDesiredCapacity")?;
    query.finish()?;
    let made =
        query.world(|world, now| world.terminate_instance_in_auto_scaling_group(now, &id, decrement))?;
    query.answer(|xml| xml.part("Activity", |xml| activity(xml, &made)))
}

pub(super) fn set_health(query: &Query<'_>) -> Result<String, ApiError> {
    let id = query.name("InstanceId")?;
    let healthy = match query.name("HealthStatus")?.as_str() {
        "Healthy" => true,
        "Unhealthy" => false,
        other => return Err(ApiError::new("ValidationError", format!("Invalid HealthStatus: {other}"))),
    };
    let respect = query.params.parsed("ShouldRespectGracePeriod")?.unwrap_or(true);
    query.finish()?;
    query.world(|world, now| world.set_instance_health(now, &id, healthy, respect))?;
    query.done()
}

pub(super) fn set_protection(query: &Query<'_>) -> Result<String, ApiError> {
    let (group, ids) = (query.name("AutoScalingGroupName")?, texts(&query.params, "InstanceIds"));
    let protected = query.params.flag("ProtectedFromScaleIn")?;
    query.finish()?;
    query.world(|world, _| world.set_instance_protection(&group, &ids, protected))?;
    query.done()
}

pub(super) fn enter_standby(query: &Query<'_>) -> Result<String, ApiError> {
    let (group, ids) = (query.name("AutoScalingGroupName")?, texts(&query.params, "InstanceIds"));
    let decrement = query.params.flag("ShouldDecrementDesiredCapacity")?;
    query.finish()?;
    query.world(|world, now| world.enter_standby(now, &group, &ids, decrement))?;
    newest(query, &group, ids.len())
}

pub(super) fn exit_standby(query: &Query<'_>) -> Result<String, ApiError> {
    let (group, ids) = (query.name("AutoScalingGroupName")?, texts(&query.params, "InstanceIds"));
    query.finish()?;
    query.world(|world, now| world.exit_standby(now, &group, &ids))?;
    newest(query, &group, ids.len())
}

/// The activities that began last.
fn newest(query: &Query<'_>, group: &str, count: usize) -> Result<String, ApiError> {
    let all = query.look(|world| world.auto_scaling_group(group).map(|group| group.activities.clone()))?;
    let begun: Vec<Activity> = all.into_iter().rev().take(count).collect();
    query.answer(|xml| xml.members("Activities", &begun, activity))
}
