//! The real steps on the world, in virtual time: a whole bake, and every step delivered twice.

use std::future::Future;

use futures::executor::block_on;
use jiff::{SignedDuration, Timestamp};
use ovenbird_core::{
    Error, Result,
    artifact::ArtifactKey,
    bake::{Bake, Failure, Stage, Status, To},
    digest,
    id::{BakeId, PipelineName},
    keys,
    ledger::Ledger,
    plan,
    ports::{Images as _, Parameters as _, Retirement as _},
    report::{Exit, ProvisionReport, StepReport, TestOutcome, TestReport},
    steps::{
        clean_up,
        launch_builder::{Hands, RecipePointer, RunnerPointer, Start},
        poll_readiness::{self, Eyes},
        promote,
        prune::{self, Shears},
        run_validation, snapshot,
    },
    trigger::Trigger,
};
use ovenbird_world::{BaseImage, Cloud, Paging, Script, SimulatedHardware, World};

const RECIPE: &str = r#"
pipeline = "storefront"
[base]
parameter = "/aws/service/debian/release/12/latest/amd64"
[builder]
instance-types = ["c7i.large", "m7i.large"]
[artifact]
to = "/opt/storefront/app.jar"
[[step]]
name = "user"
shell = "useradd --system --no-create-home storefront"
[[test]]
name = "serves the shop"
http = { url = "http://127.0.0.1:8080/", body-contains = "storefront v", within = "60s" }
[promote]
channel = "production"
parameter = "/images/storefront/production"
[retain]
newest = 1
days = 0
"#;

/// A pipeline on an account in memory.
struct Bench {
    cloud: Cloud,
    /// How often every step is delivered.
    deliveries: usize,
}

impl Bench {
    fn new() -> Self {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut world = World::new("123456789012", "us-east-1");
        let base = BaseImage {
            name: "debian-12-amd64-20260101".into(),
            owner: "136693071363".into(),
            description: String::new(),
            architecture: "x86_64".into(),
        };
        let base = world.register_base(now, &base);
        let hardware = SimulatedHardware::new(|work| Script {
            powers_off: work.command == Some(plan::SEAL_SCRIPT),
            ..Script::default()
        });
        let cloud = Cloud::new(world, hardware, now);
        let name = "/aws/service/debian/release/12/latest/amd64".parse().unwrap();
        block_on(cloud.put_image(&name, &base)).unwrap();
        let runner = RunnerPointer { sha256: digest::sha256(b"runner") };
        cloud.put(&keys::runner_pointer("x86_64"), serde_json::to_string(&runner).unwrap());
        let bench = Self { cloud, deliveries: 1 };
        bench.push(RECIPE);
        bench
    }

    fn push(&self, recipe: &str) {
        let pipeline = pipeline();
        let pointer = RecipePointer { version: digest::sha256(recipe.as_bytes()), bundle: None, files: None };
        let text = serde_json::to_string(&pointer).unwrap();
        self.cloud.put(&keys::recipe(&pipeline, &pointer.version), recipe);
        self.cloud.put(&keys::recipe_version_pointer(&pipeline, &pointer.version), text.clone());
        self.cloud.put(&keys::recipe_pointer(&pipeline), text);
    }

    fn upload(&self, name: &str) -> Trigger {
        let key = format!("artifacts/storefront/{name}");
        self.cloud.put(&key, name);
        Trigger::Upload { key: ArtifactKey::parse(&key).unwrap(), version: None, sequencer: String::new() }
    }

    /// Delivers a step as often as the bench says; every delivery must give the same.
    fn deliver<F: Future<Output = Result<Bake>>>(&self, step: impl Fn() -> F) -> Result<Bake> {
        let first = block_on(step())?;
        for _ in 1..self.deliveries {
            let again = block_on(step())?;
            assert_eq!(
                (&again.builder, &again.command, &again.image, again.next.to, again.stage),
                (&first.builder, &first.command, &first.image, first.next.to, first.stage),
            );
        }
        Ok(first)
    }

    fn start(&self, id: &str, trigger: &Trigger) -> Result<Bake> {
        self.deliver(|| async {
            let start = Start {
                bake: BakeId::parse(id).unwrap(),
                started: self.cloud.now(),
                trigger: trigger.clone(),
            };
            self.hands().start(start, self.cloud.now()).await
        })
    }

    fn hands(&self) -> Hands<'_, Cloud, Cloud, Cloud, Cloud, Cloud> {
        let cloud = &self.cloud;
        Hands { builders: cloud, images: cloud, parameters: cloud, bucket: cloud, table: cloud }
    }

    fn shears(&self) -> Shears<'_, Cloud, Cloud, Cloud, Cloud> {
        let cloud = &self.cloud;
        Shears { builders: cloud, retirement: cloud, parameters: cloud, table: cloud }
    }

    /// Waits as the state machine does, for whatever the bake waits for.
    fn poll(&self, mut bake: Bake) -> Result<Bake> {
        let cloud = &self.cloud;
        let eyes = Eyes {
            builders: cloud,
            images: cloud,
            commands: cloud,
            parameters: cloud,
            bucket: cloud,
            table: cloud,
        };
        loop {
            cloud.pass(SignedDuration::from_secs(i64::from(bake.next.seconds)));
            bake = self.deliver(|| poll_readiness::run(bake.clone(), &eyes, cloud.now()))?;
            if bake.next.to != To::Wait {
                return Ok(bake);
            }
        }
    }

    /// From launched to validated, as the builder would report.
    fn build(&self, bake: Bake, step_exit: i32, test_passes: bool) -> Result<Bake> {
        let cloud = &self.cloud;
        let at = |file: &str| keys::of_bake(&bake.pipeline, &bake.bake, file);
        let (started, ended) = (cloud.now(), cloud.now());
        let step = StepReport {
            name: "user".into(),
            exit: Exit::Status(step_exit),
            tries: 1,
            milliseconds: 1,
            output_tail: "useradd: it is broken".into(),
        };
        let report = ProvisionReport { started, ended, steps: vec![step] };
        cloud.put(&at(keys::PROVISION_REPORT), serde_json::to_string(&report).unwrap());
        let bake = self.poll(bake.clone())?;
        assert_eq!((bake.stage, bake.next.to), (Stage::Builder, To::Go));
        let bake = self.deliver(|| run_validation::run(bake.clone(), cloud, cloud, cloud.now()))?;
        let test = TestOutcome {
            name: "serves".into(),
            passed: test_passes,
            milliseconds: 1,
            detail: "connection refused".into(),
        };
        let report = TestReport { started, ended, tests: vec![test] };
        cloud.put(&at(keys::TEST_REPORT), serde_json::to_string(&report).unwrap());
        self.poll(bake)
    }

    /// From validated to the end.
    fn finish(&self, bake: Bake) -> Result<Bake> {
        let cloud = &self.cloud;
        let bake = self.deliver(|| snapshot::run(bake.clone(), cloud, cloud, cloud, cloud.now()))?;
        let bake = self.poll(bake)?;
        let bake = self.deliver(|| snapshot::run(bake.clone(), cloud, cloud, cloud, cloud.now()))?;
        let bake = self.poll(bake)?;
        self.promote(&bake)
    }

    fn promote(&self, bake: &Bake) -> Result<Bake> {
        let cloud = &self.cloud;
        let mut bake = self.deliver(|| promote::run(bake.clone(), cloud, cloud, cloud, cloud.now()))?;
        if bake.next.to == To::Await {
            bake = self.poll(bake)?;
        }
        let shears = self.shears();
        let bake = self.deliver(|| clean_up::after_success(bake.clone(), &shears, cloud.now()))?;
        cloud.pass(SignedDuration::from_secs(5));
        Ok(bake)
    }

    fn bake(&self, id: &str, trigger: &Trigger) -> Bake {
        let bake = self.start(id, trigger).unwrap();
        assert_eq!(bake.next.to, To::Await);
        let bake = self.build(bake, 0, true).unwrap();
        self.finish(bake).unwrap()
    }

    /// What the state machine's catch does.
    fn fail(&self, id: &str, error: &Error) {
        let id = BakeId::parse(id).unwrap();
        for _ in 0..self.deliveries {
            let record = block_on(Ledger(&self.cloud).bake(&pipeline(), &id)).unwrap();
            let stage = record.as_ref().map_or(Stage::Launch, |bake| bake.stage);
            let failure = Failure { error: error.name().into(), cause: error.chain(), stage };
            block_on(clean_up::after_failure(
                &id,
                record,
                Some(failure),
                false,
                &self.shears(),
                self.cloud.now(),
            ))
            .unwrap();
        }
        self.cloud.pass(SignedDuration::from_secs(5));
    }

    fn instances(&self) -> usize {
        let now = self.cloud.now();
        let all = self
            .cloud
            .with(|world| world.describe_instances(now, &[], &[], &Paging::default()).unwrap().items);
        all.iter().filter(|instance| instance.terminated.is_none()).count()
    }

    fn images(&self) -> usize {
        block_on(self.cloud.images(None)).unwrap().len()
    }

    /// Nothing is left but `images` images, each with one snapshot; no lease is held.
    #[track_caller]
    fn assert_clean(&self, images: usize) {
        assert_eq!(self.instances(), 0, "instances");
        assert_eq!(self.images(), images, "images");
        assert_eq!(block_on(self.cloud.snapshots(None)).unwrap().len(), images, "snapshots");
        let leases = self.cloud.rows().into_iter().filter(|row| row.key.sk == "LEASE");
        assert_eq!(leases.filter(|row| !row.doc["holder"].is_null()).count(), 0, "leases");
    }

    fn channel(&self) -> Option<String> {
        let name = "production".parse().unwrap();
        let channel = block_on(Ledger(&self.cloud).channel(&pipeline(), &name)).unwrap()?;
        Some(channel.current?.image.to_string())
    }
}

fn pipeline() -> PipelineName {
    PipelineName::parse("storefront").unwrap()
}

#[test]
fn a_bake_ends_promoted_and_leaves_its_image_alone() {
    let bench = Bench::new();
    let bake = bench.bake("one", &bench.upload("v1.jar"));
    assert_eq!(bake.status, Status::Promoted);
    assert_eq!(bench.channel(), bake.image.as_ref().map(ToString::to_string));
    let parameter = "/images/storefront/production".parse().unwrap();
    assert_eq!(block_on(bench.cloud.get(&parameter)).unwrap(), bench.channel());
    bench.assert_clean(1);
}

#[test]
fn every_step_twice_is_once() {
    let bench = Bench { deliveries: 2, ..Bench::new() };
    let bake = bench.bake("one", &bench.upload("v1.jar"));
    assert_eq!(bake.status, Status::Promoted);
    bench.assert_clean(1);
    for (call, times) in [("ec2:RunInstances", 1), ("ec2:CreateImage", 1), ("ssm:SendCommand", 2)] {
        let seen = bench.cloud.calls().iter().filter(|one| one.actions[0] == call).count();
        assert_eq!(seen, times, "{call}");
    }
    let channel = "production".parse().unwrap();
    let channel = block_on(Ledger(&bench.cloud).channel(&pipeline(), &channel)).unwrap().unwrap();
    assert_eq!(channel.generation, 1);
}

#[test]
fn the_same_artifact_again_launches_nothing() {
    let bench = Bench::new();
    let trigger = bench.upload("v1.jar");
    let first = bench.bake("one", &trigger);
    bench.cloud.pass(SignedDuration::from_secs(60));
    let again = bench.start("two", &trigger).unwrap();
    assert_eq!((again.next.to, again.reused), (To::Promote, true));
    let again = bench.promote(&again).unwrap();
    assert_eq!((again.image, again.status), (first.image, Status::Promoted));
    bench.assert_clean(1);
}

#[test]
fn a_failing_step_or_test_leaves_nothing_and_the_channel_as_it_was() {
    for deliveries in [1, 2] {
        let bench = Bench { deliveries, ..Bench::new() };
        let good = bench.bake("good", &bench.upload("v1.jar"));
        bench.cloud.pass(SignedDuration::from_secs(60));
        for (id, exit, passes, name) in [("step", 1, true, "StepFailed"), ("test", 0, false, "TestsFailed")] {
            let bake = bench.start(id, &bench.upload(&format!("{id}.jar"))).unwrap();
            let error = bench.build(bake, exit, passes).unwrap_err();
            assert_eq!(error.name(), name);
            bench.fail(id, &error);
            bench.assert_clean(1);
            assert_eq!(bench.channel(), good.image.as_ref().map(ToString::to_string));
            let record =
                block_on(Ledger(&bench.cloud).bake(&pipeline(), &id.parse().unwrap())).unwrap().unwrap();
            assert_eq!(record.status, Status::Failed);
            let cause = record.failure.unwrap().cause;
            assert!(cause.contains("broken") || cause.contains("connection refused"), "{cause}");
        }
    }
}

#[test]
fn a_builder_that_never_reports_fails_at_its_deadline() {
    let bench = Bench::new();
    let bake = bench.start("one", &bench.upload("v1.jar")).unwrap();
    let error = bench.poll(bake).unwrap_err();
    assert_eq!(error.name(), "DeadlinePassed");
    assert!(error.to_string().contains("no report yet"), "{error}");
    bench.fail("one", &error);
    bench.assert_clean(0);
}

#[test]
fn an_image_that_was_asked_for_goes_with_its_failed_bake() {
    let bench = Bench::new();
    let cloud = &bench.cloud;
    let bake = bench.start("one", &bench.upload("v1.jar")).unwrap();
    let bake = bench.build(bake, 0, true).unwrap();
    let bake = bench.deliver(|| snapshot::run(bake.clone(), cloud, cloud, cloud, cloud.now())).unwrap();
    let bake = bench.poll(bake).unwrap();
    bench.deliver(|| snapshot::run(bake.clone(), cloud, cloud, cloud, cloud.now())).unwrap();
    assert_eq!(bench.images(), 1);
    bench.fail("one", &Error::LeaseLost { bake: "one".parse().unwrap() });
    bench.assert_clean(0);
}

#[test]
fn a_promotion_that_fails_after_the_channel_moved_is_taken_back() {
    let bench = Bench::new();
    let cloud = &bench.cloud;
    let good = bench.bake("good", &bench.upload("v1.jar"));
    bench.cloud.pass(SignedDuration::from_secs(60));
    let bake = bench.start("bad", &bench.upload("v2.jar")).unwrap();
    let bake = bench.build(bake, 0, true).unwrap();
    let bake = bench.deliver(|| snapshot::run(bake.clone(), cloud, cloud, cloud, cloud.now())).unwrap();
    let bake = bench.poll(bake).unwrap();
    let bake = bench.deliver(|| snapshot::run(bake.clone(), cloud, cloud, cloud, cloud.now())).unwrap();
    let bake = bench.poll(bake).unwrap();
    let bake = bench.deliver(|| promote::run(bake.clone(), cloud, cloud, cloud, cloud.now())).unwrap();
    assert_eq!(bench.channel(), bake.image.as_ref().map(ToString::to_string));
    bench.fail("bad", &Error::TryAgain { what: "the parameter".into() });
    assert_eq!(bench.channel(), good.image.as_ref().map(ToString::to_string));
    let parameter = "/images/storefront/production".parse().unwrap();
    assert_eq!(block_on(cloud.get(&parameter)).unwrap(), bench.channel());
}

#[test]
fn twins_make_one_image() {
    let bench = Bench::new();
    let trigger = bench.upload("v1.jar");
    let first = bench.start("one", &trigger).unwrap();
    let twin = bench.start("two", &trigger).unwrap();
    assert_eq!((first.next.to, twin.next.to), (To::Await, To::Twin));
    let first = bench.finish(bench.build(first, 0, true).unwrap()).unwrap();
    let twin = bench.poll(twin).unwrap();
    assert_eq!(twin.next.to, To::Promote);
    let twin = bench.promote(&twin).unwrap();
    assert_eq!((twin.image, twin.status), (first.image, Status::Promoted));
    bench.assert_clean(1);
}

#[test]
fn a_twin_takes_over_when_the_first_gives_up_and_the_old_holder_can_t_write() {
    let bench = Bench::new();
    let cloud = &bench.cloud;
    let trigger = bench.upload("v1.jar");
    let first = bench.start("one", &trigger).unwrap();
    let twin = bench.start("two", &trigger).unwrap();
    bench.fail("one", &Error::TryAgain { what: "x".into() });
    let twin = bench.poll(twin).unwrap();
    assert_eq!(twin.next.to, To::Launch);
    let twin = bench.deliver(|| async { bench.hands().resume(twin.clone(), cloud.now()).await }).unwrap();
    assert_eq!(twin.next.to, To::Await);
    assert!(twin.fence > first.fence);
    // The old holder wakes up again, in the stage in which it would ask for its image.
    let late = Bake { stage: Stage::Seal, ..first };
    let error = block_on(snapshot::run(late, cloud, cloud, cloud, cloud.now())).unwrap_err();
    assert_eq!(error.name(), "LeaseLost");
    let twin = bench.finish(bench.build(twin, 0, true).unwrap()).unwrap();
    assert_eq!(twin.status, Status::Promoted);
    bench.assert_clean(1);
}

#[test]
fn an_older_artifact_never_overwrites_a_newer_one() {
    let bench = Bench::new();
    let old = bench.upload("old.jar");
    let slow = bench.start("slow", &old).unwrap();
    bench.cloud.pass(SignedDuration::from_secs(60));
    let fast = bench.bake("fast", &bench.upload("new.jar"));
    let slow = bench.finish(bench.build(slow, 0, true).unwrap()).unwrap();
    assert_eq!(slow.status, Status::Superseded);
    assert_eq!(bench.channel(), fast.image.map(|image| image.to_string()));
    bench.assert_clean(2);
}

#[test]
fn a_dead_execution_s_leavings_are_reaped_and_the_old_image_is_retired() {
    let bench = Bench::new();
    let old = bench.bake("old", &bench.upload("v1.jar"));
    bench.cloud.pass(SignedDuration::from_secs(60));
    let new = bench.bake("new", &bench.upload("v2.jar"));
    bench.start("dead", &bench.upload("v3.jar")).unwrap();
    let plan = block_on(prune::plan(&bench.shears(), &bench.cloud, bench.cloud.now())).unwrap();
    assert!(plan.dead_bakes.is_empty(), "it may still be alive: {plan:?}");
    let retired: Vec<_> = plan.retire.iter().map(|verdict| Some(verdict.image.clone())).collect();
    assert_eq!(retired, [old.image]);
    block_on(prune::retire(&plan.retire[0], &bench.shears(), bench.cloud.now())).unwrap();

    bench.cloud.pass(SignedDuration::from_hours(24));
    let plan = block_on(prune::plan(&bench.shears(), &bench.cloud, bench.cloud.now())).unwrap();
    assert_eq!(plan.dead_bakes.len(), 1);
    block_on(prune::reap(&plan.dead_bakes[0], &bench.shears(), bench.cloud.now())).unwrap();
    bench.cloud.pass(SignedDuration::from_secs(5));
    bench.assert_clean(1);
    assert_eq!(bench.channel(), new.image.map(|image| image.to_string()));
}

#[test]
fn an_image_in_use_is_never_retired_even_if_the_plan_said_so() {
    let bench = Bench::new();
    bench.bake("old", &bench.upload("v1.jar"));
    bench.cloud.pass(SignedDuration::from_secs(60));
    bench.bake("new", &bench.upload("v2.jar"));
    let plan = block_on(prune::plan(&bench.shears(), &bench.cloud, bench.cloud.now())).unwrap();
    let doomed = plan.retire[0].clone();
    let now = bench.cloud.now();
    let request = ovenbird_world::RunInstances {
        image: doomed.image.to_string(),
        min_count: 1,
        max_count: 1,
        ..ovenbird_world::RunInstances::default()
    };
    bench.cloud.with(|world| world.run_instances(now, &request)).unwrap();
    let verdict = block_on(prune::retire(&doomed, &bench.shears(), now)).unwrap();
    assert_eq!(verdict.reason, prune::Reason::Instance);
    assert!(block_on(bench.cloud.look(&doomed.image)).unwrap().is_some());
}

#[test]
fn bad_starts_are_refused_before_anything_is_made() {
    let bench = Bench::new();
    bench.cloud.put("artifacts/storefront/empty.jar", "");
    let start = |input: serde_json::Value| {
        let trigger = Trigger::manual(&input)?;
        bench.start("one", &trigger)
    };
    for (input, name) in [
        (serde_json::json!({"artifact": "artifacts/storefront/empty.jar"}), "NoArtifact"),
        (serde_json::json!({"artifact": "artifacts/storefront/missing.jar"}), "NoArtifact"),
        (serde_json::json!({"artifact": "artifacts/storefront/../x"}), "BadInput"),
        (serde_json::json!({"artifact": "somewhere/else"}), "BadInput"),
        (serde_json::json!({"pipeline": "unknown"}), "NoRecipe"),
        (serde_json::json!({"pipeline": "storefront", "frce": true}), "BadInput"),
    ] {
        let error = start(input.clone()).unwrap_err();
        assert_eq!(error.name(), name, "{input}: {error}");
        assert!(!error.hint().is_empty());
    }
    bench.push(&RECIPE.replace("[retain]", "[retian]"));
    let error = bench.start("one", &bench.upload("v1.jar")).unwrap_err();
    assert_eq!(error.name(), "BadRecipe");
    assert!(error.to_string().contains("Did you mean `retain`?"), "{error}");
    assert!(bench.cloud.rows().is_empty());
    bench.assert_clean(0);
}
