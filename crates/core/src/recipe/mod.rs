//! The recipe: what an image of a pipeline is made of, tested with and promoted to.

mod parse;
mod reader;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, path::Path, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::reader::{RecipeError, RecipeErrors};
use crate::id::{AmiId, ChannelName, ParameterName, PipelineName};

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
    pub artifact: Option<Placement>,
    /// How the machine is configured, in order.
    pub steps: Vec<Step>,
    /// What must hold of the configured machine.
    pub tests: Vec<Test>,
    /// How it is validated.
    pub validate: Validate,
    /// What follows a validated image.
    pub promote: Promote,
    /// How long images are kept.
    pub retain: Retain,
    /// How long each wait may take.
    pub deadlines: Waits,
}

impl Recipe {
    /// Parses a recipe beside its files; `exists` tells which paths, relative to the recipe, there are.
    pub fn parse(name: &str, text: &str, exists: &dyn Fn(&Path) -> bool) -> Result<Self, RecipeErrors> {
        parse::recipe(name, text, Some(exists))
    }

    /// Parses a recipe that was checked and pushed with its files.
    pub fn parse_pushed(text: &str) -> Result<Self, RecipeErrors> {
        parse::recipe("recipe.toml", text, None)
    }

    /// Every path beside the recipe that it names: files, and folders with all that is in them.
    pub fn sources(&self) -> Vec<String> {
        let sources = self.steps.iter().flat_map(|step| match &step.action {
            Action::Script { source, .. } => vec![source],
            Action::File { content: Content::Source(source), .. } => vec![source],
            Action::Puppet(puppet) => {
                [Some(&puppet.manifest), puppet.modules.as_ref(), puppet.hiera.as_ref()]
                    .into_iter()
                    .flatten()
                    .collect()
            }
            Action::Chef(chef) => vec![&chef.cookbooks],
            Action::Ansible(ansible) => {
                [Some(&ansible.playbook), ansible.roles.as_ref()].into_iter().flatten().collect()
            }
            Action::File { content: Content::Inline(_), .. }
            | Action::Shell { .. }
            | Action::Service { .. }
            | Action::Package { .. } => Vec::new(),
        });
        sources.cloned().collect()
    }

    /// The part of the recipe that the image's bytes depend on, in a form that is equal for equal meaning.
    ///
    /// Builder, promotion, retention and deadlines are left out: they change how an image is made and what
    /// follows it, not what is in it. Tests are in, because an image is reused only with the tests it passed.
    pub fn image_inputs(&self) -> Value {
        serde_json::json!({
            "artifact": self.artifact,
            "steps": self.steps,
            "tests": self.tests,
            "boot": self.validate.boot,
        })
    }
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
    },
    /// The image that another pipeline's channel points at.
    Channel {
        /// The pipeline.
        pipeline: PipelineName,
        /// The channel.
        channel: ChannelName,
    },
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(id) => write!(f, "image `{id}`"),
            Self::Parameter(name) => write!(f, "parameter `{name}`"),
            Self::Newest { owner, name } => write!(f, "the newest `{name}` of `{owner}`"),
            Self::Channel { pipeline, channel } => write!(f, "channel `{pipeline}/{channel}`"),
        }
    }
}

/// The machine to configure.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Builder {
    /// Types in order of preference.
    pub instance_types: Vec<String>,
    /// Ask for spot capacity first.
    pub spot: bool,
    /// The root volume, where the base's own won't do.
    pub volume: Option<Volume>,
    /// Subnets in order of preference, each in a zone; none means the one of the stack.
    pub subnets: Vec<String>,
    /// Security groups; none means the one of the stack.
    pub security_groups: Vec<String>,
    /// The instance profile; none means the one of the stack.
    pub instance_profile: Option<String>,
    /// Tags beside ours.
    pub tags: BTreeMap<String, String>,
}

/// A builder's root volume, which the image's snapshot is made of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Volume {
    /// Its size in GiB; at least the base's.
    pub gib: Option<u32>,
    /// Its type in EC2's word: `gp3`.
    pub kind: Option<String>,
    /// Its operations per second, which `io1` and `io2` must be given and `gp3` may be.
    pub iops: Option<u32>,
    /// Encrypts it with this KMS key, by id, alias or ARN; `aws/ebs` is AWS's own.
    pub kms_key: Option<String>,
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

/// One step of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What reports and errors call it.
    pub name: String,
    /// What it does.
    pub action: Action,
    /// How long each try of it may take.
    pub timeout: Duration,
    /// What it finds in its environment.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// What it finds there too, read from `SecureString` parameters on the builder, and masked in its output.
    #[serde(default)]
    pub secrets: BTreeMap<String, ParameterName>,
    /// A shell command that must succeed, or the step is left out.
    #[serde(default)]
    pub only_if: Option<String>,
    /// How often it is tried again when it fails.
    #[serde(default)]
    pub retries: u32,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Runs a text with `/bin/sh -e`.
    Shell {
        /// The text.
        run: String,
    },
    /// Runs a file beside the recipe.
    Script {
        /// Its path relative to the recipe.
        source: String,
        /// Its arguments, each one word whatever is in it.
        args: Vec<String>,
        /// The program that runs it, with its own arguments; none means that the file says so itself (`#!`).
        #[serde(default)]
        interpreter: Vec<String>,
    },
    /// Writes a file.
    File {
        /// Where.
        to: String,
        /// What.
        content: Content,
        /// Its permission bits.
        mode: u32,
        /// Its owner, `user` or `user:group`.
        owner: Option<String>,
    },
    /// Sets up a systemd service.
    Service {
        /// Its name, without `.service`.
        name: String,
        /// The unit to write; none when the unit is there already.
        unit: Option<Unit>,
        /// Whether it starts at boot.
        enabled: bool,
        /// Whether it is (re)started now.
        started: bool,
    },
    /// Installs packages with the base's own package manager.
    Package {
        /// Their names, as that manager writes them; with a version where one is asked for.
        names: Vec<String>,
    },
    /// Applies a Puppet manifest, masterless.
    Puppet(Puppet),
    /// Runs Chef in local mode.
    Chef(Chef),
    /// Runs an Ansible playbook on the builder itself.
    Ansible(Ansible),
}

/// `puppet apply`: exit statuses 0 (nothing to do) and 2 (changed) are success, 4 and 6 are failures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Puppet {
    /// The manifest beside the recipe.
    pub manifest: String,
    /// The folder of modules beside the recipe.
    pub modules: Option<String>,
    /// The Hiera configuration beside the recipe; its data folder is looked for from there.
    pub hiera: Option<String>,
    /// Facts for the manifest, as external facts.
    pub facts: BTreeMap<String, String>,
    /// Whether the agent is installed when it is missing.
    pub install: bool,
}

/// `chef-client --local-mode`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chef {
    /// The folder of cookbooks beside the recipe.
    pub cookbooks: String,
    /// What to run: `recipe[storefront::default]`.
    pub run_list: Vec<String>,
    /// The node's attributes.
    pub attributes: serde_json::Map<String, Value>,
    /// Whether the client is installed when it is missing.
    pub install: bool,
}

/// `ansible-playbook` with a local connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ansible {
    /// The playbook beside the recipe.
    pub playbook: String,
    /// The folder of roles beside the recipe.
    pub roles: Option<String>,
    /// Variables of the host.
    pub variables: serde_json::Map<String, Value>,
    /// The parameter with the vault's password; the builder reads it, and it is never written to a disk.
    pub vault_password: Option<ParameterName>,
    /// Whether Ansible is installed when it is missing.
    pub install: bool,
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// This text.
    Inline(String),
    /// The bytes of a file beside the recipe.
    Source(String),
}

/// A systemd unit from fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// The command, as systemd's `ExecStart`.
    pub exec: String,
    /// The user that it runs as.
    pub user: Option<String>,
    /// Its working folder.
    pub working_directory: Option<String>,
    /// Its environment.
    pub environment: BTreeMap<String, String>,
    /// Units that it starts after.
    pub after: Vec<String>,
}

/// One test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Test {
    /// What reports call it.
    pub name: String,
    /// What it asserts.
    pub check: Check,
    /// It is tried again until it passes or this time is over.
    pub within: Duration,
}

/// What a test asserts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// A URL answers.
    Http(Http),
    /// A command ends.
    Command {
        /// The command, run by `/bin/sh -c`.
        run: String,
        /// With this exit status.
        exit: i32,
        /// With this text in its output.
        stdout_contains: Option<String>,
        /// With this text in its errors.
        stderr_contains: Option<String>,
        /// The JUnit file that it writes, a suite of its own: its cases are reported one by one.
        junit: Option<String>,
    },
    /// Something listens on a TCP port of the machine.
    Port {
        /// The port.
        number: u16,
    },
    /// A file is there, or is not.
    File {
        /// Its path.
        path: String,
        /// Whether it shall be there.
        exists: bool,
        /// With this text in it.
        contains: Option<String>,
        /// With these permission bits.
        mode: Option<u32>,
        /// With this owner, `user` or `user:group`.
        owner: Option<String>,
    },
    /// A systemd service runs, or does not.
    Service {
        /// Its name.
        name: String,
        /// Whether it shall run.
        running: bool,
        /// Whether it shall start at boot; none means that either will do.
        enabled: Option<bool>,
    },
    /// A process of this name runs.
    Process {
        /// Its name, as the kernel knows it.
        name: String,
    },
    /// A package is installed.
    Package {
        /// Its name.
        name: String,
        /// With a version that begins with this.
        version: Option<String>,
    },
    /// A user exists.
    User {
        /// Its name.
        name: String,
        /// And is in this group.
        group: Option<String>,
        /// With this shell.
        shell: Option<String>,
    },
}

/// A request, and what its answer must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http {
    /// The URL.
    pub url: String,
    /// The method.
    pub method: String,
    /// The request's headers.
    pub headers: BTreeMap<String, String>,
    /// The request's body.
    pub body: Option<String>,
    /// The answer's status.
    pub status: u16,
    /// With this text in its body.
    pub body_contains: Option<String>,
    /// With a body that matches this regular expression.
    pub body_matches: Option<String>,
    /// With a JSON body that holds these values at these pointers (RFC 6901).
    pub json: BTreeMap<String, Value>,
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
    /// The channel.
    pub channel: ChannelName,
    /// The parameter.
    pub parameter: Option<ParameterName>,
}

/// How long images are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retain {
    /// So many of the newest stay.
    pub newest: u32,
    /// Those younger than so many days stay too.
    pub days: u32,
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
