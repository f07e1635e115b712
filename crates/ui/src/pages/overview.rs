//! The first page: what somebody must look at, what is under way, and every channel.

use std::collections::BTreeSet;

use maud::{Markup, html};
use ovenbird_core::{
    domain::{
        id::{ChannelName, PipelineName},
        plain::plain_line,
    },
    views::{
        status::{ChannelStatus, Coming, PipelineStatus},
        worries::{Worry, approval, worries},
    },
};

use super::layout::{self, Body, View};
use crate::{
    Account, Reader,
    read::{Problem, Snapshot},
    site::{Act, Page, Verb},
};

pub async fn body<A: Account>(reader: &Reader<A>, view: &View<'_>) -> Body {
    let snapshot = reader.snapshot(view.now).await;
    let content = html! {
        (layout::problems(view, &snapshot.problems))
        (at_a_glance(view, &snapshot))
        (look_at(view, &snapshot))
        (running(view, &snapshot))
        section aria-labelledby="channels" {
            h2 #channels { "Channels" }
            (channels(view, &snapshot.pipelines, &snapshot.problems))
        }
    };
    Body { live: true, ..Body::new(view.page.title(), content) }
}

/// The numbers that somebody wants to know first, each with the way to what it counts.
fn at_a_glance(view: &View<'_>, snapshot: &Snapshot) -> Markup {
    let running: usize = snapshot.pipelines.iter().map(|one| one.running.len()).sum();
    let machines: usize = snapshot.fleet.values().map(BTreeSet::len).sum();
    let old: usize = snapshot.pipelines.iter().flat_map(|one| &one.channels).map(on_older).sum();
    let rollouts = coming(snapshot).count();
    let page = |page: Page| page.href(view.form, view.page);
    let tile = |href: &str, count: usize, words: [&str; 2], more: &Markup| {
        html! { li { a href=(href) { strong { (count) } " " (words[usize::from(count != 1)]) (more) } } }
    };
    let bad = |count: usize, words: &str| {
        html! { @if count > 0 { " " (layout::pill("bad", &format!("{count} {words}"))) } }
    };
    let none = html! {};
    html! {
        @if !snapshot.pipelines.is_empty() {
            ul.tiles aria-label="At a glance" {
                (tile("#channels", snapshot.pipelines.len(), ["pipeline", "pipelines"], &none))
                (tile(&page(Page::Bakes), running, ["bake under way", "bakes under way"], &none))
                (tile(&page(Page::Rollouts), rollouts, ["rollout under way", "rollouts under way"], &none))
                (tile(&page(Page::Fleet), machines, ["machine", "machines"], &bad(old, "on older")))
            }
        }
    }
}

/// How many machines run on an image that a channel pointed at before. What runs on an image that comes is not outdated.
fn on_older(channel: &ChannelStatus) -> usize {
    let old = channel.on_others.iter().filter(|(image, _)| channel.outdated.contains_key(image));
    old.map(|(_, machines)| machines.len()).sum()
}

/// Everything that is wrong, each with the command that fixes it.
fn look_at(view: &View<'_>, snapshot: &Snapshot) -> Markup {
    let dead = snapshot.dead.iter().map(|dead| Worry {
        of: format!("bake {}", dead.bake),
        what: dead.what.to_owned(),
        fix: dead.fix.clone(),
    });
    let early = snapshot.early.iter().map(|(bake, at)| Worry {
        of: format!("bake {bake}"),
        what: format!("failed {} ago, before it had a record", layout::age(*at, view.now)),
        fix: format!("ovenbird show {bake}"),
    });
    let unread = unread(&snapshot.pipelines);
    let asked = coming(snapshot).filter_map(|(one, channel, _)| approval(one, channel));
    let all: Vec<Worry> =
        asked.chain(dead).chain(early).chain(snapshot.pipelines.iter().flat_map(worries)).collect();
    html! {
        section aria-labelledby="look" {
            h2 #look { "Needs attention" @if !all.is_empty() { " (" (all.len()) ")" } }
            @if all.is_empty() {
                @if unread > 0 { p { "Nothing was found yet." } }
                @else if snapshot.problems.is_empty() { p.good-news { "Nothing is wrong." } }
                @else { p { "Nothing else was found." } }
            } @else {
                (worry_table(view, &all))
            }
            @if unread > 0 {
                p { (unread) @if unread == 1 { " parameter is" } @else { " parameters are" }
                    " still to be read: whether they say what their channels do is not known yet." }
            }
        }
    }
}

/// How many parameters were left for later. The page is live, so they come by themselves.
fn unread(all: &[PipelineStatus]) -> usize {
    let parameters = all.iter().flat_map(|one| &one.channels).flat_map(|channel| &channel.parameters);
    parameters.filter(|parameter| parameter.unread).count()
}

/// So many places where the same is wrong are one row.
const SAME: usize = 4;

/// What is wrong, with its fix. A base that moved on is the same news of everything on it, and is told once.
pub fn worry_table(view: &View<'_>, all: &[Worry]) -> Markup {
    let mut groups: Vec<Vec<&Worry>> = Vec::new();
    for worry in all {
        match groups.iter_mut().find(|group| group[0].what == worry.what) {
            Some(group) => group.push(worry),
            None => groups.push(vec![worry]),
        }
    }
    let one = |worry: &Worry| {
        html! { tr.bad {
            td { (place(view, &worry.of)) }
            td { (layout::prose(&worry.what)) }
            td { (view.command(&worry.fix)) }
        } }
    };
    let rows = html! {
        @for group in &groups {
            @if group.len() < SAME { @for worry in group { (one(worry)) } }
            @else { tr.bad {
                td { strong { (group.len()) " times" } }
                td { (layout::prose(&group[0].what)) }
                td { details {
                    summary { "Where, and a command for each" }
                    ul.reasons { @for worry in group { li { (place(view, &worry.of)) ": " (view.command(&worry.fix)) } } }
                } }
            } }
        }
    };
    layout::table("What somebody must look at", &["Where", "What is wrong", "Command"], &rows)
}

/// A pipeline or a channel, with the way to it; a bake by its name alone.
fn place(view: &View<'_>, of: &str) -> Markup {
    let pipeline = of.split('/').next().and_then(|name| PipelineName::parse(name).ok());
    pipeline.map_or_else(|| html! { (plain_line(of)) }, |name| view.link(&Page::Pipeline(name), of))
}

/// The channels to which an image is on its way.
fn coming(snapshot: &Snapshot) -> impl Iterator<Item = (&PipelineStatus, &ChannelStatus, &Coming)> {
    snapshot.pipelines.iter().flat_map(|one| {
        one.channels.iter().filter_map(move |channel| Some((one, channel, channel.rolling.as_ref()?)))
    })
}

/// What is under way: bakes and rollouts.
fn running(view: &View<'_>, snapshot: &Snapshot) -> Markup {
    let bakes: Vec<_> =
        snapshot.pipelines.iter().flat_map(|one| one.running.iter().map(move |bake| (one, bake))).collect();
    let rollouts: Vec<_> = coming(snapshot).collect();
    html! {
        @if !bakes.is_empty() || !rollouts.is_empty() {
            section aria-labelledby="running" {
                h2 #running { "Under way" }
                ul.running {
                    @for (one, bake) in bakes {
                        li {
                            "Bake " (view.link(&Page::Bake(one.pipeline.clone(), bake.bake.clone()), bake.bake.as_str()))
                            " of " (view.link(&Page::Pipeline(one.pipeline.clone()), one.pipeline.as_str()))
                            ": in stage " (bake.stage.as_str()) " for " (view.ago(bake.stage_since))
                        }
                    }
                    @for (one, channel, coming) in rollouts {
                        li {
                            "Rollout of " (view.link(
                                &Page::Rollout(one.pipeline.clone(), coming.rollout.clone()),
                                &format!("{}/{}", one.pipeline, channel.channel),
                            ))
                            " to " code { (coming.image) }
                            @if let Some(phase) = coming.phase { ": " (phase.as_str()) }
                            @if let Some(awaits) = &coming.awaits { ", waits for " (plain_line(awaits)) }
                        }
                    }
                }
            }
        }
    }
}

fn channels(view: &View<'_>, all: &[PipelineStatus], problems: &[Problem]) -> Markup {
    if all.is_empty() {
        let text =
            html! { "No pipeline has a recipe yet. Push one: " (view.command("ovenbird recipe push")) };
        return layout::nothing(problems, &text);
    }
    let rows = html! {
        @for one in all {
            @if one.channels.is_empty() {
                tr {
                    th scope="row" { (view.link(&Page::Pipeline(one.pipeline.clone()), one.pipeline.as_str())) }
                    td colspan="5" { "nothing is promoted" }
                    td { (last_bake(view, one)) }
                }
            }
            @for channel in &one.channels { (row(view, one, channel)) }
        }
    };
    let head = ["Channel", "Image", "Since", "Artifact", "Base", "Machines", "Last bake"];
    layout::table("Channels", &head, &rows)
}

fn row(view: &View<'_>, one: &PipelineStatus, channel: &ChannelStatus) -> Markup {
    let current = channel.current.as_ref();
    let others = on_older(channel);
    html! {
        tr {
            th scope="row" {
                (view.link(&Page::Pipeline(one.pipeline.clone()), &format!("{}/{}", one.pipeline, channel.channel)))
                (stands(channel))
            }
            @match current {
                Some(current) => {
                    td { (view.link(&Page::Bake(one.pipeline.clone(), current.bake.clone()), current.image.as_str())) }
                    td { (view.ago(current.promoted)) }
                    td { @if let Some(artifact) = &current.artifact { (plain_line(artifact.key.name())) }
                        @for ahead in ahead(one, channel) { " " (layout::pill("dull", &format!("older than {ahead}"))) } }
                    td { (base(current.behind)) }
                }
                None => { td colspan="4" { "nothing is promoted" } }
            }
            td {
                (channel.on_current.len())
                @if others > 0 { " " (layout::pill("bad", &format!("{others} on older"))) }
            }
            td { (last_bake(view, one)) }
        }
    }
}

/// The pipeline's other channels whose artifact was uploaded later.
fn ahead<'a>(one: &'a PipelineStatus, channel: &'a ChannelStatus) -> impl Iterator<Item = &'a ChannelName> {
    let uploaded = |channel: &ChannelStatus| {
        let artifact = channel.current.as_ref()?.artifact.as_ref()?;
        Some((artifact.uploaded, artifact.sequencer.clone()))
    };
    let own = uploaded(channel);
    let later = one.channels.iter().filter(move |other| own.is_some() && uploaded(other) > own);
    later.map(|other| &other.channel)
}

/// Whether a channel is held, or on its way.
pub fn stands(channel: &ChannelStatus) -> Markup {
    html! {
        @if channel.rolling.is_some() { " " (layout::pill("busy", "rolling")) }
        @if let Some(hold) = &channel.hold {
            " " span.pill.dull title=(plain_line(hold.why.as_deref().unwrap_or_default())) {
                "held by " (plain_line(&hold.by))
            }
        }
        @if !channel.in_recipe { " " (layout::pill("bad", "not in the recipe")) }
    }
}

/// Whether a bake would stand on another base now.
pub fn base(behind: Option<bool>) -> Markup {
    match behind {
        Some(true) => layout::pill("bad", "behind"),
        Some(false) => layout::pill("good", "newest"),
        None => layout::pill("dull", "not known"),
    }
}

fn last_bake(view: &View<'_>, one: &PipelineStatus) -> Markup {
    let last = one.running.first().or(one.last_bake.as_ref());
    html! {
        @if let Some(bake) = last {
            a href=(Page::Bake(one.pipeline.clone(), bake.bake.clone()).href(view.form, view.page)) {
                (layout::status(bake.status))
            }
            " " (view.ago(bake.ended.unwrap_or(bake.started)))
            @if let Some(error) = &bake.error { " " (plain_line(error)) }
        } @else { "none" }
    }
}

/// What can be done to a channel from here.
pub fn acts(view: &View<'_>, one: &PipelineStatus, channel: &ChannelStatus) -> Markup {
    let act = |verb| Act { verb, pipeline: one.pipeline.clone(), channel: channel.channel.clone() };
    html! {
        @if channel.rolling.is_none() && channel.current.is_some() {
            @if channel.hold.is_none() { (view.act(act(Verb::Hold))) " " } @else { (view.act(act(Verb::Release))) " " }
            @if !channel.outdated.is_empty() { (view.act(act(Verb::RollBack))) }
        }
    }
}
