//! Control groups: they hold processes together, so that none can escape the end of its machine or command.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// How often the end of a group's processes is looked for.
const LOOK: Duration = Duration::from_millis(5);

/// Where the unified hierarchy is mounted: `/sys/fs/cgroup`, or `/sys/fs/cgroup/unified` on a hybrid host.
pub fn unified() -> io::Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mut fields = mounts.lines().map(|line| line.split(' '));
    let unified = fields.find_map(|mut line| {
        let point = line.nth(1)?;
        (line.next()? == "cgroup2").then(|| PathBuf::from(point))
    });
    unified.ok_or_else(|| io::Error::other("no cgroup2 is mounted: `mount -t cgroup2 none /sys/fs/cgroup`"))
}

/// Ends every process of a cgroup and of those inside it, at once.
pub fn kill(cgroup: &Path) {
    // It may be gone already.
    let _ = fs::write(cgroup.join("cgroup.kill"), "1");
}

/// Waits until a cgroup has no process any more, and removes it; says whether it is gone.
pub(super) async fn end(cgroup: &Path, patience: Duration) -> bool {
    let populated = || {
        let events = fs::read_to_string(cgroup.join("cgroup.events"));
        events.is_ok_and(|events| events.contains("populated 1"))
    };
    let emptied = async {
        while populated() {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(patience, emptied).await.is_ok_and(|()| {
        remove(cgroup);
        !cgroup.exists()
    })
}

/// Removes a cgroup with those inside it; one that has processes stays.
pub fn remove(cgroup: &Path) {
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    let _ = fs::remove_dir(cgroup);
}
