//! Tests: what each kind asks of the machine.

mod command;
mod file;
mod http;
mod package;
mod port;
mod process;
mod service;
mod settle;
pub mod suite;
#[cfg(test)]
mod testing;
mod user;

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use ovenbird_core::domain::{
    recipe::{Test, TestKind},
    report::TestOutcome,
};

use self::{settle::Settle, suite::Case};
use crate::{
    machine::Machine,
    mask::Mask,
    process::{Answer, ask},
};

/// How long after a failed try the next one follows: at first at once, then ever later.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What nothing on the machine changes is not waited for, but for the moment that somebody may hold a lock.
const STATIC: Duration = Duration::from_secs(3);

/// The shortest time that a try gets, even at the end of its test's.
const SHORTEST: Duration = Duration::from_secs(1);

/// How much of what was seen a report shows.
const SHOWN: usize = 400;

/// What a try saw.
pub enum Seen {
    /// What the test asks for.
    This(String),
    /// The cases of a suite, and what is wrong beside them.
    Cases(Vec<Case>, Option<String>),
}

/// Tries a test until it passes or its time is over; a suite has an outcome for each of its cases.
pub fn outcomes(machine: &Machine, test: &Test, mask: &Mask) -> Vec<TestOutcome> {
    let start = Instant::now();
    let mut pause = PAUSE;
    let mut settle = Settle::of(&test.kind);
    let within = waited_for(&test.kind, test.within);
    let seen = loop {
        let left = within.saturating_sub(start.elapsed());
        let seen = look(machine, &test.kind, left.max(SHORTEST), &mut settle, mask);
        if passed(&seen) || start.elapsed() >= within {
            break seen;
        }
        thread::sleep(pause.min(within.saturating_sub(start.elapsed())));
        pause = LONGEST_PAUSE.min(pause * 2);
    };
    let milliseconds = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    let own = |passed, detail: String| {
        let detail = mask.text(&detail);
        TestOutcome { name: test.name.clone(), passed, milliseconds, detail }
    };
    match seen {
        Ok(Seen::This(detail)) => vec![own(true, detail)],
        Ok(Seen::Cases(cases, problem)) => {
            let of_case = |case: Case| TestOutcome {
                name: format!("{}: {}", test.name, mask.text(&case.name)),
                passed: case.passed,
                milliseconds: case.milliseconds,
                detail: mask.text(&case.detail),
            };
            problem
                .map(|problem| own(false, problem))
                .into_iter()
                .chain(cases.into_iter().map(of_case))
                .collect()
        }
        Err(problem) => vec![own(false, format!("{problem:#}"))],
    }
}

/// How long a test is tried again, of the time that the recipe gives it.
fn waited_for(kind: &TestKind, within: Duration) -> Duration {
    match kind {
        TestKind::Package { .. } | TestKind::User { .. } => within.min(STATIC),
        TestKind::Http(_)
        | TestKind::Command { .. }
        | TestKind::Port { .. }
        | TestKind::File { .. }
        | TestKind::Service { .. }
        | TestKind::Process { .. } => within,
    }
}

fn passed(seen: &Result<Seen>) -> bool {
    match seen {
        Ok(Seen::This(_)) => true,
        Ok(Seen::Cases(cases, problem)) => problem.is_none() && cases.iter().all(|case| case.passed),
        Err(_) => false,
    }
}

/// One try, for so long; what must run on is looked at for as long as that takes.
fn look(
    machine: &Machine,
    kind: &TestKind,
    limit: Duration,
    settle: &mut Settle,
    mask: &Mask,
) -> Result<Seen> {
    let seen = match kind {
        TestKind::Http(request) => http::look(request, limit, mask),
        TestKind::Command { run, exit, stdout_contains, stderr_contains, junit } => {
            let asked = command::Asked {
                run,
                exit: *exit,
                stdout: stdout_contains.as_deref(),
                stderr: stderr_contains.as_deref(),
            };
            return command::look(machine, &asked, junit.as_deref(), limit, mask);
        }
        TestKind::Port { number } => port::look(machine, *number),
        TestKind::File { path, exists, contains, mode, owner } => {
            let asked = file::Asked {
                exists: *exists,
                contains: contains.as_deref(),
                mode: *mode,
                owner: owner.as_deref(),
            };
            file::look(machine, path, &asked, mask)
        }
        TestKind::Service { name, running, enabled, settle: _ } => {
            let asked = service::Asked { name, running: *running, enabled: *enabled };
            service::look(machine, &asked, settle)
        }
        TestKind::Process { name, settle: _ } => process::look(machine, name, settle),
        TestKind::Package { name, version } => package::look(machine, name, version.as_deref()),
        TestKind::User { name, group, shell } => {
            user::look(machine, name, group.as_deref(), shell.as_deref())
        }
    };
    seen.map(Seen::This)
}

/// Asks a program of the machine.
fn asked(machine: &Machine, program: &str, words: &[&str]) -> Result<Answer> {
    let mut command = machine.command(program);
    command.args(words);
    ask(command, b"", Duration::from_secs(30))
}

fn contains(what: &str, text: &str, wanted: Option<&str>, mask: &Mask) -> Result<()> {
    match wanted {
        Some(wanted) if !text.contains(wanted) => bail!("{what} has no {wanted:?}: {}", shown(text, mask)),
        Some(_) | None => Ok(()),
    }
}

/// The beginning of a text, whose secrets are hidden before it is cut: half a secret would not be known again.
fn shown(text: &str, mask: &Mask) -> String {
    let text = mask.text(text);
    let text = text.trim();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{testing::machine, *};

    fn run(run: &str, within: Duration) -> TestOutcome {
        let (_root, machine) = machine();
        let kind = TestKind::Command {
            run: run.into(),
            exit: 0,
            stdout_contains: None,
            stderr_contains: None,
            junit: None,
        };
        let mut outcomes = outcomes(&machine, &Test { name: "it".into(), kind, within }, &Mask::default());
        assert_eq!(outcomes.len(), 1);
        outcomes.remove(0)
    }

    #[test]
    fn a_test_is_tried_again_until_it_passes() {
        let outcome = run("echo x >> n; test $(wc -l < n) -ge 3", Duration::from_secs(20));
        assert!(outcome.passed, "{}", outcome.detail);
    }

    #[test]
    fn a_test_that_never_passes_is_tried_as_long_as_it_may() {
        let outcome = run("false", Duration::from_millis(500));
        assert!(!outcome.passed && outcome.milliseconds >= 500, "{outcome:?}");
    }

    #[test]
    fn what_nothing_changes_is_not_waited_for() {
        let package = TestKind::Package { name: "nginx".into(), version: None };
        let user = TestKind::User { name: "shop".into(), group: None, shell: None };
        let minute = Duration::from_secs(60);
        assert_eq!([&package, &user].map(|kind| waited_for(kind, minute)), [STATIC, STATIC]);
        assert_eq!(waited_for(&package, Duration::from_secs(1)), Duration::from_secs(1));
        // A port opens when its service has started.
        assert_eq!(waited_for(&TestKind::Port { number: 80 }, minute), minute);
    }

    #[test]
    fn a_test_that_hangs_is_ended_at_its_limit() {
        let outcome = run("sleep 600 & sleep 600", Duration::from_millis(100));
        assert!(outcome.detail.contains("timed out after 1 s"), "{outcome:?}");
    }
}
