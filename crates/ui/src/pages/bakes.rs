//! The newest bakes of all pipelines, each as a bar: where its seconds went.

use jiff::Timestamp;
use maud::{Markup, html};
use ovenbird_core::domain::{
    bake::{Bake, Stage, Status},
    plain::plain_line,
};

use super::layout::{self, Body, View};
use crate::{Account, Reader, site::Page};

/// How many bakes the page has.
const MOST: usize = 60;

pub async fn body<A: Account>(reader: &Reader<A>, view: &View<'_>) -> Body {
    let snapshot = reader.snapshot(view.now).await;
    let shown = &snapshot.bakes[..snapshot.bakes.len().min(MOST)];
    let content = html! {
        (layout::problems(view, &snapshot.problems))
        @if shown.is_empty() {
            (layout::nothing(&snapshot.problems, &html! {
                "No bake is on record. Start one: " (view.command("ovenbird bake PIPELINE --artifact FILE"))
            }))
        } @else {
            (legend())
            (table(view, shown, true))
            @if snapshot.bakes.len() > MOST {
                p { "The newest " (MOST) " of those that were read. Older ones: " (view.command("ovenbird list --limit 500")) }
            }
        }
    };
    Body { live: shown.iter().any(is_running), ..Body::new(view.page.title(), content) }
}

pub fn is_running(bake: &Bake) -> bool {
    bake.progress.status == Status::Running
}

/// When a bake ended, or now.
pub fn end(bake: &Bake, now: Timestamp) -> Timestamp {
    bake.progress.ended().unwrap_or(now)
}

/// Bakes, a row each; all bars on one scale.
pub fn table(view: &View<'_>, bakes: &[Bake], with_pipeline: bool) -> Markup {
    let longest =
        bakes.iter().map(|bake| seconds(bake.spec.started, end(bake, view.now))).fold(1.0, f64::max);
    let rows = html! {
        @for bake in bakes {
            tr {
                th scope="row" {
                    (view.link(&Page::Bake(bake.spec.pipeline.clone(), bake.spec.id.clone()), bake.spec.id.as_str()))
                }
                @if with_pipeline {
                    td { (view.link(&Page::Pipeline(bake.spec.pipeline.clone()), bake.spec.pipeline.as_str())) }
                }
                td { (layout::status(bake.progress.status)) }
                td.num { (view.ago(bake.spec.started)) " ago" }
                td.num { (format!("{:.1} s", seconds(bake.spec.started, end(bake, view.now)))) }
                td.bars { (bar(bake, longest, view.now)) }
                td {
                    @if let Some(failure) = &bake.progress.failure {
                        (plain_line(&failure.error)) " in " (failure.stage.as_str())
                    } @else if let Some(artifact) = &bake.spec.artifact {
                        (plain_line(artifact.key.name()))
                    }
                }
            }
        }
    };
    let mut head = vec!["Bake", "Pipeline", "Status", "Started", "Took", "Where the seconds went", "What"];
    if !with_pipeline {
        head.remove(1);
    }
    layout::table("Bakes", &head, &rows)
}

pub fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}

/// One bake's stages behind each other; what they are is also said in words.
fn bar(bake: &Bake, longest: f64, now: Timestamp) -> Markup {
    let spans: Vec<(Stage, f64, f64)> = bake
        .progress
        .timeline
        .iter()
        .map(|span| {
            let from = seconds(bake.spec.started, span.start);
            (span.stage, from, seconds(bake.spec.started, span.end.unwrap_or(now)) - from)
        })
        .collect();
    let words: Vec<String> = spans.iter().map(|(stage, _, took)| format!("{stage} {took:.1} s")).collect();
    let scale = |at: f64| format!("{:.1}", at / longest * 1000.0);
    html! {
        svg.bar viewBox="0 0 1000 12" preserveAspectRatio="none" role="img" aria-label=(words.join(", ")) {
            @for (stage, from, took) in &spans {
                rect class=(format!("s-{stage}")) x=(scale(*from)) y="0" width=(scale(*took)) height="12" {
                    title { (stage) (format!(" {took:.1} s")) }
                }
            }
        }
    }
}

/// What the colours mean.
pub fn legend() -> Markup {
    let stages = [
        (Stage::Launch, "launch"),
        (Stage::AwaitTwin, "waits for a twin"),
        (Stage::AwaitTurn, "waits for its turn"),
        (Stage::Builder, "boots, steps"),
        (Stage::Validation, "tests"),
        (Stage::Seal, "seal"),
        (Stage::Image, "image"),
        (Stage::Boot, "tests on a fresh instance"),
        (Stage::Promotion, "promotion"),
        (Stage::CleanUp, "clean-up"),
    ];
    html! {
        ul.legend aria-label="Colours" {
            @for (stage, text) in stages { li { svg.swatch viewBox="0 0 10 10" aria-hidden="true" {
                rect class=(format!("s-{stage}")) width="10" height="10" {}
            } " " (text) } }
        }
    }
}
