//! Where machines are: Region, zones, networks, security groups.

use ovenbird_sim::{ApiError, zone_id};

use super::{
    Call,
    shared::{filters, next_token, paging},
};

pub(super) fn describe_regions(call: &Call<'_>) -> Result<String, ApiError> {
    let wanted = call.params.texts("RegionName");
    let _ = call.params.flag("AllRegions")?;
    let filters = filters(&call.params)?;
    call.finish_look()?;
    let region = call.look(|world| world.region().to_owned());
    let shown = call.look(|world| world.describe_regions(&filters))?;
    if let Some(unknown) = wanted.iter().find(|name| **name != region) {
        return Err(ApiError::new("InvalidParameterValue", format!("Invalid region: {unknown}")));
    }
    call.answer("DescribeRegions", |xml| {
        xml.list("regionInfo", shown, |xml, region| {
            xml.text("regionName", &region);
            xml.text("regionEndpoint", format!("ec2.{region}.amazonaws.com"));
            xml.text("optInStatus", "opt-in-not-required");
        });
    })
}

pub(super) fn describe_availability_zones(call: &Call<'_>) -> Result<String, ApiError> {
    let wanted = call.params.texts("ZoneName");
    let ids = call.params.texts("ZoneId");
    let _ = call.params.flag("AllAvailabilityZones")?;
    let filters = filters(&call.params)?;
    call.finish_look()?;
    let (zones, region) = call.look(|world| (world.describe_availability_zones(), world.region().to_owned()));
    let passing = call.look(|world| world.describe_zones(&filters))?;
    if let Some(unknown) = wanted.iter().find(|name| !zones.contains(name)) {
        return Err(ApiError::new(
            "InvalidParameterValue",
            format!("Invalid availability zone: [{unknown}]"),
        ));
    }
    if let Some(unknown) = ids.iter().find(|id| !zones.iter().any(|zone| zone_id(zone) == **id)) {
        let message = format!("Invalid availability zone id: [{unknown}]");
        return Err(ApiError::new("InvalidParameterValue", message));
    }
    let everything = wanted.is_empty() && ids.is_empty();
    let named = |zone: &&String| everything || wanted.contains(zone) || ids.contains(&zone_id(zone));
    let shown = passing.iter().filter(named);
    call.answer("DescribeAvailabilityZones", |xml| {
        xml.list("availabilityZoneInfo", shown, |xml, zone| {
            xml.text("zoneName", zone);
            xml.text("zoneId", zone_id(zone));
            xml.text("groupName", format!("{region}-zg-1"));
            xml.text("networkBorderGroup", &region);
            xml.text("zoneState", "available");
            xml.text("regionName", &region);
            xml.text("zoneType", "availability-zone");
            xml.text("optInStatus", "opt-in-not-required");
            xml.list("messageSet", [(); 0], |_, ()| {});
        });
    })
}

pub(super) fn describe_vpcs(call: &Call<'_>) -> Result<String, ApiError> {
    let (ids, filters) = (call.params.texts("VpcId"), filters(&call.params)?);
    let paging = paging(&call.params)?;
    call.finish_look()?;
    let account = call.look(|world| world.account().to_owned());
    let page = call.look(|world| paging.page(world.describe_vpcs(&ids, &filters)?, |one| one.id.clone()))?;
    call.answer("DescribeVpcs", |xml| {
        xml.list("vpcSet", &page.items, |xml, vpc| {
            xml.text("vpcId", &vpc.id);
            xml.text("ownerId", &account);
            xml.text("state", "available");
            xml.text("cidrBlock", &vpc.cidr);
            xml.text("dhcpOptionsId", "default");
            xml.text("instanceTenancy", "default");
            xml.text("isDefault", vpc.is_default);
            xml.tags(&vpc.tags);
        });
        next_token(xml, page.next_token.as_ref());
    })
}

pub(super) fn describe_subnets(call: &Call<'_>) -> Result<String, ApiError> {
    let (ids, filters) = (call.params.texts("SubnetId"), filters(&call.params)?);
    let paging = paging(&call.params)?;
    call.finish_look()?;
    let account = call.look(|world| world.account().to_owned());
    let page =
        call.look(|world| paging.page(world.describe_subnets(&ids, &filters)?, |one| one.id.clone()))?;
    call.answer("DescribeSubnets", |xml| {
        xml.list("subnetSet", &page.items, |xml, subnet| {
            xml.text("subnetId", &subnet.id);
            xml.text("ownerId", &account);
            xml.text("state", "available");
            xml.text("vpcId", &subnet.vpc);
            xml.text("cidrBlock", &subnet.cidr);
            xml.text("availableIpAddressCount", call.look(|world| world.free_addresses(subnet)));
            xml.text("availabilityZone", &subnet.zone);
            xml.text("defaultForAz", true);
            xml.text("mapPublicIpOnLaunch", false);
            xml.text("availabilityZoneId", zone_id(&subnet.zone));
            xml.text("subnetArn", call.look(|world| world.subnet_arn(subnet)));
            xml.text("assignIpv6AddressOnCreation", false);
            xml.tags(&subnet.tags);
        });
        next_token(xml, page.next_token.as_ref());
    })
}
