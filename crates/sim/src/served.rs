//! Which filters each `Describe…` call knows.

use crate::{
    Image, Instance, InstanceType, KeyPair, SecurityGroup, Snapshot, Subnet, Volume, Vpc,
    auto_scaling::Group,
    filters::{Filtered, Fleet, InstanceStatus, NetworkInterface, Region, Zone},
    instance_types::Offering,
    launch_templates::{LaunchTemplate, LaunchTemplateVersion},
    security_groups::RuleOf,
    snapshot_locks::LockedSnapshot,
    tags::Tagged,
};

/// The names of a kind's filters, in order; `tag:<key>` stands for every tag.
fn names<T: Filtered>() -> Vec<&'static str> {
    let mut names: Vec<_> = T::FIELDS.iter().map(|(name, _)| *name).collect();
    if T::TAGGED {
        names.extend(["tag-key", "tag:<key>"]);
    }
    names.sort_unstable();
    names
}

/// Each call of EC2 and Auto Scaling that has filters, and the names of those that it knows.
pub fn filters() -> Vec<(&'static str, Vec<&'static str>)> {
    vec![
        ("DescribeAutoScalingGroups", names::<Group>()),
        ("DescribeAvailabilityZones", names::<Zone>()),
        ("DescribeFleets", names::<Fleet>()),
        ("DescribeImages", names::<Image>()),
        ("DescribeInstanceStatus", names::<InstanceStatus>()),
        ("DescribeInstanceTypeOfferings", names::<Offering>()),
        ("DescribeInstanceTypes", names::<InstanceType>()),
        ("DescribeInstances", names::<Instance>()),
        ("DescribeKeyPairs", names::<KeyPair>()),
        ("DescribeLaunchTemplateVersions", names::<LaunchTemplateVersion>()),
        ("DescribeLaunchTemplates", names::<LaunchTemplate>()),
        ("DescribeLockedSnapshots", names::<LockedSnapshot>()),
        ("DescribeNetworkInterfaces", names::<NetworkInterface>()),
        ("DescribeRegions", names::<Region>()),
        ("DescribeSecurityGroupRules", names::<RuleOf>()),
        ("DescribeSecurityGroups", names::<SecurityGroup>()),
        ("DescribeSnapshots", names::<Snapshot>()),
        ("DescribeSubnets", names::<Subnet>()),
        ("DescribeTags", names::<Tagged>()),
        ("DescribeVolumes", names::<Volume>()),
        ("DescribeVpcs", names::<Vpc>()),
    ]
}
