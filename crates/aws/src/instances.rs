//! Builders and verifiers, through EC2.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types::{
    self, Filter, InstanceLifecycleType, InstanceStateName, ResourceType, Tag, TagSpecification,
};
use aws_smithy_types::error::metadata::ProvideErrorMetadata as _;
use ovenbird_core::{
    Error, Result,
    domain::{
        error::Retry,
        id::{AmiId, BakeId, InstanceId, StackId},
        offer::Loss,
        tags::{TAG_BAKE, TAG_STACK},
    },
    ports::{Builders, Instance, InstanceState, LaunchOrder},
};

use crate::{
    Cloud,
    ec2_codes::{loss, shortage},
    errors::{code, translate, unreadable},
    launch,
};

impl Builders for Cloud {
    fn stack_subnets(&self) -> Vec<String> {
        self.settings.subnets.clone()
    }

    async fn launch(&self, order: &LaunchOrder) -> Result<InstanceId> {
        match self.run_instance(order).await {
            Ok(id) => InstanceId::parse(&id)
                .map_err(|error| unreadable("ec2:RunInstances", launch::subject(order), error)),
            // The token was used with other parameters: an earlier try launched, and is found by its tag.
            Err(error) if code(&error) == "IdempotentParameterMismatch" => {
                let what = format!("the instance of {}", launch::subject(order));
                Err(Error::TryAgain { what, why: Retry::Unseen })
            }
            Err(error) => {
                let refused = translate("ec2:RunInstances", launch::subject(order), &error);
                let (code, message) = (code(&error), error.message().unwrap_or_default());
                Err(Error::refused(&order.offer, code, shortage(code, message), refused))
            }
        }
    }

    async fn of_bake(&self, bake: &BakeId) -> Result<Vec<Instance>> {
        self.instances(ours(&self.settings.stack, Some(bake)), bake.as_str()).await
    }

    async fn all(&self) -> Result<Vec<Instance>> {
        let all = self.instances(ours(&self.settings.stack, None), "all builders").await?;
        Ok(all.into_iter().filter(|instance| !instance.state.is_gone()).collect())
    }

    async fn instance(&self, id: &InstanceId) -> Result<Option<Instance>> {
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
        let request = self.ec2.get_console_output().instance_id(id.as_str());
        // Without it, EC2 gives what it kept after a change of state: minutes old, just when it is wanted. Xen types can't.
        let answer = match request.clone().latest(true).send().await {
            Err(error) if code(&error) == "UnsupportedOperation" => request.send().await,
            answer => answer,
        };
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
    /// The instances of this account that are starting or running, by the image they were started from. Those that a bake
    /// started, of whichever stack, are not among them.
    pub async fn fleet(&self) -> Result<BTreeMap<AmiId, BTreeSet<InstanceId>>> {
        let states = Filter::builder().name("instance-state-name").values("pending").values("running");
        let mut fleet = BTreeMap::<_, BTreeSet<_>>::new();
        for instance in self.instances(vec![states.build()], "all instances").await? {
            if !instance.tags.contains_key(TAG_BAKE) {
                fleet.entry(instance.image).or_default().insert(instance.id);
            }
        }
        Ok(fleet)
    }

    pub(crate) async fn instances(&self, filters: Vec<Filter>, subject: &str) -> Result<Vec<Instance>> {
        let mut pages = self.ec2.describe_instances().set_filters(Some(filters)).into_paginator().send();
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

/// What is this stack's, of one bake or of all. Another stack's things aren't even looked at.
pub(crate) fn ours(stack: &StackId, bake: Option<&BakeId>) -> Vec<Filter> {
    let tag = |key: &str, value: &str| Filter::builder().name(format!("tag:{key}")).values(value).build();
    let of_bake = bake.map(|bake| tag(TAG_BAKE, bake.as_str()));
    std::iter::once(tag(TAG_STACK, stack.as_str())).chain(of_bake).collect()
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
        image: AmiId::parse(instance.image_id().unwrap_or_default())
            .map_err(|error| bad(error.to_string()))?,
        state,
        reason: instance.state_reason().map(reason).unwrap_or_default(),
        loss: instance.state_reason().map_or(Loss::Unknown, |reason| loss(reason.code().unwrap_or_default())),
        spot: instance.instance_lifecycle() == Some(&InstanceLifecycleType::Spot),
        tags: tags(instance.tags()),
    })
}

/// A reason with its code, which the message begins with only as a rule.
fn reason(reason: &types::StateReason) -> String {
    match (reason.code().unwrap_or_default(), reason.message().unwrap_or_default()) {
        (code, message) if message.contains(code) => message.to_owned(),
        (code, "") => code.to_owned(),
        (code, message) => format!("{code}: {message}"),
    }
}
