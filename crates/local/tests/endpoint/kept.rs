//! What is kept of the world, and what keeping it costs.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use ovenbird_local::{CloudState, Home, Simulated, Store};
use ovenbird_sim::{
    BaseImage, CreateImage, DescribeImages, MachineEvent, RegisterImage, RunInstances, Tags, World,
};

/// A folder as the supervisor makes it ready.
fn home(folder: &Path) -> Home {
    fs::create_dir_all(folder.join("state")).expect("made");
    Home::new(folder)
}

fn launch(base: &str) -> RunInstances {
    RunInstances { image: base.to_owned(), min_count: 1, max_count: 1, ..RunInstances::default() }
}

fn image(instance: &str, name: String) -> CreateImage {
    CreateImage { instance: instance.to_owned(), name, no_reboot: true, ..CreateImage::default() }
}

/// Puts a base, an instance and so many images into a world; gives base and instance.
fn fill(world: &mut World, images: usize) -> (String, String) {
    let now = Timestamp::now();
    let base = world.register_base(now, &BaseImage::debian_12("test", "x86_64")).to_string();
    let instance = world.run_instances(now, &launch(&base)).expect("a launch")[0].id.clone();
    world.apply(now, MachineEvent::Booted { instance: instance.clone() });
    world.create_image(now, &image(instance.as_str(), "of-it".into())).expect("an image");
    let snapshot = world.snapshots().next().expect("its snapshot").id.clone();
    world.apply(now, MachineEvent::Frozen { snapshot: snapshot.clone(), bytes: 1 << 20 });
    for n in 0..images {
        let (name, snapshot) = (format!("filler-{n}"), snapshot.to_string());
        let tags = BTreeMap::from([("image".to_owned(), Tags::from([("n".to_owned(), n.to_string())]))]);
        let request = RegisterImage { name, snapshot, tags, ..RegisterImage::default() };
        world.register_image(now, &request).expect("an image");
    }
    world.take_orders();
    (base, instance.to_string())
}

fn json(world: &World) -> serde_json::Value {
    serde_json::to_value(world).expect("JSON")
}

fn state(world: World, store: Store) -> Arc<CloudState> {
    let (sender, events) = tokio::sync::mpsc::unbounded_channel();
    CloudState::start(world, Box::new(Simulated::new(sender)), events, Some(store))
}

#[test]
fn a_home_that_an_older_version_saved_is_read_and_kept_from_then_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = home(folder.path());
    let mut older = World::new("123456789012", "us-east-1");
    fill(&mut older, 3);
    let saved = serde_json::to_vec(&older).expect("JSON");
    fs::write(home.older_world(), &saved).expect("saved");
    let (store, world) = Store::open(&home).expect("opened");
    assert_eq!(json(&world), json(&older));
    assert!(!home.older_world().exists(), "it would be read for the newer one");
    drop(store);
    // It may be there once more: the process was killed before it removed it.
    fs::write(home.older_world(), "an older world").expect("saved");
    let (_store, again) = Store::open(&home).expect("opened");
    assert_eq!(json(&again), json(&older));
    assert!(!home.older_world().exists());
}

#[tokio::test]
async fn what_was_answered_is_there_whatever_becomes_of_the_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = home(folder.path());
    let (store, mut world) = Store::open(&home).expect("opened");
    let (base, instance) = fill(&mut world, 2);
    let state = state(world, store);
    let made = state.call(|world, now| world.create_image(now, &image(&instance, "answered".into())));
    let made = made.expect("an image");
    // The file at this moment is what a process that was killed leaves.
    let seen = |number: u32| {
        let copy = tempfile::tempdir().expect("a folder");
        let after = self::home(copy.path());
        fs::copy(home.world(), after.world()).expect("copied");
        let (_store, world) = Store::open(&after).unwrap_or_else(|error| panic!("{number}: {error}"));
        world
    };
    assert_eq!(seen(1).image(&made).expect("it is there").name, "answered");
    let tags = Tags::from([("stage".into(), "kept".into())]);
    state.call(|world, _| world.create_tags(&[made.to_string()], &tags, false)).expect("tagged");
    assert_eq!(seen(2).image(&made).expect("it is there").tags["stage"], "kept");
    state.call(|world, now| world.deregister_image(now, made.as_str(), false, false)).expect("deregistered");
    let last = seen(3);
    assert!(last.image(&made).is_none(), "it is back");
    // And all that nobody asked about.
    assert_eq!(json(&last), state.read(json));
    assert!(last.image(&base.parse().expect("an id")).is_some());
}

#[test]
fn a_file_that_is_no_world_is_said_to_be_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = home(folder.path());
    for bytes in [&b"{"[..], &[7; 1 << 16]] {
        fs::write(home.world(), bytes).expect("written");
        let error = Store::open(&home).expect_err("it is none");
        assert!(error.to_string().contains("world.redb can't be read"), "{error}");
    }
}

/// On a disk that is full a call isn't answered as done, and what it changed is written when there is room again.
#[test]
fn what_can_not_be_written_is_not_answered_as_done() {
    if !nix::unistd::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "CI must run this test, and it needs root");
        eprintln!("SKIPPED: it needs root");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).expect("made");
    let mount = |arguments: &[&str]| {
        let status = std::process::Command::new(arguments[0]).args(&arguments[1..]).arg(&disk).status();
        assert!(status.expect("it runs").success(), "{arguments:?}");
    };
    mount(&["mount", "-t", "tmpfs", "-o", "size=8m", "none"]);
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let result = std::panic::catch_unwind(|| {
        let home = home(&disk);
        let (store, mut world) = Store::open(&home).expect("opened");
        let (_, instance) = fill(&mut world, 1);
        runtime.block_on(async {
            let state = state(world, store);
            state.keep_time();
            let key = |name: &str| {
                let text = "x".repeat(60_000);
                let tags = Tags::from([(name.to_owned(), "value".to_owned())]);
                state.call(|world, now| {
                    let request =
                        CreateImage { description: Some(text), ..image(&instance, name.to_owned()) };
                    world.create_image(now, &request)?;
                    world.create_tags(std::slice::from_ref(&instance), &tags, false)
                })
            };
            key("before").expect("there is room");
            fs::write(disk.join("ballast"), vec![0; 16 << 20]).expect_err("it is full");
            let refused = (0..200).find_map(|n| key(&format!("full-{n}")).err()).expect("it was never full");
            assert_eq!((refused.code, refused.http), ("InternalError", 500), "{refused}");
            fs::remove_file(disk.join("ballast")).expect("removed");
            tokio::time::sleep(Duration::from_millis(2500)).await;
            key("after").expect("there is room again");
            let now = state.read(json);
            let copy = tempfile::tempdir().expect("a folder");
            let after = self::home(copy.path());
            fs::copy(home.world(), after.world()).expect("copied");
            assert!(json(&Store::open(&after).expect("opened").1) == now, "what was not written is lost");
        });
    });
    drop(runtime);
    mount(&["umount", "--lazy"]);
    if let Err(failed) = result {
        std::panic::resume_unwind(failed);
    }
}

/// The middle of the times that each call takes, in milliseconds.
type Cost = BTreeMap<&'static str, f64>;

fn cost(images: usize) -> Cost {
    let folder = tempfile::tempdir().expect("a folder");
    let home = home(folder.path());
    let (store, mut world) = Store::open(&home).expect("opened");
    let (base, instance) = fill(&mut world, images);
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let mut cost = runtime.block_on(async {
        let state = state(world, store);
        let middle = |count: u32, act: &dyn Fn(u32)| {
            let mut times: Vec<f64> = (0..count)
                .map(|n| {
                    let start = Instant::now();
                    act(n);
                    start.elapsed().as_secs_f64() * 1e3
                })
                .collect();
            times.sort_by(f64::total_cmp);
            times[times.len() / 2]
        };
        // What was filled in is written first.
        state
            .call(|world, now| world.create_image(now, &image(&instance, "first".into())))
            .expect("an image");
        let tags = middle(41, &|n| {
            let tags = Tags::from([("n".to_owned(), n.to_string())]);
            state
                .call(|world, _| world.create_tags(std::slice::from_ref(&instance), &tags, false))
                .expect("tags");
        });
        let launch = middle(21, &|_| {
            state.call(|world, now| world.run_instances(now, &launch(&base))).expect("a launch");
        });
        let made = middle(21, &|n| {
            state
                .call(|world, now| world.create_image(now, &image(&instance, format!("more-{n}"))))
                .expect("image");
        });
        let described = |request: &DescribeImages| {
            middle(11, &|_| {
                state.read(|world| world.describe_images(request).map(drop)).expect("described");
            })
        };
        let one_image = described(&DescribeImages { ids: vec![base.clone()], ..DescribeImages::default() });
        let all_images = described(&DescribeImages::default());
        Cost::from([
            ("CreateTags", tags),
            ("RunInstances", launch),
            ("CreateImage", made),
            ("DescribeImages of one", one_image),
            ("DescribeImages of all", all_images),
        ])
    });
    drop(runtime);
    let start = Instant::now();
    drop(Store::open(&home).expect("opened"));
    cost.insert("to read it all again", start.elapsed().as_secs_f64() * 1e3);
    cost
}

#[test]
fn a_change_costs_the_same_in_a_large_world_as_in_a_small_one() {
    let (small, large) = (cost(10), cost(1_000));
    eprintln!("10 images: {small:.2?}\n1,000 images: {large:.2?}");
    // Written whole, it was 12 times as much. Other programs of the machine may slow either down.
    for call in ["CreateTags", "RunInstances", "CreateImage"] {
        assert!(large[call] < small[call] * 4.0 + 1.0, "{call}: {small:?} {large:?}");
    }
}

#[test]
#[ignore = "it measures, and takes a minute"]
fn what_a_call_costs_at_10_000_images() {
    for images in [10, 1_000, 10_000] {
        eprintln!("{images} images, ms: {:.2?}", cost(images));
    }
}
