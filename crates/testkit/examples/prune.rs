//! Prints what a prune run of a large account takes: `make bench` shows it beside the goals.
//!
//! The account is in memory. How long it takes for its answers is told apart from what the planner and the inventory take
//! themselves. How long AWS takes is drawn from the table of latencies, and its requests are counted: a list is one call here,
//! and a request for each page there.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    collections::BTreeMap,
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll, Waker},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use ovenbird_core::functions;
use ovenbird_sim::{
    RunInstances, World,
    auto_scaling::{Configuration, CreateGroup},
    launch_templates::{CreateLaunchTemplate, CreateLaunchTemplateVersion, LaunchTemplateData, TemplateSpec},
};
use ovenbird_testkit::{
    Call, Cloud,
    latency::Latency,
    rehearsal::buckets,
    walk::{
        account,
        scenarios::{PLAIN, Scenario},
    },
};
use serde_json::{Value, json};

/// Counts what is allocated, and the most of it that was at one time.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

#[expect(unsafe_code, reason = "an allocator is unsafe; this one only counts, and hands on")]
// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the layout is the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: it was allocated above, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What stands in the account beside the images: of each so many.
const INSTANCES: usize = 2_000;
const TEMPLATES: usize = 500;
const VERSIONS: usize = 20;
const GROUPS: usize = 200;
/// So many images a pipeline has.
const OF_A_PIPELINE: usize = 100;

/// The goals for 10,000 images, in a function of 512 MB.
const GOALS: (f64, f64) = (2.0, 100.0);

/// What a plan took.
struct Seen {
    images: usize,
    /// The plan's own seconds on a CPU.
    seconds: f64,
    megabytes: f64,
    /// AWS's requests, by action.
    requests: BTreeMap<&'static str, usize>,
}

fn main() {
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|size| size.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![1_000, 10_000, 100_000] } else { sizes };
    println!(
        "A prune plan beside {INSTANCES} instances, {TEMPLATES} templates of {VERSIONS} versions and {GROUPS} groups; \
         two snapshots and a bake an image, {OF_A_PIPELINE} images a pipeline"
    );
    println!(
        "{:>8} {:>9} {:>9} {:>9} {:>9}  which requests",
        "images", "CPU s", "(answers)", "MB", "requests"
    );
    let all: Vec<Seen> = sizes.iter().map(|images| measure(*images)).collect();
    for Seen { images, seconds, megabytes, .. } in all.iter().filter(|one| one.images == 10_000) {
        let (time, memory) = GOALS;
        println!(
            "{images} images: {:.0}% of {time} s, {:.0}% of {memory} MB",
            seconds / time * 100.0,
            megabytes / memory * 100.0
        );
    }
    if let [first, .., last] = all.as_slice() {
        println!(
            "from {} to {} images: {:.0} times as many, {:.0} times the time, {:.0} times the memory",
            first.images,
            last.images,
            last.images as f64 / first.images as f64,
            last.seconds / first.seconds,
            last.megabytes / first.megabytes
        );
    }
    act(10_000);
}

/// For how long this thread was on a CPU: what others do on this machine doesn't count.
fn on_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanoseconds = text.split(' ').next().and_then(|word| word.parse().ok()).expect("a number");
    Duration::from_nanos(nanoseconds)
}

fn measure(images: usize) -> Seen {
    let cloud = account(images);
    cloud.time_answers(on_cpu);
    let (calls, held) = (cloud.calls().len(), NOW.load(Ordering::Relaxed));
    MOST.store(held, Ordering::Relaxed);
    let begun = on_cpu();
    let plan = json!({"run": "a-run", "action": "plan", "request": {"dry-run": true}});
    let answer = futures::executor::block_on(functions::prune(&cloud, plan, cloud.now())).expect("a plan");
    let answers = cloud.answers_took().as_secs_f64();
    let seconds = (on_cpu() - begun).as_secs_f64() - answers;
    let most = MOST.load(Ordering::Relaxed).saturating_sub(held);
    assert_eq!(answer["problems"], json!([]));
    let kept = answer["kept"].as_u64().unwrap_or_default();
    assert!(kept > images as u64 / 2, "{kept} of {images} stay: {answer}");
    let requests = requests(&cloud.calls()[calls..], images, true);
    let seen = Seen { images, seconds, megabytes: most as f64 / 1e6, requests };
    let Seen { megabytes, requests, .. } = &seen;
    println!(
        "{images:>8} {seconds:>9.3} {answers:>9.3} {megabytes:>9.1} {:>9}  {}",
        requests.values().sum::<usize>(),
        most_of(requests)
    );
    seen
}

/// The actions of which there are most requests.
fn most_of(requests: &BTreeMap<&'static str, usize>) -> String {
    let mut most: Vec<_> = requests.iter().collect();
    most.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let most: Vec<String> = most.iter().take(6).map(|(name, count)| format!("{name} {count}")).collect();
    most.join(", ")
}

/// AWS's requests for these calls: one for each page of a list.
fn requests(calls: &[Call], images: usize, plans: bool) -> BTreeMap<&'static str, usize> {
    let mut requests: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut note = |action, count: usize| *requests.entry(action).or_default() += count;
    for call in calls {
        let action = call.actions[0];
        match action {
            "ec2:DescribeImages" if plans => note(action, images.div_ceil(1_000)),
            "ec2:DescribeSnapshots" if plans => note(action, (2 * images).div_ceil(1_000)),
            "ec2:DescribeLaunchTemplates" => {
                note(action, TEMPLATES.div_ceil(200));
                // The newest and the default version of all, and of each template that has more than one all of them.
                let every = if plans { TEMPLATES } else { 0 };
                note("ec2:DescribeLaunchTemplateVersions", (2 * TEMPLATES).div_ceil(200) + every);
            }
            "autoscaling:DescribeAutoScalingGroups" => {
                note(action, GROUPS.div_ceil(100));
                note("autoscaling:DescribeInstanceRefreshes", GROUPS);
            }
            _ => note(action, 1),
        }
    }
    requests
}

/// Plans and acts at AWS's pace, by the table of latencies, and prints how much of AWS's buckets that takes.
fn act(images: usize) {
    let cloud = account(images);
    cloud.answer_after(Latency::new(1));
    let plan = json!({"run": "a-run", "action": "plan", "request": {}});
    let (plan, took) = at_pace(&cloud, functions::prune(&cloud, plan, cloud.now()));
    println!(
        "{images} images: a plan waits for answers for {:.1} s, each list as one page",
        took.as_secs_f64()
    );
    let plan = plan.expect("a plan");
    let items = plan["retire"].as_array().expect("a list");
    let (first, begun) = (cloud.calls().len(), cloud.now());
    for item in items {
        let (done, _) =
            at_pace(&cloud, functions::prune(&cloud, json!({"action": "retire", "item": item}), cloud.now()));
        assert_eq!(done.expect("an act")["reason"], "retired");
    }
    let took = cloud.now().duration_since(begun).as_secs_f64();
    let calls = &cloud.calls()[first..];
    let requests = requests(calls, images, false);
    println!(
        "acting on {} of them takes {took:.1} s, each list as one page, and {} requests: {}",
        items.len(),
        requests.values().sum::<usize>(),
        most_of(&requests)
    );
    let times: Vec<_> = calls.iter().map(|call| (call.at.duration_since(begun), call.actions[0])).collect();
    for (api, bucket) in buckets::used(&times) {
        println!("  {api}: {:.0} of {} at once", bucket.used, bucket.capacity);
    }
}

/// Runs a function while answers take their time; gives what came of it, and how long it took.
fn at_pace<T>(cloud: &Cloud, work: impl Future<Output = T>) -> (T, SignedDuration) {
    let begun = cloud.now();
    let mut work = pin!(work);
    loop {
        if let Poll::Ready(done) = work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return (done, cloud.now().duration_since(begun));
        }
        cloud.pass(cloud.take_delay().expect("it waits for an answer"));
    }
}

/// An account with so many images of this stack, a hundred of each pipeline; a third of them is named by something.
fn account(images: usize) -> Cloud {
    let (cloud, _) = Scenario { before: &["v1.jar"], ..PLAIN }.account();
    let now = cloud.now();
    let rows = cloud.with(|world| world.clone().take_changes());
    let of = |table: &str| {
        let row = rows.iter().rfind(|one| one.table == table && is_ours(one.row.as_ref()));
        row.and_then(|one| one.row.clone()).expect("a row")
    };
    let (image, snapshot) = (of("images"), of("snapshots"));
    let items = cloud.rows();
    let item = |sk: &str| items.iter().find(|row| row.key.sk.starts_with(sk)).expect("an item").doc.clone();
    let (bake, set, channel) = (item("BAKE#"), item("SET"), item("CHANNEL#"));
    let recipe = recipe(&cloud);
    let mut world: Vec<_> = rows
        .iter()
        .filter_map(|one| Some((one.table.to_owned(), one.key.clone(), one.row.clone()?)))
        .collect();
    for number in 0..images {
        let pipeline = format!("pipeline-{}", number / OF_A_PIPELINE);
        let (id, name) = (image_id(number), format!("{pipeline}-{number}"));
        let made = now - SignedDuration::from_hours(24 * (images - number) as i64 % 2_000 + 48);
        let snapshots = [format!("snap-{:017x}", 2 * number + 1), format!("snap-{:017x}", 2 * number + 2)];
        let tags = |row: &mut Value| {
            row["tags"]["ovenbird:pipeline"] = json!(pipeline);
            row["tags"]["ovenbird:bake"] = json!(name);
        };
        let mut row = image.clone();
        (row["id"], row["name"], row["created"]) = (json!(id), json!(name), json!(made));
        row["snapshot"] = json!(snapshots[0]);
        row["devices"][0]["snapshot"] = json!(snapshots[1]);
        tags(&mut row);
        world.push(("images".to_owned(), id.clone(), row));
        for one in &snapshots {
            let mut row = snapshot.clone();
            row["id"] = json!(one);
            tags(&mut row);
            world.push(("snapshots".to_owned(), one.clone(), row));
        }
        let mut doc = bake.clone();
        (doc["bake"], doc["pipeline"], doc["image"]) = (json!(name), json!(pipeline), json!(id));
        (doc["image_name"], doc["snapshots"]) = (json!(name), json!(snapshots));
        cloud.put_item(&format!("PIPELINE#{pipeline}"), &format!("BAKE#{name}"), doc);
        let mut doc = set.clone();
        (doc["image"], doc["bake"], doc["pipeline"]) = (json!(id), json!(name), json!(pipeline));
        doc["snapshots"] = json!(snapshots);
        cloud.put_item(&format!("IMAGE#{id}"), "SET", doc);
        if number % OF_A_PIPELINE == OF_A_PIPELINE - 1 {
            account::push(&cloud, &recipe.replace("storefront", &pipeline));
            let mut doc = channel.clone();
            (doc["pipeline"], doc["current"]["image"]) = (json!(pipeline), json!(id));
            doc["current"]["bake"] = json!(name);
            cloud.put_item(&format!("PIPELINE#{pipeline}"), "CHANNEL#production", doc);
        }
    }
    cloud.with(|there| *there = World::of_rows(world).expect("rows as they were"));
    cloud.with(|world| fill(world, now, images));
    cloud
}

fn is_ours(row: Option<&Value>) -> bool {
    row.is_some_and(|row| row["tags"].get("ovenbird:bake").is_some())
}

fn recipe(cloud: &Cloud) -> String {
    use ovenbird_core::{ports::Bucket as _, store::keys, store::recipes::RecipePointer};
    let pipeline = "storefront".parse().expect("a name");
    let text =
        |key: &str| futures::executor::block_on(cloud.text(key)).expect("an object").expect("it is there");
    let pointer: RecipePointer = serde_json::from_str(&text(&keys::recipe_pointer(&pipeline))).expect("JSON");
    text(&keys::recipe(&pipeline, &pointer.version))
}

fn image_id(number: usize) -> String {
    format!("ami-{:017x}", number + 1)
}

/// What names images: instances, versions, groups.
fn fill(world: &mut World, now: Timestamp, images: usize) {
    let some = |number: usize| image_id(number % (images / 3));
    for number in 0..INSTANCES / 100 {
        let request = RunInstances {
            image: some(number),
            instance_type: Some("t3.micro".to_owned()),
            min_count: 100,
            max_count: 100,
            ..RunInstances::default()
        };
        world.run_instances(now, &request).expect("instances");
    }
    let mut specs = Vec::new();
    for number in 0..TEMPLATES {
        let data = |version: usize| LaunchTemplateData {
            image: Some(some(number * VERSIONS + version)),
            instance_type: Some("t3.micro".to_owned()),
            ..LaunchTemplateData::default()
        };
        let name = format!("template-{number}");
        let first = CreateLaunchTemplate { name, data: data(0), ..CreateLaunchTemplate::default() };
        let made = world.create_launch_template(now, &first).expect("a template");
        let template = TemplateSpec { id: Some(made.id), ..TemplateSpec::default() };
        for version in 1..VERSIONS {
            let next = CreateLaunchTemplateVersion {
                template: template.clone(),
                data: data(version),
                ..CreateLaunchTemplateVersion::default()
            };
            world.create_launch_template_version(now, &next).expect("a version");
        }
        specs.push(template);
    }
    let subnet = world.describe_subnets(&[], &[]).expect("subnets").remove(0).id;
    for (number, template) in specs.into_iter().take(GROUPS).enumerate() {
        let template = TemplateSpec { version: Some("3".to_owned()), ..template };
        let name = format!("group-{number}");
        let configuration = Configuration::Template(template);
        let request = CreateGroup::new(&name, configuration, (0, 0, 10), std::slice::from_ref(&subnet));
        world.create_auto_scaling_group(now, &request).expect("a group");
    }
}
