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
    named.resolved(cloud).await
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
