//! launch-builder: resolves every input of a bake, then reuses an image, waits for a twin or launches a builder.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{resume, wrong_stage};
use crate::{
    artifact::{self, ArtifactKey},
    bake::{Artifact, Bake, Deadlines, Next, Settings, Stage, Status, To},
    digest::{Inputs, token},
    error::{Error, Result},
    id::{BakeId, Digest, ImageName, InstanceId, PipelineName},
    keys,
    launch::{self, Wanted},
    ledger::{Claim, ImageRecord, ImageStatus, Ledger, lease_end},
    plan::{self, Plan},
    ports::{
        self, Bucket, Builders, Image, ImageState, Images, Parameters, Presigner, Role, RootVolume, Table,
    },
    recipe::{Base, Builder, Recipe},
    trigger::Trigger,
};

/// What a new execution brings.
#[derive(Debug, Clone)]
pub struct Start {
    /// The execution's name.
    pub bake: BakeId,
    /// When the execution started.
    pub started: Timestamp,
    /// What started it.
    pub trigger: Trigger,
}

/// What launch-builder works with.
#[derive(Debug)]
pub struct Hands<'a, B, I, P, K, T> {
    /// Instances.
    pub builders: &'a B,
    /// Images.
    pub images: &'a I,
    /// Parameters, for a base that is one.
    pub parameters: &'a P,
    /// Recipes, artifacts and plans.
    pub bucket: &'a K,
    /// Records and leases.
    pub table: &'a T,
}

/// The pointer to a pipeline's current recipe, as `recipe push` writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipePointer {
    /// SHA-256 over the recipe's text and the bundle.
    pub version: Digest,
    /// SHA-256 of the bundle; none when the recipe has no files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<Digest>,
}

/// The pointer to the current runner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunnerPointer {
    /// SHA-256 of the program.
    pub sha256: Digest,
    /// Its key in the bucket.
    pub key: String,
}

impl<B, I, P, K, T> Hands<'_, B, I, P, K, T>
where
    B: Builders,
    I: Images,
    P: Parameters,
    K: Bucket + Presigner,
    T: Table,
{
    /// The first step of an execution.
    pub async fn start(&self, start: Start, now: Timestamp) -> Result<Bake> {
        let ledger = Ledger(self.table);
        let bake = match ledger.bake(start.trigger.pipeline(), &start.bake).await? {
            // An earlier try of this step got this far: its choices stand.
            Some(bake) => bake,
            None => {
                let bake = self.resolve(start, now).await?;
                ledger.save(&bake).await?;
                bake
            }
        };
        if !bake.options.force && self.is_superseded(&bake).await? {
            return Ok(Bake { status: Status::Superseded, ..bake }.go(To::Done));
        }
        self.obtain(bake, now).await
    }

    /// A later call: the twin gave up, or a fresh instance of the image is wanted.
    pub async fn resume(&self, document: Bake, now: Timestamp) -> Result<Bake> {
        match document.stage {
            Stage::AwaitTwin => {
                let bake = resume(self.table, &document).await?;
                self.obtain(bake, now).await
            }
            Stage::Image => self.verify(document, now).await,
            Stage::Launch
            | Stage::Builder
            | Stage::Validation
            | Stage::Seal
            | Stage::Boot
            | Stage::Promotion
            | Stage::CleanUp => Err(wrong_stage(&document, "launch-builder")),
        }
    }

    /// Turns a start into a bake: every alias resolved, every choice made, the digest computed.
    async fn resolve(&self, start: Start, now: Timestamp) -> Result<Bake> {
        let Start { bake, started, trigger } = start;
        let pipeline = trigger.pipeline().clone();
        let (pointer, recipe) = self.recipe(&pipeline).await?;
        let artifact = match recipe.artifact {
            Some(_) => Some(self.artifact(&trigger).await?),
            None => None,
        };
        let base = self.base(&recipe.base).await?;
        let runner = self.runner(&base.architecture).await?;
        let digest = Inputs {
            base: &base.id,
            architecture: &base.architecture,
            recipe: &recipe.image_inputs(),
            files: pointer.bundle.as_ref(),
            artifact: artifact.as_ref().map(|artifact| &artifact.sha256),
            runner: &runner.sha256,
        }
        .digest();
        let deadlines = Deadlines {
            builder: seconds(recipe.deadlines.builder),
            validation: seconds(recipe.deadlines.validation),
            imaging: seconds(recipe.deadlines.imaging),
            promotion: seconds(recipe.deadlines.promotion),
        };
        let image_name = image_name(&pipeline, &digest, &bake);
        let mut document = Bake {
            expires: lease_end(started, deadlines.total()),
            bake,
            pipeline,
            status: Status::Running,
            trigger: trigger.word().to_owned(),
            started,
            options: trigger.options(),
            artifact,
            recipe: pointer.version,
            base: base.id,
            digest,
            image_name,
            settings: Settings {
                channel: recipe.promote.channel.clone(),
                parameter: recipe.promote.parameter.clone(),
                verify_boot: recipe.validate.boot,
                deadlines,
                tags: recipe.builder.tags.clone(),
            },
            fence: 0,
            offer: 0,
            builder: None,
            spot: false,
            booted: None,
            command: None,
            tests_passed: None,
            image: None,
            snapshots: Vec::new(),
            reused: false,
            stage: Stage::Launch,
            timeline: Vec::new(),
            failure: None,
            next: Next { to: To::Await, seconds: 1 },
        };
        // The stage began with the execution, not with this function's turn.
        document.enter(Stage::Launch, started.min(now));
        Ok(document)
    }

    async fn is_superseded(&self, bake: &Bake) -> Result<bool> {
        if !bake.options.promote {
            return Ok(false);
        }
        let channel = Ledger(self.table).channel(&bake.pipeline, &bake.settings.channel).await?;
        Ok(channel
            .and_then(|channel| channel.current)
            .is_some_and(|current| bake.order().compare(&current.order) == std::cmp::Ordering::Less))
    }

    /// The image of the digest: one that exists, one that a twin makes, or one that this bake will make.
    async fn obtain(&self, mut bake: Bake, now: Timestamp) -> Result<Bake> {
        let ledger = Ledger(self.table);
        if !bake.options.force
            && let Some(record) = self.reusable(&bake).await?
        {
            bake.image = Some(record.image);
            bake.snapshots = record.snapshots;
            bake.tests_passed = Some(record.tests_passed);
            bake.reused = true;
            ledger.save(&bake).await?;
            return Ok(bake.go(To::Promote));
        }
        match ledger.claim(&bake.digest, &bake, now, lease_end(now, bake.settings.deadlines.total())).await? {
            Claim::Held(_) => {
                if bake.stage != Stage::AwaitTwin {
                    bake.enter(Stage::AwaitTwin, now);
                    ledger.save(&bake).await?;
                }
                Ok(bake.go(To::Twin))
            }
            Claim::Granted(fence) => {
                bake.fence = fence;
                self.launch(bake, now).await
            }
        }
    }

    /// The digest's image, if it was validated and still can be started.
    async fn reusable(&self, bake: &Bake) -> Result<Option<ImageRecord>> {
        let record = Ledger(self.table).image(&bake.digest).await?;
        let Some(record) = record.filter(|record| record.status == ImageStatus::Validated) else {
            return Ok(None);
        };
        let image = self.images.look(&record.image).await?;
        Ok(image.filter(|image| image.state == ImageState::Available).map(|_| record))
    }

    async fn launch(&self, mut bake: Bake, now: Timestamp) -> Result<Bake> {
        let ledger = Ledger(self.table);
        if bake.stage != Stage::Builder {
            bake.enter(Stage::Builder, now);
        }
        ledger.save(&bake).await?;
        if bake.builder.is_none() {
            let (_, recipe) = self.recipe_version(&bake).await?;
            let (builder, spot) = self.instance(&mut bake, &recipe, Role::Builder).await?;
            (bake.builder, bake.spot) = (Some(builder), spot);
            ledger.save(&bake).await?;
        }
        Ok(bake.go(To::Await))
    }

    /// Launches a fresh instance of the finished image; it runs the tests by itself.
    async fn verify(&self, document: Bake, now: Timestamp) -> Result<Bake> {
        let mut bake = resume(self.table, &document).await?;
        let ledger = Ledger(self.table);
        if bake.stage != Stage::Boot {
            bake.enter(Stage::Boot, now);
            bake.offer = 0;
            ledger.save(&bake).await?;
        }
        if bake.booted.is_none() {
            let (_, recipe) = self.recipe_version(&bake).await?;
            let (booted, _) = self.instance(&mut bake, &recipe, Role::Verifier).await?;
            bake.booted = Some(booted);
            ledger.save(&bake).await?;
        }
        Ok(bake.go(To::Await))
    }

    /// Launches the bake's instance of this role, or finds the one that an earlier try launched; gives it, and
    /// whether it is a spot instance.
    async fn instance(&self, bake: &mut Bake, recipe: &Recipe, role: Role) -> Result<(InstanceId, bool)> {
        let ours = self.builders.of_bake(&bake.bake).await?.into_iter().find(|instance| {
            !instance.state.is_gone()
                && instance.tags.get(ports::TAG_ROLE).map(String::as_str) == Some(role.as_str())
        });
        if let Some(instance) = ours {
            return Ok((instance.id, instance.spot));
        }
        let mut tags = bake.tags();
        tags.insert(ports::TAG_ROLE.to_owned(), role.as_str().to_owned());
        tags.insert("Name".to_owned(), format!("ovenbird {} {}", bake.pipeline, role.as_str()));
        let builder = &recipe.builder;
        let wanted = Wanted {
            image: match role {
                Role::Builder => bake.base.clone(),
                Role::Verifier => bake.image()?.clone(),
            },
            security_groups: builder.security_groups.clone(),
            instance_profile: builder.instance_profile.clone(),
            volume: match role {
                Role::Builder if builder.volume.is_some() => self.root_volume(bake, builder).await?,
                // The image has its builder's volume.
                Role::Builder | Role::Verifier => None,
            },
            user_data: self.user_data(bake, recipe, role).await?,
            purpose: role.as_str(),
            tags,
        };
        launch::launch(bake, &wanted, &launch::offers(builder), self.builders, self.table).await
    }

    async fn root_volume(&self, bake: &Bake, builder: &Builder) -> Result<Option<RootVolume>> {
        let base = self.images.look(&bake.base).await?.ok_or_else(|| Error::NoBase {
            what: format!("image `{}`", bake.base),
            problem: "was deregistered meanwhile".into(),
        })?;
        launch::root_volume(builder, &base)
    }

    /// The user data, made once: presigned URLs differ from second to second, and EC2 refuses a client token
    /// that comes back with other parameters.
    async fn user_data(&self, bake: &Bake, recipe: &Recipe, role: Role) -> Result<String> {
        let key = |file: &str| keys::of_bake(&bake.pipeline, &bake.bake, file);
        let (user_data_key, plan_key, verb) = match role {
            Role::Builder => (key("user-data"), key("plan.json"), plan::Verb::Provision),
            Role::Verifier => (key("boot-user-data"), key("boot-plan.json"), plan::Verb::Test),
        };
        if let Some(user_data) = self.bucket.text(&user_data_key).await? {
            return Ok(user_data);
        }
        let seconds = u64::try_from(bake.settings.deadlines.total()).unwrap_or(86_400).min(604_800);
        let base = self.images.look(&bake.base).await?;
        let architecture = base.map_or_else(|| "x86_64".to_owned(), |image| image.architecture);
        let runner = self.runner(&architecture).await?;
        let plan = self.plan(bake, recipe, role, seconds).await?;
        let text =
            serde_json::to_string(&plan).unwrap_or_else(|_| unreachable!("a plan has string keys only"));
        self.bucket.put_text(&plan_key, &text).await?;
        let runner_url = self.bucket.get_url(&runner.key, None, seconds).await?;
        let plan_url = self.bucket.get_url(&plan_key, None, seconds).await?;
        let user_data = plan::user_data(&runner_url, &runner.sha256, &plan_url, verb)?;
        self.bucket.put_text(&user_data_key, &user_data).await?;
        Ok(user_data)
    }

    async fn plan(&self, bake: &Bake, recipe: &Recipe, role: Role, seconds: u64) -> Result<Plan> {
        let key = |file: &str| keys::of_bake(&bake.pipeline, &bake.bake, file);
        let (pointer, _) = self.recipe_version(bake).await?;
        let bundle = match &pointer.bundle {
            Some(sha256) => Some(plan::Download {
                url: self
                    .bucket
                    .get_url(&keys::bundle(&bake.pipeline, &pointer.version), None, seconds)
                    .await?,
                sha256: sha256.clone(),
            }),
            None => None,
        };
        let artifact = match &bake.artifact {
            Some(artifact) => Some(plan::Download {
                url: self.bucket.get_url(artifact.key.as_str(), artifact.version.as_deref(), seconds).await?,
                sha256: artifact.sha256.clone(),
            }),
            None => None,
        };
        let (test_report, junit) = match role {
            Role::Builder => (keys::TEST_REPORT, "junit.xml"),
            Role::Verifier => (keys::BOOT_REPORT, "boot-junit.xml"),
        };
        let reports = plan::Reports {
            provision: self.bucket.put_url(&key(keys::PROVISION_REPORT), seconds).await?,
            test: self.bucket.put_url(&key(test_report), seconds).await?,
            junit: self.bucket.put_url(&key(junit), seconds).await?,
        };
        let done = match role {
            Role::Builder => Some(self.bucket.get_url(&key(keys::PROVISION_REPORT), None, seconds).await?),
            Role::Verifier => None,
        };
        Ok(Plan { done, ..Plan::new(bake.bake.clone(), recipe, artifact, bundle, reports) })
    }

    async fn recipe(&self, pipeline: &PipelineName) -> Result<(RecipePointer, Recipe)> {
        let text = self.bucket.text(&keys::recipe_pointer(pipeline)).await?;
        let text = text.ok_or_else(|| Error::NoRecipe { pipeline: pipeline.clone() })?;
        let pointer: RecipePointer = decode("the recipe's pointer", &text)?;
        let recipe = self.recipe_text(pipeline, &pointer.version).await?;
        Ok((pointer, recipe))
    }

    /// The recipe as it was when the bake started, whatever was pushed since.
    async fn recipe_version(&self, bake: &Bake) -> Result<(RecipePointer, Recipe)> {
        let recipe = self.recipe_text(&bake.pipeline, &bake.recipe).await?;
        let text = self.bucket.text(&keys::recipe_version_pointer(&bake.pipeline, &bake.recipe)).await?;
        let text = text.ok_or_else(|| Error::NoRecipe { pipeline: bake.pipeline.clone() })?;
        Ok((decode("the recipe's pointer", &text)?, recipe))
    }

    async fn recipe_text(&self, pipeline: &PipelineName, version: &Digest) -> Result<Recipe> {
        let text = self.bucket.text(&keys::recipe(pipeline, version)).await?;
        let text = text.ok_or_else(|| Error::NoRecipe { pipeline: pipeline.clone() })?;
        let wrong = |problem: String| Error::BadRecipe { pipeline: pipeline.clone(), problem };
        let recipe = Recipe::parse_pushed(&text).map_err(|errors| wrong(errors.to_string()))?;
        if recipe.pipeline != *pipeline {
            return Err(wrong(format!("it is the recipe of pipeline `{}`", recipe.pipeline)));
        }
        Ok(recipe)
    }

    async fn runner(&self, architecture: &str) -> Result<RunnerPointer> {
        let text = self.bucket.text(&keys::runner_pointer(architecture)).await?;
        let text = text.ok_or_else(|| {
            Error::bad_input(
                format!("runner for {architecture}"),
                "is not in the bucket",
                "Run `make push-runner` after the deploy, for each architecture of your bases",
            )
        })?;
        decode("the runner's pointer", &text)
    }

    /// The artifact to bake: the one uploaded or named, else the newest of the pipeline.
    async fn artifact(&self, trigger: &Trigger) -> Result<Artifact> {
        let (key, version, sequencer) = match trigger {
            Trigger::Upload { key, version, sequencer } => (key.clone(), version.clone(), sequencer.clone()),
            Trigger::Manual { artifact: Some(key), .. } => (key.clone(), None, String::new()),
            Trigger::Manual { pipeline, artifact: None, .. } => {
                let prefix = format!("{}{pipeline}/", artifact::PREFIX);
                let newest = self.bucket.newest(&prefix).await?;
                let missing =
                    || Error::NoArtifact { key: prefix.clone(), problem: "has no artifact yet".into() };
                (ArtifactKey::parse(&newest.ok_or_else(missing)?.key)?, None, String::new())
            }
        };
        let wrong = |problem: &str| Error::NoArtifact { key: key.to_string(), problem: problem.to_owned() };
        let object =
            self.bucket.head(key.as_str(), version.as_deref()).await?.ok_or_else(|| wrong("is not there"))?;
        if object.bytes == 0 {
            return Err(wrong("is empty"));
        }
        let sha256 = self.bucket.sha256(key.as_str(), object.version.as_deref()).await?;
        Ok(Artifact {
            key,
            version: object.version,
            bytes: object.bytes,
            sha256,
            uploaded: object.written,
            sequencer,
        })
    }

    /// The base image, resolved to one that can be started now.
    async fn base(&self, base: &Base) -> Result<Image> {
        let wrong = |problem: String| Error::NoBase { what: base.to_string(), problem };
        let image = match base {
            Base::Image(id) => self.images.look(id).await?,
            Base::Newest { owner, name } => self.images.newest(owner, name).await?,
            Base::Parameter(name) => match self.parameters.get(name).await? {
                Some(value) => {
                    let id = value.parse().map_err(|error| wrong(format!("holds no image id: {error}")))?;
                    self.images.look(&id).await?
                }
                None => return Err(wrong("does not exist".into())),
            },
            Base::Channel { pipeline, channel } => {
                let channel = Ledger(self.table).channel(pipeline, channel).await?;
                match channel.and_then(|channel| channel.current) {
                    Some(target) => self.images.look(&target.image).await?,
                    None => return Err(wrong("points at nothing yet".into())),
                }
            }
        };
        let image = image.ok_or_else(|| wrong("names no image that exists".into()))?;
        match image.state {
            ImageState::Available => Ok(image),
            ImageState::Pending => Err(wrong(format!("is {}, which is still pending", image.id))),
            ImageState::Failed => Err(wrong(format!("is {}, which failed: {}", image.id, image.reason))),
        }
    }
}

/// Unique for the bake, and readable: `storefront-3f9a1c22b7d0-1b2c3d4e`.
fn image_name(pipeline: &PipelineName, digest: &Digest, bake: &BakeId) -> ImageName {
    let name = format!("{pipeline}-{}-{}", &digest.as_str()[..12], &token(bake, "image")[..8]);
    ImageName::parse(&name)
        .unwrap_or_else(|_| unreachable!("a pipeline's name is at most 40 plain characters"))
}

fn decode<D: serde::de::DeserializeOwned>(what: &str, text: &str) -> Result<D> {
    serde_json::from_str(text).map_err(|source| Error::Corrupt { what: what.to_owned(), source })
}

/// A recipe's times are at most half a day long.
fn seconds(time: std::time::Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(43_200)
}
