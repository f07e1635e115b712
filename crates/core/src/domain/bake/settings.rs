//! What of the recipe a bake keeps, so that its later stages need not read it again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Stage;
use crate::domain::{
    destination::Policy,
    id::{ChannelName, GroupName, ParameterName, TemplateName},
};

/// What of the recipe the later stages need, so that they need not read it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The channel that promotion moves.
    pub channel: ChannelName,
    /// The parameter that follows the channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter: Option<ParameterName>,
    /// Launch templates that follow the channel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub launch_templates: Vec<TemplateName>,
    /// Auto Scaling groups that follow the channel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupName>,
    /// How the groups are brought to the image; none when there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Policy>,
    /// Whether a fresh instance of the image is tested too.
    pub verify_boot: bool,
    /// Whether instances of the image are to accept IMDSv2 alone. Not so of a bake that was recorded before recipes said it.
    #[serde(default)]
    pub imdsv2: bool,
    /// Whether the image is protected against deregistration. It says whose the protection of the bake's own image is, so a
    /// bake that was recorded before recipes said it has none: such a protection is a person's.
    #[serde(default)]
    pub protected: bool,
    /// How many bakes of the pipeline may have a builder at the same time.
    #[serde(default = "concurrency")]
    pub concurrency: u32,
    /// Deadlines in seconds.
    pub deadlines: Deadlines,
    /// Tags that the recipe adds to all that the bake makes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// How long a bake waits for its turn, in seconds: half a day, as long as the longest of a recipe's deadlines.
const TURN: i64 = 43_200;

/// Of a bake that was recorded before recipes said it.
fn concurrency() -> u32 {
    2
}

/// How long each wait may take, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadlines {
    /// Launch to provisioned.
    pub builder: i64,
    /// Tests.
    pub validation: i64,
    /// Sealing, and again for imaging.
    pub imaging: i64,
    /// The parameter's acceptance.
    pub promotion: i64,
}

impl Deadlines {
    /// The deadline of a stage, in seconds.
    pub fn of(&self, stage: Stage) -> i64 {
        match stage {
            Stage::Launch | Stage::CleanUp => 900,
            Stage::AwaitTwin => self.total(),
            Stage::AwaitTurn => TURN,
            Stage::Builder | Stage::Boot => self.builder,
            Stage::Validation => self.validation,
            Stage::Seal | Stage::Image => self.imaging,
            Stage::Promotion => self.promotion,
        }
    }

    /// No bake is alive this long after its start, in seconds: what is left of it then may be reaped.
    pub fn total(&self) -> i64 {
        2 * self.builder + self.validation + 2 * self.imaging + self.promotion + 1_800
    }
}
