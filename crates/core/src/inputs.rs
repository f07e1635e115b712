//! What a bake is made from: the artifact and the base image, every alias resolved once.

use crate::{
    artifact::{self, ArtifactKey},
    bake::Artifact,
    error::{Error, Result},
    ledger::Ledger,
    ports::{Bucket, Image, ImageState, Images, Parameters, Table},
    recipe::Base,
    trigger::Trigger,
};

/// The artifact to bake: the one uploaded or named, else the newest of the pipeline.
pub async fn artifact(bucket: &impl Bucket, trigger: &Trigger) -> Result<Artifact> {
    let (key, version, sequencer) = match trigger {
        Trigger::Upload { key, version, sequencer } => (key.clone(), version.clone(), sequencer.clone()),
        Trigger::Manual { artifact: Some(key), .. } => (key.clone(), None, String::new()),
        Trigger::Manual { pipeline, artifact: None, .. } => {
            let prefix = format!("{}{pipeline}/", artifact::PREFIX);
            let newest = bucket.newest(&prefix).await?;
            let missing = || Error::NoArtifact { key: prefix.clone(), problem: "has no artifact yet".into() };
            (ArtifactKey::parse(&newest.ok_or_else(missing)?.key)?, None, String::new())
        }
    };
    let wrong = |problem: &str| Error::NoArtifact { key: key.to_string(), problem: problem.to_owned() };
    let object = bucket.head(key.as_str(), version.as_deref()).await?.ok_or_else(|| wrong("is not there"))?;
    if object.bytes == 0 {
        return Err(wrong("is empty"));
    }
    let sha256 = bucket.sha256(key.as_str(), object.version.as_deref()).await?;
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
pub async fn base(
    base: &Base,
    images: &impl Images,
    parameters: &impl Parameters,
    table: &impl Table,
) -> Result<Image> {
    let wrong = |problem: String| Error::NoBase { what: base.to_string(), problem };
    let image = match base {
        Base::Image(id) => images.look(id).await?,
        Base::Newest { owner, name } => images.newest(owner, name).await?,
        Base::Parameter(name) => match parameters.get(name).await? {
            Some(value) => {
                let id = value.parse().map_err(|error| wrong(format!("holds no image id: {error}")))?;
                images.look(&id).await?
            }
            None => return Err(wrong("does not exist".into())),
        },
        Base::Channel { pipeline, channel } => {
            let channel = Ledger(table).channel(pipeline, channel).await?;
            match channel.and_then(|channel| channel.current) {
                Some(target) => images.look(&target.image).await?,
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
