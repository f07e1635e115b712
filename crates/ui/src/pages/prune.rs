//! The newest plan of a prune run: what becomes of each image, with every reason, and what that saves; and what the newest
//! runs did.

use maud::{Markup, html};
use ovenbird_core::{
    Result,
    domain::{
        id::PipelineName,
        plain::plain_line,
        price::{AtMost, PRICED, SNAPSHOT_GB_MONTH},
        retirement::{Act, Retiring},
    },
    ports::Bucket,
    steps::prune::{Outcome, PLAN_LASTS, Plan, Reason, Verdict},
    store::{decode, keys},
};
use serde::{Deserialize as _, de::DeserializeOwned};
use std::collections::BTreeMap;

use super::layout::{self, Body, View};
use crate::{
    Account, PruneRun, Reader,
    read::{Problem, each},
    site::{Page, PruneAct},
};

/// Among so many of the newest runs a plan of everything is looked for: `ovenbird clean` makes plans of one bake.
const RUNS: u8 = 10;

/// So many images of one table are shown.
const MOST: usize = 200;

/// A run with what it planned and what it did, as far as it came.
#[derive(Debug)]
struct Run {
    run: PruneRun,
    plan: Option<Plan>,
    outcome: Option<Outcome>,
}

impl Run {
    /// Whether it did something. One that only planned writes that it did nothing.
    fn acted(&self) -> bool {
        self.outcome.as_ref().is_some_and(|one| !one.retired.is_empty() || !one.cleaned.is_empty())
    }
}

pub async fn body<A: Account>(reader: &Reader<A>, view: &View<'_>, only: Option<&PipelineName>) -> Body {
    let title = view.page.title();
    let runs = match newest(&reader.account).await {
        Ok(found) => found,
        Err(error) => {
            return Body::new(title, layout::problems(view, &[Problem::new("the plan", &error)]));
        }
    };
    let live = runs.iter().any(|one| one.run.succeeded.is_none());
    // A plan that names no image may be one bake's; an older one says more.
    let planned = || runs.iter().filter(|one| one.plan.is_some());
    let says_most = planned().find(|one| one.plan.iter().any(|plan| plan.verdicts().next().is_some()));
    let content = html! {
        @match says_most.or_else(|| planned().next()) {
            Some(one) => { @if let Some(plan) = &one.plan { (of_plan(view, one, plan, only)) } }
            None => { p.empty { "No run has planned yet. Make a plan, which changes nothing: " (view.command("ovenbird prune --dry-run"))
                " " (view.prune(PruneAct::Plan, "Make a plan")) } }
        }
        @if only.is_none() && !runs.is_empty() { (newest_runs(view, &runs)) }
    };
    Body { live, ..Body::new(title, content) }
}

fn of_plan(view: &View<'_>, of: &Run, plan: &Plan, only: Option<&PipelineName>) -> Markup {
    let run = &of.run.name;
    let wanted = |one: &&Verdict| only.is_none_or(|pipeline| one.pipeline == *pipeline);
    let mut due: Vec<&Verdict> = plan.retire.iter().filter(wanted).collect();
    due.sort_by_key(|one| std::cmp::Reverse(one.act));
    let (waiting, kept): (Vec<&Verdict>, Vec<&Verdict>) =
        plan.keep.iter().filter(wanted).partition(|one| one.act == Act::Wait);
    let done = of.acted();
    let old = view.now.duration_since(plan.made) > PLAN_LASTS;
    html! {
        p { "Run " code { (run) } " made this plan " (view.ago(plan.made)) " ago"
            @if done { ", and it was " strong { "carried out" } } "."
            @if acts(plan) && !done && old { " It is too old to be carried out." } }
        @if view.changes { p.acts {
            @if acts(plan) && !done && !old && of.run.succeeded == Some(true) {
                (view.prune(PruneAct::Run(run.clone()), "Do what it says")) " "
            }
            (view.prune(PruneAct::Plan, "Make a new plan"))
        } }
        p { "A new plan changes nothing: " (view.command("ovenbird prune --dry-run")) }
        @if only.is_none() { (alerts(view, plan)) (next(view, done, &due, &waiting)) (money(plan)) }
        (images(view, if done { "Went a step further, or back" } else { "Goes a step further, or back" }, &due))
        (images(view, "Waits for the end of its soak", &waiting))
        @match only {
            Some(_) => { (images(view, "Stays", &kept)) }
            None => { (by_pipeline(view, plan)) }
        }
        @if only.is_none() && !plan.dead_bakes.is_empty() { (dead(view, plan)) }
    }
}

/// Whether a plan is one to act on: it takes something away.
fn acts(plan: &Plan) -> bool {
    plan.halted.is_none() && !plan.is_empty()
}

/// The newest runs, the newest first. A plan that can't be read is an error: an older one would be taken for the newest.
async fn newest(account: &impl Account) -> Result<Vec<Run>> {
    let runs = account.prune_runs(RUNS).await?;
    let read = each(runs, async |run: PruneRun| {
        let (plan, outcome) = futures::try_join!(
            document(account, keys::prune_plan(&run.name)),
            document(account, keys::prune_result(&run.name))
        )?;
        Ok(Run { run, plan, outcome })
    });
    read.await.into_iter().collect()
}

async fn document<T: DeserializeOwned>(account: &impl Account, key: String) -> Result<Option<T>> {
    let text = account.cloud().text(&key).await?;
    text.map(|text| decode(&key, &text)).transpose()
}

/// What the newest runs did: a run that somebody started from the page is seen here until its end.
fn newest_runs(view: &View<'_>, runs: &[Run]) -> Markup {
    let rows = html! { @for one in runs {
        @let Run { run, plan, outcome } = one;
        tr class=[(run.succeeded == Some(false)).then_some("bad")] {
            th scope="row" { code { (run.name) } }
            td { (view.ago(run.started)) " ago" }
            td { @match run.succeeded {
                None => (layout::pill("busy", "running")),
                Some(true) => (layout::pill("good", "done")),
                Some(false) => (layout::pill("bad", "failed")),
            } }
            td { @match (outcome, run.succeeded) {
                (Some(outcome), _) if one.acted() || !outcome.failures.is_empty() => (did(outcome)),
                (Some(_), _) => { @if plan.as_ref().is_none_or(Plan::is_empty) { "nothing was to do" } @else { "only planned" } },
                (None, None) => { @if plan.is_some() { "acts on its plan" } @else { "looks at everything" } },
                (None, Some(true)) => "only planned",
                (None, Some(false)) => "It ended before it wrote what it did. Its execution in Step Functions says why.",
            } }
        }
    } };
    html! {
        section aria-labelledby="runs" {
            h2 #runs { "Newest runs" }
            (layout::table("Newest runs", &["Run", "Began", "Stands", "What it did"], &rows))
        }
    }
}

fn did(outcome: &Outcome) -> Markup {
    let verdicts: Vec<Verdict> =
        outcome.retired.iter().filter_map(|one| Verdict::deserialize(one).ok()).collect();
    html! {
        ul.reasons {
            @for one in verdicts.iter().take(MOST) { li { (act(one.act)) " " code { (one.image) } " of " (one.pipeline) } }
            @if verdicts.len() > MOST { li { (verdicts.len() - MOST) " more" } }
            @if !outcome.cleaned.is_empty() { li { "cleaned up after " (outcome.cleaned.len()) " dead bakes" } }
            @for failure in &outcome.failures { li.bad-news { (plain_line(failure)) } }
        }
    }
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
        @for one in &plan.unused {
            p {
                "Nobody is known to have used an image of " code { (one.pipeline) } " since "
                (one.since.strftime("%Y-%m-%d")) ". If nobody will: " code { "ovenbird pipeline pause " (one.pipeline) } "."
            }
        }
        @if plan.later > 0 { p { (plan.later) " more are for a later run: a run takes only so many." } }
    }
}

/// What goes next, and when, in a line.
fn next(view: &View<'_>, done: bool, due: &[&Verdict], waiting: &[&Verdict]) -> Markup {
    let away = due.iter().filter(|one| one.act != Act::Restore).count();
    let soonest = waiting.iter().filter_map(|one| Some((one.until?, one))).min_by_key(|(until, _)| *until);
    html! {
        p {
            @match (away, done) {
                (0, _) => { "No image goes a step in this run. " }
                (1, false) => { strong { "1 image" } " goes a step in this run. " }
                (some, false) => { strong { (some) " images" } " go a step in this run. " }
                (1, true) => { strong { "1 image" } " was to go a step in this run. " }
                (some, true) => { strong { (some) " images" } " were to go a step in this run. " }
            }
            @if let Some((until, one)) = soonest {
                "Next comes " code { (one.image) } " of " (one.pipeline) ", at " (view.moment(until)) ": then its soak is over."
            } @else { "None waits for the end of its soak." }
        }
    }
}

fn money(plan: &Plan) -> Markup {
    let of = |room: AtMost| match room.gb() {
        small if small < 0.05 => "0.1 GB, $0.01 a month".to_owned(),
        gb => format!("{gb:.1} GB, ${:.2} a month", room.dollars()),
    };
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
                @if let Some(was) = one.was { " " (match was.stage { Retiring::Deprecated => "deprecated", Retiring::Disabled => "disabled", Retiring::Undone => "taken back", Retiring::Returning => "out of the Recycle Bin" }) " for " (view.ago(was.since)) } }
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
