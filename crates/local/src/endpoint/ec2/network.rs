//! Where machines are: Region, zones, networks, security groups.

use ovenbird_sim::{ApiError, Filter};

use super::{
    Call,
    shared::{filters, paging},
};

pub(super) fn describe_regions(call: &Call<'_>) -> Result<String, ApiError> {
    let wanted = call.params.texts("RegionName");
    let _ = call.params.flag("AllRegions")?;
    no_filters(call)?;
    call.finish_look()?;
    let region = call.look(|world| world.region().to_owned());
    if let Some(unknown) = wanted.iter().find(|name| **name != region) {
        return Err(ApiError::new("InvalidParameterValue", format!("Invalid region: {unknown}")));
    }
    call.answer("DescribeRegions", |xml| {
        xml.list("regionInfo", [region], |xml, region| {
            xml.text("regionName", &region);
            xml.text("regionEndpoint", format!("ec2.{region}.amazonaws.com"));
            xml.text("optInStatus", "opt-in-not-required");
        });
    })
}

pub(super) fn describe_availability_zones(call: &Call<'_>) -> Result<String, ApiError> {
    let wanted = call.params.texts("ZoneName");
    let _ = call.params.flag("AllAvailabilityZones")?;
    no_filters(call)?;
    call.finish_look()?;
    let (zones, region) = call.look(|world| (world.describe_availability_zones(), world.region().to_owned()));
    if let Some(unknown) = wanted.iter().find(|name| !zones.contains(name)) {
        return Err(ApiError::new(
            "InvalidParameterValue",
            format!("Invalid availability zone: [{unknown}]"),
        ));
    }
    let shown = zones.iter().filter(|zone| wanted.is_empty() || wanted.contains(zone));
    call.answer("DescribeAvailabilityZones", |xml| {
        xml.list("availabilityZoneInfo", shown, |xml, zone| {
            xml.text("zoneName", zone);
            xml.text("zoneState", "available");
            xml.text("regionName", &region);
            xml.text("zoneType", "availability-zone");
            xml.text("optInStatus", "opt-in-not-required");
            xml.list("messageSet", [(); 0], |_, ()| {});
        });
    })
}

/// Operations whose filters are not served refuse them: a filter without effect would lie.
fn no_filters(call: &Call<'_>) -> Result<(), ApiError> {
    match filters(&call.params)?.first() {
        None => Ok(()),
        Some(Filter { name, .. }) => {
            Err(ApiError::new("InvalidParameterValue", format!("The filter '{name}' is invalid")))
        }
    }
}

pub(super) fn describe_vpcs(call: &Call<'_>) -> Result<String, ApiError> {
    let (ids, filters) = (call.params.texts("VpcId"), filters(&call.params)?);
    let _ = paging(&call.params)?;
    call.finish_look()?;
    let (vpcs, account) =
        call.look(|world| (world.describe_vpcs(&ids, &filters), world.account().to_owned()));
    let vpcs = vpcs?;
    call.answer("DescribeVpcs", |xml| {
        xml.list("vpcSet", &vpcs, |xml, vpc| {
            xml.text("vpcId", &vpc.id);
            xml.text("ownerId", &account);
            xml.text("state", "available");
            xml.text("cidrBlock", &vpc.cidr);
            xml.text("dhcpOptionsId", "default");
            xml.text("instanceTenancy", "default");
            xml.text("isDefault", vpc.is_default);
            xml.tags(&vpc.tags);
        });
    })
}

pub(super) fn describe_subnets(call: &Call<'_>) -> Result<String, ApiError> {
    let (ids, filters) = (call.params.texts("SubnetId"), filters(&call.params)?);
    let _ = paging(&call.params)?;
    call.finish_look()?;
    let (subnets, account) =
        call.look(|world| (world.describe_subnets(&ids, &filters), world.account().to_owned()));
    let subnets = subnets?;
    call.answer("DescribeSubnets", |xml| {
        xml.list("subnetSet", &subnets, |xml, subnet| {
            xml.text("subnetId", &subnet.id);
            xml.text("ownerId", &account);
            xml.text("state", "available");
            xml.text("vpcId", &subnet.vpc);
            xml.text("cidrBlock", &subnet.cidr);
            xml.text("availableIpAddressCount", 4091);
            xml.text("availabilityZone", &subnet.zone);
            xml.text("defaultForAz", true);
            xml.text("mapPublicIpOnLaunch", false);
            xml.tags(&subnet.tags);
        });
    })
}

pub(super) async fn describe_security_groups(call: &Call<'_>) -> Result<String, ApiError> {
    let (ids, mut filters) = (call.params.texts("GroupId"), filters(&call.params)?);
    let names = call.params.texts("GroupName");
    let _ = paging(&call.params)?;
    call.finish_look()?;
    if !names.is_empty() {
        filters.push(Filter { name: "group-name".into(), values: names });
    }
    call.endpoint.sync_security_groups().await?;
    let (groups, account) =
        call.look(|world| (world.describe_security_groups(&ids, &filters), world.account().to_owned()));
    let groups = groups?;
    call.answer("DescribeSecurityGroups", |xml| {
        xml.list("securityGroupInfo", &groups, |xml, group| {
            xml.text("ownerId", &account);
            xml.text("groupId", &group.id);
            xml.text("groupName", &group.name);
            xml.text("groupDescription", &group.description);
            xml.text("vpcId", &group.vpc);
            // Machines here are reached from loopback alone, whatever a group says.
            xml.list("ipPermissions", [(); 0], |_, ()| {});
            xml.list("ipPermissionsEgress", [(); 0], |_, ()| {});
            xml.tags(&group.tags);
        });
    })
}
