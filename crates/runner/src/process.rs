//! Programs with a time limit, whose output is kept.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::Path,
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use ovenbird_core::report::Exit;

/// How much of a program's output a report keeps.
const TAIL_BYTES: u64 = 8 * 1024;
const TAIL_LINES: usize = 40;

/// How often a program is looked at: it costs nothing, and a short step stays short.
const LOOK: Duration = Duration::from_millis(5);

/// Runs a command in a group of its own, its output in a file; a whole group that outlives its time is killed.
pub fn run(command: &mut Command, log: &Path, timeout: Duration) -> Result<(Exit, String)> {
    let file = File::create(log).with_context(|| format!("create {}", log.display()))?;
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).process_group(0);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            let program = command.get_program().to_string_lossy().into_owned();
            return Ok((Exit::Failed(format!("can't start `{program}`: {error}")), String::new()));
        }
    };
    let start = Instant::now();
    let exit = loop {
        if let Some(status) = child.try_wait()? {
            break exit(status);
        }
        if start.elapsed() > timeout {
            // The group, because a shell's children would go on without it.
            if let Ok(group) = i32::try_from(child.id()) {
                let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
            }
            child.wait()?;
            break Exit::TimedOut(timeout.as_secs());
        }
        thread::sleep(LOOK);
    };
    Ok((exit, tail(log)?))
}

fn exit(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Status(code),
        (None, signal) => Exit::Signal(signal.unwrap_or(0)),
    }
}

/// The last lines of a file, however long it is.
fn tail(path: &Path) -> Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, timeout: Duration) -> (Exit, String) {
        let folder = tempfile::tempdir().unwrap();
        run(Command::new("sh").args(["-c", script]), &folder.path().join("log"), timeout).unwrap()
    }

    #[test]
    fn the_exit_and_the_last_lines_are_kept() {
        let (exit, tail) = sh("seq 1000; echo oops >&2; exit 3", Duration::from_secs(10));
        assert_eq!(exit, Exit::Status(3));
        assert_eq!(tail.lines().count(), TAIL_LINES);
        assert!(tail.ends_with("1000\noops"), "{tail}");
    }

    #[test]
    fn a_group_that_outlives_its_time_is_killed_whole() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; wait", pid.display());
        let (exit, _) = sh(&script, Duration::from_millis(300));
        assert_eq!(exit, Exit::TimedOut(0));
        let pid = std::fs::read_to_string(pid).unwrap();
        // A signal is delivered, and a dead process reaped, a moment later.
        let state = || std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        let deadline = Instant::now() + Duration::from_secs(5);
        while !state().is_empty() && !state().contains(") Z ") {
            assert!(Instant::now() < deadline, "the child still runs: {}", state());
            thread::sleep(LOOK);
        }
    }
}
