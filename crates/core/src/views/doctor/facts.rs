//! What is known of an account before anything is judged.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::{
    domain::{
        error::Result,
        id::{GroupName, ParameterName, PipelineName, TemplateName},
        recipe::Recipe,
    },
    ports::{
        Caller, Endpoint, Image, ParameterKind, RouteTable, Rule, Run, Subnet, Subscription,
        VolumeEncryption, Vpc,
    },
};

/// A deployed stack, as it says of itself.
#[derive(Debug, Clone, Default)]
pub struct Deployed {
    /// Its version; an older stack doesn't say.
    pub version: Option<String>,
    /// The bucket.
    pub bucket: String,
    /// The bake state machine.
    pub bake_machine: String,
    /// The rollout state machine.
    pub rollout_machine: Option<String>,
    /// The prune state machine.
    pub prune_machine: String,
    /// The topic that tells of failures; an older stack doesn't say.
    pub topic: Option<String>,
    /// The builders' network; none means the default one.
    pub vpc: Option<String>,
    /// The builders' subnets; none means those of the default network.
    pub subnets: Vec<String>,
    /// Whether builders with an unencrypted disk are refused.
    pub encrypted_only: bool,
    /// ARNs of the KMS keys that volumes may be encrypted with.
    pub keys: Vec<String>,
    /// Below which path builders may read parameters: `/ovenbird/secrets/`.
    pub secrets: Option<String>,
    /// When it was deployed, or changed what it says of itself.
    pub since: Option<Timestamp>,
}

/// A network with what leads out of it.
#[derive(Debug)]
pub struct Network {
    /// All networks.
    pub vpcs: Result<Vec<Vpc>>,
    /// All subnets.
    pub subnets: Result<Vec<Subnet>>,
    /// All route tables; none on a local cloud, which has none.
    pub tables: Option<Result<Vec<RouteTable>>>,
    /// All endpoints; none on a local cloud.
    pub endpoints: Option<Result<Vec<Endpoint>>>,
}

/// What there is only with a stack.
#[derive(Debug)]
pub struct OfStack {
    /// Whether the bucket tells of uploads.
    pub uploads: Result<bool>,
    /// The rules that lead to the bake state machine.
    pub triggers: Result<Vec<Rule>>,
    /// The rules that lead to the topic; none if the stack doesn't name its topic.
    pub tellers: Option<Result<Vec<Rule>>>,
    /// Whom the topic tells.
    pub subscriptions: Option<Result<Vec<Subscription>>>,
    /// The newest executions of each state machine, by its name.
    pub runs: Vec<(Machine, Result<Vec<Run>>)>,
    /// The pipelines.
    pub pipelines: Result<Vec<Pipeline>>,
    /// For each architecture of a base, whether its runner is in the bucket.
    pub runners: BTreeMap<String, Result<bool>>,
    /// The instance types of the recipes that the Region has, with the architectures of each; none on a local cloud.
    pub types: Option<Result<BTreeMap<String, BTreeSet<String>>>>,
    /// The parameters that recipes name.
    pub parameters: Result<BTreeMap<ParameterName, ParameterKind>>,
    /// Whether the launch templates that recipes name exist.
    pub templates: BTreeMap<TemplateName, Result<bool>>,
    /// Whether the Auto Scaling groups that recipes name exist.
    pub groups: BTreeMap<GroupName, Result<bool>>,
}

/// A state machine of the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// Of bakes.
    Bake,
    /// Of rollouts.
    Rollout,
    /// Of prune runs.
    Prune,
}

/// A pipeline, and what its next bake would stand on.
#[derive(Debug)]
pub struct Pipeline {
    /// Its name.
    pub name: PipelineName,
    /// Its current recipe.
    pub recipe: Result<Recipe>,
    /// The image that its base leads to; none if there is no recipe to read.
    pub base: Option<Result<Image>>,
}

/// Everything that is judged.
#[derive(Debug)]
pub struct Facts {
    /// The version of this command.
    pub command: String,
    /// Whether it is a local cloud.
    pub local: bool,
    /// When it was asked.
    pub now: Timestamp,
    /// The name of the stack.
    pub name: String,
    /// Who asks.
    pub caller: Result<Caller>,
    /// The stack; an error if it isn't there or can't be found.
    pub stack: Result<Deployed>,
    /// How new volumes are encrypted; none on a local cloud, which encrypts none.
    pub encryption: Option<Result<VolumeEncryption>>,
    /// The networks.
    pub network: Network,
    /// What there is only with a stack.
    pub of_stack: Option<OfStack>,
}

impl Facts {
    /// The recipes that could be read.
    pub fn recipes(&self) -> impl Iterator<Item = (&PipelineName, &Recipe)> {
        let pipelines = self.of_stack.as_ref().and_then(|of| of.pipelines.as_ref().ok());
        let pipelines = pipelines.map(Vec::as_slice).unwrap_or_default();
        pipelines.iter().filter_map(|one| Some((&one.name, one.recipe.as_ref().ok()?)))
    }
}
