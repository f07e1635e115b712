//! What the machine must have before anything is started, all of it said at once.

use std::{env, path::Path, process::Command};

use ovenbird_core::domain::plan::quote;

use crate::{
    error::{LocalError, Result},
    home,
    options::{Machines, Options},
};

/// The programs that are run, with the Debian package that has each.
const PROGRAMS: &[(&str, &str)] = &[
    ("haproxy", "haproxy"),
    ("ip", "iproute2"),
    ("mmdebstrap", "mmdebstrap"),
    ("nft", "nftables"),
    ("nsenter", "util-linux"),
    ("slirp4netns", "slirp4netns"),
];

/// Fails with everything that is missing, and the commands that get it.
pub(crate) fn check(options: &Options) -> Result<()> {
    let (mut missing, mut fixes, mut packages) = (Vec::new(), Vec::new(), Vec::new());
    if options.machines == Machines::Real {
        if !nix::unistd::geteuid().is_root() {
            missing.push("machines need root".to_owned());
            fixes.push("sudo ovenbird local up".to_owned());
        }
        for (program, package) in PROGRAMS.iter().filter(|(program, _)| !on_path(program)) {
            missing.push(format!("`{program}` is not installed"));
            packages.push(*package);
        }
        let filesystems = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
        for kind in ["overlay", "cgroup2"].into_iter().filter(|kind| !filesystems.contains(*kind)) {
            // A module that isn't loaded yet isn't listed; mounting would load it.
            if !loadable(kind) {
                missing.push(format!("the kernel has no {kind}"));
                fixes.push(format!("modprobe {kind}"));
            }
        }
    }
    if !packages.is_empty() {
        fixes.push(format!("apt-get install --yes {}", packages.join(" ")));
    }
    if !has_ministack(&options.home.python()) {
        missing.push(format!("{} has no MiniStack", options.home.python().display()));
        fixes.push(set_up(std::env::var(home::VARIABLE).ok().as_deref()));
    }
    if missing.is_empty() { Ok(()) } else { Err(LocalError::Missing { missing, fix: fixes.join("\n") }) }
}

fn on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin"].map(Into::into);
    env::split_paths(&path).chain(usual).any(|folder: std::path::PathBuf| folder.join(program).is_file())
}

fn loadable(module: &str) -> bool {
    Command::new("modprobe")
        .args(["--dry-run", "--quiet", module])
        .status()
        .is_ok_and(|status| status.success())
}

/// The command that sets a home up. Another home than the usual one it must be told.
fn set_up(home: Option<&str>) -> String {
    match home {
        Some(home) => format!("{}={} make setup", home::VARIABLE, quote(home)),
        None => "make setup".to_owned(),
    }
}

fn has_ministack(python: &Path) -> bool {
    let probe = Command::new(python)
        .args(["-I", "-c", "import importlib.util as u; assert u.find_spec('ministack')"])
        .output();
    probe.is_ok_and(|output| output.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::Home;

    #[test]
    fn says_what_is_missing_and_how_to_get_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut options = Options::new(0);
        options.home = Home::new(folder.path());
        options.machines = Machines::Simulated;
        let error = check(&options).expect_err("there is no MiniStack in an empty folder");
        assert!(error.to_string().contains("venv/bin/python has no MiniStack"), "{error}");
        assert!(error.hint().ends_with("make setup"), "{}", error.hint());
        assert_eq!(set_up(None), "make setup");
        assert_eq!(set_up(Some("/a home")), "OVENBIRD_HOME='/a home' make setup");
    }
}
