//! Instances: look, stop, start, terminate, read the console.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use ovenbird_sim::{ApiError, Instance, InstanceState, ROOT_DEVICE, StateChange, World, zone_id};

use super::{
    Call,
    shared::{filters, next_token, paging, time},
};
use crate::endpoint::xml_writer::Xml;

pub(super) fn describe_instances(call: &Call<'_>) -> Result<String, ApiError> {
    let (ids, filters, paging) =
        (call.params.texts("InstanceId"), filters(&call.params)?, paging(&call.params)?);
    // Instances that AWS's own services manage; here are none.
    let _ = call.params.flag("IncludeManagedResources")?;
    call.finish_look()?;
    let page = call.look(|world| world.describe_instances(Timestamp::now(), &ids, &filters, &paging))?;
    let mut reservations: Vec<Vec<&Instance>> = Vec::new();
    for instance in &page.items {
        match reservations.iter_mut().find(|of| of[0].reservation == instance.reservation) {
            Some(of) => of.push(instance),
            None => reservations.push(vec![instance]),
        }
    }
    call.answer("DescribeInstances", |xml| {
        call.look(|world| {
            xml.list("reservationSet", &reservations, |xml, instances| {
                xml.text("reservationId", &instances[0].reservation);
                xml.text("ownerId", world.account());
                xml.list("groupSet", [(); 0], |_, ()| {});
                xml.list("instancesSet", instances, |xml, one| instance(xml, one, world));
            });
        });
        next_token(xml, page.next_token.as_ref());
    })
}

/// An instance as `RunInstances` and `DescribeInstances` show it.
pub(super) fn instance(xml: &mut Xml, instance: &Instance, world: &World) {
    let gone = instance.state == InstanceState::Terminated;
    xml.text("instanceId", &instance.id);
    xml.text("imageId", &instance.image);
    state(xml, "instanceState", instance.state);
    xml.text("privateDnsName", instance.private_dns_name().unwrap_or_default());
    xml.text("dnsName", "");
    xml.text("reason", instance.state_reason.as_ref().map_or("", |(_, message)| message));
    xml.optional("keyName", instance.key_name.as_ref());
    xml.text("amiLaunchIndex", instance.launch_index);
    xml.list("productCodes", [(); 0], |_, ()| {});
    xml.text("instanceType", &instance.instance_type);
    xml.text("launchTime", time(instance.launched));
    xml.part("placement", |xml| {
        xml.text("availabilityZone", &instance.zone);
        xml.text("availabilityZoneId", zone_id(&instance.zone));
        xml.text("groupName", "");
        xml.text("tenancy", "default");
    });
    xml.part("monitoring", |xml| xml.text("state", "disabled"));
    if !gone {
        xml.text("subnetId", &instance.subnet);
        xml.text("vpcId", &instance.vpc);
        xml.optional("privateIpAddress", instance.address.as_ref());
    }
    xml.text("sourceDestCheck", true);
    let groups = if gone { &[][..] } else { &instance.security_groups };
    self::groups(xml, groups, world);
    if let Some((code, message)) = &instance.state_reason {
        xml.part("stateReason", |xml| {
            xml.text("code", code);
            xml.text("message", message);
        });
    }
    xml.text("architecture", &instance.architecture);
    xml.text("rootDeviceType", "ebs");
    xml.text("rootDeviceName", ROOT_DEVICE);
    mappings(xml, instance, world);
    xml.text("virtualizationType", "hvm");
    if instance.spot {
        xml.text("instanceLifecycle", "spot");
    }
    xml.text("clientToken", instance.client_token.as_deref().unwrap_or_default());
    xml.tags(&instance.tags);
    xml.text("hypervisor", "xen");
    let own = Some(instance).filter(|_| !gone);
    xml.list("networkInterfaceSet", own, |xml, instance| {
        network_interface(xml, instance, world, false);
    });
    if let Some(arn) = world.profile_arn(instance) {
        xml.part("iamInstanceProfile", |xml| xml.text("arn", arn));
    }
    xml.text("ebsOptimized", false);
    xml.text("enaSupport", true);
    xml.part("metadataOptions", |xml| {
        xml.text("state", "applied");
        xml.text("httpTokens", instance.http_tokens());
        xml.text("httpPutResponseHopLimit", 1);
        xml.text("httpEndpoint", "enabled");
        xml.text("httpProtocolIpv6", "disabled");
        xml.text("instanceMetadataTags", "disabled");
    });
    xml.text("currentInstanceBootMode", instance.boot_mode());
    xml.text("platformDetails", "Linux/UNIX");
    xml.text("usageOperation", "RunInstances");
    xml.text("usageOperationUpdateTime", time(instance.launched));
    xml.part("capacityReservationSpecification", |xml| {
        xml.text("capacityReservationPreference", "open");
    });
    xml.part("hibernationOptions", |xml| xml.text("configured", false));
    xml.part("enclaveOptions", |xml| xml.text("enabled", false));
    xml.part("maintenanceOptions", |xml| xml.text("autoRecovery", "default"));
    xml.part("privateDnsNameOptions", |xml| {
        xml.text("hostnameType", "ip-name");
        xml.text("enableResourceNameDnsARecord", false);
        xml.text("enableResourceNameDnsAAAARecord", false);
    });
}

/// The volumes of an instance by device.
pub(super) fn mappings(xml: &mut Xml, instance: &Instance, world: &World) {
    xml.list("blockDeviceMapping", world.volumes_of(&instance.id), |xml, volume| {
        xml.text("deviceName", &volume.device);
        xml.part("ebs", |xml| {
            xml.text("volumeId", &volume.id);
            xml.text("status", "attached");
            xml.text("attachTime", time(volume.attached()));
            xml.text("deleteOnTermination", volume.delete_on_termination);
        });
    });
}

/// The security groups of an instance.
pub(super) fn groups(xml: &mut Xml, ids: &[String], world: &World) {
    xml.list("groupSet", ids, |xml, id| {
        xml.text("groupId", id);
        xml.text("groupName", world.security_group(id).map_or("", |group| &group.name));
    });
}

fn state(xml: &mut Xml, name: &str, state: InstanceState) {
    xml.part(name, |xml| {
        xml.text("code", state.code());
        xml.text("name", state.as_str());
    });
}

pub(super) fn describe_instance_status(call: &Call<'_>) -> Result<String, ApiError> {
    let (ids, filters, paging) =
        (call.params.texts("InstanceId"), filters(&call.params)?, paging(&call.params)?);
    let all = call.params.flag("IncludeAllInstances")?;
    call.finish_look()?;
    let now = Timestamp::now();
    let page = call.look(|world| world.describe_instance_status(now, &ids, &filters, all, &paging))?;
    call.answer("DescribeInstanceStatus", |xml| {
        xml.list("instanceStatusSet", &page.items, |xml, instance| {
            xml.text("instanceId", &instance.id);
            xml.text("availabilityZone", &instance.zone);
            xml.text("availabilityZoneId", zone_id(&instance.zone));
            xml.list("eventsSet", [(); 0], |_, ()| {});
            state(xml, "instanceState", instance.state);
            for check in ["systemStatus", "instanceStatus", "attachedEbsStatus"] {
                xml.part(check, |xml| status(xml, instance));
            }
        });
        next_token(xml, page.next_token.as_ref());
    })
}

fn status(xml: &mut Xml, instance: &Instance) {
    let (status, detail) = instance.check();
    xml.text("status", status);
    if let Some(detail) = detail {
        xml.list("details", [()], |xml, ()| {
            xml.text("name", "reachability");
            xml.text("status", detail);
        });
    }
}

pub(super) fn stop_instances(call: &Call<'_>) -> Result<String, ApiError> {
    let (ids, dry_run) = (call.params.texts("InstanceId"), call.params.flag("DryRun")?);
    // Force: a machine that doesn't power off in time is ended anyway.
    let _ = (call.params.flag("Force")?, call.params.flag("SkipOsShutdown")?);
    call.finish()?;
    changed(call, "StopInstances", &call.world(|world, _| world.stop_instances(&ids, dry_run))?)
}

pub(super) fn start_instances(call: &Call<'_>) -> Result<String, ApiError> {
    let (ids, dry_run) = (call.params.texts("InstanceId"), call.params.flag("DryRun")?);
    call.finish()?;
    changed(call, "StartInstances", &call.world(|world, _| world.start_instances(&ids, dry_run))?)
}

pub(super) fn terminate_instances(call: &Call<'_>) -> Result<String, ApiError> {
    let (ids, dry_run) = (call.params.texts("InstanceId"), call.params.flag("DryRun")?);
    let _ = (call.params.flag("Force")?, call.params.flag("SkipOsShutdown")?);
    call.finish()?;
    changed(call, "TerminateInstances", &call.world(|world, _| world.terminate_instances(&ids, dry_run))?)
}

fn changed(call: &Call<'_>, action: &str, changes: &[StateChange]) -> Result<String, ApiError> {
    call.answer(action, |xml| {
        xml.list("instancesSet", changes, |xml, change| {
            xml.text("instanceId", &change.instance);
            state(xml, "currentState", change.current);
            state(xml, "previousState", change.previous);
        });
    })
}

pub(super) fn get_console_output(call: &Call<'_>) -> Result<String, ApiError> {
    let id = call.params.required("InstanceId")?;
    // The console here is always the latest.
    let _ = call.params.flag("Latest")?;
    call.finish_look()?;
    call.endpoint.state.refresh_console(id);
    let (instance, text) = call.look(|world| world.get_console_output(id))?;
    call.answer("GetConsoleOutput", |xml| {
        xml.text("instanceId", instance);
        xml.text("timestamp", time(Timestamp::now()));
        xml.text("output", STANDARD.encode(text));
    })
}

pub(super) fn describe_network_interfaces(call: &Call<'_>) -> Result<String, ApiError> {
    let params = &call.params;
    let (ids, filters) = (params.texts("NetworkInterfaceId"), filters(params)?);
    let (paging, _) = (paging(params)?, params.flag("IncludeManagedResources")?);
    call.finish_look()?;
    let page = call.look(|world| world.describe_network_interfaces(&ids, &filters, &paging))?;
    call.answer("DescribeNetworkInterfaces", |xml| {
        call.look(|world| {
            xml.list("networkInterfaceSet", &page.items, |xml, instance| {
                network_interface(xml, instance, world, true);
                xml.text("availabilityZone", &instance.zone);
                xml.text("availabilityZoneId", zone_id(&instance.zone));
                xml.text("requesterManaged", false);
                xml.list("tagSet", [(); 0], |_, ()| {});
            });
        });
        next_token(xml, page.next_token.as_ref());
    })
}

/// The one network interface of an instance; alone, it says whose it is.
fn network_interface(xml: &mut Xml, instance: &Instance, world: &World, alone: bool) {
    let dns_name = instance.private_dns_name();
    xml.text("networkInterfaceId", instance.interface_id());
    xml.text("subnetId", &instance.subnet);
    xml.text("vpcId", &instance.vpc);
    xml.text("description", "");
    xml.text("ownerId", world.account());
    xml.text("status", "in-use");
    xml.text("interfaceType", "interface");
    xml.optional("privateIpAddress", instance.address.as_ref());
    xml.optional("privateDnsName", dns_name.as_ref());
    xml.text("sourceDestCheck", true);
    groups(xml, &instance.security_groups, world);
    xml.part("attachment", |xml| {
        xml.text("attachmentId", instance.attachment_id());
        if alone {
            xml.text("instanceId", &instance.id);
            xml.text("instanceOwnerId", world.account());
        }
        xml.text("deviceIndex", 0);
        xml.text("networkCardIndex", 0);
        xml.text("status", "attached");
        xml.text("attachTime", time(instance.launched));
        xml.text("deleteOnTermination", true);
    });
    xml.list("privateIpAddressesSet", &instance.address, |xml, address| {
        xml.text("privateIpAddress", address);
        xml.optional("privateDnsName", dns_name.as_ref());
        xml.text("primary", true);
    });
}
