//! From start to end: boot, user data, power off, and starts that fail.

use std::{fs, path::Path, process::Command};

use ovenbird_local::machine::{Layer, MachineConfig, probe};
use ovenbird_sim::AuthorizedKey;

use crate::{
    guest::{Guest, Instance},
    lab::{Lab, PATIENCE, snapshot_id, until},
};

pub fn user_data_runs(lab: &Lab) {
    let guest = lab.lenient();
    guest.file("var/tmp/done");
    let host = format!("ip-{}", guest.instance.address.to_string().replace('.', "-"));
    until("its host name is written", || guest.sh("cat /var/tmp/done") == host);
    assert!(guest.machine.console().contains("systemd"), "{}", guest.machine.console());
}

/// The kernel sends the signal of a parent's death when the thread ends that made the child.
pub fn a_machine_outlives_the_thread_that_started_it(lab: &Lab) {
    assert_eq!(lab.strict().sh("echo alive"), "alive");
}

pub fn a_machine_cannot_change_the_host(lab: &Lab) {
    let guest = lab.strict();
    // Not kernel/pid_max: since Linux 6.14 each process namespace has one of its own.
    for setting in ["kernel/panic", "fs/file-max", "vm/swappiness"] {
        let value = fs::read_to_string(format!("/proc/sys/{setting}")).expect("a setting");
        let outcome = guest.exec(&format!("echo {} > /proc/sys/{setting}", value.trim()), PATIENCE);
        assert_ne!(outcome.exit, 0, "{setting} can be written");
    }
    // Its network is its own.
    guest.sh("echo 1 > /proc/sys/net/ipv4/ip_forward");
    assert_ne!(guest.exec("echo s > /proc/sysrq-trigger", PATIENCE).exit, 0, "it reaches the host's SysRq");
    assert_ne!(guest.exec("mknod /var/tmp/disk b 254 0", PATIENCE).exit, 0, "it makes devices");
}

/// As on Debian's own image for clouds.
pub fn who_has_the_launch_s_key_logs_in_and_may_become_root(lab: &Lab) {
    let key = lab.home().join("key");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
    assert!(made.expect("ssh-keygen").success());
    let line = fs::read_to_string(key.with_extension("pub")).expect("its public half").trim().to_owned();
    let mut instance = lab.instance(vec![Layer::Base]);
    instance.key = Some(AuthorizedKey { name: "mine".into(), line });
    let mut guest = lab.start(&instance);
    guest.online();
    guest.sh("cloud-init status --wait >&2");
    guest.sh(&format!(
        "umask 077; cat > /run/key <<'END'\n{}\nEND",
        fs::read_to_string(&key).expect("its private half").trim()
    ));
    let ssh = |user: &str| {
        format!(
            "ssh -i /run/key -o BatchMode=yes -o StrictHostKeyChecking=no {user}@127.0.0.1 sudo -n id -un"
        )
    };
    assert_eq!(guest.sh(&ssh("debian")), "root");
    assert_ne!(guest.exec(&ssh("daemon"), PATIENCE).exit, 0);
    // What Ansible's `become_user` does; root is in the sudoers file that came with sudo.
    assert_eq!(
        guest.sh("sudo -n -u daemon id -un; python3 -c 'print(1)'; gpg --version >/dev/null"),
        "daemon\n1"
    );
    // Each machine has a key of its own.
    let other = lab.strict().sh("cloud-init status --wait >&2; cat /etc/ssh/ssh_host_ed25519_key.pub");
    assert_ne!(guest.sh("cat /etc/ssh/ssh_host_ed25519_key.pub"), other);
}

/// Not every file system can show its files with other owners: then machines run without, and the operator is told.
pub fn a_home_that_cannot_map_owners_is_told(lab: &Lab) {
    let missing = |home: &Path| lab.runtime.block_on(probe::missing(home)).expect("it can be tried");
    assert_eq!(missing(lab.home()), None);
    let folder = lab.home().join("ramfs");
    fs::create_dir_all(&folder).expect("a folder");
    let mounted = Command::new("mount").args(["-t", "ramfs", "ramfs"]).arg(&folder).status().expect("mount");
    assert!(mounted.success());
    let why = missing(&folder);
    assert!(Command::new("umount").arg(&folder).status().expect("umount").success());
    let why = why.expect("ramfs maps no owners");
    assert!(why.contains("map the owners of") && why.contains("Invalid argument"), "{why}");
    assert!(probe::weaker(&why).contains("root in a machine is root of this host"));
}

pub fn a_start_without_a_network_leaves_nothing(lab: &Lab) {
    let instance = lab.instance(vec![Layer::Base]);
    let mut config = lab.config(&instance);
    config.cloud_pid = u32::MAX >> 1;
    let error = refused(lab, config, &instance);
    assert!(error.contains("lay its cable"), "{error}");
}

pub fn a_start_without_a_layer_leaves_nothing(lab: &Lab) {
    // Its network is there already when its disk can't be mounted.
    let instance = lab.instance(vec![Layer::Base, Layer::Snapshot(snapshot_id())]);
    let error = refused(lab, lab.config(&instance), &instance);
    assert!(error.contains("mount overlay"), "{error}");
}

/// The reason why a start fails; nothing of it may be left.
#[track_caller]
pub fn refused(lab: &Lab, config: MachineConfig, instance: &Instance) -> String {
    let cgroup = config.cgroup.clone();
    let started = Guest::start(lab.runtime.handle(), config, instance);
    let error = started.err().expect("it can't be started").to_string();
    assert!(!cgroup.exists(), "its cgroup is left");
    let id = instance.id.as_str();
    let cable = format!("v{}-", &id[id.len() - 8..]);
    let network = format!("--net=/proc/{}/ns/net", lab.network.pid().expect("the network"));
    until("its cable goes", || {
        let links = std::process::Command::new("nsenter").args([&network, "ip", "link"]).output();
        let links = String::from_utf8(links.expect("ip").stdout).expect("text");
        assert!(links.contains("br0"), "{links}");
        !links.contains(&cable)
    });
    let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
    assert!(!mounts.contains(id), "{mounts}");
    error
}

pub fn a_machine_stops_at_any_moment_and_keeps_its_disk(lab: &Lab) {
    let instance = lab.instance(vec![Layer::Base]);
    let mut guest = lab.start(&instance);
    guest.online();
    guest.sh("echo 1 >> /var/tmp/rounds; sync /var/tmp/rounds");
    guest.stop();
    // Started at once again, and stopped while it boots.
    let mut guest = lab.start(&instance);
    guest.stop();
    let mut guest = lab.start(&instance);
    guest.online();
    guest.sh("echo 3 >> /var/tmp/rounds");
    // From inside.
    guest.exec("systemctl poweroff", PATIENCE);
    guest.ended();
    assert_eq!(fs::read_to_string(guest.path("var/tmp/rounds")).expect("its file"), "1\n3\n");
}

/// Its ids are others at each start, and what it left in the tree of control groups is its last life's.
pub fn a_machine_starts_again_with_other_ids(lab: &Lab) {
    let instance = lab.instance(vec![Layer::Base]);
    let mut first = lab.start(&instance);
    first.online();
    let before = first.ids();
    first.stop();
    let _others = lab.occupy(&before);
    let mut again = lab.start(&instance);
    again.online();
    assert_ne!(again.ids(), before);
    // The machine of before is forgotten only now.
    drop(first);
    again.stop();
}

/// What the kernel says of a namespace's first process is all there is to tell the two by.
pub fn a_machine_that_calls_for_a_reboot_is_told_from_one_that_powers_off(lab: &Lab) {
    let instance = lab.instance(vec![Layer::Base]);
    let mut guest = lab.start(&instance);
    guest.online();
    guest.sh("echo here > /var/tmp/before");
    guest.exec("systemctl reboot", PATIENCE);
    guest.rebooted();
    let mut guest = lab.start(&instance);
    guest.online();
    assert_eq!(guest.sh("cat /var/tmp/before"), "here");
    guest.exec("systemctl poweroff", PATIENCE);
    guest.ended();
}
