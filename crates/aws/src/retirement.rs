//! What only prune does, through EC2: what refers to an image, and removals.

use aws_sdk_ec2::types::{
    DeleteLaunchTemplateVersionsResponseErrorItem, Filter, ImageAttributeName, ImageReferenceOptionName,
    ImageReferenceResourceType, LaunchPermission, LaunchPermissionModifications, LaunchTemplateErrorCode,
    PermissionGroup, ResourceTypeOption, ResourceTypeRequest, SnapshotState,
};
use jiff::Timestamp;
use ovenbird_core::{
    Error, Result,
    domain::{
        error::Retry,
        id::{AmiId, BakeId, SnapshotId, VolumeId},
    },
    ports::{Image, Images as _, Instance, Permission, Retirement, Snapshot, Volume, Witness},
};

use crate::{
    Cloud,
    errors::{code, translate, unreadable},
    images::{NO_IMAGE, filter},
    instances::{ours, tags},
    volumes::volume,
};

/// The states of an instance that uses its image, or can be started from it again.
const ALIVE: [&str; 4] = ["pending", "running", "stopping", "stopped"];

/// EC2 looks at the ten newest versions of a launch template unless it is asked for more; this is its limit.
const EVERY_VERSION: &str = "10000";

/// So many versions of a template EC2 deletes at once.
const MOST_VERSIONS: usize = 200;

impl Retirement for Cloud {
    async fn images(&self, bake: Option<&BakeId>) -> Result<Vec<Image>> {
        self.described("self", ours(&self.settings.stack, bake), "our images").await
    }

    async fn snapshots(&self, bake: Option<&BakeId>) -> Result<Vec<Snapshot>> {
        let filters = ours(&self.settings.stack, bake);
        let request = self.ec2.describe_snapshots().owner_ids("self").set_filters(Some(filters));
        let mut pages = request.into_paginator().send();
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
                let description = one.description().unwrap_or_default().to_owned();
                let bytes = one.full_snapshot_size_in_bytes().and_then(|bytes| u64::try_from(bytes).ok());
                found.push(Snapshot { id, description, bytes, tags: tags(one.tags()) });
            }
        }
        Ok(found)
    }

    async fn volumes(&self, bake: Option<&BakeId>) -> Result<Vec<Volume>> {
        let filters = ours(&self.settings.stack, bake);
        let mut pages = self.ec2.describe_volumes().set_filters(Some(filters)).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| translate("ec2:DescribeVolumes", "our volumes", &error))?;
            for one in page.volumes() {
                found.push(volume(one)?);
            }
        }
        Ok(found)
    }

    async fn instances_of(&self, image: &AmiId) -> Result<Vec<Instance>> {
        self.instances(vec![filter("image-id", image.as_str()), alive()], image.as_str()).await
    }

    async fn witnesses(&self, image: &AmiId) -> Result<Vec<Witness>> {
        let of = |kind: ImageReferenceResourceType, option: Option<ResourceTypeOption>| {
            ResourceTypeRequest::builder()
                .resource_type(kind)
                .set_resource_type_options(option.map(|one| vec![one]))
                .build()
        };
        let option = |name: ImageReferenceOptionName, values: &[&str]| {
            let values = values.iter().map(ToString::to_string).collect();
            ResourceTypeOption::builder().option_name(name).set_option_values(Some(values)).build()
        };
        let states = option(ImageReferenceOptionName::StateName, &ALIVE);
        let versions = option(ImageReferenceOptionName::VersionDepth, &[EVERY_VERSION]);
        let kinds = vec![
            of(ImageReferenceResourceType::Ec2Instance, Some(states)),
            of(ImageReferenceResourceType::Ec2LaunchTemplate, Some(versions)),
            of(ImageReferenceResourceType::SsmParameter, None),
            of(ImageReferenceResourceType::ImageBuilderImageRecipe, None),
            of(ImageReferenceResourceType::ImageBuilderContainerRecipe, None),
        ];
        let request = self.ec2.describe_image_references().image_ids(image.as_str());
        let mut pages = request.set_resource_types(Some(kinds)).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page =
                page.map_err(|error| translate("ec2:DescribeImageReferences", image.as_str(), &error))?;
            found.extend(page.image_references().iter().map(|one| Witness {
                kind: one.resource_type().map_or_else(String::new, |kind| kind.as_str().to_owned()),
                id: id_of(one.arn().unwrap_or_default()),
            }));
        }
        Ok(found)
    }

    async fn images_with(&self, snapshots: &[SnapshotId]) -> Result<Vec<Image>> {
        let mut found = Vec::new();
        for snapshots in snapshots.chunks(MOST_VALUES) {
            let named = Filter::builder().name("block-device-mapping.snapshot-id");
            let named = snapshots.iter().fold(named, |filter, snapshot| filter.values(snapshot.as_str()));
            found.extend(self.described("self", vec![named.build()], "images of our snapshots").await?);
        }
        Ok(found)
    }

    async fn permissions(&self, image: &AmiId) -> Result<Vec<Permission>> {
        let request = self.ec2.describe_image_attribute().image_id(image.as_str());
        let answer = match request.attribute(ImageAttributeName::LaunchPermission).send().await {
            Ok(answer) => answer,
            Err(error) if NO_IMAGE.contains(&code(&error)) => return Ok(Vec::new()),
            Err(error) => return Err(translate("ec2:DescribeImageAttribute", image.as_str(), &error)),
        };
        answer
            .launch_permissions()
            .iter()
            .map(|one| {
                permission(one).ok_or_else(|| {
                    unreadable("ec2:DescribeImageAttribute", image.as_str(), "a permission that names nobody")
                })
            })
            .collect()
    }

    async fn deprecate(&self, image: &AmiId, now: Timestamp) -> Result<()> {
        // EC2 rounds to the minute and takes no time that has passed.
        let at = aws_sdk_ec2::primitives::DateTime::from_secs(now.as_second() + 120);
        let request = self.ec2.enable_image_deprecation().image_id(image.as_str()).deprecate_at(at);
        let done = request.send().await.map(drop);
        done.map_err(|error| translate("ec2:EnableImageDeprecation", image.as_str(), &error))
    }

    async fn undeprecate(&self, image: &AmiId) -> Result<()> {
        let done = self.ec2.disable_image_deprecation().image_id(image.as_str()).send().await.map(drop);
        done.map_err(|error| translate("ec2:DisableImageDeprecation", image.as_str(), &error))
    }

    async fn disable(&self, image: &AmiId) -> Result<()> {
        let done = self.ec2.disable_image().image_id(image.as_str()).send().await.map(drop);
        done.map_err(|error| translate("ec2:DisableImage", image.as_str(), &error))
    }

    async fn enable(&self, image: &AmiId) -> Result<()> {
        match self.ec2.enable_image().image_id(image.as_str()).send().await {
            Ok(_) => Ok(()),
            // It isn't disabled.
            Err(error) if code(&error) == "IncorrectState" => Ok(()),
            Err(error) => Err(translate("ec2:EnableImage", image.as_str(), &error)),
        }
    }

    async fn permit(&self, image: &AmiId, permissions: &[Permission]) -> Result<()> {
        let add = LaunchPermissionModifications::builder()
            .set_add(Some(permissions.iter().map(launch_permission).collect()))
            .build();
        let request = self.ec2.modify_image_attribute().image_id(image.as_str()).launch_permission(add);
        let done = request.send().await.map(drop);
        done.map_err(|error| translate("ec2:ModifyImageAttribute", image.as_str(), &error))
    }

    async fn unprotect(&self, image: &AmiId) -> Result<()> {
        let request = self.ec2.disable_image_deregistration_protection().image_id(image.as_str());
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) if NO_IMAGE.contains(&code(&error)) => Ok(()),
            Err(error) => Err(translate("ec2:DisableImageDeregistrationProtection", image.as_str(), &error)),
        }
    }

    async fn deregister(&self, image: &AmiId) -> Result<bool> {
        match self.ec2.deregister_image().image_id(image.as_str()).send().await {
            Ok(_) => Ok(true),
            // "The specified AMI has been deregistered and is no longer available, or is not in a state from which …": which
            // of the two it is, only a look tells.
            Err(error)
                if code(&error) == "InvalidAMIID.Unavailable" && self.image(image).await?.is_some() =>
            {
                Err(Error::TryAgain { what: format!("image {image}"), why: Retry::InUse })
            }
            Err(error) if NO_IMAGE.contains(&code(&error)) => Ok(true),
            Err(error) if code(&error) == "OperationNotPermitted" => Ok(false),
            Err(error) => Err(translate("ec2:DeregisterImage", image.as_str(), &error)),
        }
    }

    async fn delete_snapshot(&self, snapshot: &SnapshotId) -> Result<()> {
        match self.ec2.delete_snapshot().snapshot_id(snapshot.as_str()).send().await {
            Ok(_) => Ok(()),
            Err(error) if code(&error) == "InvalidSnapshot.NotFound" => Ok(()),
            // The image it belongs to was deregistered a moment ago, or is still pending.
            Err(error) if matches!(code(&error), "InvalidSnapshot.InUse" | "IncorrectState") => {
                Err(Error::TryAgain { what: format!("snapshot {snapshot}"), why: Retry::InUse })
            }
            Err(error) => Err(translate("ec2:DeleteSnapshot", snapshot.as_str(), &error)),
        }
    }

    async fn delete_versions(&self, template: &str, versions: &[u64]) -> Result<()> {
        let operation = "ec2:DeleteLaunchTemplateVersions";
        for versions in versions.chunks(MOST_VERSIONS) {
            let numbers = versions.iter().map(ToString::to_string).collect();
            let request = self.ec2.delete_launch_template_versions().launch_template_id(template);
            let answer = match request.set_versions(Some(numbers)).send().await {
                Ok(answer) => answer,
                // All of them went with their template.
                Err(error) if code(&error) == "InvalidLaunchTemplateId.NotFound" => return Ok(()),
                Err(error) => return Err(translate(operation, template, &error)),
            };
            undeleted(operation, template, answer.unsuccessfully_deleted_launch_template_versions())?;
        }
        Ok(())
    }

    async fn delete_volume(&self, volume: &VolumeId) -> Result<()> {
        match self.ec2.delete_volume().volume_id(volume.as_str()).send().await {
            Ok(_) => Ok(()),
            Err(error) if code(&error) == "InvalidVolume.NotFound" => Ok(()),
            // Its instance is on its way out, or it is itself still being made.
            Err(error) if matches!(code(&error), "VolumeInUse" | "IncorrectState") => {
                Err(Error::TryAgain { what: format!("volume {volume}"), why: Retry::InUse })
            }
            Err(error) => Err(translate("ec2:DeleteVolume", volume.as_str(), &error)),
        }
    }
}

fn permission(one: &LaunchPermission) -> Option<Permission> {
    match (one.group(), one.user_id(), one.organization_arn(), one.organizational_unit_arn()) {
        (Some(_), ..) => Some(Permission::Everybody),
        (None, Some(id), ..) => Some(Permission::Account(id.to_owned())),
        (None, None, Some(arn), _) => Some(Permission::Organization(arn.to_owned())),
        (None, None, None, Some(arn)) => Some(Permission::Unit(arn.to_owned())),
        (None, None, None, None) => None,
    }
}

fn launch_permission(one: &Permission) -> LaunchPermission {
    let builder = LaunchPermission::builder();
    match one {
        Permission::Everybody => builder.group(PermissionGroup::All),
        Permission::Account(id) => builder.user_id(id),
        Permission::Organization(arn) => builder.organization_arn(arn),
        Permission::Unit(arn) => builder.organizational_unit_arn(arn),
    }
    .build()
}

pub(crate) fn alive() -> Filter {
    let named = Filter::builder().name("instance-state-name");
    ALIVE.iter().fold(named, |filter, state| filter.values(*state)).build()
}

/// A filter takes so many values.
pub(crate) const MOST_VALUES: usize = 200;

/// What an ARN names, without the account's number, which belongs in no log: `instance/i-…` is `i-…`, and
/// `parameter/images/shop` is `/images/shop`, as SSM calls it.
/// What EC2 could not delete, though it answers with a success: the first one that is still there.
fn undeleted(
    operation: &'static str,
    template: &str,
    left: &[DeleteLaunchTemplateVersionsResponseErrorItem],
) -> Result<()> {
    for one in left {
        let error = one.response_error();
        let code = error.and_then(|error| error.code());
        if code == Some(&LaunchTemplateErrorCode::LaunchTemplateVersionDoesNotExist) {
            continue;
        }
        let version = one.version_number().unwrap_or_default();
        return Err(Error::Aws {
            operation: operation.to_owned(),
            subject: format!("{template} version {version}"),
            code: code.map_or_else(String::new, |code| code.as_str().to_owned()),
            message: error.and_then(|error| error.message()).unwrap_or_default().to_owned(),
            request_id: String::new(),
        });
    }
    Ok(())
}

fn id_of(arn: &str) -> String {
    let resource = arn.splitn(6, ':').nth(5).unwrap_or_default();
    match resource.split_once('/') {
        Some(("parameter", name)) => format!("/{name}"),
        Some((_, id)) => id.to_owned(),
        None => resource.to_owned(),
    }
}
