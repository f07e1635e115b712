//! The newest plan of a prune run: what becomes of each image, with every reason, and what that saves.

use maud::{Markup, html};
use ovenbird_core::{
    Result,
    domain::{
        id::{BakeId, PipelineName},
        plain::plain_line,
        price::{AtMost, PRICED, SNAPSHOT_GB_MONTH},
        retirement::{Act, Retiring},
    },
    ports::Bucket,
    steps::prune::{Plan, Reason, Verdict},
    store::{decode, keys},
};
use std::collections::BTreeMap;

use super::layout::{self, Body, View};
use crate::{
    Account, Reader,
    read::{Problem, each},
    site::{Page, PruneAct},
};

/// Among so many of the newest runs a plan of everything is looked for: `ovenbird clean` makes plans of one bake.
const RUNS: u8 = 10;

/// So many images of one table are shown.
const MOST: usize = 200;

pub async fn body<A: Account>(reader: &Reader<A>, view: &View<'_>, only: Option<&PipelineName>) -> Body {
    let title = view.page.title();
    let (run, plan) = match newest(&reader.account).await {
        Ok(Some(found)) => found,
        Ok(None) => {
            let content = html! { p { "No run has planned yet. Make a plan, which changes nothing: " (view.command("ovenbird prune --dry-run")) } };
            return Body::new(title, content);
        }
        Err(error) => {
            return Body::new(title, layout::problems(view, &[Problem::new("the plan", &error)]));
        }
    };
    let wanted = |one: &&Verdict| only.is_none_or(|pipeline| one.pipeline == *pipeline);
    let mut due: Vec<&Verdict> = plan.retire.iter().filter(wanted).collect();
    due.sort_by_key(|one| std::cmp::Reverse(one.act));
    let (waiting, kept): (Vec<&Verdict>, Vec<&Verdict>) =
        plan.keep.iter().filter(wanted).partition(|one| one.act == Act::Wait);
    let content = html! {
        p { "The plan that run " code { (run) } " made " (view.ago(plan.made)) " ago. Make a new one, which changes nothing: "
            (view.command("ovenbird prune --dry-run")) " " (view.prune(PruneAct::Plan, "Make a new plan"))
            @if acts(&plan) { " " (view.prune(PruneAct::Run(run.clone()), "Do what it says")) } }
        @if only.is_none() { (alerts(view, &plan)) (next(view, &due, &waiting)) (money(&plan)) }
        (images(view, "Goes a step further, or back", &due))
        (images(view, "Waits for the end of its soak", &waiting))
        @match only {
            Some(_) => { (images(view, "Stays", &kept)) }
            None => { (by_pipeline(view, &plan)) }
        }
        @if only.is_none() && !plan.dead_bakes.is_empty() { (dead(view, &plan)) }
    };
    Body::new(title, content)
}

/// Whether a plan is one to act on: it takes something away.
fn acts(plan: &Plan) -> bool {
    plan.halted.is_none() && !plan.is_empty()
}

async fn newest(account: &impl Account) -> Result<Option<(BakeId, Plan)>> {
    let runs = account.prune_runs(RUNS).await?;
    let read = each(&runs, async |(run, _): &(BakeId, jiff::Timestamp)| {
        let key = keys::prune_plan(run);
        let text = account.cloud().text(&key).await?;
        text.map(|text| decode::<Plan>(&key, &text)).transpose()
    });
    let mut first = None;
    for ((run, _), plan) in runs.iter().zip(read.await) {
        let Some(plan) = plan? else { continue };
        // A plan that names no image may be one bake's; an older one says more.
        if plan.verdicts().next().is_some() {
            return Ok(Some((run.clone(), plan)));
        }
        first.get_or_insert((run.clone(), plan));
    }
    Ok(first)
}

fn alerts(view: &View<'_>, plan: &Plan) -> Markup {
    html! {
        @if plan.halted.is_some() || !plan.problems.is_empty() {
            section.alert aria-label="Look at" {
                h2 { "Look at" }
                ul {
                    @if let Some(halted) = &plan.halted { li { strong { "This run destroys nothing: " } (plain_line(halted)) } }
                    @for problem in &plan.problems { li { (plain_line(problem)) } }
                }
                p { "Plan again when that is done: " (view.command("ovenbird prune --dry-run")) }
            }
        }
        @if plan.later > 0 { p { (plan.later) " more are for a later run: a run takes only so many." } }
    }
}

/// What goes next, and when, in a line.
fn next(view: &View<'_>, due: &[&Verdict], waiting: &[&Verdict]) -> Markup {
    let away = due.iter().filter(|one| one.act != Act::Restore).count();
    let soonest = waiting.iter().filter_map(|one| Some((one.until?, one))).min_by_key(|(until, _)| *until);
    html! {
        p {
            @match away {
                0 => { "No image goes a step in this run. " }
                1 => { strong { "1 image" } " goes a step in this run. " }
                some => { strong { (some) " images" } " go a step in this run. " }
            }
            @if let Some((until, one)) = soonest {
                "Next comes " code { (one.image) } " of " (one.pipeline) ", at " (view.moment(until)) ": then its soak is over."
            } @else { "None waits for the end of its soak." }
        }
    }
}

fn money(plan: &Plan) -> Markup {
    let of = |room: AtMost| format!("{:.1} GB, ${:.2} a month", room.gb(), room.dollars());
    html! {
        @if plan.holds != AtMost::default() {
            p { "All images together take at most " strong { (of(plan.holds)) } "." }
        }
        @if plan.will_free != AtMost::default() {
            p { "Frees at most " strong { (of(plan.frees)) } " in this run, and " (of(plan.will_free)) " with all that is on its way. "
                "That is their full size, which they share with other snapshots, at $" (SNAPSHOT_GB_MONTH) " a GB and month (" (PRICED) ")."
                @if plan.will_free.unknown > 0 { " Of " (plan.will_free.unknown) " snapshots EC2 didn't say the size." } }
        }
    }
}

fn because(reason: Reason, by: &str) -> String {
    if by.is_empty() { reason.to_string() } else { format!("{reason} ({by})") }
}

/// Images with all of their reasons.
fn images(view: &View<'_>, heading: &str, all: &[&Verdict]) -> Markup {
    let rows = html! { @for one in all.iter().take(MOST) {
        tr {
            th scope="row" { code { (one.image) } br; (plain_line(&one.name)) }
            td { (view.link(&Page::PruneOf(one.pipeline.clone()), one.pipeline.as_str())) }
            td { (act(one.act))
                @if let Some(was) = one.was { " " (match was.stage { Retiring::Deprecated => "deprecated", Retiring::Disabled => "disabled", Retiring::Undone => "taken back" }) " for " (view.ago(was.since)) } }
            td { ul.reasons {
                li { (plain_line(&because(one.reason, &one.by))) @if let Some(until) = one.until { ", until " (view.moment(until)) } }
                @for also in &one.also { li { (plain_line(&because(also.reason, &also.by))) } }
            } }
            td { @if one.act == Act::Disable || one.was.is_some() { (view.command(&format!("ovenbird prune undo {}", one.image))) " "
                (view.prune(PruneAct::Undo(one.image.clone()), "take back")) }
                @else { (view.command(&format!("ovenbird prune explain {}", one.image))) } }
        }
    } };
    html! {
        @if !all.is_empty() {
            section aria-label=(heading) {
                h2 { (heading) " (" (all.len()) ")" }
                (layout::table(heading, &["Image", "Pipeline", "Act", "Every reason", "Command"], &rows))
                @if all.len() > MOST { p { (all.len() - MOST) " more are not shown: " (view.command("ovenbird prune --dry-run")) } }
            }
        }
    }
}

fn act(act: Act) -> Markup {
    let class = if act == Act::Wait || act == Act::Deprecate {
        "dull"
    } else if act.does_something() && act != Act::Restore {
        "bad"
    } else {
        "good"
    };
    layout::pill(class, &act.to_string())
}

/// How many images of each pipeline stay; each leads to all of its images.
fn by_pipeline(view: &View<'_>, plan: &Plan) -> Markup {
    let mut counts: BTreeMap<&PipelineName, (usize, usize)> = BTreeMap::new();
    for one in plan.verdicts() {
        let count = counts.entry(&one.pipeline).or_default();
        if one.act.does_something() { count.1 += 1 } else { count.0 += 1 }
    }
    let rows = html! { @for (pipeline, (stay, go)) in &counts {
        tr {
            th scope="row" { (view.link(&Page::PruneOf((*pipeline).clone()), pipeline.as_str())) }
            td.num { (stay) }
            td.num { (go) }
        }
    } };
    html! {
        section aria-labelledby="stay" {
            h2 #stay { "Images of each pipeline" }
            p { "A pipeline's page has every image with every reason." }
            (layout::table("Images of each pipeline", &["Pipeline", "Stay", "Go a step"], &rows))
        }
    }
}

fn dead(view: &View<'_>, plan: &Plan) -> Markup {
    let rows = html! { @for dead in &plan.dead_bakes {
        tr.bad {
            th scope="row" { code { (dead.bake) } }
            td { (dead.pipeline) }
            td { (plain_line(&if dead.leaves.is_empty() { "nothing but its lease".to_owned() } else { dead.leaves.join(", ") })) }
            td { (view.command(&format!("ovenbird clean {}", dead.bake))) }
        }
    } };
    html! {
        section aria-labelledby="dead" {
            h2 #dead { "Dead bakes" }
            (layout::table("Dead bakes", &["Bake", "Pipeline", "What it left", "Command"], &rows))
        }
    }
}
