//! Steps: how the machine is configured.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::id::ParameterName;

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
    /// Whether the machine boots again after it, before the next one begins. Left out where it is not so: the digests of
    /// recipes that don't ask for it stay what they were.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reboot: bool,
}

impl Step {
    /// Every parameter that the builder reads for it.
    pub fn parameters(&self) -> impl Iterator<Item = &ParameterName> {
        let vault = match &self.action {
            Action::Ansible(ansible) => ansible.vault_password.as_ref(),
            Action::Shell { .. }
            | Action::Script { .. }
            | Action::File { .. }
            | Action::Service { .. }
            | Action::Package { .. }
            | Action::Puppet(_)
            | Action::Chef(_) => None,
        };
        self.secrets.values().chain(vault)
    }
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
        /// The absolute path that it is written to.
        to: String,
        /// What is written into it.
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

impl Action {
    /// The recipe's word for it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Shell { .. } => "shell",
            Self::Script { .. } => "script",
            Self::File { .. } => "file",
            Self::Service { .. } => "service",
            Self::Package { .. } => "package",
            Self::Puppet(_) => "puppet",
            Self::Chef(_) => "chef",
            Self::Ansible(_) => "ansible",
        }
    }

    /// The paths beside the recipe that it needs: files, and folders with all that is in them.
    pub fn sources(&self) -> Vec<String> {
        match self {
            Self::Script { source, .. } | Self::File { content: Content::Source(source), .. } => {
                vec![source.clone()]
            }
            Self::Puppet(puppet) => {
                let mut sources = vec![puppet.manifest.clone()];
                sources.extend(puppet.modules.clone());
                if let Some(hiera) = &puppet.hiera {
                    match folder(hiera) {
                        Some(folder) => sources.push(folder),
                        None => sources.extend([hiera.clone(), HIERA_DATA.to_owned()]),
                    }
                }
                sources
            }
            Self::Chef(chef) => vec![folder(&chef.cookbooks).unwrap_or_else(|| chef.cookbooks.clone())],
            Self::Ansible(ansible) => {
                let playbook = folder(&ansible.playbook).unwrap_or_else(|| ansible.playbook.clone());
                [Some(playbook), ansible.roles.clone()].into_iter().flatten().collect()
            }
            Self::File { content: Content::Inline(_), .. }
            | Self::Shell { .. }
            | Self::Service { .. }
            | Self::Package { .. } => Vec::new(),
        }
    }
}

/// Where Hiera looks for its data beside its configuration, when that says nothing else.
pub(super) const HIERA_DATA: &str = "data";

/// The folder that a file is in, when it isn't the recipe's own: its neighbours go along with it.
pub(super) fn folder(path: &str) -> Option<String> {
    path.rsplit_once('/').map(|(folder, _)| folder.to_owned())
}

/// `puppet apply`: exit statuses 0 (nothing to do) and 2 (changed) are success, 4 and 6 are failures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Puppet {
    /// The manifest beside the recipe.
    pub manifest: String,
    /// The folder of modules beside the recipe.
    pub modules: Option<String>,
    /// The Hiera configuration beside the recipe; its data folder is looked for from there, and goes along.
    pub hiera: Option<String>,
    /// Facts for the manifest, as external facts.
    pub facts: BTreeMap<String, String>,
    /// Whether the agent is installed when it is missing.
    pub install: bool,
}

/// `chef-client --local-mode`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chef {
    /// The folder of cookbooks beside the recipe; in a folder of its own, all that is in that goes along.
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
    /// The playbook beside the recipe; in a folder of its own, all that is in it goes along.
    pub playbook: String,
    /// The folder of roles beside the recipe.
    pub roles: Option<String>,
    /// Variables of the host.
    pub variables: serde_json::Map<String, Value>,
    /// The parameter with the vault's password; the builder reads it, and it is never written to a disk.
    pub vault_password: Option<ParameterName>,
    /// Whether Ansible is installed when it is missing.
    pub install: bool,
    /// Whether that is the package with all the collections that are released with it. A step without has the digest
    /// it always had.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub full: bool,
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
    /// Its environment: variables and their values.
    pub environment: BTreeMap<String, String>,
    /// Units that it starts after.
    pub after: Vec<String>,
}
