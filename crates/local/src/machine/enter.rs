//! A program of a machine's own, started from outside: how commands and the operator's shell get in.
//!
//! It runs in a fresh process (`ovenbird machine-enter`), because a process with threads can't change its user
//! namespace. It goes into every namespace of the machine and can do no more there than the machine's own processes.

use std::{
    env, fs,
    fs::File,
    io,
    os::{
        fd::{FromRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    path::Path,
    process::{Command, ExitCode},
};

use nix::{
    libc,
    sched::{CloneFlags, setns},
    sys::{
        signal::{Signal, kill, raise},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{ForkResult, Pid, chdir, chroot, fchdir, fork},
};

use super::{confine::confine, limits, user_namespace::become_root};

/// The exit status when it can't get in, as `env` and its like have it for what they can't do.
const FAILED: u8 = 125;

/// The arguments that make this program run another in a machine; that one and its arguments follow them.
///
/// `pid` is the machine's first process as the host numbers it, `group` the cgroup that the program shall be in; with
/// none it is in that of the first process.
pub fn way_in(pid: u32, group: Option<&Path>) -> Vec<String> {
    let group = group.map_or_else(|| "-".to_owned(), |group| group.display().to_string());
    vec!["machine-enter".to_owned(), pid.to_string(), group]
}

/// The entry of `ovenbird machine-enter PID GROUP PROGRAM…`.
pub fn main() -> ExitCode {
    match begin() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("machine-enter: {error}");
            ExitCode::from(FAILED)
        }
    }
}

fn begin() -> io::Result<ExitCode> {
    let mut arguments = env::args_os().skip(2);
    let mut next = || arguments.next().ok_or_else(|| io::Error::other("too few arguments"));
    let pid = next()?.into_string().ok().and_then(|pid| pid.parse().ok());
    let pid: u32 = pid.ok_or_else(|| io::Error::other("no number of a process"))?;
    let (group, program) = (next()?, next()?);
    // Into its cgroups first, so that nothing of it is ever outside; then it may do what the machine may.
    join(pid, (group != "-").then(|| Path::new(&group)))?;
    enter(pid)?;
    #[expect(unsafe_code, reason = "fork in a process of one thread")]
    // SAFETY: no other thread runs in this process, so the child finds no lock held and no state half changed.
    let forked = unsafe { fork() }?;
    match forked {
        // The first child is the first of this family in the machine's process namespace.
        ForkResult::Child => {
            confine()?;
            let terminal = env::var_os("TERM").filter(|_| group == "-");
            let mut command = Command::new(program);
            command
                .args(arguments)
                // Nothing of the supervisor's or the operator's environment is shown to the machine.
                .env_clear()
                .env("HOME", "/root")
                .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
                .envs(terminal.map(|terminal| ("TERM", terminal)));
            Err(command.exec())
        }
        ForkResult::Parent { child } => wait(child),
    }
}

fn join(pid: u32, group: Option<&Path>) -> io::Result<()> {
    limits::join_those_of(pid)?;
    let group = match group {
        Some(group) => group.to_owned(),
        None => {
            let groups = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
            let own = groups.lines().find_map(|line| line.strip_prefix("0::/"));
            let own = own.ok_or_else(|| io::Error::other("the machine has no cgroup"))?;
            super::cgroup::unified()?.join(own)
        }
    };
    fs::write(group.join("cgroup.procs"), std::process::id().to_string())
}

/// Goes into all namespaces of a process, and takes its root folder for its own.
fn enter(pid: u32) -> io::Result<()> {
    #[expect(unsafe_code, reason = "pidfd_open(2) has no wrapper")]
    // SAFETY: it takes numbers, and the descriptor it gives is nobody else's.
    let process = unsafe {
        let answer = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        if answer < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(i32::try_from(answer).map_err(io::Error::other)?)
    };
    let root = File::open(format!("/proc/{pid}/root"))?;
    let user = |of: &str| fs::read_link(format!("/proc/{of}/ns/user"));
    let own_user = user("self")? == user(&pid.to_string())?;
    let mut namespaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWCGROUP;
    // Nobody enters the user namespace that they are in.
    if !own_user {
        namespaces |= CloneFlags::CLONE_NEWUSER;
    }
    setns(&process, namespaces)?;
    if !own_user {
        become_root()?;
    }
    fchdir(&root)?;
    chroot(".")?;
    chdir("/")?;
    Ok(())
}

/// Waits for the program, and ends as it ended; stops while it is stopped, as a shell's job is.
fn wait(child: Pid) -> io::Result<ExitCode> {
    loop {
        match waitpid(child, Some(WaitPidFlag::WUNTRACED)) {
            Ok(WaitStatus::Exited(_, code)) => {
                return Ok(ExitCode::from(u8::try_from(code).unwrap_or(FAILED)));
            }
            Ok(WaitStatus::Signaled(_, signal, _)) => {
                return Ok(ExitCode::from(u8::try_from(128 + signal as i32).unwrap_or(FAILED)));
            }
            Ok(WaitStatus::Stopped(..)) => {
                raise(Signal::SIGSTOP)?;
                kill(child, Signal::SIGCONT)?;
            }
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
