//! What `CloudFormation` makes inside `MiniStack`'s own EC2 and IAM, made known to the world.

use ovenbird_sim::{ApiError, SecurityGroup, Tags};

use super::Endpoint;
use crate::{deploy::Api, error::LocalError, xml::Element};

const EC2: &str = "2016-11-15";
const IAM: &str = "2010-05-08";

impl Endpoint {
    /// Makes `MiniStack`'s security groups known: the stack's template made them there.
    pub(super) async fn sync_security_groups(&self) -> Result<(), ApiError> {
        let Some(ministack) = &self.ministack else { return Ok(()) };
        let answer = Api::new(ministack.clone()).query("ec2", EC2, "DescribeSecurityGroups", &[]).await;
        let answer = answer.map_err(|error| unavailable(&error))?;
        self.state.call(|world, _| {
            // Every network of MiniStack is our default one: there is no other that machines could be in.
            let vpc = world.describe_vpcs(&[], &[])?.into_iter().find(|vpc| vpc.is_default);
            let vpc = vpc.map(|vpc| vpc.id).unwrap_or_default();
            for item in answer.child("securityGroupInfo").into_iter().flat_map(|list| &list.children) {
                // The world has a default group of its own.
                if item.text_of("groupName") != "default" {
                    world.put_security_group(group(item, &vpc));
                }
            }
            Ok(())
        })
    }

    /// Refuses an instance profile that IAM doesn't know, in EC2's words.
    pub(super) async fn check_instance_profile(&self, name: &str) -> Result<(), ApiError> {
        let Some(ministack) = &self.ministack else { return Ok(()) };
        let parameters = [("InstanceProfileName", name)];
        match Api::new(ministack.clone()).query("iam", IAM, "GetInstanceProfile", &parameters).await {
            Ok(_) => Ok(()),
            Err(LocalError::Refused { status: 400..=499, .. }) => Err(ApiError::new(
                "InvalidParameterValue",
                format!(
                    "Value ({name}) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"
                ),
            )),
            Err(error) => Err(unavailable(&error)),
        }
    }
}

fn group(item: &Element, vpc: &str) -> SecurityGroup {
    let tags = item.child("tagSet").into_iter().flat_map(|set| &set.children);
    let tags: Tags =
        tags.map(|tag| (tag.text_of("key").to_owned(), tag.text_of("value").to_owned())).collect();
    SecurityGroup {
        id: item.text_of("groupId").to_owned(),
        name: item.text_of("groupName").to_owned(),
        description: item.text_of("groupDescription").to_owned(),
        vpc: vpc.to_owned(),
        tags,
    }
}

fn unavailable(error: &LocalError) -> ApiError {
    tracing::warn!("MiniStack could not be asked: {error}");
    ApiError { code: "Unavailable", message: "MiniStack does not answer".into(), http: 503 }
}
