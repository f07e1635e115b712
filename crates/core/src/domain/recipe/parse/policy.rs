//! `[validate]`, `[promote]`, `[retain]` and `[deadlines]`: what is done with an image, and how long it may take.

use std::time::Duration;

use crate::domain::recipe::{
    Promote, Retain, Validate, Waits,
    reader::{Fields, Reader},
};

pub(super) fn validate(mut validate: Fields) -> Option<Validate> {
    Some(Validate { boot: validate.flag("boot")? })
}

pub(super) fn promote(mut promote: Fields) -> Option<Promote> {
    let parameter = promote.id("parameter");
    Some(Promote { channel: promote.id("channel")?, parameter })
}

pub(super) fn retain(mut retain: Fields) -> Option<Retain> {
    Some(Retain {
        newest: retain.number("newest")?,
        days: retain.number("days")?,
        history: retain.number("history")?,
        soak: retain.number("soak")?,
        retire_shared: retain.flag("retire-shared")?,
    })
}

pub(super) fn deadlines(reader: &mut Reader<'_>, mut deadlines: Fields) -> Option<Waits> {
    let waits = Waits {
        builder: deadlines.time("builder")?,
        validation: deadlines.time("validation")?,
        imaging: deadlines.time("imaging")?,
        promotion: deadlines.time("promotion")?,
    };
    let longest = 2 * waits.builder + waits.validation + 2 * waits.imaging + waits.promotion;
    if longest > MOST {
        let hours = longest.as_secs_f64() / 3600.0;
        let problem = format!("`[deadlines]` lets a bake take {hours:.1} h, and 23 h is the most");
        let hint =
            "Give less: `builder` counts twice (a fresh instance may be tested), and `imaging` (sealing)";
        reader.wrong(&deadlines.span, problem, hint);
    }
    Some(waits)
}

/// With what a step's retries take, a bake ends within a day; with a twin that it waited for in vain, within the two
/// days after which the state machine ends without any clean-up.
const MOST: Duration = Duration::from_secs(23 * 3600);
