//! The memory of processes.

use std::fs;

/// What processes take, in MiB; what they share with others is shared out among all who have it.
pub(crate) fn mib(processes: &[u32]) -> f64 {
    let kib = |pid: &u32| -> Option<u32> {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.split_whitespace().next()?.parse().ok()
    };
    // One that has ended meanwhile takes none.
    f64::from(processes.iter().filter_map(kib).sum::<u32>()) / 1024.0
}

/// The processes that a process has started, and those that they have.
pub(crate) fn below(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let children = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let children: Vec<u32> = children
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect();
    children.iter().flat_map(|child| below(*child)).chain(children.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    #[test]
    fn sees_this_process_and_its_children() {
        assert!(super::mib(&[std::process::id()]) > 1.0);
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().expect("it starts");
        assert!(super::below(std::process::id()).contains(&child.id()));
        child.kill().and_then(|()| child.wait()).expect("it ends");
        assert!(super::mib(&[child.id()]) == 0.0, "a process that is gone takes nothing");
    }
}
