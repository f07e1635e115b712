//! The first process of a machine: joins its cgroup, unshares, wires its network, mounts its disk, becomes systemd.
//!
//! It runs in a fresh process (`ovenbird machine-init`), because a process with threads can't be forked safely.
//! Its configuration comes on standard input as one line of JSON; it answers `net PID` on standard output once
//! its network is there, and goes on when a second line comes: by then IMDS listens. It closes its standard output
//! when it becomes systemd, without another word unless it can't.

use std::{
    convert::Infallible,
    ffi::CString,
    fs,
    io::{self, BufRead as _, Write as _},
    os::{
        fd::{AsFd as _, AsRawFd as _},
        unix::fs::symlink,
    },
    path::{Path, PathBuf},
    process::{Command, ExitCode},
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

/// What mount(2) takes of options: a page, with the zero at its end.
const MOST_OPTIONS: usize = 4095;

/// The exit status by which it says that the machine wants to boot again.
pub(super) const RESTART: u8 = 75;

/// What a machine is made of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InitConfig {
    /// The cgroup that it runs in.
    pub cgroup: PathBuf,
    /// The lower layers, the uppermost first.
    pub layers: Vec<PathBuf>,
    /// The instance's folder, with `upper`, `work` and `root` in it.
    pub disk: PathBuf,
    /// Its host name.
    pub hostname: String,
    /// The hypervisor's UUID; on EC2 it begins with `ec2`.
    pub uuid: String,
    /// Its address with the prefix's length: `10.99.0.2/16`.
    pub address: String,
    /// Its hardware address.
    pub mac: String,
    /// The gateway, which is the cloud's bridge.
    pub gateway: String,
    /// The process that holds the cloud's network namespace.
    pub cloud_pid: u32,
    /// The name of its end of the cable at the bridge (at most 15 characters).
    pub link: String,
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
    // The death signal is not sent for a death before it was asked for.
    if getppid().as_raw() != config.supervisor {
        return Err(io::Error::other("the supervisor is gone"));
    }
    fs::write(config.cgroup.join("cgroup.procs"), std::process::id().to_string())?;
    unshare(
        CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWCGROUP,
    )?;
    wire(&config)?;
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

/// A cable from the machine's own network namespace to the cloud's bridge.
fn wire(config: &InitConfig) -> io::Result<()> {
    let InitConfig { address, mac, gateway, link, .. } = config;
    let cloud = config.cloud_pid.to_string();
    ip(&["link", "set", "lo", "up"])?;
    ip(&["link", "add", "eth0", "address", mac, "type", "veth", "peer", "name", link, "netns", &cloud])?;
    let inside = format!("--net=/proc/{cloud}/ns/net");
    command("nsenter", &[&inside, "ip", "link", "set", link, "master", "br0", "up"])?;
    ip(&["addr", "add", address, "dev", "eth0"])?;
    ip(&["link", "set", "eth0", "up"])?;
    ip(&["route", "add", "default", "via", gateway])
}

fn ip(arguments: &[&str]) -> io::Result<()> {
    command("ip", arguments)
}

fn command(program: &str, arguments: &[&str]) -> io::Result<()> {
    let output = Command::new(program).args(arguments).output()?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{program} {}: {}", arguments.join(" "), text.trim())))
}

fn become_machine(config: &InitConfig) -> io::Result<Infallible> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let root = config.disk.join("root");
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    mount_disk(config, &root)?;
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    attach("proc", &root.join("proc"), "proc", quiet, "")?;
    protect(&root.join("proc"))?;
    system(&root, &config.uuid)?;
    devices(&root, &config.console)?;
    attach("tmpfs", &root.join("run"), "tmpfs", MsFlags::MS_NOSUID | MsFlags::MS_NODEV, "mode=755")?;
    attach("tmpfs", &root.join("tmp"), "tmpfs", MsFlags::MS_NOSUID | MsFlags::MS_NODEV, "mode=1777")?;
    sethostname(&config.hostname)?;
    let console = fs::OpenOptions::new().read(true).write(true).open(root.join("dev/console"))?;
    chdir(&root)?;
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    chdir("/")?;
    drop_capabilities()?;
    dup2_stdout(&console)?;
    dup2_stderr(&console)?;
    let init = [c"/lib/systemd/systemd", c"--system", c"--show-status=1"].map(CString::from);
    let environment =
        [c"container=ovenbird", c"PATH=/usr/sbin:/usr/bin:/sbin:/bin", c"TERM=dumb"].map(CString::from);
    debug_assert!(console.as_raw_fd() > 2);
    Ok(execve(&init[0], &init, &environment)?)
}

/// Mounts the instance's own layer over those of its image.
fn mount_disk(config: &InitConfig, root: &Path) -> io::Result<()> {
    // mount(2) takes one page of options. Layers lie side by side: named from there, they are short.
    let here = config.layers.first().and_then(|layer| layer.parent()).unwrap_or(Path::new("/"));
    chdir(here).map_err(|error| io::Error::other(format!("mount overlay: {}: {error}", here.display())))?;
    let lower = config.layers.iter().map(|layer| escaped(layer.strip_prefix(here).unwrap_or(layer), &[':']));
    let lower: Vec<_> = lower.collect();
    let [upper, work] = ["upper", "work"].map(|name| escaped(&config.disk.join(name), &[]));
    let options = format!("lowerdir={},upperdir={upper},workdir={work}", lower.join(":"));
    if options.len() > MOST_OPTIONS {
        let problem = format!(
            "an image of {} layers is more than overlayfs takes ({MOST_OPTIONS} bytes of paths): bake it from a base \
             with fewer images below it",
            config.layers.len()
        );
        return Err(io::Error::other(problem));
    }
    let mounted = attach("overlay", root, "overlay", MsFlags::empty(), &options);
    chdir("/")?;
    mounted
}

/// A path as overlayfs reads it among its options.
fn escaped(path: &Path, more: &[char]) -> String {
    let text = path.display().to_string();
    let special = |c: &char| ['\\', ','].contains(c) || more.contains(c);
    text.chars().flat_map(|c| special(&c).then_some('\\').into_iter().chain([c])).collect()
}

fn attach(what: &str, target: &Path, kind: &str, flags: MsFlags, data: &str) -> io::Result<()> {
    fs::create_dir_all(target)?;
    mount(Some(what), target, Some(kind), flags, Some(data))
        .map_err(|error| io::Error::other(format!("mount {kind} on {}: {error}", target.display())))
}

/// What of `/proc` is the host's becomes read-only: a booting Debian would set the host's kernel up as it likes it.
fn protect(proc: &Path) -> io::Result<()> {
    let bind = |name: &str| {
        let path = proc.join(name);
        mount(Some(&path), &path, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
            .map(|()| path)
    };
    let there = |name: &&str| proc.join(name).exists();
    for name in ["sys", "sysrq-trigger", "irq", "bus"].into_iter().filter(there) {
        let path = bind(name)?;
        if name == "sys" {
            // The machine's network is its own.
            bind("sys/net")?;
        }
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        let flags = flags | MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
        mount(None::<&str>, &path, None::<&str>, flags, None::<&str>)?;
    }
    Ok(())
}

/// `/sys`, read-only, with the hypervisor's UUID that tells cloud-init it is on EC2; without it IMDSv2 isn't tried.
///
/// A directory can't be added to sysfs, so `/sys` is a tmpfs into which sysfs's own folders are bound.
fn system(root: &Path, uuid: &str) -> io::Result<()> {
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let (real, shown) = (root.join("run"), root.join("sys"));
    attach("sysfs", &real, "sysfs", quiet | MsFlags::MS_RDONLY, "")?;
    attach("tmpfs", &shown, "tmpfs", quiet, "mode=755")?;
    for entry in fs::read_dir(&real)? {
        let (from, to) = {
            let entry = entry?;
            (entry.path(), shown.join(entry.file_name()))
        };
        if from.file_name().is_some_and(|name| name == "hypervisor") {
            continue;
        }
        fs::create_dir(&to)?;
        mount(Some(&from), &to, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)?;
    }
    fs::create_dir(shown.join("hypervisor"))?;
    fs::write(shown.join("hypervisor/uuid"), format!("{uuid}\n"))?;
    umount2(&real, MntFlags::MNT_DETACH)?;
    attach("cgroup2", &shown.join("fs/cgroup"), "cgroup2", quiet, "")?;
    let remount = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | quiet;
    mount(None::<&str>, &shown, None::<&str>, remount, None::<&str>)?;
    Ok(())
}

/// The few devices that a machine has, by bind: no machine may make one of the host's.
fn devices(root: &Path, console: &Path) -> io::Result<()> {
    let dev = root.join("dev");
    attach("tmpfs", &dev, "tmpfs", MsFlags::MS_NOSUID, "mode=755")?;
    let binds = ["null", "zero", "full", "random", "urandom", "tty"]
        .map(|name| (PathBuf::from("/dev").join(name), name));
    for (from, name) in binds.iter().map(|(from, name)| (from.as_path(), *name)).chain([(console, "console")])
    {
        let to = dev.join(name);
        fs::write(&to, "")?;
        mount(Some(from), &to, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    }
    attach(
        "devpts",
        &dev.join("pts"),
        "devpts",
        MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC,
        "newinstance,ptmxmode=0666",
    )?;
    attach("tmpfs", &dev.join("shm"), "tmpfs", MsFlags::MS_NOSUID | MsFlags::MS_NODEV, "mode=1777")?;
    for (target, name) in [
        ("pts/ptmx", "ptmx"),
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
    ] {
        symlink(target, dev.join(name))?;
    }
    Ok(())
}

/// Takes what would reach the host's kernel: modules, raw I/O, the clock, and making devices.
///
/// Commands don't descend from here: `exec` takes the same from them. Numbers of `linux/capability.h`: `CAP_SYS_MODULE`, `CAP_SYS_RAWIO`, `CAP_SYS_TIME`, `CAP_MKNOD`.
fn drop_capabilities() -> io::Result<()> {
    for capability in [16, 17, 25, 27] {
        #[expect(unsafe_code, reason = "prctl(PR_CAPBSET_DROP) takes a number and touches no memory")]
        // SAFETY: all its arguments are numbers.
        let answer = unsafe { nix::libc::prctl(nix::libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        if answer != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
