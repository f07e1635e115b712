//! The filters of network interfaces: an instance has one until it is terminated, and there is no other.

use super::{Fields, Filtered, any, at, no, none, one, yes};
use crate::{Instance, Tags, World, network::zone_id};

/// The one network interface of an instance. It has no tags of its own.
pub(crate) struct NetworkInterface(pub Instance);

fn address(it: &NetworkInterface, _: &World) -> Vec<String> {
    any(it.0.address.as_ref())
}

fn owner(_: &NetworkInterface, world: &World) -> Vec<String> {
    one(&world.account)
}

impl Filtered for NetworkInterface {
    const FIELDS: Fields<Self> = &[
        ("addresses.association.owner-id", none),
        ("addresses.association.public-ip", none),
        ("addresses.primary", yes),
        ("addresses.private-ip-address", address),
        ("association.allocation-id", none),
        ("association.association-id", none),
        ("association.ip-owner-id", none),
        ("association.public-dns-name", none),
        ("association.public-ip", none),
        ("attachment.attach-time", |it, _| at(it.0.launched)),
        ("attachment.attachment-id", |it, _| one(it.0.attachment_id())),
        ("attachment.delete-on-termination", yes),
        ("attachment.device-index", |_, _| one(0)),
        ("attachment.instance-id", |it, _| one(&it.0.id)),
        ("attachment.instance-owner-id", owner),
        ("attachment.status", |_, _| one("attached")),
        ("availability-zone", |it, _| one(&it.0.zone)),
        ("availability-zone-id", |it, _| one(zone_id(&it.0.zone))),
        ("description", |_, _| one("")),
        ("group-id", |it, _| it.0.security_groups.clone()),
        ("interface-type", |_, _| one("interface")),
        ("ipv6-addresses.ipv6-address", none),
        ("mac-address", none),
        ("network-interface-id", |it, _| one(it.0.interface_id())),
        ("operator.managed", no),
        ("operator.principal", none),
        ("owner-id", owner),
        ("private-dns-name", |it, _| any(it.0.private_dns_name().as_ref())),
        ("private-ip-address", address),
        ("requester-id", none),
        ("requester-managed", no),
        ("source-dest-check", yes),
        ("status", |_, _| one("in-use")),
        ("subnet-id", |it, _| one(&it.0.subnet)),
        ("vpc-id", |it, _| one(&it.0.vpc)),
    ];

    fn tags(&self) -> Option<&Tags> {
        None
    }
}
