//! How a unit of systemd stands: whether it runs on, and why not.
//!
//! Only what systemd 219 knows is relied on: it lacks `NRestarts`, and a restart is then told by the main process
//! and the time of its start.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, bail, ensure};
use nix::time::{ClockId, clock_gettime};

use crate::{
    machine::Machine,
    mask::Mask,
    process::{Answer, ask},
};

/// How long systemd may take to answer.
const ANSWER: Duration = Duration::from_secs(30);

/// So many lines of a unit's log are shown, and so many letters of each.
const LINES: usize = 20;
const LETTERS: usize = 300;

/// At most so many units are shown for a failed test, and so many bytes of them all: an error has a limit.
const UNITS: usize = 8;
const BYTES: usize = 8 * 1024;

const PROPERTIES: &[&str] = &[
    "Id",
    "Type",
    "LoadState",
    "ActiveState",
    "SubState",
    "Result",
    "ConditionResult",
    "ConditionTimestampMonotonic",
    "Job",
    "MainPID",
    "NRestarts",
    "ExecMainCode",
    "ExecMainStatus",
    "ExecMainStartTimestampMonotonic",
    "ActiveEnterTimestampMonotonic",
];

/// Statuses that systemd itself gives a process that it could not start: `man systemd.exec`.
const STATUSES: &[(&str, &str)] = &[
    ("200", "/CHDIR: its working folder can't be entered"),
    ("203", "/EXEC: its program is not there, or can't be executed"),
    ("216", "/GROUP: its group does not exist"),
    ("217", "/USER: its user does not exist"),
    ("226", "/NAMESPACE: a path that it protects or mounts is not there"),
];

/// A unit, as systemd shows it.
#[derive(Debug)]
pub struct Unit {
    name: String,
    properties: BTreeMap<String, String>,
}

/// How a unit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stand {
    /// It is active.
    Active,
    /// It is a job that is done: `Type=oneshot`, ended well.
    Done,
    /// It is on its way from one state to another.
    Between,
    /// It does not run.
    Down,
}

/// One run of a unit: what is equal for as long as nobody restarts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    process: String,
    restarts: String,
    since: Option<Duration>,
}

impl Unit {
    /// Looks at a unit; one that isn't there is shown, too, as `not-found`.
    pub fn look(machine: &Machine, name: &str) -> Result<Self> {
        let properties = format!("--property={}", PROPERTIES.join(","));
        let text = systemctl(machine, &["show", &properties, "--", name])?;
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let properties = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let unit = Self { name: name.to_owned(), properties };
        ensure!(
            !unit.state().is_empty(),
            "systemctl show {name}: it says nothing of its state: {}",
            text.trim()
        );
        Ok(unit)
    }

    fn get(&self, key: &str) -> &str {
        self.properties.get(key).map(String::as_str).unwrap_or_default()
    }

    /// Its state in systemd's word: `active`, `inactive`, `failed`, `activating`.
    pub fn state(&self) -> &str {
        self.get("ActiveState")
    }

    /// How it stands.
    pub fn stand(&self) -> Stand {
        match (self.state(), self.get("SubState")) {
            ("active" | "reloading", _) => Stand::Active,
            // It ended, and systemd waits until it starts it again: it does not run.
            ("activating", "auto-restart") => Stand::Down,
            ("activating" | "deactivating", _) => Stand::Between,
            ("inactive", _) if self.get("Type") == "oneshot" && self.ended_well() => Stand::Done,
            _ => Stand::Down,
        }
    }

    /// systemd may have forgotten a unit that has nothing to do, and shows it then as one that never ran.
    fn ended_well(&self) -> bool {
        self.get("Result") == "success" && !self.left_out()
    }

    /// Whether systemd did not start it because a condition in its file does not hold.
    fn left_out(&self) -> bool {
        self.get("ConditionResult") == "no" && self.is_set("ConditionTimestampMonotonic")
    }

    fn is_set(&self, number: &str) -> bool {
        !["", "0"].contains(&self.get(number))
    }

    /// Which run of it this is. A unit without processes (a socket, a timer) has only the time when it began.
    pub fn run(&self) -> Run {
        let times = ["ExecMainStartTimestampMonotonic", "ActiveEnterTimestampMonotonic"];
        let times = times.into_iter().filter_map(|key| self.get(key).parse().ok()).filter(|time| *time > 0);
        Run {
            process: self.get("MainPID").to_owned(),
            restarts: self.get("NRestarts").to_owned(),
            since: times.max().map(Duration::from_micros),
        }
    }

    /// Whether systemd restarted it by itself since somebody started it.
    pub fn was_restarted(&self) -> bool {
        self.is_set("NRestarts")
    }

    /// How it stands, and why, in a line.
    pub fn told(&self) -> String {
        self.told_unlike("")
    }

    /// The same, with what it should have been: `shop is failed, not active: …`.
    pub fn told_unlike(&self, wanted: &str) -> String {
        let (state, sub) = (self.state(), self.get("SubState"));
        let mut text = format!("{} is {state}", self.name);
        if !sub.is_empty() && sub != state {
            text.push_str(&format!(" ({sub})"));
        }
        if !wanted.is_empty() {
            text.push_str(&format!(", not {wanted}"));
        }
        let reasons = self.reasons();
        if !reasons.is_empty() {
            text.push_str(&format!(": {}", reasons.join(", ")));
        }
        text
    }

    fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        match self.get("LoadState") {
            "" | "loaded" => {}
            "not-found" => reasons.push("there is no such unit".to_owned()),
            other => reasons.push(format!("its unit file is {other}")),
        }
        if !["", "success"].contains(&self.get("Result")) {
            reasons.push(format!("result {}", self.get("Result")));
        }
        if self.stand() != Stand::Active && self.left_out() {
            reasons.push("a condition in its unit file does not hold".to_owned());
        }
        let status = self.get("ExecMainStatus");
        match self.get("ExecMainCode") {
            "1" if self.stand() != Stand::Active => {
                let meaning = STATUSES.iter().find(|(number, _)| *number == status);
                let meaning = meaning.map(|(_, meaning)| *meaning).unwrap_or_default();
                reasons.push(format!("its main process ended with status {status}{meaning}"));
            }
            "2" | "3" if self.stand() != Stand::Active => {
                reasons.push(format!("its main process was killed by signal {status}"));
            }
            _ => {}
        }
        if self.was_restarted() {
            reasons.push(format!("restarted {} times by systemd", self.get("NRestarts")));
        }
        if self.is_set("Job") {
            reasons.push("a job of it waits for other units".to_owned());
        }
        reasons
    }
}

impl Run {
    /// How long it has lasted, if systemd said when it began.
    pub fn lasted(&self) -> Option<Duration> {
        let now = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).ok()?);
        Some(now.saturating_sub(self.since?))
    }
}

/// The last lines of a unit's log since the machine booted.
///
/// Not by `--unit`: that leaves out why a program could not be executed, which a process of systemd's own says that
/// is often gone before journald can tell which unit it belonged to.
pub fn log(machine: &Machine, name: &str, mask: &Mask) -> String {
    let id = Unit::look(machine, name).map(|unit| unit.get("Id").to_owned()).unwrap_or_default();
    let id = if id.is_empty() { format!("{name}.service") } else { id };
    let (lines, by, of) = (format!("--lines={LINES}"), format!("_SYSTEMD_UNIT={id}"), format!("UNIT={id}"));
    let words = ["--boot", "--no-pager", "--quiet", &lines, &by, "+", &of];
    let Ok(answer) = asked(machine, "journalctl", &words) else { return String::new() };
    let short = |line: &str| line.chars().take(LETTERS).collect::<String>();
    // Secrets are hidden before lines are cut: half a secret would not be known again.
    mask.text(&answer.text()).lines().map(short).collect::<Vec<_>>().join("\n")
}

/// How units stand, with their logs: those of these names, and all that failed. Those that don't run come first.
pub fn report(machine: &Machine, names: &[&str], mask: &Mask) -> Vec<String> {
    let mut units: Vec<Unit> = Vec::new();
    let mut told = Vec::new();
    for name in names {
        match Unit::look(machine, name) {
            Ok(unit) => units.push(unit),
            Err(error) => told.push(format!("{error:#}")),
        }
    }
    for name in failed(machine) {
        units.extend(Unit::look(machine, &name));
    }
    let mut seen = std::collections::BTreeSet::new();
    units.retain(|unit| seen.insert(unit.get("Id").to_owned()) || unit.get("Id").is_empty());
    units.sort_by_key(|unit| unit.stand() == Stand::Active);
    for unit in units.iter().take(UNITS) {
        let log = log(machine, &unit.name, mask);
        let log: String = log.lines().map(|line| format!("\n    {line}")).collect();
        told.push(format!("{}{log}", unit.told()));
    }
    let mut left = BYTES;
    told.retain_mut(|text| {
        let end = (0..=text.len().min(left)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        if end < text.len() {
            text.truncate(end);
            text.push('…');
        }
        let any = left > 0;
        left -= end;
        any
    });
    told
}

/// The units that failed; none where systemd can't be asked.
fn failed(machine: &Machine) -> Vec<String> {
    let words = ["list-units", "--state=failed", "--no-legend", "--no-pager", "--full"];
    let text = systemctl(machine, &words).unwrap_or_default();
    // A mark stands before the name where systemd is old.
    let name = |line: &str| line.split_whitespace().find(|word| word.contains('.')).map(str::to_owned);
    text.lines().filter_map(name).collect()
}

/// Fails where there is no systemd, with what to write instead.
pub fn wanted(machine: &Machine, name: &str) -> Result<()> {
    let program = name.trim_end_matches(".service");
    ensure!(
        machine.program("systemctl", &[]).is_some(),
        "the base has no systemd, and `service` is about its units: with OpenRC, a `shell` step does it \
         (`rc-update add {program}; rc-service {program} restart`), and a test with `command = \"rc-service {program} status\"`"
    );
    Ok(())
}

/// The machine's version of systemd: `252`.
pub fn version(machine: &Machine) -> Result<u32> {
    let text = systemctl(machine, &["--version"])?;
    let version = text.split_whitespace().nth(1).map(|word| {
        // `256~rc3` and `252.1` are of 256 and 252.
        word.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default().parse()
    });
    match version {
        Some(Ok(version)) => Ok(version),
        Some(Err(_)) | None => bail!("systemctl --version: it says no version: {}", text.trim()),
    }
}

/// Asks systemd; what it says.
pub fn systemctl(machine: &Machine, words: &[&str]) -> Result<String> {
    let answer = asked(machine, "systemctl", words)?;
    let what = words.join(" ");
    ensure!(answer.exit.is_success(), "systemctl {what}: {}: {}", answer.exit, answer.complaint());
    Ok(answer.text())
}

fn asked(machine: &Machine, program: &str, words: &[&str]) -> Result<Answer> {
    let mut command = machine.command(program);
    command.args(words);
    ask(command, b"", ANSWER)
}
