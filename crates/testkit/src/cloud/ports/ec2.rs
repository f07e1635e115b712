//! Builders and images, by the world's EC2.

use std::collections::BTreeMap;

use ovenbird_core::{
    Error, Result,
    domain::{
        error::Retry,
        id::{AmiId, BakeId, ImageName, InstanceId, StackId},
        offer::{Loss, RootVolume, Shortage},
        tags,
    },
    ports::{self, Builders, ImageAttributes, Images},
};

use super::{
    super::{Cloud, State},
    pages, translate,
};
use ovenbird_sim::{
    Asked, CreateImage, DescribeImages, Filter, ImageState, InstanceState, NewVolume, Paging, ROOT_DEVICE,
    RunInstances, Tags,
};

/// What the model's refusals of a launch mean.
fn shortage(code: &str) -> Option<Shortage> {
    match code {
        "InsufficientInstanceCapacity" | "Unsupported" => Some(Shortage::Offer),
        "VcpuLimitExceeded" => Some(Shortage::Quota),
        "MaxSpotInstanceCountExceeded" => Some(Shortage::SpotQuota),
        "InsufficientFreeAddressesInSubnet" => Some(Shortage::Subnet),
        _ => None,
    }
}

/// What the model's state reasons mean.
fn loss(code: &str) -> Loss {
    match code {
        "Server.SpotInstanceTermination" => Loss::SpotReclaimed,
        "Server.InsufficientInstanceCapacity" => Loss::Capacity,
        "Client.InternalError" => Loss::VolumeKey,
        "Client.InstanceInitiatedShutdown" => Loss::PoweredOff,
        "Client.UserInitiatedShutdown" => Loss::ByRequest,
        _ => Loss::Unknown,
    }
}

/// What is this stack's, of one bake or of all.
pub(super) fn ours(stack: &StackId, bake: Option<&BakeId>) -> Vec<Filter> {
    let tagged =
        |key: &str, value: &str| Filter { name: format!("tag:{key}"), values: vec![value.to_owned()] };
    let of_bake = bake.map(|bake| tagged(tags::TAG_BAKE, bake.as_str()));
    std::iter::once(tagged(tags::TAG_STACK, stack.as_str())).chain(of_bake).collect()
}

pub(super) fn instance(instance: &ovenbird_sim::Instance) -> ports::Instance {
    let state = match instance.state {
        InstanceState::Pending => ports::InstanceState::Pending,
        InstanceState::Running => ports::InstanceState::Running,
        InstanceState::Stopping => ports::InstanceState::Stopping,
        InstanceState::Stopped => ports::InstanceState::Stopped,
        InstanceState::ShuttingDown => ports::InstanceState::ShuttingDown,
        InstanceState::Terminated => ports::InstanceState::Terminated,
    };
    let reason = instance.state_reason.as_ref().map(|(_, message)| message.clone()).unwrap_or_default();
    let (id, image, tags) = (instance.id.clone(), instance.image.clone(), instance.tags.clone());
    let loss = instance.state_reason.as_ref().map_or(Loss::Unknown, |(code, _)| loss(code));
    ports::Instance { id, image, state, reason, loss, spot: instance.spot, tags }
}

fn image(image: &ovenbird_sim::Image) -> ports::Image {
    let state = match image.state {
        ImageState::Pending => ports::ImageState::Pending,
        ImageState::Available => ports::ImageState::Available,
        ImageState::Failed => ports::ImageState::Failed,
        ImageState::Disabled => ports::ImageState::Disabled,
    };
    ports::Image {
        id: image.id.clone(),
        name: image.name.clone(),
        owner: image.owner.clone(),
        state,
        reason: image.state_reason.as_ref().map(|(_, message)| message.clone()).unwrap_or_default(),
        created: image.created,
        architecture: image.architecture.clone(),
        root_device: Some(ROOT_DEVICE.to_owned()),
        gib: Some(image.disk.size),
        devices: image.mappings().map(|device| device.name).collect(),
        deprecated: image.standing.deprecated,
        protection: match image.standing.protection() {
            "disabled" => ports::Protection::Off,
            "enabled-without-cooldown" => ports::Protection::On,
            _ => ports::Protection::WithCooldown,
        },
        imdsv2: image.standing.imdsv2,
        launched: None,
        snapshots: image.snapshots().cloned().collect(),
        tags: image.tags.clone(),
    }
}

pub(super) fn volume(volume: &ovenbird_sim::Volume) -> ports::Volume {
    let attached = volume.instance.clone();
    let state = if attached.is_some() { ports::VolumeState::InUse } else { ports::VolumeState::Available };
    ports::Volume { id: volume.id.clone(), state, attached, tags: volume.tags.clone() }
}

/// What a launch asks of the root volume, and of the others by device.
fn new_volumes(order: &ports::LaunchOrder) -> (NewVolume, BTreeMap<String, NewVolume>) {
    let going = || NewVolume { delete_on_termination: Some(true), ..NewVolume::default() };
    let mut others: BTreeMap<_, _> = order.devices.iter().map(|device| (device.clone(), going())).collect();
    let root = others.remove(ROOT_DEVICE);
    (order.volume.as_ref().map(new_volume).or(root).unwrap_or_default(), others)
}

fn new_volume(volume: &RootVolume) -> NewVolume {
    assert_eq!(volume.device, ROOT_DEVICE, "a second disk would be made");
    NewVolume {
        size: volume.gib,
        kind: volume.kind.clone(),
        iops: volume.iops,
        encrypted: volume.kms_key.as_ref().map(|_| true),
        kms_key: volume.kms_key.clone(),
        delete_on_termination: Some(true),
    }
}

impl State {
    pub(super) fn instances(&self, filters: &[Filter]) -> Result<Vec<ports::Instance>> {
        let world = self.shown(Asked::Instances);
        let all =
            pages(|paging| world.describe_instances(self.now, &[], filters, paging), |one| instance(&one));
        all.map_err(|error| translate("ec2:DescribeInstances", "", &error))
    }

    pub(super) fn images(&self, request: &DescribeImages) -> Result<Vec<ports::Image>> {
        let asked = if request.ids.is_empty() { Asked::Images } else { Asked::Image };
        let world = self.shown(asked);
        let page = |paging: &Paging| {
            world.describe_images(&DescribeImages { paging: paging.clone(), ..request.clone() })
        };
        match pages(page, |one| image(&one)) {
            Ok(all) => Ok(all),
            Err(error) if error.code == "InvalidAMIID.NotFound" => Ok(Vec::new()),
            Err(error) => Err(translate("ec2:DescribeImages", "", &error)),
        }
    }
}

/// What EC2 needs of KMS to make an encrypted volume of a snapshot.
const KEY_OF_A_VOLUME: [&str; 6] = [
    "kms:CreateGrant",
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
];

impl Builders for Cloud {
    fn stack_subnets(&self) -> Vec<String> {
        self.state.borrow().around.subnets.clone()
    }

    async fn launch(&self, order: &ports::LaunchOrder) -> Result<InstanceId> {
        let key = order.volume.as_ref().and_then(|volume| volume.kms_key.as_deref());
        let mut actions = vec!["ec2:RunInstances", "ec2:CreateTags", "iam:PassRole"];
        // EC2 asks KMS in the caller's name; AWS's own key is everybody's.
        if key.is_some_and(|key| key != "alias/aws/ebs") {
            actions.extend(KEY_OF_A_VOLUME);
        }
        self.call(&actions, |state| {
            assert!(
                order.tags.contains_key(tags::TAG_BAKE) && order.tags.contains_key(tags::TAG_STACK),
                "a builder that isn't tagged at birth would leak"
            );
            let kinds = ["instance", "volume"].map(|kind| (kind.to_owned(), order.tags.clone()));
            let offer = &order.offer;
            let (volume, devices) = new_volumes(order);
            let request = RunInstances {
                image: order.image.to_string(),
                instance_type: Some(offer.instance_type.clone()),
                min_count: 1,
                max_count: 1,
                user_data: Some(order.user_data.clone().into_bytes()),
                client_token: Some(order.token.clone()),
                tags: BTreeMap::from(kinds),
                profile: match &order.profile {
                    ports::Profile::None => None,
                    ports::Profile::Stack => Some("builder".into()),
                    ports::Profile::Named(name) => Some(name.clone()),
                },
                security_groups: order.security_groups.clone(),
                subnet: offer.subnet.clone(),
                http_tokens: Some("required".into()),
                shutdown_behavior: Some(if offer.spot { "terminate" } else { "stop" }.into()),
                volume,
                devices,
                spot: offer.spot,
                ..RunInstances::default()
            };
            match state.world.run_instances(state.now, &request) {
                Ok(launched) => Ok(launched[0].id.clone()),
                Err(error) if error.code == "IdempotentParameterMismatch" => {
                    Err(Error::TryAgain { what: "the instance".into(), why: Retry::Unseen })
                }
                Err(error) => {
                    let refused = translate("ec2:RunInstances", order.image.as_str(), &error);
                    Err(Error::refused(offer, error.code, shortage(error.code), refused))
                }
            }
        })
        .await
    }

    async fn of_bake(&self, bake: &BakeId) -> Result<Vec<ports::Instance>> {
        let filters = ours(&self.stack, Some(bake));
        self.call(&["ec2:DescribeInstances"], |state| state.instances(&filters)).await
    }

    async fn all(&self) -> Result<Vec<ports::Instance>> {
        let filters = ours(&self.stack, None);
        let all = self.call(&["ec2:DescribeInstances"], |state| state.instances(&filters)).await?;
        Ok(all.into_iter().filter(|instance| !instance.state.is_gone()).collect())
    }

    async fn instance(&self, id: &InstanceId) -> Result<Option<ports::Instance>> {
        self.call(&["ec2:DescribeInstances"], |state| {
            let world = state.shown(Asked::Instance);
            match world.describe_instances(state.now, &[id.to_string()], &[], &Paging::default()) {
                Ok(page) => Ok(page.items.first().map(instance)),
                Err(error) if error.code == "InvalidInstanceID.NotFound" => Ok(None),
                Err(error) => Err(translate("ec2:DescribeInstances", id.as_str(), &error)),
            }
        })
        .await
    }

    async fn terminate(&self, id: &InstanceId) -> Result<()> {
        self.call(&["ec2:TerminateInstances"], |state| {
            match state.world.terminate_instances(&[id.to_string()], false) {
                Ok(_) => Ok(()),
                Err(error) if error.code == "InvalidInstanceID.NotFound" => {
                    state.gone("ec2:TerminateInstances", id.as_str())
                }
                Err(error) => Err(translate("ec2:TerminateInstances", id.as_str(), &error)),
            }
        })
        .await
    }

    async fn console(&self, id: &InstanceId) -> Result<String> {
        self.call(&["ec2:GetConsoleOutput"], |state| {
            Ok(state.world.get_console_output(id.as_str()).map(|(_, text)| text).unwrap_or_default())
        })
        .await
    }
}

impl Images for Cloud {
    async fn image(&self, id: &AmiId) -> Result<Option<ports::Image>> {
        let request = DescribeImages { ids: vec![id.to_string()], ..DescribeImages::default() };
        Ok(self.call(&["ec2:DescribeImages"], |state| state.images(&request)).await?.into_iter().next())
    }

    async fn named(&self, name: &ImageName) -> Result<Option<ports::Image>> {
        let filter = Filter { name: "name".into(), values: vec![name.to_string()] };
        let request = DescribeImages {
            owners: vec!["self".into()],
            filters: vec![filter],
            include_disabled: true,
            ..DescribeImages::default()
        };
        Ok(self.call(&["ec2:DescribeImages"], |state| state.images(&request)).await?.into_iter().next())
    }

    async fn matching(&self, owner: &str, pattern: &str) -> Result<Vec<ports::Image>> {
        let filter = Filter { name: "name".into(), values: vec![pattern.to_owned()] };
        let request =
            DescribeImages { owners: vec![owner.into()], filters: vec![filter], ..DescribeImages::default() };
        self.call(&["ec2:DescribeImages"], |state| state.images(&request)).await
    }

    async fn create(
        &self,
        builder: &InstanceId,
        name: &ImageName,
        description: &str,
        reboot: bool,
        tags: &Tags,
    ) -> Result<AmiId> {
        self.call(&["ec2:CreateImage", "ec2:CreateTags"], |state| {
            assert!(
                tags.contains_key(tags::TAG_BAKE) && tags.contains_key(tags::TAG_STACK),
                "an image that isn't tagged at birth would leak"
            );
            let kinds = ["image", "snapshot"].map(|kind| (kind.to_owned(), tags.clone()));
            let request = CreateImage {
                instance: builder.to_string(),
                name: name.to_string(),
                description: Some(description.to_owned()),
                no_reboot: !reboot,
                tags: BTreeMap::from(kinds),
                ..CreateImage::default()
            };
            match state.world.create_image(state.now, &request) {
                Ok(image) => Ok(image),
                Err(error) if error.code == "InvalidAMIName.Duplicate" => {
                    Err(Error::TryAgain { what: "the image of this name".into(), why: Retry::Unseen })
                }
                Err(error) => Err(translate("ec2:CreateImage", builder.as_str(), &error)),
            }
        })
        .await
    }
}

impl ImageAttributes for Cloud {
    async fn require_imdsv2(&self, image: &AmiId) -> Result<()> {
        self.call(&["ec2:ModifyImageAttribute"], |state| {
            let done = state.world.require_imdsv2(image.as_str(), false);
            done.map_err(|error| translate("ec2:ModifyImageAttribute", image.as_str(), &error))
        })
        .await
    }

    async fn protect(&self, image: &AmiId) -> Result<()> {
        self.call(&["ec2:EnableImageDeregistrationProtection"], |state| {
            let done = state.world.protect_image(image.as_str(), false, false);
            done.map(drop)
                .map_err(|error| translate("ec2:EnableImageDeregistrationProtection", image.as_str(), &error))
        })
        .await
    }
}
