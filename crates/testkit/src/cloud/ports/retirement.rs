//! What only prune does, by the world's EC2.

use jiff::{SignedDuration, Timestamp};
use ovenbird_core::{
    Error, Result,
    domain::{
        error::Retry,
        id::{AmiId, BakeId, SnapshotId, VolumeId},
    },
    ports::{self, Permission, Retirement},
};
use ovenbird_sim::{
    ApiError, Asked, DescribeImages, Filter, LaunchPermission,
    launch_templates::{TemplateSpec, Undeleted},
};

use super::{
    super::Cloud,
    ec2::{instance, ours, volume},
    pages, translate,
};

/// What EC2 asks IAM for when it looks for references in the caller's name:
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-ami-references.html>
const REFERENCES: &[&str] = &[
    "ec2:DescribeImageReferences",
    "ec2:DescribeInstances",
    "ec2:DescribeLaunchTemplates",
    "ec2:DescribeLaunchTemplateVersions",
    "imagebuilder:GetContainerRecipe",
    "imagebuilder:GetImageRecipe",
    "imagebuilder:ListContainerRecipes",
    "imagebuilder:ListImageRecipes",
    "ssm:DescribeParameters",
    "ssm:GetParameters",
];

impl Retirement for Cloud {
    async fn images(&self, bake: Option<&BakeId>) -> Result<Vec<ports::Image>> {
        let filters = ours(&self.stack, bake);
        let request = DescribeImages {
            owners: vec!["self".into()],
            filters,
            include_disabled: true,
            ..DescribeImages::default()
        };
        self.call(&["ec2:DescribeImages"], |state| state.images(&request)).await
    }

    async fn snapshots(&self, bake: Option<&BakeId>) -> Result<Vec<ports::Snapshot>> {
        let filters = ours(&self.stack, bake);
        self.call(&["ec2:DescribeSnapshots"], |state| {
            let world = state.shown(Asked::Snapshots);
            let all = pages(
                |paging| world.describe_snapshots(&[], &[], &[], &filters, paging),
                |one| ports::Snapshot {
                    id: one.id,
                    description: one.description,
                    bytes: Some(u64::from(one.size) << 30),
                    tags: one.tags,
                },
            );
            all.map_err(|error| translate("ec2:DescribeSnapshots", "", &error))
        })
        .await
    }

    async fn volumes(&self, bake: Option<&BakeId>) -> Result<Vec<ports::Volume>> {
        let filters = ours(&self.stack, bake);
        self.call(&["ec2:DescribeVolumes"], |state| {
            let world = state.shown(Asked::Volumes);
            let all = pages(|paging| world.describe_volumes(&[], &filters, paging), |one| volume(&one));
            all.map_err(|error| translate("ec2:DescribeVolumes", "", &error))
        })
        .await
    }

    async fn instances_of(&self, image: &AmiId) -> Result<Vec<ports::Instance>> {
        let filter = Filter { name: "image-id".into(), values: vec![image.to_string()] };
        let all =
            self.call(&["ec2:DescribeInstances"], |state| state.instances(std::slice::from_ref(&filter)));
        Ok(all.await?.into_iter().filter(|one| !one.state.is_gone()).collect())
    }

    async fn witnesses(&self, image: &AmiId) -> Result<Vec<ports::Witness>> {
        self.call(REFERENCES, |state| {
            let reference = |kind: &str, id: &str| ports::Witness { kind: kind.into(), id: id.into() };
            let world = state.shown(Asked::Instances);
            let all = pages(|paging| world.describe_instances(state.now, &[], &[], paging), |one| one);
            let all =
                all.map_err(|error| translate("ec2:DescribeImageReferences", image.as_str(), &error))?;
            let instances = all.into_iter().filter(|one| one.image == *image);
            let instances = instances.filter(|one| !instance(one).state.is_gone());
            let parameters = state.parameters.iter().filter(|(_, value)| *value == image.as_str());
            let templates = state.shown(Asked::Templates).launch_templates().filter(|template| {
                template.versions().any(|one| one.data.image.as_deref() == Some(image.as_str()))
            });
            let others = state.witnesses.iter().filter(|(of, _)| of == image);
            Ok(instances
                .map(|one| reference("Instance", one.id.as_str()))
                .chain(parameters.map(|(name, _)| reference("Parameter", name.as_str())))
                .chain(templates.map(|template| reference("LaunchTemplate", &template.id)))
                .chain(others.map(|(_, one)| one.clone()))
                .collect())
        })
        .await
    }

    async fn images_with(&self, snapshots: &[SnapshotId]) -> Result<Vec<ports::Image>> {
        let values = snapshots.iter().map(ToString::to_string).collect();
        let filters = vec![Filter { name: "block-device-mapping.snapshot-id".into(), values }];
        let request = DescribeImages {
            owners: vec!["self".into()],
            filters,
            include_disabled: true,
            ..DescribeImages::default()
        };
        self.call(&["ec2:DescribeImages"], |state| state.images(&request)).await
    }

    async fn unprotect(&self, image: &AmiId) -> Result<()> {
        self.call(&["ec2:DisableImageDeregistrationProtection"], |state| {
            match state.world.unprotect_image(state.now, image.as_str(), false) {
                Ok(_) => Ok(()),
                Err(error) if error.code == "InvalidAMIID.NotFound" => {
                    state.gone("ec2:DisableImageDeregistrationProtection", image.as_str())
                }
                Err(error) => {
                    Err(translate("ec2:DisableImageDeregistrationProtection", image.as_str(), &error))
                }
            }
        })
        .await
    }

    async fn deregister(&self, image: &AmiId) -> Result<bool> {
        self.call(&["ec2:DeregisterImage"], |state| {
            state.pending(image)?;
            match state.world.deregister_image(state.now, image.as_str(), false, false) {
                Ok(()) => Ok(true),
                Err(error) if error.code == "InvalidAMIID.NotFound" => {
                    state.gone("ec2:DeregisterImage", image.as_str()).map(|()| true)
                }
                Err(error) if error.code == "OperationNotPermitted" => Ok(false),
                Err(error) => Err(translate("ec2:DeregisterImage", image.as_str(), &error)),
            }
        })
        .await
    }

    async fn delete_snapshot(&self, snapshot: &SnapshotId) -> Result<()> {
        self.call(&["ec2:DeleteSnapshot"], |state| {
            match state.world.delete_snapshot(state.now, snapshot.as_str(), false) {
                Ok(()) => Ok(()),
                Err(error) if error.code == "InvalidSnapshot.NotFound" => {
                    state.gone("ec2:DeleteSnapshot", snapshot.as_str())
                }
                Err(error) if error.code == "InvalidSnapshot.InUse" => {
                    Err(Error::TryAgain { what: snapshot.to_string(), why: Retry::InUse })
                }
                Err(error) => Err(translate("ec2:DeleteSnapshot", snapshot.as_str(), &error)),
            }
        })
        .await
    }

    async fn delete_versions(&self, template: &str, versions: &[u64]) -> Result<()> {
        self.call(&["ec2:DeleteLaunchTemplateVersions"], |state| {
            let spec = TemplateSpec { id: Some(template.to_owned()), ..TemplateSpec::default() };
            let numbers: Vec<String> = versions.iter().map(ToString::to_string).collect();
            let operation = "ec2:DeleteLaunchTemplateVersions";
            let left = match state.world.delete_launch_template_versions(&spec, &numbers, false) {
                Ok((_, left)) => left,
                Err(error) if error.code == "InvalidLaunchTemplateId.NotFound" => return Ok(()),
                Err(error) => return Err(translate(operation, template, &error)),
            };
            match left.into_iter().find(|one| one.code != "launchTemplateVersionDoesNotExist") {
                None => Ok(()),
                Some(Undeleted { version, code, message }) => {
                    let subject = format!("{template} version {version}");
                    Err(translate(operation, &subject, &ApiError::new(code, message)))
                }
            }
        })
        .await
    }

    async fn delete_volume(&self, volume: &VolumeId) -> Result<()> {
        self.call(&["ec2:DeleteVolume"], |state| match state.world.delete_volume(volume.as_str(), false) {
            Ok(()) => Ok(()),
            Err(error) if error.code == "InvalidVolume.NotFound" => {
                state.gone("ec2:DeleteVolume", volume.as_str())
            }
            Err(error) if error.code == "VolumeInUse" => {
                Err(Error::TryAgain { what: volume.to_string(), why: Retry::InUse })
            }
            Err(error) => Err(translate("ec2:DeleteVolume", volume.as_str(), &error)),
        })
        .await
    }

    async fn permissions(&self, id: &AmiId) -> Result<Vec<Permission>> {
        self.call(&["ec2:DescribeImageAttribute"], |state| {
            match state.world.launch_permissions(id.as_str()) {
                Ok(found) => Ok(found.into_iter().map(permission).collect()),
                Err(error) if error.code == "InvalidAMIID.NotFound" => Ok(Vec::new()),
                Err(error) => Err(translate("ec2:DescribeImageAttribute", id.as_str(), &error)),
            }
        })
        .await
    }

    async fn deprecate(&self, id: &AmiId, now: Timestamp) -> Result<()> {
        self.call(&["ec2:EnableImageDeprecation"], |state| {
            let at = now + SignedDuration::from_mins(2);
            // The account's clock may be ahead of the step's: a slow call comes late.
            let at = at.max(state.now);
            let done = state.world.enable_image_deprecation(state.now, id.as_str(), at, false);
            done.map_err(|error| translate("ec2:EnableImageDeprecation", id.as_str(), &error))
        })
        .await
    }

    async fn undeprecate(&self, id: &AmiId) -> Result<()> {
        self.call(&["ec2:DisableImageDeprecation"], |state| {
            let done = state.world.disable_image_deprecation(id.as_str(), false);
            done.map_err(|error| translate("ec2:DisableImageDeprecation", id.as_str(), &error))
        })
        .await
    }

    async fn disable(&self, id: &AmiId) -> Result<()> {
        self.call(&["ec2:DisableImage"], |state| {
            let done = state.world.disable_image(id.as_str(), false);
            done.map_err(|error| translate("ec2:DisableImage", id.as_str(), &error))
        })
        .await
    }

    async fn enable(&self, id: &AmiId) -> Result<()> {
        self.call(&["ec2:EnableImage"], |state| match state.world.enable_image(id.as_str(), false) {
            Ok(()) => Ok(()),
            Err(error) if error.code == "IncorrectState" => Ok(()),
            Err(error) => Err(translate("ec2:EnableImage", id.as_str(), &error)),
        })
        .await
    }

    async fn permit(&self, id: &AmiId, permissions: &[Permission]) -> Result<()> {
        self.call(&["ec2:ModifyImageAttribute"], |state| {
            let add: Vec<_> = permissions.iter().map(launch_permission).collect();
            let done = state.world.modify_launch_permissions(id.as_str(), &add, &[], false);
            done.map_err(|error| translate("ec2:ModifyImageAttribute", id.as_str(), &error))
        })
        .await
    }
}

fn permission(given: LaunchPermission) -> Permission {
    match given {
        LaunchPermission::All => Permission::Everybody,
        LaunchPermission::User(id) => Permission::Account(id),
        LaunchPermission::Organization(arn) => Permission::Organization(arn),
        LaunchPermission::OrganizationalUnit(arn) => Permission::Unit(arn),
    }
}

fn launch_permission(given: &Permission) -> LaunchPermission {
    match given {
        Permission::Everybody => LaunchPermission::All,
        Permission::Account(id) => LaunchPermission::User(id.clone()),
        Permission::Organization(arn) => LaunchPermission::Organization(arn.clone()),
        Permission::Unit(arn) => LaunchPermission::OrganizationalUnit(arn.clone()),
    }
}
