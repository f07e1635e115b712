//! The adapter's look at what names images, and the stages of a retirement, on the endpoint.

use ovenbird_core::{
    domain::{
        id::{AmiId, SnapshotId},
        reference::Kind,
        tags::TAG_STACK,
    },
    ports::{
        ImageAttributes, ImageState, Images, Look, Permission, Protection, RecycleBin, References,
        Retirement, Templates, Versions,
    },
};
use ovenbird_sim::{
    BinKind, BinRule, Lasts, LockSnapshot, RegisterImage, RunInstances, World,
    auto_scaling::{
        Configuration, CreateGroup, Distribution, MixedInstancesPolicy, Override,
        refresh::StartInstanceRefresh,
    },
    launch_templates::{
        CreateLaunchTemplate, CreateLaunchTemplateVersion, LaunchTemplateData, RunByTemplate, TemplateSpec,
    },
};

use crate::adapter::Bench;

/// An image of this number: what nobody has, and things may name all the same.
fn image(number: usize) -> AmiId {
    format!("ami-{number:017x}").parse().unwrap()
}

fn data(image: &AmiId) -> LaunchTemplateData {
    LaunchTemplateData {
        image: Some(image.to_string()),
        instance_type: Some("t3.micro".into()),
        ..LaunchTemplateData::default()
    }
}

/// A template of which each version names another image.
pub fn template(world: &mut World, name: &str, images: &[AmiId]) -> TemplateSpec {
    let now = jiff::Timestamp::now();
    let first =
        CreateLaunchTemplate { name: name.into(), data: data(&images[0]), ..CreateLaunchTemplate::default() };
    let made = world.create_launch_template(now, &first).unwrap();
    let spec = TemplateSpec { id: Some(made.id.clone()), ..TemplateSpec::default() };
    for image in &images[1..] {
        let next = CreateLaunchTemplateVersion {
            template: spec.clone(),
            data: data(image),
            ..CreateLaunchTemplateVersion::default()
        };
        world.create_launch_template_version(now, &next).unwrap();
    }
    spec
}

fn named(look: &Look) -> Vec<(String, Kind, String)> {
    let mut named: Vec<_> =
        look.named.iter().map(|(image, by)| (image.to_string(), by.kind, by.id.clone())).collect();
    named.sort();
    named
}

/// EC2 gives at most 200 versions in a page, and its own look for references ten in all.
#[test]
fn every_version_of_every_template_is_read_and_the_newest_and_default_ones_in_few_calls() {
    let images: Vec<AmiId> = (0..230).map(image).collect();
    let bench = Bench::new(|world| {
        template(world, "web", &images);
        template(world, "one", &images[..1]);
    });
    let look = |versions| bench.runtime.block_on(bench.cloud.named_by_launch_templates(versions)).unwrap();
    let every = look(Versions::Every);
    assert_eq!(every.seen, 2);
    for (number, image) in images.iter().enumerate() {
        let id = format!("web version {}", number + 1);
        assert!(named(&every).contains(&(image.to_string(), Kind::LaunchTemplate, id)), "{number}");
    }
    let few = look(Versions::NewestAndDefault);
    let ids: Vec<String> = named(&few).into_iter().map(|(_, _, id)| id).collect();
    assert_eq!(ids, ["one version 1", "web version 1", "web version 230"]);
}

#[test]
fn what_a_group_and_its_refresh_name_is_found_and_so_are_instances() {
    let next = image(2);
    let mut base = None;
    let bench = Bench::new(|world| {
        let now = jiff::Timestamp::now();
        let id = world.describe_images(&ovenbird_sim::DescribeImages::default()).unwrap().items.remove(0).id;
        let spec = template(world, "web", std::slice::from_ref(&id));
        let policy = |image: &AmiId| {
            Configuration::Mixed(MixedInstancesPolicy {
                template: TemplateSpec { version: Some("1".into()), ..spec.clone() },
                overrides: vec![Override {
                    instance_type: Some("t3.micro".into()),
                    image: Some(image.to_string()),
                    ..Override::default()
                }],
                distribution: Distribution::default(),
            })
        };
        let subnet = world.describe_subnets(&[], &[]).unwrap().remove(0).id;
        let group = CreateGroup::new("web", policy(&id), (1, 1, 2), &[subnet]);
        world.create_auto_scaling_group(now, &group).unwrap();
        let refresh = StartInstanceRefresh {
            group: "web".into(),
            desired: Some(policy(&next)),
            ..StartInstanceRefresh::default()
        };
        world.start_instance_refresh(now, &refresh).unwrap();
        let launch =
            RunInstances { image: id.to_string(), min_count: 1, max_count: 1, ..RunInstances::default() };
        world.run_instances(now, &launch).unwrap();
        base = Some(id);
    });
    let groups = bench.runtime.block_on(bench.cloud.named_by_groups()).unwrap();
    let names = named(&groups);
    assert_eq!(groups.seen, 1);
    // What the refresh brings in is in no group yet: it ends when its instances run, and this image has none.
    let base = base.unwrap();
    let by = |image: &AmiId, id: &str| (image.to_string(), Kind::AutoScalingGroup, id.to_owned());
    assert!(names.contains(&by(&base, "web")), "{names:?}");
    assert!(names.contains(&by(&next, "web, by an instance refresh")), "{names:?}");
    let instances = bench.runtime.block_on(bench.cloud.named_by_instances()).unwrap();
    assert!(instances.seen >= 1 && instances.named.iter().all(|(image, _)| *image == base), "{instances:?}");
    for look in [
        bench.runtime.block_on(bench.cloud.named_by_launch_configurations()),
        bench.runtime.block_on(bench.cloud.named_by_fleets()),
        bench.runtime.block_on(bench.cloud.named_by_spot_fleets()),
    ] {
        assert_eq!(look.unwrap(), Look::default());
    }
}

/// More versions than EC2 shows on a page, or deletes in a call; and a success that says that some are left.
#[test]
fn versions_are_read_and_deleted_page_by_page_and_one_that_ec2_leaves_is_an_error() {
    let images: Vec<AmiId> = (0..230).map(image).collect();
    let mut own = String::new();
    let bench = Bench::new(|world| {
        own = template(world, "web", &images).id.unwrap();
        template(world, "other", &images[..1]);
        let tags = [(TAG_STACK.to_owned(), "ovenbird/one".to_owned())].into();
        world.create_tags(std::slice::from_ref(&own), &tags, false).unwrap();
    });
    let look = |name: &str| {
        let name = name.parse().unwrap();
        bench.runtime.block_on(bench.cloud.every_version(&name)).unwrap()
    };
    let web = look("web").unwrap();
    assert_eq!((web.id.as_str(), web.ours, web.default, web.latest()), (own.as_str(), true, 1, Some(230)));
    for (place, image) in images.iter().enumerate() {
        let number = u64::try_from(place).unwrap() + 1;
        assert_eq!(web.version(number).unwrap().image.as_ref(), Some(image));
    }
    assert!(!look("other").unwrap().ours);
    assert_eq!(look("none"), None);

    let delete = |template: &str, versions: &[u64]| {
        bench.runtime.block_on(bench.cloud.delete_versions(template, versions))
    };
    let most: Vec<u64> = (2..=229).collect();
    delete(&own, &most).unwrap();
    assert_eq!(look("web").unwrap().versions.len(), 2);
    // They are gone already.
    delete(&own, &most).unwrap();
    delete("lt-0123456789abcdef0", &[1]).unwrap();
    let error = delete(&own, &[230, 1]).unwrap_err().chain();
    assert!(error.contains("version 1") && error.contains("default"), "{error}");
    assert_eq!(look("web").unwrap().latest(), Some(1));
}

/// A version that something launches by its number is none that nobody needs.
#[test]
fn what_launches_by_a_version_s_number_is_told_with_it() {
    let mut id = String::new();
    let bench = Bench::new(|world| {
        let now = jiff::Timestamp::now();
        let base =
            world.describe_images(&ovenbird_sim::DescribeImages::default()).unwrap().items.remove(0).id;
        let spec = template(world, "web", &vec![base; 6]);
        id = spec.id.clone().unwrap();
        let version = |number: u64| TemplateSpec::of(&id, number);
        let policy = Configuration::Mixed(MixedInstancesPolicy {
            template: version(2),
            overrides: vec![Override {
                instance_type: Some("t3.micro".into()),
                template: Some(version(3)),
                ..Override::default()
            }],
            distribution: Distribution::default(),
        });
        let subnet = world.describe_subnets(&[], &[]).unwrap().remove(0).id;
        let mixed = CreateGroup::new("mixed", policy, (0, 0, 2), std::slice::from_ref(&subnet));
        world.create_auto_scaling_group(now, &mixed).unwrap();
        let plain = CreateGroup::new("plain", Configuration::Template(version(4)), (1, 1, 2), &[subnet]);
        world.create_auto_scaling_group(now, &plain).unwrap();
        let refresh = StartInstanceRefresh {
            group: "plain".into(),
            desired: Some(Configuration::Template(version(5))),
            ..StartInstanceRefresh::default()
        };
        world.start_instance_refresh(now, &refresh).unwrap();
        let launch =
            RunByTemplate { template: version(6), min_count: 1, max_count: 1, ..RunByTemplate::default() };
        world.run_instances_by_template(now, &launch).unwrap();
    });
    let groups = bench.runtime.block_on(bench.cloud.named_by_groups()).unwrap();
    let instances = bench.runtime.block_on(bench.cloud.named_by_instances()).unwrap();
    let by = |number: u64| {
        let pins = groups.pins.iter().chain(&instances.pins);
        let mine = pins.filter(|pin| pin.template == id && pin.version == number);
        mine.map(|pin| pin.by.clone()).collect::<Vec<_>>().join(" ")
    };
    assert!(by(1).is_empty());
    assert!(by(2).contains("group mixed") && by(3).contains("group mixed"));
    assert!(by(4).contains("group plain"));
    assert!(by(5).contains("group plain, by an instance refresh"), "{:?}", groups.pins);
    assert!(by(6).contains("instance i-"), "{:?}", instances.pins);
}

#[test]
fn an_image_goes_through_its_stages_and_back_and_each_step_twice_is_once() {
    let bench = Bench::new(|_| {});
    let id = bench.image();
    let (cloud, runtime) = (&bench.cloud, &bench.runtime);
    let now = jiff::Timestamp::now();
    let look = || {
        let of = [bench.snapshot()];
        runtime.block_on(cloud.images_with(&of)).unwrap().remove(0)
    };
    assert_eq!((look().state, look().deprecated), (ImageState::Available, None));
    assert_eq!((look().protection, look().imdsv2), (Protection::Off, false));
    let everybody = [
        Permission::Everybody,
        Permission::Account("210987654321".into()),
        Permission::Organization("arn:aws:organizations::1:organization/o-1".into()),
        Permission::Unit("arn:aws:organizations::1:ou/o-1/ou-1".into()),
    ];
    runtime.block_on(cloud.permit(&id, &everybody)).unwrap();
    assert_eq!(runtime.block_on(cloud.permissions(&id)).unwrap(), everybody);
    for _ in 0..2 {
        runtime.block_on(cloud.deprecate(&id, now)).unwrap();
        assert!(look().deprecated.unwrap() >= now);
    }
    for _ in 0..2 {
        runtime.block_on(cloud.disable(&id)).unwrap();
        assert_eq!(look().state, ImageState::Disabled);
    }
    assert_eq!(runtime.block_on(cloud.permissions(&id)).unwrap(), []);
    assert!(runtime.block_on(Images::image(cloud, &id)).unwrap().is_none(), "EC2 hides it from most");
    for _ in 0..2 {
        runtime.block_on(cloud.enable(&id)).unwrap();
        runtime.block_on(cloud.undeprecate(&id)).unwrap();
        assert_eq!((look().state, look().deprecated), (ImageState::Available, None));
    }
    for _ in 0..2 {
        runtime.block_on(cloud.require_imdsv2(&id)).unwrap();
        runtime.block_on(cloud.protect(&id)).unwrap();
        assert_eq!((look().protection, look().imdsv2), (Protection::On, true));
    }
    bench.state.call(|world, _| world.protect_image(id.as_str(), true, false)).unwrap();
    assert_eq!(look().protection, Protection::WithCooldown);
    runtime.block_on(cloud.unprotect(&id)).unwrap();
    assert_eq!(look().protection, Protection::Off);
    assert!(!runtime.block_on(cloud.deregister(&id)).unwrap(), "its cooldown has begun");
    // And one whose protection has none.
    let other = bench.registered("other");
    runtime.block_on(cloud.protect(&other)).unwrap();
    assert!(!runtime.block_on(cloud.deregister(&other)).unwrap());
    for _ in 0..2 {
        runtime.block_on(cloud.unprotect(&other)).unwrap();
    }
    assert!(runtime.block_on(cloud.deregister(&other)).unwrap());
    runtime.block_on(cloud.unprotect(&other)).unwrap();
    assert!(runtime.block_on(cloud.deregister(&other)).unwrap(), "it is gone already");
}

/// An image as `undo` takes it back, on the wire.
#[test]
fn an_image_comes_out_of_the_recycle_bin_after_its_snapshots_and_locks_are_seen() {
    let bench = Bench::new(|_| {});
    let id = bench.image();
    let (cloud, runtime) = (&bench.cloud, &bench.runtime);
    let found = runtime.block_on(cloud.images(None)).unwrap().remove(0);
    let snapshots = found.snapshots.clone();
    let gone: SnapshotId = "snap-00000000000000001".parse().unwrap();
    let asked = [snapshots[0].clone(), gone.clone()];
    let now = jiff::Timestamp::now();
    bench
        .state
        .call(|world, _| {
            for kind in [BinKind::Image, BinKind::Snapshot] {
                let (id, description) = (String::new(), String::new());
                let (tags, excluded) = (Vec::new(), Vec::new());
                world.create_bin_rule(BinRule { id, kind, days: 1, description, tags, excluded })?;
            }
            let snapshot = snapshots[0].to_string();
            let lock = LockSnapshot {
                snapshot,
                compliance: false,
                cool_off_hours: None,
                lasts: Lasts::Days(1),
                dry_run: false,
            };
            world.lock_snapshot(now, &lock).map(drop)
        })
        .unwrap();
    let locked = || runtime.block_on(cloud.locked(&asked)).unwrap();
    assert_eq!(locked(), [snapshots[0].clone()].into());
    bench.state.call(|world, _| world.unlock_snapshot(now, snapshots[0].as_str(), false)).unwrap();
    assert!(locked().is_empty());

    let binned = || {
        let image = runtime.block_on(cloud.binned_image(&id)).unwrap();
        (image, runtime.block_on(cloud.binned_snapshots(&asked)).unwrap().into_iter().collect::<Vec<_>>())
    };
    let there = || runtime.block_on(cloud.there(&asked)).unwrap();
    assert_eq!((binned(), there()), ((None, vec![]), vec![(snapshots[0].clone(), true)]));
    assert!(runtime.block_on(cloud.deregister(&id)).unwrap());
    runtime.block_on(cloud.delete_snapshot(&snapshots[0])).unwrap();
    assert_eq!((binned(), there()), ((Some(found.name.clone()), snapshots.clone()), vec![]));
    for snapshot in &asked {
        runtime.block_on(cloud.return_snapshot(snapshot)).unwrap();
    }
    assert_eq!(there(), [(snapshots[0].clone(), false)]);
    bench.until("the snapshot", || there() == [(snapshots[0].clone(), true)]);
    for _ in 0..2 {
        runtime.block_on(cloud.return_image(&id)).unwrap();
    }
    assert_eq!(runtime.block_on(cloud.images(None)).unwrap(), [found]);
    assert_eq!(binned(), (None, vec![]));
}

impl Bench {
    /// An image of the account, made of a snapshot that an instance of the base left.
    pub fn image(&self) -> AmiId {
        let order = self.order(false);
        let instance = self.launch(&order).unwrap();
        self.until("the builder", || {
            self.look(&instance).state == ovenbird_core::ports::InstanceState::Running
        });
        let name = "first".parse().unwrap();
        let first =
            self.runtime.block_on(self.cloud.create(&instance, &name, "", false, &order.tags)).unwrap();
        self.until("the image", || {
            let found = self.runtime.block_on(Images::image(&self.cloud, &first)).unwrap().unwrap();
            found.state == ImageState::Available
        });
        first
    }

    /// Another one of the same snapshot.
    pub fn registered(&self, name: &str) -> AmiId {
        let (name, snapshot) = (name.to_owned(), self.snapshot().to_string());
        let request = RegisterImage { name, snapshot, ..RegisterImage::default() };
        self.state.call(|world, now| world.register_image(now, &request)).expect("an image")
    }

    /// The snapshot of the only image.
    fn snapshot(&self) -> ovenbird_core::domain::id::SnapshotId {
        self.state.read(|world| world.snapshots().next().unwrap().id.clone())
    }
}
