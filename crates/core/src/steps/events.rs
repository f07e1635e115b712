//! Makes the events that the state machines put, of what is on record by then.

use std::collections::BTreeMap;

use crate::{
    domain::{
        bake::{Bake, Failure, Status},
        error::Result,
        event::Event,
        event_details::{
            ApprovalNeeded, BakeFailed, ImageBaked, ImagePromoted, ImageRetired, ParameterDrifted,
            RolloutReverted, VERSION,
        },
        id::{AmiId, BakeId, ChannelName, ParameterName, PipelineName, StackId},
        rollout::{Outcome, Rollout},
    },
    ports::{Stack, Table},
    store::{Channel, Ledger, ParameterOwner, Target},
};

/// Of a bake that ends well: its image, and the promotion if it promoted it by itself.
pub async fn of_bake(bake: &Bake, ends: Status, table: &impl Table) -> Result<Vec<Event>> {
    let Some(image) = bake.progress.image.clone() else { return Ok(Vec::new()) };
    let (spec, reused) = (&bake.spec, bake.progress.reused);
    let mut events = vec![Event::from(ImageBaked {
        version: VERSION,
        id: format!("baked/{}", spec.id),
        summary: format!(
            "pipeline {}: {image} {} and is {}",
            spec.pipeline,
            if reused { "was there already" } else { "was baked" },
            ends.as_str(),
        ),
        pipeline: spec.pipeline.clone(),
        bake: spec.id.clone(),
        status: ends,
        image: image.clone(),
        reused,
        artifact: spec.artifact.as_ref().map(|artifact| artifact.key.to_string()),
        base: spec.base.image.clone(),
    })];
    if ends == Status::Promoted {
        let channel = Ledger(table).channel(&spec.pipeline, &spec.settings.channel).await?;
        // Another bake of the same image may have promoted it, or a rollout.
        let found = channel.as_ref().and_then(|channel| {
            target(channel, |one| one.bake == spec.id).or_else(|| target(channel, |one| one.image == image))
        });
        events.extend(found.map(|(target, before)| {
            let id = format!("promoted/{}/{}", spec.id, spec.settings.channel);
            Event::from(promoted(id, bake, target, before))
        }));
    }
    Ok(events)
}

/// Where a channel has it, and what the channel had before.
fn target(channel: &Channel, wanted: impl Fn(&Target) -> bool) -> Option<(&Target, Option<&Target>)> {
    let mut targets = channel.current.iter().chain(&channel.previous);
    let found = targets.find(|one| wanted(one))?;
    Some((found, targets.find(|before| before.image != found.image)))
}

fn promoted(id: String, bake: &Bake, target: &Target, before: Option<&Target>) -> ImagePromoted {
    let (spec, image) = (&bake.spec, target.image.clone());
    ImagePromoted {
        version: VERSION,
        id,
        summary: format!("pipeline {}: channel {} has {image}", spec.pipeline, spec.settings.channel),
        pipeline: spec.pipeline.clone(),
        channel: spec.settings.channel.clone(),
        image,
        previous: before.map(|before| before.image.clone()),
        bake: spec.id.clone(),
        rollout: target.rollout.clone(),
        by: target.by.clone(),
        why: target.why.clone(),
        returned: false,
    }
}

/// Of a rollout that has ended.
pub fn of_rollout(rollout: &Rollout) -> Event {
    let (spec, to) = (&rollout.spec, &rollout.spec.to);
    let outcome = rollout.progress.outcome.unwrap_or(Outcome::Refused);
    let words = format!("pipeline {}: channel {}", to.pipeline, to.channel);
    if outcome == Outcome::Settled {
        let back = if spec.proven { " again" } else { "" };
        return ImagePromoted {
            version: VERSION,
            id: format!("promoted/{}", spec.id),
            summary: format!("{words} has {}{back}", spec.image),
            pipeline: to.pipeline.clone(),
            channel: to.channel.clone(),
            image: spec.image.clone(),
            previous: rollout.progress.previous.clone(),
            bake: spec.bake.clone(),
            rollout: Some(spec.id.clone()),
            by: Some(spec.by.clone()).filter(|by| *by != format!("bake {}", spec.bake)),
            why: spec.why.clone(),
            returned: spec.proven,
        }
        .into();
    }
    let reason = rollout.progress.reason.clone();
    let why = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    RolloutReverted {
        version: VERSION,
        id: format!("reverted/{}", spec.id),
        summary: format!("{words}: the rollout of {} was {}{why}", spec.image, outcome.as_str()),
        pipeline: to.pipeline.clone(),
        channel: to.channel.clone(),
        rollout: spec.id.clone(),
        image: spec.image.clone(),
        bake: spec.bake.clone(),
        outcome,
        reason,
    }
    .into()
}

/// Of a rollout that waits for a person's approval.
pub fn of_question(rollout: &Rollout, stack: &StackId) -> Event {
    let (spec, to) = (&rollout.spec, &rollout.spec.to);
    let (_, stage) = rollout.progress.place(&to.policy);
    let until = rollout.approval_ends();
    let limit = until.map(|until| format!(", until {until:.0}")).unwrap_or_default();
    ApprovalNeeded {
        version: VERSION,
        id: format!("approval/{}/{}", spec.id, rollout.progress.position),
        summary: format!(
            "pipeline {pipeline}: {image} waits for approval in channel {channel}{limit}: \
             ovenbird rollout {pipeline} --channel {channel} approve",
            pipeline = to.pipeline,
            channel = to.channel,
            image = spec.image,
        ),
        pipeline: to.pipeline.clone(),
        channel: to.channel.clone(),
        rollout: spec.id.clone(),
        image: spec.image.clone(),
        bake: spec.bake.clone(),
        stage: stage + 1,
        until,
        stack: stack.clone(),
    }
    .into()
}

/// Of a bake that failed, as recorded.
pub fn of_failure(bake: &Bake, failure: &Failure, stack: &StackId) -> Event {
    let (id, pipeline) = (bake.spec.id.clone(), Some(bake.spec.pipeline.clone()));
    let artifact = bake.spec.artifact.as_ref().map(|artifact| artifact.key.to_string());
    let failed = BakeFailed::new(id, pipeline, failure, stack.clone());
    BakeFailed { artifact, ..failed }.into()
}

/// Of a bake that has ended, whichever way.
pub async fn of_ended(bake: &Bake, cloud: &(impl Stack + Table)) -> Result<Vec<Event>> {
    match (bake.progress.status, &bake.progress.failure) {
        (Status::Promoted | Status::Validated | Status::Superseded, _) => {
            of_bake(bake, bake.progress.status, cloud).await
        }
        (Status::Failed | Status::Cancelled, Some(failure)) => {
            Ok(vec![of_failure(bake, failure, cloud.stack())])
        }
        (Status::Failed | Status::Cancelled, None) | (Status::Running, _) => Ok(Vec::new()),
    }
}

/// So many entries `PutEvents` takes. Of more drifts the others are told once the first ones are fixed.
const MOST_ENTRIES: usize = 10;

/// Of parameters that don't say what their channels do.
pub fn of_drifts(
    owners: &[ParameterOwner],
    currents: &BTreeMap<(PipelineName, ChannelName), AmiId>,
    values: &BTreeMap<ParameterName, String>,
) -> Vec<Event> {
    let drifted = owners.iter().filter_map(|owner| {
        let ParameterOwner { parameter, pipeline, channel } = owner;
        let image = currents.get(&(pipeline.clone(), channel.clone()))?;
        let value = values.get(parameter);
        if value.is_some_and(|value| value == image.as_str()) {
            return None;
        }
        let says = value.map_or("is not there", String::as_str);
        Some(Event::from(ParameterDrifted {
            version: VERSION,
            id: format!("drifted/{parameter}/{image}/{says}"),
            summary: format!(
                "pipeline {pipeline}: channel {channel} has {image}, parameter {parameter} {says}"
            ),
            pipeline: pipeline.clone(),
            channel: channel.clone(),
            parameter: parameter.clone(),
            image: image.clone(),
            value: value.cloned(),
        }))
    });
    drifted.take(MOST_ENTRIES).collect()
}

/// Of an image that is gone.
pub fn of_retired(image: &AmiId, name: &str, pipeline: &PipelineName, bake: Option<&BakeId>) -> Event {
    ImageRetired {
        version: VERSION,
        id: format!("retired/{image}"),
        summary: format!("pipeline {pipeline}: {image} {name} was deregistered"),
        pipeline: pipeline.clone(),
        image: image.clone(),
        name: name.to_owned(),
        bake: bake.cloned(),
    }
    .into()
}

/// Of a bake that failed before it had a record.
pub fn of_unrecorded(
    bake: &BakeId,
    pipeline: Option<PipelineName>,
    failure: &Failure,
    stack: &StackId,
) -> Event {
    BakeFailed::new(bake.clone(), pipeline, failure, stack.clone()).into()
}
