//! Elastic Load Balancing's query protocol, on the world's load balancers.

mod balancers;
mod listeners;
mod target_groups;

use axum::response::Response;
use ovenbird_sim::{ApiError, Tags};

use super::{
    Endpoint,
    query::{self, Query, tags, texts, unknown},
};

const NAMESPACE: &str = "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/";

/// Answers a request.
pub(super) fn answer(endpoint: &Endpoint, body: &[u8]) -> Response {
    query::answer(endpoint, body, ("elasticloadbalancing", NAMESPACE), dispatch)
}

fn dispatch(query: &Query<'_>, action: &str) -> Result<String, ApiError> {
    match action {
        "CreateLoadBalancer" => balancers::create(query),
        "DescribeLoadBalancers" => balancers::describe(query),
        "DeleteLoadBalancer" => balancers::delete(query),
        "CreateListener" => listeners::create(query),
        "ModifyListener" => listeners::modify(query),
        "DescribeListeners" => listeners::describe(query),
        "DeleteListener" => listeners::delete(query),
        "CreateRule" => listeners::create_rule(query),
        "ModifyRule" => listeners::modify_rule(query),
        "DescribeRules" => listeners::describe_rules(query),
        "DeleteRule" => listeners::delete_rule(query),
        "CreateTargetGroup" => target_groups::create(query),
        "ModifyTargetGroup" => target_groups::modify(query),
        "DescribeTargetGroups" => target_groups::describe(query),
        "DeleteTargetGroup" => target_groups::delete(query),
        "ModifyTargetGroupAttributes" => target_groups::modify_attributes(query),
        "DescribeTargetGroupAttributes" => target_groups::describe_attributes(query),
        "RegisterTargets" => target_groups::register(query),
        "DeregisterTargets" => target_groups::deregister(query),
        "DescribeTargetHealth" => target_groups::health(query),
        "AddTags" => add_tags(query),
        "RemoveTags" => remove_tags(query),
        "DescribeTags" => describe_tags(query),
        _ => Err(unknown(action)),
    }
}

fn add_tags(query: &Query<'_>) -> Result<String, ApiError> {
    let (arns, tags): (_, Tags) = (texts(&query.params, "ResourceArns"), tags(&query.params, "Tags")?);
    query.finish()?;
    query.world(|world, _| world.add_elb_tags(&arns, &tags))?;
    query.done()
}

fn remove_tags(query: &Query<'_>) -> Result<String, ApiError> {
    let (arns, keys) = (texts(&query.params, "ResourceArns"), texts(&query.params, "TagKeys"));
    query.finish()?;
    query.world(|world, _| world.remove_elb_tags(&arns, &keys))?;
    query.done()
}

fn describe_tags(query: &Query<'_>) -> Result<String, ApiError> {
    let arns = texts(&query.params, "ResourceArns");
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
