//! Copies of images and snapshots, and what a launch has of the account: its key, its groups.

use ovenbird_sim::{
    CopyImage, CopySnapshot, CreateSnapshot, ImportDisk, Layer, ModifyInstance, NewKeyPair,
    security_groups::CreateSecurityGroup,
};

use super::*;

impl Cloud {
    fn available(&mut self, name: &str) -> AmiId {
        let id = self.launch();
        self.pass(3);
        let image = self.image(&id, name).unwrap();
        self.pass(0);
        self.pass(60);
        assert_eq!(self.image_of(&image).state, ImageState::Available);
        image
    }

    fn copy(&self, of: &AmiId, name: &str) -> CopyImage {
        CopyImage {
            name: name.into(),
            source: of.to_string(),
            source_region: self.world.region().to_owned(),
            ..CopyImage::default()
        }
    }
}

#[test]
fn a_copy_lies_on_the_layers_of_its_source_which_stay_as_long_as_it() {
    let mut cloud = Cloud::new();
    let source = cloud.available("source");
    let layer = cloud.image_of(&source).snapshot.clone().unwrap();
    let copy = cloud.world.copy_image(cloud.now, &cloud.copy(&source, "copy")).unwrap();
    assert_eq!(cloud.image_of(&copy).state, ImageState::Pending);
    assert_eq!(
        code(cloud.world.copy_image(cloud.now, &cloud.copy(&copy, "third"))),
        "InvalidAMIID.Unavailable"
    );
    assert!(cloud.world.needs_ticks(), "nobody would finish the copy");
    cloud.now += SignedDuration::from_secs(3);
    cloud.world.tick(cloud.now);
    assert_eq!(cloud.image_of(&copy).state, ImageState::Available);
    assert!(!cloud.world.needs_ticks());

    cloud.world.deregister_image(cloud.now, source.as_str(), true, false).unwrap();
    assert!(cloud.image_of(&copy).layers.contains(&Layer::Snapshot(layer.clone())));
    let live: Vec<_> = cloud.world.live_instances().map(|one| one.id.to_string()).collect();
    cloud.world.terminate_instances(&live, false).unwrap();
    cloud.pass(0);
    cloud.pass(3);
    assert!(cloud.world.is_layer_in_use(&layer), "the copy's layer would be deleted");
    // A copy of the copy's snapshot keeps it, too.
    let snapshot = cloud.image_of(&copy).snapshot.clone().unwrap();
    let request = CopySnapshot {
        source: snapshot.to_string(),
        source_region: cloud.world.region().to_owned(),
        ..CopySnapshot::default()
    };
    let second = cloud.world.copy_snapshot(cloud.now, &request).unwrap();
    cloud.world.deregister_image(cloud.now, copy.as_str(), true, false).unwrap();
    assert!(cloud.world.is_layer_in_use(&layer));
    cloud.world.delete_snapshot(cloud.now, second.as_str(), false).unwrap();
    assert!(!cloud.world.is_layer_in_use(&layer));
}

#[test]
fn a_copy_outlives_the_host_that_was_lost_meanwhile() {
    let mut cloud = Cloud::new();
    let source = cloud.available("source");
    let copy = cloud.world.copy_image(cloud.now, &cloud.copy(&source, "copy")).unwrap();
    cloud.world.apply(cloud.now, MachineEvent::HostLost);
    cloud.now += SignedDuration::from_secs(3);
    cloud.world.tick(cloud.now);
    assert_eq!(cloud.image_of(&copy).state, ImageState::Available);
}

#[test]
fn a_snapshot_of_a_root_volume_is_what_an_image_boots_from_and_one_of_another_is_not() {
    let mut cloud = Cloud::new();
    let id = cloud.launch();
    cloud.pass(3);
    let volume = cloud.world.volumes().next().unwrap().id.to_string();
    let request = CreateSnapshot { volume, ..CreateSnapshot::default() };
    let made = cloud.world.create_snapshot(cloud.now, &request).unwrap();
    assert_eq!(made.state, SnapshotState::Pending);
    cloud.pass(0);
    cloud.pass(60);
    let register = |name: &str, snapshot: String| RegisterImage {
        name: name.into(),
        snapshot,
        ..RegisterImage::default()
    };
    let image = cloud.world.register_image(cloud.now, &register("of a root", made.id.to_string())).unwrap();
    assert!(cloud.image_of(&image).layers.contains(&Layer::Snapshot(made.id)));
    let zone = cloud.world.instances().find(|one| one.id.as_str() == id).unwrap().zone.clone();
    let volume = ovenbird_sim::CreateVolume {
        zone,
        volume: NewVolume { size: Some(1), ..NewVolume::default() },
        ..ovenbird_sim::CreateVolume::default()
    };
    let empty = cloud.world.create_volume(cloud.now, &volume).unwrap();
    let request = CreateSnapshot { volume: empty.id.to_string(), ..CreateSnapshot::default() };
    let nothing = cloud.world.create_snapshot(cloud.now, &request).unwrap();
    let refused = cloud.world.register_image(cloud.now, &register("of nothing", nothing.id.to_string()));
    assert_eq!(code(refused), "InvalidBlockDeviceMapping");
}

#[test]
fn a_disk_from_elsewhere_is_an_image_of_one_s_own_that_lies_on_nothing() {
    let mut cloud = Cloud::new();
    let request = ImportDisk {
        name: "elsewhere".into(),
        description: "a root".into(),
        architecture: "x86_64".into(),
        bytes: 1,
    };
    let (image, snapshot) = cloud.world.import_disk(cloud.now, &request).unwrap();
    assert_eq!(cloud.image_of(&image).layers, [Layer::Snapshot(snapshot.clone())]);
    let own = DescribeImages { owners: vec!["self".into()], ..DescribeImages::default() };
    assert_eq!(cloud.world.describe_images(&own).unwrap().items[0].state, ImageState::Available);
    assert_eq!(code(cloud.world.import_disk(cloud.now, &request)), "InvalidAMIName.Duplicate");
    assert_eq!(cloud.world.snapshots().count(), 1, "a refused import leaves no snapshot");
    cloud.world.deregister_image(cloud.now, image.as_str(), true, false).unwrap();
    assert!(cloud.world.take_orders().contains(&Order::DropSnapshot { snapshot }));
}

#[test]
fn a_launch_that_names_no_group_is_in_the_default_one_whichever_others_there_are() {
    let mut cloud = Cloud::new();
    for number in 0..8 {
        let request = CreateSecurityGroup {
            name: format!("group-{number}"),
            description: "another".into(),
            ..CreateSecurityGroup::default()
        };
        cloud.world.create_security_group(&request).unwrap();
    }
    let id = cloud.launch();
    let instance = cloud.world.instance(&id).unwrap();
    let names: Vec<_> = instance
        .security_groups
        .iter()
        .map(|id| cloud.world.security_group(id).unwrap().name.clone())
        .collect();
    assert_eq!(names, ["default"]);
}

#[test]
fn a_machine_keeps_the_key_of_its_launch_when_the_pair_is_gone() {
    let mut cloud = Cloud::new();
    let pair = NewKeyPair {
        name: "mine".into(),
        kind: "ed25519".into(),
        public_key: "ssh-ed25519 AAAA".into(),
        ..NewKeyPair::default()
    };
    cloud.world.add_key_pair(cloud.now, &pair).unwrap();
    let request = RunInstances { key_name: Some("mine".into()), ..cloud.request() };
    let id = cloud.world.run_instances(cloud.now, &request).unwrap()[0].id.to_string();
    cloud.world.delete_key_pair(Some("mine"), None, false).unwrap();
    cloud.pass(0);
    cloud.pass(3);
    cloud.world.stop_instances(std::slice::from_ref(&id), false).unwrap();
    cloud.world.take_orders();
    cloud.world.apply(cloud.now, MachineEvent::PoweredOff { instance: id.parse().unwrap() });
    cloud.world.start_instances(std::slice::from_ref(&id), false).unwrap();
    let orders = cloud.world.take_orders();
    let told = orders.iter().find_map(|order| match order {
        Order::Boot { facts, .. } => facts.key.clone(),
        _ => None,
    });
    assert_eq!(told.map(|key| key.line).as_deref(), Some("ssh-ed25519 AAAA mine"));
    assert_eq!(code(cloud.world.run_instances(cloud.now, &request)), "InvalidKeyPair.NotFound");
}

#[test]
fn an_instance_that_may_not_be_terminated_or_stopped_is_not() {
    let mut cloud = Cloud::new();
    let request = RunInstances { no_termination: true, no_stop: true, ..cloud.request() };
    let id = [cloud.world.run_instances(cloud.now, &request).unwrap()[0].id.to_string()];
    cloud.pass(0);
    cloud.pass(3);
    assert_eq!(code(cloud.world.terminate_instances(&id, false)), "OperationNotPermitted");
    assert_eq!(code(cloud.world.stop_instances(&id, false)), "OperationNotPermitted");
    let change = ModifyInstance { no_termination: Some(false), ..ModifyInstance::default() };
    cloud.world.modify_instance(&id[0], &change).unwrap();
    cloud.world.terminate_instances(&id, false).unwrap();
}
