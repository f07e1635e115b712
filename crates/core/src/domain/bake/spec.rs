//! What a bake was asked for and what it is made of: written once, by launch-builder, and never changed.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Artifact, BaseImage, Options, Order, Parent, Settings};
use crate::domain::{
    destination::Destination,
    id::{BakeId, Digest, ImageName, PipelineName, StackId},
    inputs::Inputs,
    tags,
};

/// The word of a bake's trigger when an upload started it.
pub const UPLOAD: &str = "upload";

/// What a bake was asked for and what it is made of. It is as it was when the bake began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BakeSpec {
    /// The execution's name.
    #[serde(rename = "bake")]
    pub id: BakeId,
    /// The pipeline whose recipe is baked.
    pub pipeline: PipelineName,
    /// What started it: `upload`, `manual`, `cascade`.
    pub trigger: String,
    /// The promotion that started it, for a `cascade`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cascade: Option<Parent>,
    /// When its execution started.
    pub started: Timestamp,
    /// After this moment whatever is left of it may be reaped, if it waited for no other bake.
    pub expires: Timestamp,
    /// What was asked for.
    pub options: Options,
    /// What goes into the image; none for a pipeline without artifacts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Artifact>,
    /// The version of the recipe: the bundle's SHA-256.
    pub recipe: Digest,
    /// The key that signed it, `SHA256:…`; none where the stack names no signers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// The base image, resolved.
    pub base: BaseImage,
    /// Every input, by its own digest.
    pub inputs: Inputs,
    /// SHA-256 over every input.
    pub digest: Digest,
    /// The name that the image has or will have.
    pub image_name: ImageName,
    /// What of the recipe the later stages need.
    pub settings: Settings,
}

impl BakeSpec {
    /// Where it stands in the line of its pipeline's versions.
    pub fn order(&self) -> Order {
        match &self.artifact {
            Some(artifact) => Order {
                artifact: Some(format!("{}@{}", artifact.key, artifact.sha256)),
                uploaded: artifact.uploaded,
                sequencer: artifact.sequencer.clone(),
                started: self.started,
            },
            None => Order {
                artifact: None,
                uploaded: self.started,
                sequencer: String::new(),
                started: self.started,
            },
        }
    }

    /// The channel that it promotes to, with what follows that.
    pub fn destination(&self) -> Destination {
        Destination {
            pipeline: self.pipeline.clone(),
            channel: self.settings.channel.clone(),
            parameter: self.settings.parameter.clone(),
            launch_templates: self.settings.launch_templates.clone(),
            groups: self.settings.groups.clone(),
            policy: self.settings.rollout.clone().unwrap_or_default(),
        }
    }

    /// What its image holds, in a line for people: EC2 shows it beside the image's name.
    pub fn description(&self) -> String {
        let artifact = self.artifact.as_ref().map(|artifact| format!(" with {}", artifact.key));
        let text = format!(
            "{}{}, recipe {}, on {} {}",
            self.pipeline,
            artifact.unwrap_or_default(),
            &self.recipe.as_str()[..12],
            self.base.image,
            self.base.name,
        );
        // EC2 takes 255 characters, and not every one of Unicode's.
        let plain = |letter: char| if letter.is_ascii() && !letter.is_ascii_control() { letter } else { '?' };
        text.chars().take(255).map(plain).collect()
    }

    /// Whether an upload started it: one that a newer upload makes pointless.
    pub fn is_upload(&self) -> bool {
        self.trigger == UPLOAD
    }

    /// The tags that everything it makes carries: people's, and over them ours.
    pub(super) fn tags(&self, stack: &StackId, expires: Timestamp) -> BTreeMap<String, String> {
        let mut tags = self.settings.tags.clone();
        tags.extend(self.artifact.as_ref().map(|artifact| {
            // Of a long key, the end tells more. A tag has 256 characters.
            let key = artifact.key.as_str();
            let skipped = key.chars().count().saturating_sub(256);
            (tags::TAG_ARTIFACT.to_owned(), key.chars().skip(skipped).collect())
        }));
        tags.insert(tags::TAG_RECIPE.to_owned(), self.recipe.as_str()[..12].to_owned());
        tags.extend(tags::tags(stack, &self.id, &self.pipeline, &self.digest, expires));
        tags
    }
}
