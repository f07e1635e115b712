//! EC2 Fleets: an override may name an image, also by a parameter. Their launch templates are looked at as such.

use aws_sdk_ec2::types::{FleetData, FleetLaunchTemplateConfig, FleetStateCode};
use ovenbird_core::{Result, domain::reference::Kind, ports::Look};

use super::Named;
use crate::{Cloud, errors::translate};

pub(super) async fn every_fleet(cloud: &Cloud) -> Result<Look> {
    let mut pages = cloud.ec2.describe_fleets().into_paginator().send();
    let mut named = Named::default();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| translate("ec2:DescribeFleets", "all EC2 Fleets", &error))?;
        page.fleets().iter().for_each(|fleet| note(&mut named, fleet));
    }
    named.resolved(cloud).await
}

/// Notes what a fleet launches by. What was deleted launches nothing any more; its instances are looked at as such.
fn note(named: &mut Named, fleet: &FleetData) {
    let gone = matches!(
        fleet.fleet_state(),
        Some(
            FleetStateCode::Deleted
                | FleetStateCode::DeletedRunning
                | FleetStateCode::DeletedTerminatingInstances
        )
    );
    if gone {
        return;
    }
    named.look.seen += 1;
    let id = fleet.fleet_id().unwrap_or_default();
    for spec in fleet.launch_template_configs().iter().filter_map(|one| one.launch_template_specification()) {
        let template = spec.launch_template_id().or(spec.launch_template_name());
        named.pin(&format!("EC2 Fleet {id}"), template, spec.version());
    }
    for one in fleet.launch_template_configs().iter().flat_map(FleetLaunchTemplateConfig::overrides) {
        named.note(Kind::Fleet, id, one.image_id());
    }
}
