//! Accounts in which carrying our tags doesn't mean being ours: whatever goes wrong with a prune run there, it destroys
//! nothing that the table doesn't say this stack made.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use ovenbird_core::{
    domain::{bake::Status, id::BakeId, tags::TAG_BAKE},
    ports::Execution,
};
use ovenbird_sim::{RegisterImage, RunInstances};
use ovenbird_testkit::walk::{
    account::walk,
    machine::Diary,
    scenarios::{PLAIN, Run, Scenario},
};
use ovenbird_testkit::{Cloud, Fault};
use serde_json::json;

const BAKED: Scenario = Scenario { before: &["v1.jar", "v2.jar", "v3.jar", "v4.jar"], ..PLAIN };

/// An account, and what of it may go.
pub struct Strange {
    pub name: &'static str,
    account: fn() -> (Cloud, BTreeSet<String>),
}

/// All of them.
pub const STRANGE: &[Strange] = &[
    Strange { name: "prune in a second stack of the account", account: second_stack },
    Strange { name: "prune with an empty table", account: empty_table },
    Strange { name: "prune with a table that was put back by an hour", account: restored_table },
    Strange { name: "prune beside copies that have all our tags", account: copies },
];

/// Every instance, image, snapshot and volume that is there.
fn all(cloud: &Cloud) -> BTreeSet<String> {
    cloud.with(|world| {
        let instances = world.live_instances().map(|one| one.id.to_string());
        let images = world.own_images().map(|one| one.id.to_string());
        let snapshots = world.snapshots().map(|one| one.id.to_string());
        let volumes = world.volumes().map(|one| one.id.to_string());
        instances.chain(images).chain(snapshots).chain(volumes).collect()
    })
}

/// Four versions, a builder at work, and a machine that runs from the oldest image.
fn busy() -> Cloud {
    let (cloud, _) = BAKED.account();
    let oldest =
        cloud.with(|world| world.own_images().min_by_key(|one| one.created).map(|one| one.id.clone()));
    let (now, oldest) = (cloud.now(), oldest.expect("four were baked").to_string());
    let machine = RunInstances { image: oldest, min_count: 1, max_count: 1, ..RunInstances::default() };
    cloud.with(|world| world.run_instances(now, &machine)).unwrap();
    cloud.pass(SignedDuration::from_secs(60));
    cloud
}

fn second_stack() -> (Cloud, BTreeSet<String>) {
    (busy().of_stack("ovenbird/two".parse().unwrap()), BTreeSet::new())
}

fn empty_table() -> (Cloud, BTreeSet<String>) {
    let cloud = busy();
    cloud.restore_table(&[]);
    (cloud, BTreeSet::new())
}

/// The last bake was at work an hour ago, and has been promoted since.
fn restored_table() -> (Cloud, BTreeSet<String>) {
    let cloud = busy();
    let before = Scenario { before: &BAKED.before[..3], ..BAKED }.account().0.table();
    let mut rows = before;
    let (mut row, mut index) =
        cloud.table().into_iter().find(|(row, _)| row.key.sk == "BAKE#before-3").unwrap();
    row.doc["status"] = json!(Status::Running);
    row.doc["expires"] = json!("2020-01-01T00:00:00Z");
    index.status = Some((Status::Running.as_str().to_owned(), String::new()));
    rows.push((row, index));
    cloud.restore_table(&rows);
    cloud.stands(&BakeId::parse("before-3").unwrap(), Execution::Succeeded);
    // By the channel as it was, the newest image of then is the current one; older ones may go.
    let may_go = made_by(&cloud, &["before-1"]);
    (cloud, may_go)
}

/// A person copied the current image, and started a machine by "launch more like this" on a builder.
fn copies() -> (Cloud, BTreeSet<String>) {
    let cloud = busy();
    let now = cloud.now();
    cloud.with(|world| {
        let like = world.own_images().max_by_key(|one| one.created).unwrap().clone();
        let copy = RegisterImage {
            name: "a copy".into(),
            snapshot: like.snapshot.unwrap().to_string(),
            tags: [("image".to_owned(), like.tags.clone())].into(),
            ..RegisterImage::default()
        };
        world.register_image(now, &copy).unwrap();
        let mut tags = like.tags;
        tags.insert("ovenbird:role".to_owned(), "builder".to_owned());
        let machine = RunInstances {
            image: like.id.to_string(),
            min_count: 1,
            max_count: 1,
            tags: [("instance".to_owned(), tags)].into(),
            ..RunInstances::default()
        };
        world.run_instances(now, &machine).unwrap();
    });
    cloud.pass(SignedDuration::from_secs(60));
    let may_go = made_by(&cloud, &["before-1"]);
    (cloud, may_go)
}

/// The images of these bakes, with their snapshots: old, and nothing uses them.
fn made_by(cloud: &Cloud, bakes: &[&str]) -> BTreeSet<String> {
    cloud.with(|world| {
        let of =
            |tags: &ovenbird_sim::Tags| tags.get(TAG_BAKE).is_some_and(|one| bakes.contains(&one.as_str()));
        let images = world.own_images().filter(|one| of(&one.tags)).map(|one| one.id.to_string());
        let snapshots = world.snapshots().filter(|one| of(&one.tags)).map(|one| one.id.to_string());
        images.chain(snapshots).collect()
    })
}

/// Walks a prune run, with nothing going wrong and with every fault, and days of runs after it. Gives how many walks
/// there were, and what the first wrong one destroyed.
pub fn explore(strange: &Strange) -> (usize, Option<String>) {
    let (cloud, may_go) = (strange.account)();
    let stays: BTreeSet<String> = all(&cloud).difference(&may_go).cloned().collect();
    let first = cloud.calls().len();
    let rehearsal = cloud.clone();
    prune(&rehearsal, "run-0");
    let calls = rehearsal.calls().len();
    let faults = (first..calls).flat_map(|call| Fault::ALL.map(|fault| Some((call, fault))));
    let (mut walks, mut wrong) = (0, None);
    for case in std::iter::once(None).chain(faults) {
        walks += 1;
        let cloud = cloud.clone();
        if let Some((call, fault)) = case {
            cloud.inject(call, fault);
        }
        prune(&cloud, "run-0");
        for day in 1..=2 {
            cloud.pass(SignedDuration::from_hours(24));
            prune(&cloud, &format!("run-{day}"));
        }
        let left = all(&cloud);
        let gone: Vec<&String> = stays.difference(&left).collect();
        if !gone.is_empty() && wrong.is_none() {
            wrong = Some(format!("\n  {case:?}\n  VIOLATION: destroyed {gone:?}"));
        }
    }
    (walks, wrong)
}

fn prune(cloud: &Cloud, name: &str) {
    walk(cloud, &[(name.to_owned(), (0, Run::Prune))], &Diary::default());
    cloud.pass(SignedDuration::from_secs(10));
}
