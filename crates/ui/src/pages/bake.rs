//! One bake: what went in, what its steps printed, its tests, and where its seconds went.

use maud::{Markup, html};
use ovenbird_core::{
    domain::{
        bake::{Bake, Stage},
        id::{BakeId, PipelineName},
        mailbox::{Heartbeat, Order},
        plain::plain_line,
        report::{ProvisionReport, TestReport},
    },
    ports::Role,
    store::{Ledger, Mailbox, keys},
    views::lineage::{Link, lineage},
};

use super::{
    bakes::{end, is_running, seconds},
    layout::{self, Body, View},
};
use crate::{Account, Reader, read::Problem, site::Page};

pub async fn body<A: Account>(
    reader: &Reader<A>,
    view: &View<'_>,
    pipeline: &PipelineName,
    id: &BakeId,
) -> Body {
    let title = view.page.title();
    let (cloud, ledger) = (reader.account.cloud(), Ledger(reader.account.cloud()));
    let bake = match ledger.bake(pipeline, id).await {
        Ok(Some(bake)) => bake.into_inner(),
        Ok(None) => return Body::missing(&title),
        Err(error) => {
            return Body::new(title.clone(), layout::problems(view, &[Problem::new(title, &error)]));
        }
    };
    let of = |role| Mailbox::new(cloud, &bake.spec, role);
    let (builder, verifier) = (of(Role::Builder), of(Role::Verifier));
    let alive = async { if is_running(&bake) { builder.heartbeat().await } else { Ok(None) } };
    let (steps, tests, boot, beat, links, by) = futures::join!(
        builder.report::<ProvisionReport>(keys::PROVISION_REPORT),
        builder.report::<TestReport>(keys::TEST_REPORT),
        verifier.report::<TestReport>(keys::TEST_REPORT),
        alive,
        lineage(&ledger, &bake),
        reader.account.starter(id),
    );
    let mut problems = Vec::new();
    macro_rules! or_none {
        ($found:expr, $of:literal) => {
            $found.unwrap_or_else(|error| {
                problems.push(Problem::new($of, &error));
                Default::default()
            })
        };
    }
    let steps = or_none!(steps, "the steps");
    let sets = [
        ("Tests on the builder", or_none!(tests, "the tests")),
        ("Tests on a fresh instance of the image", or_none!(boot, "the tests on a fresh instance")),
    ];
    let beat: Option<(Heartbeat, _)> = or_none!(beat, "what the builder does now");
    let links: Vec<Link> = or_none!(links, "the lineage");
    let by: Option<String> = or_none!(by, "who started it");
    let content = html! {
        (layout::problems(view, &problems))
        (failure(view, &bake))
        (facts(view, &bake, by.as_deref()))
        @if let Some((beat, written)) = &beat { (now(view, beat, *written)) }
        (gantt(view, &bake, steps.as_ref(), &sets))
        @if let Some(report) = &steps { (output(report)) }
        @for (name, report) in &sets { @if let Some(report) = report { (tests_of(name, report)) } }
        @if !links.is_empty() { (stands_on(view, &links)) }
    };
    Body { live: is_running(&bake), ..Body::new(title, content) }
}

fn failure(view: &View<'_>, bake: &Bake) -> Markup {
    let Some(failure) = &bake.progress.failure else { return html! {} };
    let id = &bake.spec.id;
    let look = match failure.stage {
        Stage::Validation | Stage::Boot => format!("ovenbird tests {id}"),
        Stage::Builder => format!("ovenbird logs {id}"),
        Stage::Launch
        | Stage::AwaitTwin
        | Stage::AwaitTurn
        | Stage::Seal
        | Stage::Image
        | Stage::Promotion
        | Stage::CleanUp => {
            format!("ovenbird show {id}")
        }
    };
    html! {
        section.alert aria-label="Why it failed" {
            h2 { (plain_line(&failure.error)) " in stage " (failure.stage.as_str()) }
            (layout::output(&failure.cause))
            p { "Look at it: " (view.command(&look)) }
            p { "Bake again: " (view.command(&format!("ovenbird bake {}", bake.spec.pipeline))) }
        }
    }
}

fn facts(view: &View<'_>, bake: &Bake, by: Option<&str>) -> Markup {
    let (spec, progress) = (&bake.spec, &bake.progress);
    html! {
        section aria-label="What it is" {
            dl {
                dt { "Pipeline" } dd { (view.link(&Page::Pipeline(spec.pipeline.clone()), spec.pipeline.as_str())) ", channel " (spec.settings.channel) }
                dt { "Status" } dd { (layout::status(progress.status)) " stage " (progress.stage.as_str())
                    @if let Some(why) = &progress.not_promoted { ", not promoted: " (plain_line(why)) } }
                dt { "Started" } dd { (view.moment(spec.started)) ", by " (plain_line(by.unwrap_or(&spec.trigger)))
                    @if let Some(parent) = &spec.cascade { ", after " (view.link(&Page::Bake(parent.pipeline.clone(), parent.bake.clone()), &parent.to_string())) } }
                @if !is_running(bake) { dt { "Ended" } dd { (view.moment(end(bake, view.now))) } }
                @if let Some(artifact) = &spec.artifact {
                    dt { "Artifact" } dd { (plain_line(artifact.key.name())) ", " (artifact.bytes) " bytes, SHA-256 " code { (&artifact.sha256.as_str()[..12]) } }
                }
                dt { "Recipe" } dd { "version " code { (&spec.recipe.as_str()[..12]) } }
                dt { "Base" } dd { code { (spec.base.image) } " (" (plain_line(&spec.base.name)) "), " (layout::prose(&spec.base.written)) }
                dt { "Digest" } dd { code { (&spec.digest.as_str()[..12]) } }
                @if let Some(image) = &progress.image {
                    dt { "Image" } dd { code { (image) } @if progress.reused { ", which another bake made" } }
                }
                @if let Some(builder) = &progress.builder { dt { "Builder" } dd { code { (builder) } } }
                @if let Some(passed) = progress.tests_passed { dt { "Tests" } dd { (passed) " passed" } }
                @if let Some(rollout) = &progress.rollout {
                    dt { "Rollout" } dd { (view.link(&Page::Rollout(spec.pipeline.clone(), rollout.clone()), rollout.as_str())) }
                }
                @for child in &progress.children {
                    dt { "Then" } dd { @match &child.bake {
                        Some(bake) => (view.link(&Page::Bake(child.pipeline.clone(), bake.clone()), bake.as_str())),
                        None => { (child.pipeline) ": not started, it has no artifact yet" }
                    } }
                }
            }
        }
    }
}

fn now(view: &View<'_>, beat: &Heartbeat, written: jiff::Timestamp) -> Markup {
    html! {
        section aria-label="What the builder does now" aria-live="polite" {
            h2 { "Now" }
            p { "Last heartbeat " (view.ago(written)) " ago." }
            @if let Some(problem) = &beat.failure { p { (layout::pill("bad", "failed")) " " (plain_line(problem)) } }
            @if let Some(work) = &beat.work {
                p { (match work.order { Order::Provision => "Step", Order::Test => "Test", Order::Seal | Order::SealRunning => "Seal, part" })
                    " " (work.number) " of " (work.of) ": " strong { (plain_line(&work.name)) } ", for " (view.ago(work.since)) }
                (layout::tail(&work.output))
            }
        }
    }
}

/// The stages one below the other, and how much of each was the machine's own work.
fn gantt(
    view: &View<'_>,
    bake: &Bake,
    steps: Option<&ProvisionReport>,
    sets: &[(&str, Option<TestReport>); 2],
) -> Markup {
    let total = seconds(bake.spec.started, end(bake, view.now)).max(0.001);
    let tests = |report: &Option<TestReport>| {
        report.as_ref().map(|report| report.tests.iter().map(|test| test.milliseconds).sum::<u64>())
    };
    let own = |stage: Stage| match stage {
        Stage::Builder => steps.map(|report| report.steps.iter().map(|step| step.milliseconds).sum::<u64>()),
        Stage::Validation => tests(&sets[0].1),
        Stage::Boot => tests(&sets[1].1),
        Stage::Launch
        | Stage::AwaitTwin
        | Stage::AwaitTurn
        | Stage::Seal
        | Stage::Image
        | Stage::Promotion
        | Stage::CleanUp => None,
    };
    let rows = html! {
        @for span in &bake.progress.timeline {
            @let from = seconds(bake.spec.started, span.start);
            @let took = seconds(span.start, span.end.unwrap_or(view.now));
            tr {
                th scope="row" { (span.stage.as_str()) }
                td.num { (format!("{took:.1} s")) }
                td.num { @if let Some(own) = own(span.stage) { (format!("{}.{} s", own / 1000, own % 1000 / 100)) } }
                td.bars {
                    svg.bar viewBox="0 0 1000 12" preserveAspectRatio="none" aria-hidden="true" {
                        rect class=(format!("s-{}", span.stage)) x=(format!("{:.1}", from / total * 1000.0))
                            width=(format!("{:.1}", (took / total * 1000.0).max(2.0))) height="12" {}
                    }
                }
            }
        }
        tr { th scope="row" { "total" } td.num { (format!("{total:.1} s")) } td {} td {} }
    };
    html! {
        section aria-labelledby="gantt" {
            h2 #gantt { "Where the seconds went" }
            (layout::table("Stages", &["Stage", "Took", "Steps and tests alone", "When"], &rows))
        }
    }
}

fn output(report: &ProvisionReport) -> Markup {
    html! {
        section aria-labelledby="steps" {
            h2 #steps { "Steps" }
            @for step in &report.steps {
                details open[!step.exit.is_success()] {
                    summary { (plain_line(&step.name)) " " (format!("{:.1} s", step.milliseconds as f64 / 1000.0)) " "
                        (layout::pill(if step.exit.is_success() { "good" } else { "bad" }, &step.verdict())) }
                    @if step.output_tail.trim().is_empty() { p { "It printed nothing." } }
                    (layout::output(&step.output_tail))
                }
            }
        }
    }
}

fn tests_of(name: &str, report: &TestReport) -> Markup {
    let failed = report.tests.iter().filter(|test| !test.passed).count();
    html! {
        section aria-label=(name) {
            h2 { (name) ": " (report.tests.len() - failed) " passed, " (failed) " failed" }
            @for test in &report.tests {
                details open[!test.passed] {
                    summary { (plain_line(&test.name)) " " (format!("{:.1} s", test.milliseconds as f64 / 1000.0)) " "
                        @if test.passed { (layout::pill("good", "passed")) } @else { (layout::pill("bad", "failed")) } }
                    @if test.detail.trim().is_empty() { p { "Nothing more is on record." } }
                    (layout::output(&test.detail))
                }
            }
            @for unit in &report.units { (layout::output(unit)) }
        }
    }
}

fn stands_on(view: &View<'_>, links: &[Link]) -> Markup {
    html! {
        section aria-labelledby="lineage" {
            h2 #lineage { "What it stands on" }
            ol.chain { @for link in links { li {
                code { (link.image) } " " (plain_line(&link.name))
                @if let (Some(pipeline), Some(bake)) = (&link.pipeline, &link.bake) {
                    ", " (view.link(&Page::Bake(pipeline.clone(), bake.clone()), &format!("{pipeline} by {bake}")))
                }
                @if !link.by.is_empty() { ", " (layout::prose(&link.by)) }
                @if let Some(made) = link.made { ", made " (view.ago(made)) " ago" }
            } } }
        }
    }
}
