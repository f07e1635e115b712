//! Spot fleet requests: a launch specification names an image. Their launch templates are looked at as such.

use aws_sdk_ec2::types::{BatchState, SpotFleetRequestConfigData};
use ovenbird_core::{Result, domain::reference::Kind, ports::Look};

use super::Named;
use crate::{Cloud, errors::translate};

pub(super) async fn every_spot_fleet(cloud: &Cloud) -> Result<Look> {
    let mut pages = cloud.ec2.describe_spot_fleet_requests().into_paginator().send();
    let mut named = Named::default();
    while let Some(page) = pages.next().await {
        let page = page
            .map_err(|error| translate("ec2:DescribeSpotFleetRequests", "all spot fleet requests", &error))?;
        for request in page.spot_fleet_request_configs() {
            // What was cancelled launches nothing any more.
            let gone = matches!(
                request.spot_fleet_request_state(),
                Some(
                    BatchState::Cancelled
                        | BatchState::CancelledRunning
                        | BatchState::CancelledTerminatingInstances
                )
            );
            if gone {
                continue;
            }
            named.look.seen += 1;
            let id = request.spot_fleet_request_id().unwrap_or_default();
            let config = request.spot_fleet_request_config();
            let templates = config.map(SpotFleetRequestConfigData::launch_template_configs);
            for spec in
                templates.unwrap_or_default().iter().filter_map(|one| one.launch_template_specification())
            {
                let template = spec.launch_template_id().or(spec.launch_template_name());
                named.pin(&format!("spot fleet request {id}"), template, spec.version());
            }
            for one in config.map(SpotFleetRequestConfigData::launch_specifications).unwrap_or_default() {
                named.note(Kind::SpotFleet, id, one.image_id());
            }
        }
    }
    Ok(named.look)
}
