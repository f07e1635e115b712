//! Lifecycle hooks.

use ovenbird_sim::{
    ApiError,
    auto_scaling::{ActionResult, Hook, Transition},
};

use crate::endpoint::{
    query::{Query, texts},
    query_form::Params,
};

pub(super) fn put(query: &Query<'_>) -> Result<String, ApiError> {
    let (group, hook) = (query.name("AutoScalingGroupName")?, read(&query.params)?);
    query.finish()?;
    query.world(|world, _| world.put_lifecycle_hook(&group, hook))?;
    query.done()
}

pub(super) fn delete(query: &Query<'_>) -> Result<String, ApiError> {
    let (group, name) = (query.name("AutoScalingGroupName")?, query.name("LifecycleHookName")?);
    query.finish()?;
    query.world(|world, _| world.delete_lifecycle_hook(&group, &name))?;
    query.done()
}

pub(super) fn describe(query: &Query<'_>) -> Result<String, ApiError> {
    let group = query.name("AutoScalingGroupName")?;
    let names = texts(&query.params, "LifecycleHookNames");
    query.finish()?;
    let hooks = query.look(|world| world.auto_scaling_group(&group).map(|group| group.hooks.clone()))?;
    let chosen = hooks.values().filter(|hook| names.is_empty() || names.contains(&hook.name));
    query.answer(|xml| {
        xml.members("LifecycleHooks", chosen, |xml, hook| {
            xml.text("LifecycleHookName", &hook.name);
            xml.text("AutoScalingGroupName", &group);
            xml.text("LifecycleTransition", hook.transition.as_str());
            xml.text("HeartbeatTimeout", hook.heartbeat_timeout);
            xml.text("DefaultResult", hook.default_result.as_str());
            xml.optional("NotificationMetadata", hook.metadata.as_ref());
        });
    })
}

pub(super) fn complete(query: &Query<'_>) -> Result<String, ApiError> {
    let (group, hook) = (query.name("AutoScalingGroupName")?, query.name("LifecycleHookName")?);
    let result = result(&query.name("LifecycleActionResult")?)?;
    let (token, instance) = (query.params.text("LifecycleActionToken"), query.params.text("InstanceId"));
    query.finish()?;
    query.world(|world, _| world.complete_lifecycle_action(&group, &hook, token, instance, result))?;
    query.done()
}

pub(super) fn heartbeat(query: &Query<'_>) -> Result<String, ApiError> {
    let (group, hook) = (query.name("AutoScalingGroupName")?, query.name("LifecycleHookName")?);
    let (token, instance) = (query.params.text("LifecycleActionToken"), query.params.text("InstanceId"));
    query.finish()?;
    query.world(|world, now| world.record_lifecycle_action_heartbeat(now, &group, &hook, token, instance))?;
    query.done()
}

/// A hook, as it is put and as a new group has it. Nobody is notified here: whoever waits asks.
pub(super) fn read(params: &Params<'_>) -> Result<Hook, ApiError> {
    let transition = match params.required("LifecycleTransition")? {
        "autoscaling:EC2_INSTANCE_LAUNCHING" => Transition::Launching,
        "autoscaling:EC2_INSTANCE_TERMINATING" => Transition::Terminating,
        other => {
            let message = format!("Invalid LifecycleTransition: {other}");
            return Err(ApiError::new("ValidationError", message));
        }
    };
    let default = Hook::new(params.required("LifecycleHookName")?, transition);
    Ok(Hook {
        heartbeat_timeout: params.parsed("HeartbeatTimeout")?.unwrap_or(default.heartbeat_timeout),
        default_result: params.text("DefaultResult").map_or(Ok(default.default_result), result)?,
        metadata: params.text("NotificationMetadata").map(str::to_owned),
        ..default
    })
}

fn result(word: &str) -> Result<ActionResult, ApiError> {
    match word {
        "CONTINUE" => Ok(ActionResult::Continue),
        "ABANDON" => Ok(ActionResult::Abandon),
        other => Err(ApiError::new("ValidationError", format!("Invalid LifecycleActionResult: {other}"))),
    }
}
