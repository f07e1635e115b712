//! Disks: a frozen one is a layer, and machines boot from it.

use std::{fs, os::unix::fs::MetadataExt as _};

use ovenbird_local::machine::{Layer, MachineConfig};

use crate::{
    boot::refused,
    guest::{Guest, Instance},
    lab::{Lab, PATIENCE, snapshot_id},
};

const RUNS: &str = "var/tmp/runs";

pub fn an_image_boots_whether_sealed_or_not(lab: &Lab) {
    let mut first = lab.instance(vec![Layer::Base]);
    first.user_data = Some(b"#!/bin/sh\necho first >> /var/tmp/runs\n".to_vec());
    let mut guest = lab.start(&first);
    guest.online();
    guest.sh("cloud-init status --wait >&2");
    guest
        .sh("echo baked > /opt/artifact; rm /etc/motd; rm -r /usr/share/doc/curl; mkdir /usr/share/doc/curl");
    guest.stop();
    let snapshot = snapshot_id();
    lab.disks.freeze(&first.id, &snapshot).expect("it freezes");
    let layers = vec![Layer::Base, Layer::Snapshot(snapshot.clone())];

    // Another instance has what the first one made, and runs user data of its own, though cloud-init has run on its
    // disk before.
    let mut second = lab.instance(layers.clone());
    second.user_data = Some(b"#!/bin/sh\necho second >> /var/tmp/runs\n".to_vec());
    let mut guest = lab.start(&second);
    guest.online();
    guest.sh("cloud-init status --wait >&2");
    assert_eq!(guest.sh("cat /opt/artifact; ls /usr/share/doc/curl; [ ! -e /etc/motd ]"), "baked");
    assert_eq!(fs::read_to_string(guest.path(RUNS)).expect("its file"), "first\nsecond\n");
    drop(guest);

    // The frozen instance itself starts again, on the layer that was its disk, and doesn't run its user data twice.
    let mut guest = lab.start(&Instance { layers, ..first });
    guest.online();
    guest.sh("cloud-init status --wait >&2");
    assert_eq!(guest.sh("cat /opt/artifact /var/tmp/runs"), "baked\nfirst");
    guest.sh("echo changed > /opt/artifact");
    let frozen = fs::read_to_string(lab.disks.snapshot(&snapshot).join("opt/artifact"));
    assert_eq!(frozen.expect("the layer's file"), "baked\n", "a machine wrote into a snapshot");
}

/// On disk, owners are what they are in any Debian: no range of the host's ids is in an image.
pub fn an_image_boots_with_other_ids_than_its_maker_s(lab: &Lab) {
    let first = lab.instance(vec![Layer::Base]);
    let mut guest = lab.start(&first);
    guest.online();
    let maker = guest.ids();
    // A file of a user's, a program with the setuid bit, and one with a capability of its own.
    guest
        .sh("echo data > /opt/data; chown daemon:mail /opt/data; cp /usr/bin/id /opt/id; chmod 4755 /opt/id");
    let capability = "import os, struct; value = struct.pack(\"<5I\", 0x02000001, 1 << 13, 0, 0, 0)";
    guest.sh(&format!("cp /bin/true /opt/raw; python3 -c '{capability}; os.setxattr(\"/opt/raw\", \"security.capability\", value)'"));
    guest.sh("rm /etc/motd");
    guest.stop();
    let snapshot = snapshot_id();
    lab.disks.freeze(&first.id, &snapshot).expect("it freezes");
    let frozen = lab.disks.snapshot(&snapshot);
    let owner = |path: &str| {
        let about = fs::symlink_metadata(frozen.join(path)).expect(path);
        (about.uid(), about.gid())
    };
    assert_eq!(owner("opt/data"), (1, 8));
    for path in ["", "opt", "opt/id", "etc/motd"] {
        assert_eq!(owner(path), (0, 0), "{path}");
    }

    let _others = lab.occupy(&maker);
    let mut guest = lab.start(&lab.instance(vec![Layer::Base, Layer::Snapshot(snapshot)]));
    guest.online();
    assert_ne!(guest.ids(), maker);
    assert_eq!(guest.sh("stat -c %U:%G:%a /opt/data /opt/id"), "daemon:mail:644\nroot:root:4755");
    assert_eq!(guest.sh("setpriv --reuid=daemon --clear-groups /opt/id -u"), "0");
    let read = format!("{capability}; print(os.getxattr(\"/opt/raw\", \"security.capability\") == value)");
    assert_eq!(guest.sh(&format!("python3 -c '{read}'")), "True");
    guest.sh("echo more >> /opt/data; [ ! -e /etc/motd ]");
}

/// Images that were made before there were user namespaces, and hosts that have none.
pub fn an_image_made_without_a_user_namespace_boots_in_one(lab: &Lab) {
    let first = lab.instance(vec![Layer::Base]);
    let config = MachineConfig { user_namespace: false, ..lab.config(&first) };
    let mut guest = Guest::start(lab.runtime.handle(), config, &first).expect("it starts");
    guest.online();
    assert!(guest.sh("cat /proc/self/uid_map").ends_with(" 4294967295"), "it has a user namespace");
    guest.sh(
        "echo data > /opt/data; chown daemon /opt/data; rm -r /usr/share/doc/curl; mkdir /usr/share/doc/curl",
    );
    assert_ne!(
        guest.exec("echo 0 > /proc/sys/kernel/panic", PATIENCE).exit,
        0,
        "it sets up the host's kernel"
    );
    guest.stop();
    let snapshot = snapshot_id();
    lab.disks.freeze(&first.id, &snapshot).expect("it freezes");
    let mut guest = lab.start(&lab.instance(vec![Layer::Base, Layer::Snapshot(snapshot)]));
    guest.online();
    assert_eq!(guest.sh("stat -c %U /opt/data; ls /usr/share/doc/curl"), "daemon");
    guest.sh("echo more >> /opt/data; echo here > /usr/share/doc/curl/here");
}

pub fn a_hundred_and_twenty_layers_boot(lab: &Lab) {
    let mut layers = vec![Layer::Base];
    for number in 0..120 {
        let snapshot = snapshot_id();
        let folder = lab.disks.snapshot(&snapshot).join("opt/layers");
        fs::create_dir_all(&folder).expect("a layer");
        fs::write(folder.join(number.to_string()), "").expect("a file");
        layers.push(Layer::Snapshot(snapshot));
    }
    let mut guest = lab.start(&lab.instance(layers));
    guest.online();
    assert_eq!(guest.sh("ls /opt/layers | wc -l"), "120");
}

pub fn more_layers_than_overlayfs_takes_are_refused(lab: &Lab) {
    let snapshots = std::iter::repeat_with(|| Layer::Snapshot(snapshot_id())).take(300);
    let instance = lab.instance([Layer::Base].into_iter().chain(snapshots).collect());
    let error = refused(lab, lab.config(&instance), &instance);
    assert!(error.contains("301 layers"), "{error}");
}
