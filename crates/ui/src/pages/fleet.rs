//! Which machines run from which image, and what replaces those on an old one.

use jiff::Timestamp;
use maud::{Markup, html};
use ovenbird_core::{
    domain::{
        bake::Bake,
        id::{AmiId, BakeId, InstanceId, PipelineName, RolloutId},
        plain::plain_line,
    },
    views::status::{ChannelStatus, PipelineStatus},
};

use super::{
    layout::{self, Body, View},
    overview::artifact_name,
};
use crate::{Account, Reader, read::Snapshot, site::Page};

/// So many ids of instances are shown of one image.
const MOST: usize = 50;

/// What an image is to its pipeline.
#[derive(Debug)]
enum Standing<'a> {
    /// A channel points at it.
    Current(&'a PipelineStatus, &'a ChannelStatus, &'a BakeId),
    /// A rollout brings it to a channel.
    Coming(&'a PipelineStatus, &'a ChannelStatus, &'a RolloutId),
    /// A channel pointed at it until then.
    Outdated(&'a PipelineStatus, &'a ChannelStatus, Timestamp),
    /// A pipeline's bake made it, and no channel is known to have had it.
    Made(&'a PipelineName, &'a BakeId),
    /// None of the pipelines' newest bakes made it.
    Foreign,
}

impl Standing<'_> {
    /// What somebody must look at comes first, and what isn't ours last.
    fn place(&self) -> u8 {
        match self {
            Self::Outdated(..) => 0,
            Self::Made(..) => 1,
            Self::Coming(..) => 2,
            Self::Current(..) => 3,
            Self::Foreign => 4,
        }
    }
}

fn standing<'a>(image: &AmiId, snapshot: &'a Snapshot) -> Standing<'a> {
    let channels =
        || snapshot.pipelines.iter().flat_map(|one| one.channels.iter().map(move |channel| (one, channel)));
    for (one, channel) in channels() {
        if let Some(current) = channel.current.as_ref().filter(|current| current.image == *image) {
            return Standing::Current(one, channel, &current.bake);
        }
    }
    for (one, channel) in channels() {
        if let Some(rolling) = channel.rolling.as_ref().filter(|rolling| rolling.image == *image) {
            return Standing::Coming(one, channel, &rolling.rollout);
        }
    }
    for (one, channel) in channels() {
        if let Some(since) = channel.outdated.get(image) {
            return Standing::Outdated(one, channel, *since);
        }
    }
    let maker = snapshot.bakes.iter().find(|bake| bake.progress.image.as_ref() == Some(image));
    maker.map_or(Standing::Foreign, |bake| Standing::Made(&bake.spec.pipeline, &bake.spec.id))
}

pub async fn body<A: Account>(reader: &Reader<A>, view: &View<'_>) -> Body {
    let snapshot = reader.snapshot(view.now).await;
    let mut all: Vec<_> = snapshot
        .fleet
        .iter()
        .map(|(image, machines)| (image, machines, standing(image, &snapshot)))
        .collect();
    all.sort_by_key(|(image, _, standing)| (standing.place(), (*image).clone()));
    let machines: usize = all.iter().map(|(_, machines, _)| machines.len()).sum();
    let old: usize = all
        .iter()
        .filter(|(_, _, standing)| matches!(standing, Standing::Outdated(..)))
        .map(|(_, machines, _)| machines.len())
        .sum();
    let rows = html! {
        @for (image, machines, standing) in &all {
            tr class=[matches!(standing, Standing::Outdated(..)).then_some("bad")] {
                th scope="row" { code { (image) } }
                td { (within(image, &snapshot)) }
                (cells(view, standing))
                td { (ids(machines.iter(), machines.len())) }
                td { (fix(view, standing, machines.iter().next())) }
            }
        }
    };
    let content = html! {
        (layout::problems(view, &snapshot.problems))
        @if all.is_empty() {
            (layout::nothing(&snapshot.problems, &html! { "No machine runs, those of bakes aside." }))
        } @else {
            p { (machines) " machines, those of bakes aside; "
                @if old == 0 { "none on an older image of a channel." }
                @else { strong { (old) " on an older image of a channel." } } }
            (layout::table("Machines by image", &["Image", "Artifact", "What it is", "Outdated for", "Machines", "What to do"], &rows))
        }
    };
    Body { live: true, ..Body::new(view.page.title(), content) }
}

/// What is in an image, as far as one of the newest bakes or a channel names it.
fn within(image: &AmiId, snapshot: &Snapshot) -> Markup {
    let made = |bake: &&Bake| bake.progress.image.as_ref() == Some(image);
    let baked = snapshot.bakes.iter().find(made).and_then(|bake| Some(&bake.spec.artifact.as_ref()?.key));
    let channels = snapshot.pipelines.iter().flat_map(|one| &one.channels);
    let current =
        channels.filter_map(|channel| channel.current.as_ref()).find(|current| current.image == *image);
    let key = baked.or_else(|| Some(&current?.artifact.as_ref()?.key));
    html! { @if let Some(key) = key { (plain_line(artifact_name(key))) } }
}

fn cells(view: &View<'_>, standing: &Standing<'_>) -> Markup {
    let channel = |one: &PipelineStatus, channel: &ChannelStatus| {
        view.link(&Page::Pipeline(one.pipeline.clone()), &format!("{}/{}", one.pipeline, channel.channel))
    };
    html! {
        @match standing {
            Standing::Current(one, of, bake) => {
                td { (layout::pill("good", "current")) " of " (channel(one, of)) ", " (view.link(&Page::Bake(one.pipeline.clone(), (*bake).clone()), bake.as_str())) }
                td {}
            }
            Standing::Coming(one, of, rollout) => {
                td { (layout::pill("busy", "coming")) " to " (channel(one, of)) " by a " (view.link(&Page::Rollout(one.pipeline.clone(), (*rollout).clone()), "rollout")) }
                td {}
            }
            Standing::Outdated(one, of, since) => {
                td { (layout::pill("bad", "older")) " of " (channel(one, of)) }
                td { (view.ago(*since)) }
            }
            Standing::Made(pipeline, bake) => {
                td { "made by " (view.link(&Page::Bake((*pipeline).clone(), (*bake).clone()), &format!("{pipeline} by {bake}"))) ", in no channel" }
                td { "not known" }
            }
            Standing::Foreign => {
                td { "none of the pipelines' newest bakes made it" }
                td {}
            }
        }
    }
}

fn ids<'a>(machines: impl Iterator<Item = &'a InstanceId>, count: usize) -> Markup {
    html! {
        details {
            summary { (count) @if count == 1 { " machine" } @else { " machines" } }
            ul.ids { @for id in machines.take(MOST) { li { code { (id) } } }
                @if count > MOST { li { "and " (count - MOST) " more" } } }
        }
    }
}

fn fix(view: &View<'_>, standing: &Standing<'_>, machine: Option<&InstanceId>) -> Markup {
    html! {
        @match standing {
            Standing::Outdated(one, channel, _) => {
                @match (&channel.rolling, channel.parameters.first(), machine) {
                    (Some(rolling), _, _) => {
                        "The " (view.link(&Page::Rollout(one.pipeline.clone(), rolling.rollout.clone()), "rollout under way"))
                        " replaces those of the groups that follow the channel."
                    }
                    (None, Some(parameter), Some(_)) => {
                        "Start others in their place: "
                        (view.command(&format!("aws ec2 run-instances --image-id resolve:ssm:{}", plain_line(parameter.parameter.as_str()))))
                    }
                    (None, _, Some(machine)) => { (view.command(&format!("ovenbird show {machine}"))) }
                    (None, _, None) => {}
                }
            }
            Standing::Current(..) | Standing::Coming(..) | Standing::Made(..) | Standing::Foreign => {}
        }
    }
}
