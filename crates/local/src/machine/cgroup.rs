//! Control groups: they hold a machine's processes together, so that none can escape its end.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

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

/// Removes a cgroup with those inside it; one that has processes stays.
pub fn remove(cgroup: &Path) {
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    let _ = fs::remove_dir(cgroup);
}
