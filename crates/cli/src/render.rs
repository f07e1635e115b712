//! What people see: timelines, tables and errors.

use comfy_table::{Table, presets::NOTHING};
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
    let end = bake.progress.timeline.last().map_or(now, |span| span.end.unwrap_or(now));
    let total = seconds(bake.spec.started, end).max(0.001);
    let mut text = String::new();
    for span in &bake.progress.timeline {
        let (from, to) =
            (seconds(bake.spec.started, span.start), seconds(bake.spec.started, span.end.unwrap_or(now)));
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
    let mut text = format!(
        "bake      {}\npipeline  {}\nstatus    {}\n",
        bake.spec.id,
        bake.spec.pipeline,
        bake.progress.status.as_str()
    );
    if let Some(artifact) = &bake.spec.artifact {
        text.push_str(&format!("artifact  {} ({} bytes)\n", artifact.key, artifact.bytes));
    }
    let base = &bake.spec.base;
    text.push_str(&format!("base      {} ({}), {}\n", base.image, base.name, base.written));
    if let Some(parent) = &bake.spec.cascade {
        text.push_str(&format!("started   by the promotion of {parent}\n"));
    }
    text.push_str(&format!("digest    {}\n", bake.spec.digest));
    if let Some(image) = &bake.progress.image {
        // A reused image has the name that the bake before gave it.
        let link = lineage.iter().find(|link| link.image == *image);
        let name = link.map_or(bake.spec.image_name.as_str(), |link| &link.name);
        let how = if bake.progress.reused { ", reused" } else { "" };
        text.push_str(&format!("image     {image} ({name}{how})\n"));
    }
    if let Some(passed) = bake.progress.tests_passed {
        text.push_str(&format!("tests     {passed} passed\n"));
    }
    for child in &bake.progress.children {
        let what = child.bake.as_ref().map_or("not started: it has no artifact yet", |bake| bake.as_str());
        text.push_str(&format!("child     {}: {what}\n", child.pipeline));
    }
    if bake.spec.base.parent.is_some() && !lineage.is_empty() {
        text.push_str(&format!("\n{}\n", self::lineage(lineage)));
    }
    if let Some(failure) = &bake.progress.failure {
        text.push_str(&format!(
            "failed    {} in stage {}\n{}\n",
            failure.error, failure.stage, failure.cause
        ));
    }
    text.push('\n');
    text.push_str(&timeline(bake, now));
    text
}

/// Rows as lines below each other, each column as wide as its widest cell.
///
/// Without borders and colour, and nothing is cut or wrapped: what people read, `grep` and `awk` read as well.
pub fn columns<const N: usize>(rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    // A cell with a line break would make two lines of its row.
    let one_line = |cell: String| cell.replace(char::is_control, " ");
    table.load_style(NOTHING).add_rows(rows.into_iter().map(|row| row.map(one_line)));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// A moment in UTC, to the second.
fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A lineage, an image a line, each standing on the one below it.
pub fn lineage(links: &[Link]) -> String {
    columns(links.iter().map(|link| {
        let made = link.made.map_or_else(|| "-".to_owned(), moment);
        let pipeline = link.pipeline.as_ref().map(ToString::to_string).unwrap_or_default();
        [link.image.to_string(), made, pipeline, link.name.clone(), link.by.clone()]
    }))
}

/// Bakes as a table.
pub fn table(bakes: &[Bake]) -> String {
    let head = ["STARTED", "BAKE", "STATUS", "IMAGE", "PIPELINE"].map(str::to_owned);
    columns(std::iter::once(head).chain(bakes.iter().map(|bake| {
        let image = bake.progress.image.as_ref().map_or("-", |image| image.as_str()).to_owned();
        let status = bake.progress.status.as_str().to_owned();
        [moment(bake.spec.started), bake.spec.id.to_string(), status, image, bake.spec.pipeline.to_string()]
    })))
}

/// The last line of a bake that ended.
pub fn verdict(bake: &Bake) -> String {
    let image = bake.progress.image.as_ref().map_or("no image", |image| image.as_str());
    let reused = if bake.progress.reused { " (reused: same inputs)" } else { "" };
    match bake.progress.status {
        Status::Promoted => {
            format!("promoted {image} to {}/{}{reused}", bake.spec.pipeline, bake.spec.settings.channel)
        }
        Status::Validated => format!("validated {image}, not promoted as asked{reused}"),
        Status::Superseded => {
            format!("superseded: a newer artifact was promoted first ({image} is kept for reuse)")
        }
        Status::Failed => {
            let stage = bake.progress.failure.as_ref().map_or(Stage::Launch, |failure| failure.stage);
            format!("failed in stage {stage}")
        }
        Status::Cancelled => {
            let stage = bake.progress.failure.as_ref().map_or(Stage::Launch, |failure| failure.stage);
            format!("cancelled in stage {stage}")
        }
        Status::Running => format!("running, in stage {}", bake.progress.stage),
    }
}

#[cfg(test)]
mod tests {
    use ovenbird_core::domain::id::{AmiId, PipelineName};

    use super::*;

    fn link(image: &str, pipeline: Option<&str>, name: &str) -> Link {
        Link {
            image: AmiId::parse(image).unwrap(),
            name: name.to_owned(),
            by: "us".to_owned(),
            made: None,
            pipeline: pipeline.map(|pipeline| PipelineName::parse(pipeline).unwrap()),
            bake: None,
        }
    }

    #[test]
    fn a_lineage_is_aligned_however_long_its_names_are() {
        let long = "a-pipeline-with-a-long-name-of-its-own";
        let links = [
            link("ami-0123456789abcdef0", Some(long), "short"),
            link("ami-01234567", None, "a name that is longer than the other one"),
        ];
        let text = lineage(&links);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].find("short"), lines[1].find("a name"), "{text}");
        assert_eq!(lines[0].find("us"), lines[1].rfind("us"), "{text}");
    }

    #[test]
    fn columns_are_plain_lines_that_are_never_cut() {
        let long = "x".repeat(500);
        let rows = [["ID".into(), "NAME".into()], [long.clone(), "ü\nb".into()], ["日本".into(), "c".into()]];
        let text = columns(rows);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], format!("ID{}NAME", " ".repeat(500)));
        assert_eq!(lines[1], format!("{long}  ü b"));
        // Two letters that take four columns of a terminal.
        assert_eq!(lines[2], format!("日本{}c", " ".repeat(498)));
        assert_eq!(lines.len(), 3);
        assert_eq!(columns::<2>([]), "");
    }
}
