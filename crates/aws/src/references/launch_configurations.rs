//! Launch configurations, also those that no group uses: somebody may make a group of one.

use ovenbird_core::{Result, domain::reference::Kind, ports::Look};

use super::Named;
use crate::{Cloud, errors::translate};

pub(super) async fn every_launch_configuration(cloud: &Cloud) -> Result<Look> {
    let mut pages = cloud.autoscaling.describe_launch_configurations().into_paginator().send();
    let mut named = Named::default();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| {
            translate("autoscaling:DescribeLaunchConfigurations", "all launch configurations", &error)
        })?;
        for one in page.launch_configurations() {
            let name = one.launch_configuration_name().unwrap_or_default();
            named.look.seen += 1;
            named.note(Kind::LaunchConfiguration, name, one.image_id());
        }
    }
    named.resolved(cloud).await
}
