//! Whether this host can give machines a user namespace: it is tried, for no list of versions knows every host.

use std::{
    env, fs, io,
    path::Path,
    process::{ExitCode, Stdio},
};

use nix::{
    sched::{CloneFlags, unshare},
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, fork},
};
use tokio::process::Command;

use super::{
    ids::Range,
    init::{ROOT, separate},
    root::{devices, processes, system},
    spawn::spawn,
};

/// Why machines whose disks lie below a folder can't have user namespaces of their own; none if they can.
///
/// In a fresh process (`ovenbird machine-probe`) it goes the way of a machine's first process, up to systemd.
pub async fn missing(home: &Path) -> io::Result<Option<String>> {
    let range = Range::take()?;
    let folder = home.join("run/probe");
    let clear = || match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    clear()?;
    for part in ["lower/dev", "disk/upper", "disk/work", "disk/root"] {
        fs::create_dir_all(folder.join(part))?;
    }
    let mut command = Command::new("/proc/self/exe");
    command
        .arg("machine-probe")
        .arg(&folder)
        .arg(range.first().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let output = spawn(command).await?.wait_with_output().await?;
    clear()?;
    let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Ok((!output.status.success()).then_some(why))
}

/// What to tell the operator when it is missing.
pub fn weaker(why: &str) -> String {
    format!(
        "machines can't have user namespaces here ({why}). They run, but root in a machine is root of this host: it \
         has fewer capabilities and system calls, and no more than that in its way. Run nothing in them that you \
         don't trust. Needed: Linux 5.19 or newer, user.max_user_namespaces above 0, and the home on ext4, XFS or Btrfs"
    )
}

/// The entry of `ovenbird machine-probe FOLDER ID`.
pub fn main() -> ExitCode {
    match begin() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn begin() -> io::Result<()> {
    let mut arguments = env::args_os().skip(2);
    let folder = arguments.next().ok_or_else(|| io::Error::other("no folder"))?;
    let first = arguments.next().and_then(|first| first.into_string().ok()?.parse().ok());
    let folder = Path::new(&folder);
    let (lower, disk) = (folder.join("lower"), folder.join("disk"));
    separate(&[lower], &disk, Some(first.ok_or_else(|| io::Error::other("no id"))?))?;
    unshare(CloneFlags::CLONE_NEWPID)?;
    #[expect(unsafe_code, reason = "fork in a process of one thread")]
    // SAFETY: no other thread runs in this process, so the child finds no lock held and no state half changed.
    let forked = unsafe { fork() }?;
    match forked {
        ForkResult::Child => {
            let root = Path::new(ROOT);
            let mounted = processes(root)
                .and_then(|()| system(root, "ec2"))
                .and_then(|()| devices(root, Path::new("/dev/null")));
            if let Err(error) = &mounted {
                eprintln!("{error}");
            }
            std::process::exit(i32::from(mounted.is_err()));
        }
        ForkResult::Parent { child } => match waitpid(child, None)? {
            WaitStatus::Exited(_, 0) => Ok(()),
            // It has said why.
            _ => Err(io::Error::other("no mounts in a user namespace")),
        },
    }
}
