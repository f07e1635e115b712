//! Disks: a frozen one is a layer, and machines boot from it.

use std::fs;

use ovenbird_local::machine::Layer;

use crate::{
    boot::refused,
    guest::Instance,
    lab::{Lab, snapshot_id},
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
