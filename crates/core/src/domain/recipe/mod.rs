//! The recipe: what an image of a pipeline is made of, tested with and promoted to.
//!
//! `grammar` has every key as data. `reader` reads a text by it and notes mistakes, `parse` makes the types of what was
//! read, `schema` is for editors. The kinds of steps are in `step`, those of tests in `test_kind`.

mod grammar;
mod head;
mod mistake;
mod parse;
mod reader;
mod schema;
mod seal;
mod step;
mod template;
mod test_kind;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, path::Path, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::{
    head::{HEAD, Head, HeadKind},
    mistake::{RecipeError, RecipeErrors},
    seal::Seal,
    step::{Action, Ansible, Chef, Content, Puppet, Step, Unit},
    template::Filling,
    test_kind::{Http, SETTLE, Test, TestKind},
};
use crate::domain::{
    destination::{Destination, Policy},
    id::{AmiId, ChannelName, GroupName, ParameterName, PipelineName, TemplateName},
    names::Names,
};

/// `recipe.toml`, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// The pipeline it belongs to.
    pub pipeline: PipelineName,
    /// The image to start from.
    pub base: Base,
    /// The machine to configure.
    pub builder: Builder,
    /// Where the artifact goes; none for a pipeline without artifacts.
    pub artifact: Option<Artifact>,
    /// How the machine is configured, in order.
    pub steps: Vec<Step>,
    /// What must hold of the configured machine.
    pub tests: Vec<Test>,
    /// What the seal keeps, and what it removes in addition.
    pub seal: Seal,
    /// How it is validated.
    pub validate: Validate,
    /// What follows a validated image.
    pub promote: Promote,
    /// What EC2 is to hold by of a validated image.
    pub attributes: Attributes,
    /// The pipeline's other channels, which a person promotes images to, and what follows them.
    pub channels: Vec<Promote>,
    /// How Auto Scaling groups are brought to an image.
    pub rollout: Policy,
    /// How long images are kept.
    pub retain: Retain,
    /// How long each wait may take.
    pub deadlines: Waits,
}

impl Recipe {
    /// A channel of the pipeline with what follows it; none when the recipe names no such channel.
    pub fn destination(&self, channel: &ChannelName) -> Option<Destination> {
        let promote =
            std::iter::once(&self.promote).chain(&self.channels).find(|one| one.channel == *channel)?;
        Some(Destination {
            pipeline: self.pipeline.clone(),
            channel: promote.channel.clone(),
            parameter: promote.parameter.clone(),
            launch_templates: promote.launch_templates.clone(),
            groups: promote.groups.clone(),
            policy: self.rollout.clone(),
        })
    }

    /// Parses a recipe beside its files; `look` tells what there is at a path relative to the recipe.
    pub fn parse(name: &str, text: &str, look: &dyn Fn(&Path) -> Beside) -> Result<Self, RecipeErrors> {
        parse::recipe(name, text, Some(look))
    }

    /// Parses a recipe that was checked and pushed with its files.
    pub fn parse_pushed(text: &str) -> Result<Self, RecipeErrors> {
        parse::recipe("recipe.toml", text, None)
    }

    /// The JSON Schema of `recipe.toml`, for editors.
    pub fn schema() -> Value {
        schema::schema()
    }

    /// A recipe to begin with, that works as it is and says what else there is.
    pub fn starter(pipeline: &PipelineName) -> String {
        include_str!("starter.toml").replace("PIPELINE", pipeline.as_str())
    }

    /// Every path beside the recipe that goes to the builder: files, and folders with all that is in them.
    pub fn sources(&self) -> Vec<String> {
        self.steps.iter().flat_map(|step| step.action.sources()).collect()
    }

    /// Every parameter that the builder reads, with the step that asks for it.
    pub fn secrets(&self) -> impl Iterator<Item = (&Step, &ParameterName)> {
        self.steps.iter().flat_map(|step| step.parameters().map(move |parameter| (step, parameter)))
    }

    /// The secrets that a builder with the stack's own role may not read: it reads below `prefix` alone.
    ///
    /// A recipe with an instance profile of its own has another role, and what that one allows is not ours to know.
    pub fn secrets_outside<'r>(
        &'r self,
        prefix: &'r str,
    ) -> impl Iterator<Item = (&'r Step, &'r ParameterName)> {
        let judged = self.builder.instance_profile.is_none();
        self.secrets().filter(move |(_, parameter)| judged && !parameter.as_str().starts_with(prefix))
    }

    /// What configures the machine, in a form that is equal for equal meaning: the tests are not in it.
    pub fn configuration_inputs(&self) -> Value {
        let mut inputs = serde_json::json!({ "artifact": self.artifact, "steps": self.steps });
        // Only where a recipe has it: the digests of all others stay what they were.
        if !self.seal.is_usual() {
            inputs["seal"] = serde_json::json!(self.seal);
        }
        inputs
    }

    /// What an image must pass, in a form that is equal for equal meaning.
    pub fn test_inputs(&self) -> Value {
        serde_json::json!({ "tests": self.tests, "boot": self.validate.boot })
    }
}

/// What lies beside a recipe at a path that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Beside {
    /// There is no such path.
    Nothing,
    /// A file that begins so.
    File(Head),
    /// A folder with something in it.
    Folder,
    /// A folder without a file in it.
    EmptyFolder,
    /// Something that can't be pushed, in a word with its article: `a symbolic link`.
    Other(&'static str),
}

/// The image to start from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// This very image.
    Image(AmiId),
    /// The image that a parameter names: a public alias, or one of yours.
    Parameter(ParameterName),
    /// The newest available image of an owner whose name matches the pattern.
    Newest {
        /// The owner's account, or `amazon`, `self`.
        owner: String,
        /// The pattern, with `*` and `?`.
        name: String,
        /// Its architecture, when images of several match.
        architecture: Option<String>,
    },
    /// The image that another pipeline's channel points at.
    Channel {
        /// The other pipeline.
        pipeline: PipelineName,
        /// Its channel.
        channel: ChannelName,
    },
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(id) => write!(f, "image `{id}`"),
            Self::Parameter(name) => write!(f, "parameter `{name}`"),
            Self::Newest { owner, name, architecture: None } => write!(f, "the newest `{name}` of `{owner}`"),
            Self::Newest { owner, name, architecture: Some(architecture) } => {
                write!(f, "the newest `{name}` of `{owner}` for {architecture}")
            }
            Self::Channel { pipeline, channel } => write!(f, "channel `{pipeline}/{channel}`"),
        }
    }
}

/// The machine to configure.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Builder {
    /// Types in order of preference; each is tried in every subnet before the next.
    pub instance_types: Vec<String>,
    /// Ask for spot capacity first, for every type and subnet, and then for all of them on demand.
    pub spot: bool,
    /// The root volume, where the base's own won't do.
    pub volume: Option<Volume>,
    /// Subnets in order of preference, each in a zone; none means the one of the stack.
    pub subnets: Vec<String>,
    /// Security groups, by id; none means the one of the stack.
    pub security_groups: Vec<String>,
    /// The instance profile, by name; none means the one of the stack.
    pub instance_profile: Option<String>,
    /// How many bakes of the pipeline may have a builder at the same time.
    pub concurrency: u32,
    /// Tags beside ours, on the builder, its volume, the image and its snapshots.
    pub tags: BTreeMap<String, String>,
}

/// A builder's root volume, which the image's snapshot is made of.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Volume {
    /// Its size in GiB; at least the base's.
    pub gib: Option<u32>,
    /// Its type in EC2's word: `gp3`.
    pub kind: Option<String>,
    /// Its operations per second, which `io1` and `io2` must be given and `gp3` may be.
    pub iops: Option<u32>,
    /// Its throughput in MiB per second, which only `gp3` may be given. One without has the digest it always had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throughput: Option<u32>,
    /// Encrypts it with this KMS key, by id, `alias/…` or ARN; `alias/aws/ebs` is AWS's own.
    pub kms_key: Option<String>,
}

/// What becomes of the artifact on the machine.
///
/// Without `mode` and `owner` it is written as it was before there were any: the digest of such a recipe stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Where it goes.
    #[serde(flatten)]
    pub place: Placement,
    /// The permission bits of the file; none means 0755 for a program, and 0644 for anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    /// Its owner, `user` or `user:group`, or the owner of all that is unpacked; none means root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Which names of uploads are artifacts; none means all. It says what starts a bake, and nothing of the image: the
    /// digest is without it.
    #[serde(skip)]
    pub names: Option<Names>,
}

impl Artifact {
    /// Why an upload of a file of this name is none of the pipeline's artifacts; none when it is one.
    pub fn refuses(&self, name: &str) -> Option<String> {
        let names = self.names.as_ref().filter(|names| !names.has(name))?;
        Some(format!("`match` of the recipe's `[artifact]` is `{names}`, and `{name}` is none"))
    }
}

/// Where the artifact goes on the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// To this file.
    To(String),
    /// Unpacked into this folder.
    UnpackTo(String),
}

/// How an image is validated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validate {
    /// Whether a fresh instance of the finished image is tested too.
    pub boot: bool,
}

/// What follows a validated image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promote {
    /// The pipeline's channel that is moved to the image.
    pub channel: ChannelName,
    /// The SSM parameter that follows the channel; none when nothing reads one.
    pub parameter: Option<ParameterName>,
    /// The launch templates that follow the channel.
    pub launch_templates: Vec<TemplateName>,
    /// The Auto Scaling groups that follow the channel.
    pub groups: Vec<GroupName>,
}

/// What EC2 is to hold by of an image that passed its tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Its instances accept IMDSv2 alone, unless their launch says otherwise.
    pub imdsv2: bool,
    /// It can't be deregistered until prune lifts that.
    pub protected: bool,
}

/// How long images are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retain {
    /// So many of the newest stay.
    pub newest: u32,
    /// Those younger than so many days stay too.
    pub days: u32,
    /// So many different images of each channel's history stay too.
    pub history: u32,
    /// For so many days each stage of a retirement lasts; none, and there are no stages.
    pub soak: u32,
    /// Whether those that are shared outside of the account are retired, too.
    pub retire_shared: bool,
}

/// How long each wait may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    /// Launch to provisioned.
    pub builder: Duration,
    /// Tests.
    pub validation: Duration,
    /// Sealing, and again for imaging.
    pub imaging: Duration,
    /// The parameter's acceptance.
    pub promotion: Duration,
}
