//! A channel, what follows it, and how machines are brought to its image.

mod share;

use serde::{Deserialize, Serialize};

pub use self::share::Share;
use crate::domain::id::{ChannelName, GroupName, ParameterName, PipelineName, TemplateName};

/// A channel of a pipeline with everything that follows it, as the recipe says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The channel.
    pub channel: ChannelName,
    /// The SSM parameter that holds the image's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter: Option<ParameterName>,
    /// Launch templates whose default version has the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub launch_templates: Vec<TemplateName>,
    /// Auto Scaling groups whose machines run from the image, one after the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupName>,
    /// How the groups are brought to it.
    #[serde(default)]
    pub policy: Policy,
}

impl Destination {
    /// Whether anything that follows it runs machines: then a promotion is a rollout.
    pub fn runs_machines(&self) -> bool {
        !self.groups.is_empty()
    }

    /// How many groups get machines of a new image: of a pair one.
    pub fn groups_to_bring(&self) -> usize {
        match self.policy.strategy {
            Strategy::Rolling => self.groups.len(),
            Strategy::BlueGreen => self.groups.len().min(1),
        }
    }

    /// The channel with its pipeline: `storefront/production`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.pipeline, self.channel)
    }
}

/// How the machines that follow a channel are replaced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// In each group new machines take the places of old ones.
    #[default]
    Rolling,
    /// Of two groups one serves. The other one gets the image, and the requests move over to it.
    BlueGreen,
}

/// How the machines of a group are brought to an image. Times are in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// How machines are replaced.
    #[serde(default)]
    pub strategy: Strategy,
    /// How much of a group has the image after each stage, or of the requests goes to it; the last is all.
    pub stages: Vec<Share>,
    /// How long the new instances of a stage must be well before the next.
    pub watch: i64,
    /// How long all must be well before the channel moves.
    pub soak: i64,
    /// How long the machines of a pair that served before stay: a return takes no longer than a change of weights.
    #[serde(default)]
    pub keep_for: i64,
    /// How long a new instance may take until its target groups find it healthy.
    pub healthy_within: i64,
    /// `CloudWatch` alarms that end the rollout.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<String>,
    /// So many new instances may be sick at once.
    pub max_unhealthy: u32,
    /// Before this stage, counted from 1, the rollout pauses until a person resumes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_before: Option<u32>,
    /// So long a person has for the answer; none means without limit. After that the rollout goes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approve_within: Option<i64>,
    /// How long the rollout of one group may take, pauses aside.
    pub deadline: i64,
}

impl Default for Policy {
    /// What a recipe has that says nothing: one instance first, then all.
    fn default() -> Self {
        Self {
            strategy: Strategy::Rolling,
            stages: vec![Share::Instances(1), Share::ALL],
            watch: 120,
            soak: 600,
            keep_for: 3600,
            healthy_within: 300,
            alarms: Vec::new(),
            max_unhealthy: 0,
            pause_before: None,
            approve_within: None,
            deadline: 4 * 3600,
        }
    }
}
