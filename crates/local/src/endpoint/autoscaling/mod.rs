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

/// How an operation is answered.
type Answer = fn(&Query<'_>) -> Result<String, ApiError>;

/// Every operation.
const OPERATIONS: &[(&str, Answer)] = &[
    ("AttachLoadBalancerTargetGroups", groups::attach),
    ("CancelInstanceRefresh", refresh::cancel),
    ("CompleteLifecycleAction", hooks::complete),
    ("CreateAutoScalingGroup", groups::create),
    ("CreateOrUpdateTags", groups::create_or_update_tags),
    ("DeleteAutoScalingGroup", groups::delete),
    ("DeleteLifecycleHook", hooks::delete),
    ("DeleteTags", groups::delete_tags),
    ("DescribeAutoScalingGroups", describe::groups),
    ("DescribeAutoScalingInstances", describe::instances),
    ("DescribeInstanceRefreshes", refresh::describe),
    ("DescribeLaunchConfigurations", describe::launch_configurations),
    ("DescribeLifecycleHooks", hooks::describe),
    ("DescribeLoadBalancerTargetGroups", describe::target_groups),
    ("DescribeScalingActivities", describe::activities),
    ("DetachLoadBalancerTargetGroups", groups::detach),
    ("EnterStandby", instances::enter_standby),
    ("ExitStandby", instances::exit_standby),
    ("PutLifecycleHook", hooks::put),
    ("RecordLifecycleActionHeartbeat", hooks::heartbeat),
    ("ResumeProcesses", groups::resume_processes),
    ("RollbackInstanceRefresh", refresh::rollback),
    ("SetDesiredCapacity", groups::set_desired_capacity),
    ("SetInstanceHealth", instances::set_health),
    ("SetInstanceProtection", instances::set_protection),
    ("StartInstanceRefresh", refresh::start),
    ("SuspendProcesses", groups::suspend_processes),
    ("TerminateInstanceInAutoScalingGroup", instances::terminate),
    ("UpdateAutoScalingGroup", groups::update),
];

/// The names of all operations, in order.
pub(super) fn operations() -> Vec<&'static str> {
    OPERATIONS.iter().map(|(name, _)| *name).collect()
}

fn dispatch(query: &Query<'_>, action: &str) -> Result<String, ApiError> {
    match OPERATIONS.iter().find(|(name, _)| *name == action) {
        Some((_, answer)) => answer(query),
        None => Err(unknown(action)),
    }
}
