//! Images, through EC2.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{self, AttributeValue, Filter, ResourceType};
use ovenbird_core::{
    Error, Result,
    domain::{
        error::Retry,
        id::{AmiId, ImageName, InstanceId, SnapshotId},
    },
    ports::{Image, ImageAttributes, ImageState, Images, Protection},
};

use crate::{
    Cloud,
    errors::{code, translate, unreadable},
    instances::{tag_specification, tags},
};

/// Codes by which EC2 says that an image is not there (any more, or yet).
pub(crate) const NO_IMAGE: &[&str] = &["InvalidAMIID.NotFound", "InvalidAMIID.Unavailable"];

impl Images for Cloud {
    async fn image(&self, id: &AmiId) -> Result<Option<Image>> {
        match self.ec2.describe_images().image_ids(id.as_str()).send().await {
            Ok(answer) => answer.images().iter().find_map(|one| image(one).transpose()).transpose(),
            Err(error) if NO_IMAGE.contains(&code(&error)) => Ok(None),
            Err(error) => Err(translate("ec2:DescribeImages", id.as_str(), &error)),
        }
    }

    async fn named(&self, name: &ImageName) -> Result<Option<Image>> {
        let found = self.described("self", vec![filter("name", name.as_str())], name.as_str()).await?;
        Ok(found.into_iter().next())
    }

    async fn matching(&self, owner: &str, pattern: &str) -> Result<Vec<Image>> {
        let filters = vec![filter("name", pattern), filter("state", "available")];
        self.described(owner, filters, pattern).await
    }

    async fn create(
        &self,
        builder: &InstanceId,
        name: &ImageName,
        description: &str,
        reboot: bool,
        tags: &BTreeMap<String, String>,
    ) -> Result<AmiId> {
        let answer = self
            .ec2
            .create_image()
            .instance_id(builder.as_str())
            .name(name.as_str())
            .description(description)
            .no_reboot(!reboot)
            .tag_specifications(tag_specification(ResourceType::Image, tags))
            .tag_specifications(tag_specification(ResourceType::Snapshot, tags))
            .send()
            .await;
        match answer {
            Ok(answer) => AmiId::parse(answer.image_id().unwrap_or_default())
                .map_err(|error| unreadable("ec2:CreateImage", name.as_str(), error)),
            Err(error) if code(&error) == "InvalidAMIName.Duplicate" => {
                Err(Error::TryAgain { what: format!("the image named `{name}`"), why: Retry::Unseen })
            }
            Err(error) => Err(translate("ec2:CreateImage", builder.as_str(), &error)),
        }
    }
}

impl ImageAttributes for Cloud {
    async fn require_imdsv2(&self, image: &AmiId) -> Result<()> {
        let value = AttributeValue::builder().value(types::ImdsSupportValues::V20.as_str()).build();
        let request = self.ec2.modify_image_attribute().image_id(image.as_str()).imds_support(value);
        let done = request.send().await.map(drop);
        done.map_err(|error| translate("ec2:ModifyImageAttribute", image.as_str(), &error))
    }

    async fn protect(&self, image: &AmiId) -> Result<()> {
        let request = self.ec2.enable_image_deregistration_protection().image_id(image.as_str());
        let done = request.send().await.map(drop);
        done.map_err(|error| translate("ec2:EnableImageDeregistrationProtection", image.as_str(), &error))
    }
}

impl Cloud {
    pub(crate) async fn described(
        &self,
        owner: &str,
        filters: Vec<Filter>,
        subject: &str,
    ) -> Result<Vec<Image>> {
        // EC2 leaves disabled images out, and yet shows their snapshots: those would look like nobody's.
        let request =
            self.ec2.describe_images().owners(owner).include_disabled(true).set_filters(Some(filters));
        let mut pages = request.into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| translate("ec2:DescribeImages", subject, &error))?;
            for one in page.images() {
                found.extend(image(one)?);
            }
        }
        Ok(found)
    }
}

pub(crate) fn filter(name: &str, value: &str) -> Filter {
    Filter::builder().name(name).values(value).build()
}

/// The image in domain words; none when it is deregistered and only still shown.
fn image(image: &types::Image) -> Result<Option<Image>> {
    let bad = |what: String| unreadable("ec2:DescribeImages", image.image_id().unwrap_or("?"), what);
    let state = match image.state() {
        Some(types::ImageState::Available) => ImageState::Available,
        Some(types::ImageState::Disabled) => ImageState::Disabled,
        Some(types::ImageState::Pending | types::ImageState::Transient) => ImageState::Pending,
        Some(types::ImageState::Failed | types::ImageState::Error | types::ImageState::Invalid) => {
            ImageState::Failed
        }
        Some(types::ImageState::Deregistered) => return Ok(None),
        other => return Err(bad(format!("state {other:?}"))),
    };
    // The root's mapping says how large its volume is at least.
    let root = image
        .block_device_mappings()
        .iter()
        .find(|device| device.device_name().is_some() && device.device_name() == image.root_device_name());
    let gib = root.and_then(|root| u32::try_from(root.ebs()?.volume_size()?).ok());
    let snapshots = image
        .block_device_mappings()
        .iter()
        .filter_map(|device| device.ebs()?.snapshot_id())
        .map(|id| SnapshotId::parse(id).map_err(|error| bad(error.to_string())))
        .collect::<Result<_>>()?;
    // An instance's own disks have no volume, and so no EBS part.
    let devices = image.block_device_mappings().iter().filter(|device| device.ebs().is_some());
    let devices = devices.filter_map(|device| device.device_name()).map(str::to_owned).collect();
    let created = image.creation_date().unwrap_or_default();
    let deprecated = image.deprecation_time().filter(|time| !time.is_empty());
    let deprecated = deprecated
        .map(|time| time.parse().map_err(|error| bad(format!("deprecation time `{time}`: {error}"))));
    let launched = image.last_launched_time().filter(|time| !time.is_empty());
    let launched =
        launched.map(|time| time.parse().map_err(|error| bad(format!("last launch `{time}`: {error}"))));
    Ok(Some(Image {
        id: AmiId::parse(image.image_id().unwrap_or_default()).map_err(|error| bad(error.to_string()))?,
        name: image.name().unwrap_or_default().to_owned(),
        owner: image.owner_id().unwrap_or_default().to_owned(),
        state,
        reason: image.state_reason().and_then(types::StateReason::message).unwrap_or_default().to_owned(),
        created: created.parse().map_err(|error| bad(format!("creation date `{created}`: {error}")))?,
        architecture: image.architecture().ok_or_else(|| bad("no architecture".into()))?.as_str().to_owned(),
        root_device: root.and_then(|root| root.device_name()).map(str::to_owned),
        gib,
        devices,
        deprecated: deprecated.transpose()?,
        protection: match image.deregistration_protection() {
            None | Some("" | "disabled") => Protection::Off,
            Some("enabled-without-cooldown" | "enabled") => Protection::On,
            // Also of a word that isn't known here: such a protection is lifted by nobody but a person.
            Some(_) => Protection::WithCooldown,
        },
        imdsv2: image.imds_support() == Some(&types::ImdsSupportValues::V20),
        launched: launched.transpose()?,
        snapshots,
        tags: tags(image.tags()),
    }))
}
