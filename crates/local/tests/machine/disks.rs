//! Disks: a frozen one is a layer, and machines boot from it.

use std::{
    fs,
    time::{Duration, Instant},
};

use ovenbird_local::machine::Layer;

use crate::lab::{Lab, snapshot_id};

pub fn a_second_machine_boots_from_a_frozen_disk(lab: &Lab) {
    let instance = lab.instance(vec![Layer::Base]);
    let mut guest = lab.start(&instance);
    guest.online();
    guest.sh(
        "echo baked > /opt/artifact; rm /etc/motd; rm -r /usr/share/doc/curl; mkdir /usr/share/doc/curl; \
              head -c 100000000 /dev/urandom > /opt/big; cloud-init clean --machine-id --logs",
    );
    guest.stop();
    let snapshot = snapshot_id();
    let start = Instant::now();
    lab.disks.freeze(&instance.id, &snapshot).expect("it freezes");
    let took = start.elapsed();
    println!("figure: freeze of 100 MB {took:.2?}");
    assert!(took < Duration::from_millis(500), "{took:?}");

    let layers = vec![Layer::Base, Layer::Snapshot(snapshot.clone())];
    let mut second = lab.instance(layers.clone());
    second.user_data = Some(b"#!/bin/sh\ncp /opt/artifact /var/tmp/done\n".to_vec());
    let mut second = lab.start(&second);
    println!("figure: second machine's user data done {:.2?}", second.file("var/tmp/done"));
    second.online();
    assert_eq!(second.sh("cat /opt/artifact; ls /usr/share/doc/curl; [ ! -e /etc/motd ]"), "baked");

    // The frozen instance itself starts again, on the layer that was its disk.
    let again = lab.start(&crate::lab::Instance { layers, ..instance.clone() });
    let mut again = again;
    again.online();
    assert_eq!(again.sh("cat /opt/artifact"), "baked");
    again.sh("echo changed > /opt/artifact");
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
    let mut guest = lab.start(&lab.instance(layers.clone()));
    guest.online();
    assert_eq!(guest.sh("ls /opt/layers | wc -l"), "120");

    layers.extend(layers.clone());
    layers.extend(layers.clone());
    let error = lab.disks.lower(&layers).expect_err("that is too many").to_string();
    assert!(error.contains("484 layers"), "{error}");
}
