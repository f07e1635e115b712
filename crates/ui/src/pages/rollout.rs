//! Rollouts: all of them, and one while it goes on.

use maud::{Markup, html};
use ovenbird_core::{
    Result,
    domain::{
        id::{GroupName, PipelineName, RolloutId},
        plain::plain_line,
        rollout::{Counts, GroupState, Outcome, Phase, Rollout, Seen},
    },
    steps::rollout::see,
    store::Ledger,
    views::rollout::RolloutView,
};

use super::{
    layout::{self, Body, View},
    requests,
};
use crate::{
    Account, Reader,
    read::{Problem, each},
    site::{Act, Page, Verb},
};

/// How many rollouts the list has.
const MOST: usize = 50;

pub async fn list<A: Account>(reader: &Reader<A>, view: &View<'_>) -> Body {
    let snapshot = reader.snapshot(view.now).await;
    let ledger = Ledger(reader.account.cloud());
    let names = snapshot.pipelines.iter().map(|one| &one.pipeline);
    let read = each(names, async |name: &PipelineName| (ledger.rollouts(name).await, name)).await;
    let (mut problems, mut all) = (snapshot.problems.clone(), Vec::new());
    for (rollouts, name) in read {
        match rollouts {
            Ok(rollouts) => all.extend(rollouts),
            Err(error) => problems.push(Problem::new(format!("the rollouts of {name}"), &error)),
        }
    }
    all.sort_by_key(|one| (one.progress.outcome.is_some(), std::cmp::Reverse(one.progress.began)));
    let live = all.iter().any(|one| one.progress.outcome.is_none());
    let more = all.len().saturating_sub(MOST);
    all.truncate(MOST);
    let rows = html! { @for rollout in &all { (row(view, rollout)) } };
    let content = html! {
        (layout::problems(view, &problems))
        @if all.is_empty() {
            (layout::nothing(&problems, &html! {
                "No rollout is on record. There is one whenever an image is promoted to a channel that Auto Scaling groups follow."
            }))
        } @else {
            (layout::table("Rollouts", &["Rollout", "Channel", "Image", "Stands", "Began", "Why"], &rows))
            @if more > 0 { p { (more) " older ones are not shown." } }
        }
    };
    Body { live, ..Body::new(view.page.title(), content) }
}

fn row(view: &View<'_>, rollout: &Rollout) -> Markup {
    let (spec, progress) = (&rollout.spec, &rollout.progress);
    html! {
        tr {
            th scope="row" { (view.link(&Page::Rollout(spec.to.pipeline.clone(), spec.id.clone()), spec.id.as_str())) }
            td { (view.link(&Page::Pipeline(spec.to.pipeline.clone()), &spec.to.name())) }
            td { code { (spec.image) } }
            td { (stands(rollout)) }
            td { (view.ago(progress.began)) " ago" }
            td { (plain_line(progress.reason.as_deref().or(spec.why.as_deref()).unwrap_or_default())) }
        }
    }
}

fn stands(rollout: &Rollout) -> Markup {
    match rollout.progress.outcome {
        Some(outcome @ Outcome::Settled) => layout::pill("good", outcome.as_str()),
        Some(outcome @ Outcome::Aborted) => layout::pill("dull", outcome.as_str()),
        Some(outcome @ (Outcome::Reverted | Outcome::Left | Outcome::Refused)) => {
            layout::pill("bad", outcome.as_str())
        }
        None => layout::pill("busy", rollout.progress.phase.as_str()),
    }
}

pub async fn one<A: Account>(
    reader: &Reader<A>,
    view: &View<'_>,
    pipeline: &PipelineName,
    id: &RolloutId,
) -> Body {
    let title = view.page.title();
    let cloud = reader.account.cloud();
    let rollout = match Ledger(cloud).rollout(pipeline, id).await {
        Ok(Some(rollout)) => rollout.into_inner(),
        Ok(None) => return Body::missing(&title),
        Err(error) => {
            return Body::new(title.clone(), layout::problems(view, &[Problem::new(title, &error)]));
        }
    };
    let live = rollout.progress.outcome.is_none();
    let policy = &rollout.spec.to.policy;
    // What there is of the groups now is only of interest while something is done to them.
    let names = rollout.spec.to.groups.iter().filter(|_| live);
    let seen = each(names, async |name: &GroupName| (name, see(name, &policy.alarms, cloud, view.now).await));
    let seen = seen.await;
    let mut problems: Vec<Problem> = seen
        .iter()
        .filter_map(|(name, seen)| Some(Problem::new(format!("group {name}"), seen.as_ref().err()?)))
        .collect();
    let known = seen.iter().filter_map(|(_, seen)| seen.as_ref().ok());
    let target_groups: Vec<String> = known.flat_map(|seen| seen.group.target_groups.clone()).collect();
    // Of a group that can't be seen, that is said already.
    let traffic = if seen.iter().any(|(_, seen)| seen.is_ok()) {
        Some(reader.traffic.of(cloud, target_groups, view.now).await)
    } else {
        None
    };
    problems.extend(traffic.iter().filter_map(|traffic| traffic.as_ref().err()).cloned());
    let content = html! {
        (layout::problems(view, &problems))
        (facts(view, &rollout))
        (stages(&rollout))
        @if let Some(traffic) = &traffic { (requests::section(view, traffic)) }
        @for (name, seen) in &seen { (group(&rollout, name, seen)) }
        (timeline(view, &rollout))
    };
    Body { live, ..Body::new(title, content) }
}

/// What a person may want of a rollout now, as `ops` takes it. An execution may die in each phase, and is resumed then.
fn verbs(rollout: &Rollout) -> &'static [Verb] {
    match rollout.progress.phase {
        Phase::Paused if rollout.awaits_approval() => &[Verb::Approve, Verb::Reject],
        Phase::Preflight | Phase::Stage | Phase::Watch => {
            &[Verb::Pause, Verb::Skip, Verb::Abort, Verb::Resume]
        }
        Phase::Paused => &[Verb::Resume, Verb::Skip, Verb::Abort],
        Phase::Keeping => &[Verb::Skip, Verb::Abort, Verb::Resume],
        Phase::Reverting => &[Verb::Leave, Verb::Resume],
        Phase::Settling => &[Verb::Resume],
        Phase::Ended => &[],
    }
}

fn facts(view: &View<'_>, rollout: &Rollout) -> Markup {
    let shown = RolloutView::from(rollout);
    let act = |verb| Act { verb, pipeline: shown.pipeline.clone(), channel: shown.channel.clone() };
    html! {
        section aria-label="What it is" {
            dl {
                dt { "Channel" } dd { (view.link(&Page::Pipeline(shown.pipeline.clone()), &rollout.spec.to.name())) }
                dt { "Image" } dd { code { (shown.image) } ", by bake " (view.link(&Page::Bake(shown.pipeline.clone(), shown.bake.clone()), shown.bake.as_str())) }
                dt { "Asked by" } dd { (plain_line(shown.by)) @if let Some(why) = shown.why { ": " (plain_line(why)) } }
                dt { "Stands" } dd { (stands(rollout)) " " (plain_line(&shown.stage))
                    @if !rollout.progress.awaits.is_empty() { ", waits for " (plain_line(&rollout.progress.awaits)) } }
                dt { "Began" } dd { (view.moment(shown.began)) }
                @if let Some(reason) = shown.reason { dt { "Reason" } dd.bad-news { (layout::output(reason)) } }
            }
            @if shown.outcome.is_none() {
                p.acts {
                    @for verb in verbs(rollout) { (view.act(act(verb.clone()))) " " }
                }
                @if let Some(first) = verbs(rollout).first() {
                    p { "Steer it: " (view.command(&act(first.clone()).command()))
                        @if let [_, rest @ ..] = verbs(rollout) { " (or "
                            (rest.iter().map(Verb::word).collect::<Vec<_>>().join(", ")) ")" } }
                }
            } @else if matches!(shown.outcome, Some(Outcome::Reverted | Outcome::Left | Outcome::Refused)) {
                p { "Try this image again: " (view.command(&format!(
                    "ovenbird promote {} --channel {} --image {} --force", shown.pipeline, shown.channel, shown.image))) }
            }
        }
    }
}

/// The stages of each group, and which one it is in.
fn stages(rollout: &Rollout) -> Markup {
    let (policy, progress) = (&rollout.spec.to.policy, &rollout.progress);
    let (at_group, at_stage) = progress.place(policy);
    let settled = progress.outcome == Some(Outcome::Settled);
    html! {
        @if !rollout.spec.to.groups.is_empty() {
            section aria-labelledby="stages" {
                h2 #stages { "Stages" }
                @for (number, name) in rollout.spec.to.groups.iter().enumerate() {
                    h3 { "Group " (plain_line(name.as_str())) }
                    ol.stages {
                        @for (stage, share) in policy.stages.iter().enumerate() {
                            @let done = settled || (number, stage) < (at_group, at_stage);
                            @let current = !settled && progress.outcome.is_none() && (number, stage) == (at_group, at_stage);
                            li class=(if done { "done" } else if current { "current" } else { "to-come" })
                                aria-current=[current.then_some("step")] {
                                (share.to_string()) " " (if done { "done" } else if current { progress.phase.as_str() } else { "to come" })
                            }
                        }
                    }
                }
            }
        }
    }
}

fn group(rollout: &Rollout, name: &GroupName, seen: &Result<Seen>) -> Markup {
    let Ok(seen) = seen else { return html! {} };
    let state: Option<&GroupState> = rollout.progress.groups.iter().find(|one| one.name == *name);
    let counts = state.map(|state| Counts::of(seen, state));
    let after = state.and_then(|state| state.after.as_ref());
    let rows = html! {
        @for member in &seen.group.members {
            tr {
                th scope="row" { code { (member.instance) } }
                td { @if after.is_some_and(|after| member.is_of(after)) { (layout::pill("busy", "new")) } @else { "old" } }
                td { (plain_line(&member.lifecycle)) @if !member.healthy { " " (layout::pill("bad", "unhealthy")) } }
                td { @for target in seen.targets_of(&member.instance) {
                    @if seen.serves(member) { (layout::pill("good", "serves")) } @else { (layout::pill("dull", "does not serve")) }
                    @if !target.reason.is_empty() { " " (plain_line(&target.reason)) } " "
                } }
            }
        }
    };
    html! {
        section aria-label={ "Group " (name) } {
            h2 { "Group " (plain_line(name.as_str())) " now" }
            @if let Some(counts) = counts {
                p { (counts.old) " old, " (counts.new) " new, of these " (counts.serving) " serve; " (seen.group.desired) " wanted." }
            }
            @if let Some(refresh) = &seen.refresh {
                p { "Instance refresh " code { (plain_line(&refresh.id)) } ": " (plain_line(&refresh.status)) ", " (refresh.percent) " % "
                    (plain_line(&refresh.reason)) }
                progress max="100" value=(refresh.percent) aria-label="Instance refresh" {}
            }
            @for (alarm, state) in &seen.alarms { p { "Alarm " (plain_line(alarm)) ": " (format!("{state:?}").to_lowercase()) } }
            (layout::table(&format!("Machines of group {name}"), &["Machine", "From", "State", "Health"], &rows))
        }
    }
}

fn timeline(view: &View<'_>, rollout: &Rollout) -> Markup {
    html! {
        section aria-labelledby="timeline" {
            h2 #timeline { "What happened" }
            ol.timeline { @for entry in &rollout.progress.timeline {
                li { (view.moment(entry.at)) " " (plain_line(&entry.what)) }
            } }
        }
    }
}
