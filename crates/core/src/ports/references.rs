//! What of the account names images: one method for each kind of thing that AWS keeps apart.
//!
//! Each looks at the whole account, page by page, and gives all or an error: half an answer would say of an image in use
//! that nothing names it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::{
    error::Result,
    id::{AmiId, TemplateName},
    reference::Reference,
    template::Pin,
};

/// One kind of thing that may name an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Instances in any state but terminated; those of warm pools are among them.
    Instances,
    /// Launch templates.
    LaunchTemplates,
    /// Auto Scaling groups: images in the overrides of a mixed instances policy, and in instance refreshes.
    AutoScalingGroups,
    /// Launch configurations, of a group or not.
    LaunchConfigurations,
    /// EC2 Fleets: images in the overrides.
    Fleets,
    /// Spot fleet requests.
    SpotFleets,
    /// SSM parameters of the types String and `StringList`, by value.
    Parameters,
}

impl Source {
    /// All of them. An inventory without one of them is none.
    pub const ALL: [Self; 7] = [
        Self::Instances,
        Self::LaunchTemplates,
        Self::AutoScalingGroups,
        Self::LaunchConfigurations,
        Self::Fleets,
        Self::SpotFleets,
        Self::Parameters,
    ];

    /// What IAM must allow to look at it.
    pub fn actions(self) -> &'static [&'static str] {
        match self {
            Self::Instances => &["ec2:DescribeInstances"],
            Self::LaunchTemplates => {
                &["ec2:DescribeLaunchTemplates", "ec2:DescribeLaunchTemplateVersions", "ssm:GetParameters"]
            }
            Self::AutoScalingGroups => &[
                "autoscaling:DescribeAutoScalingGroups",
                "autoscaling:DescribeInstanceRefreshes",
                "ssm:GetParameters",
            ],
            Self::LaunchConfigurations => &["autoscaling:DescribeLaunchConfigurations", "ssm:GetParameters"],
            Self::Fleets => &["ec2:DescribeFleets", "ssm:GetParameters"],
            Self::SpotFleets => &["ec2:DescribeSpotFleetRequests", "ssm:GetParameters"],
            Self::Parameters => &["ssm:DescribeParameters", "ssm:GetParameters"],
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Instances => "instances",
            Self::LaunchTemplates => "launch templates",
            Self::AutoScalingGroups => "Auto Scaling groups",
            Self::LaunchConfigurations => "launch configurations",
            Self::Fleets => "EC2 Fleets",
            Self::SpotFleets => "spot fleet requests",
            Self::Parameters => "SSM parameters",
        })
    }
}

/// How far a look at launch templates goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// Every version of every template: a call or more for each template.
    Every,
    /// The newest and the default one of every template, in a few calls: what is new since a look at every version.
    NewestAndDefault,
}

/// What a look found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    /// How many things were looked at, whether they name an image or not. One day's number is compared with the next
    /// day's: a list that is suddenly short is a wrong list.
    pub seen: usize,
    /// Which image is named by what. Images of others are among them.
    pub named: Vec<(AmiId, Reference)>,
    /// What launches by a launch template's version, by its number.
    pub pins: Vec<Pin>,
    /// The launch templates that have this stack's tag: of no other one a version is deleted.
    pub ours: Vec<TemplateName>,
}

/// Looks at everything that may name an image, ours or not.
pub trait References {
    /// What instances were started from.
    async fn named_by_instances(&self) -> Result<Look>;
    /// What launch templates name, by id or by parameter.
    async fn named_by_launch_templates(&self, versions: Versions) -> Result<Look>;
    /// What Auto Scaling groups name themselves, and what their instance refreshes replace and launch.
    async fn named_by_groups(&self) -> Result<Look>;
    /// What launch configurations name.
    async fn named_by_launch_configurations(&self) -> Result<Look>;
    /// What EC2 Fleets name themselves, by id or by parameter.
    async fn named_by_fleets(&self) -> Result<Look>;
    /// What spot fleet requests name themselves.
    async fn named_by_spot_fleets(&self) -> Result<Look>;
    /// What SSM parameters hold.
    async fn named_by_parameters(&self) -> Result<Look>;
}
