//! The seal on a machine in a folder: what goes, what stays, and how it looks afterwards.

mod list;
mod resists;
mod traps;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use ovenbird_core::domain::plan::FOLDER;

use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef";

/// What a machine that was worked on has, and must not be in an image.
const GOES: &[&str] = &[
    "/var/lib/ovenbird/plan.json",
    "/var/lib/ovenbird/ovenbird-runner",
    "/var/lib/ovenbird/files/a/b",
    "/var/lib/cloud/instances/i-1/user-data.txt",
    "/var/lib/cloud/data/instance-id",
    "/var/lib/cloud/sem/config_scripts_per_once.once",
    "/etc/ssh/ssh_host_ed25519_key",
    "/etc/ssh/ssh_host_ed25519_key.pub",
    "/root/.bash_history",
    "/home/admin/.bash_history",
    "/home/admin/.mysql_history",
    "/var/lib/postgresql/.psql_history",
    "/tmp/x",
    "/tmp/folder/y",
    "/tmp/systemd-private-1-shop.service-2/tmp/z",
    "/var/tmp/x",
    "/var/log/journal/0123456789abcdef0123456789abcdef/system.journal",
    "/var/log/journal/remote/remote-shop.journal",
    "/var/log/syslog.1",
    "/var/log/syslog.2.gz",
    "/var/log/shop/app.log-20260131",
    "/var/lib/amazon/ssm/i-1/document/state",
    "/var/lib/amazon/ssm/Vault/Store/RegistrationKey",
    "/var/lib/ecs/data/agent.db",
    "/var/lib/NetworkManager/secret_key",
    "/var/lib/NetworkManager/internal-1-eth0.lease",
    "/var/lib/dhcp/dhclient.eth0.leases",
    "/var/lib/dhclient/dhclient--eth0.lease",
    "/var/lib/dhcpcd/duid",
    "/var/lib/chrony/chrony.drift",
    "/var/lib/snapd/device/private-keys-v1/key",
    "/etc/nvme/hostnqn",
    "/etc/nvme/hostid",
    "/var/lib/systemd/random-seed",
    "/var/lib/systemd/credential.secret",
    "/var/lib/systemd/coredump/core.java.0.zst",
    "/var/crash/_usr_bin_java.0.crash",
    "/var/lib/dbus/machine-id",
    "/etc/udev/rules.d/70-persistent-net.rules",
    "/etc/shadow-",
    "/var/cache/apt/archives/nginx_1_amd64.deb",
    "/opt/aws/amazon-cloudwatch-agent/logs/state/_var_log_syslog",
    "/etc/docker/key.json",
];

/// What stays as it is.
const STAYS: &[&str] = &[
    "/etc/ssh/sshd_config",
    "/opt/app.jar",
    "/var/lib/cloud/scripts/per-boot/10-mount.sh",
    "/var/lib/cloud/scripts/per-instance/20.sh",
    "/var/lib/cloud/seed/nocloud/user-data",
    "/var/log/ledger/bin.000001",
    "/var/log/mysql/mysql-bin.index",
    "/var/log/kafka/meta.properties",
    "/var/log/shop/state.db",
    "/var/lib/NetworkManager/NetworkManager-intern.conf",
    "/var/lib/dhcp/dhcpd.leases",
    "/root/.ssh/known_hosts",
    "/root/.bashrc",
    "/var/lib/apt/lists/debian_InRelease",
    "/var/cache/apt/archives/lock",
    "/etc/docker/daemon.json",
    "/var/lib/snapd/snaps/core22_1.snap",
];

/// What stays, and is empty.
const EMPTY: &[&str] =
    &["/etc/machine-id", "/var/log/syslog", "/var/log/shop/app.log", "/var/log/wtmp", "/var/mail/root"];

struct Used {
    _root: tempfile::TempDir,
    machine: Machine,
}

impl Used {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let used = Self { machine: Machine::new(root.path().to_str().unwrap()), _root: root };
        used.write(
            "/etc/passwd",
            "root:x:0:0::/root:/bin/sh\npostgres:x:1:1::/var/lib/postgresql:/bin/sh\nx:x:2:2::/:/bin/sh\n",
        );
        used.again();
        used
    }

    fn again(&self) {
        for path in GOES.iter().chain(STAYS).chain(EMPTY) {
            self.write(path, "secret\n");
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.machine.path(path)
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    fn seal(&self) -> Result<()> {
        seal(&self.machine, &Seal::default(), Then::PowerOff)
    }

    /// Everything: its mode, owner and content.
    fn tree(&self) -> BTreeMap<PathBuf, (u32, u32, u32, Vec<u8>)> {
        let mut tree = BTreeMap::new();
        tree_of(&self.path("/"), &mut tree);
        tree.remove(&self.path(LOCK));
        tree
    }

    #[track_caller]
    fn assert_sealed(&self) {
        for path in GOES {
            assert!(!self.path(path).exists(), "{path} is still there");
        }
        for path in STAYS {
            assert_eq!(self.read(path), "secret\n", "{path}");
        }
        for path in EMPTY {
            assert_eq!(self.read(path), "", "{path}");
        }
    }
}

/// Does what a plan says, as far as it is given; what resisted.
fn work(site: &Site<'_>, targets: &[plan::Target]) -> Vec<hands::Stubborn> {
    let mut hands = Hands::working(site, true);
    for target in targets {
        hands.do_it(target);
    }
    hands.stubborn
}

fn tree_of(folder: &Path, tree: &mut BTreeMap<PathBuf, (u32, u32, u32, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let seen = fs::symlink_metadata(&path).unwrap();
        let content = if seen.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        tree.insert(path.clone(), (seen.mode(), seen.uid(), seen.gid(), content));
        if seen.is_dir() {
            tree_of(&path, tree);
        }
    }
}

#[test]
fn nothing_of_ours_and_nothing_of_the_machine_s_own_stays() {
    let used = Used::new();
    used.seal().unwrap();
    used.assert_sealed();
    // A second delivery finds nothing to do.
    run(&used.machine, Then::PowerOff).unwrap();
}

#[test]
fn folders_stay_as_their_packages_made_them() {
    let used = Used::new();
    let folders = [
        ("/var/log/journal", 0o2755),
        ("/var/lib/cloud", 0o755),
        ("/var/lib/amazon/ssm", 0o700),
        ("/var/lib/dhcp", 0o750),
        ("/var/lib/chrony", 0o710),
        ("/var/lib/systemd/coredump", 0o755),
        ("/var/cache/apt/archives/partial", 0o700),
        ("/var/lib/snapd/device/private-keys-v1", 0o700),
        ("/tmp", 0o1777),
        ("/var/tmp", 0o1777),
        ("/var/log/shop", 0o770),
        ("/tmp/systemd-private-1-shop.service-2/tmp", 0o1777),
    ];
    for (folder, mode) in folders {
        fs::create_dir_all(used.path(folder)).unwrap();
        fs::set_permissions(used.path(folder), fs::Permissions::from_mode(mode)).unwrap();
    }
    used.seal().unwrap();
    for (folder, mode) in folders {
        assert_eq!(fs::metadata(used.path(folder)).unwrap().mode() & 0o7777, mode, "{folder}");
    }
}

#[test]
fn sealing_twice_is_sealing_once_and_so_is_one_that_was_killed() {
    let whole = Used::new();
    whole.seal().unwrap();
    let relative = |used: &Used| -> BTreeMap<_, _> {
        let root = used.path("/");
        used.tree()
            .into_iter()
            .map(|(path, seen)| (path.strip_prefix(&root).unwrap().to_owned(), seen))
            .collect()
    };
    let sealed = relative(&whole);
    whole.seal().unwrap();
    assert_eq!(relative(&whole), sealed);
    let count = {
        let used = Used::new();
        let site = Site::new(&used.machine, &Seal::default()).unwrap();
        Plan::new(&site, &Seal::default(), Scope::Whole).unwrap().targets.len()
    };
    assert!(count > 40, "{count}");
    for killed_after in (0..count).step_by(5) {
        let used = Used::new();
        let site = Site::new(&used.machine, &Seal::default()).unwrap();
        let plan = Plan::new(&site, &Seal::default(), Scope::Whole).unwrap();
        work(&site, &plan.targets[..killed_after]);
        used.seal().unwrap();
        assert_eq!(relative(&used), sealed, "killed after {killed_after}");
    }
}

#[test]
fn the_program_goes_last_and_the_plan_just_before_it() {
    let used = Used::new();
    let site = Site::new(&used.machine, &Seal::default()).unwrap();
    let mut hands = Hands::working(&site, true);
    let own = |name: &str| used.machine.own(name).exists();
    let (starts, folder): (Vec<_>, Vec<_>) =
        Plan::ours().into_iter().partition(|target| !target.path.starts_with(FOLDER));
    assert_eq!(starts.len(), 5, "systemd's, cron's and OpenRC's");
    for (target, left) in folder.iter().zip([(true, true), (false, true), (false, false)]) {
        hands.do_it(target);
        assert_eq!((own("plan.json"), own("ovenbird-runner")), left);
        assert!(!own("files"));
    }
    // A seal that was killed between the two has no place for its report any more.
    used.write("/var/lib/ovenbird/ovenbird-runner", "");
    let error = run(&used.machine, Then::PowerOff).unwrap_err();
    assert!(error.to_string().contains("interrupted"), "{error}");
    assert!(!own(""));
}

#[test]
fn a_recipe_keeps_and_removes_what_it_names() {
    let used = Used::new();
    for path in ["/opt/shop/build/a/b", "/opt/shop/run", "/srv/a/cache/x", "/srv/b/cache/x", "/srv/b/data"] {
        used.write(path, "x");
    }
    symlink("/opt/shop/run", used.path("/opt/shop/link")).unwrap();
    used.write("/tmp/kept/deep/file", "x");
    used.write("/tmp/kept/deep/other", "x");
    let wanted = Seal {
        keep: ["/var/log/shop/**", "/tmp/kept/deep/file", "/root/.bash_history", "/var/lib/ovenbird"]
            .map(str::to_owned)
            .into(),
        remove: ["/var/lib", "/opt/shop/build", "/opt/shop/link", "/srv/*/cache", "/var/log/**/bin.*"]
            .map(str::to_owned)
            .into(),
    };
    seal(&used.machine, &wanted, Then::PowerOff).unwrap();
    for (path, there) in [
        ("/var/log/shop/app.log-20260131", true),
        ("/tmp/kept/deep/file", true),
        ("/tmp/kept/deep/other", false),
        ("/root/.bash_history", true),
        ("/home/admin/.bash_history", false),
        ("/opt/shop/build", false),
        ("/opt/shop/run", true),
        ("/srv/a/cache", false),
        ("/srv/b/cache", false),
        ("/srv/b/data", true),
        // Ovenbird's own folder is in it.
        ("/var/lib/cloud/scripts/per-boot/10-mount.sh", true),
        ("/var/log/ledger/bin.000001", false),
        // The plan has URLs that are keys: it goes whatever the recipe says.
        ("/var/lib/ovenbird", false),
    ] {
        assert_eq!(used.path(path).exists(), there, "{path}");
    }
    assert_eq!(used.read("/var/log/shop/app.log"), "secret\n");
    assert!(!used.path("/opt/shop/link").is_symlink());
}

#[test]
fn what_is_only_partly_the_machine_s_own_is_changed() {
    let used = Used::new();
    let (builder, other) = (format!("AAAA{}", "b".repeat(64)), format!("AAAA{}", "o".repeat(64)));
    used.write(
        "/run/cloud-init/instance-data.json",
        format!(r#"{{"v1": {{"public_ssh_keys": ["ssh-rsa {builder} x"]}}}}"#),
    );
    let keys =
        used.write("/home/admin/.ssh/authorized_keys", format!("ssh-rsa {other}\nssh-rsa {builder}\n"));
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::chown(&keys, Some(1234), Some(1235)).unwrap();
    used.write(
        "/var/lib/snapd/state.json",
        r#"{"data":{"auth":{"device":{"brand":"generic","serial":"s"}},"snaps":{"a":1}}}"#,
    );
    used.write("/etc/iscsi/initiatorname.iscsi", "InitiatorName=iqn.1993-08.org.debian:01:1\n");
    used.write("/usr/lib/open-iscsi/startup-checks.sh", "");
    used.seal().unwrap();
    assert_eq!(used.read("/home/admin/.ssh/authorized_keys"), format!("ssh-rsa {other}\n"));
    let seen = fs::metadata(&keys).unwrap();
    assert_eq!((seen.mode() & 0o7777, seen.uid(), seen.gid()), (0o640, 1234, 1235));
    let state: serde_json::Value = serde_json::from_str(&used.read("/var/lib/snapd/state.json")).unwrap();
    assert_eq!(state, serde_json::json!({"data":{"auth":{"device":{"brand":"generic"}},"snaps":{"a":1}}}));
    assert_eq!(used.read("/etc/iscsi/initiatorname.iscsi"), "GenerateName=yes\n");
    // Nothing is left beside them.
    for folder in ["/home/admin/.ssh", "/var/lib/snapd", "/etc/iscsi"] {
        let parts = fs::read_dir(used.path(folder)).unwrap().flatten();
        assert!(
            parts.into_iter().all(|entry| !entry.file_name().to_string_lossy().contains("part")),
            "{folder}"
        );
    }
}

#[test]
fn a_dry_run_tells_and_changes_nothing() {
    let used = Used::new();
    for number in 0..20 {
        used.write(&format!("/var/log/shop/part.{number}.gz"), "x");
    }
    used.write("/var/lib/ovenbird/plan.json", "");
    let before = used.tree();
    let table = table::dry_run(&used.machine).unwrap();
    assert_eq!(used.tree(), before);
    for line in [
        "remove  /etc/ssh/ssh_host_ed25519_key ",
        "empty   /etc/machine-id ",
        "clear   /tmp ",
        "remove  /var/log/shop/… (21 names) ",
        "  /var/log/ledger/bin.000001  (not known as a log)",
        "Nothing was changed.",
        "  SSH host keys: whoever has one can pose as any instance",
    ] {
        assert!(table.contains(line), "{line}\n{table}");
    }
    let lines: Vec<&str> = table.lines().take_while(|line| !line.is_empty()).collect();
    assert!(lines.len() > 30 && lines[0].starts_with("DOES    PATH "), "{table}");
    used.seal().unwrap();
    let table = table::dry_run(&used.machine).unwrap();
    assert!(table.starts_with("Nothing here is this machine's own"), "{table}");
}
