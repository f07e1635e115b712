//! Target groups, their targets and the health of these.

use std::collections::BTreeMap;

use ovenbird_sim::{
    ApiError,
    load_balancing::{CreateTargetGroup, HealthCheckChange, TargetGroup, TargetId},
};

use super::only;
use crate::endpoint::{
    query::{Query, needed, parts, tags, texts},
    xml_writer::Xml,
};

pub(super) fn create(query: &Query<'_>) -> Result<String, ApiError> {
    for (parameter, value) in [
        ("Protocol", "HTTP"),
        ("ProtocolVersion", "HTTP1"),
        ("TargetType", "instance"),
        ("IpAddressType", "ipv4"),
    ] {
        only(query, parameter, value)?;
    }
    let request = CreateTargetGroup {
        name: query.name("Name")?,
        port: query.params.parsed("Port")?.unwrap_or(0),
        vpc: query.name("VpcId")?,
        health_check: health_check(query)?,
        tags: tags(&query.params, "Tags")?,
    };
    query.finish()?;
    let made = query.world(|world, _| world.create_target_group(&request))?;
    query.answer(|xml| xml.members("TargetGroups", [&made], |xml, one| group(xml, one, &[])))
}

pub(super) fn modify(query: &Query<'_>) -> Result<String, ApiError> {
    let (arn, change) = (query.name("TargetGroupArn")?, health_check(query)?);
    query.finish()?;
    let made = query.world(|world, _| world.modify_target_group(&arn, &change))?;
    let balancers = query.look(|world| world.balancers_of_target_group(&made.arn));
    query.answer(|xml| xml.members("TargetGroups", [&made], |xml, one| group(xml, one, &balancers)))
}

pub(super) fn describe(query: &Query<'_>) -> Result<String, ApiError> {
    let balancer = query.params.text("LoadBalancerArn");
    let (arns, names) = (texts(&query.params, "TargetGroupArns"), texts(&query.params, "Names"));
    let paging = query.paging("PageSize", "Marker")?;
    query.finish()?;
    let page = query.look(|world| world.describe_target_groups(balancer, &arns, &names, &paging))?;
    query.answer(|xml| {
        xml.members("TargetGroups", &page.items, |xml, one| {
            group(xml, one, &query.look(|world| world.balancers_of_target_group(&one.arn)));
        });
        xml.optional("NextMarker", page.next_token.as_ref());
    })
}

pub(super) fn delete(query: &Query<'_>) -> Result<String, ApiError> {
    let arn = query.name("TargetGroupArn")?;
    query.finish()?;
    query.world(|world, _| world.delete_target_group(&arn))?;
    query.done()
}

pub(super) fn modify_attributes(query: &Query<'_>) -> Result<String, ApiError> {
    let arn = query.name("TargetGroupArn")?;
    let mut change = BTreeMap::new();
    for part in needed("attributes", parts(&query.params, "Attributes"))? {
        change.insert(part.required("Key")?.to_owned(), part.text("Value").unwrap_or_default().to_owned());
    }
    query.finish()?;
    let made = query.world(|world, _| world.modify_target_group_attributes(&arn, &change))?;
    query.answer(|xml| attributes(xml, &made))
}

pub(super) fn describe_attributes(query: &Query<'_>) -> Result<String, ApiError> {
    let arn = query.name("TargetGroupArn")?;
    query.finish()?;
    let found = query.look(|world| world.describe_target_group_attributes(&arn))?;
    query.answer(|xml| attributes(xml, &found))
}

pub(super) fn register(query: &Query<'_>) -> Result<String, ApiError> {
    let (arn, targets) = (query.name("TargetGroupArn")?, needed("targets", targets(query)?)?);
    query.finish()?;
    query.world(|world, now| world.register_targets(now, &arn, &targets))?;
    query.done()
}

pub(super) fn deregister(query: &Query<'_>) -> Result<String, ApiError> {
    let (arn, targets) = (query.name("TargetGroupArn")?, needed("targets", targets(query)?)?);
    query.finish()?;
    query.world(|world, now| world.deregister_targets(now, &arn, &targets))?;
    query.done()
}

pub(super) fn health(query: &Query<'_>) -> Result<String, ApiError> {
    let (arn, targets) = (query.name("TargetGroupArn")?, targets(query)?);
    let included = texts(&query.params, "Include");
    query.finish()?;
    let found = query.look(|world| {
        let check =
            world.describe_target_groups(None, std::slice::from_ref(&arn), &[], &Default::default())?;
        Ok::<_, ApiError>((check, world.describe_target_health(&arn, &targets)?))
    });
    let (groups, described) = found?;
    let check_port = groups.items.first().and_then(|group| group.health_check.port);
    let with_anomaly = included.iter().any(|one| one == "AnomalyDetection" || one == "All");
    query.answer(|xml| {
        xml.members("TargetHealthDescriptions", &described, |xml, one| {
            xml.part("Target", |xml| {
                xml.text("Id", &one.instance);
                xml.text("Port", one.port);
            });
            xml.text("HealthCheckPort", check_port.unwrap_or(one.port));
            xml.part("TargetHealth", |xml| {
                xml.text("State", one.health.state.as_str());
                xml.optional("Reason", one.health.reason);
                xml.optional("Description", one.health.description.as_ref());
            });
            if with_anomaly {
                xml.part("AnomalyDetection", |xml| {
                    let anomaly = one.anomaly;
                    xml.text("Result", if anomaly.anomalous { "anomalous" } else { "normal" });
                    xml.text("MitigationInEffect", if anomaly.mitigation_in_effect { "yes" } else { "no" });
                });
            }
        });
    })
}

fn targets(query: &Query<'_>) -> Result<Vec<TargetId>, ApiError> {
    let target = |part: &crate::endpoint::query_form::Params<'_>| {
        Ok(TargetId { instance: part.required("Id")?.to_owned(), port: part.parsed("Port")? })
    };
    parts(&query.params, "Targets").iter().map(target).collect()
}

fn health_check(query: &Query<'_>) -> Result<HealthCheckChange, ApiError> {
    only(query, "HealthCheckProtocol", "HTTP")?;
    only(query, "HealthCheckEnabled", "true")?;
    let params = &query.params;
    let text = |name: &str| params.text(name).map(str::to_owned);
    Ok(HealthCheckChange {
        path: text("HealthCheckPath"),
        port: text("HealthCheckPort"),
        interval: params.parsed("HealthCheckIntervalSeconds")?,
        timeout: params.parsed("HealthCheckTimeoutSeconds")?,
        healthy_threshold: params.parsed("HealthyThresholdCount")?,
        unhealthy_threshold: params.parsed("UnhealthyThresholdCount")?,
        matcher: params.part("Matcher").text("HttpCode").map(str::to_owned),
    })
}

fn attributes(xml: &mut Xml, attributes: &BTreeMap<String, String>) {
    xml.members("Attributes", attributes, |xml, (key, value)| {
        xml.text("Key", key);
        xml.text("Value", value);
    });
}

fn group(xml: &mut Xml, group: &TargetGroup, balancers: &[String]) {
    let check = &group.health_check;
    xml.text("TargetGroupArn", &group.arn);
    xml.text("TargetGroupName", &group.name);
    xml.text("Protocol", "HTTP");
    xml.text("Port", group.port);
    xml.text("VpcId", &group.vpc);
    xml.text("HealthCheckProtocol", "HTTP");
    xml.text("HealthCheckPort", check.port.map_or_else(|| "traffic-port".into(), |port| port.to_string()));
    xml.text("HealthCheckEnabled", true);
    xml.text("HealthCheckIntervalSeconds", check.interval);
    xml.text("HealthCheckTimeoutSeconds", check.timeout);
    xml.text("HealthyThresholdCount", check.healthy_threshold);
    xml.text("UnhealthyThresholdCount", check.unhealthy_threshold);
    xml.text("HealthCheckPath", &check.path);
    xml.part("Matcher", |xml| xml.text("HttpCode", &check.matcher));
    xml.member_texts("LoadBalancerArns", balancers);
    xml.text("TargetType", "instance");
    xml.text("ProtocolVersion", "HTTP1");
    xml.text("IpAddressType", "ipv4");
}
