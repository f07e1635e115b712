//! `RunInstances`: one offer, asked for once.

use aws_sdk_ec2::{
    config::{Builder as Config, retry::RetryConfig},
    error::SdkError,
    operation::run_instances::RunInstancesError,
    types::{
        self, BlockDeviceMapping, EbsBlockDevice, HttpTokensState, IamInstanceProfileSpecification,
        InstanceMarketOptionsRequest, InstanceMetadataOptionsRequest, MarketType, ResourceType,
        ShutdownBehavior, SpotInstanceType, SpotMarketOptions, VolumeType,
    },
};
use ovenbird_core::{
    domain::offer::RootVolume,
    ports::{LaunchOrder, Profile},
};

use crate::{Cloud, instances::tag_specification};

impl Cloud {
    /// Asks for the order's offer, once; gives the instance's id as EC2 says it.
    pub(crate) async fn run_instance(
        &self,
        order: &LaunchOrder,
    ) -> Result<String, SdkError<RunInstancesError>> {
        let offer = &order.offer;
        let metadata = InstanceMetadataOptionsRequest::builder()
            .http_tokens(HttpTokensState::Required)
            .http_put_response_hop_limit(1)
            .build();
        let profile = match &order.profile {
            Profile::None => None,
            Profile::Stack => self.settings.builder_profile.as_ref(),
            Profile::Named(name) => Some(name),
        };
        let profile = profile.map(|name| IamInstanceProfileSpecification::builder().name(name).build());
        let groups = match order.security_groups.as_slice() {
            [] => self.settings.builder_security_group.iter().cloned().collect(),
            own => own.to_vec(),
        };
        // A one-time spot instance can't be stopped, and EC2 refuses one that would stop.
        let shutdown = if offer.spot { ShutdownBehavior::Terminate } else { ShutdownBehavior::Stop };
        let answer = self
            .ec2
            .run_instances()
            .client_token(&order.token)
            .image_id(order.image.as_str())
            .instance_type(types::InstanceType::from(offer.instance_type.as_str()))
            .min_count(1)
            .max_count(1)
            .user_data(aws_smithy_types::base64::encode(&order.user_data))
            .metadata_options(metadata)
            .set_iam_instance_profile(profile)
            .set_security_group_ids(Some(groups).filter(|groups| !groups.is_empty()))
            .set_subnet_id(offer.subnet.clone())
            .set_instance_market_options(offer.spot.then(spot))
            .set_block_device_mappings(Some(mappings(order)).filter(|mappings| !mappings.is_empty()))
            .instance_initiated_shutdown_behavior(shutdown)
            .tag_specifications(tag_specification(ResourceType::Instance, &order.tags))
            .tag_specifications(tag_specification(ResourceType::Volume, &order.tags))
            .customize()
            // A shortage is a server error at EC2, and the SDK would ask for the same again, twice, in vain.
            .config_override(Config::new().retry_config(RetryConfig::disabled()))
            .send()
            .await?;
        let id = answer.instances().first().and_then(types::Instance::instance_id);
        Ok(id.unwrap_or_default().to_owned())
    }
}

/// What an error names: the offer, and whatever else of it IAM may refuse.
pub(crate) fn subject(order: &LaunchOrder) -> String {
    let profile = match &order.profile {
        Profile::Named(name) => Some(format!(", profile {name}")),
        Profile::None | Profile::Stack => None,
    };
    let groups = order.security_groups.iter().map(|group| format!(", {group}"));
    let key = order.volume.iter().filter_map(|volume| Some(format!(", key {}", volume.kms_key.as_ref()?)));
    let more: String = profile.into_iter().chain(groups).chain(key).collect();
    format!("{} from {}{more}", order.offer, order.image)
}

fn spot() -> InstanceMarketOptionsRequest {
    let once = SpotMarketOptions::builder().spot_instance_type(SpotInstanceType::OneTime).build();
    InstanceMarketOptionsRequest::builder().market_type(MarketType::Spot).spot_options(once).build()
}

/// A mapping for every EBS device of the image: one that says `DeleteOnTermination: false` would leave a volume of
/// each instance, and hand that on to the image made of it. What a mapping doesn't say stays as the image has it,
/// the snapshot too: EC2 knows the volume by the device's name.
fn mappings(order: &LaunchOrder) -> Vec<BlockDeviceMapping> {
    let own = order.volume.as_ref();
    let others = order.devices.iter().filter(|device| own.is_none_or(|own| own.device != **device));
    own.map(root).into_iter().chain(others.map(|device| going(device))).collect()
}

fn going(device: &str) -> BlockDeviceMapping {
    let ebs = EbsBlockDevice::builder().delete_on_termination(true).build();
    BlockDeviceMapping::builder().device_name(device).ebs(ebs).build()
}

/// The root volume as the recipe wants it; whatever it leaves open stays as the image has it.
pub fn root(volume: &RootVolume) -> BlockDeviceMapping {
    let size = volume.gib.map(|gib| i32::try_from(gib).unwrap_or(i32::MAX));
    let ebs = EbsBlockDevice::builder()
        .set_volume_size(size)
        .set_volume_type(volume.kind.as_deref().map(VolumeType::from))
        .set_iops(volume.iops.map(|iops| i32::try_from(iops).unwrap_or(i32::MAX)))
        .set_throughput(volume.throughput.map(|throughput| i32::try_from(throughput).unwrap_or(i32::MAX)))
        .set_encrypted(volume.kms_key.as_ref().map(|_| true))
        .set_kms_key_id(volume.kms_key.clone())
        .delete_on_termination(true);
    BlockDeviceMapping::builder().device_name(&volume.device).ebs(ebs.build()).build()
}
