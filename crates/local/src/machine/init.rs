//! The first process of a machine: joins its cgroups, mounts its disk, goes into its namespaces, becomes systemd.
//!
//! It runs in a fresh process (`ovenbird machine-init`), because a process with threads can't be forked safely.
//! Its configuration comes on standard input as one line of JSON; it answers `net PID` on standard output once it has
//! a network, and goes on when a second line comes: by then its cable is laid, and IMDS listens. It closes its standard
//! output when it becomes systemd, without another word unless it can't.

use std::{
    convert::Infallible,
    ffi::CString,
    fs,
    io::{self, BufRead as _, Write as _},
    os::fd::{AsFd as _, AsRawFd as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    sys::{
        prctl,
        signal::Signal,
        wait::{WaitStatus, waitpid},
    },
    unistd::{ForkResult, chdir, dup2_stderr, dup2_stdout, execve, fork, getppid, pivot_root, sethostname},
};
use serde::{Deserialize, Serialize};

use super::{
    confine::confine,
    root::{Namespace, attach, devices, mount_disk, processes, protect, system},
    user_namespace,
};

/// The exit status by which it says that the machine wants to boot again.
pub(super) const RESTART: u8 = 75;

/// Where the machine's root is until it is the root: any folder of the host's that everybody may enter, in the
/// machine's own view of it.
pub(super) const ROOT: &str = "/run";

/// So many parts of a path are followed, links included: a circle of links has no end.
const LINKS: usize = 64;

/// What a machine is made of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InitConfig {
    /// The cgroups that it runs in: one of each hierarchy that limits it.
    pub cgroups: Vec<PathBuf>,
    /// The host's id of its root: it has a user namespace, with as many ids as Debian hands out. None: its root is
    /// the host's.
    pub first_id: Option<u32>,
    /// The lower layers, the uppermost first.
    pub layers: Vec<PathBuf>,
    /// The instance's folder, with `upper`, `work` and `root` in it.
    pub disk: PathBuf,
    /// Its host name.
    pub hostname: String,
    /// The hypervisor's UUID; on EC2 it begins with `ec2`.
    pub uuid: String,
    /// Its console: the terminal that its output goes to.
    pub console: PathBuf,
    /// The supervisor, which it must not outlive.
    pub supervisor: i32,
}

/// The entry of `ovenbird machine-init`.
pub fn main() -> ExitCode {
    match begin() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("machine-init: {error}");
            ExitCode::from(125)
        }
    }
}

fn begin() -> io::Result<ExitCode> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let mut lines = io::stdin().lock().lines();
    let mut line = || lines.next().unwrap_or_else(|| Err(io::Error::other("the supervisor is gone")));
    let config: InitConfig = serde_json::from_str(&line()?)?;
    for group in &config.cgroups {
        fs::write(group.join("cgroup.procs"), std::process::id().to_string())?;
    }
    separate(&config.layers, &config.disk, config.first_id)?;
    // The death signal is not sent for a death before it was asked for, which `separate` did last.
    if getppid().as_raw() != config.supervisor {
        return Err(io::Error::other("the supervisor is gone"));
    }
    println!("net {}", std::process::id());
    io::stdout().flush()?;
    line()?;
    // Last of all: the first child from here on is the new namespace's first process, and its end is the namespace's.
    unshare(CloneFlags::CLONE_NEWPID)?;
    #[expect(unsafe_code, reason = "fork in a process of one thread")]
    // SAFETY: no other thread runs in this process, so the child finds no lock held and no state half changed.
    let forked = unsafe { fork() }?;
    if forked.is_parent() {
        dup2_stdout(fs::File::options().write(true).open("/dev/null")?)?;
    }
    match forked {
        ForkResult::Child => {
            // Closed by the exec that succeeds.
            let mut report = fs::File::from(io::stdout().as_fd().try_clone_to_owned()?);
            let Err(error) = become_machine(&config);
            let _ = writeln!(report, "{error}");
            std::process::exit(125);
        }
        ForkResult::Parent { child } => loop {
            match waitpid(child, None) {
                Ok(WaitStatus::Exited(_, code)) => {
                    return Ok(ExitCode::from(u8::try_from(code).unwrap_or(255)));
                }
                // So the kernel tells that a namespace's first process called reboot(2), which of its ways: a restart.
                Ok(WaitStatus::Signaled(_, Signal::SIGHUP, _)) => return Ok(ExitCode::from(RESTART)),
                Ok(WaitStatus::Signaled(..)) => return Ok(ExitCode::SUCCESS),
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        },
    }
}

/// Mounts the disk and goes into namespaces of the machine's own, all but the last: that of its processes.
///
/// The disk is mounted by the host's root; from then on this process is the machine's root, and nobody on the host.
pub(super) fn separate(layers: &[PathBuf], disk: &Path, first_id: Option<u32>) -> io::Result<()> {
    let namespace = match first_id {
        Some(first) => Some(Namespace { file: user_namespace::make(first)?, first }),
        None => None,
    };
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    mount_disk(layers, disk, namespace.as_ref())?;
    chdir(&disk.join("root"))?;
    let mut more = CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWCGROUP;
    if let Some(namespace) = namespace {
        user_namespace::enter(&namespace.file)?;
        // The mounts until here are not its own: it can neither take them apart nor see below them.
        more |= CloneFlags::CLONE_NEWNS;
    }
    unshare(more)?;
    // What was mounted from outside the user namespace is locked there, and may not become the root; this may. It is
    // named from within: the home is closed to the machine's root.
    mount(Some("."), ROOT, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)?;
    Ok(())
}

/// The program that a machine with this root begins with: `/sbin/init`, as a kernel has it, by its own name where that is
/// systemd's; systemd where nothing says so.
pub fn program_in(root: &Path) -> Option<PathBuf> {
    let init = followed(root, Path::new("sbin/init"));
    let systemd = ["lib/systemd/systemd", "usr/lib/systemd/systemd"]
        .into_iter()
        .find_map(|path| followed(root, Path::new(path)));
    match (init, systemd) {
        (Some(init), Some(systemd)) if init == systemd => Some(systemd),
        // A link with many names, such as busybox's, tells by its name what is wanted.
        (Some(_), _) => Some("/sbin/init".into()),
        (None, systemd) => systemd,
    }
}

/// Where a path of a root leads to, in the root; none when nothing is there. No link leads out of it.
fn followed(root: &Path, path: &Path) -> Option<PathBuf> {
    let mut rest: Vec<PathBuf> = path.iter().rev().map(PathBuf::from).collect();
    let mut here = PathBuf::from("/");
    for _ in 0..LINKS {
        let Some(part) = rest.pop() else {
            return root.join(here.strip_prefix("/").ok()?).is_file().then_some(here);
        };
        match part.to_str() {
            Some("/") => here = "/".into(),
            Some(".") => {}
            Some("..") => drop(here.pop()),
            _ => {
                let next = here.join(&part);
                match fs::read_link(root.join(next.strip_prefix("/").ok()?)) {
                    Ok(link) => rest.extend(link.iter().rev().map(PathBuf::from)),
                    Err(_) => here = next,
                }
            }
        }
    }
    None
}

fn become_machine(config: &InitConfig) -> io::Result<Infallible> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let root = Path::new(ROOT);
    processes(root)?;
    if config.first_id.is_none() {
        protect(&root.join("proc"))?;
    }
    system(root, &config.uuid)?;
    devices(root, &config.console)?;
    attach("tmpfs", &root.join("run"), "tmpfs", MsFlags::MS_NOSUID | MsFlags::MS_NODEV, "mode=755")?;
    attach("tmpfs", &root.join("tmp"), "tmpfs", MsFlags::MS_NOSUID | MsFlags::MS_NODEV, "mode=1777")?;
    sethostname(&config.hostname)?;
    let console = fs::OpenOptions::new().read(true).write(true).open(root.join("dev/console"))?;
    chdir(root)?;
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    chdir("/")?;
    confine()?;
    dup2_stdout(&console)?;
    dup2_stderr(&console)?;
    let program = program_in(Path::new("/")).ok_or_else(|| io::Error::other("the image has no init"))?;
    let systemd = program.file_name().is_some_and(|name| name == "systemd");
    let words = if systemd { &[c"--system", c"--show-status=1"][..] } else { &[] };
    let program = CString::new(program.as_os_str().as_encoded_bytes())?;
    let init: Vec<CString> =
        std::iter::once(program).chain(words.iter().map(|&word| CString::from(word))).collect();
    let environment =
        [c"container=ovenbird", c"PATH=/usr/sbin:/usr/bin:/sbin:/bin", c"TERM=dumb"].map(CString::from);
    debug_assert!(console.as_raw_fd() > 2);
    Ok(execve(&init[0], &init, &environment)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_machine_begins_with_its_own_init() {
        let found = |files: &[&str], links: &[(&str, &str)]| {
            let root = tempfile::tempdir().unwrap();
            let path = |path: &str| {
                let path = root.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                path
            };
            files.iter().for_each(|file| fs::write(path(file), "").unwrap());
            links.iter().for_each(|(from, to)| symlink(to, path(from)).unwrap());
            program_in(root.path()).map(|program| program.display().to_string())
        };
        let merged = [("lib", "usr/lib"), ("sbin", "usr/sbin"), ("usr/sbin/init", "/lib/systemd/systemd")];
        let systemd = "usr/lib/systemd/systemd";
        assert_eq!(found(&[systemd], &merged).as_deref(), Some("/usr/lib/systemd/systemd"));
        let apart = [("sbin/init", "../lib/systemd/systemd")];
        assert_eq!(found(&["lib/systemd/systemd"], &apart).as_deref(), Some("/lib/systemd/systemd"));
        let busybox = [("sbin/init", "/bin/busybox")];
        assert_eq!(found(&["bin/busybox"], &busybox).as_deref(), Some("/sbin/init"));
        // A package of systemd that is not the machine's init.
        assert_eq!(found(&[systemd, "sbin/init"], &[]).as_deref(), Some("/sbin/init"));
        assert_eq!(found(&[systemd], &[]).as_deref(), Some("/usr/lib/systemd/systemd"));
        // No link leads out of the root, or for ever in it.
        for nothing in ["../../../../../bin/sh", "/sbin/init", "/nowhere"] {
            assert_eq!(found(&[], &[("sbin/init", nothing)]), None, "{nothing}");
        }
    }
}
