//! What the seal has others do: systemd, journald, or whatever powers the machine off.
//!
//! Nothing newer than systemd 219 is used, except where the machine's own systemd says that it is newer.

use std::{process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};

use crate::{machine::Machine, process};

/// How long an order to the machine may take.
const ORDER: Duration = Duration::from_secs(60);

/// The first systemd whose journal can be told to write to memory alone.
const RELINQUISHES: u32 = 242;

/// Whether systemd runs this machine: the test that systemd itself documents, `man sd_booted`.
pub fn has_systemd(machine: &Machine) -> bool {
    machine.path("/run/systemd/system").is_dir()
}

/// Has the journal written to memory from here on, where it knows how to: a log of this machine is none of the image's.
/// Elsewhere it writes on until the last word.
pub fn quiet_the_journal(machine: &Machine) {
    // What can't be told, or fails, is made good by the last word.
    if version(machine).is_ok_and(|version| version >= RELINQUISHES) {
        let _ = order(machine, "journalctl", &["--relinquish-var"]);
    }
}

fn version(machine: &Machine) -> Result<u32> {
    let text = order(machine, "systemctl", &["--version"])?;
    let number = text.split_whitespace().nth(1).unwrap_or_default();
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().with_context(|| format!("systemctl --version: {text}"))
}

/// Powers off, a moment later: this command's own answer still gets out.
pub fn power_off(machine: &Machine) -> Result<()> {
    if has_systemd(machine) {
        let later = ["--on-active=300ms", "--timer-property=AccuracySec=10ms", "systemctl", "poweroff"];
        return order(machine, "systemd-run", &later).map(drop);
    }
    order(machine, "poweroff", &[]).map(drop)
}

/// Boots the machine again, where no systemd runs it.
pub fn reboot(machine: &Machine) -> Result<()> {
    order(machine, "reboot", &[]).map(drop)
}

/// What systemd answers, whatever its exit status says; nothing where it can't be asked.
pub fn ask(machine: &Machine, words: &[&str]) -> String {
    let Some(path) = machine.program("systemctl", &[]) else { return String::new() };
    let mut command: Command = machine.command(path);
    command.args(words);
    process::ask(command, b"", ORDER).map(|answer| answer.text()).unwrap_or_default()
}

pub fn systemctl(machine: &Machine, words: &[&str]) -> Result<()> {
    order(machine, "systemctl", words).map(drop)
}

/// Runs a program of the machine's own, never one of whoever tests the seal; what it says.
fn order(machine: &Machine, program: &str, words: &[&str]) -> Result<String> {
    let path = machine.program(program, &[]).with_context(|| format!("the machine has no `{program}`"))?;
    let mut command: Command = machine.command(path);
    command.args(words);
    let answer = process::ask(command, b"", ORDER)?;
    let what = format!("{program} {}", words.join(" "));
    ensure!(answer.exit.is_success(), "{what}: {}\n{}", answer.exit, answer.complaint());
    Ok(answer.text())
}
