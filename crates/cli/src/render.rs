//! What people see: timelines, tables and errors.

use jiff::Timestamp;
use ovenbird_core::{
    Error,
    domain::bake::{Bake, Stage, Status},
    views::lineage::Link,
};

/// The width of a timeline's bars, in characters.
const WIDTH: f64 = 44.0;

/// An error with its causes and what to do about it.
pub fn error(error: &Error) -> String {
    format!("error: {}\n\nhint: {}", error.chain(), error.hint())
}

/// Seconds between two moments.
pub fn seconds(start: Timestamp, end: Timestamp) -> f64 {
    end.duration_since(start).as_secs_f64()
}

/// A bake's stages as bars below each other, each as long as it lasted.
pub fn timeline(bake: &Bake, now: Timestamp) -> String {
    let end = bake.timeline.last().map_or(now, |span| span.end.unwrap_or(now));
    let total = seconds(bake.started, end).max(0.001);
    let mut text = String::new();
    for span in &bake.timeline {
        let (from, to) = (seconds(bake.started, span.start), seconds(bake.started, span.end.unwrap_or(now)));
        let column = |at: f64| (at.max(0.0) / total * WIDTH).round();
        let (lead, bar) = (column(from), (column(to) - column(from)).max(1.0));
        text.push_str(&format!(
            "  {:<10} {:>7.1} s  {}{}\n",
            span.stage.as_str(),
            to - from,
            " ".repeat(lead as usize),
            "█".repeat(bar as usize)
        ));
    }
    text.push_str(&format!("  {:<10} {total:>7.1} s\n", "total"));
    text
}

/// One bake, whole.
pub fn bake(bake: &Bake, lineage: &[Link], now: Timestamp) -> String {
    let mut text =
        format!("bake      {}\npipeline  {}\nstatus    {}\n", bake.bake, bake.pipeline, bake.status.as_str());
    if let Some(artifact) = &bake.artifact {
        text.push_str(&format!("artifact  {} ({} bytes)\n", artifact.key, artifact.bytes));
    }
    let base = &bake.base;
    text.push_str(&format!("base      {} ({}), {}\n", base.image, base.name, base.written));
    if let Some(parent) = &bake.cascade {
        text.push_str(&format!("started   by the promotion of {parent}\n"));
    }
    text.push_str(&format!("digest    {}\n", bake.digest));
    if let Some(image) = &bake.image {
        // A reused image has the name that the bake before gave it.
        let link = lineage.iter().find(|link| link.image == *image);
        let name = link.map_or(bake.image_name.as_str(), |link| &link.name);
        let how = if bake.reused { ", reused" } else { "" };
        text.push_str(&format!("image     {image} ({name}{how})\n"));
    }
    if let Some(passed) = bake.tests_passed {
        text.push_str(&format!("tests     {passed} passed\n"));
    }
    for child in &bake.children {
        let what = child.bake.as_ref().map_or("not started: it has no artifact yet", |bake| bake.as_str());
        text.push_str(&format!("child     {}: {what}\n", child.pipeline));
    }
    if bake.base.parent.is_some() {
        text.push_str(&format!("\n{}", self::lineage(lineage)));
    }
    if let Some(failure) = &bake.failure {
        text.push_str(&format!(
            "failed    {} in stage {}\n{}\n",
            failure.error, failure.stage, failure.cause
        ));
    }
    text.push('\n');
    text.push_str(&timeline(bake, now));
    text
}

/// A lineage, an image a line, each standing on the one below it.
pub fn lineage(links: &[Link]) -> String {
    let mut text = String::new();
    for link in links {
        let made =
            link.made.map_or_else(|| "-".to_owned(), |made| made.strftime("%Y-%m-%d %H:%M:%S").to_string());
        let pipeline = link.pipeline.as_ref().map_or("", |pipeline| pipeline.as_str());
        text.push_str(&format!(
            "{:<22} {made:<20} {pipeline:<16} {}  {}\n",
            link.image.as_str(),
            link.name,
            link.by
        ));
    }
    text
}

/// Bakes as a table.
pub fn table(bakes: &[Bake]) -> String {
    let width = bakes.iter().map(|bake| bake.bake.as_str().len()).max().unwrap_or(0).max("BAKE".len());
    let mut text =
        format!("{:<20} {:<width$} {:<11} {:<22} {}\n", "STARTED", "BAKE", "STATUS", "IMAGE", "PIPELINE");
    for bake in bakes {
        let image = bake.image.as_ref().map_or("-", |image| image.as_str());
        let started = bake.started.strftime("%Y-%m-%d %H:%M:%S").to_string();
        let (status, pipeline) = (bake.status.as_str(), &bake.pipeline);
        text.push_str(&format!(
            "{started:<20} {:<width$} {status:<11} {image:<22} {pipeline}\n",
            bake.bake.as_str()
        ));
    }
    text
}

/// The last line of a bake that ended.
pub fn verdict(bake: &Bake) -> String {
    let image = bake.image.as_ref().map_or("no image", |image| image.as_str());
    let reused = if bake.reused { " (reused: same inputs)" } else { "" };
    match bake.status {
        Status::Promoted => {
            format!("promoted {image} to {}/{}{reused}", bake.pipeline, bake.settings.channel)
        }
        Status::Validated => format!("validated {image}, not promoted as asked{reused}"),
        Status::Superseded => {
            format!("superseded: a newer artifact was promoted first ({image} is kept for reuse)")
        }
        Status::Failed => {
            let stage = bake.failure.as_ref().map_or(Stage::Launch, |failure| failure.stage);
            format!("failed in stage {stage}")
        }
        Status::Cancelled => {
            let stage = bake.failure.as_ref().map_or(Stage::Launch, |failure| failure.stage);
            format!("cancelled in stage {stage}")
        }
        Status::Running => format!("running, in stage {}", bake.stage),
    }
}
