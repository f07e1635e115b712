//! The filters of networks, subnets and security groups.

use super::{Fields, Filtered, no, none, one, yes};
use crate::{
    SecurityGroup, Subnet, Tags, Vpc, World,
    network::zone_id,
    security_groups::{Direction, Rule, RuleSource},
};

fn owner<T>(_: &T, world: &World) -> Vec<String> {
    one(&world.account)
}

impl Filtered for Vpc {
    const FIELDS: Fields<Self> = &[
        ("cidr", |it, _| one(&it.cidr)),
        ("cidr-block", |it, _| one(&it.cidr)),
        ("cidr-block-association.association-id", none),
        ("cidr-block-association.cidr-block", |it, _| one(&it.cidr)),
        ("cidr-block-association.state", |_, _| one("associated")),
        ("dhcp-options-id", |_, _| one("default")),
        ("ipv6-cidr-block-association.association-id", none),
        ("ipv6-cidr-block-association.ipv6-cidr-block", none),
        ("ipv6-cidr-block-association.ipv6-pool", none),
        ("ipv6-cidr-block-association.state", none),
        ("is-default", |it, _| one(it.is_default)),
        ("isDefault", |it, _| one(it.is_default)),
        ("owner-id", owner),
        ("state", |_, _| one("available")),
        ("vpc-id", |it, _| one(&it.id)),
    ];

    fn tags(&self) -> Option<&Tags> {
        Some(&self.tags)
    }
}

impl Filtered for Subnet {
    const FIELDS: Fields<Self> = &[
        ("availability-zone", |it, _| one(&it.zone)),
        ("availabilityZone", |it, _| one(&it.zone)),
        ("availability-zone-id", |it, _| one(zone_id(&it.zone))),
        ("availabilityZoneId", |it, _| one(zone_id(&it.zone))),
        ("available-ip-address-count", |it, world| one(world.free_addresses(it))),
        ("cidr", |it, _| one(&it.cidr)),
        ("cidr-block", |it, _| one(&it.cidr)),
        ("cidrBlock", |it, _| one(&it.cidr)),
        ("customer-owned-ipv4-pool", none),
        ("default-for-az", yes),
        ("defaultForAz", yes),
        ("enable-dns64", no),
        ("enable-lni-at-device-index", none),
        ("ipv6-cidr-block-association.association-id", none),
        ("ipv6-cidr-block-association.ipv6-cidr-block", none),
        ("ipv6-cidr-block-association.state", none),
        ("ipv6-native", no),
        ("map-customer-owned-ip-on-launch", no),
        ("map-public-ip-on-launch", no),
        ("outpost-arn", none),
        ("owner-id", owner),
        ("private-dns-name-options-on-launch.enable-resource-name-dns-a-record", no),
        ("private-dns-name-options-on-launch.enable-resource-name-dns-aaaa-record", no),
        ("private-dns-name-options-on-launch.hostname-type", |_, _| one("ip-name")),
        ("state", |_, _| one("available")),
        ("subnet-arn", |it, world| one(world.subnet_arn(it))),
        ("subnet-id", |it, _| one(&it.id)),
        ("vpc-id", |it, _| one(&it.vpc)),
    ];

    fn tags(&self) -> Option<&Tags> {
        Some(&self.tags)
    }
}

fn rules(it: &SecurityGroup, direction: Direction, value: impl Fn(&Rule) -> Option<String>) -> Vec<String> {
    it.rules.iter().filter(|rule| rule.direction == direction).filter_map(value).collect()
}

fn cidr(rule: &Rule) -> Option<String> {
    if let RuleSource::Ipv4(cidr) = &rule.source { Some(cidr.clone()) } else { None }
}

fn cidr6(rule: &Rule) -> Option<String> {
    if let RuleSource::Ipv6(cidr) = &rule.source { Some(cidr.clone()) } else { None }
}

fn prefix_list(rule: &Rule) -> Option<String> {
    if let RuleSource::PrefixList(id) = &rule.source { Some(id.clone()) } else { None }
}

fn group(rule: &Rule) -> Option<&String> {
    if let RuleSource::Group(id) = &rule.source { Some(id) } else { None }
}

fn port(port: Option<i32>) -> Option<String> {
    port.map(|port| port.to_string())
}

fn group_names(it: &SecurityGroup, direction: Direction, world: &World) -> Vec<String> {
    rules(it, direction, |rule| Some(world.security_groups.get(group(rule)?)?.name.clone()))
}

fn group_owners(it: &SecurityGroup, direction: Direction, world: &World) -> Vec<String> {
    rules(it, direction, |rule| group(rule).map(|_| world.account.clone()))
}

impl Filtered for SecurityGroup {
    const FIELDS: Fields<Self> = &[
        ("description", |it, _| one(&it.description)),
        ("egress.ip-permission.cidr", |it, _| rules(it, Direction::Out, cidr)),
        ("egress.ip-permission.from-port", |it, _| rules(it, Direction::Out, |rule| port(rule.from))),
        ("egress.ip-permission.group-id", |it, _| rules(it, Direction::Out, |rule| group(rule).cloned())),
        ("egress.ip-permission.group-name", |it, world| group_names(it, Direction::Out, world)),
        ("egress.ip-permission.ipv6-cidr", |it, _| rules(it, Direction::Out, cidr6)),
        ("egress.ip-permission.prefix-list-id", |it, _| rules(it, Direction::Out, prefix_list)),
        ("egress.ip-permission.protocol", |it, _| {
            rules(it, Direction::Out, |rule| Some(rule.protocol.clone()))
        }),
        ("egress.ip-permission.to-port", |it, _| rules(it, Direction::Out, |rule| port(rule.to))),
        ("egress.ip-permission.user-id", |it, world| group_owners(it, Direction::Out, world)),
        ("group-id", |it, _| one(&it.id)),
        ("group-name", |it, _| one(&it.name)),
        ("ip-permission.cidr", |it, _| rules(it, Direction::In, cidr)),
        ("ip-permission.from-port", |it, _| rules(it, Direction::In, |rule| port(rule.from))),
        ("ip-permission.group-id", |it, _| rules(it, Direction::In, |rule| group(rule).cloned())),
        ("ip-permission.group-name", |it, world| group_names(it, Direction::In, world)),
        ("ip-permission.ipv6-cidr", |it, _| rules(it, Direction::In, cidr6)),
        ("ip-permission.prefix-list-id", |it, _| rules(it, Direction::In, prefix_list)),
        ("ip-permission.protocol", |it, _| rules(it, Direction::In, |rule| Some(rule.protocol.clone()))),
        ("ip-permission.to-port", |it, _| rules(it, Direction::In, |rule| port(rule.to))),
        ("ip-permission.user-id", |it, world| group_owners(it, Direction::In, world)),
        ("owner-id", owner),
        ("vpc-id", |it, _| one(&it.vpc)),
    ];

    fn tags(&self) -> Option<&Tags> {
        Some(&self.tags)
    }
}
