//! What people see: timelines, tables and errors.

mod layout;

pub use self::layout::{columns, fitted, table, wrapped};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
pub use ovenbird_core::views::age;
use ovenbird_core::{
    Error,
    domain::{
        bake::{Bake, Stage, Status},
        plain::{is_order, plain, plain_line},
    },
    views::lineage::Link,
};

/// The width of a timeline's bars where there is room, in characters.
const WIDTH: f64 = 44.0;

/// The width of what stands before the bars, and a space behind them.
const BEFORE: u16 = 26;

/// The width of a timeline's bars, on the terminal that standard output is.
fn width() -> f64 {
    let columns = console::Term::stdout().size_checked().map(|(_, columns)| columns);
    columns.map_or(WIDTH, |columns| f64::from(columns.saturating_sub(BEFORE)).clamp(4.0, WIDTH))
}

/// Tells people something on standard error, of which a terminal obeys nothing. It takes what `format!` takes.
///
/// Much of it was written by others, and nobody can see of a text whether it was. So everything goes this way.
#[macro_export]
macro_rules! tell {
    ($($text:tt)*) => { $crate::render::tell(&format!($($text)*)) };
}

/// What [`tell!`] calls.
#[expect(clippy::print_stderr, reason = "the one way to standard error: it makes every text plain")]
pub fn tell(text: &str) {
    eprintln!("{}", layout::fitted_error(&plain(text)));
}

/// A document as JSON that can be shown: JSON itself leaves characters as they are that a terminal obeys, or that turn
/// the direction of the text. What it says stays the same.
pub fn json(data: &impl serde::Serialize) -> String {
    let text = serde_json::to_string_pretty(data).unwrap_or_default();
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        // They are all in strings, and of the basic plane.
        match is_order(c) && c != '\n' {
            true => shown.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => shown.push(c),
        }
    }
    shown
}

/// An error with its causes and what to do about it.
pub fn error(error: &Error) -> String {
    plain(&format!("error: {}\n\nhint: {}", error.chain(), error.hint()))
}

/// Seconds between two moments.
pub fn seconds(start: Timestamp, end: Timestamp) -> f64 {
    end.duration_since(start).as_secs_f64()
}

/// A bake's stages as bars below each other, each as long as it lasted.
pub fn timeline(bake: &Bake, now: Timestamp) -> String {
    let end = bake.progress.ended().unwrap_or(now);
    let total = seconds(bake.spec.started, end).max(0.001);
    let width = width();
    let mut text = String::new();
    for span in &bake.progress.timeline {
        let (from, to) =
            (seconds(bake.spec.started, span.start), seconds(bake.spec.started, span.end.unwrap_or(now)));
        let column = |at: f64| (at.max(0.0) / total * width).round();
        let (lead, bar) = (column(from), (column(to) - column(from)).max(1.0));
        text.push_str(&format!(
            "  {:<10} {:>7.1} s  {}{}\n",
            span.stage.as_str(),
            to - from,
            " ".repeat(lead as usize),
            bar_mark().repeat(bar as usize)
        ));
    }
    text.push_str(&format!("  {:<10} {total:>7.1} s\n", "total"));
    text
}

/// What bars are made of: a full block where the locale is UTF-8, and else `#`.
fn bar_mark() -> &'static str {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|text| !text.is_empty()));
    let locale = locale.unwrap_or_default().to_lowercase();
    if locale.contains("utf-8") || locale.contains("utf8") { "█" } else { "#" }
}

/// One bake, whole.
pub fn bake(bake: &Bake, by: Option<&str>, lineage: &[Link], now: Timestamp) -> String {
    let mut text = format!(
        "bake      {}\npipeline  {}\nstatus    {}\n",
        bake.spec.id,
        bake.spec.pipeline,
        bake.progress.status.as_str()
    );
    let started = bake.spec.started;
    text.push_str(&format!("started   {} ({} ago)", moment(started), age(started, now)));
    if let Some(ended) = bake.progress.ended() {
        text.push_str(&format!(", ended {}", moment(ended)));
    }
    let by = by.map(|by| format!(", by {by}")).unwrap_or_default();
    text.push_str(&format!("\ntrigger   {}{by}{}\n", bake.spec.trigger, asked(bake)));
    let labels = bake.spec.options.labels.iter().map(|(key, value)| format!("{key}={}", plain_line(value)));
    let labels: Vec<String> = labels.collect();
    if !labels.is_empty() {
        text.push_str(&format!("labels    {}\n", labels.join(", ")));
    }
    if let Some(artifact) = &bake.spec.artifact {
        let version =
            artifact.version.as_ref().map(|version| format!(", version {version}")).unwrap_or_default();
        let sha = &artifact.sha256.as_str()[..12];
        text.push_str(&format!(
            "artifact  {} ({} bytes, SHA-256 {sha}{version})\n",
            artifact.key, artifact.bytes
        ));
    }
    let signer = bake.spec.signer.as_ref().map(|key| format!(", signed by {key}")).unwrap_or_default();
    text.push_str(&format!("recipe    version {}{signer}\n", bake.spec.recipe));
    text.push_str(&format!("runner    SHA-256 {}\n", bake.spec.inputs.runner));
    let base = &bake.spec.base;
    text.push_str(&format!("base      {} ({}), {}\n", base.image, base.name, base.written));
    if let Some(parent) = &bake.spec.cascade {
        text.push_str(&format!("started   by the promotion of {parent}\n"));
    }
    text.push_str(&format!("digest    {}\n", bake.spec.digest));
    let parameter = bake.spec.settings.parameter.as_ref().map(|name| format!(", parameter {name}"));
    text.push_str(&format!("channel   {}{}\n", bake.spec.settings.channel, parameter.unwrap_or_default()));
    for (role, instance) in [("builder", &bake.progress.builder), ("booted", &bake.progress.booted)] {
        if let Some(instance) = instance {
            text.push_str(&format!("{role:<9} {instance}\n"));
        }
    }
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

/// What a person asked for when they started it.
fn asked(bake: &Bake) -> String {
    let options = &bake.spec.options;
    let asked = [
        (options.force, "--force"),
        (!options.promote, "--no-promote"),
        (options.keep_builder, "--keep-builder"),
    ];
    asked.iter().filter(|(is, _)| *is).map(|(_, option)| format!(", {option}")).collect()
}

/// A moment in the time zone of this machine (or of `TZ`), to the second, with the zone's name.
pub fn moment(at: Timestamp) -> String {
    at.to_zoned_datetime(zone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// The same, to the minute.
pub fn minute(at: Timestamp) -> String {
    at.to_zoned_datetime(zone()).strftime("%Y-%m-%d %H:%M %Z").to_string()
}

/// The time zone of this machine; UTC where that can't be told.
fn zone() -> TimeZone {
    let zone = TimeZone::system();
    if zone.is_unknown() { TimeZone::UTC } else { zone }
}

/// A time as people write it: `90s`, `30m`, `2h`, `7d`, or several of them: `1h 30m`.
pub fn duration(text: &str) -> Result<SignedDuration, String> {
    let wrong = || "write it as `90s`, `30m`, `2h` or `7d`".to_owned();
    let mut whole = SignedDuration::ZERO;
    let mut parts = 0;
    for part in text.split_whitespace() {
        let unit = part.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: i64 = part[..unit].parse().map_err(|_| wrong())?;
        let seconds = match &part[unit..] {
            "s" => 1,
            "m" | "min" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return Err(wrong()),
        };
        // What is longer than a century is a slip of the keyboard.
        let time =
            number.checked_mul(seconds).filter(|time| *time <= 100 * 366 * 86_400).ok_or_else(wrong)?;
        whole += SignedDuration::from_secs(time);
        parts += 1;
    }
    if parts == 0 || parts > 4 || whole.is_zero() { Err(wrong()) } else { Ok(whole) }
}

/// A lineage, an image a line, each standing on the one below it.
pub fn lineage(links: &[Link]) -> String {
    columns(links.iter().map(|link| {
        let made = link.made.map_or_else(|| "-".to_owned(), moment);
        let pipeline = link.pipeline.as_ref().map(ToString::to_string).unwrap_or_default();
        [link.image.to_string(), made, pipeline, link.name.clone(), link.by.clone()]
    }))
}

/// The last line of a bake that ended.
pub fn verdict(bake: &Bake) -> String {
    let image = bake.progress.image.as_ref().map_or("no image", |image| image.as_str());
    let reused = if bake.progress.reused { " (reused: same inputs)" } else { "" };
    match bake.progress.status {
        Status::Promoted => {
            format!("promoted {image} to {}/{}{reused}", bake.spec.pipeline, bake.spec.settings.channel)
        }
        Status::Validated => match (&bake.progress.rollout, &bake.progress.not_promoted) {
            (Some(rollout), _) => format!(
                "validated {image}{reused}; rollout {rollout} brings it to {}: `ovenbird rollout {} --channel {} --watch`",
                bake.spec.destination().name(),
                bake.spec.pipeline,
                bake.spec.settings.channel
            ),
            (None, Some(why)) => format!("validated {image}{reused}, not promoted: {}", plain(why)),
            (None, None) => format!("validated {image}, not promoted as asked{reused}"),
        },
        Status::Superseded => match &bake.progress.not_promoted {
            Some(why) => format!("superseded: {}", plain_line(why)),
            None => format!("superseded: a newer artifact was promoted first ({image} is kept for reuse)"),
        },
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
    fn an_age_is_told_in_its_largest_unit() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        for (seconds, text) in
            [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7_199, "119 min"), (7_200, "2 h"), (172_800, "2 d")]
        {
            assert_eq!(age(at(0), at(seconds)), text);
        }
        // Two clocks may differ.
        assert_eq!(age(at(5), at(0)), "0 s");
    }

    #[test]
    fn a_time_is_understood_as_people_write_it_and_nothing_else() {
        for (text, seconds) in
            [("90s", 90), ("30m", 1_800), ("2h", 7_200), ("7d", 604_800), ("1h 30min", 5_400)]
        {
            assert_eq!(duration(text), Ok(SignedDuration::from_secs(seconds)), "{text}");
        }
        for text in
            ["", "5", "0s", "-1s", "1w", "s", "1.5h", "99999999999999999999s", "9223372036854775807d", "ü"]
        {
            assert!(duration(text).is_err(), "{text}");
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
    fn a_terminal_obeys_nothing_of_json_and_it_says_the_same() {
        let hostile = "\u{1b}]52;c;eA==\u{7}\u{9b}2J\u{202e}txt.exe\u{2066}\u{2028}\r\n\t\"\\ü 日本";
        let document = serde_json::json!({"cause": hostile, hostile: [hostile]});
        let shown = json(&document);
        assert!(!shown.contains(|c| is_order(c) && c != '\n'), "{shown:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), document);
    }
}
