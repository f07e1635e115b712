//! Images, snapshots and volumes, through EC2.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types::{self, Filter, ResourceType, SnapshotState};
use ovenbird_core::{
    Error, Result,
    id::{AmiId, BakeId, ImageName, InstanceId, SnapshotId, VolumeId},
    ports::{Image, ImageState, Images, Retirement, Snapshot, TAG_BAKE, Volume},
};

use crate::{
    Cloud,
    errors::{code, translate, unreadable},
    instances::{tag_specification, tags},
    volumes::volume,
};

/// Codes by which EC2 says that an image is not there (any more, or yet).
const NO_IMAGE: &[&str] = &["InvalidAMIID.NotFound", "InvalidAMIID.Unavailable"];

impl Images for Cloud {
    async fn look(&self, id: &AmiId) -> Result<Option<Image>> {
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
        reboot: bool,
        tags: &BTreeMap<String, String>,
    ) -> Result<AmiId> {
        let answer = self
            .ec2
            .create_image()
            .instance_id(builder.as_str())
            .name(name.as_str())
            .no_reboot(!reboot)
            .tag_specifications(tag_specification(ResourceType::Image, tags))
            .tag_specifications(tag_specification(ResourceType::Snapshot, tags))
            .send()
            .await;
        match answer {
            Ok(answer) => AmiId::parse(answer.image_id().unwrap_or_default())
                .map_err(|error| unreadable("ec2:CreateImage", name.as_str(), error)),
            Err(error) if code(&error) == "InvalidAMIName.Duplicate" => {
                Err(Error::TryAgain { what: format!("image name `{name}`") })
            }
            Err(error) => Err(translate("ec2:CreateImage", builder.as_str(), &error)),
        }
    }
}

impl Retirement for Cloud {
    async fn images(&self, bake: Option<&BakeId>) -> Result<Vec<Image>> {
        self.described("self", vec![ours(bake)], "our images").await
    }

    async fn snapshots(&self, bake: Option<&BakeId>) -> Result<Vec<Snapshot>> {
        let mut pages =
            self.ec2.describe_snapshots().owner_ids("self").filters(ours(bake)).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| translate("ec2:DescribeSnapshots", "our snapshots", &error))?;
            for one in page.snapshots() {
                // A snapshot in the recycle bin or a failed one is still one to delete; a deleted one isn't shown.
                if one.state() == Some(&SnapshotState::Recoverable) {
                    continue;
                }
                let id = SnapshotId::parse(one.snapshot_id().unwrap_or_default())
                    .map_err(|error| unreadable("ec2:DescribeSnapshots", "our snapshots", error))?;
                found.push(Snapshot { id, tags: tags(one.tags()) });
            }
        }
        Ok(found)
    }

    async fn volumes(&self, bake: Option<&BakeId>) -> Result<Vec<Volume>> {
        let mut pages = self.ec2.describe_volumes().filters(ours(bake)).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| translate("ec2:DescribeVolumes", "our volumes", &error))?;
            for one in page.volumes() {
                found.push(volume(one)?);
            }
        }
        Ok(found)
    }

    async fn in_use(&self) -> Result<BTreeSet<AmiId>> {
        let states = ["pending", "running", "stopping", "stopped"];
        let alive = states
            .iter()
            .fold(Filter::builder().name("instance-state-name"), |filter, state| filter.values(*state));
        let mut pages = self.ec2.describe_instances().filters(alive.build()).into_paginator().send();
        let mut images = BTreeSet::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| translate("ec2:DescribeInstances", "all instances", &error))?;
            for instance in page.reservations().iter().flat_map(types::Reservation::instances) {
                let id = instance.image_id().unwrap_or_default();
                images.insert(
                    AmiId::parse(id).map_err(|error| unreadable("ec2:DescribeInstances", id, error))?,
                );
            }
        }
        Ok(images)
    }

    async fn deregister(&self, image: &AmiId) -> Result<()> {
        match self.ec2.deregister_image().image_id(image.as_str()).send().await {
            Ok(_) => Ok(()),
            Err(error) if NO_IMAGE.contains(&code(&error)) => Ok(()),
            Err(error) => Err(translate("ec2:DeregisterImage", image.as_str(), &error)),
        }
    }

    async fn delete_snapshot(&self, snapshot: &SnapshotId) -> Result<()> {
        match self.ec2.delete_snapshot().snapshot_id(snapshot.as_str()).send().await {
            Ok(_) => Ok(()),
            Err(error) if code(&error) == "InvalidSnapshot.NotFound" => Ok(()),
            // The image it belongs to was deregistered a moment ago, or is still pending.
            Err(error) if matches!(code(&error), "InvalidSnapshot.InUse" | "IncorrectState") => {
                Err(Error::TryAgain { what: format!("snapshot {snapshot}, still in use,") })
            }
            Err(error) => Err(translate("ec2:DeleteSnapshot", snapshot.as_str(), &error)),
        }
    }

    async fn delete_volume(&self, volume: &VolumeId) -> Result<()> {
        match self.ec2.delete_volume().volume_id(volume.as_str()).send().await {
            Ok(_) => Ok(()),
            Err(error) if code(&error) == "InvalidVolume.NotFound" => Ok(()),
            // Its instance is on its way out, or it is itself still being made.
            Err(error) if matches!(code(&error), "VolumeInUse" | "IncorrectState") => {
                Err(Error::TryAgain { what: format!("volume {volume}, still in use,") })
            }
            Err(error) => Err(translate("ec2:DeleteVolume", volume.as_str(), &error)),
        }
    }
}

impl Cloud {
    async fn described(&self, owner: &str, filters: Vec<Filter>, subject: &str) -> Result<Vec<Image>> {
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

fn filter(name: &str, value: &str) -> Filter {
    Filter::builder().name(name).values(value).build()
}

fn ours(bake: Option<&BakeId>) -> Filter {
    match bake {
        Some(bake) => filter(&format!("tag:{TAG_BAKE}"), bake.as_str()),
        None => filter("tag-key", TAG_BAKE),
    }
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
    Ok(Some(Image {
        id: AmiId::parse(image.image_id().unwrap_or_default()).map_err(|error| bad(error.to_string()))?,
        name: image.name().unwrap_or_default().to_owned(),
        state,
        reason: image.state_reason().and_then(types::StateReason::message).unwrap_or_default().to_owned(),
        created: created.parse().map_err(|error| bad(format!("creation date `{created}`: {error}")))?,
        architecture: image.architecture().map_or_else(|| "x86_64".to_owned(), |one| one.as_str().to_owned()),
        root_device: root.and_then(|root| root.device_name()).map(str::to_owned),
        gib,
        devices,
        deprecated: deprecated.transpose()?,
        snapshots,
        tags: tags(image.tags()),
    }))
}
