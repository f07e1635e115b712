//! `[validate]`, `[promote]`, `[retain]` and `[deadlines]`: what is done with an image, and how long it may take.

use std::time::Duration;

use super::words::parsed;
use crate::domain::recipe::{Promote, Retain, Validate, Waits, mistake::Source, reader::Table};

pub(super) fn validate(source: &mut Source<'_>, root: &mut Table<'_>) -> Validate {
    let boot = root.table(source, "validate").is_some_and(|mut table| {
        let boot = table.flag(source, "boot");
        table.finish(source);
        boot.unwrap_or(false)
    });
    Validate { boot }
}

pub(super) fn promote(source: &mut Source<'_>, root: &mut Table<'_>) -> Option<Promote> {
    if !root.has("promote") {
        root.know(&["promote"]);
        let hint = "Add `[promote]` with `channel = \"production\"`";
        source.wrong(&(0..0), "the recipe lacks `[promote]`", hint);
        return None;
    }
    let mut table = root.table(source, "promote")?;
    let channel = table.need_line(source, "channel").and_then(|text| parsed(source, text));
    let parameter = table.line(source, "parameter").and_then(|text| parsed(source, text));
    table.finish(source);
    Some(Promote { channel: channel?, parameter })
}

pub(super) fn retain(source: &mut Source<'_>, root: &mut Table<'_>) -> Retain {
    let default = Retain { newest: 5, days: 30 };
    let Some(mut table) = root.table(source, "retain") else { return default };
    let retain = Retain {
        newest: table.number(source, "newest", 1..1_001).unwrap_or(default.newest),
        days: table.number(source, "days", 0..3_651).unwrap_or(default.days),
    };
    table.finish(source);
    retain
}

pub(super) fn deadlines(source: &mut Source<'_>, root: &mut Table<'_>) -> Waits {
    let minutes = |count: u64| Duration::from_secs(60 * count);
    let default =
        Waits { builder: minutes(30), validation: minutes(15), imaging: minutes(60), promotion: minutes(5) };
    let Some(mut table) = root.table(source, "deadlines") else { return default };
    let waits = Waits {
        builder: table.time(source, "builder").unwrap_or(default.builder),
        validation: table.time(source, "validation").unwrap_or(default.validation),
        imaging: table.time(source, "imaging").unwrap_or(default.imaging),
        promotion: table.time(source, "promotion").unwrap_or(default.promotion),
    };
    let longest = 2 * waits.builder + waits.validation + 2 * waits.imaging + waits.promotion;
    if longest > MOST {
        let hours = longest.as_secs_f64() / 3600.0;
        let hint =
            "Give less: `builder` counts twice (a fresh instance may be tested), and `imaging` (sealing)";
        source.wrong(
            &table.span,
            format!("`[deadlines]` lets a bake take {hours:.1} h, and 23 h is the most"),
            hint,
        );
    }
    table.finish(source);
    waits
}

/// With what a step's retries take, a bake ends within a day; with a twin that it waited for in vain, within the two
/// days after which the state machine ends without any clean-up.
const MOST: Duration = Duration::from_secs(23 * 3600);
