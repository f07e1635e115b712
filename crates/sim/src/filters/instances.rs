//! The filters of instances and of their status checks.

use super::{Fields, Filtered, any, at, no, none, one, yes};
use crate::{Instance, InstanceState, ROOT_DEVICE, Tags, World, network::zone_id};

/// An instance with its address and network; a terminated one has lost them.
fn of_network(instance: &Instance, value: impl FnOnce(&Instance) -> Vec<String>) -> Vec<String> {
    if instance.state == InstanceState::Terminated { Vec::new() } else { value(instance) }
}

fn of_volumes(it: &Instance, world: &World, value: fn(&crate::Volume) -> String) -> Vec<String> {
    world.volumes_of(&it.id).into_iter().map(value).collect()
}

fn group_ids(it: &Instance, _: &World) -> Vec<String> {
    of_network(it, |it| it.security_groups.clone())
}

fn group_names(it: &Instance, world: &World) -> Vec<String> {
    let name = |id: &String| world.security_groups.get(id).map(|group| group.name.clone());
    of_network(it, |it| it.security_groups.iter().filter_map(name).collect())
}

fn address(it: &Instance, _: &World) -> Vec<String> {
    of_network(it, |it| any(it.address.as_ref()))
}

fn dns_name(it: &Instance, _: &World) -> Vec<String> {
    any(it.private_dns_name().as_ref())
}

fn subnet(it: &Instance, _: &World) -> Vec<String> {
    of_network(it, |it| one(&it.subnet))
}

fn vpc(it: &Instance, _: &World) -> Vec<String> {
    of_network(it, |it| one(&it.vpc))
}

fn owner(_: &Instance, world: &World) -> Vec<String> {
    one(&world.account)
}

/// What is so of the one network interface that an instance has until it is terminated.
macro_rules! interface {
    ($value:expr) => {
        |it, _| of_network(it, |_| one($value))
    };
}

impl Filtered for Instance {
    const FIELDS: Fields<Self> = &[
        ("affinity", none),
        ("architecture", |it, _| one(&it.architecture)),
        ("availability-zone", |it, _| one(&it.zone)),
        ("availability-zone-id", |it, _| one(zone_id(&it.zone))),
        ("block-device-mapping.attach-time", |it, world| {
            of_volumes(it, world, |volume| super::time_text(volume.attached()))
        }),
        ("block-device-mapping.delete-on-termination", |it, world| {
            of_volumes(it, world, |volume| volume.delete_on_termination.to_string())
        }),
        ("block-device-mapping.device-name", |it, world| {
            of_volumes(it, world, |volume| volume.device.clone())
        }),
        ("block-device-mapping.status", |it, world| of_volumes(it, world, |_| "attached".to_owned())),
        ("block-device-mapping.volume-id", |it, world| of_volumes(it, world, |volume| volume.id.to_string())),
        ("boot-mode", none),
        ("capacity-reservation-id", none),
        ("capacity-reservation-specification.capacity-reservation-preference", |_, _| one("open")),
        ("capacity-reservation-specification.capacity-reservation-target.capacity-reservation-id", none),
        (
            "capacity-reservation-specification.capacity-reservation-target.capacity-reservation-resource-group-arn",
            none,
        ),
        ("client-token", |it, _| any(it.client_token.as_ref())),
        ("current-instance-boot-mode", |it, _| one(it.boot_mode())),
        ("dns-name", none),
        ("ebs-optimized", no),
        ("ena-support", yes),
        ("enclave-options.enabled", no),
        ("hibernation-options.configured", no),
        ("host-id", none),
        ("hypervisor", |_, _| one("xen")),
        ("iam-instance-profile.arn", |it, world| any(world.profile_arn(it).as_ref())),
        ("iam-instance-profile.id", none),
        ("image-id", |it, _| one(&it.image)),
        ("instance-id", |it, _| one(&it.id)),
        // An on-demand instance has none.
        ("instance-lifecycle", |it, _| any(it.spot.then_some(&"spot"))),
        ("instance-state-code", |it, _| one(it.state.code())),
        ("instance-state-name", |it, _| one(it.state.as_str())),
        ("instance-type", |it, _| one(&it.instance_type)),
        ("instance.group-id", group_ids),
        ("instance.group-name", group_names),
        // Older names of the same.
        ("group-id", group_ids),
        ("group-name", group_names),
        ("ip-address", none),
        ("ipv6-address", none),
        ("kernel-id", none),
        ("key-name", |it, _| any(it.key_name.as_ref())),
        ("launch-index", |it, _| one(it.launch_index)),
        ("launch-time", |it, _| at(it.launched)),
        ("maintenance-options.auto-recovery", |_, _| one("default")),
        ("metadata-options.http-endpoint", |_, _| one("enabled")),
        ("metadata-options.http-protocol-ipv4", |_, _| one("enabled")),
        ("metadata-options.http-protocol-ipv6", |_, _| one("disabled")),
        ("metadata-options.http-put-response-hop-limit", |_, _| one(1)),
        ("metadata-options.http-tokens", |it, _| one(it.http_tokens())),
        ("metadata-options.instance-metadata-tags", |_, _| one("disabled")),
        ("metadata-options.state", |_, _| one("applied")),
        ("monitoring-state", |_, _| one("disabled")),
        ("network-interface.addresses.association.allocation-id", none),
        ("network-interface.addresses.association.association-id", none),
        ("network-interface.addresses.association.carrier-ip", none),
        ("network-interface.addresses.association.customer-owned-ip", none),
        ("network-interface.addresses.association.ip-owner-id", none),
        ("network-interface.addresses.association.public-dns-name", none),
        ("network-interface.addresses.association.public-ip", none),
        ("network-interface.addresses.primary", interface!(true)),
        ("network-interface.addresses.private-dns-name", dns_name),
        ("network-interface.addresses.private-ip-address", address),
        ("network-interface.association.allocation-id", none),
        ("network-interface.association.association-id", none),
        ("network-interface.association.carrier-ip", none),
        ("network-interface.association.customer-owned-ip", none),
        ("network-interface.association.ip-owner-id", none),
        ("network-interface.association.public-dns-name", none),
        ("network-interface.association.public-ip", none),
        ("network-interface.attachment.attach-time", |it, _| of_network(it, |it| at(it.launched))),
        ("network-interface.attachment.attachment-id", |it, _| of_network(it, |it| one(it.attachment_id()))),
        ("network-interface.attachment.delete-on-termination", interface!(true)),
        ("network-interface.attachment.device-index", interface!(0)),
        ("network-interface.attachment.instance-id", |it, _| of_network(it, |it| one(&it.id))),
        ("network-interface.attachment.instance-owner-id", owner),
        ("network-interface.attachment.network-card-index", interface!(0)),
        ("network-interface.attachment.status", interface!("attached")),
        ("network-interface.availability-zone", |it, _| of_network(it, |it| one(&it.zone))),
        ("network-interface.deny-all-igw-traffic", none),
        ("network-interface.description", interface!("")),
        ("network-interface.group-id", group_ids),
        ("network-interface.group-name", group_names),
        ("network-interface.ipv4-prefixes.ipv4-prefix", none),
        ("network-interface.ipv6-address", none),
        ("network-interface.ipv6-addresses.ipv6-address", none),
        ("network-interface.ipv6-addresses.is-primary-ipv6", none),
        ("network-interface.ipv6-native", none),
        ("network-interface.ipv6-prefixes.ipv6-prefix", none),
        ("network-interface.mac-address", none),
        ("network-interface.network-interface-id", |it, _| of_network(it, |it| one(it.interface_id()))),
        ("network-interface.operator.managed", interface!(false)),
        ("network-interface.operator.principal", none),
        ("network-interface.outpost-arn", none),
        ("network-interface.owner-id", owner),
        ("network-interface.private-dns-name", dns_name),
        ("network-interface.private-ip-address", address),
        ("network-interface.public-dns-name", none),
        ("network-interface.requester-id", none),
        ("network-interface.requester-managed", interface!(false)),
        ("network-interface.source-dest-check", interface!(true)),
        ("network-interface.status", interface!("in-use")),
        ("network-interface.subnet-id", subnet),
        ("network-interface.tag-key", none),
        ("network-interface.tag-value", none),
        ("network-interface.vpc-id", vpc),
        ("network-performance-options.bandwidth-weighting", |_, _| one("default")),
        ("operator.managed", no),
        ("operator.principal", none),
        ("outpost-arn", none),
        ("owner-id", owner),
        ("placement-group-name", none),
        ("placement-partition-number", none),
        // Only Windows has one.
        ("platform", none),
        ("platform-details", |_, _| one("Linux/UNIX")),
        ("private-dns-name", dns_name),
        ("private-dns-name-options.enable-resource-name-dns-a-record", no),
        ("private-dns-name-options.enable-resource-name-dns-aaaa-record", no),
        ("private-dns-name-options.hostname-type", |_, _| one("ip-name")),
        ("private-ip-address", address),
        ("product-code", none),
        ("product-code.type", none),
        ("ramdisk-id", none),
        ("reason", |it, _| any(it.state_reason.as_ref().map(|(_, message)| message))),
        ("requester-id", none),
        ("reservation-id", |it, _| one(&it.reservation)),
        ("root-device-name", |_, _| one(ROOT_DEVICE)),
        ("root-device-type", |_, _| one("ebs")),
        ("source-dest-check", yes),
        ("spot-instance-request-id", none),
        ("state-reason-code", |it, _| any(it.state_reason.as_ref().map(|(code, _)| code))),
        ("state-reason-message", |it, _| any(it.state_reason.as_ref().map(|(_, message)| message))),
        ("subnet-id", subnet),
        ("tenancy", |_, _| one("default")),
        ("tpm-support", none),
        ("usage-operation", |_, _| one("RunInstances")),
        ("usage-operation-update-time", |it, _| at(it.launched)),
        ("virtualization-type", |_, _| one("hvm")),
        ("vpc-id", vpc),
    ];

    fn tags(&self) -> Option<&Tags> {
        Some(&self.tags)
    }
}

/// An instance as `DescribeInstanceStatus` looks at it.
pub(crate) struct InstanceStatus(pub Instance);

fn check(it: &InstanceStatus, _: &World) -> Vec<String> {
    one(it.0.check().0)
}

fn reachability(it: &InstanceStatus, _: &World) -> Vec<String> {
    any(it.0.check().1.as_ref())
}

impl Filtered for InstanceStatus {
    const FIELDS: Fields<Self> = &[
        ("application-status.status", none),
        ("attached-ebs-status.status", check),
        ("availability-zone", |it, _| one(&it.0.zone)),
        ("availability-zone-id", |it, _| one(zone_id(&it.0.zone))),
        ("event.code", none),
        ("event.description", none),
        ("event.instance-event-id", none),
        ("event.not-after", none),
        ("event.not-before", none),
        ("event.not-before-deadline", none),
        ("instance-state-code", |it, _| one(it.0.state.code())),
        ("instance-state-name", |it, _| one(it.0.state.as_str())),
        ("instance-status.reachability", reachability),
        ("instance-status.status", check),
        ("operator.managed", no),
        ("operator.principal", none),
        ("system-status.reachability", reachability),
        ("system-status.status", check),
    ];

    fn tags(&self) -> Option<&Tags> {
        Some(&self.0.tags)
    }
}
