//! `process`: one of this name runs, as the kernel's own list tells.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};

use crate::machine::Machine;

/// The kernel keeps so many bytes of a name.
const COMM: usize = 15;

pub fn look(machine: &Machine, name: &str) -> Result<String> {
    for entry in fs::read_dir(machine.path("/proc")).context("list processes")? {
        let entry = entry?;
        let file = entry.file_name();
        let number = file.to_string_lossy();
        if number.bytes().all(|b| b.is_ascii_digit()) && is(&entry.path(), name) {
            return Ok(format!("{name} runs as process {number}"));
        }
    }
    bail!("no process {name} runs")
}

/// One that ends while it is looked at is not it.
fn is(process: &Path, name: &str) -> bool {
    let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
    // The state follows the name, which may hold anything; the dead are listed until they are fetched.
    let alive = stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']));
    let comm = fs::read(process.join("comm")).unwrap_or_default();
    let line = fs::read(process.join("cmdline")).unwrap_or_default();
    let first = line.split(|byte| *byte == 0).next().unwrap_or_default();
    let program = first.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let short = name.len() <= COMM && comm.strip_suffix(b"\n").unwrap_or(&comm) == name.as_bytes();
    alive && (short || program == name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::testing::machine;
    use super::*;

    fn process(machine: &Machine, number: u32, comm: &str, state: char, line: &str) {
        let folder = machine.path(&format!("/proc/{number}"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("stat"), format!("{number} ({comm}) {state} 1 1")).unwrap();
        fs::write(folder.join("comm"), format!("{comm}\n")).unwrap();
        fs::write(folder.join("cmdline"), line.replace(' ', "\0")).unwrap();
    }

    #[test]
    fn a_name_is_the_kernel_s_or_the_program_s() {
        let (_root, machine) = machine();
        process(&machine, 10, "java", 'S', "/usr/bin/java -jar app.jar");
        process(&machine, 11, "node_exporter_w", 'S', "/opt/node_exporter_with_long_name --port 1");
        process(&machine, 12, "a) Z b", 'R', "x");
        process(&machine, 13, "gone", 'Z', "");
        fs::create_dir_all(machine.path("/proc/sys")).unwrap();
        for name in ["java", "node_exporter_w", "node_exporter_with_long_name", "a) Z b"] {
            assert!(look(&machine, name).is_ok(), "{name}");
        }
        for name in ["app.jar", "node_exporter_with_other_name", "jav", "gone", "sys", "", "/usr/bin/java"] {
            assert!(look(&machine, name).is_err(), "{name}");
        }
    }

    #[test]
    fn the_test_s_own_process_runs() {
        let own = std::env::args().next().unwrap();
        let name = Path::new(&own).file_name().unwrap().to_str().unwrap();
        look(&Machine::new("/"), name).unwrap();
    }
}
