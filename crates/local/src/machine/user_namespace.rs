//! A user namespace: who is root in it is nobody on the host.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    mem,
    os::{fd::AsRawFd as _, unix::net::UnixStream},
    path::{Path, PathBuf},
};

use nix::{
    libc,
    sched::{CloneFlags, setns, unshare},
    sys::{prctl, signal::Signal, wait::waitpid},
    unistd::{ForkResult, Gid, Uid, fork, setfsgid, setfsuid, setgroups, setresgid, setresuid},
};

use super::ids::COUNT;

/// Makes a user namespace whose ids from 0 are the host's from `first`. Only a process of one thread may call it.
pub(super) fn make(first: u32) -> io::Result<File> {
    let (mut ours, mut its) = UnixStream::pair()?;
    #[expect(unsafe_code, reason = "fork in a process of one thread")]
    // SAFETY: no other thread runs in this process, so the child finds no lock held and no state half changed.
    let forked = unsafe { fork() }?;
    let child = match forked {
        ForkResult::Child => {
            drop(ours);
            let made = unshare(CloneFlags::CLONE_NEWUSER).err().map_or(0, |error| error as i32);
            // Whoever waits for it may be gone; then it ends all the same.
            let _ = its.write_all(&made.to_ne_bytes());
            let _ = its.read(&mut [0]);
            std::process::exit(0);
        }
        ForkResult::Parent { child } => child,
    };
    drop(its);
    let mut open = || {
        let mut made = [0; 4];
        ours.read_exact(&mut made)?;
        match i32::from_ne_bytes(made) {
            0 => {}
            error => return Err(io::Error::from_raw_os_error(error)),
        }
        let map = format!("0 {first} {COUNT}");
        fs::write(format!("/proc/{child}/uid_map"), &map)?;
        fs::write(format!("/proc/{child}/gid_map"), &map)?;
        File::open(format!("/proc/{child}/ns/user"))
    };
    let namespace = open().map_err(|error| io::Error::other(format!("make a user namespace: {error}")));
    // The child ends when it reads the end of this.
    drop(ours);
    waitpid(child, None)?;
    namespace
}

/// Enters it and becomes its root. The way back is closed: what the process could do on the host is gone.
pub(super) fn enter(namespace: &File) -> io::Result<()> {
    setns(namespace, CloneFlags::CLONE_NEWUSER)?;
    become_root()?;
    // The kernel forgets it when a process changes its user.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    Ok(())
}

/// Becomes the root of the user namespace that the process is in.
pub(super) fn become_root() -> io::Result<()> {
    let (user, group) = (Uid::from_raw(0), Gid::from_raw(0));
    setgroups(&[])?;
    setresgid(group, group, group)?;
    setresuid(user, user, user)?;
    Ok(())
}

/// What the kernel does to files for this process, it does as this user and group; the process can do no less.
pub(super) fn act_as(first: u32) -> io::Result<()> {
    // Without this bit (`SECBIT_NO_SETUID_FIXUP`) whoever isn't root loses root's rights over files.
    const KEEP_RIGHTS: libc::c_ulong = 1 << 2;
    #[expect(unsafe_code, reason = "prctl(PR_SET_SECUREBITS) takes a number and touches no memory")]
    // SAFETY: all its arguments are numbers.
    let answer = unsafe { libc::prctl(libc::PR_SET_SECUREBITS, KEEP_RIGHTS, 0, 0, 0) };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    // They give what was before, and never an error.
    setfsgid(Gid::from_raw(first));
    setfsuid(Uid::from_raw(first));
    Ok(())
}

/// Mounts folders over themselves so that ids on disk from 0 are the namespace's: the files keep their ordinary
/// owners, and an image that one machine made boots with the ids of any other.
pub(super) fn shift(folders: &[&Path], namespace: &File) -> io::Result<()> {
    let mut folders: Vec<PathBuf> = folders.iter().map(fs::canonicalize).collect::<io::Result<_>>()?;
    // The deepest first: what lies below a shifted mount can't be shifted again.
    folders.sort_by_key(|folder| std::cmp::Reverse(folder.components().count()));
    folders.dedup();
    for folder in folders {
        shift_one(&folder, namespace)
            .map_err(|error| io::Error::other(format!("map the owners of {}: {error}", folder.display())))?;
    }
    Ok(())
}

/// What `mount_setattr(2)` takes.
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    namespace: u64,
}

fn shift_one(folder: &Path, namespace: &File) -> io::Result<()> {
    // Of linux/mount.h and linux/fcntl.h.
    const OPEN_TREE_CLONE: libc::c_uint = 1;
    const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;
    const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 4;
    let path = std::ffi::CString::new(folder.as_os_str().as_encoded_bytes())?;
    let empty = c"";
    let cloexec = libc::O_CLOEXEC.cast_unsigned();
    #[expect(unsafe_code, reason = "open_tree(2) has no wrapper")]
    // SAFETY: the path is a C string that outlives the call, and the descriptor it gives is nobody else's.
    let mount = unsafe {
        let answer =
            libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), OPEN_TREE_CLONE | cloexec);
        checked(answer).map(|descriptor| std::os::fd::FromRawFd::from_raw_fd(descriptor))
    };
    let mount: File = mount?;
    let attributes = MountAttributes {
        set: MOUNT_ATTR_IDMAP,
        clear: 0,
        propagation: 0,
        namespace: u64::from(namespace.as_raw_fd().cast_unsigned()),
    };
    #[expect(unsafe_code, reason = "mount_setattr(2) has no wrapper")]
    // SAFETY: path and attributes outlive the call, and the size is that of the attributes.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            empty.as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            mem::size_of::<MountAttributes>(),
        )
    };
    checked(answer)?;
    #[expect(unsafe_code, reason = "move_mount(2) has no wrapper")]
    // SAFETY: both paths are C strings that outlive the call.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_raw_fd(),
            empty.as_ptr(),
            libc::AT_FDCWD,
            path.as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH,
        )
    };
    checked(answer).map(|_| ())
}

fn checked(answer: libc::c_long) -> io::Result<i32> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { i32::try_from(answer).map_err(io::Error::other) }
}
