//! What a promotion by hand would change: looked at, and nothing of it done.

use jiff::Timestamp;
use serde::Serialize;

use super::promotion::{Person, Promotion, rollout_of};
use crate::{
    domain::{
        destination::Policy,
        error::Result,
        id::{AmiId, ChannelName, PipelineName, RolloutId},
        rollout::{GroupState, Pair, Refusal, RolloutSpec},
    },
    steps::rollout::{Preflight, RolloutPorts, preflight},
    store::Ledger,
};

/// What a promotion would change, and everything for which it would be refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PromotionPlan {
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The channel.
    pub channel: ChannelName,
    /// The image.
    pub image: AmiId,
    /// What would change, in the order in which it does. Empty when the channel has the image already.
    pub changes: Vec<Change>,
    /// The rollout that is under way, behind which this one would wait.
    pub waits_for: Option<RolloutId>,
    /// Everything for which it would be refused.
    pub refused: Vec<Refusal>,
}

/// Something that a promotion changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What: `group storefront`, `channel storefront/production`.
    pub what: String,
    /// What it is now; none where there is nothing yet.
    pub before: Option<String>,
    /// What it would be.
    pub after: String,
}

/// Says what a promotion would change. It reads what the promotion itself would look at, and changes nothing.
///
/// # Errors
/// Those of [`super::promotion::promote`], and when something that follows the channel isn't there.
pub async fn plan(
    what: &Promotion,
    person: &Person,
    cloud: &impl RolloutPorts,
    now: Timestamp,
) -> Result<PromotionPlan> {
    let (spec, _) = rollout_of(what, person, cloud).await?;
    let channel = Ledger(cloud).channel(&what.pipeline, &what.channel).await?;
    let current = channel.as_ref().and_then(|channel| channel.current.as_ref()).map(|one| one.image.clone());
    let waits_for = channel.and_then(|channel| channel.rolling).map(|rolling| rolling.rollout);
    let mut plan = PromotionPlan {
        pipeline: what.pipeline.clone(),
        channel: what.channel.clone(),
        image: what.image.clone(),
        changes: Vec::new(),
        waits_for,
        refused: Vec::new(),
    };
    if current.as_ref() == Some(&what.image) && plan.waits_for.is_none() {
        return Ok(plan);
    }
    let found = preflight(&spec, cloud, now).await?;
    plan.changes = of_groups(&spec, &found, cloud).await?;
    plan.changes.push(Change {
        what: format!("channel {}", spec.to.name()),
        before: current.map(|image| image.to_string()),
        after: spec.image.to_string(),
    });
    for name in &spec.to.launch_templates {
        let before = cloud.default_version(name).await?;
        plan.changes.push(Change {
            what: format!("default version of launch template {name}"),
            before: before.map(|(template, image)| version(template.version, image.as_ref())),
            after: format!("a version with {}", spec.image),
        });
    }
    if let Some(name) = &spec.to.parameter {
        plan.changes.push(Change {
            what: format!("parameter {name}"),
            before: cloud.parameter(name).await?,
            after: spec.image.to_string(),
        });
    }
    plan.refused = found.refused;
    Ok(plan)
}

async fn of_groups(spec: &RolloutSpec, found: &Preflight, cloud: &impl RolloutPorts) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    for group in &found.groups {
        let before = version(
            group.before.version,
            cloud.launched(&group.before).await?.and_then(|one| one.image).as_ref(),
        );
        let after = format!("a version with {}", spec.image);
        changes.push(match &found.pair {
            None => rolling(group, before, after, spec),
            Some(pair) => Change {
                what: format!("group {}", group.name),
                before: Some(format!("{before} of {}, no requests", group.before.name)),
                after: format!(
                    "{after} of {}, {} instances, {} of the requests",
                    pair.source.name,
                    pair.live_sizes.desired,
                    stages(&spec.to.policy, spec.proven)
                ),
            },
        });
    }
    changes.extend(found.pair.as_ref().map(|pair| leaves(pair, &spec.to.policy)));
    Ok(changes)
}

fn rolling(group: &GroupState, before: String, after: String, spec: &RolloutSpec) -> Change {
    let name = &group.before.name;
    Change {
        what: format!("group {} with {} instances", group.name, group.desired),
        before: Some(format!("{before} of {name}")),
        after: format!("{after} of {name}, in stages: {}", stages(&spec.to.policy, spec.proven)),
    }
}

fn leaves(pair: &Pair, policy: &Policy) -> Change {
    Change {
        what: format!("group {}", pair.live),
        before: Some(format!("{} instances, all requests", pair.live_sizes.desired)),
        after: format!("no requests, and {} s later no instances", policy.keep_for),
    }
}

fn version(number: u64, image: Option<&AmiId>) -> String {
    match image {
        Some(image) => format!("version {number} with {image}"),
        None => format!("version {number}, which names no image by its id"),
    }
}

/// The stages in words. An image that the channel had before skips all but the last.
fn stages(policy: &Policy, proven: bool) -> String {
    let skipped = if proven { policy.stages.len().saturating_sub(1) } else { 0 };
    policy.stages[skipped..].iter().map(ToString::to_string).collect::<Vec<_>>().join(", then ")
}
