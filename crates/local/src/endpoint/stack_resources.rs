//! What `CloudFormation` makes inside `MiniStack`'s own EC2 and IAM, made known to the world.

use ovenbird_sim::{
    ApiError, SecurityGroup, Tags,
    security_groups::{Direction, Rule, RuleSource},
};

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
            let items: Vec<_> =
                answer.child("securityGroupInfo").into_iter().flat_map(|list| &list.children).collect();
            let there: Vec<_> = items.iter().map(|item| item.text_of("groupId").to_owned()).collect();
            world.keep_security_groups(&there);
            // Every network of MiniStack is our default one: there is no other that machines could be in.
            let vpc = world.default_vpc();
            for item in items {
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
        rules: [("ipPermissions", Direction::In), ("ipPermissionsEgress", Direction::Out)]
            .into_iter()
            .flat_map(|(list, direction)| rules(item, list, direction))
            .collect(),
        tags,
        elsewhere: true,
    }
}

/// A group's rules of one direction: one for each of those whom a permission lets pass.
fn rules(item: &Element, list: &str, direction: Direction) -> Vec<Rule> {
    let mut found = Vec::new();
    for permission in item.child(list).into_iter().flat_map(|list| &list.children) {
        let port = |name: &str| permission.text_of(name).parse().ok();
        let sources = [
            ("ipRanges", "cidrIp", RuleSource::Ipv4 as fn(String) -> RuleSource),
            ("ipv6Ranges", "cidrIpv6", RuleSource::Ipv6),
            ("prefixListIds", "prefixListId", RuleSource::PrefixList),
            ("groups", "groupId", RuleSource::Group),
        ];
        for (set, name, source) in sources {
            for one in permission.child(set).into_iter().flat_map(|set| &set.children) {
                let description = Some(one.text_of("description").to_owned()).filter(|text| !text.is_empty());
                let of = item.text_of("groupId").trim_start_matches("sg-");
                found.push(Rule {
                    // MiniStack tells no ids; these stay the same while the rules do.
                    id: format!("sgr-{}{:02x}", &of[..of.len().min(15)], rule_number(direction, found.len())),
                    direction,
                    protocol: permission.text_of("ipProtocol").to_owned(),
                    from: port("fromPort"),
                    to: port("toPort"),
                    source: source(one.text_of(name).to_owned()),
                    description,
                    tags: Tags::new(),
                });
            }
        }
    }
    found
}

fn rule_number(direction: Direction, place: usize) -> usize {
    match direction {
        Direction::In => place % 128,
        Direction::Out => 128 + place % 128,
    }
}

fn unavailable(error: &LocalError) -> ApiError {
    tracing::warn!("MiniStack could not be asked: {error}");
    ApiError { code: "Unavailable", message: "MiniStack does not answer".into(), http: 503 }
}
