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

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::{FleetLaunchTemplateOverrides, FleetLaunchTemplateSpecification};

    use super::*;

    fn fleet(state: FleetStateCode, version: &str) -> FleetData {
        let spec = FleetLaunchTemplateSpecification::builder().launch_template_id("lt-1").version(version);
        let over = FleetLaunchTemplateOverrides::builder().image_id("ami-0123456789abcdef0");
        let config = FleetLaunchTemplateConfig::builder()
            .launch_template_specification(spec.build())
            .overrides(over.build());
        FleetData::builder()
            .fleet_id("fleet-1")
            .fleet_state(state)
            .launch_template_configs(config.build())
            .build()
    }

    #[test]
    fn a_fleet_that_isn_t_deleted_keeps_its_overrides_image_and_the_version_it_names_by_number() {
        let look = |state, version| {
            let mut named = Named::default();
            note(&mut named, &fleet(state, version));
            named.look
        };
        for state in [FleetStateCode::Active, FleetStateCode::Modifying, FleetStateCode::Submitted] {
            let look = look(state, "7");
            assert_eq!((look.seen, look.named.len()), (1, 1));
            let pin = &look.pins[0];
            assert_eq!(
                (pin.template.as_str(), pin.version, pin.by.as_str()),
                ("lt-1", 7, "EC2 Fleet fleet-1")
            );
        }
        assert!(look(FleetStateCode::Active, "$Latest").pins.is_empty());
        for state in [FleetStateCode::Deleted, FleetStateCode::DeletedRunning] {
            assert_eq!(look(state, "7"), Look::default());
        }
    }
}
