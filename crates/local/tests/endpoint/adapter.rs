//! The adapter's launches on the endpoint: what it asks for, how often, and what it makes of the answers.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::fixture::TestEndpoint;
use axum::{extract::Request, middleware};
use ovenbird_aws::{Access, Cloud, LocalCloud, settings::Settings};
use ovenbird_core::{
    Error, Result,
    domain::{
        id::{BakeId, ImageName, InstanceId},
        offer::{Offer, RootVolume, Shortage},
        retirement::Floors,
        tags::{TAG_BAKE, TAG_STACK},
    },
    ports::{Builders, ImageState, Images, InstanceState, LaunchOrder, Profile, Retirement, VolumeState},
};
use ovenbird_local::CloudState;
use ovenbird_sim::{BaseImage, Device, Instance, Lack, World};

/// The adapter on an endpoint, with the requests counted.
pub struct Bench {
    pub cloud: Cloud,
    pub state: Arc<CloudState>,
    requests: Arc<AtomicUsize>,
    pub runtime: tokio::runtime::Runtime,
    endpoint: TestEndpoint,
}

/// What a function is told of its stack.
pub fn settings() -> Settings {
    Settings {
        table: "table".into(),
        bucket: "bucket".into(),
        stack: "ovenbird/one".parse().unwrap(),
        bake_machine: None,
        rollout_machine: None,
        builder_profile: Some("stack-builder".into()),
        most_builders: Some(20),
        runners: Vec::new(),
        signers: ovenbird_core::domain::signature::Signers::default(),
        floors: Some(Floors::default()),
        builder_security_group: None,
        subnets: Vec::new(),
    }
}

impl Bench {
    pub fn new(prepare: impl FnOnce(&mut World)) -> Self {
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        let count = move |request: Request, next: middleware::Next| {
            counted.fetch_add(1, Ordering::SeqCst);
            next.run(request)
        };
        let (endpoint, state) =
            TestEndpoint::with(prepare, |routes| routes.layer(middleware::from_fn(count)));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let local = LocalCloud {
            endpoint: endpoint.url.clone(),
            access_key: endpoint.operator.access_key.clone(),
            secret: endpoint.operator.secret.clone(),
        };
        let cloud = runtime.block_on(Cloud::with(settings(), Access::Local(&local)));
        Self { cloud, state, requests, runtime, endpoint }
    }

    /// A program that talks to the endpoint.
    pub fn command(&self, program: &std::path::Path) -> std::process::Command {
        self.endpoint.command(program)
    }

    pub fn order(&self, spot: bool) -> LaunchOrder {
        LaunchOrder {
            image: self.endpoint.base.parse().unwrap(),
            offer: Offer { instance_type: "c7i.large".into(), subnet: None, spot },
            security_groups: Vec::new(),
            profile: Profile::Stack,
            devices: vec!["/dev/xvda".into()],
            volume: None,
            user_data: "#!/bin/sh".into(),
            token: "token".into(),
            tags: BTreeMap::from([
                (TAG_BAKE.to_owned(), "b-1".to_owned()),
                (TAG_STACK.to_owned(), "ovenbird/one".to_owned()),
            ]),
        }
    }

    pub fn launch(&self, order: &LaunchOrder) -> Result<InstanceId> {
        self.runtime.block_on(self.cloud.launch(order))
    }

    pub fn look(&self, id: &InstanceId) -> ovenbird_core::ports::Instance {
        self.runtime.block_on(Builders::instance(&self.cloud, id)).unwrap().unwrap()
    }

    fn live(&self) -> Vec<Instance> {
        self.state.read(|world| world.live_instances().cloned().collect())
    }

    /// Looks until it is so.
    pub fn until(&self, what: &str, mut look: impl FnMut() -> bool) {
        let start = Instant::now();
        while !look() {
            assert!(start.elapsed() < Duration::from_secs(30), "{what} never came");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_token_gives_the_same_instance_and_no_other_request() {
    let bench = Bench::new(|_| {});
    let first = bench.launch(&bench.order(false)).unwrap();
    assert_eq!(bench.launch(&bench.order(false)).unwrap(), first);
    let other = LaunchOrder { profile: Profile::Named("other".into()), ..bench.order(false) };
    assert_eq!(bench.launch(&other).unwrap_err().name(), "TryAgain");
    assert_eq!(bench.live().len(), 1);
    assert_eq!(bench.live()[0].profile.as_deref(), Some("stack-builder"));
    assert!(!bench.look(&first).spot);
}

#[test]
fn a_shortage_is_told_as_one_and_asked_for_once() {
    for (lack, shortage, code) in [
        (Lack::Capacity, Shortage::Offer, "InsufficientInstanceCapacity"),
        (Lack::VcpuQuota, Shortage::Quota, "VcpuLimitExceeded"),
        (Lack::Support, Shortage::Offer, "Unsupported"),
        (Lack::SpotQuota, Shortage::SpotQuota, "MaxSpotInstanceCountExceeded"),
        (Lack::Addresses, Shortage::Subnet, "InsufficientFreeAddressesInSubnet"),
    ] {
        let bench = Bench::new(|world| world.set_shortages(vec![ovenbird_sim::Shortage::of(lack)]));
        let error = bench.launch(&bench.order(true)).unwrap_err();
        let Error::NoCapacity { tried, shortage: told, source } = error else { panic!("{error}") };
        assert_eq!((tried, told), (format!("c7i.large spot ({code})"), shortage));
        assert!(matches!(*source.unwrap(), Error::Aws { code: told, .. } if told == code));
        // A server error, and yet not one that the SDK tries again.
        assert_eq!(bench.requests.load(Ordering::SeqCst), 1, "{code}");
    }
}

#[test]
fn what_is_wrong_is_an_error_that_names_what_was_asked_for() {
    let bench = Bench::new(|_| {});
    let order = LaunchOrder { security_groups: vec!["sg-0123456789abcdef0".into()], ..bench.order(false) };
    let error = bench.launch(&order).unwrap_err();
    let text = error.to_string();
    assert!(matches!(&error, Error::Aws { code, .. } if code == "InvalidGroup.NotFound"), "{text}");
    assert!(text.contains("c7i.large on demand") && text.contains("sg-0123456789abcdef0"), "{text}");
}

#[test]
fn a_spot_builder_with_a_volume_of_its_own_is_imaged_running() {
    let bench = Bench::new(|_| {});
    let base = bench.endpoint.base.parse().unwrap();
    let base = bench.runtime.block_on(Images::image(&bench.cloud, &base)).unwrap().unwrap();
    assert_eq!((base.root_device.as_deref(), base.gib), (Some("/dev/xvda"), Some(8)));
    let volume = RootVolume {
        device: base.root_device.unwrap(),
        gib: Some(20),
        kind: Some("gp3".into()),
        iops: Some(4000),
        throughput: Some(500),
        kms_key: Some("alias/images".into()),
    };
    let subnet = bench.state.read(|world| world.describe_subnets(&[], &[]).unwrap().remove(1));
    let mut order = LaunchOrder { volume: Some(volume), ..bench.order(true) };
    order.offer.subnet = Some(subnet.id);
    let id = bench.launch(&order).unwrap();
    let made = bench.live().remove(0);
    assert_eq!((made.zone, made.spot, made.terminate_on_shutdown), (subnet.zone, true, true));
    let disk = bench.state.read(|world| world.volumes().next().unwrap().disk.clone());
    assert_eq!((disk.size, disk.kind.as_str(), disk.iops), (20, "gp3", Some(4000)));
    assert!(disk.kms_key.unwrap().ends_with(":alias/images"));

    bench.until("the builder", || bench.look(&id).state == InstanceState::Running);
    assert!(bench.look(&id).spot);
    let name = ImageName::parse("storefront-1").unwrap();
    let image = bench.runtime.block_on(bench.cloud.create(&id, &name, "", true, &order.tags)).unwrap();
    let look = || bench.runtime.block_on(Images::image(&bench.cloud, &image)).unwrap().unwrap();
    bench.until("the image", || look().state == ImageState::Available);
    assert_eq!(look().gib, Some(20));
    // The simulated machines do what they are told on the runtime that tells them.
    let _told_on = bench.runtime.enter();
    bench.state.call(|world, _| world.interrupt_spot(id.as_str())).unwrap();
    bench.until("the end", || bench.look(&id).state == InstanceState::Terminated);
    assert_eq!(bench.look(&id).reason, "Server.SpotInstanceTermination: Spot instance termination");
}

/// The adapter maps each of an image's EBS devices; what is left all the same, it finds by our tag and deletes.
#[test]
fn no_volume_outlives_an_instance_of_an_image_that_would_leave_them() {
    let bench = Bench::new(|world| {
        let leaky = BaseImage {
            name: "leaky".into(),
            delete_on_termination: false,
            devices: vec![Device::empty("/dev/sdf", 4)],
            ..BaseImage::debian_12("test", "x86_64")
        };
        world.register_base(jiff::Timestamp::UNIX_EPOCH, &leaky);
    });
    let _told_on = bench.runtime.enter();
    let found = bench.runtime.block_on(bench.cloud.matching("136693071363", "leaky")).unwrap().remove(0);
    assert_eq!(found.devices, ["/dev/xvda", "/dev/sdf"]);
    let bake = BakeId::parse("b-1").unwrap();
    let volumes = || bench.runtime.block_on(bench.cloud.volumes(Some(&bake))).unwrap();
    let end = |id: &InstanceId| {
        bench.runtime.block_on(bench.cloud.terminate(id)).unwrap();
        bench.until("the end", || bench.look(id).state == InstanceState::Terminated);
    };

    let order = LaunchOrder { image: found.id, devices: found.devices, ..bench.order(false) };
    let id = bench.launch(&order).unwrap();
    let used: Vec<_> = volumes().into_iter().map(|one| (one.state, one.attached)).collect();
    assert_eq!(used, vec![(VolumeState::InUse, Some(id.clone())); 2]);
    end(&id);
    assert!(volumes().is_empty());

    let careless = LaunchOrder { devices: Vec::new(), token: "another".into(), ..order };
    let id = bench.launch(&careless).unwrap();
    let delete =
        |volume: &ovenbird_core::ports::Volume| bench.runtime.block_on(bench.cloud.delete_volume(&volume.id));
    assert_eq!(delete(&volumes()[0]).unwrap_err().name(), "TryAgain");
    end(&id);
    let left = volumes();
    assert!(left.len() == 2 && left.iter().all(|one| one.state == VolumeState::Available), "{left:?}");
    for volume in left.iter().chain(&left) {
        delete(volume).unwrap();
    }
    assert!(bench.runtime.block_on(bench.cloud.volumes(None)).unwrap().is_empty());
}

#[test]
fn who_runs_from_an_image_is_told_until_it_is_gone() {
    let bench = Bench::new(|_| {});
    let image = bench.endpoint.base.parse().unwrap();
    let users = || bench.runtime.block_on(bench.cloud.instances_of(&image)).unwrap();
    assert!(users().is_empty());
    let builder = bench.launch(&bench.order(false)).unwrap();
    assert_eq!((users().len(), &users()[0].id, &users()[0].image), (1, &builder, &image));
    bench.runtime.block_on(bench.cloud.terminate(&builder)).unwrap();
    bench.until("its end", || bench.live().is_empty());
    assert!(users().is_empty());
}

#[test]
fn another_stack_s_instance_is_not_among_ours() {
    let bench = Bench::new(|_| {});
    let mut other = bench.order(false);
    other.tags.insert(TAG_STACK.to_owned(), "ovenbird/two".to_owned());
    bench.launch(&other).unwrap();
    let bake = "b-1".parse().unwrap();
    assert!(bench.runtime.block_on(bench.cloud.of_bake(&bake)).unwrap().is_empty());
    assert!(bench.runtime.block_on(bench.cloud.all()).unwrap().is_empty());
}
