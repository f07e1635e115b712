//! What a cloud leaves that was killed with all that could have cleaned up after it: it goes without a supervisor.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use ovenbird_local::{Options, ResetPlan, down, reset};

use crate::{
    cloud::{Cloud, groups, home, nothing_runs, processes},
    lab::{Lab, until},
};

/// A function that is at work for as long as it may be. Of what it starts nobody knows.
fn at_work() -> String {
    let seconds = seconds();
    format!(
        "#!/bin/sh
curl -s -o /dev/null http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next
env -i setsid sleep {seconds} </dev/null >/dev/null 2>&1 &
sleep {seconds}
"
    )
}

/// How long it sleeps, in seconds, by which this program's own are known.
fn seconds() -> u32 {
    1000 + std::process::id()
}

/// A cloud with a machine, an image and a function at work, killed together with its `MiniStack`. Gives the image's id.
fn killed(lab: &Lab, options: &Options) -> String {
    let mut cloud = Cloud::start(options);
    let caller = cloud.ready(lab, 1);
    let base = caller.base().expect("the base");
    let answer = caller.ec2(&format!("RunInstances&ImageId={base}&MinCount=1&MaxCount=1")).expect("a launch");
    let instance = crate::cloud::text(&answer, "instanceId").expect("an id");
    let ask = || caller.ec2(&format!("DescribeInstances&InstanceId.1={instance}")).expect("an instance");
    until("it runs", || ask().contains("<name>running</name>"));
    let image = format!("CreateImage&InstanceId={instance}&Name=kept&NoReboot=true");
    let image = crate::cloud::text(&caller.ec2(&image).expect("an image"), "imageId").expect("an id");
    until("it is an image", || {
        let asked = caller.ec2(&format!("DescribeImages&ImageId.1={image}")).expect("an image");
        asked.contains("<imageState>available</imageState>")
    });
    caller.function("works", &at_work());
    thread::scope(|scope| {
        scope.spawn(|| caller.invoke("works"));
        until("the function works", || asleep() >= 2);
        // As the kernel does when the host has no memory left.
        let ministack = fs::read_to_string(options.home.ministack().join("lock")).expect("who it is");
        kill(Pid::from_raw(ministack.trim().parse().expect("a number")), Signal::SIGKILL).expect("killed");
        cloud.kill();
    });
    assert!(asleep() >= 1, "the function has ended by itself: it proves nothing");
    assert!(!groups(options.home.root()).is_empty(), "no group was left");
    image
}

/// How many of the function's processes there are, whoever's they are.
fn asleep() -> usize {
    let all = fs::read_dir("/proc").expect("/proc").flatten().map(|entry| entry.path());
    let command = format!("sleep\0{}\0", seconds());
    let ours = |it: &PathBuf| fs::read(it.join("cmdline")).is_ok_and(|line| line == command.as_bytes());
    all.filter(ours).count()
}

fn nothing_is_left(options: &Options) {
    nothing_runs(options, 1, Duration::ZERO);
    assert_eq!(asleep(), 0, "a process of the function's is left");
    assert_eq!(groups(options.home.root()), Vec::<PathBuf>::new());
    // Nor is a namespace of its network or of a machine, which a process would hold.
    assert_eq!(processes(options), Vec::<PathBuf>::new());
}

pub fn down_ends_what_a_killed_cloud_left(lab: &Lab) {
    let Some(options) = home(lab, "left-down") else { return };
    let image = killed(lab, &options);
    assert!(!lab.runtime.block_on(down(&options)).expect("it ends"), "none runs any more");
    nothing_is_left(&options);
    // All that it knew is there.
    let mut cloud = Cloud::start(&options);
    let caller = cloud.ready(lab, 2);
    assert!(caller.ec2("DescribeImages&Owner.1=self").expect("images").contains(&image), "{image} is lost");
    assert!(lab.runtime.block_on(down(&options)).expect("it ends"), "none ran");
    cloud.supervisor.wait().expect("it is dead");
    nothing_is_left(&options);
}

pub fn reset_of_a_killed_cloud_leaves_nothing(lab: &Lab) {
    let Some(options) = home(lab, "left-reset") else { return };
    let image = killed(lab, &options);
    // What goes is read from the stored world: nobody else could say it.
    let plan = ResetPlan::of(&options).expect("a plan");
    assert!(!plan.running && !plan.unreadable, "{plan:?}");
    assert_eq!(plan.instances.len(), 1, "{plan:?}");
    assert!(plan.images.iter().any(|one| one.image == image), "{plan:?}");
    lab.runtime.block_on(reset(&options)).expect("a reset");
    nothing_is_left(&options);
    let left = |name: &str| options.home.root().join(name).exists();
    let left: Vec<_> = ["state", "snapshots", "instances", "run"].into_iter().filter(|it| left(it)).collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(options.home.credentials().exists() && Path::new(&options.home.bases()).exists());
}
