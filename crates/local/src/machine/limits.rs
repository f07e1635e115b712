//! How much of the host a machine may take: memory and processes.
//!
//! Where the host's one hierarchy of control groups has the controllers, a machine's own group has its limits. On a
//! host where they still have hierarchies of their own (cgroup v1), it has a group in each of these, too.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::unistd::{Gid, Uid, chown};

use super::cgroup;

/// How many processes and threads a machine may have.
const PROCESSES: u32 = 4096;

/// The least memory that a machine is limited to, in bytes: a JVM and Puppet work with it.
const LEAST_MEMORY: u64 = 1 << 30;

/// The files of a control group that a systemd in it writes, as `/sys/kernel/cgroup/delegate` says. Its limits are
/// not among them.
const DELEGATED: [&str; 4] = ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"];

/// What limits a machine.
const CONTROLLERS: [&str; 2] = ["memory", "pids"];

/// How often the end of a group's processes is looked for.
const LOOK: Duration = Duration::from_millis(10);

/// A limit: the controller, and its file in a group of the one hierarchy (cgroup v2) and of an older one (v1).
struct Limit {
    controller: &'static str,
    file: &'static str,
    older: &'static str,
    value: u64,
}

/// The control groups of a machine, with its limits in them.
#[derive(Debug)]
pub(super) struct Groups {
    unified: PathBuf,
    more: Vec<PathBuf>,
}

impl Groups {
    /// Makes them for a machine whose group of the one hierarchy is to be `unified`.
    pub fn make(unified: &Path) -> io::Result<Self> {
        let mut groups = Self { unified: unified.to_owned(), more: Vec::new() };
        fs::create_dir_all(unified)?;
        for limit in limits()? {
            groups.limit(&limit)?;
        }
        Ok(groups)
    }

    fn limit(&mut self, limit: &Limit) -> io::Result<()> {
        let root = cgroup::unified()?;
        let has = |group: &Path, file: &str| {
            let list = fs::read_to_string(group.join(file)).unwrap_or_default();
            list.split_whitespace().any(|known| known == limit.controller)
        };
        if has(&root, "cgroup.controllers") {
            // Each group above hands it down.
            let between = self.unified.strip_prefix(&root).map_err(io::Error::other)?.to_owned();
            let mut above = root;
            for part in between.iter() {
                if !has(&above, "cgroup.subtree_control") {
                    fs::write(above.join("cgroup.subtree_control"), format!("+{}", limit.controller))?;
                }
                above.push(part);
            }
            return fs::write(self.unified.join(limit.file), limit.value.to_string());
        }
        if let Some(hierarchy) = hierarchy(limit.controller)? {
            let root = cgroup::unified()?;
            let group = hierarchy.join(self.unified.strip_prefix(root).map_err(io::Error::other)?);
            fs::create_dir_all(&group)?;
            fs::write(group.join(limit.older), limit.value.to_string())?;
            self.more.push(group);
        }
        Ok(())
    }

    /// Lets the machine's root, which is this user and group on the host, make groups below its own.
    pub fn delegate(&self, first: u32) -> io::Result<()> {
        for file in DELEGATED {
            chown(&self.unified.join(file), Some(Uid::from_raw(first)), Some(Gid::from_raw(first)))?;
        }
        Ok(())
    }

    /// All of them; a process of the machine must be in each.
    pub fn all(&self) -> Vec<PathBuf> {
        [&self.unified].into_iter().chain(&self.more).cloned().collect()
    }
}

/// Removes a group of the one hierarchy with its companions in the older ones, and what is below them; groups that
/// have processes stay. Says whether all are gone.
pub fn remove(unified: &Path) -> bool {
    let groups = [unified.to_owned()].into_iter().chain(companions(unified));
    groups.fold(true, |gone, group| {
        cgroup::remove(&group);
        gone && !group.exists()
    })
}

/// Removes the groups as [`remove`] does, and waits for their last processes, which are ending.
pub async fn remove_ending(unified: &Path, patience: Duration) -> bool {
    let gone = async {
        while !remove(unified) {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(patience, gone).await.is_ok()
}

/// What a group of the one hierarchy has beside it in the older ones.
fn companions(unified: &Path) -> Vec<PathBuf> {
    let Ok(root) = cgroup::unified() else { return Vec::new() };
    let Ok(path) = unified.strip_prefix(root) else { return Vec::new() };
    let hierarchies = CONTROLLERS.iter().filter_map(|controller| hierarchy(controller).ok().flatten());
    hierarchies.map(|hierarchy| hierarchy.join(path)).collect()
}

/// Puts this process into the groups that limit another.
pub(super) fn join_those_of(pid: u32) -> io::Result<()> {
    for limit in limits()? {
        if let Some(hierarchy) = hierarchy(limit.controller)? {
            let groups = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
            let group = groups.lines().find_map(|line| {
                let (_, line) = line.split_once(':')?;
                let (controllers, path) = line.split_once(':')?;
                controllers.split(',').any(|known| known == limit.controller).then_some(path)
            });
            if let Some(path) = group {
                let procs = hierarchy.join(path.trim_start_matches('/')).join("cgroup.procs");
                fs::write(procs, std::process::id().to_string())?;
            }
        }
    }
    Ok(())
}

fn limits() -> io::Result<[Limit; 2]> {
    let about = fs::read_to_string("/proc/meminfo")?;
    let total = about.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next());
    let kib: u64 = total.and_then(|kib| kib.parse().ok()).ok_or_else(|| io::Error::other("no MemTotal"))?;
    Ok([
        Limit {
            controller: "memory",
            file: "memory.max",
            older: "memory.limit_in_bytes",
            // One machine alone can't take all that the host has.
            value: (kib * 1024 / 2).max(LEAST_MEMORY),
        },
        Limit { controller: "pids", file: "pids.max", older: "pids.max", value: PROCESSES.into() },
    ])
}

/// Where a controller's own, older hierarchy is mounted.
fn hierarchy(controller: &str) -> io::Result<Option<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    Ok(mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (point, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
        let found = kind == "cgroup" && options.split(',').any(|option| option == controller);
        found.then(|| PathBuf::from(point))
    }))
}
