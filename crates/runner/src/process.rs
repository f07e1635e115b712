//! Programs with a time limit, whose output is kept.
//!
//! Output comes through a pipe and not into a file: only so can it be masked before it is on a disk, and bounded.

use std::{
    fs::File,
    io::{self, PipeReader, Read as _, Write as _},
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use ovenbird_core::domain::report::Exit;

use crate::{
    live::Copy,
    mask::Mask,
    output::{HALF, Output},
};

/// How often a program that prints nothing is looked at: it costs nothing, and a short step stays short.
const LOOK_MILLISECONDS: u8 = 5;

/// What a pipe may hold after its program has ended; more comes from somebody who lives on.
const LEFT_IN_PIPE: usize = 1 << 20;

/// What a program printed, each of its two outputs apart.
#[derive(Debug)]
pub struct Answer {
    /// How it ended.
    pub exit: Exit,
    /// Its output.
    pub stdout: Output,
    /// Its errors.
    pub stderr: Output,
}

impl Answer {
    /// Its errors, or its output where there are none: what to show when it failed.
    pub fn complaint(&self) -> String {
        let errors = self.stderr.last_lines();
        let shown = if errors.trim().is_empty() { self.stdout.last_lines() } else { errors };
        shown.trim().to_owned()
    }

    /// The same, with secrets hidden before the beginning is cut off: half a secret would not be known again.
    pub fn complaint_without(&self, mask: &Mask) -> String {
        let hidden = |kept: &Output| -> io::Result<Output> {
            let mut hidden = Output::new(mask.clone(), None);
            hidden.push(&kept.bytes())?;
            hidden.flush()?;
            Ok(hidden)
        };
        match (hidden(&self.stdout), hidden(&self.stderr)) {
            (Ok(stdout), Ok(stderr)) => Self { exit: self.exit.clone(), stdout, stderr }.complaint(),
            // Nothing in memory fails.
            _ => String::new(),
        }
    }

    /// Its output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout.bytes()).into_owned()
    }
}

/// Runs a command in a group of its own, both of its outputs in one; a group that outlives its time is killed.
pub fn run(mut command: Command, kept: &mut Output, limit: Duration) -> Result<Exit> {
    let (reader, writer) = io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).process_group(0);
    match spawn(command) {
        Ok(child) => watch(child, &mut [Source::new(reader, kept)?], limit),
        Err(exit) => Ok(exit),
    }
}

/// Runs a command likewise, gives it an input, and keeps its outputs apart.
pub fn ask(mut command: Command, input: &[u8], limit: Duration) -> Result<Answer> {
    let (mut stdout, mut stderr) = (Output::in_memory(HALF), Output::in_memory(HALF));
    let exit = ask_into(&mut command, input, &mut stdout, &mut stderr, limit)?;
    Ok(Answer { exit, stdout, stderr })
}

/// Like `ask`, and what the program prints can be followed while it runs.
pub fn ask_shown(mut command: Command, limit: Duration, copy: impl Fn() -> Option<Copy>) -> Result<Answer> {
    let mut stdout = Output::in_memory(HALF).copied(copy());
    let mut stderr = Output::in_memory(HALF).copied(copy());
    let exit = ask_into(&mut command, b"", &mut stdout, &mut stderr, limit)?;
    Ok(Answer { exit, stdout, stderr })
}

/// Like `ask`, for a caller that wants more kept, or less.
pub fn ask_into(
    command: &mut Command,
    input: &[u8],
    stdout: &mut Output,
    stderr: &mut Output,
    limit: Duration,
) -> Result<Exit> {
    let ((out, out_writer), (err, err_writer)) = (io::pipe()?, io::pipe()?);
    let mut command = std::mem::replace(command, Command::new(""));
    command.stdin(Stdio::piped()).stdout(out_writer).stderr(err_writer).process_group(0);
    let mut child = match spawn(command) {
        Ok(child) => child,
        Err(exit) => return Ok(exit),
    };
    if let Some(mut stdin) = child.stdin.take() {
        // A program that doesn't read it to the end says in its exit what that means.
        let _ = stdin.write_all(input);
    }
    watch(child, &mut [Source::new(out, stdout)?, Source::new(err, stderr)?], limit)
}

/// Takes the command whole: it holds the writing ends of the pipes, which only the program must hold.
fn spawn(mut command: Command) -> Result<Child, Exit> {
    command.spawn().map_err(|error| {
        let program = command.get_program().to_string_lossy().into_owned();
        Exit::Failed(format!("can't start `{program}`: {error}"))
    })
}

fn watch(mut child: Child, sources: &mut [Source<'_>], limit: Duration) -> Result<Exit> {
    let start = Instant::now();
    let exit = loop {
        wait(sources)?;
        for source in &mut *sources {
            source.take(1 << 16)?;
        }
        if let Some(status) = child.try_wait()? {
            break exit(status);
        }
        if start.elapsed() > limit {
            // The group, because a shell's children would go on without it.
            if let Ok(group) = i32::try_from(child.id()) {
                let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
            }
            child.wait()?;
            break Exit::TimedOut(limit.as_secs());
        }
    };
    for source in sources {
        source.take(LEFT_IN_PIPE)?;
        source.kept.flush()?;
        source.let_go();
    }
    Ok(exit)
}

fn exit(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Status(code),
        (None, signal) => Exit::Signal(signal.unwrap_or(0)),
    }
}

/// Waits until one of them has something, for a moment at most.
fn wait(sources: &[Source<'_>]) -> Result<()> {
    let open: Vec<BorrowedFd<'_>> = sources.iter().filter_map(Source::fd).collect();
    let mut polled: Vec<PollFd<'_>> = open.into_iter().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
    match poll(&mut polled, PollTimeout::from(LOOK_MILLISECONDS)) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(error) => Err(error).context("wait for output"),
    }
}

/// One output of a program; it is closed here when its last writer has closed it.
struct Source<'a> {
    pipe: Option<PipeReader>,
    kept: &'a mut Output,
}

impl<'a> Source<'a> {
    fn new(pipe: PipeReader, kept: &'a mut Output) -> Result<Self> {
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self { pipe: Some(pipe), kept })
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(PipeReader::as_fd)
    }

    /// Takes what is there, and not much more than `most` of it.
    fn take(&mut self, most: usize) -> Result<()> {
        let mut buffer = [0; 1 << 14];
        let mut taken = 0;
        while taken < most {
            let Some(pipe) = &mut self.pipe else { return Ok(()) };
            match pipe.read(&mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(count) => {
                    self.kept.push(&buffer[..count])?;
                    taken += count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("read output"),
            }
        }
        Ok(())
    }

    /// A program left running in the background may go on printing, to nobody: a closed pipe would end it.
    fn let_go(&mut self) {
        let Some(pipe) = self.pipe.take() else { return };
        if fcntl(&pipe, FcntlArg::F_SETFL(OFlag::empty())).is_ok() {
            let reader = File::from(OwnedFd::from(pipe));
            let mut nobody = Command::new("cat");
            nobody.stdin(reader).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
            // A base without `cat` is one without a shell, and then nothing was left running.
            let _ = nobody.spawn();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, thread};

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn kept() -> Output {
        Output::new(Mask::default(), None)
    }

    fn state(pid: &str) -> String {
        fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default()
    }

    fn written(path: &Path) -> String {
        let deadline = Instant::now() + LONG;
        loop {
            match fs::read_to_string(path) {
                Ok(text) if text.ends_with('\n') => return text,
                Ok(_) | Err(_) => assert!(Instant::now() < deadline, "nothing in {}", path.display()),
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn the_exit_and_both_outputs_are_kept_in_their_order() {
        let mut kept = kept();
        let exit = run(sh("echo one; echo two >&2; echo three; exit 3"), &mut kept, LONG).unwrap();
        assert_eq!(exit, Exit::Status(3));
        assert_eq!(kept.last_lines(), "one\ntwo\nthree");
    }

    #[test]
    fn outputs_are_kept_apart_and_an_input_is_given() {
        let answer = ask(sh("cat; echo oops >&2; kill -9 $$"), b"hello", LONG).unwrap();
        assert_eq!(answer.exit, Exit::Signal(9));
        assert_eq!((answer.text().as_str(), answer.complaint().as_str()), ("hello", "oops"));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let exit = run(Command::new("/no/such"), &mut kept(), LONG).unwrap();
        assert!(matches!(&exit, Exit::Failed(problem) if problem.contains("/no/such")), "{exit}");
    }

    #[test]
    fn a_group_that_outlives_its_time_is_killed_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; echo begun; wait", path.display());
        let mut kept = kept();
        let exit = run(sh(&script), &mut kept, Duration::from_millis(300)).unwrap();
        assert_eq!(exit, Exit::TimedOut(0));
        assert_eq!(kept.last_lines(), "begun");
        let pid = written(&path);
        // A signal is delivered, and a dead process reaped, a moment later.
        let deadline = Instant::now() + LONG;
        while !state(&pid).is_empty() && !state(&pid).contains(") Z ") {
            assert!(Instant::now() < deadline, "the child still runs: {}", state(&pid));
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_program_left_behind_holds_nothing_up_and_can_go_on_printing() {
        let folder = tempfile::tempdir().unwrap();
        let (go, done) = (folder.path().join("go"), folder.path().join("done"));
        let script = format!(
            "(while [ ! -e {} ]; do sleep 0.02; done; seq 100000 && echo alive > {}) & echo begun",
            go.display(),
            done.display()
        );
        let (start, mut kept) = (Instant::now(), kept());
        assert_eq!(run(sh(&script), &mut kept, LONG).unwrap(), Exit::Status(0));
        assert!(start.elapsed() < LONG, "it was waited for");
        assert_eq!(kept.last_lines(), "begun");
        fs::write(&go, "").unwrap();
        assert_eq!(written(&done), "alive\n");
    }

    #[test]
    fn a_program_that_prints_without_end_is_ended_too() {
        let mut kept = kept();
        let exit = run(sh("yes & yes"), &mut kept, Duration::from_millis(300)).unwrap();
        assert_eq!(exit, Exit::TimedOut(0));
        assert!(kept.left_out() > 0 && kept.bytes().len() == 2 * HALF);
    }
}
