//! What others put in the seal's way: links, second names, data among logs, folders that change meanwhile.

use std::{
    fs,
    os::unix::fs::symlink,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::{Used, work};
use crate::seal::{Plan, Scope, Seal, Site};

#[test]
fn a_file_with_another_name_elsewhere_keeps_its_content() {
    let used = Used::new();
    let ledger = used.write("/opt/shop/ledger", "money\n");
    let history = used.write("/opt/shop/history", "money\n");
    for name in ["/var/log/shop/ledger.log", "/var/log/shop/ledger.log.1", "/var/mail/shop"] {
        fs::hard_link(&ledger, used.path(name)).unwrap();
    }
    fs::hard_link(&history, used.path("/root/.zsh_history")).unwrap();
    used.seal().unwrap();
    assert_eq!(used.read("/opt/shop/ledger"), "money\n");
    assert_eq!(used.read("/var/log/shop/ledger.log"), "money\n");
    // Only the name goes.
    assert!(!used.path("/var/log/shop/ledger.log.1").exists() && !used.path("/root/.zsh_history").exists());
    assert_eq!(used.read("/opt/shop/history"), "money\n");
}

#[test]
fn what_is_called_like_a_log_and_is_data_stays() {
    let used = Used::new();
    let segment = b"\0\0\0\0\0\0\0\0\0\0\x01\x20\0\0\0\0payload".as_slice();
    for path in ["/var/log/kafka/shop-0/00000000000000000000.log", "/var/log/shop/data.1"] {
        used.write(path, segment);
    }
    used.seal().unwrap();
    for path in ["/var/log/kafka/shop-0/00000000000000000000.log", "/var/log/shop/data.1"] {
        assert_eq!(fs::read(used.path(path)).unwrap(), segment, "{path}");
    }
}

#[test]
fn no_link_is_followed() {
    let used = Used::new();
    let outside = used.write("/opt/shop/a.log", "data\n");
    let folder = outside.parent().unwrap();
    symlink(folder, used.path("/var/log/linked")).unwrap();
    symlink(&outside, used.path("/var/log/shop/linked.log")).unwrap();
    symlink(folder, used.path("/tmp/linked")).unwrap();
    fs::remove_dir_all(used.path("/var/lib/chrony")).unwrap();
    used.write("/opt/shop/drift", "data\n");
    symlink(folder, used.path("/var/lib/chrony")).unwrap();
    // A history that is kept from being written, and the id that Debian's package links: as they were made.
    symlink("/dev/null", used.path("/root/.python_history")).unwrap();
    fs::remove_file(used.path("/var/lib/dbus/machine-id")).unwrap();
    symlink("../../../etc/machine-id", used.path("/var/lib/dbus/machine-id")).unwrap();
    used.seal().unwrap();
    assert_eq!(
        (used.read("/opt/shop/a.log"), used.read("/opt/shop/drift")),
        ("data\n".into(), "data\n".into())
    );
    for link in
        ["/var/log/linked", "/var/log/shop/linked.log", "/root/.python_history", "/var/lib/dbus/machine-id"]
    {
        assert!(used.path(link).is_symlink(), "{link}");
    }
    assert!(!used.path("/tmp/linked").is_symlink());
}

#[test]
fn a_secret_behind_a_link_is_no_image_s() {
    let used = Used::new();
    used.write("/data/key", "secret");
    symlink("../../data/key", used.path("/etc/ssh/ssh_host_rsa_key")).unwrap();
    let error = format!("{:#}", used.seal().unwrap_err());
    assert!(error.contains("/etc/ssh/ssh_host_rsa_key: it is a symbolic link"), "{error}");
    assert!(used.machine.own("plan.json").exists(), "a second try has no plan");
    // The way out that the error names.
    let kept = Seal { keep: vec!["/etc/ssh/ssh_host_rsa_key".into()], ..Seal::default() };
    crate::seal::seal(&used.machine, &kept, crate::seal::Then::PowerOff).unwrap();
}

#[test]
fn a_folder_of_secrets_that_is_reached_by_a_link_is_named_unless_the_recipe_keeps_it() {
    let used = Used::new();
    fs::rename(used.path("/var/lib/systemd"), used.path("/data")).unwrap();
    symlink("../../data", used.path("/var/lib/systemd")).unwrap();
    let error = format!("{:#}", used.seal().unwrap_err());
    assert!(error.contains("/var/lib/systemd: it is a symbolic link"), "{error}");
    let kept = Seal { keep: vec!["/var/lib/systemd".into()], ..Seal::default() };
    crate::seal::seal(&used.machine, &kept, crate::seal::Then::PowerOff).unwrap();
    assert!(used.path("/data/random-seed").exists());
}

/// Somebody who may write in a folder of logs swaps it for a link while the seal works, as fast as he can.
#[test]
fn a_folder_that_is_swapped_for_a_link_meanwhile_leads_nowhere() {
    let used = Used::new();
    let secrets = ["/secret/passwd.log", "/secret/old.log.1", "/secret/deep/x"];
    for path in secrets {
        used.write(path, "root\n");
    }
    let pairs = ["/var/log", "/tmp"].map(|at| (used.path(at).join("swapped"), used.path(at).join("other")));
    let (ready, done) = (Mutex::new(()), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let _may = ready.lock().unwrap();
                for (folder, link) in &pairs {
                    let _ = renameat2(AT_FDCWD, folder, AT_FDCWD, link, RenameFlags::RENAME_EXCHANGE);
                }
            }
        });
        for _ in 0..100 {
            let may = ready.lock().unwrap();
            for (folder, link) in &pairs {
                let _ = (crate::machine::remove(folder), crate::machine::remove(link));
                fs::create_dir_all(folder.join("deep")).unwrap();
                for name in ["passwd.log", "old.log.1", "deep/x"] {
                    fs::write(folder.join(name), "a line\n").unwrap();
                }
                symlink(used.path("/secret"), link).unwrap();
            }
            drop(may);
            let site = Site::new(&used.machine, &Seal::default()).unwrap();
            work(&site, &Plan::new(&site, &Seal::default(), Scope::Whole).unwrap().targets);
        }
        done.store(true, Ordering::Relaxed);
    });
    for path in secrets {
        assert_eq!(used.read(path), "root\n", "{path}");
    }
}

/// The plan says what stays; and what has changed since it was made is looked at again.
#[test]
fn what_changes_after_the_plan_was_made_is_looked_at_again() {
    let used = Used::new();
    let names = ["/var/log/a.log", "/var/log/b.log", "/var/log/c.log", "/var/log/d.log.1", "/root/.ssh/x"];
    for name in names {
        used.write(name, "a line\n");
    }
    used.write("/opt/shop/a", "data\n");
    let site = Site::new(&used.machine, &Seal::default()).unwrap();
    let plan = Plan::new(&site, &Seal::default(), Scope::Whole).unwrap();
    // Another name, a link to somewhere else, other content.
    fs::hard_link(used.path("/var/log/a.log"), used.path("/opt/shop/linked")).unwrap();
    fs::remove_file(used.path("/var/log/b.log")).unwrap();
    symlink(used.path("/opt/shop/a"), used.path("/var/log/b.log")).unwrap();
    for name in ["/var/log/c.log", "/var/log/d.log.1"] {
        used.write(name, b"\x01\0\x02");
    }
    // A folder that is a link by now.
    fs::rename(used.path("/var/lib/chrony"), used.path("/opt/chrony")).unwrap();
    symlink(used.path("/opt/chrony"), used.path("/var/lib/chrony")).unwrap();
    let stubborn = work(&site, &plan.targets);
    assert_eq!(used.read("/opt/shop/linked"), "a line\n");
    assert_eq!(used.read("/opt/shop/a"), "data\n");
    for name in ["/var/log/c.log", "/var/log/d.log.1"] {
        assert_eq!(fs::read(used.path(name)).unwrap(), b"\x01\0\x02", "{name}");
    }
    assert!(used.path("/opt/chrony/chrony.drift").exists());
    let stubborn: Vec<String> =
        stubborn.iter().map(|one| format!("{}: {}", one.path.display(), one.why)).collect();
    assert_eq!(stubborn, ["/var/lib/chrony: it is no folder any more"]);
}

#[test]
fn a_plan_tells_what_stays_and_why() {
    let used = Used::new();
    used.write("/var/log/shop/x.log", b"\x01\0\x02");
    used.write("/var/log/shop/y.log.1", b"\x01\0\x02");
    used.write("/var/log/shop/z.log", "a line\n");
    fs::hard_link(used.path("/var/log/shop/z.log"), used.path("/opt/z")).unwrap();
    symlink("/dev/null", used.path("/root/.python_history")).unwrap();
    let kept = Seal { keep: vec!["/var/log/syslog*".into(), "/home".into()], ..Seal::default() };
    let site = Site::new(&used.machine, &kept).unwrap();
    let plan = Plan::new(&site, &kept, Scope::Whole).unwrap();
    let left: Vec<String> =
        plan.left.iter().map(|left| format!("{}: {}", left.path.display(), left.why)).collect();
    for line in [
        "/var/log/shop/x.log: called like a log, but no text",
        "/var/log/shop/y.log.1: called like a log, but no text",
        "/var/log/shop/z.log: the file has other names, too (hard links)",
        "/var/log/shop/state.db: not known as a log",
        "/root/.python_history: it is a symbolic link, or is reached by one",
        "/var/log/syslog: the recipe keeps it",
        "/home/admin/.bash_history: the recipe keeps it",
    ] {
        assert!(left.iter().any(|left| left == line), "{line}\n{left:#?}");
    }
    for target in &plan.targets {
        let path = target.path.to_str().unwrap();
        assert!(left.iter().all(|left| !left.starts_with(&format!("{path}: "))), "{path}");
    }
}
