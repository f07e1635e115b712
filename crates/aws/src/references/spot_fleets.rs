//! Spot fleet requests: a launch specification names an image. Their launch templates are looked at as such.

use aws_sdk_ec2::types::{BatchState, SpotFleetRequestConfig, SpotFleetRequestConfigData};
use ovenbird_core::{Result, domain::reference::Kind, ports::Look};

use super::Named;
use crate::{Cloud, errors::translate};

pub(super) async fn every_spot_fleet(cloud: &Cloud) -> Result<Look> {
    let mut pages = cloud.ec2.describe_spot_fleet_requests().into_paginator().send();
    let mut named = Named::default();
    while let Some(page) = pages.next().await {
        let page = page
            .map_err(|error| translate("ec2:DescribeSpotFleetRequests", "all spot fleet requests", &error))?;
        page.spot_fleet_request_configs().iter().for_each(|request| note(&mut named, request));
    }
    Ok(named.look)
}

/// Notes what a request launches by. What was cancelled launches nothing any more.
fn note(named: &mut Named, request: &SpotFleetRequestConfig) {
    let gone = matches!(
        request.spot_fleet_request_state(),
        Some(
            BatchState::Cancelled | BatchState::CancelledRunning | BatchState::CancelledTerminatingInstances
        )
    );
    if gone {
        return;
    }
    named.look.seen += 1;
    let id = request.spot_fleet_request_id().unwrap_or_default();
    let config = request.spot_fleet_request_config();
    let templates = config.map(SpotFleetRequestConfigData::launch_template_configs).unwrap_or_default();
    for spec in templates.iter().filter_map(|one| one.launch_template_specification()) {
        let template = spec.launch_template_id().or(spec.launch_template_name());
        named.pin(&format!("spot fleet request {id}"), template, spec.version());
    }
    for one in config.map(SpotFleetRequestConfigData::launch_specifications).unwrap_or_default() {
        named.note(Kind::SpotFleet, id, one.image_id());
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::{
        FleetLaunchTemplateSpecification, LaunchTemplateConfig, SpotFleetLaunchSpecification,
    };

    use super::*;

    fn request(state: BatchState, version: &str) -> SpotFleetRequestConfig {
        let spec = FleetLaunchTemplateSpecification::builder().launch_template_name("web").version(version);
        let template = LaunchTemplateConfig::builder().launch_template_specification(spec.build());
        let image = SpotFleetLaunchSpecification::builder().image_id("ami-0123456789abcdef0");
        let data = SpotFleetRequestConfigData::builder()
            .iam_fleet_role("role")
            .target_capacity(1)
            .launch_template_configs(template.build())
            .launch_specifications(image.build());
        SpotFleetRequestConfig::builder()
            .spot_fleet_request_id("sfr-1")
            .spot_fleet_request_state(state)
            .spot_fleet_request_config(data.build())
            .build()
    }

    #[test]
    fn a_request_that_isn_t_cancelled_keeps_its_image_and_the_version_it_names_by_number() {
        let look = |state, version| {
            let mut named = Named::default();
            note(&mut named, &request(state, version));
            named.look
        };
        for state in [BatchState::Active, BatchState::Modifying, BatchState::Submitted, BatchState::Failed] {
            let look = look(state, "7");
            assert_eq!((look.seen, look.named.len()), (1, 1));
            let pin = &look.pins[0];
            let by = "spot fleet request sfr-1";
            assert_eq!((pin.template.as_str(), pin.version, pin.by.as_str()), ("web", 7, by));
        }
        assert!(look(BatchState::Active, "$Default").pins.is_empty());
        for state in [BatchState::Cancelled, BatchState::CancelledRunning] {
            assert_eq!(look(state, "7"), Look::default());
        }
    }
}
