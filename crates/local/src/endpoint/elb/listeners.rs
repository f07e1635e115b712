//! Listeners and their rules.

use ovenbird_sim::{
    ApiError, Paging,
    load_balancing::{
        Action, Condition, CreateListener, CreateRule, Forward, Listener, ModifyListener, Rule, Weighted,
    },
};

use super::only;
use crate::endpoint::{
    query::{Query, parts, tags, texts},
    query_form::Params,
    xml_writer::Xml,
};

pub(super) fn create(query: &Query<'_>) -> Result<String, ApiError> {
    only(query, "Protocol", "HTTP")?;
    let action = action(&query.params, "DefaultActions")?;
    let request = CreateListener {
        balancer: query.name("LoadBalancerArn")?,
        port: query.params.parsed("Port")?.ok_or_else(|| invalid("A port must be specified"))?,
        default_action: action.ok_or_else(|| invalid("A default action must be specified"))?,
        tags: tags(&query.params, "Tags")?,
    };
    query.finish()?;
    query.open_port(&request.balancer, request.port)?;
    let made = query.world(|world, _| world.create_listener(&request))?;
    query.answer(|xml| xml.members("Listeners", [&made], listener))
}

pub(super) fn modify(query: &Query<'_>) -> Result<String, ApiError> {
    only(query, "Protocol", "HTTP")?;
    let arn = query.name("ListenerArn")?;
    let change = ModifyListener {
        port: query.params.parsed("Port")?,
        default_action: action(&query.params, "DefaultActions")?,
    };
    query.finish()?;
    if let Some(port) = change.port {
        let paging = Paging::default();
        let listener =
            query.look(|world| world.describe_listeners(None, std::slice::from_ref(&arn), &paging))?;
        for listener in &listener.items {
            query.open_port(&listener.balancer, port)?;
        }
    }
    let made = query.world(|world, _| world.modify_listener(&arn, &change))?;
    query.answer(|xml| xml.members("Listeners", [&made], listener))
}

pub(super) fn describe(query: &Query<'_>) -> Result<String, ApiError> {
    let balancer = query.params.text("LoadBalancerArn");
    let arns = texts(&query.params, "ListenerArns");
    let paging = query.paging("PageSize", "Marker")?;
    query.finish()?;
    let page = query.look(|world| world.describe_listeners(balancer, &arns, &paging))?;
    query.answer(|xml| {
        xml.members("Listeners", &page.items, listener);
        xml.optional("NextMarker", page.next_token.as_ref());
    })
}

pub(super) fn delete(query: &Query<'_>) -> Result<String, ApiError> {
    let arn = query.name("ListenerArn")?;
    query.finish()?;
    query.world(|world, _| world.delete_listener(&arn))?;
    query.done()
}

pub(super) fn create_rule(query: &Query<'_>) -> Result<String, ApiError> {
    let action = action(&query.params, "Actions")?;
    let request = CreateRule {
        listener: query.name("ListenerArn")?,
        priority: query.params.parsed("Priority")?.ok_or_else(|| invalid("A priority must be specified"))?,
        conditions: conditions(&query.params)?,
        action: action.ok_or_else(|| invalid("An action must be specified"))?,
        tags: tags(&query.params, "Tags")?,
    };
    query.finish()?;
    let made = query.world(|world, _| world.create_rule(&request))?;
    query.answer(|xml| xml.members("Rules", [&made], rule))
}

pub(super) fn modify_rule(query: &Query<'_>) -> Result<String, ApiError> {
    let arn = query.name("RuleArn")?;
    let conditions = conditions(&query.params)?;
    let conditions = (!conditions.is_empty()).then_some(conditions);
    let action = action(&query.params, "Actions")?;
    query.finish()?;
    let made = query.world(|world, _| world.modify_rule(&arn, conditions.as_deref(), action.as_ref()))?;
    query.answer(|xml| xml.members("Rules", [&made], rule))
}

pub(super) fn describe_rules(query: &Query<'_>) -> Result<String, ApiError> {
    let listener = query.params.text("ListenerArn");
    let arns = texts(&query.params, "RuleArns");
    query.finish()?;
    let found = query.look(|world| world.describe_rules(listener, &arns))?;
    query.answer(|xml| xml.members("Rules", &found, rule))
}

pub(super) fn delete_rule(query: &Query<'_>) -> Result<String, ApiError> {
    let arn = query.name("RuleArn")?;
    query.finish()?;
    query.world(|world, _| world.delete_rule(&arn))?;
    query.done()
}

/// The one action of a listener or rule; none if there is none.
fn action(params: &Params<'_>, name: &str) -> Result<Option<Action>, ApiError> {
    let mut all = Vec::new();
    for part in parts(params, name) {
        // There is one action: its place doesn't matter.
        let _ = part.text("Order");
        all.push(one(&part)?);
    }
    match all.len() {
        0 | 1 => Ok(all.pop()),
        _ => Err(ApiError::new("InvalidLoadBalancerAction", "The local cloud takes one action a rule")),
    }
}

fn one(part: &Params<'_>) -> Result<Action, ApiError> {
    match part.required("Type")? {
        "forward" => {
            let config = part.part("ForwardConfig");
            let mut groups = Vec::new();
            for group in parts(&config, "TargetGroups") {
                let weight = group.parsed("Weight")?.unwrap_or(1);
                groups.push(Weighted { group: group.required("TargetGroupArn")?.to_owned(), weight });
            }
            let sticky = config.part("TargetGroupStickinessConfig");
            let seconds = sticky.parsed("DurationSeconds")?;
            let stickiness = if sticky.flag("Enabled")? { Some(seconds.unwrap_or(3600)) } else { None };
            match part.text("TargetGroupArn") {
                // Either form names the one group; both together must agree.
                Some(group) if groups.is_empty() || groups.iter().all(|one| one.group == group) => {
                    let plain = Forward { stickiness, ..Forward::to(group) };
                    Ok(Action::Forward(if groups.is_empty() {
                        plain
                    } else {
                        Forward { groups, stickiness }
                    }))
                }
                Some(_) => Err(invalid("TargetGroupArn and ForwardConfig name different target groups")),
                None => Ok(Action::Forward(Forward { groups, stickiness })),
            }
        }
        "fixed-response" => {
            let config = part.part("FixedResponseConfig");
            let status = config.parsed("StatusCode")?;
            Ok(Action::FixedResponse {
                status: status.ok_or_else(|| invalid("A fixed response needs a StatusCode"))?,
                content_type: config.text("ContentType").map(str::to_owned),
                body: config.text("MessageBody").map(str::to_owned),
            })
        }
        other => {
            let message = format!("The local cloud has no action of the type {other}");
            Err(ApiError::new("InvalidLoadBalancerAction", message))
        }
    }
}

fn conditions(params: &Params<'_>) -> Result<Vec<Condition>, ApiError> {
    let mut all = Vec::new();
    for part in parts(params, "Conditions") {
        let values = |config: &str| {
            let mut values = texts(&part, "Values");
            values.extend(texts(&part.part(config), "Values"));
            values
        };
        all.push(match part.required("Field")? {
            "path-pattern" => Condition::PathPattern(values("PathPatternConfig")),
            "host-header" => Condition::HostHeader(values("HostHeaderConfig")),
            "http-header" => {
                let name = part.part("HttpHeaderConfig").required("HttpHeaderName")?.to_owned();
                Condition::HttpHeader { name, values: values("HttpHeaderConfig") }
            }
            other => return Err(invalid(&format!("The local cloud has no condition on {other}"))),
        });
    }
    Ok(all)
}

fn listener(xml: &mut Xml, listener: &Listener) {
    xml.text("ListenerArn", &listener.arn);
    xml.text("LoadBalancerArn", &listener.balancer);
    xml.text("Port", listener.port);
    xml.text("Protocol", "HTTP");
    xml.members("DefaultActions", listener.default_action(), written);
}

fn rule(xml: &mut Xml, rule: &Rule) {
    xml.text("RuleArn", &rule.arn);
    xml.text("Priority", rule.priority.map_or_else(|| "default".to_owned(), |priority| priority.to_string()));
    xml.members("Conditions", &rule.conditions, |xml, condition| {
        let (field, config, name, values) = match condition {
            Condition::PathPattern(values) => ("path-pattern", "PathPatternConfig", None, values),
            Condition::HostHeader(values) => ("host-header", "HostHeaderConfig", None, values),
            Condition::HttpHeader { name, values } => ("http-header", "HttpHeaderConfig", Some(name), values),
        };
        xml.text("Field", field);
        if name.is_none() {
            xml.member_texts("Values", values);
        }
        xml.part(config, |xml| {
            xml.optional("HttpHeaderName", name);
            xml.member_texts("Values", values);
        });
    });
    xml.members("Actions", [&rule.action], written);
    xml.text("IsDefault", rule.priority.is_none());
}

fn written(xml: &mut Xml, action: &Action) {
    match action {
        Action::Forward(forward) => {
            xml.text("Type", "forward");
            if let [only] = forward.groups.as_slice() {
                xml.text("TargetGroupArn", &only.group);
            }
            xml.part("ForwardConfig", |xml| {
                xml.members("TargetGroups", &forward.groups, |xml, one| {
                    xml.text("TargetGroupArn", &one.group);
                    xml.text("Weight", one.weight);
                });
                xml.part("TargetGroupStickinessConfig", |xml| {
                    xml.text("Enabled", forward.stickiness.is_some());
                    xml.optional("DurationSeconds", forward.stickiness);
                });
            });
        }
        Action::FixedResponse { status, content_type, body } => {
            xml.text("Type", "fixed-response");
            xml.part("FixedResponseConfig", |xml| {
                xml.text("StatusCode", status);
                xml.optional("ContentType", content_type.as_ref());
                xml.optional("MessageBody", body.as_ref());
            });
        }
    }
}

fn invalid(message: &str) -> ApiError {
    ApiError::new("ValidationError", message)
}
