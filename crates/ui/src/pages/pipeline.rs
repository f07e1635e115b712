//! One pipeline: its channels with what they pointed at, and its bakes.

use maud::{Markup, html};
use ovenbird_core::{
    domain::{
        id::{ChannelName, PipelineName},
        plain::plain_line,
    },
    store::{Channel, Ledger, Target},
    views::{
        status::{ChannelStatus, PipelineStatus},
        worries::worries,
    },
};

use super::{
    bakes,
    layout::{self, Body, View},
    overview,
};
use crate::{
    Account, Reader,
    parameters::read_rest,
    read::Problem,
    site::{Act, Page, Verb},
};

pub async fn body<A: Account>(reader: &Reader<A>, view: &View<'_>, name: &PipelineName) -> Body {
    let (snapshot, channels) = futures::join!(reader.snapshot(view.now), async {
        Ledger(reader.account.cloud()).channels(name).await
    });
    let mut problems = snapshot.problems.clone();
    let channels = channels.unwrap_or_else(|error| {
        problems.push(Problem::new("the channels' histories", &error));
        Vec::new()
    });
    let Some(mut one) = snapshot.pipelines.iter().find(|one| one.pipeline == *name).cloned() else {
        if problems.is_empty() {
            return Body::missing(&view.page.title());
        }
        return Body::new(view.page.title(), layout::problems(view, &problems));
    };
    if let Err(error) = read_rest(reader.account.cloud(), &mut one).await {
        problems.push(Problem::new("what parameters say", &error));
    }
    let own: Vec<_> = snapshot.bakes.iter().filter(|bake| bake.spec.pipeline == *name).cloned().collect();
    let worries = worries(&one);
    let content = html! {
        (layout::problems(view, &problems))
        @if !worries.is_empty() {
            section aria-labelledby="look" { h2 #look { "Needs attention" } (overview::worry_table(view, &worries)) }
        }
        @for channel in &one.channels { (of_channel(view, &one, channel, &channels, &snapshot.pipelines)) }
        section aria-labelledby="bakes" {
            h2 #bakes { "Newest bakes" }
            @if own.is_empty() { p { "None. Start one: " (view.command(&format!("ovenbird bake {name}"))) } }
            @else { (bakes::legend()) (bakes::table(view, &own, false)) }
        }
        p { (view.link(&Page::PruneOf(name.clone()), "Why each image of this pipeline is kept or goes")) }
    };
    Body { live: !one.running.is_empty(), ..Body::new(view.page.title(), content) }
}

/// The channels whose images were made on this one's.
fn standing_on<'a>(
    pipeline: &PipelineName,
    channel: &ChannelName,
    all: &'a [PipelineStatus],
) -> Vec<(&'a PipelineStatus, &'a ChannelStatus)> {
    let on_it = |status: &ChannelStatus| {
        let base = status.current.as_ref().and_then(|current| current.base.as_ref());
        let parent = base.and_then(|base| base.parent.as_ref());
        parent.is_some_and(|parent| parent.pipeline == *pipeline && parent.channel == *channel)
    };
    let channels = all.iter().flat_map(|one| one.channels.iter().map(move |status| (one, status)));
    channels.filter(|(_, status)| on_it(status)).collect()
}

/// So many, in words.
fn machines(count: usize) -> String {
    format!("{count} {}", if count == 1 { "machine" } else { "machines" })
}

fn of_channel(
    view: &View<'_>,
    one: &PipelineStatus,
    status: &ChannelStatus,
    channels: &[Channel],
    all: &[PipelineStatus],
) -> Markup {
    let above = standing_on(&one.pipeline, &status.channel, all);
    let record = channels.iter().find(|channel| channel.name == status.channel);
    html! {
        section aria-label={ "Channel " (status.channel) } {
            h2 { "Channel " (status.channel) (overview::stands(status)) }
            p { (overview::acts(view, one, status)) }
            @match &status.current {
                None => { p { "Nothing is promoted." } }
                Some(current) => {
                    dl {
                        dt { "Image" }
                        dd { code { (current.image) } ", since " (view.moment(current.promoted)) ", by bake "
                            (view.link(&Page::Bake(one.pipeline.clone(), current.bake.clone()), current.bake.as_str())) }
                        @if let Some(artifact) = &current.artifact {
                            dt { "Artifact" }
                            dd { (plain_line(artifact.key.name())) ", " (artifact.bytes) " bytes, SHA-256 "
                                code { (&artifact.sha256.as_str()[..12]) } }
                        }
                        @if let Some(base) = &current.base {
                            dt { "Base" }
                            dd { code { (base.image) } " (" (plain_line(&base.name)) "), " (layout::prose(&base.written)) " "
                                (overview::base(current.behind)) }
                        }
                        @for parameter in &status.parameters {
                            dt { "Parameter" }
                            dd { code { (plain_line(parameter.parameter.as_str())) } " "
                                @if parameter.unread { (layout::pill("dull", "not read")) }
                                @else if parameter.drifted { (layout::pill("bad", "says something else")) } @else { (layout::pill("good", "says the same")) } }
                        }
                        @if !above.is_empty() {
                            dt { "Stands on it" }
                            dd {
                                "a new image of this channel starts bakes of: "
                                @for (number, (child, channel)) in above.iter().enumerate() {
                                    @if number > 0 { ", " }
                                    (view.link(&Page::Pipeline(child.pipeline.clone()), &format!("{}/{}", child.pipeline, channel.channel)))
                                    " (" (machines(channel.on_current.len())) ")"
                                }
                            }
                        }
                        dt { "Machines" }
                        dd { (status.on_current.len()) " on it"
                            @for (image, machines) in &status.on_others { ", " (machines.len()) " on " code { (image) } } }
                    }
                }
            }
            @if let Some(record) = record { (history(view, one, status, record)) }
        }
    }
}

fn history(view: &View<'_>, one: &PipelineStatus, status: &ChannelStatus, channel: &Channel) -> Markup {
    let targets: Vec<&Target> = channel.current.iter().chain(&channel.previous).take(20).collect();
    let act = |target: &Target| Act {
        verb: Verb::Promote(target.image.clone()),
        pipeline: one.pipeline.clone(),
        channel: channel.name.clone(),
    };
    let rows = html! {
        @for (number, target) in targets.iter().enumerate() {
            tr {
                th scope="row" { (view.link(&Page::Bake(one.pipeline.clone(), target.bake.clone()), target.image.as_str())) }
                td { (view.moment(target.promoted)) }
                td {
                    @if number == 0 && channel.current.is_some() { (layout::pill("good", "current")) }
                    @else if let Some(since) = status.outdated.get(&target.image) { "for " (view.ago(*since)) }
                }
                td { @match &target.by { Some(by) => (plain_line(by)), None => { "bake " (target.bake) } } }
                td { (plain_line(target.why.as_deref().unwrap_or_default()))
                    @if number > 0 && channel.rolling.is_none() && status.outdated.contains_key(&target.image) { " " (view.act(act(target))) } }
            }
        }
        @for rejected in &channel.rejected {
            tr.bad {
                th scope="row" { code { (rejected.image) } }
                td { (view.moment(rejected.at)) }
                td { (layout::pill("bad", "rejected")) }
                td {}
                td { (plain_line(&rejected.why)) " " (view.command(&format!("ovenbird promote {} --channel {} --image {} --force", one.pipeline, channel.name, rejected.image))) }
            }
        }
    };
    html! {
        @if !targets.is_empty() || !channel.rejected.is_empty() {
            h3 { "What it pointed at" }
            (layout::table(
                &format!("History of channel {}", channel.name),
                &["Image", "Promoted", "Outdated", "By", "Why"],
                &rows,
            ))
        }
    }
}
