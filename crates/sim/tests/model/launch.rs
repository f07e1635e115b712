//! Spot instances, shortages and volumes, as AWS documents them.

use super::*;

impl Cloud {
    fn run(&mut self, change: impl Fn(&mut RunInstances)) -> Result<Instance> {
        let mut request = self.request();
        change(&mut request);
        let launched = self.world.run_instances(self.now, &request)?.remove(0);
        self.pass(0);
        Ok(launched)
    }

    fn reason(&self, id: &str) -> String {
        let instance = self.world.instances().find(|one| one.id.as_str() == id);
        instance.unwrap().state_reason.clone().unwrap().0
    }

    fn disk_of(&self, instance: &Instance) -> Disk {
        self.world.volumes().find(|one| one.id == instance.volume).unwrap().disk.clone()
    }
}

#[test]
fn a_one_time_spot_instance_can_t_be_stopped_and_is_imaged_running() {
    let mut cloud = Cloud::new();
    assert_eq!(
        code(cloud.run(|r| (r.spot, r.shutdown_behavior) = (true, Some("stop".into())))),
        "InvalidParameterCombination"
    );
    let id = cloud.run(|r| r.spot = true).unwrap().id.to_string();
    cloud.pass(3);
    assert_eq!(code(cloud.world.stop_instances(std::slice::from_ref(&id), false)), "UnsupportedOperation");
    let image = cloud.image(&id, "spot").unwrap();
    let reboots = cloud.world.take_orders();
    assert!(matches!(reboots.as_slice(), [Order::Freeze { reboot: true, .. }]), "{reboots:?}");
    assert_eq!(cloud.state(&id), InstanceState::Running);
    assert_eq!(cloud.image_of(&image).source_instance.as_ref().map(InstanceId::as_str), Some(id.as_str()));
}

#[test]
fn a_spot_instance_that_ends_itself_or_is_taken_back_is_gone() {
    let mut cloud = Cloud::new();
    let on_demand = cloud.launch();
    let taken = cloud.run(|r| r.spot = true).unwrap().id.to_string();
    cloud.pass(4);
    assert_eq!(code(cloud.world.interrupt_spot(&on_demand)), "IncorrectInstanceState");
    cloud.world.interrupt_spot(&taken).unwrap();
    assert_eq!(cloud.state(&taken), InstanceState::ShuttingDown);
    assert_eq!(cloud.reason(&taken), "Server.SpotInstanceTermination");
    cloud.pass(0);
    cloud.pass(2);
    assert_eq!(cloud.state(&taken), InstanceState::Terminated);
    assert_eq!(code(cloud.world.interrupt_spot(&taken)), "IncorrectInstanceState");
    let off = cloud.run(|r| r.spot = true).unwrap().id;
    cloud.pass(3);
    cloud.world.apply(cloud.now, MachineEvent::PoweredOff { instance: off.clone() });
    cloud.pass(0);
    cloud.pass(2);
    assert_eq!(cloud.state(off.as_str()), InstanceState::Terminated);
}

/// EC2 does not see a boot that a machine makes by itself: the instance is running all the while.
#[test]
fn an_instance_that_boots_again_by_itself_runs_on() {
    let mut cloud = Cloud::new();
    let id = cloud.launch();
    cloud.pass(4);
    let instance: InstanceId = id.parse().unwrap();
    let agent = |cloud: &Cloud| {
        cloud.world.instances().find(|one| one.id == instance).and_then(|one| one.agent_since)
    };
    assert!(agent(&cloud).is_some());
    cloud.world.apply(cloud.now, MachineEvent::Rebooted { instance: instance.clone() });
    assert_eq!(cloud.state(&id), InstanceState::Running);
    // Its agent is away until the boot is over.
    assert!(agent(&cloud).is_none());
    cloud.world.apply(cloud.now, MachineEvent::AgentOnline { instance: instance.clone() });
    assert!(agent(&cloud).is_some());
}

#[test]
fn a_shortage_is_met_by_those_it_is_for() {
    let mut cloud = Cloud::new();
    let subnets = cloud.world.describe_subnets(&[], &[]).unwrap();
    cloud.world.set_shortages(vec![
        Shortage::of(Lack::Capacity).for_type("c7i.large").in_zone("us-east-1a"),
        Shortage::of(Lack::Support).for_type("c7g.large"),
        Shortage::of(Lack::SpotQuota).if_spot(true),
    ]);
    let launch = |cloud: &mut Cloud, kind: &str, subnet: Option<&Subnet>, spot: bool| {
        cloud.run(|r| {
            r.instance_type = Some(kind.into());
            r.subnet = subnet.map(|subnet| subnet.id.clone());
            r.spot = spot;
        })
    };
    let error = launch(&mut cloud, "c7i.large", Some(&subnets[0]), false).unwrap_err();
    // EC2 counts it as its own fault.
    assert_eq!((error.code, error.http), ("InsufficientInstanceCapacity", 500));
    assert!(launch(&mut cloud, "c7i.large", Some(&subnets[1]), false).is_ok());
    assert!(launch(&mut cloud, "m7i.large", Some(&subnets[0]), false).is_ok());
    // EC2 finds a zone for who names none.
    assert_eq!(launch(&mut cloud, "c7i.large", None, false).unwrap().zone, "us-east-1b");
    assert_eq!(code(launch(&mut cloud, "c7g.large", None, false)), "Unsupported");
    assert_eq!(code(launch(&mut cloud, "m7i.large", None, true)), "MaxSpotInstanceCountExceeded");
    // Whatever is short, a dry run only asks whether one may.
    assert_eq!(
        code(cloud.run(|r| (r.instance_type, r.dry_run) = (Some("c7g.large".into()), true))),
        "DryRunOperation"
    );
}

#[test]
fn a_shortage_that_is_noticed_late_ends_what_was_pending() {
    let mut cloud = Cloud::new();
    cloud.world.set_shortages(vec![Shortage::of(Lack::LateCapacity)]);
    let launched = cloud.run(|_| {}).unwrap();
    assert_eq!(launched.state, InstanceState::Pending);
    let id = launched.id.to_string();
    assert_eq!(cloud.state(&id), InstanceState::Terminated);
    assert_eq!(cloud.reason(&id), "Server.InsufficientInstanceCapacity");
    assert!(cloud.world.volumes().next().is_none());
}

#[test]
fn a_volume_is_refused_as_ec2_refuses_it() {
    let mut cloud = Cloud::new();
    let mut refused = |volume: NewVolume| code(cloud.run(|r| r.volume = volume.clone()));
    let of = |kind: &str, size: u32, iops: Option<u32>| NewVolume {
        size: Some(size),
        kind: Some(kind.into()),
        iops,
        ..NewVolume::default()
    };
    assert_eq!(refused(of("gp3", 7, None)), "InvalidBlockDeviceMapping");
    assert_eq!(refused(of("gp9", 8, None)), "InvalidParameterValue");
    assert_eq!(refused(of("st1", 500, None)), "InvalidParameterValue");
    assert_eq!(refused(of("gp2", 20_000, None)), "InvalidParameterValue");
    assert_eq!(refused(of("io2", 8, None)), "MissingParameter");
    assert_eq!(refused(of("gp2", 8, Some(3000))), "InvalidParameterCombination");
    assert_eq!(refused(of("gp3", 8, Some(100))), "InvalidParameterValue");
    assert_eq!(refused(of("io1", 8, Some(500))), "InvalidParameterValue");
    let key = |encrypted: Option<bool>, key: &str| NewVolume {
        encrypted,
        kms_key: Some(key.into()),
        ..NewVolume::default()
    };
    assert_eq!(refused(key(None, "alias/x")), "InvalidParameterDependency");
    assert_eq!(refused(key(Some(false), "alias/x")), "InvalidParameterDependency");
    assert_eq!(refused(key(Some(true), "aws/ebs")), "InvalidParameterValue");
    assert!(cloud.world.volumes().next().is_none());
    assert!(cloud.run(|r| r.volume = of("gp3", 8, Some(3000))).is_ok());
}

#[test]
fn a_volume_hands_on_what_it_is_to_its_image_and_that_to_the_next() {
    let mut cloud = Cloud::new();
    let first = cloud
        .run(|r| {
            r.volume = NewVolume {
                size: Some(20),
                kind: Some("io2".into()),
                iops: Some(4000),
                encrypted: Some(true),
                kms_key: Some("alias/images".into()),
                delete_on_termination: None,
            };
        })
        .unwrap();
    let key = "arn:aws:kms:us-east-1:123456789012:alias/images";
    let disk = Disk { size: 20, kind: "io2".into(), iops: Some(4000), kms_key: Some(key.into()) };
    assert_eq!(cloud.disk_of(&first), disk);
    cloud.pass(3);
    let image = cloud.image(first.id.as_str(), "encrypted").unwrap();
    cloud.pass(0);
    cloud.pass(3);
    assert_eq!(cloud.image_of(&image).disk, disk);
    assert_eq!(cloud.world.snapshots().next().unwrap().kms_key.as_deref(), Some(key));
    let second = cloud.run(|r| r.image = image.to_string()).unwrap();
    assert_eq!(cloud.disk_of(&second), disk);
    let plain = NewVolume { encrypted: Some(false), ..NewVolume::default() };
    assert_eq!(
        code(cloud.run(|r| (r.image, r.volume) = (image.to_string(), plain.clone()))),
        "InvalidBlockDeviceMapping"
    );
}
