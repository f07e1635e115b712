//! What a bake is made from: recipe, artifact, base and runner, every alias resolved once.

use std::collections::{BTreeMap, BTreeSet};

use futures::try_join;
use jiff::Timestamp;

use crate::{
    domain::{
        artifact::{self, ArtifactKey},
        bake::{Artifact, BaseImage, Parent},
        digest::canonical,
        error::{Error, Result, Retry},
        id::ParameterName,
        inputs::Inputs,
        names::Names,
        recipe::{Base, Recipe},
        trigger::Trigger,
    },
    ports::{Bucket, Image, ImageState, Images, Parameters, Table},
    store::{
        Ledger,
        recipes::{self, RecipePointer},
    },
};

/// Every input of a bake, as it is at this moment.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// Which version of the recipe.
    pub pointer: RecipePointer,
    /// The recipe.
    pub recipe: Recipe,
    /// What goes into the image; none for a pipeline without artifacts.
    pub artifact: Option<Artifact>,
    /// What the image starts from.
    pub base: BaseImage,
    /// That image, as EC2 has it.
    pub image: Image,
    /// Each by its own digest.
    pub inputs: Inputs,
}

/// Resolves every input of the bake that this starts, by the current recipe where that was read already.
pub async fn resolve(
    trigger: &Trigger,
    pushed: Option<(RecipePointer, Recipe)>,
    cloud: &(impl Images + Parameters + Bucket + Table),
    now: Timestamp,
) -> Result<Resolved> {
    let (pointer, recipe) = match (trigger.recipe(), pushed) {
        (Some(version), _) => recipes::recipe_version(cloud, trigger.pipeline(), version).await?,
        (None, Some(pushed)) => pushed,
        (None, None) => recipes::recipe(cloud, trigger.pipeline()).await?,
    };
    let artifact = async {
        match &recipe.artifact {
            Some(wanted) => self::artifact(trigger, wanted.names.as_ref(), cloud).await.map(Some),
            None => Ok(None),
        }
    };
    let (artifact, (image, parent), secrets) =
        try_join!(artifact, base_image(&recipe.base, cloud, now), secrets(&recipe, cloud))?;
    let runner = recipes::runner(cloud, &image.architecture).await?;
    let volume = serde_json::to_value(&recipe.builder.volume)
        .unwrap_or_else(|_| unreachable!("it has string keys only"));
    let inputs = Inputs {
        rule: Inputs::RULE,
        base: image.id.clone(),
        architecture: image.architecture.clone(),
        configuration: canonical(&recipe.configuration_inputs()),
        volume: recipe.builder.volume.is_some().then(|| canonical(&volume)),
        files: pointer.files.clone(),
        artifact: artifact.as_ref().map(|artifact| artifact.sha256.clone()),
        secrets,
        runner: runner.sha256,
        tests: canonical(&recipe.test_inputs()),
    };
    let written = recipe.base.to_string();
    let base = BaseImage { image: image.id.clone(), name: image.name.clone(), written, parent };
    Ok(Resolved { pointer, recipe, artifact, base, image, inputs })
}

/// The version of each parameter that a step reads a secret from. One that is not there would fail the step.
///
/// Systems Manager describes parameters without their values, so whoever may ask for a version can't read a secret. One
/// that is written between this look and the step gives its new value to an image of the old version, and the next bake
/// makes another image.
async fn secrets(recipe: &Recipe, cloud: &impl Parameters) -> Result<BTreeMap<ParameterName, i64>> {
    let names: BTreeSet<ParameterName> = recipe.secrets().map(|(_, name)| name.clone()).collect();
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let kinds = cloud.kinds(&names).await?;
    if let Some((step, name)) = recipe.secrets().find(|(_, name)| !kinds.contains_key(*name)) {
        return Err(Error::bad_input(
            format!("parameter `{name}`"),
            format!("is not there, and step `{}` reads it", step.name),
            format!("Put it: `aws ssm put-parameter --type SecureString --name {name} --value file://FILE`"),
        ));
    }
    Ok(kinds.into_iter().map(|(name, kind)| (name, kind.version)).collect())
}

/// The artifact to bake: the one uploaded or named, else the newest of the pipeline.
async fn artifact(trigger: &Trigger, names: Option<&Names>, bucket: &impl Bucket) -> Result<Artifact> {
    let (key, version, sequencer) = match trigger {
        Trigger::Upload { key, version, sequencer } => (key.clone(), version.clone(), sequencer.clone()),
        Trigger::Manual { artifact: Some(key), .. } => (key.clone(), None, String::new()),
        Trigger::Manual { pipeline, artifact: None, .. } | Trigger::Cascade { pipeline, .. } => {
            let prefix = artifact::prefix(pipeline);
            let newest = bucket.newest(&prefix, names).await?;
            let missing = || Error::NoArtifact {
                pipeline: pipeline.clone(),
                key: format!("{prefix}*"),
                problem: match names {
                    None => "isn't there yet: nothing was uploaded".into(),
                    Some(names) => format!("isn't there yet: no upload matches `{names}`"),
                },
            };
            (ArtifactKey::parse(&newest.ok_or_else(missing)?.key)?, None, String::new())
        }
    };
    let wrong = |problem: &str| Error::NoArtifact {
        pipeline: key.pipeline().clone(),
        key: key.to_string(),
        problem: problem.to_owned(),
    };
    let object = bucket.head(key.as_str(), version.as_deref()).await?;
    let object = object.ok_or_else(|| wrong("is not there"))?;
    if object.bytes == 0 {
        return Err(wrong("is empty"));
    }
    let sha256 = match object.sha256 {
        // S3 checked it against the bytes at the upload.
        Some(sha256) => sha256,
        None => bucket.sha256(key.as_str(), object.version.as_deref()).await?,
    };
    Ok(Artifact {
        key,
        version: object.version,
        bytes: object.bytes,
        sha256,
        uploaded: object.written,
        sequencer,
    })
}

/// The base image, resolved to one that can be started now, and the promotion that it came by.
pub async fn base_image(
    base: &Base,
    cloud: &(impl Images + Parameters + Table),
    now: Timestamp,
) -> Result<(Image, Option<Parent>)> {
    let wrong = |problem: String| Error::NoBase { what: base.to_string(), problem };
    let mut parent = None;
    let image = match base {
        Base::Image(id) => cloud.image(id).await?,
        Base::Newest { owner, name, architecture } => {
            newest(cloud.matching(owner, name).await?, architecture.as_deref(), now)
        }
        Base::Parameter(name) => match cloud.parameter(name).await? {
            Some(value) => {
                let id = value.parse().map_err(|error| wrong(format!("holds no image id: {error}")))?;
                cloud.image(&id).await?
            }
            None => return Err(wrong("does not exist".into())),
        },
        Base::Channel { pipeline, channel } => {
            let current = Ledger(cloud).channel(pipeline, channel).await?;
            match current.and_then(|channel| channel.current) {
                Some(target) => {
                    parent = Some(Parent {
                        pipeline: pipeline.clone(),
                        channel: channel.clone(),
                        bake: target.bake,
                        generation: target.generation,
                    });
                    cloud.image(&target.image).await?
                }
                None => return Err(wrong("points at nothing yet".into())),
            }
        }
    };
    let image = image.ok_or_else(|| wrong("names no image that exists".into()))?;
    match image.state {
        ImageState::Available => Ok((image, parent)),
        // It was promoted, so it was available: this answer is older than that.
        ImageState::Pending if parent.is_some() => {
            Err(Error::TryAgain { what: format!("base image {}", image.id), why: Retry::Unseen })
        }
        ImageState::Pending => Err(wrong(format!("is {}, which is still pending", image.id))),
        ImageState::Failed => Err(wrong(format!("is {}, which failed: {}", image.id, image.reason))),
        ImageState::Disabled => Err(wrong(format!("is {}, which its owner disabled", image.id))),
    }
}

/// The newest of these images that can be started, is of the architecture, and isn't deprecated.
fn newest(images: Vec<Image>, architecture: Option<&str>, now: Timestamp) -> Option<Image> {
    let usable = images.into_iter().filter(|image| {
        image.state == ImageState::Available
            && architecture.is_none_or(|wanted| image.architecture == wanted)
            && image.deprecated.is_none_or(|deprecated| deprecated > now)
    });
    usable.max_by(|a, b| a.created.cmp(&b.created).then_with(|| a.id.cmp(&b.id)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Protection;

    fn image(id: &str, created: &str, architecture: &str, deprecated: Option<&str>) -> Image {
        Image {
            id: id.parse().unwrap(),
            name: String::new(),
            owner: String::new(),
            state: ImageState::Available,
            reason: String::new(),
            created: created.parse().unwrap(),
            architecture: architecture.into(),
            root_device: None,
            gib: None,
            devices: Vec::new(),
            deprecated: deprecated.map(|time| time.parse().unwrap()),
            protection: Protection::Off,
            imdsv2: false,
            launched: None,
            snapshots: Vec::new(),
            tags: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn the_newest_base_is_usable_of_the_architecture_and_not_deprecated() {
        let now = "2026-06-01T00:00:00Z".parse().unwrap();
        let (may, april, march) = ("2026-05-01T00:00:00Z", "2026-04-01T00:00:00Z", "2026-03-01T00:00:00Z");
        let mut images = vec![
            image("ami-00000001", april, "x86_64", Some("2028-01-01T00:00:00Z")),
            image("ami-00000002", may, "x86_64", Some(may)),
            image("ami-00000003", may, "arm64", None),
            image("ami-00000004", march, "x86_64", None),
        ];
        let pending = image("ami-00000005", may, "x86_64", None);
        images.push(Image { state: ImageState::Pending, ..pending });
        let found =
            |architecture| newest(images.clone(), architecture, now).map(|image| image.id.to_string());
        assert_eq!(found(Some("x86_64")).as_deref(), Some("ami-00000001"));
        assert_eq!(found(Some("arm64")).as_deref(), Some("ami-00000003"));
        assert_eq!(found(None).as_deref(), Some("ami-00000003"));
        assert_eq!(newest(Vec::new(), None, now), None);
    }
}
