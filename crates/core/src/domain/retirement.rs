//! How an image is retired: in stages, with a soak between them, and back.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How long an image that a person took back is left alone: 30 days.
pub const UNDONE_LASTS: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What an account retains of every pipeline, whatever its recipe says. Who may push a recipe is not who answers for the
/// account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Floors {
    /// So many of the newest images at least.
    pub newest: u32,
    /// All that are younger than so many days.
    pub days: u32,
}

/// How far an image's retirement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Retiring {
    /// It is marked as deprecated, and everything goes on as before: people and tools are warned.
    Deprecated,
    /// It is disabled: nothing can be started from it, and its instances go on.
    Disabled,
    /// A person took it back.
    Undone,
    /// It comes out of the Recycle Bin, and isn't yet as it was before its retirement.
    Returning,
}

/// A stage of an image's retirement, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Since {
    /// The stage.
    pub stage: Retiring,
    /// Since when.
    pub since: Timestamp,
}

/// What is to be done with an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// Nothing: something needs it, or retains it.
    Keep,
    /// Nothing yet: its soak isn't over.
    Wait,
    /// Nothing but superseded versions of launch templates names it: these go, and with them what keeps the image.
    DeleteVersions,
    /// The first stage.
    Deprecate,
    /// The second stage.
    Disable,
    /// The last one: its snapshots go, too. From here only the Recycle Bin gives it back, if a rule of the account says so.
    Deregister,
    /// Something needs it again: it is made as it was.
    Restore,
}

impl Act {
    /// Whether anything is done.
    pub fn does_something(self) -> bool {
        match self {
            Self::Keep | Self::Wait => false,
            Self::DeleteVersions | Self::Deprecate | Self::Disable | Self::Deregister | Self::Restore => true,
        }
    }

    /// Whether an instance could be started from the image before the act, and can't after it.
    pub fn takes_away(self) -> bool {
        match self {
            Self::Disable | Self::Deregister => true,
            Self::Keep | Self::Wait | Self::DeleteVersions | Self::Deprecate | Self::Restore => false,
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keep => "keep",
            Self::Wait => "wait",
            Self::DeleteVersions => "delete versions",
            Self::Deprecate => "deprecate",
            Self::Disable => "disable",
            Self::Deregister => "deregister",
            Self::Restore => "restore",
        })
    }
}

/// What is next for an image that nothing needs, and when a soak that isn't over ends.
///
/// `soak` is how long each stage lasts. Without a soak there are no stages: the image goes at once.
pub fn next(stage: Option<Since>, soak: SignedDuration, now: Timestamp) -> (Act, Option<Timestamp>) {
    let after = |since: Timestamp, soak: SignedDuration, act: Act| {
        // A soak that ends after all time never ends.
        let end = since.checked_add(soak).unwrap_or(Timestamp::MAX);
        if now < end { (Act::Wait, Some(end)) } else { (act, None) }
    };
    let first = if soak.is_zero() { Act::Deregister } else { Act::Deprecate };
    match stage {
        Some(Since { stage: Retiring::Returning, .. }) => (Act::Restore, None),
        // What a person took back stays for a while, also without stages.
        Some(Since { stage: Retiring::Undone, since }) => after(since, UNDONE_LASTS, first),
        None => (first, None),
        Some(_) if soak.is_zero() => (Act::Deregister, None),
        Some(Since { stage: Retiring::Deprecated, since }) => after(since, soak, Act::Disable),
        Some(Since { stage: Retiring::Disabled, since }) => after(since, soak, Act::Deregister),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: SignedDuration = SignedDuration::from_hours(24);

    fn now() -> Timestamp {
        "2026-06-01T00:00:00Z".parse().unwrap()
    }

    fn ago(stage: Retiring, days: i32) -> Option<Since> {
        Some(Since { stage, since: now() - DAY * days })
    }

    #[test]
    fn people_and_programs_read_the_same_words() {
        for act in [
            Act::Keep,
            Act::Wait,
            Act::DeleteVersions,
            Act::Deprecate,
            Act::Disable,
            Act::Deregister,
            Act::Restore,
        ] {
            let written = serde_json::to_value(act).unwrap();
            assert_eq!(act.to_string().replace(' ', "-"), written.as_str().unwrap());
        }
    }

    #[test]
    fn each_stage_comes_after_its_soak_and_not_a_second_before() {
        let soak = DAY * 7;
        let at = |stage| next(stage, soak, now());
        assert_eq!(at(None), (Act::Deprecate, None));
        for (stage, act) in [(Retiring::Deprecated, Act::Disable), (Retiring::Disabled, Act::Deregister)] {
            assert_eq!(at(ago(stage, 7)), (act, None));
            assert_eq!(at(ago(stage, 6)), (Act::Wait, Some(now() + DAY)));
            let second = SignedDuration::from_secs(1);
            let almost = Since { stage, since: now() - soak + second };
            assert_eq!(at(Some(almost)), (Act::Wait, Some(now() + second)));
        }
        assert_eq!(at(ago(Retiring::Undone, 29)), (Act::Wait, Some(now() + DAY)));
        assert_eq!(at(ago(Retiring::Undone, 30)), (Act::Deprecate, None));
    }

    #[test]
    fn without_a_soak_there_are_no_stages() {
        for stage in [None, ago(Retiring::Deprecated, 0), ago(Retiring::Disabled, 0)] {
            assert_eq!(next(stage, SignedDuration::ZERO, now()), (Act::Deregister, None));
        }
        // A run an hour after the undo would else deregister it again.
        let undone = |days| next(ago(Retiring::Undone, days), SignedDuration::ZERO, now());
        assert_eq!(undone(29), (Act::Wait, Some(now() + DAY)));
        assert_eq!(undone(30), (Act::Deregister, None));
    }

    #[test]
    fn what_comes_out_of_the_recycle_bin_is_made_as_it_was_whatever_the_soak() {
        for soak in [SignedDuration::ZERO, DAY * 7] {
            assert_eq!(next(ago(Retiring::Returning, 90), soak, now()), (Act::Restore, None));
        }
    }
}
