//! Elastic Load Balancing's query protocol, on the world's load balancers.

mod balancers;
mod listeners;
mod target_groups;

use axum::response::Response;
use ovenbird_sim::{ApiError, Tags};

use super::{
    Endpoint,
    query::{self, Query, needed, parts, tags, texts, unknown},
};

const NAMESPACE: &str = "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/";

/// Answers a request.
pub(super) fn answer(endpoint: &Endpoint, body: &[u8]) -> Response {
    query::answer(endpoint, body, ("elasticloadbalancing", NAMESPACE), dispatch)
}

/// How an operation is answered.
type Answer = fn(&Query<'_>) -> Result<String, ApiError>;

/// Every operation.
const OPERATIONS: &[(&str, Answer)] = &[
    ("AddTags", add_tags),
    ("CreateListener", listeners::create),
    ("CreateLoadBalancer", balancers::create),
    ("CreateRule", listeners::create_rule),
    ("CreateTargetGroup", target_groups::create),
    ("DeleteListener", listeners::delete),
    ("DeleteLoadBalancer", balancers::delete),
    ("DeleteRule", listeners::delete_rule),
    ("DeleteTargetGroup", target_groups::delete),
    ("DeregisterTargets", target_groups::deregister),
    ("DescribeListeners", listeners::describe),
    ("DescribeLoadBalancers", balancers::describe),
    ("DescribeRules", listeners::describe_rules),
    ("DescribeTags", describe_tags),
    ("DescribeTargetGroupAttributes", target_groups::describe_attributes),
    ("DescribeTargetGroups", target_groups::describe),
    ("DescribeTargetHealth", target_groups::health),
    ("ModifyListener", listeners::modify),
    ("ModifyRule", listeners::modify_rule),
    ("ModifyTargetGroup", target_groups::modify),
    ("ModifyTargetGroupAttributes", target_groups::modify_attributes),
    ("RegisterTargets", target_groups::register),
    ("RemoveTags", remove_tags),
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

fn add_tags(query: &Query<'_>) -> Result<String, ApiError> {
    let arns = needed("resourceArns", texts(&query.params, "ResourceArns"))?;
    needed("tags", parts(&query.params, "Tags"))?;
    let tags: Tags = tags(&query.params, "Tags")?;
    query.finish()?;
    query.world(|world, _| world.add_elb_tags(&arns, &tags))?;
    query.done()
}

fn remove_tags(query: &Query<'_>) -> Result<String, ApiError> {
    let arns = needed("resourceArns", texts(&query.params, "ResourceArns"))?;
    let keys = needed("tagKeys", texts(&query.params, "TagKeys"))?;
    query.finish()?;
    query.world(|world, _| world.remove_elb_tags(&arns, &keys))?;
    query.done()
}

fn describe_tags(query: &Query<'_>) -> Result<String, ApiError> {
    let arns = needed("resourceArns", texts(&query.params, "ResourceArns"))?;
    query.finish()?;
    let found = query.look(|world| world.describe_elb_tags(&arns))?;
    query.answer(|xml| {
        xml.members("TagDescriptions", &found, |xml, (arn, tags)| {
            xml.text("ResourceArn", arn);
            xml.members("Tags", tags, |xml, (key, value)| {
                xml.text("Key", key);
                xml.text("Value", value);
            });
        });
    })
}

/// A parameter that only one value of makes sense here, if it is given.
fn only(query: &Query<'_>, parameter: &str, value: &str) -> Result<(), ApiError> {
    match query.params.text(parameter) {
        Some(other) if other != value => {
            let message = format!("The local cloud takes {value} alone for {parameter}, not {other}");
            Err(ApiError::new("InvalidConfigurationRequest", message))
        }
        Some(_) | None => Ok(()),
    }
}
