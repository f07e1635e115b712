//! What can't be removed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Used, work};
use crate::seal::{Plan, Scope, Seal, Site};

/// Makes a file that even root can't remove; none where the file system has no such flag.
fn immutable(path: &Path) -> Option<Immutable> {
    let set = Command::new("chattr").arg("+i").arg(path).status().is_ok_and(|status| status.success());
    if !set {
        assert!(std::env::var_os("CI").is_none(), "no immutable files here");
        println!("SKIPPED: no immutable files here");
    }
    set.then(|| Immutable(path.to_owned()))
}

struct Immutable(PathBuf);

impl Drop for Immutable {
    fn drop(&mut self) {
        let _ = Command::new("chattr").arg("-i").arg(&self.0).status();
    }
}

#[test]
fn a_file_that_resists_ends_nothing() {
    let used = Used::new();
    let Some(_history) = immutable(&used.path("/root/.bash_history")) else { return };
    let _log = immutable(&used.path("/var/log/shop/app.log"));
    let _deep = immutable(&used.path("/tmp/folder/y"));
    let site = Site::new(&used.machine, &Seal::default()).unwrap();
    let plan = Plan::new(&site, &Seal::default(), Scope::Whole).unwrap();
    let stubborn = work(&site, &plan.targets[..plan.targets.len() - Plan::ours().len()]);
    let paths: Vec<_> = stubborn.iter().map(|stubborn| stubborn.path.to_str().unwrap()).collect();
    assert_eq!(paths, ["/root/.bash_history", "/var/log/shop/app.log", "/tmp/folder/y"]);
    used.seal().unwrap();
    assert!(!used.path("/home/admin/.bash_history").exists() && !used.path("/tmp/x").exists());
}

#[test]
fn a_secret_that_resists_is_named_and_ends_the_seal() {
    let used = Used::new();
    let Some(_key) = immutable(&used.path("/etc/ssh/ssh_host_ed25519_key")) else { return };
    let error = format!("{:#}", used.seal().unwrap_err());
    assert!(error.contains("/etc/ssh/ssh_host_ed25519_key: Operation not permitted"), "{error}");
    assert!(error.contains("seal.keep"), "{error}");
    // All else is gone, and a second try can run.
    assert!(!used.path("/root/.bash_history").exists());
    assert!(used.machine.own("plan.json").exists());
}

#[test]
fn what_can_t_be_sealed_is_seen_before_anything_is_removed() {
    let used = Used::new();
    fs::remove_dir_all(used.path("/var/lib/cloud")).unwrap();
    used.write("/var/lib/cloud", "a file where a folder should be");
    let before = used.tree();
    let error = format!("{:#}", used.seal().unwrap_err());
    assert!(
        error.contains("nothing was removed") && error.contains("/var/lib/cloud: it is not what"),
        "{error}"
    );
    // But for what the heartbeat is told.
    fs::remove_dir_all(used.machine.own("logs")).unwrap();
    fs::remove_file(used.machine.own("now.json")).unwrap();
    assert_eq!(used.tree(), before);
}
