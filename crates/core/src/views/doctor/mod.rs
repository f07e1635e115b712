//! What of an account would make bakes fail, or makes something weaker, said before it hurts.
//!
//! [`gather`] asks, and what may not be asked is a finding of its own. [`checkup`] judges what was found, without a call.

mod account;
pub mod facts;
mod failures;
mod gather;
mod network;
mod recipes;
mod trigger;

use serde::Serialize;

use crate::domain::error::{Error, Kind};

pub use self::{
    facts::{Deployed, Facts},
    gather::{DoctorPorts, gather},
};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// It could not be looked at; nothing is known.
    Unknown,
    /// Bakes go on, and something is weaker than it should be.
    Weaker,
    /// A bake would fail, or none would start.
    Fails,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What is so, in one line.
    pub what: String,
    /// What comes of it.
    pub why: String,
    /// The command or the change that fixes it.
    pub fix: String,
}

impl Finding {
    fn fails(what: impl Into<String>, why: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { severity: Severity::Fails, what: what.into(), why: why.into(), fix: fix.into() }
    }

    fn weaker(what: impl Into<String>, why: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { severity: Severity::Weaker, what: what.into(), why: why.into(), fix: fix.into() }
    }

    /// A look that failed says nothing of what it was to see.
    fn unseen(error: &Error) -> Self {
        let why = in_one_line(error);
        let looked = if let Error::Denied { operation, .. }
        | Error::Throttled { operation, .. }
        | Error::Aws { operation, .. } = error
        {
            operation.clone()
        } else {
            error.to_string()
        };
        let fix = if matches!(error, Error::Denied { .. }) {
            format!("Allow {looked} to whoever runs `ovenbird doctor`")
        } else {
            error.hint()
        };
        let what = format!("could not look: {looked}");
        Self { severity: Severity::Unknown, what, why, fix }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at: `network`, `pipeline storefront`.
    pub name: String,
    /// What was seen, in one line.
    pub seen: String,
    /// What is not as it should be; empty if all is well.
    pub findings: Vec<Finding>,
}

impl Check {
    fn new(name: impl Into<String>, seen: impl Into<String>, findings: Vec<Finding>) -> Self {
        Self { name: name.into(), seen: seen.into(), findings }
    }

    /// The worst of its findings; none if all is well.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }
}

/// All that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checkup {
    /// The name of the stack.
    pub stack: String,
    /// Whether a bake would fail.
    pub bakes_would_fail: bool,
    /// Everything that was looked at, in the order in which it matters.
    pub checks: Vec<Check>,
}

/// Judges what was found.
pub fn checkup(facts: &Facts) -> Checkup {
    let mut checks = vec![
        account::account(facts),
        account::stack(facts),
        account::encryption(facts),
        network::network(facts),
    ];
    if facts.stack.is_ok() {
        checks.push(trigger::uploads(facts));
        checks.push(failures::told(facts));
        checks.extend(failures::ran(facts));
        checks.extend(recipes::runner(facts));
        checks.extend(recipes::recipes(facts));
    }
    let bakes_would_fail = checks.iter().any(|check| check.worst() == Some(Severity::Fails));
    Checkup { stack: facts.name.clone(), bakes_would_fail, checks }
}

/// An error with its causes, as one line.
fn in_one_line(error: &Error) -> String {
    error.chain().replace("\n  caused by: ", ": ")
}

/// Whether an error says that a thing isn't there or is wrong, and not that it could not be looked at.
fn is_verdict(error: &Error) -> bool {
    match error.kind() {
        Kind::User | Kind::Bug => true,
        Kind::World => false,
    }
}

/// What is found, or the finding that it could not be looked at.
fn seen<T>(look: &crate::Result<T>) -> Result<&T, Vec<Finding>> {
    look.as_ref().map_err(|error| vec![Finding::unseen(error)])
}

#[cfg(test)]
mod tests;
