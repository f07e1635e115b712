//! Many triggers at once: one builder for one artifact, and the newest of many artifacts in the end.

use std::{collections::BTreeMap, future::poll_fn, task::Poll};

use futures::{executor::block_on, future::join_all};
use jiff::SignedDuration;
use ovenbird_core::{
    Error, Result,
    domain::{
        bake::{Bake, BakeSpec, Document, Status},
        id::{AmiId, ImageName, InstanceId, ParameterName, PipelineName},
        turn::{Answer, Limits},
    },
    functions,
    ports::{Image, Images, Key, Parameters, Row, Table, Write},
    steps::promote,
    store::{Channel, Ledger},
};
use ovenbird_testkit::Cloud;
use ovenbird_testkit::walk::{
    account::walk,
    machine::{Diary, End},
    scenarios::{Machines, PLAIN, Run, Scenario},
};
use serde_json::json;

fn bake(end: &End) -> Bake {
    match end {
        End::Succeeded(document) => serde_json::from_value(document.clone()).unwrap(),
        End::Failed { .. } | End::Lost | End::Broken(_) => panic!("{end:?}"),
    }
}

fn run(scenario: &Scenario) -> (Cloud, BTreeMap<String, Bake>) {
    let (cloud, _) = scenario.account();
    let ends = walk(&cloud, &scenario.runs(), &Diary::default());
    assert_eq!(ends.len(), scenario.runs.len());
    (cloud, ends.into_iter().map(|(name, end)| (name, bake(&end))).collect())
}

fn times(cloud: &Cloud, action: &str) -> usize {
    cloud.calls().iter().filter(|call| call.actions.first().is_some_and(|one| *one == action)).count()
}

fn channel(cloud: &Cloud) -> Channel {
    let (pipeline, name) = ("storefront".parse().unwrap(), "production".parse().unwrap());
    block_on(Ledger(cloud).channel(&pipeline, &name)).unwrap().unwrap()
}

#[test]
fn fifty_uploads_of_one_artifact_are_one_builder_one_image_and_fifty_successes() {
    let (cloud, bakes) = run(&Scenario { runs: &[(0, Run::Upload("v1.jar")); 50], ..PLAIN });
    assert_eq!((times(&cloud, "ec2:RunInstances"), times(&cloud, "ec2:CreateImage")), (1, 1));
    let image = bakes["run-0"].progress.image.clone();
    assert!(image.is_some());
    for bake in bakes.values() {
        assert_eq!(
            (bake.progress.status, &bake.progress.image),
            (Status::Promoted, &image),
            "{}",
            bake.spec.id
        );
    }
    assert_eq!(bakes.values().filter(|bake| !bake.progress.reused).count(), 1);
}

/// A new account lets ten functions run at a time, and a bake that waits is one of them for most of the time. Lambda's refusal
/// says nothing of the bake, so it waits.
#[test]
fn a_bake_waits_for_minutes_while_lambda_starts_no_function() {
    let scenario = Scenario { runs: &[(0, Run::Upload("v1.jar"))], deadlines: "", ..PLAIN };
    for after in (0..60).step_by(2).map(SignedDuration::from_secs) {
        let (cloud, _) = scenario.account();
        cloud.keep_functions_busy(after, SignedDuration::from_mins(4));
        let ends = walk(&cloud, &scenario.runs(), &Diary::default());
        assert_eq!(bake(&ends["run-0"]).progress.status, Status::Promoted, "busy after {after}");
    }
}

/// Uploads of so many artifacts, so many of them in the same second.
fn uploads(count: usize, a_second: u64) -> &'static [(u64, Run)] {
    let names = (0..count).map(|number| &*format!("v{number:03}.jar").leak());
    (0..).zip(names).map(|(at, name)| (at / a_second, Run::Upload(name))).collect::<Vec<_>>().leak()
}

/// How many builders a pipeline has at the same time when its recipe doesn't say.
const CONCURRENCY: usize = 2;

#[test]
fn a_hundred_uploads_in_a_second_start_one_builder_more_than_may_run_at_once() {
    for (builder, concurrency) in [(PLAIN.builder, CONCURRENCY), ("[builder]\nconcurrency = 1\n", 1)] {
        let (cloud, bakes) = run(&Scenario { builder, runs: uploads(100, 100), ..PLAIN });
        let launched = times(&cloud, "ec2:RunInstances");
        assert!(launched <= concurrency + 1, "{launched} builders, {concurrency} at once");
        let newest = bakes.values().max_by(|a, b| a.spec.order().compare(&b.spec.order())).unwrap();
        assert_eq!(newest.progress.status, Status::Promoted);
        assert_eq!(channel(&cloud).current.unwrap().bake, newest.spec.id);
        let overtaken = bakes.values().filter(|bake| bake.progress.image.is_none());
        assert_eq!(overtaken.clone().count(), 100 - launched);
        for bake in overtaken {
            let why = bake.progress.not_promoted.as_deref().unwrap_or_default();
            assert!(bake.progress.status == Status::Superseded && why.contains("a newer upload"), "{why}");
            assert_eq!(bake.progress.builder, None);
        }
    }
}

#[test]
fn of_twenty_artifacts_at_once_the_newest_is_promoted_last_and_none_fails() {
    // Three seconds for twenty uploads: some are of the same second.
    let scenario = Scenario { machines: Machines::AreUneven, runs: uploads(20, 7), ..PLAIN };
    let (cloud, bakes) = run(&scenario);
    let newest = bakes.values().max_by(|a, b| a.spec.order().compare(&b.spec.order())).unwrap();
    let current = channel(&cloud).current.unwrap();
    assert!(newest.spec.order().compare(&current.order).is_eq(), "{current:?}");
    assert_eq!(newest.spec.order().uploaded, current.order.uploaded);
    let count = |status| bakes.values().filter(|bake| bake.progress.status == status).count();
    assert!(count(Status::Superseded) > 0, "none ended after a newer one");
    assert_eq!(count(Status::Promoted) + count(Status::Superseded), 20);
    assert!(times(&cloud, "ec2:RunInstances") <= CONCURRENCY + 1);
}

/// A table at which whoever calls lets the others go first: what is read may be old when something is written.
struct Crowded<'a>(&'a Cloud);

impl Crowded<'_> {
    async fn let_others_go_first(&self) {
        let mut gone = false;
        poll_fn(|context| {
            if std::mem::replace(&mut gone, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

impl super::passed_on::Inner for Crowded<'_> {
    fn inner(&self) -> &Cloud {
        self.0
    }
}

super::passed_on::pass_on!(Crowded);

impl Table for Crowded<'_> {
    async fn get(&self, key: &Key) -> Result<Option<Row>> {
        self.let_others_go_first().await;
        self.0.get(key).await
    }

    async fn rows(&self, keys: &[Key]) -> Result<Vec<Row>> {
        self.let_others_go_first().await;
        Table::rows(self.0, keys).await
    }

    async fn list(&self, pk: &str, prefix: &str) -> Result<Vec<Row>> {
        self.let_others_go_first().await;
        self.0.list(pk, prefix).await
    }

    async fn by_status(&self, status: &str) -> Result<Vec<Row>> {
        self.let_others_go_first().await;
        self.0.by_status(status).await
    }

    async fn by_time(&self, pipeline: &PipelineName, most: usize) -> Result<Vec<Row>> {
        self.let_others_go_first().await;
        self.0.by_time(pipeline, most).await
    }

    async fn by_image(&self, image: &AmiId) -> Result<Vec<Row>> {
        self.let_others_go_first().await;
        self.0.by_image(image).await
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<()> {
        self.let_others_go_first().await;
        self.0.commit(writes).await
    }
}

impl Images for Crowded<'_> {
    async fn image(&self, id: &AmiId) -> Result<Option<Image>> {
        self.0.image(id).await
    }

    async fn named(&self, name: &ImageName) -> Result<Option<Image>> {
        self.0.named(name).await
    }

    async fn matching(&self, owner: &str, pattern: &str) -> Result<Vec<Image>> {
        self.0.matching(owner, pattern).await
    }

    async fn create(
        &self,
        instance: &InstanceId,
        name: &ImageName,
        description: &str,
        reboot: bool,
        tags: &BTreeMap<String, String>,
    ) -> Result<AmiId> {
        self.0.create(instance, name, description, reboot, tags).await
    }
}

impl Parameters for Crowded<'_> {
    async fn parameter(&self, name: &ParameterName) -> Result<Option<String>> {
        self.0.parameter(name).await
    }

    async fn values(&self, names: &[ParameterName]) -> Result<BTreeMap<ParameterName, String>> {
        self.0.values(names).await
    }

    async fn kinds(
        &self,
        names: &std::collections::BTreeSet<ParameterName>,
    ) -> Result<BTreeMap<ParameterName, ovenbird_core::ports::ParameterKind>> {
        self.0.kinds(names).await
    }

    async fn put_image(&self, name: &ParameterName, image: &AmiId) -> Result<ovenbird_core::ports::Put> {
        self.0.put_image(name, image).await
    }

    async fn remove(&self, name: &ParameterName) -> Result<()> {
        self.0.remove(name).await
    }
}

#[test]
fn fifty_promotions_in_each_other_s_way_all_come_through() {
    let (cloud, _) = run(&PLAIN);
    let now = cloud.now();
    let documents = (0..50).map(|number| {
        let started = now + jiff::SignedDuration::from_secs(number * 7 % 50);
        let input = json!({"action": "start", "bake": format!("twin-{number}"), "started": started,
            "trigger": {"pipeline": "storefront"}});
        serde_json::from_value::<Document>(block_on(functions::launch_builder(&cloud, input, now)).unwrap())
    });
    let documents = documents.collect::<Result<Vec<_>, _>>().unwrap();
    let crowded = Crowded(&cloud);
    let promote = |document: Document| async {
        // As often as the state machine.
        for _ in 0..6 {
            match promote::run(document.clone(), &crowded, now).await {
                Err(Error::TryAgain { .. }) => {}
                other => return other,
            }
        }
        promote::run(document, &crowded, now).await
    };
    let promoted = block_on(join_all(documents.into_iter().map(promote)));
    let newest = now + jiff::SignedDuration::from_secs(49);
    for bake in promoted {
        assert_eq!(bake.unwrap().ends, Some(Status::Promoted));
    }
    assert_eq!(channel(&cloud).current.unwrap().order.started, newest);
}

#[test]
fn a_hundred_bakes_that_ask_in_one_moment_keep_the_limit_and_none_fails() {
    let (cloud, bakes) = run(&PLAIN);
    let (now, like) = (cloud.now(), &bakes["run-0"].spec);
    let most = Limits { pipeline: 2, stack: 20 };
    let specs: Vec<BakeSpec> = (0..100)
        .map(|number| BakeSpec {
            id: format!("ask-{number}").parse().unwrap(),
            trigger: "manual".into(),
            ..like.clone()
        })
        .collect();
    let crowded = Crowded(&cloud);
    let ledger = Ledger(&crowded);
    let mut granted = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let asked = specs.iter().map(|bake| ledger.take_turn(bake, most, &[], now));
        for (bake, answer) in specs.iter().zip(block_on(join_all(asked))) {
            if answer.unwrap() == Answer::Granted {
                granted.insert(&bake.id);
            }
        }
        assert_eq!(granted.len(), most.pipeline);
    }
}
