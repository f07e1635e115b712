//! What becomes of volumes when their instance goes: what the mappings of images and launches say of it.

use std::collections::BTreeMap;

use super::*;

/// A cloud whose base leaves its root volume behind, and a second disk.
fn leaky() -> Cloud {
    let mut cloud = Cloud::new();
    let base = BaseImage {
        name: "leaky".into(),
        delete_on_termination: false,
        devices: vec![Device::empty("/dev/sdf", 4)],
        ..BaseImage::debian_12("20260101", "x86_64")
    };
    cloud.base = cloud.world.register_base(cloud.now, &base).to_string();
    cloud
}

impl Cloud {
    fn end(&mut self, id: &str) {
        self.world.terminate_instances(&[id.to_owned()], false).unwrap();
        self.pass(0);
        self.pass(2);
        assert_eq!(self.state(id), InstanceState::Terminated);
    }

    /// Device, size, status and whether it goes with its instance, of every volume.
    fn volumes(&self) -> Vec<(String, u32, &'static str, bool)> {
        let mut all: Vec<_> = self
            .world
            .volumes()
            .map(|one| (one.device.clone(), one.disk.size, one.status(), one.delete_on_termination))
            .collect();
        all.sort();
        all
    }

    fn mappings(&self, image: &AmiId) -> Vec<(String, bool)> {
        self.image_of(image).mappings().map(|one| (one.name, one.delete_on_termination)).collect()
    }
}

fn going() -> NewVolume {
    NewVolume { delete_on_termination: Some(true), ..NewVolume::default() }
}

#[test]
fn a_volume_that_is_not_to_go_outlives_its_instance_with_its_tags() {
    let mut cloud = leaky();
    let tags = Tags::from([("team".to_owned(), "shop".to_owned())]);
    let kinds = BTreeMap::from([("volume".to_owned(), tags.clone())]);
    let request = RunInstances { tags: kinds, ..cloud.request() };
    let id = cloud.world.run_instances(cloud.now, &request).unwrap()[0].id.to_string();
    cloud.pass(0);
    cloud.pass(3);
    let used = [("/dev/sdf".into(), 4, "in-use", false), ("/dev/xvda".into(), 8, "in-use", false)];
    assert_eq!(cloud.volumes(), used);
    let volumes: Vec<_> = cloud.world.volumes().map(|one| one.id.to_string()).collect();
    assert_eq!(code(cloud.world.delete_volume(&volumes[0], false)), "VolumeInUse");
    cloud.end(&id);
    let left = [("/dev/sdf".into(), 4, "available", false), ("/dev/xvda".into(), 8, "available", false)];
    assert_eq!(cloud.volumes(), left);

    let of = |name: &str, value: &str| [Filter { name: name.into(), values: vec![value.into()] }];
    let seen = |filter: &[Filter]| {
        cloud.world.describe_volumes(&[], filter, &Paging::default()).unwrap().items.len()
    };
    assert_eq!(seen(&of("status", "available")), 2);
    assert_eq!(seen(&of("status", "in-use")), 0);
    assert_eq!(seen(&of("attachment.instance-id", &id)), 0);
    assert_eq!(seen(&of("tag:team", "shop")), 2);

    assert_eq!(code(cloud.world.delete_volume(&volumes[0], true)), "DryRunOperation");
    for volume in &volumes {
        cloud.world.delete_volume(volume, false).unwrap();
        assert_eq!(code(cloud.world.delete_volume(volume, false)), "InvalidVolume.NotFound");
    }
    assert!(cloud.volumes().is_empty());
}

#[test]
fn a_launch_says_of_every_volume_whether_it_goes_and_an_image_of_it_says_the_same() {
    let mut cloud = leaky();
    let devices = BTreeMap::from([("/dev/sdf".to_owned(), going())]);
    let request = RunInstances { volume: going(), devices, ..cloud.request() };
    let id = cloud.world.run_instances(cloud.now, &request).unwrap()[0].id.to_string();
    cloud.pass(0);
    cloud.pass(3);
    let image = cloud.image(&id, "tight").unwrap();
    cloud.pass(0);
    cloud.pass(3);
    assert_eq!(cloud.mappings(&image), [("/dev/xvda".into(), true), ("/dev/sdf".into(), true)]);
    assert_eq!(cloud.image_of(&image).snapshots().count(), 2);
    cloud.end(&id);
    assert!(cloud.volumes().is_empty());

    // What comes of it leaves nothing either, and what was launched as the base has it hands that on.
    let of_image = RunInstances { image: image.to_string(), ..cloud.request() };
    let id = cloud.world.run_instances(cloud.now, &of_image).unwrap()[0].id.to_string();
    cloud.end(&id);
    assert!(cloud.volumes().is_empty());
    let id = cloud.launch();
    cloud.pass(3);
    let image = cloud.image(&id, "leaky-too").unwrap();
    assert_eq!(cloud.mappings(&image), [("/dev/xvda".into(), false), ("/dev/sdf".into(), false)]);
}

#[test]
fn a_disk_that_no_image_has_is_empty_and_has_a_size() {
    let mut cloud = Cloud::new();
    let mut with = |name: &str, volume: NewVolume| {
        let devices = BTreeMap::from([(name.to_owned(), volume)]);
        let request = RunInstances { devices, ..cloud.request() };
        cloud.world.run_instances(cloud.now, &request)
    };
    assert_eq!(code(with("/dev/sdf", going())), "MissingParameter");
    let sized = NewVolume { size: Some(20), ..NewVolume::default() };
    assert_eq!(code(with("sdf", sized.clone())), "InvalidBlockDeviceMapping");
    with("/dev/sdf", sized).unwrap();
    let made = [("/dev/sdf".into(), 20, "in-use", false), ("/dev/xvda".into(), 8, "in-use", true)];
    assert_eq!(cloud.volumes(), made);
}

#[test]
fn an_image_is_registered_with_the_mappings_that_were_given() {
    let mut cloud = leaky();
    let id = cloud.launch();
    cloud.pass(3);
    let image = cloud.image(&id, "first").unwrap();
    cloud.pass(0);
    cloud.pass(3);
    let snapshots: Vec<_> = cloud.image_of(&image).snapshots().map(ToString::to_string).collect();
    let request = |name: &str, root: usize| RegisterImage {
        name: name.into(),
        snapshot: snapshots[root].clone(),
        delete_on_termination: Some(false),
        devices: BTreeMap::from([
            ("/dev/sdf".to_owned(), (Some(snapshots[1].clone()), going())),
            ("/dev/sdg".to_owned(), (None, NewVolume { size: Some(2), ..NewVolume::default() })),
        ]),
        ..RegisterImage::default()
    };
    // The second disk of a machine was never written to.
    assert_eq!(code(cloud.world.register_image(cloud.now, &request("data", 1))), "InvalidBlockDeviceMapping");
    let registered = cloud.world.register_image(cloud.now, &request("both", 0)).unwrap();
    assert_eq!(
        cloud.mappings(&registered),
        [("/dev/xvda".into(), false), ("/dev/sdf".into(), true), ("/dev/sdg".into(), false)]
    );
    let of = |name: &str, value: &str| DescribeImages {
        owners: vec!["self".into()],
        filters: vec![Filter { name: format!("block-device-mapping.{name}"), values: vec![value.into()] }],
        ..DescribeImages::default()
    };
    let seen = |request| cloud.world.describe_images(&request).unwrap().items.len();
    assert_eq!(seen(of("device-name", "/dev/sdg")), 1);
    assert_eq!(seen(of("snapshot-id", &snapshots[1])), 2);
    assert_eq!(seen(of("delete-on-termination", "true")), 1);

    // A snapshot stays while any image maps it, and goes with the last one.
    cloud.world.deregister_image(cloud.now, registered.as_str(), true, false).unwrap();
    assert_eq!(code(cloud.world.delete_snapshot(cloud.now, &snapshots[1], false)), "InvalidSnapshot.InUse");
    cloud.world.deregister_image(cloud.now, image.as_str(), true, false).unwrap();
    assert_eq!(cloud.world.snapshots().count(), 0);
}

#[test]
fn a_world_saved_before_there_were_second_disks_is_read_as_well() {
    let mut cloud = Cloud::new();
    let id = cloud.launch();
    cloud.pass(3);
    let image = cloud.image(&id, "old").unwrap();
    let mut saved = serde_json::to_value(&cloud.world).unwrap();
    let strip = |part: &mut serde_json::Value, names: &[&str]| {
        for one in part.as_object_mut().unwrap().values_mut() {
            names.iter().for_each(|name| drop(one.as_object_mut().unwrap().remove(*name)));
        }
    };
    strip(&mut saved["volumes"], &["device"]);
    strip(&mut saved["images"], &["delete_on_termination", "devices"]);
    cloud.world = serde_json::from_value(saved).unwrap();
    assert_eq!(cloud.volumes(), [("/dev/xvda".into(), 8, "in-use", true)]);
    assert_eq!(cloud.mappings(&image), [("/dev/xvda".into(), true)]);
}
