//! From start to end: boot, user data, power off.

use std::{fs, time::Duration};

use ovenbird_local::machine::Layer;

use crate::lab::{Guest, Lab, PATIENCE, until};

pub fn user_data_is_done_within_four_seconds(lab: &Lab) {
    let mut instance = lab.instance(vec![Layer::Base]);
    instance.user_data = Some(b"#!/bin/sh\nhostname > /var/tmp/done\n".to_vec());
    let mut guest = lab.start(&instance);
    guest.online();
    let online = guest.started.elapsed();
    let done = guest.file("var/tmp/done");
    println!("figure: start to online {online:.2?}, to user data done {done:.2?}");
    assert_eq!(guest.sh("cat /var/tmp/done"), instance_host(&guest));
    assert!(guest.machine.console().contains("systemd"), "{}", guest.machine.console());
    assert!(done < Duration::from_secs(4), "{done:?}");
}

fn instance_host(guest: &Guest<'_>) -> String {
    format!("ip-{}", guest.instance.address.to_string().replace('.', "-"))
}

/// The kernel sends the signal of a parent's death when the thread ends that made the child.
pub fn a_machine_outlives_the_thread_that_started_it(lab: &Lab) {
    let instance = lab.instance(vec![Layer::Base]);
    let mut guest = std::thread::scope(|scope| {
        scope.spawn(|| lab.start(&instance)).join().expect("the thread that starts it")
    });
    guest.online();
    assert_eq!(guest.sh("echo alive"), "alive");
}

pub fn a_machine_cannot_change_the_host(lab: &Lab) {
    let settings = ["kernel/pid_max", "kernel/sysrq", "fs/nr_open", "fs/file-max", "vm/swappiness"];
    let read = || settings.map(|name| fs::read_to_string(format!("/proc/sys/{name}")).expect("a setting"));
    let before = read();
    let guest = lab.guest();
    assert_eq!(read(), before, "booting changed settings of the host's kernel");
    for setting in settings {
        let value = guest.sh(&format!("cat /proc/sys/{setting}"));
        let outcome = guest.exec(&format!("echo {value} > /proc/sys/{setting}"), PATIENCE);
        assert_ne!(outcome.exit, 0, "{setting} can be written");
    }
    // Its network is its own.
    guest.sh("echo 1 > /proc/sys/net/ipv4/ip_forward");
    assert_ne!(guest.exec("echo s > /proc/sysrq-trigger", PATIENCE).exit, 0, "it reaches the host's SysRq");
    assert_ne!(guest.exec("mknod /var/tmp/disk b 254 0", PATIENCE).exit, 0, "it makes devices");
    let dangerous: u64 = [16, 17, 22, 25, 27].iter().map(|capability| 1 << capability).sum();
    for process in ["self", "1"] {
        let script = format!("sed -n 's/^Cap[EPB].*:\\t//p' /proc/{process}/status");
        let sets = guest.sh(&script);
        assert_eq!(sets.lines().count(), 3, "{sets}");
        for set in sets.lines() {
            let set = u64::from_str_radix(set, 16).expect("a set of capabilities");
            assert_eq!(set & dangerous, 0, "process {process} has {set:x}");
        }
    }
}

pub fn a_start_that_fails_leaves_nothing(lab: &Lab) {
    let instance = lab.instance(vec![Layer::Base]);
    let mut config = lab.config(&instance).expect("a configuration");
    let cgroup = config.cgroup.clone();
    config.cloud_pid = u32::MAX >> 1;
    let (notice, _notices) = tokio::sync::mpsc::unbounded_channel();
    let error = lab.runtime.block_on(ovenbird_local::machine::Machine::start(config, notice));
    let error = error.expect_err("there is no such network").to_string();
    assert!(error.contains("ip link add"), "{error}");
    until("its cgroup goes", PATIENCE, || !cgroup.exists());
}

pub fn power_off_from_inside_ends_it(lab: &Lab) {
    let mut guest = lab.guest();
    let start = std::time::Instant::now();
    guest.exec("systemctl poweroff", PATIENCE);
    guest.ended();
    println!("figure: poweroff to end {:.2?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

pub fn power_off_from_outside_keeps_the_disk(lab: &Lab) {
    let instance = lab.instance(vec![Layer::Base]);
    for round in 0..3 {
        let mut guest = lab.start(&instance);
        // Told to stop at any moment of its boot, it stops.
        if round != 1 {
            guest.online();
            guest.sh(&format!("echo {round} >> /var/tmp/rounds"));
        }
        let took = guest.stop();
        println!(
            "figure: power_off of {} {took:.2?}",
            if round == 1 { "a booting machine" } else { "a machine" }
        );
        assert!(took < Duration::from_secs(8), "{took:?}");
    }
    let kept = fs::read_to_string(lab.disks.instance(&instance.id).join("upper/var/tmp/rounds"));
    assert_eq!(kept.expect("its file"), "0\n2\n");
}
