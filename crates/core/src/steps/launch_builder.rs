//! launch-builder: resolves every input of a bake, then reuses an image, waits for a twin or launches a
//! builder. It launches the instance that tests a finished image, too.

pub mod launch;
mod user_data;

use jiff::Timestamp;

use super::{is_over, resume, wrong_stage};
use crate::{
    domain::{
        bake::{Bake, Deadlines, Next, Settings, Stage, Status, To},
        digest::token,
        error::{Error, Result},
        id::{BakeId, Digest, ImageName, InstanceId, PipelineName},
        offer::offers,
        recipe::Recipe,
        tags,
        trigger::Trigger,
    },
    ports::{
        Bucket, Builders, Image, ImageState, Images, Parameters, Presigner, Role, Stack, Table, Workflow,
    },
    steps::{
        inputs::{Resolved, Sources},
        launch_builder::launch::Wanted,
    },
    store::{
        Claim, ImageRecord, ImageStatus, Ledger, lease_end,
        recipes::{self, RecipePointer},
    },
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

/// What an instance of a bake is made of. The call that resolves a bake's inputs has it already; a later one reads it.
struct Material {
    pointer: RecipePointer,
    recipe: Recipe,
    /// The image that the instance starts from.
    image: Image,
}

/// What launch-builder works with.
#[derive(Debug)]
pub struct Hands<'a, B, I, P, K, T, W> {
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
    /// Whose resources they are, and which executions run.
    pub workflow: &'a W,
}

impl<'a, C> Hands<'a, C, C, C, C, C, C> {
    /// One cloud that is all of it.
    pub fn of(cloud: &'a C) -> Self {
        Self {
            builders: cloud,
            images: cloud,
            parameters: cloud,
            bucket: cloud,
            table: cloud,
            workflow: cloud,
        }
    }
}

impl<B, I, P, K, T, W> Hands<'_, B, I, P, K, T, W>
where
    B: Builders,
    I: Images,
    P: Parameters,
    K: Bucket + Presigner,
    T: Table,
    W: Workflow + Stack,
{
    /// The first step of an execution.
    pub async fn start(&self, start: Start, now: Timestamp) -> Result<Bake> {
        let ledger = Ledger(self.table);
        let (bake, material) = match ledger.bake(start.trigger.pipeline(), &start.bake).await? {
            // An earlier try of this step got this far: its choices stand.
            Some(bake) => (bake, None),
            None => {
                let (bake, material) = self.resolve(start, now).await?;
                ledger.save(&bake).await?;
                (bake, Some(material))
            }
        };
        if bake.status != Status::Running {
            return Err(Error::BakeEnded { bake: bake.bake, status: bake.status });
        }
        // Before anything costs money: promote would refuse it at the end.
        if let Some(name) = bake.settings.parameter.as_ref().filter(|_| bake.options.promote) {
            ledger.check_parameter(name, &bake.pipeline).await?;
        }
        if !bake.options.force && self.is_superseded(&bake).await? {
            return Ok(Bake { status: Status::Superseded, ..bake }.go(To::Done));
        }
        self.obtain(bake, material, now).await
    }

    /// A later call: the twin gave up, or a fresh instance of the image is wanted.
    pub async fn resume(&self, document: Bake, now: Timestamp) -> Result<Bake> {
        match document.stage {
            // An image that is there already, for other tests.
            Stage::Launch | Stage::AwaitTwin if document.next.to == To::Verify => {
                self.verify(document, now).await
            }
            Stage::AwaitTwin => {
                let bake = resume(self.table, &document).await?;
                self.obtain(bake, None, now).await
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
    async fn resolve(&self, start: Start, now: Timestamp) -> Result<(Bake, Material)> {
        let Start { bake, started, trigger } = start;
        let pipeline = trigger.pipeline().clone();
        let sources = Sources {
            images: self.images,
            parameters: self.parameters,
            bucket: self.bucket,
            table: self.table,
        };
        let Resolved { pointer, recipe, artifact, base, image, inputs } =
            sources.resolve(&trigger, now).await?;
        let digest = inputs.digest(&pipeline);
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
            cascade: trigger.cascade().cloned(),
            started,
            options: trigger.options(),
            artifact,
            recipe: pointer.version.clone(),
            base,
            inputs,
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
            children: Vec::new(),
            stage: Stage::Launch,
            timeline: Vec::new(),
            failure: None,
            next: Next { to: To::Await, seconds: 1 },
        };
        // The stage began with the execution, not with this function's turn.
        document.enter(Stage::Launch, started.min(now));
        Ok((document, Material { pointer, recipe, image }))
    }

    async fn is_superseded(&self, bake: &Bake) -> Result<bool> {
        if !bake.options.promote {
            return Ok(false);
        }
        let channel = Ledger(self.table).channel(&bake.pipeline, &bake.settings.channel).await?;
        Ok(channel
            .and_then(|channel| channel.current)
            .filter(|current| current.digest != bake.digest)
            .is_some_and(|current| bake.order().compare(&current.order) == std::cmp::Ordering::Less))
    }

    /// The image of the digest: one that exists, one that a twin makes, or one that this bake will make.
    async fn obtain(&self, mut bake: Bake, material: Option<Material>, now: Timestamp) -> Result<Bake> {
        let ledger = Ledger(self.table);
        let found = if bake.options.force { None } else { self.usable(&bake).await? };
        if let Some(record) = &found
            && let Some(count) = record.passed(&bake.inputs.tests)
        {
            take(&mut bake, record);
            bake.tests_passed = Some(count);
            ledger.save_reusing(&bake).await?;
            return Ok(bake.go(To::Promote));
        }
        let expires = lease_end(now, bake.settings.deadlines.total());
        let mut claim = ledger.claim(&bake.digest, &bake, now, expires, None).await?;
        if let Claim::Held(holder) = &claim
            && is_over(holder, self.workflow).await?
        {
            // It was stopped, or died: its lease would else hold everybody up until it expires, hours later.
            claim = ledger.claim(&bake.digest, &bake, now, expires, Some(holder)).await?;
        }
        match claim {
            Claim::Held(_) => {
                if bake.stage != Stage::AwaitTwin {
                    bake.enter(Stage::AwaitTwin, now);
                    ledger.save(&bake).await?;
                }
                Ok(bake.go(To::Twin))
            }
            Claim::Granted(fence) => {
                bake.fence = fence;
                match found {
                    // Only the tests are others: the image stays, and a fresh instance of it must pass them.
                    Some(record) => {
                        take(&mut bake, &record);
                        ledger.save_reusing(&bake).await?;
                        Ok(bake.go(To::Verify))
                    }
                    None => self.launch(bake, material, now).await,
                }
            }
        }
    }

    /// The digest's image, if it was validated and still can be started.
    async fn usable(&self, bake: &Bake) -> Result<Option<ImageRecord>> {
        let record = Ledger(self.table).image(&bake.digest).await?;
        let Some(record) = record.filter(|record| record.status == ImageStatus::Validated) else {
            return Ok(None);
        };
        let image = self.images.look(&record.image).await?;
        Ok(image.filter(|image| image.state == ImageState::Available).map(|_| record))
    }

    async fn launch(&self, mut bake: Bake, material: Option<Material>, now: Timestamp) -> Result<Bake> {
        let ledger = Ledger(self.table);
        if bake.stage != Stage::Builder {
            bake.enter(Stage::Builder, now);
        }
        ledger.save(&bake).await?;
        if bake.builder.is_none() {
            let (builder, spot) = self.instance(&mut bake, material, Role::Builder).await?;
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
            let (booted, _) = self.instance(&mut bake, None, Role::Verifier).await?;
            bake.booted = Some(booted);
            ledger.save(&bake).await?;
        }
        Ok(bake.go(To::Await))
    }

    /// Launches the bake's instance of this role, or finds the one that an earlier try launched; gives it, and
    /// whether it is a spot instance.
    async fn instance(
        &self,
        bake: &mut Bake,
        material: Option<Material>,
        role: Role,
    ) -> Result<(InstanceId, bool)> {
        let ours = self.builders.of_bake(&bake.bake).await?.into_iter().find(|instance| {
            !instance.state.is_gone()
                && instance.tags.get(tags::TAG_ROLE).map(String::as_str) == Some(role.as_str())
        });
        if let Some(instance) = ours {
            return Ok((instance.id, instance.spot));
        }
        let mut tags = bake.tags(self.workflow.stack());
        tags.insert(tags::TAG_ROLE.to_owned(), role.as_str().to_owned());
        tags.insert("Name".to_owned(), format!("ovenbird {} {}", bake.pipeline, role.as_str()));
        let material = match material {
            Some(material) => material,
            None => self.material(bake, role).await?,
        };
        let user_data = self.user_data(bake, &material, role).await?;
        let Material { recipe, image, pointer: _ } = material;
        let builder = &recipe.builder;
        let wanted = Wanted {
            image: image.id.clone(),
            security_groups: builder.security_groups.clone(),
            instance_profile: builder.instance_profile.clone(),
            volume: match role {
                Role::Builder => launch::root_volume(builder, &image)?,
                // The image has its builder's volume.
                Role::Verifier => None,
            },
            devices: image.devices,
            user_data,
            purpose: role.as_str(),
            tags,
        };
        launch::launch(bake, &wanted, &offers(builder), self.builders, self.table).await
    }

    /// What the bake's instance of this role is made of, read once more.
    async fn material(&self, bake: &Bake, role: Role) -> Result<Material> {
        let (pointer, recipe) = recipes::recipe_version(self.bucket, &bake.pipeline, &bake.recipe).await?;
        Ok(Material { pointer, recipe, image: self.image(bake, role).await? })
    }

    /// The image that the bake's instance of this role starts from, as EC2 has it now.
    async fn image(&self, bake: &Bake, role: Role) -> Result<Image> {
        let gone = "was deregistered meanwhile";
        match role {
            Role::Builder => self.images.look(&bake.base.image).await?.ok_or_else(|| Error::NoBase {
                what: format!("image `{}`", bake.base.image),
                problem: gone.into(),
            }),
            Role::Verifier => {
                let image = bake.image()?;
                let problem = || Error::ImageFailed { image: image.clone(), reason: format!("it {gone}") };
                self.images.look(image).await?.ok_or_else(problem)
            }
        }
    }
}

/// The bake takes an image that was there already.
fn take(bake: &mut Bake, record: &ImageRecord) {
    bake.image = Some(record.image.clone());
    bake.snapshots.clone_from(&record.snapshots);
    bake.reused = true;
}

/// Unique for the bake, and readable: `storefront-3f9a1c22b7d0-1b2c3d4e`.
fn image_name(pipeline: &PipelineName, digest: &Digest, bake: &BakeId) -> ImageName {
    let name = format!("{pipeline}-{}-{}", &digest.as_str()[..12], &token(bake, "image")[..8]);
    ImageName::parse(&name)
        .unwrap_or_else(|_| unreachable!("a pipeline's name is at most 40 plain characters"))
}

/// A recipe's times are at most half a day long.
fn seconds(time: std::time::Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(43_200)
}
