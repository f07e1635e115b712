//! The kept log: what all steps printed, one after the other, in one text.

use std::{fs, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::PathBuf};

use anyhow::{Context as _, Result};
use ovenbird_core::domain::report::{LogPart, StepReport};

use crate::machine::Machine;

/// The kept log's file.
pub const FILE: &str = "steps.log";

/// How long it may be; what has no place is in its report by its last lines alone.
const LONGEST: usize = 64 * 1024 * 1024;

/// The log of a step's try: `3.log`, or `3.2.log` of its second.
pub fn of_try(index: usize, number: u32) -> String {
    match number {
        0 | 1 => format!("logs/{index}.log"),
        _ => format!("logs/{index}.{number}.log"),
    }
}

/// The logs of a step that are there, by its tries.
pub fn of_step(machine: &Machine, index: usize) -> Vec<(u32, PathBuf)> {
    let tries = (1..).map(|number| (number, machine.own(&of_try(index, number))));
    tries.take_while(|(_, path)| path.exists()).collect()
}

/// Writes the kept log, and notes in each report where its own part is. The first of them are not steps of the plan.
pub fn keep(machine: &Machine, steps: &mut [StepReport], first: usize) -> Result<()> {
    keep_within(machine, steps, first, LONGEST)
}

fn keep_within(machine: &Machine, steps: &mut [StepReport], first: usize, most: usize) -> Result<()> {
    let path = machine.own(FILE);
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut log = options.open(&path).with_context(|| format!("write {}", path.display()))?;
    let mut from = 0;
    for (index, step) in steps.iter_mut().skip(first).enumerate() {
        let mut text = String::new();
        for (number, path) in of_step(machine, index) {
            if number > 1 {
                text.push_str(&format!("-- try {number} --\n"));
            }
            // Its reader wants a text, whatever the step printed.
            text.push_str(&String::from_utf8_lossy(&fs::read(&path)?));
        }
        if text.is_empty() || text.len() > most - from {
            continue;
        }
        log.write_all(text.as_bytes())?;
        step.log = Some(LogPart { from, bytes: text.len() });
        from += text.len();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ovenbird_core::domain::report::Exit;

    use super::*;

    fn report(name: &str) -> StepReport {
        let exit = Exit::Status(0);
        StepReport {
            name: name.into(),
            exit,
            tries: 1,
            milliseconds: 1,
            output_tail: String::new(),
            log: None,
        }
    }

    #[test]
    fn each_report_names_its_own_part_and_what_has_no_place_has_none() {
        let root = tempfile::tempdir().unwrap();
        let machine = Machine::new(root.path().to_str().unwrap());
        machine.own_folder("logs").unwrap();
        for (name, text) in [
            ("0.log", &b"one \xff\n"[..]),
            ("0.2.log", b"again\n"),
            ("1.log", b""),
            ("2.log", &[b'x'; 100]),
            ("3.log", b"four\n"),
        ] {
            fs::write(machine.own("logs").join(name), text).unwrap();
        }
        let mut steps: Vec<_> = ["fetch", "one", "two", "three", "four"].map(report).into();
        keep_within(&machine, &mut steps, 1, 60).unwrap();
        let log = fs::read_to_string(machine.own(FILE)).unwrap();
        let parts: Vec<_> = steps.iter().map(|step| step.log.and_then(|part| part.of(&log))).collect();
        assert_eq!(parts, [None, Some("one \u{fffd}\n-- try 2 --\nagain\n"), None, None, Some("four\n")]);
    }
}
