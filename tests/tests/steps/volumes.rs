//! A base whose mappings would leave volumes behind: no instance of a bake leaves one, and no image hands that on.

use futures::executor::block_on;
use jiff::SignedDuration;
use ovenbird_core::{
    Error,
    domain::bake::{Document, To},
    ports::{Builders as _, Execution, Retirement as _, VolumeState},
    steps::{launch_builder, snapshot},
};
use ovenbird_sim::{BaseImage, Device};
use ovenbird_testkit::walk::{account::walk, machine::Diary, scenarios::SCENARIOS};
use ovenbird_testkit::{Cloud, Script};

use super::bench::{Bench, RECIPE, pipeline};

/// As many older images and many of a company's own are, and with a second disk.
fn leaky() -> BaseImage {
    BaseImage {
        delete_on_termination: false,
        devices: vec![Device::empty("/dev/sdf", 4)],
        ..BaseImage::debian_12("20260101", "x86_64")
    }
}

/// What the volumes and the mappings of images say.
#[track_caller]
fn assert_tight(cloud: &Cloud) {
    cloud.with(|world| {
        let lone: Vec<_> = world.volumes().filter(|volume| volume.instance.is_none()).collect();
        assert!(lone.is_empty(), "left behind: {lone:?}");
        for device in world.own_images().flat_map(ovenbird_sim::Image::mappings) {
            assert!(device.delete_on_termination, "an image hands on what leaks: {device:?}");
        }
    });
}

#[test]
fn a_base_that_keeps_its_volumes_leaves_none_after_a_bake_whatever_came_of_it() {
    let bench = Bench::on(&leaky(), &Script { powers_off: true, ..Script::default() }, true);
    let bake = bench.bake("one", &bench.upload("v1.jar"));
    assert_tight(&bench.cloud);
    assert_eq!(bench.cloud.with(|world| world.volumes().count()), 0);
    // Root and second disk: both were imaged.
    assert_eq!(bake.progress.snapshots.len(), 2);

    let failed = bench.start("two", &bench.upload("v2.jar")).unwrap();
    let of_bake = || block_on(bench.cloud.volumes(Some(&failed.bake.spec.id))).unwrap();
    let used: Vec<_> = of_bake().iter().map(|one| (one.state, one.attached.clone())).collect();
    assert_eq!(used, vec![(VolumeState::InUse, failed.bake.progress.builder.clone()); 2]);
    bench.fail("two", &Error::LeaseLost { bake: failed.bake.spec.id.clone() });
    assert!(of_bake().is_empty());
    assert_tight(&bench.cloud);
}

/// Every scenario of the walk stands on such a base; one of them boots an instance of its image.
#[test]
fn neither_a_builder_nor_a_verifier_leaves_a_volume() {
    let mut verified = 0;
    for scenario in SCENARIOS {
        let (cloud, _) = scenario.account();
        let mappings = cloud.with(|world| world.describe_images(&Default::default()).unwrap().items);
        let base = mappings.iter().find(|image| image.public).unwrap();
        assert!(base.mappings().count() > 1 && base.mappings().all(|device| !device.delete_on_termination));
        walk(&cloud, &scenario.runs(), &Diary::default());
        assert_tight(&cloud);
        verified += cloud.with(|world| {
            world
                .instances()
                .filter(|one| one.tags.get("ovenbird:role").is_some_and(|role| role == "verifier"))
                .count()
        });
    }
    assert!(verified > 0, "no scenario booted an instance of its image");
}

/// A bake whose image is there and must be booted, with something done to its builder before that was imaged.
fn imaged(bench: &Bench, before: impl FnOnce()) -> Document {
    bench.push(&RECIPE.replace("[promote]", "[validate]\nboot = true\n[promote]"));
    let (cloud, now) = (&bench.cloud, || bench.cloud.now());
    let bake = bench.start("one", &bench.upload("v1.jar")).unwrap();
    let bake = bench.build(bake, 0, true).unwrap();
    before();
    let bake = bench.deliver(|| snapshot::seal(bake.clone(), cloud, now())).unwrap();
    let bake = bench.poll(bake).unwrap();
    let bake = bench.deliver(|| snapshot::create_image(bake.clone(), cloud, now())).unwrap();
    let bake = bench.poll(bake).unwrap();
    assert_eq!(bake.next.to, To::Verify);
    bake
}

/// Its devices can't be looked up, and there is nothing to launch.
#[test]
fn an_image_that_is_gone_before_it_is_booted_is_named_as_the_reason() {
    let bench = Bench::new();
    let bake = imaged(&bench, || {});
    let image = bake.bake.progress.image.clone().unwrap();
    bench.cloud.deregister(&image);
    let error = block_on(launch_builder::verify(bake, &bench.cloud, bench.cloud.now())).unwrap_err();
    assert_eq!(error.name(), "ImageFailed");
    assert_eq!(error.to_string(), format!("image {image} failed: it was deregistered meanwhile"));
    assert_eq!(bench.cloud.calls().iter().filter(|call| call.actions[0] == "ec2:RunInstances").count(), 1);
}

/// An image from before the mappings were sent, or of a builder whose flag somebody changed.
#[test]
fn a_verifier_of_an_image_that_keeps_its_volumes_leaves_none_either() {
    let bench = Bench::on(&leaky(), &Script { powers_off: true, ..Script::default() }, true);
    let cloud = &bench.cloud;
    let bake = imaged(&bench, || {
        for volume in block_on(cloud.volumes(None)).unwrap() {
            cloud.with(|world| world.keep_volume(volume.id.as_str())).unwrap();
        }
    });
    let bake = bench.deliver(|| launch_builder::verify(bake.clone(), cloud, cloud.now())).unwrap();
    cloud.with(|world| {
        let image = world.own_images().next().unwrap();
        assert!(image.mappings().all(|device| !device.delete_on_termination), "the image says otherwise");
        let volumes = world.volumes_of(bake.bake.progress.booted.as_ref().unwrap());
        assert_eq!(volumes.len(), 2);
        assert!(volumes.iter().all(|volume| volume.delete_on_termination), "{volumes:?}");
    });
}

#[test]
fn a_volume_that_is_left_all_the_same_can_be_found_and_deleted() {
    let bench = Bench::on(&leaky(), &Script::default(), true);
    let bake = bench.start("one", &bench.upload("v1.jar")).unwrap();
    let (cloud, id) = (&bench.cloud, bake.bake.progress.builder.clone().unwrap());
    let volumes = || block_on(cloud.volumes(None)).unwrap();
    let attached = volumes().remove(0);
    assert_eq!(block_on(cloud.delete_volume(&attached.id)).unwrap_err().name(), "TryAgain");
    assert_eq!(attached.tags["ovenbird:pipeline"], pipeline().as_str());
    // Somebody's hand changes the flag of a running builder.
    cloud.with(|world| world.keep_volume(attached.id.as_str())).unwrap();
    block_on(cloud.terminate(&id)).unwrap();
    cloud.pass(SignedDuration::from_secs(5));
    let left = volumes();
    assert_eq!((left.len(), left[0].state, &left[0].attached), (1, VolumeState::Available, &None));
    block_on(cloud.delete_volume(&left[0].id)).unwrap();
    block_on(cloud.delete_volume(&left[0].id)).unwrap();
    assert!(volumes().is_empty());
}

/// The bake hears that its builder is gone, and cleans up itself.
#[test]
fn a_volume_that_a_running_bake_s_builder_left_is_no_dead_bake_s() {
    let bench = Bench::on(&leaky(), &Script::default(), true);
    let bake = bench.start("one", &bench.upload("v1.jar")).unwrap().bake;
    let attached = block_on(bench.cloud.volumes(None)).unwrap().remove(0);
    bench.cloud.with(|world| world.keep_volume(attached.id.as_str())).unwrap();
    block_on(bench.cloud.terminate(bake.progress.builder.as_ref().unwrap())).unwrap();
    bench.cloud.pass(SignedDuration::from_secs(5));
    bench.cloud.stands(&bake.spec.id, Execution::Running);
    assert_eq!(bench.plan().dead_bakes, []);
    bench.cloud.stands(&bake.spec.id, Execution::Failed);
    let leaves = bench.plan().dead_bakes.remove(0).leaves;
    assert!(leaves.contains(&attached.id.to_string()), "{leaves:?}");
}
