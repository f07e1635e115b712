//! Security groups and their rules.
//!
//! Those that the stack's template made belong to `MiniStack`, where it changes and deletes them, too: a call that
//! names one is passed on.

use ovenbird_sim::{
    ApiError, Filter, Tags, World,
    security_groups::{CreateSecurityGroup, Direction, Rule, RuleSource, SecurityGroup},
};

use super::{
    Call,
    shared::{filters, next_token, paging, tag_specifications},
};
use crate::endpoint::{
    Endpoint,
    query_form::{Form, Params},
    xml_writer::Xml,
};

/// The calls that change a group.
const CHANGES: &[&str] = &[
    "AuthorizeSecurityGroupEgress",
    "AuthorizeSecurityGroupIngress",
    "DeleteSecurityGroup",
    "RevokeSecurityGroupEgress",
    "RevokeSecurityGroupIngress",
];

/// Whether a call changes a group that is `MiniStack`'s.
pub(super) async fn is_elsewhere(endpoint: &Endpoint, body: &[u8]) -> bool {
    let form = Form::ec2(body);
    let params = form.root();
    if !params.text("Action").is_some_and(|action| CHANGES.contains(&action)) {
        return false;
    }
    // If it can't be asked, the call that follows says so.
    let _ = endpoint.sync_security_groups().await;
    let named = (params.text("GroupId"), params.text("GroupName"));
    endpoint.state.read(|world| {
        let id = world.security_group_id(named.0, named.1).ok();
        id.is_some_and(|id| world.security_group(&id).is_some_and(|group| group.elsewhere))
    })
}

pub(super) async fn create_security_group(call: &Call<'_>) -> Result<String, ApiError> {
    let params = &call.params;
    let request = CreateSecurityGroup {
        name: params.required("GroupName")?.to_owned(),
        description: params.required("GroupDescription")?.to_owned(),
        vpc: params.text("VpcId").map(str::to_owned),
        tags: tag_specifications(params)?,
        dry_run: params.flag("DryRun")?,
    };
    call.finish()?;
    call.endpoint.sync_security_groups().await?;
    let group = call.world(|world, _| world.create_security_group(&request))?;
    let arn = call.look(|world| arn(world, "security-group", &group.id));
    call.answer("CreateSecurityGroup", |xml| {
        xml.text("return", true);
        xml.text("groupId", &group.id);
        xml.text("securityGroupArn", arn);
        xml.tags(&group.tags);
    })
}

pub(super) fn delete_security_group(call: &Call<'_>) -> Result<String, ApiError> {
    let (named, dry_run) = (named(call), call.params.flag("DryRun")?);
    call.finish()?;
    let id = call.look(|world| world.security_group_id(named.0, named.1))?;
    call.world(|world, _| world.delete_security_group(&id, dry_run))?;
    call.answer("DeleteSecurityGroup", |xml| {
        xml.text("return", true);
        xml.text("groupId", &id);
    })
}

pub(super) fn authorize(call: &Call<'_>, direction: Direction) -> Result<String, ApiError> {
    let (named, dry_run) = (named(call), call.params.flag("DryRun")?);
    let mut tags = tag_specifications(&call.params)?;
    let own = tags.remove("security-group-rule").unwrap_or_default();
    if let Some(kind) = tags.keys().next() {
        let problem = "Not a resource of this call.";
        return Err(ApiError::value(kind, "TagSpecification.ResourceType", problem));
    }
    let rules = rules(call, direction, &own)?;
    call.finish()?;
    let id = call.look(|world| world.security_group_id(named.0, named.1))?;
    let made = call.world(|world, _| world.authorize(&id, &rules, dry_run))?;
    call.answer(name("Authorize", direction), |xml| {
        xml.text("return", true);
        call.look(|world| xml.list("securityGroupRuleSet", &made, |xml, one| rule(xml, &id, one, world)));
    })
}

pub(super) fn revoke(call: &Call<'_>, direction: Direction) -> Result<String, ApiError> {
    let (named, dry_run) = (named(call), call.params.flag("DryRun")?);
    let (rules, ids) = (rules(call, direction, &Tags::new())?, call.params.texts("SecurityGroupRuleId"));
    call.finish()?;
    let id = call.look(|world| world.security_group_id(named.0, named.1))?;
    call.world(|world, _| world.revoke(&id, direction, &rules, &ids, dry_run))?;
    call.done(name("Revoke", direction))
}

fn name(verb: &str, direction: Direction) -> &'static str {
    match (verb, direction) {
        ("Authorize", Direction::In) => "AuthorizeSecurityGroupIngress",
        ("Authorize", Direction::Out) => "AuthorizeSecurityGroupEgress",
        (_, Direction::In) => "RevokeSecurityGroupIngress",
        (_, Direction::Out) => "RevokeSecurityGroupEgress",
    }
}

/// The group that a call is for: its id, or its name.
fn named<'a>(call: &Call<'a>) -> (Option<&'a str>, Option<&'a str>) {
    (call.params.text("GroupId"), call.params.text("GroupName"))
}

/// The rules that a call names: by `IpPermissions`, or one in the old form.
fn rules(call: &Call<'_>, direction: Direction, tags: &Tags) -> Result<Vec<Rule>, ApiError> {
    let params = &call.params;
    let mut found = Vec::new();
    for permission in params.list("IpPermissions") {
        let plain = plain(&permission, direction, tags)?;
        let mut sources = Vec::new();
        let mut of = |list: &str, name: &str, source: fn(String) -> RuleSource| {
            for one in permission.list(list) {
                let text = one.required(name)?.to_owned();
                sources.push((source(text), one.text("Description").map(str::to_owned)));
            }
            Ok::<(), ApiError>(())
        };
        of("IpRanges", "CidrIp", RuleSource::Ipv4)?;
        of("Ipv6Ranges", "CidrIpv6", RuleSource::Ipv6)?;
        of("PrefixListIds", "PrefixListId", RuleSource::PrefixList)?;
        for one in permission.list("Groups") {
            own_account(call, one.text("UserId"))?;
            let named = (one.text("GroupId"), one.text("GroupName"));
            let id = call.look(|world| world.security_group_id(named.0, named.1))?;
            sources.push((RuleSource::Group(id), one.text("Description").map(str::to_owned)));
        }
        if sources.is_empty() {
            return Err(ApiError::new("MissingParameter", "A permission needs an address range or a group."));
        }
        let rule = |(source, description)| Rule { source, description, ..plain.clone() };
        found.extend(sources.into_iter().map(rule));
    }
    let old = (params.text("CidrIp"), params.text("SourceSecurityGroupName"));
    own_account(call, params.text("SourceSecurityGroupOwnerId"))?;
    let source = match old {
        (Some(range), None) => RuleSource::Ipv4(range.to_owned()),
        (None, Some(name)) => {
            RuleSource::Group(call.look(|world| world.security_group_id(None, Some(name)))?)
        }
        (None, None) => return Ok(found),
        (Some(_), Some(_)) => {
            let message = "CidrIp can't be used together with SourceSecurityGroupName.";
            return Err(ApiError::new("InvalidParameterCombination", message));
        }
    };
    found.push(Rule { source, ..plain(params, direction, tags)? });
    Ok(found)
}

/// A rule's protocol and ports; whom it lets pass is filled in.
fn plain(params: &Params<'_>, direction: Direction, tags: &Tags) -> Result<Rule, ApiError> {
    let protocol = params.required("IpProtocol")?.to_owned();
    // Every port, whatever is said of ports.
    let ports = protocol != "-1";
    let (from, to) = (params.parsed("FromPort")?, params.parsed("ToPort")?);
    Ok(Rule {
        id: String::new(),
        direction,
        protocol,
        from: from.filter(|_| ports),
        to: to.filter(|_| ports),
        source: RuleSource::Ipv4(String::new()),
        description: None,
        tags: tags.clone(),
    })
}

/// There is one account here.
fn own_account(call: &Call<'_>, account: Option<&str>) -> Result<(), ApiError> {
    match account {
        Some(other) if call.look(|world| world.account() != other) => {
            Err(ApiError::value(other, "UserId", "The local cloud has one account."))
        }
        Some(_) | None => Ok(()),
    }
}

pub(super) async fn describe_security_groups(call: &Call<'_>) -> Result<String, ApiError> {
    let (ids, mut filters) = (call.params.texts("GroupId"), filters(&call.params)?);
    let (names, paging) = (call.params.texts("GroupName"), paging(&call.params)?);
    call.finish_look()?;
    call.endpoint.sync_security_groups().await?;
    for name in &names {
        call.look(|world| world.security_group_id(None, Some(name)))?;
    }
    if !names.is_empty() {
        filters.push(Filter { name: "group-name".into(), values: names });
    }
    let page = call
        .look(|world| paging.page(world.describe_security_groups(&ids, &filters)?, |one| one.id.clone()))?;
    call.answer("DescribeSecurityGroups", |xml| {
        call.look(|world| {
            xml.list("securityGroupInfo", &page.items, |xml, group| {
                xml.text("ownerId", world.account());
                xml.text("groupId", &group.id);
                xml.text("groupName", &group.name);
                xml.text("groupDescription", &group.description);
                xml.text("vpcId", &group.vpc);
                xml.text("securityGroupArn", arn(world, "security-group", &group.id));
                permissions(xml, "ipPermissions", group, Direction::In, world);
                permissions(xml, "ipPermissionsEgress", group, Direction::Out, world);
                xml.tags(&group.tags);
            });
        });
        next_token(xml, page.next_token.as_ref());
    })
}

/// A group's rules as permissions: one for each protocol and range of ports.
fn permissions(xml: &mut Xml, list: &str, group: &SecurityGroup, direction: Direction, world: &World) {
    let rules: Vec<_> = group.rules.iter().filter(|rule| rule.direction == direction).collect();
    let mut ports: Vec<(&str, Option<i32>, Option<i32>)> = Vec::new();
    for rule in &rules {
        let own = (rule.protocol.as_str(), rule.from, rule.to);
        if !ports.contains(&own) {
            ports.push(own);
        }
    }
    xml.list(list, ports, |xml, (protocol, from, to)| {
        let of: Vec<_> = rules
            .iter()
            .filter(|one| (one.protocol.as_str(), one.from, one.to) == (protocol, from, to))
            .collect();
        xml.text("ipProtocol", protocol);
        xml.optional("fromPort", from);
        xml.optional("toPort", to);
        for (set, name) in [
            ("groups", "groupId"),
            ("ipRanges", "cidrIp"),
            ("ipv6Ranges", "cidrIpv6"),
            ("prefixListIds", "prefixListId"),
        ] {
            let sources = of.iter().filter_map(|rule| Some((rule, text(&rule.source, name)?)));
            xml.list(set, sources, |xml, (rule, source)| {
                if name == "groupId" {
                    xml.text("userId", world.account());
                }
                xml.text(name, source);
                xml.optional("description", rule.description.as_ref());
            });
        }
    });
}

/// Whom a rule lets pass, if that is what is asked for.
fn text<'a>(source: &'a RuleSource, name: &str) -> Option<&'a String> {
    match (source, name) {
        (RuleSource::Group(text), "groupId")
        | (RuleSource::Ipv4(text), "cidrIp")
        | (RuleSource::Ipv6(text), "cidrIpv6")
        | (RuleSource::PrefixList(text), "prefixListId") => Some(text),
        (RuleSource::Group(_) | RuleSource::Ipv4(_) | RuleSource::Ipv6(_) | RuleSource::PrefixList(_), _) => {
            None
        }
    }
}

pub(super) async fn describe_security_group_rules(call: &Call<'_>) -> Result<String, ApiError> {
    let params = &call.params;
    let (ids, filters) = (params.texts("SecurityGroupRuleId"), filters(params)?);
    let paging = paging(params)?;
    call.finish_look()?;
    call.endpoint.sync_security_groups().await?;
    let page = call.look(|world| world.describe_security_group_rules(&ids, &filters, &paging))?;
    call.answer("DescribeSecurityGroupRules", |xml| {
        call.look(|world| {
            xml.list("securityGroupRuleSet", &page.items, |xml, (group, one)| rule(xml, group, one, world));
        });
        next_token(xml, page.next_token.as_ref());
    })
}

fn rule(xml: &mut Xml, group: &str, rule: &Rule, world: &World) {
    xml.text("securityGroupRuleId", &rule.id);
    xml.text("groupId", group);
    xml.text("groupOwnerId", world.account());
    xml.text("isEgress", rule.direction == Direction::Out);
    xml.text("ipProtocol", &rule.protocol);
    xml.text("fromPort", rule.from.unwrap_or(-1));
    xml.text("toPort", rule.to.unwrap_or(-1));
    match &rule.source {
        RuleSource::Ipv4(range) => xml.text("cidrIpv4", range),
        RuleSource::Ipv6(range) => xml.text("cidrIpv6", range),
        RuleSource::PrefixList(id) => xml.text("prefixListId", id),
        RuleSource::Group(id) => xml.part("referencedGroupInfo", |xml| {
            xml.text("groupId", id);
            xml.text("userId", world.account());
        }),
    }
    xml.optional("description", rule.description.as_ref());
    xml.text("securityGroupRuleArn", arn(world, "security-group-rule", &rule.id));
    xml.tags(&rule.tags);
}

fn arn(world: &World, kind: &str, id: &str) -> String {
    format!("arn:aws:ec2:{}:{}:{kind}/{id}", world.region(), world.account())
}
