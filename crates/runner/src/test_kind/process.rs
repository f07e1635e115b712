//! `process`: one of this name runs, as the kernel's own list tells.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use nix::time::{ClockId, clock_gettime};

use super::settle::{Look, Settle};
use crate::machine::Machine;

/// The kernel keeps so many bytes of a name.
const COMM: usize = 15;

/// The unit of the times that the kernel tells of processes, in milliseconds: the same for every program.
const TICK: u64 = 10;

/// Processes by their number, each with its start in ticks since the boot: a number is given anew, both never are.
type Processes = BTreeMap<u32, u64>;

pub fn look(machine: &Machine, name: &str, settle: &mut Settle) -> Result<String> {
    let look = |_: &mut Settle| {
        let found = processes(machine, name)?;
        Ok(match found.values().min() {
            Some(first) => {
                let lasted = since_boot().and_then(|now| now.checked_sub(ticks(*first)?));
                // Where no start is told, a process is looked at as long as it is asked to run.
                let lasted = lasted.filter(|_| *first > 0);
                Look::Runs(found, lasted)
            }
            None => Look::Not(format!("no process {name} runs")),
        })
    };
    // One of those that ran at the first look must last; others may come and go.
    let same = |known: &mut Processes, seen: Processes| {
        known.retain(|number, start| seen.get(number) == Some(start));
        !known.is_empty()
    };
    let lasting = settle.watch(name, look, same)?;
    let number = lasting.iter().min_by_key(|(_, start)| **start).map_or(0, |(number, _)| *number);
    Ok(format!("{name} runs as process {number}"))
}

fn processes(machine: &Machine, name: &str) -> Result<Processes> {
    let mut found = Processes::new();
    for entry in fs::read_dir(machine.path("/proc")).context("list processes")? {
        let entry = entry?;
        let Ok(number) = entry.file_name().to_string_lossy().parse() else { continue };
        found.extend(start(&entry.path(), name).map(|start| (number, start)));
    }
    Ok(found)
}

/// When a process of this name started; none for one of another name. One that ends while it is looked at is not it.
fn start(process: &Path, name: &str) -> Option<u64> {
    let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
    // The state follows the name, which may hold anything; the dead are listed until they are fetched.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let alive = !fields.next()?.starts_with(['Z', 'X']);
    let comm = fs::read(process.join("comm")).unwrap_or_default();
    let line = fs::read(process.join("cmdline")).unwrap_or_default();
    let first = line.split(|byte| *byte == 0).next().unwrap_or_default();
    let program = first.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let short = name.len() <= COMM && comm.strip_suffix(b"\n").unwrap_or(&comm) == name.as_bytes();
    // `man proc`: the 22nd field of all, the 20th from the state on.
    let start = fields.nth(18).and_then(|field| field.parse().ok()).unwrap_or(0);
    (alive && (short || program == name.as_bytes())).then_some(start)
}

fn ticks(count: u64) -> Option<Duration> {
    count.checked_mul(TICK).map(Duration::from_millis)
}

fn since_boot() -> Option<Duration> {
    clock_gettime(ClockId::CLOCK_BOOTTIME).ok().map(Duration::from)
}

#[cfg(test)]
mod tests {
    use super::super::testing::machine;
    use super::*;

    fn look(machine: &Machine, name: &str) -> Result<String> {
        super::look(machine, name, &mut Settle::new(Duration::ZERO))
    }

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

    /// A program that ends with the test, however that ends.
    struct Background(std::process::Child);

    impl Background {
        fn start(script: &str) -> Self {
            Self(std::process::Command::new("bash").args(["-c", script]).spawn().unwrap())
        }

        /// A program of this name that ends after so many seconds, again and again.
        fn restarting(name: &str, seconds: &str) -> Self {
            Self::start(&format!("while :; do (exec -a {name} sleep {seconds}); done"))
        }
    }

    impl Drop for Background {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn a_process_that_is_started_again_and_again_does_not_run() {
        let name = format!("flap{}", std::process::id());
        let _child = Background::restarting(&name, "0.7");
        let start = std::time::Instant::now();
        // However often it is tried.
        while start.elapsed() < Duration::from_secs(3) {
            let error = super::look(&Machine::new("/"), &name, &mut Settle::new(Duration::from_secs(2)));
            let error = error.expect_err("it never runs for two seconds").to_string();
            assert!(error.contains("restarted") || error.contains(&name), "{error}");
        }
    }

    #[test]
    fn a_process_that_lasts_runs_whatever_comes_and_goes_beside_it() {
        let name = format!("lasts{}", std::process::id());
        let _beside = Background::restarting(&name, "0.2");
        let lasts = Background::start(&format!("exec -a {name} sleep 60"));
        // Until then it is the shell that becomes it.
        let own = format!("/proc/{}", lasts.0.id());
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while start(Path::new(&own), &name).is_none() {
            assert!(std::time::Instant::now() < deadline, "it never started");
            std::thread::sleep(Duration::from_millis(5));
        }
        let seen = super::look(&Machine::new("/"), &name, &mut Settle::new(Duration::from_secs(1)));
        assert_eq!(seen.unwrap(), format!("{name} runs as process {}", lasts.0.id()));
    }

    #[test]
    fn the_test_s_own_process_runs() {
        let own = std::env::args().next().unwrap();
        let name = Path::new(&own).file_name().unwrap().to_str().unwrap();
        look(&Machine::new("/"), name).unwrap();
    }
}
