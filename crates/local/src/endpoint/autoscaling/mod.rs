//! Auto Scaling's query protocol, on the world's groups.

mod configuration;
mod describe;
mod groups;
mod hooks;
mod instances;
mod refresh;

use axum::response::Response;
use ovenbird_sim::ApiError;

use super::{
    Endpoint,
    query::{self, Query, texts, unknown},
    query_form::Form,
};

const NAMESPACE: &str = "http://autoscaling.amazonaws.com/doc/2011-01-01/";

/// Answers a request.
pub(super) fn answer(endpoint: &Endpoint, body: &[u8]) -> Response {
    query::answer(endpoint, body, ("autoscaling", NAMESPACE), dispatch)
}

/// The alarms that a request names, whether it is right otherwise or not. Only what changes something needs to know.
pub(super) fn named_alarms(body: &[u8]) -> Vec<String> {
    let form = Form::parse(body);
    texts(&form.root().part("Preferences").part("AlarmSpecification"), "Alarms")
}

fn dispatch(query: &Query<'_>, action: &str) -> Result<String, ApiError> {
    match action {
        "CreateAutoScalingGroup" => groups::create(query),
        "UpdateAutoScalingGroup" => groups::update(query),
        "DeleteAutoScalingGroup" => groups::delete(query),
        "SetDesiredCapacity" => groups::set_desired_capacity(query),
        "SuspendProcesses" => groups::suspend_processes(query),
        "ResumeProcesses" => groups::resume_processes(query),
        "AttachLoadBalancerTargetGroups" => groups::attach(query),
        "DetachLoadBalancerTargetGroups" => groups::detach(query),
        "CreateOrUpdateTags" => groups::create_or_update_tags(query),
        "DeleteTags" => groups::delete_tags(query),
        "DescribeAutoScalingGroups" => describe::groups(query),
        "DescribeLaunchConfigurations" => describe::launch_configurations(query),
        "DescribeAutoScalingInstances" => describe::instances(query),
        "DescribeLoadBalancerTargetGroups" => describe::target_groups(query),
        "DescribeScalingActivities" => describe::activities(query),
        "TerminateInstanceInAutoScalingGroup" => instances::terminate(query),
        "SetInstanceHealth" => instances::set_health(query),
        "SetInstanceProtection" => instances::set_protection(query),
        "EnterStandby" => instances::enter_standby(query),
        "ExitStandby" => instances::exit_standby(query),
        "PutLifecycleHook" => hooks::put(query),
        "DeleteLifecycleHook" => hooks::delete(query),
        "DescribeLifecycleHooks" => hooks::describe(query),
        "CompleteLifecycleAction" => hooks::complete(query),
        "RecordLifecycleActionHeartbeat" => hooks::heartbeat(query),
        "StartInstanceRefresh" => refresh::start(query),
        "CancelInstanceRefresh" => refresh::cancel(query),
        "RollbackInstanceRefresh" => refresh::rollback(query),
        "DescribeInstanceRefreshes" => refresh::describe(query),
        _ => Err(unknown(action)),
    }
}
