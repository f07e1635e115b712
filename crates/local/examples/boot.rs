//! Boots one machine over a base, runs a command in it, freezes it and boots a second one.

use std::{path::PathBuf, time::{Duration, Instant}};
use ovenbird_core::id::{InstanceId, SnapshotId};
use ovenbird_local::{base, machine::{self, Addresses, Disks, Identity, Layer, Machine, MachineConfig, Notice}, network::Network};
use tokio::sync::mpsc;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("machine-init") => { machine::init::main(); }
        Some("cloud-net") => { ovenbird_local::network::main(); }
        _ => tokio::runtime::Runtime::new().unwrap().block_on(run()),
    }
}

async fn run() {
    let home = PathBuf::from("/var/tmp/ovm");
    let _ = std::fs::remove_dir_all(home.join("instances"));
    let _ = std::fs::remove_dir_all(home.join("snapshots"));
    let t = Instant::now();
    let base = base::make(&home.join("base")).await.unwrap();
    println!("base {:?}", t.elapsed());
    let network = Network::start().await.unwrap();
    println!("network {:?}", t.elapsed());
    let disks = Disks::new(&home, &base);
    let mut addresses = Addresses::default();
    let (tx, mut rx) = mpsc::unbounded_channel();
    let boot = |n: u8, layers: Vec<Layer>, address| {
        let instance = InstanceId::parse(&format!("i-0123456789abcde{n:02x}")).unwrap();
        let disk = disks.prepare(&instance).unwrap();
        MachineConfig { instance: instance.clone(), disk, lower: disks.lower(&layers).unwrap(),
            cgroup: PathBuf::from("/sys/fs/cgroup/unified/ovm").join(instance.as_str()), address, cloud_pid: network.pid().unwrap(), endpoint_port: 4599,
            identity: Identity { instance: instance.to_string(), image: "ami-01234567".into(), instance_type: "t3.micro".into(), zone: "us-east-1a".into(), region: "us-east-1".into(), account: "123456789012".into(), address, hostname: "ip-10-99-0-2".into(), profile: None,
              user_data: Some(b"#!/bin/sh\necho hello > /var/tmp/ud\n".to_vec()), tokens_required: true } }
    };
    let c = boot(1, vec![Layer::Base], addresses.take().unwrap());
    let (id, a) = (c.instance.clone(), c.address);
    let t = Instant::now();
    let m = Machine::start(c, tx.clone()).await.unwrap();
    println!("started {:?}", t.elapsed());
    while let Some(n) = rx.recv().await { println!("{n:?} {:?}", t.elapsed()); if matches!(n, Notice::Online(_) | Notice::Ended(_)) { break } }
    let pid = m.init_pid().unwrap();
    loop { let o = machine::exec(pid, "cat /var/tmp/ud", Duration::from_secs(5)).await.unwrap(); if o.exit == 0 { println!("user data done {:?} {o:?}", t.elapsed()); break } if t.elapsed().as_secs() > 25 { println!("no user data {o:?}"); break } tokio::time::sleep(Duration::from_millis(50)).await; }
    for s in ["grep -iE 'url_helper|Ec2|warn' /var/log/cloud-init.log | head -60; curl -sv -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token; curl -sv http://169.254.169.254/2009-04-04/meta-data/", "systemctl is-system-running; systemctl --failed --no-legend; systemd-analyze blame | head -12; systemd-analyze critical-chain | head -20", "cat /proc/1/status | grep Cap; ls /dev; ip -br addr; cat /etc/resolv.conf; getent hosts deb.debian.org; tail -5 /var/log/cloud-init.log", "apt-get update 2>&1 | tail -3"] { let o = machine::exec(pid, s, Duration::from_secs(20)).await.unwrap(); println!("{}{}", o.stdout, o.stderr); }
    println!("console: {}", m.console().lines().rev().take(12).collect::<Vec<_>>().join("\n"));
    let t = Instant::now();
    m.power_off(Duration::from_secs(10)).await;
    while let Some(n) = rx.recv().await { println!("{n:?} {:?}", t.elapsed()); if matches!(n, Notice::Ended(_)) { break } }
    drop(m);
    let snap = SnapshotId::parse("snap-0123456789abcdef0").unwrap();
    let t = Instant::now();
    disks.freeze(&id, &snap).unwrap();
    println!("freeze {:?}", t.elapsed());
    let c = boot(2, vec![Layer::Base, Layer::Snapshot(snap)], addresses.take().unwrap());
    let t = Instant::now();
    let m = Machine::start(c, tx.clone()).await.unwrap();
    while let Some(n) = rx.recv().await { println!("{n:?} {:?}", t.elapsed()); if matches!(n, Notice::Online(_) | Notice::Ended(_)) { break } }
    println!("{:?}", machine::exec(m.init_pid().unwrap(), "cat /var/tmp/ud; hostname; cat /proc/uptime", Duration::from_secs(5)).await.unwrap());
    drop(m);
    addresses.give_back(a);
}
