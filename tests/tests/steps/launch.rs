//! A launch on the world: which offer it comes to, what stops it, and that every try twice is one instance.

use futures::executor::block_on;
use jiff::Timestamp;
use ovenbird_core::{
    Error, Result,
    domain::{
        bake::Bake,
        id::{AmiId, InstanceId},
        offer,
        recipe::{Builder, Volume},
        tags::TAG_BAKE,
    },
    ports::{Builders, Images, Profile, Stack},
    steps::launch_builder::launch::{self, Wanted},
    store::{Ledger, Versioned},
};
use ovenbird_sim::{BaseImage, Lack, Shortage, World};
use ovenbird_testkit::{Call, Cloud, Fault, SimulatedHardware};
use serde_json::json;

/// A bake that is about to launch.
#[derive(Clone)]
struct Bench {
    cloud: Cloud,
    base: AmiId,
}

impl Bench {
    fn new(shortages: Vec<Shortage>) -> Self {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut world = World::new("123456789012", "us-east-1");
        let base = BaseImage::debian_12("20260101", "x86_64");
        let base = world.register_base(now, &base);
        world.set_shortages(shortages);
        let hardware = SimulatedHardware::new(|_| ovenbird_testkit::Script::default());
        let bench = Self { cloud: Cloud::new(world, hardware, now), base };
        block_on(Ledger(&bench.cloud).save(&mut Versioned::new(bench.bake()))).unwrap();
        bench
    }

    /// The bake as it is before its first launch.
    fn bake(&self) -> Bake {
        let digest = "0".repeat(64);
        let document = json!({
            "bake": "b-1", "pipeline": "storefront", "status": "running", "trigger": "manual",
            "started": "2026-01-01T00:00:00Z", "expires": "2026-01-02T00:00:00Z", "options": {},
            "recipe": digest,
            "base": {"image": self.base, "name": "debian-12", "written": "image"},
            "inputs": {
                "base": self.base, "architecture": "x86_64", "configuration": digest, "runner": digest, "tests": digest,
            },
            "digest": digest, "image_name": "storefront-0",
            "settings": {
                "channel": "production", "verify_boot": false, "tags": {"team": "shop", TAG_BAKE: "another"},
                "deadlines": {"builder": 300, "validation": 120, "imaging": 300, "promotion": 60},
            },
            "stage": "builder", "timeline": [],
        });
        serde_json::from_value(document).unwrap()
    }

    /// One try of the step, with what an earlier one recorded.
    fn launch(&self, builder: &Builder) -> Result<(InstanceId, bool)> {
        let first = self.bake();
        let record = block_on(Ledger(&self.cloud).bake(&first.spec.pipeline, &first.spec.id)).unwrap();
        let mut bake = record.unwrap();
        let base = block_on(Images::image(&self.cloud, &self.base))?.unwrap();
        let wanted = Wanted {
            image: self.base.clone(),
            security_groups: builder.security_groups.clone(),
            profile: builder.instance_profile.clone().map_or(Profile::Stack, Profile::Named),
            volume: launch::root_volume(builder, &base)?,
            devices: base.devices,
            user_data: "#!/bin/sh".into(),
            purpose: "builder",
            tags: bake.tags(Stack::stack(&self.cloud)),
        };
        block_on(launch::launch(
            &mut bake,
            &wanted,
            &offer::offers(builder, "x86_64", &self.cloud.stack_subnets()),
            &self.cloud,
        ))
    }

    /// Type, zone and market of the only instance there is.
    #[track_caller]
    fn only(&self) -> (String, String, bool) {
        self.cloud.with(|world| {
            let live: Vec<_> = world.live_instances().collect();
            assert_eq!(live.len(), 1, "{live:?}");
            (live[0].instance_type.clone(), live[0].zone.clone(), live[0].spot)
        })
    }

    /// How often EC2 was asked for an instance.
    fn asked(&self) -> usize {
        self.launches().count()
    }

    fn launches(&self) -> impl Iterator<Item = usize> {
        let is_launch = |(_, call): &(usize, Call)| call.actions[0] == "ec2:RunInstances";
        self.cloud.calls().into_iter().enumerate().filter(is_launch).map(|(number, _)| number)
    }
}

/// The world's own subnets, one in each zone.
fn subnets(bench: &Bench) -> Vec<String> {
    bench
        .cloud
        .with(|world| world.describe_subnets(&[], &[]).unwrap().into_iter().map(|subnet| subnet.id).collect())
}

fn types(types: &[&str]) -> Builder {
    let instance_types = types.iter().map(ToString::to_string).collect();
    Builder { instance_types, ..Builder::default() }
}

fn two(spot: bool) -> Builder {
    Builder { spot, ..types(&["c7i.large", "m7i.large"]) }
}

fn short() -> Shortage {
    Shortage::of(Lack::Capacity)
}

#[test]
fn a_type_that_is_short_gives_way_to_the_next() {
    let bench = Bench::new(vec![short().for_type("c7i.large")]);
    let (_, spot) = bench.launch(&two(false)).unwrap();
    assert_eq!(bench.only(), ("m7i.large".into(), "us-east-1a".into(), false));
    assert_eq!((spot, bench.asked()), (false, 2));
}

#[test]
fn a_zone_that_is_short_gives_way_to_the_next_before_the_type_does() {
    let bench = Bench::new(vec![short().for_type("c7i.large").in_zone("us-east-1a")]);
    let builder = Builder { subnets: subnets(&bench), ..two(false) };
    bench.launch(&builder).unwrap();
    assert_eq!(bench.only(), ("c7i.large".into(), "us-east-1b".into(), false));
}

#[test]
fn spot_is_asked_for_first_and_falls_back_to_the_first_type_on_demand() {
    let bench = Bench::new(Vec::new());
    assert!(bench.launch(&two(true)).unwrap().1);
    assert_eq!(bench.only(), ("c7i.large".into(), "us-east-1a".into(), true));

    let bench = Bench::new(vec![short().if_spot(true)]);
    assert!(!bench.launch(&two(true)).unwrap().1);
    assert_eq!(bench.only(), ("c7i.large".into(), "us-east-1a".into(), false));
    assert_eq!(bench.asked(), 3);
}

#[test]
fn when_all_is_short_the_error_names_what_was_tried_in_order() {
    let bench = Bench::new(vec![short()]);
    let error = bench.launch(&two(true)).unwrap_err();
    insta::assert_snapshot!(error.chain().replace(bench.base.as_str(), "ami-1"), @r"
    no capacity: c7i.large spot (InsufficientInstanceCapacity), m7i.large spot (InsufficientInstanceCapacity), c7i.large on demand (InsufficientInstanceCapacity), m7i.large on demand (InsufficientInstanceCapacity)
      caused by: ec2:RunInstances on ami-1: InsufficientInstanceCapacity: We currently do not have sufficient m7i.large capacity in the Availability Zone you requested (us-east-1a).
    ");
    insta::assert_snapshot!(error.hint(), @"Add more `instance-types`, or `subnets` in other zones, under `[builder]` of the recipe");
    assert_eq!(bench.cloud.with(|world| world.live_instances().count()), 0);
}

#[test]
fn a_quota_is_not_asked_again_and_the_hint_says_what_it_is() {
    let bench = Bench::new(vec![
        Shortage::of(Lack::SpotQuota).if_spot(true),
        Shortage::of(Lack::VcpuQuota).if_spot(false),
    ]);
    let error = bench.launch(&two(true)).unwrap_err();
    // One spot offer stands for both, and so does one on demand: their types count to one quota.
    assert_eq!(bench.asked(), 2);
    assert!(error.hint().contains("Service Quotas"), "{}", error.hint());
}

#[test]
fn the_stack_s_subnets_are_tried_one_after_the_other() {
    let bench = Bench::new(vec![short().in_zone("us-east-1a")]);
    let own: Vec<String> = subnets(&bench).into_iter().take(2).collect();
    bench.cloud.around(|around| around.subnets = own);
    bench.launch(&two(false)).unwrap();
    assert_eq!(bench.only(), ("c7i.large".into(), "us-east-1b".into(), false));
    assert_eq!(bench.asked(), 2);
}

#[test]
fn a_full_subnet_is_left_for_good() {
    let bench =
        Bench::new(vec![Shortage::of(Lack::Addresses).in_zone("us-east-1a"), short().for_type("c7i.large")]);
    let builder = Builder { subnets: subnets(&bench).into_iter().take(2).collect(), ..two(false) };
    bench.launch(&builder).unwrap();
    assert_eq!(bench.only(), ("m7i.large".into(), "us-east-1b".into(), false));
    // c7i in a, c7i in b, m7i in b.
    assert_eq!(bench.asked(), 3);
}

#[test]
fn what_is_wrong_with_the_request_stops_at_once() {
    let bench = Bench::new(Vec::new());
    let builder = Builder { security_groups: vec!["sg-0123456789abcdef0".into()], ..two(true) };
    let error = bench.launch(&builder).unwrap_err();
    assert!(matches!(&error, Error::Aws { code, .. } if code == "InvalidGroup.NotFound"), "{error}");
    assert_eq!(bench.asked(), 1);
}

/// A reply is lost at each launch in turn; by the retry everything has changed: the first offer can be had, and the
/// instance doesn't show its tags yet.
#[test]
fn a_retry_makes_the_try_whose_reply_was_lost_and_no_earlier_one() {
    let plain = Bench::new(vec![short().if_spot(true)]);
    let ground = plain.clone();
    plain.launch(&two(true)).unwrap();
    for lost in plain.launches() {
        let bench = ground.clone();
        bench.cloud.inject(lost, Fault::ReplyLost);
        let error = bench.launch(&two(true)).unwrap_err();
        assert_eq!(error.name(), "Throttled");
        let made = bench.cloud.with(|world| world.live_instances().count());
        if made == 1 {
            bench.cloud.with(|world| world.set_shortages(Vec::new()));
        }
        bench.launch(&two(true)).unwrap();
        assert_eq!(bench.only(), ("c7i.large".into(), "us-east-1a".into(), false), "call {lost}");
    }
}

#[test]
fn every_try_has_a_token_of_its_own_and_a_token_with_other_parameters_is_refused() {
    let bench = Bench::new(vec![short().if_spot(true)]);
    let (first, _) = bench.launch(&two(true)).unwrap();
    let (again, _) = bench.launch(&two(true)).unwrap();
    assert_eq!(first, again);
    // The same offer, and yet another request.
    let error = bench.launch(&Builder { instance_profile: Some("another".into()), ..two(true) }).unwrap_err();
    assert_eq!(error.name(), "TryAgain");
    bench.only();
}

#[test]
fn a_launch_that_ec2_takes_back_says_what_to_do() {
    let bench = Bench::new(vec![Shortage::of(Lack::LateCapacity)]);
    let (id, _) = bench.launch(&two(false)).unwrap();
    let instance = block_on(Builders::instance(&bench.cloud, &id)).unwrap().unwrap();
    assert!(instance.state.is_gone());
    assert!(instance.loss.advice().contains("another type"), "{}", instance.reason);
}

#[test]
fn options_reach_the_instance_and_its_volume() {
    let bench = Bench::new(Vec::new());
    let volume = Volume {
        gib: Some(20),
        kind: Some("io2".into()),
        iops: Some(4000),
        throughput: None,
        kms_key: Some("alias/images".into()),
    };
    let builder = Builder { volume: Some(volume), instance_profile: Some("own".into()), ..two(true) };
    let (id, _) = bench.launch(&builder).unwrap();
    bench.cloud.with(|world| {
        let instance = world.live_instances().find(|one| one.id == id).unwrap();
        assert_eq!(instance.profile.as_deref(), Some("own"));
        let volume = world.volumes().find(|volume| volume.instance.as_ref() == Some(&id)).unwrap();
        assert_eq!((volume.disk.size, volume.disk.kind.as_str(), volume.disk.iops), (20, "io2", Some(4000)));
        assert_eq!(volume.disk.kms_key.as_deref(), Some("arn:aws:kms:us-east-1:123456789012:alias/images"));
        assert!(volume.delete_on_termination);
        for tags in [&instance.tags, &volume.tags] {
            assert_eq!(tags.get("team").map(String::as_str), Some("shop"));
            // Ours win: what is found by them must be ours.
            assert_eq!(tags.get(TAG_BAKE).map(String::as_str), Some("b-1"));
        }
    });
    let seen = block_on(bench.cloud.of_bake(&bench.bake().spec.id)).unwrap();
    assert!(seen[0].spot);
}
