//! Instances: also stopped ones, and those of a warm pool, which are instances like others.

use aws_sdk_ec2::types;
use ovenbird_core::{Result, domain::reference::Kind, ports::Look};

use super::Named;
use crate::{
    Cloud,
    errors::{translate, unreadable},
    instances::tags,
    retirement::alive,
};

pub(super) async fn instances_in_use(cloud: &Cloud) -> Result<Look> {
    let mut pages = cloud.ec2.describe_instances().filters(alive()).into_paginator().send();
    let mut named = Named::default();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| translate("ec2:DescribeInstances", "all instances", &error))?;
        for instance in page.reservations().iter().flat_map(types::Reservation::instances) {
            let id = instance.instance_id().unwrap_or_default();
            let image = instance.image_id().filter(|image| image.starts_with("ami-"));
            let image = image.ok_or_else(|| unreadable("ec2:DescribeInstances", id, "it has no image"))?;
            named.look.seen += 1;
            named.note(Kind::Instance, id, Some(image));
            let tags = tags(instance.tags());
            let tag = |key: &str| tags.get(key).map(String::as_str);
            let (template, version) = (tag("aws:ec2launchtemplate:id"), tag("aws:ec2launchtemplate:version"));
            named.pin(&format!("instance {id}"), template, version);
        }
    }
    Ok(named.look)
}
