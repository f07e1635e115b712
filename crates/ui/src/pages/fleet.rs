//! Which machines run from which image, and what replaces those on an old one.

use maud::{Markup, html};
use ovenbird_core::{
    domain::{
        id::{BakeId, InstanceId},
        plain::plain_line,
    },
    views::{
        fleet::{OnImage, Standing, fleet},
        status::PipelineStatus,
    },
};

use super::layout::{self, Body, View};
use crate::{Account, Reader, site::Page};

/// So many ids of instances are shown of one image.
const MOST: usize = 50;

pub async fn body<A: Account>(reader: &Reader<A>, view: &View<'_>) -> Body {
    let snapshot = reader.snapshot(view.now).await;
    let all = fleet(&snapshot.pipelines, snapshot.bakes.iter(), &snapshot.fleet);
    let machines: usize = all.iter().map(|one| one.instances.len()).sum();
    let older = all.iter().filter(|one| one.standing == Standing::Older);
    let old: usize = older.map(|one| one.instances.len()).sum();
    let rows = html! {
        @for one in &all {
            tr class=[(one.standing == Standing::Older).then_some("bad")] {
                th scope="row" { code { (one.image) } }
                td { @if let Some(artifact) = &one.artifact { (plain_line(artifact.name())) } }
                td { (standing(view, one)) }
                td { @if let Some(since) = one.outdated { (view.ago(since)) } @else if one.standing == Standing::Made { "not known" } }
                td { (ids(one.instances.iter(), one.instances.len())) }
                td { (fix(view, one, &snapshot.pipelines)) }
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

/// What an image is to its pipeline, with the way to what says so.
fn standing(view: &View<'_>, one: &OnImage) -> Markup {
    let Some(pipeline) = &one.pipeline else {
        return html! { "none of the pipelines' newest bakes made it" };
    };
    let channel = one.channel.as_ref().map(|channel| format!("{pipeline}/{channel}")).unwrap_or_default();
    let channel = view.link(&Page::Pipeline(pipeline.clone()), &channel);
    let bake = |text: &dyn Fn(&BakeId) -> String| {
        html! { @if let Some(bake) = &one.bake { (view.link(&Page::Bake(pipeline.clone(), bake.clone()), &text(bake))) } }
    };
    html! {
        @match one.standing {
            Standing::Current => { (layout::pill("good", "current")) " of " (channel) ", " (bake(&|bake| bake.to_string())) }
            Standing::Coming => {
                (layout::pill("busy", "coming")) " to " (channel)
                @if let Some(rollout) = &one.rollout { " by a " (view.link(&Page::Rollout(pipeline.clone(), rollout.clone()), "rollout")) }
            }
            Standing::Older => { (layout::pill("bad", "older")) " of " (channel) }
            Standing::Made => { "made by " (bake(&|bake| format!("{pipeline} by {bake}"))) ", in no channel" }
            Standing::Foreign => { "none of the pipelines' newest bakes made it" }
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

/// What replaces the machines of an older image.
fn fix(view: &View<'_>, one: &OnImage, pipelines: &[PipelineStatus]) -> Markup {
    let (Standing::Older, Some(pipeline)) = (one.standing, &one.pipeline) else { return html! {} };
    if let Some(rollout) = &one.rollout {
        return html! {
            "The " (view.link(&Page::Rollout(pipeline.clone(), rollout.clone()), "rollout under way"))
            " replaces those of the groups that follow the channel."
        };
    }
    let mut channels = pipelines.iter().filter(|of| of.pipeline == *pipeline).flat_map(|of| &of.channels);
    let channel = channels.find(|channel| Some(&channel.channel) == one.channel.as_ref());
    let parameter = channel.and_then(|channel| channel.parameters.first());
    html! {
        @if let Some(parameter) = parameter {
            "Start others in their place: "
            (view.command(&format!("aws ec2 run-instances --image-id resolve:ssm:{}", plain_line(parameter.parameter.as_str()))))
        } @else if let Some(machine) = one.instances.first() {
            (view.command(&format!("ovenbird show {machine}")))
        }
    }
}
