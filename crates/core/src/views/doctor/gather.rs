//! Asks for everything that is judged. Whatever can't be asked is noted, and hides nothing else.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, join, stream};
use jiff::Timestamp;

use super::facts::{Deployed, Facts, Machine, Network, OfStack, Pipeline};
use crate::{
    domain::{
        error::Result,
        id::{ParameterName, PipelineName},
        offer,
        recipe::Promote,
    },
    ports::{Account, Bucket, Groups, Images, Networks, Parameters, Signals, Table, Templates},
    steps::inputs,
    store::{Ledger, keys, recipes},
};

/// So many pipelines at once.
const AT_ONCE: usize = 16;

/// So many of the newest executions of a state machine.
const RUNS: u8 = 10;

/// What is asked.
pub trait DoctorPorts:
    Account + Bucket + Groups + Images + Networks + Parameters + Signals + Table + Templates
{
}

impl<C: Account + Bucket + Groups + Images + Networks + Parameters + Signals + Table + Templates> DoctorPorts
    for C
{
}

/// Asks an account about itself and a stack in it; without a stack, about the account alone. A local cloud isn't asked
/// what it has nothing of.
pub async fn gather(
    cloud: &impl DoctorPorts,
    name: &str,
    stack: Result<Deployed>,
    command: &str,
    local: bool,
    now: Timestamp,
) -> Facts {
    let of_stack = async {
        match &stack {
            Ok(stack) => Some(self::of_stack(cloud, stack, local, now).await),
            Err(_) => None,
        }
    };
    let network = async {
        let (vpcs, subnets) = join!(cloud.vpcs(), cloud.subnets());
        let (tables, endpoints) = match local {
            true => (None, None),
            false => {
                let (tables, endpoints) = join!(cloud.route_tables(), cloud.endpoints());
                (Some(tables), Some(endpoints))
            }
        };
        Network { vpcs, subnets, tables, endpoints }
    };
    let encryption = async {
        match local {
            true => None,
            false => Some(cloud.volume_encryption().await),
        }
    };
    let (caller, encryption, network, of_stack) = join!(cloud.identity(), encryption, network, of_stack);
    Facts {
        command: command.to_owned(),
        local,
        now,
        name: name.to_owned(),
        caller,
        stack,
        encryption,
        network,
        of_stack,
    }
}

async fn of_stack(cloud: &impl DoctorPorts, stack: &Deployed, local: bool, now: Timestamp) -> OfStack {
    let pipelines = async {
        let known = Ledger(cloud).pipelines(cloud).await?;
        let all = stream::iter(known).map(|name| pipeline(cloud, name, now)).buffered(AT_ONCE);
        Ok(all.collect::<Vec<_>>().await)
    };
    let topic = async {
        let Some(topic) = &stack.topic else { return (None, None) };
        let (tellers, subscriptions) = join!(cloud.rules(topic), cloud.subscriptions(topic));
        (Some(tellers), Some(subscriptions))
    };
    let machines = [
        (Machine::Bake, Some(&stack.bake_machine)),
        (Machine::Rollout, stack.rollout_machine.as_ref()),
        (Machine::Prune, Some(&stack.prune_machine)),
    ];
    let runs = async {
        let mut runs = Vec::new();
        for (machine, arn) in machines {
            let Some(arn) = arn else { continue };
            runs.push((machine, cloud.runs(arn, RUNS).await));
        }
        runs
    };
    let (pipelines, uploads, triggers, (tellers, subscriptions), runs) =
        join!(pipelines, cloud.uploads_are_told(), cloud.rules(&stack.bake_machine), topic, runs);
    let known: &[Pipeline] = pipelines.as_ref().map(Vec::as_slice).unwrap_or_default();
    let named = Named::of(known);
    let types = async {
        match local || named.types.is_empty() {
            true => None,
            false => Some(cloud.instance_types(&named.types).await),
        }
    };
    let parameters = async {
        match named.parameters.is_empty() {
            true => Ok(BTreeMap::new()),
            false => cloud.kinds(&named.parameters).await,
        }
    };
    let (types, parameters) = join!(types, parameters);
    let mut runners = BTreeMap::new();
    for architecture in &named.architectures {
        let there = cloud.text(&keys::runner_pointer(architecture)).await.map(|text| text.is_some());
        runners.insert(architecture.clone(), there);
    }
    let mut templates = BTreeMap::new();
    for name in named.channels.iter().flat_map(|channel| &channel.launch_templates) {
        let there = cloud.default_version(name).await.map(|version| version.is_some());
        templates.insert(name.clone(), there);
    }
    let mut groups = BTreeMap::new();
    for name in named.channels.iter().flat_map(|channel| &channel.groups) {
        groups.insert(name.clone(), cloud.group(name).await.map(|group| group.is_some()));
    }
    OfStack {
        uploads,
        triggers,
        tellers,
        subscriptions,
        runs,
        runners,
        types,
        parameters,
        templates,
        groups,
        pipelines,
    }
}

async fn pipeline(cloud: &impl DoctorPorts, name: PipelineName, now: Timestamp) -> Pipeline {
    let recipe = recipes::recipe(cloud, &name).await.map(|(_, recipe)| recipe);
    let base = match &recipe {
        Ok(recipe) => Some(inputs::base_image(&recipe.base, cloud, now).await.map(|(image, _)| image)),
        Err(_) => None,
    };
    Pipeline { name, recipe, base }
}

/// What the recipes name, each once.
#[derive(Default)]
struct Named<'p> {
    architectures: BTreeSet<String>,
    types: BTreeSet<String>,
    parameters: BTreeSet<ParameterName>,
    channels: Vec<&'p Promote>,
}

impl<'p> Named<'p> {
    fn of(pipelines: &'p [Pipeline]) -> Self {
        let mut named = Self::default();
        for one in pipelines {
            let Ok(recipe) = &one.recipe else { continue };
            if let Some(Ok(base)) = &one.base {
                named.types.extend(offer::types(&recipe.builder, &base.architecture));
                named.architectures.insert(base.architecture.clone());
            }
            named.parameters.extend(recipe.secrets().map(|(_, name)| name.clone()));
            let channels = std::iter::once(&recipe.promote).chain(&recipe.channels);
            for channel in channels {
                named.parameters.extend(channel.parameter.clone());
                named.channels.push(channel);
            }
        }
        named
    }
}
