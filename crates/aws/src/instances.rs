//! Builders and verifiers, through EC2.

use std::collections::BTreeMap;

use aws_sdk_ec2::{
    operation::run_instances::RunInstancesError,
    types::{
        self, Filter, HttpTokensState, IamInstanceProfileSpecification, InstanceMarketOptionsRequest,
        InstanceMetadataOptionsRequest, InstanceStateName, MarketType, ResourceType, ShutdownBehavior, Tag,
        TagSpecification,
    },
};
use aws_smithy_types::error::metadata::ProvideErrorMetadata as _;
use ovenbird_core::{
    Error, Result,
    id::{BakeId, InstanceId},
    ports::{Builders, Instance, InstanceState, LaunchOrder, TAG_BAKE},
};

use crate::{
    Cloud,
    errors::{code, translate, unreadable},
};

/// Codes by which EC2 says that another instance type, or on-demand, may work.
const NO_CAPACITY: &[&str] = &[
    "InsufficientInstanceCapacity",
    "InsufficientCapacity",
    "SpotMaxPriceTooLow",
    "MaxSpotInstanceCountExceeded",
    "Unsupported",
    "InstanceLimitExceeded",
    "VcpuLimitExceeded",
];

impl Builders for Cloud {
    async fn launch(&self, order: &LaunchOrder) -> Result<InstanceId> {
        let types = &order.instance_types;
        let spot = if order.spot { &[true, false][..] } else { &[false] };
        let mut refusal = None;
        let tries: Vec<_> =
            spot.iter().flat_map(|spot| types.iter().map(move |kind| (kind, *spot))).collect();
        for (number, (kind, spot)) in tries.into_iter().enumerate() {
            match self.run_instance(order, kind, spot, number).await {
                Ok(id) => return Ok(id),
                Err(error) if NO_CAPACITY.contains(&error.code().unwrap_or_default()) => {
                    refusal = Some(translate("ec2:RunInstances", kind, &error));
                }
                // The token was used with other parameters: an earlier try launched, and is found by its tag.
                Err(error) if code(&error) == "IdempotentParameterMismatch" => {
                    return Err(Error::TryAgain { what: format!("the launch of {}", order.image) });
                }
                Err(error) => return Err(translate("ec2:RunInstances", order.image.as_str(), &error)),
            }
        }
        Err(Error::NoCapacity { types: types.join(", "), source: refusal.map(Box::new) })
    }

    async fn of_bake(&self, bake: &BakeId) -> Result<Vec<Instance>> {
        let filter = Filter::builder().name(format!("tag:{TAG_BAKE}")).values(bake.as_str()).build();
        self.instances(filter, bake.as_str()).await
    }

    async fn all(&self) -> Result<Vec<Instance>> {
        let filter = Filter::builder().name("tag-key").values(TAG_BAKE).build();
        let all = self.instances(filter, "all builders").await?;
        Ok(all.into_iter().filter(|instance| !instance.state.is_gone()).collect())
    }

    async fn look(&self, id: &InstanceId) -> Result<Option<Instance>> {
        let answer = match self.ec2.describe_instances().instance_ids(id.as_str()).send().await {
            Ok(answer) => answer,
            Err(error) if code(&error) == "InvalidInstanceID.NotFound" => return Ok(None),
            Err(error) => return Err(translate("ec2:DescribeInstances", id.as_str(), &error)),
        };
        answer
            .reservations()
            .iter()
            .flat_map(aws_sdk_ec2::types::Reservation::instances)
            .next()
            .map(instance)
            .transpose()
    }

    async fn terminate(&self, id: &InstanceId) -> Result<()> {
        match self.ec2.terminate_instances().instance_ids(id.as_str()).send().await {
            Ok(_) => Ok(()),
            Err(error) if code(&error) == "InvalidInstanceID.NotFound" => Ok(()),
            Err(error) => Err(translate("ec2:TerminateInstances", id.as_str(), &error)),
        }
    }

    async fn console(&self, id: &InstanceId) -> Result<String> {
        let answer = self.ec2.get_console_output().instance_id(id.as_str()).send().await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if code(&error) == "InvalidInstanceID.NotFound" => return Ok(String::new()),
            Err(error) => return Err(translate("ec2:GetConsoleOutput", id.as_str(), &error)),
        };
        let bytes = answer.output().and_then(|output| aws_smithy_types::base64::decode(output).ok());
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default())
    }
}

impl Cloud {
    async fn run_instance(
        &self,
        order: &LaunchOrder,
        kind: &str,
        spot: bool,
        number: usize,
    ) -> Result<InstanceId, aws_sdk_ec2::error::SdkError<RunInstancesError>> {
        // One token for each combination: EC2 refuses a token that comes back with another instance type.
        // A hash keeps its length.
        let token = ovenbird_core::digest::sha256(format!("{} {number}", order.token).as_bytes());
        let metadata = InstanceMetadataOptionsRequest::builder()
            .http_tokens(HttpTokensState::Required)
            .http_put_response_hop_limit(1)
            .build();
        let profile = self.settings.builder_profile.as_ref();
        let profile = profile.map(|name| IamInstanceProfileSpecification::builder().name(name).build());
        let market =
            spot.then(|| InstanceMarketOptionsRequest::builder().market_type(MarketType::Spot).build());
        let shutdown = if spot { ShutdownBehavior::Terminate } else { ShutdownBehavior::Stop };
        let answer = self
            .ec2
            .run_instances()
            .client_token(token.as_str())
            .image_id(order.image.as_str())
            .instance_type(types::InstanceType::from(kind))
            .min_count(1)
            .max_count(1)
            .user_data(aws_smithy_types::base64::encode(&order.user_data))
            .metadata_options(metadata)
            .set_iam_instance_profile(profile)
            .set_security_group_ids(self.settings.builder_security_group.clone().map(|group| vec![group]))
            .set_subnet_id(self.settings.subnet.clone())
            .set_instance_market_options(market)
            .instance_initiated_shutdown_behavior(shutdown)
            .tag_specifications(tag_specification(ResourceType::Instance, &order.tags))
            .tag_specifications(tag_specification(ResourceType::Volume, &order.tags))
            .send()
            .await?;
        let id = answer.instances().first().and_then(types::Instance::instance_id).unwrap_or_default();
        Ok(InstanceId::parse(id)
            .unwrap_or_else(|error| unreachable!("EC2 launched an instance without an id: {error}")))
    }

    async fn instances(&self, filter: Filter, subject: &str) -> Result<Vec<Instance>> {
        let mut pages = self.ec2.describe_instances().filters(filter).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| translate("ec2:DescribeInstances", subject, &error))?;
            for reservation in page.reservations() {
                for one in reservation.instances() {
                    found.push(instance(one)?);
                }
            }
        }
        Ok(found)
    }
}

/// The tags of a resource, for the call that creates it.
pub(crate) fn tag_specification(kind: ResourceType, tags: &BTreeMap<String, String>) -> TagSpecification {
    let tags = tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect();
    TagSpecification::builder().resource_type(kind).set_tags(Some(tags)).build()
}

/// The tags of an answer.
pub(crate) fn tags(tags: &[Tag]) -> BTreeMap<String, String> {
    let pairs = tags
        .iter()
        .filter_map(|tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned())));
    pairs.collect()
}

fn instance(instance: &types::Instance) -> Result<Instance> {
    let bad = |what: String| unreadable("ec2:DescribeInstances", instance.instance_id().unwrap_or("?"), what);
    let name = instance.state().and_then(types::InstanceState::name);
    let state = match name {
        Some(InstanceStateName::Pending) => InstanceState::Pending,
        Some(InstanceStateName::Running) => InstanceState::Running,
        Some(InstanceStateName::Stopping) => InstanceState::Stopping,
        Some(InstanceStateName::Stopped) => InstanceState::Stopped,
        Some(InstanceStateName::ShuttingDown) => InstanceState::ShuttingDown,
        Some(InstanceStateName::Terminated) => InstanceState::Terminated,
        other => return Err(bad(format!("state {other:?}"))),
    };
    Ok(Instance {
        id: InstanceId::parse(instance.instance_id().unwrap_or_default())
            .map_err(|error| bad(error.to_string()))?,
        state,
        reason: instance.state_reason().and_then(types::StateReason::message).unwrap_or_default().to_owned(),
        tags: tags(instance.tags()),
    })
}
