//! What a machine sees as `/`: its disk, and over it `/proc`, `/sys`, `/dev`, `/run` and `/tmp`.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    unistd::chdir,
};

use super::user_namespace::{act_as, shift};

/// What mount(2) takes of options: a page, with the zero at its end.
const MOST_OPTIONS: usize = 4095;

/// The user namespace of a machine.
pub(super) struct Namespace {
    /// The namespace.
    pub file: File,
    /// The host's id of its root.
    pub first: u32,
}

/// Mounts the instance's own layer over those of its image.
///
/// In a machine with a user namespace the layers are mounted with its ids, and the kernel makes what overlayfs itself
/// needs on the disk as its root: no other owner has a place there.
pub(super) fn mount_disk(layers: &[PathBuf], disk: &Path, namespace: Option<&Namespace>) -> io::Result<()> {
    if let Some(Namespace { file, first }) = namespace {
        let folders: Vec<&Path> = layers.iter().filter_map(|layer| layer.parent()).chain([disk]).collect();
        shift(&folders, file).map_err(|error| io::Error::other(format!("mount overlay: {error}")))?;
        act_as(*first)?;
    }
    // mount(2) takes one page of options. Layers lie side by side: named from there, they are short.
    let here = layers.first().and_then(|layer| layer.parent()).unwrap_or(Path::new("/"));
    chdir(here).map_err(|error| io::Error::other(format!("mount overlay: {}: {error}", here.display())))?;
    let lower = layers.iter().map(|layer| escaped(layer.strip_prefix(here).unwrap_or(layer), &[':']));
    let lower: Vec<_> = lower.collect();
    let [upper, work] = ["upper", "work"].map(|name| escaped(&disk.join(name), &[]));
    let options = format!("lowerdir={},upperdir={upper},workdir={work}", lower.join(":"));
    if options.len() > MOST_OPTIONS {
        let problem = format!(
            "an image of {} layers is more than overlayfs takes ({MOST_OPTIONS} bytes of paths): bake it from a base \
             with fewer images below it",
            layers.len()
        );
        return Err(io::Error::other(problem));
    }
    let mounted = attach("overlay", &disk.join("root"), "overlay", MsFlags::empty(), &options);
    chdir("/")?;
    mounted
}

/// A path as overlayfs reads it among its options.
fn escaped(path: &Path, more: &[char]) -> String {
    let text = path.display().to_string();
    let special = |c: &char| ['\\', ','].contains(c) || more.contains(c);
    text.chars().flat_map(|c| special(&c).then_some('\\').into_iter().chain([c])).collect()
}

pub(super) fn attach(what: &str, target: &Path, kind: &str, flags: MsFlags, data: &str) -> io::Result<()> {
    fs::create_dir_all(target)?;
    mount(Some(what), target, Some(kind), flags, Some(data))
        .map_err(|error| io::Error::other(format!("mount {kind} on {}: {error}", target.display())))
}

/// `/proc`, of the process namespace that this process is the first of.
pub(super) fn processes(root: &Path) -> io::Result<()> {
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    attach("proc", &root.join("proc"), "proc", quiet, "")
}

/// What of `/proc` is the host's becomes read-only: a booting Debian would set the host's kernel up as it likes it.
///
/// In a user namespace the files of the host's kernel belong to somebody else, and need no such care.
pub(super) fn protect(proc: &Path) -> io::Result<()> {
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
pub(super) fn system(root: &Path, uuid: &str) -> io::Result<()> {
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
pub(super) fn devices(root: &Path, console: &Path) -> io::Result<()> {
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
