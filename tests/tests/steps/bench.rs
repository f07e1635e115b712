//! A pipeline on an account in memory, and what drives its steps: a state machine, and machines that report.

use std::future::Future;

use futures::executor::block_on;
use jiff::{SignedDuration, Timestamp};
use ovenbird_core::{
    Error, Result,
    domain::{
        artifact::ArtifactKey,
        bake::{Bake, Document, Failure, Progress, Stage, To},
        digest,
        id::{AmiId, BakeId, InstanceId, PipelineName},
        mailbox::Order,
        recipe::Recipe,
        report::{Exit, ProvisionReport, StepReport, TestOutcome, TestReport},
        trigger::Trigger,
    },
    ports::{Image, Images, Retirement as _},
    steps::{
        clean_up,
        launch_builder::{self, Start},
        poll_readiness, promote,
        prune::{self, Plan},
        run_validation, snapshot,
    },
    store::{
        Ledger, Versioned, keys,
        recipes::{RecipePointer, RunnerPointer},
    },
};
use ovenbird_sim::{BaseImage, Paging, World};
use ovenbird_testkit::walk::account::sealed;
use ovenbird_testkit::{Cloud, Script, SimulatedHardware, mailbox};

pub const RECIPE: &str = r#"
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
soak = 0
"#;

/// A pipeline on an account in memory.
pub struct Bench {
    pub cloud: Cloud,
    /// How often every step is delivered.
    pub deliveries: usize,
}

impl Bench {
    pub fn new() -> Self {
        Self::sealing(&Script { powers_off: true, ..Script::default() }, true)
    }

    /// With machines whose seal does this, and reports that it is whole, or doesn't.
    pub fn sealing(seal: &Script, reports: bool) -> Self {
        Self::on(&BaseImage::debian_12("20260101", "x86_64"), seal, reports)
    }

    /// And whose base is this.
    pub fn on(base: &BaseImage, seal: &Script, reports: bool) -> Self {
        let seal = seal.clone();
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut world = World::new("123456789012", "us-east-1");
        let base = world.register_base(now, base);
        let hardware = SimulatedHardware::new(move |work| match work.order {
            Some(Order::Seal | Order::SealRunning) if reports => {
                let mailbox = mailbox(work.user_data).unwrap();
                let report = (format!("{mailbox}{}", keys::SEAL_REPORT), sealed());
                Script { uploads: vec![report], ..seal.clone() }
            }
            Some(Order::Seal | Order::SealRunning) => seal.clone(),
            Some(Order::Provision | Order::Test) | None => Script::default(),
        });
        let cloud = Cloud::new(world, hardware, now);
        let name = "/aws/service/debian/release/12/latest/amd64".parse().unwrap();
        cloud.put_parameter(&name, base.as_str());
        let runner = RunnerPointer { sha256: digest::sha256(b"runner") };
        cloud.put(&keys::runner_pointer("x86_64"), serde_json::to_string(&runner).unwrap());
        let bench = Self { cloud, deliveries: 1 };
        bench.push(RECIPE);
        bench
    }

    /// The same, with machines that are never heard of.
    pub fn silent(self) -> Self {
        let hardware = SimulatedHardware::new(|_| Script { falls_silent: true, ..Script::default() });
        self.cloud.replace_hardware(hardware);
        self
    }

    pub fn push(&self, recipe: &str) {
        self.push_as(recipe, &RecipePointer::new(recipe, None));
    }

    /// Writes what `recipe push` writes, with any pointer.
    pub fn push_as(&self, recipe: &str, pointer: &RecipePointer) {
        let pipeline = match Recipe::parse_pushed(recipe) {
            Ok(recipe) => recipe.pipeline,
            Err(_) => pipeline(),
        };
        let text = serde_json::to_string(pointer).unwrap();
        self.cloud.put(&keys::recipe(&pipeline, &pointer.version), recipe);
        self.cloud.put(&keys::recipe_version_pointer(&pipeline, &pointer.version), text.clone());
        self.cloud.put(&keys::recipe_pointer(&pipeline), text);
    }

    pub fn upload(&self, name: &str) -> Trigger {
        let key = format!("artifacts/storefront/{name}");
        self.cloud.put(&key, name);
        Trigger::Upload { key: ArtifactKey::parse(&key).unwrap(), version: None, sequencer: String::new() }
    }

    /// Delivers a step as often as the bench says; every delivery must give the same.
    pub fn deliver<F: Future<Output = Result<Document>>>(&self, step: impl Fn() -> F) -> Result<Document> {
        let first = block_on(step())?;
        for _ in 1..self.deliveries {
            let again = block_on(step())?;
            let (again, first) = (&again, &first);
            let ids = |one: &Document| {
                let Progress { builder, booted, image, stage, .. } = one.bake.progress.clone();
                // What the first promotion has written, the second one sees there.
                let to = (stage != Stage::Promotion).then_some(one.next.to);
                (builder, booted, image, stage, to, one.ends)
            };
            assert_eq!(ids(again), ids(first));
        }
        Ok(first)
    }

    pub fn start(&self, id: &str, trigger: &Trigger) -> Result<Document> {
        self.deliver(|| async {
            let start = Start {
                bake: BakeId::parse(id).unwrap(),
                started: self.cloud.now(),
                trigger: trigger.clone(),
            };
            launch_builder::start(start, None, &self.cloud, self.cloud.now()).await
        })
    }

    /// What a scheduled run would do now.
    pub fn plan(&self) -> Plan {
        block_on(prune::plan(&self.cloud, &self.cloud, self.cloud.now())).unwrap()
    }

    /// What a scheduled run does.
    pub fn prune(&self) -> Plan {
        let plan = self.plan();
        for dead in &plan.dead_bakes {
            block_on(prune::reap(dead, &self.cloud, self.cloud.now())).unwrap();
        }
        for verdict in &plan.retire {
            block_on(prune::retire(verdict, &self.cloud, self.cloud.now())).unwrap();
        }
        self.cloud.pass(SignedDuration::from_secs(5));
        plan
    }

    /// An image as EC2 shows it.
    pub fn image(&self, id: &AmiId) -> Option<Image> {
        block_on(Images::image(&self.cloud, id)).unwrap()
    }

    /// Looks once at what the bake waits for, after the time for which it waits.
    pub fn look(&self, document: &Document) -> Result<Document> {
        let cloud = &self.cloud;
        cloud.pass(SignedDuration::from_secs(i64::from(document.next.seconds)));
        self.deliver(|| poll_readiness::run(document.clone(), cloud, cloud.now()))
    }

    /// Waits as the state machine does, for whatever the bake waits for.
    pub fn poll(&self, mut document: Document) -> Result<Document> {
        loop {
            document = self.look(&document)?;
            if document.next.to != To::Wait {
                return Ok(document);
            }
        }
    }

    /// Stops an instance, and waits until it is.
    pub fn stop(&self, instance: &InstanceId) {
        self.cloud.with(|world| world.stop_instances(&[instance.to_string()], false)).unwrap();
        self.cloud.pass(SignedDuration::from_secs(10));
    }

    /// From launched to validated, as the builder would report.
    pub fn build(&self, bake: Document, step_exit: i32, test_passes: bool) -> Result<Document> {
        let cloud = &self.cloud;
        let at = |file: &str| keys::of_bake(&bake.bake.spec.pipeline, &bake.bake.spec.id, file);
        let (started, ended) = (cloud.now(), cloud.now());
        let step = StepReport {
            name: "user".into(),
            exit: Exit::Status(step_exit),
            tries: 1,
            milliseconds: 1,
            output_tail: "useradd: it is broken".into(),
            log: None,
        };
        let report = ProvisionReport { started, ended, steps: vec![step] };
        cloud.put(&at(keys::PROVISION_REPORT), serde_json::to_string(&report).unwrap());
        let bake = self.poll(bake.clone())?;
        assert_eq!((bake.bake.progress.stage, bake.next.to), (Stage::Builder, To::Go));
        let bake = self.deliver(|| run_validation::run(bake.clone(), cloud, cloud.now()))?;
        let test = TestOutcome {
            name: "serves".into(),
            passed: test_passes,
            milliseconds: 1,
            detail: "connection refused".into(),
        };
        let report = TestReport { started, ended, tests: vec![test], units: Vec::new() };
        cloud.put(&at(keys::TEST_REPORT), serde_json::to_string(&report).unwrap());
        self.poll(bake)
    }

    /// From validated to the end.
    pub fn finish(&self, document: Document) -> Result<Bake> {
        let cloud = &self.cloud;
        let document = self.deliver(|| snapshot::seal(document.clone(), cloud, cloud.now()))?;
        let document = self.poll(document)?;
        let document = self.deliver(|| snapshot::create_image(document.clone(), cloud, cloud.now()))?;
        let document = self.poll(document)?;
        self.promote(&document)
    }

    /// The promotion, and the end.
    pub fn promote(&self, document: &Document) -> Result<Bake> {
        let cloud = &self.cloud;
        let mut document = self.deliver(|| promote::run(document.clone(), cloud, cloud.now()))?;
        if document.next.to == To::Await {
            document = self.poll(document)?;
        }
        let Document { bake: Bake { spec, .. }, ends, .. } = document;
        for _ in 0..self.deliveries {
            let record = block_on(Ledger(cloud).bake(&spec.pipeline, &spec.id)).unwrap().unwrap();
            block_on(clean_up::after_success(record, ends.unwrap(), cloud, cloud.now()))?;
        }
        cloud.pass(SignedDuration::from_secs(5));
        let record = block_on(Ledger(cloud).bake(&spec.pipeline, &spec.id)).unwrap().unwrap();
        Ok(record.into_inner())
    }

    /// The record of a bake of the pipeline.
    #[track_caller]
    pub fn record(&self, id: &str) -> Versioned<Bake> {
        record(&self.cloud, id).unwrap()
    }

    pub fn bake(&self, id: &str, trigger: &Trigger) -> Bake {
        let document = self.start(id, trigger).unwrap();
        assert_eq!(document.next.to, To::Await);
        let document = self.build(document, 0, true).unwrap();
        self.finish(document).unwrap()
    }

    /// A bake that takes the image that is there for its digest.
    pub fn reuse(&self, id: &str, trigger: &Trigger) -> Bake {
        let document = self.start(id, trigger).unwrap();
        assert_eq!((document.next.to, document.bake.progress.reused), (To::Promote, true));
        self.promote(&document).unwrap()
    }

    /// What the state machine's catch does.
    pub fn fail(&self, id: &str, error: &Error) {
        let id = BakeId::parse(id).unwrap();
        for _ in 0..self.deliveries {
            let record = block_on(Ledger(&self.cloud).bake(&pipeline(), &id)).unwrap();
            let stage = record.as_ref().map_or(Stage::Launch, |bake| bake.progress.stage);
            let failure = Failure { error: error.name().into(), cause: error.chain(), stage };
            block_on(clean_up::after_failure(
                &id,
                record,
                Some(failure),
                false,
                &self.cloud,
                self.cloud.now(),
            ))
            .unwrap();
        }
        self.cloud.pass(SignedDuration::from_secs(5));
    }

    pub fn instances(&self) -> usize {
        let now = self.cloud.now();
        let all = self
            .cloud
            .with(|world| world.describe_instances(now, &[], &[], &Paging::default()).unwrap().items);
        all.iter().filter(|instance| instance.terminated.is_none()).count()
    }

    pub fn images(&self) -> usize {
        block_on(self.cloud.images(None)).unwrap().len()
    }

    /// Nothing is left but `images` images, each with one snapshot; no lease is held.
    #[track_caller]
    pub fn assert_clean(&self, images: usize) {
        assert_eq!(self.instances(), 0, "instances");
        assert_eq!(self.images(), images, "images");
        assert_eq!(block_on(self.cloud.snapshots(None)).unwrap().len(), images, "snapshots");
        let leases = self.cloud.rows().into_iter().filter(|row| row.key.sk == "LEASE");
        assert_eq!(leases.filter(|row| !row.doc["holder"].is_null()).count(), 0, "leases");
    }

    pub fn channel(&self) -> Option<String> {
        let name = "production".parse().unwrap();
        let channel = block_on(Ledger(&self.cloud).channel(&pipeline(), &name)).unwrap()?;
        Some(channel.current?.image.to_string())
    }
}

pub fn pipeline() -> PipelineName {
    PipelineName::parse("storefront").unwrap()
}

/// The record of a bake of the pipeline.
pub fn record(cloud: &Cloud, id: &str) -> Option<Versioned<Bake>> {
    block_on(Ledger(cloud).bake(&pipeline(), &BakeId::parse(id).unwrap())).unwrap()
}

/// Makes this the record of the bake, whatever it was before.
#[track_caller]
pub fn store(cloud: &Cloud, bake: &Bake) {
    let before = block_on(Ledger(cloud).bake(&bake.spec.pipeline, &bake.spec.id)).unwrap();
    let mut record = before.unwrap_or_else(|| Versioned::new(bake.clone()));
    *record = bake.clone();
    block_on(Ledger(cloud).save(&mut record)).unwrap();
}
