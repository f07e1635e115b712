//! `[[step]]` as it is written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::{Map, Value};

use super::{Mode, Parameter, Time, Variables, exactly_one};

/// One step: exactly one of `shell`, `script`, `file`, `service`, `package`, `puppet`, `chef`, `ansible`.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(extend("oneOf" = exactly_one(crate::domain::recipe::parse::STEPS)))]
pub(super) struct Step {
    /// What reports and errors call it.
    name: Option<String>,
    /// How long each try of it may take.
    #[schemars(extend("default" = "600s"))]
    timeout: Option<Time>,
    /// What it finds in its environment.
    environment: Option<Variables<String>>,
    /// What it finds there too: the values of `SecureString` parameters, read on the builder and masked in the output.
    secrets: Option<Variables<Parameter>>,
    /// A shell command that must succeed, or the step is left out.
    only_if: Option<String>,
    /// How often it is tried again when it fails.
    #[schemars(range(max = 10), extend("default" = 0))]
    retries: Option<u32>,
    /// Runs this text with `/bin/sh -e`.
    shell: Option<String>,
    /// Runs a file beside the recipe.
    script: Option<ScriptOrPath>,
    /// Writes a file.
    file: Option<File>,
    /// Sets up a systemd service: written if it has a `unit`, enabled and (re)started.
    service: Option<ServiceOrName>,
    /// Installs packages with the base's own package manager.
    package: Option<Packages>,
    /// Applies a Puppet manifest, masterless.
    puppet: Option<Puppet>,
    /// Runs Chef in local mode.
    chef: Option<Chef>,
    /// Runs an Ansible playbook on the builder itself.
    ansible: Option<Ansible>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum ScriptOrPath {
    /// The file's path beside the recipe.
    Path(String),
    /// The file with its arguments and interpreter.
    Script(Script),
}

/// A file beside the recipe to run.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Script {
    /// The file's path beside the recipe.
    source: String,
    /// Its arguments, each one word whatever is in it.
    args: Option<Vec<String>>,
    /// The program that runs it: `python3 -u`, or `["python3", "-u"]`. Without it, the file's own `#!` line.
    interpreter: Option<WordsOrList>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum WordsOrList {
    /// A program and its arguments, split at the spaces.
    Words(String),
    /// A program and its arguments.
    List(Vec<String>),
}

/// A file to write: with exactly one of `content` and `source`.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(extend("oneOf" = exactly_one(&["content", "source"])))]
struct File {
    /// Its path on the machine.
    #[schemars(regex(pattern = "^/"))]
    to: String,
    /// The text it holds.
    content: Option<String>,
    /// The file beside the recipe whose bytes it holds.
    source: Option<String>,
    /// Its permission bits in octal.
    #[schemars(extend("default" = "0644"))]
    mode: Option<Mode>,
    /// Its owner: `user` or `user:group`.
    owner: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum ServiceOrName {
    /// The name of a service that is there already: it is enabled and started.
    Name(String),
    /// The service in full.
    Service(Service),
}

/// A systemd service.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Service {
    /// Its name, without `.service`.
    name: String,
    /// The unit to write; without it, the unit must be there already.
    unit: Option<Unit>,
    /// Whether it starts at boot.
    #[schemars(extend("default" = true))]
    enabled: Option<bool>,
    /// Whether it is (re)started now.
    #[schemars(extend("default" = true))]
    started: Option<bool>,
}

/// A systemd unit from fields.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Unit {
    /// The command, as systemd's `ExecStart`.
    exec: String,
    /// The user that it runs as.
    user: Option<String>,
    /// Its working folder.
    #[schemars(regex(pattern = "^/"))]
    working_directory: Option<String>,
    /// Its environment.
    environment: Option<Variables<String>>,
    /// Units that it starts after: `network-online.target`.
    after: Option<Vec<String>>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Packages {
    /// One package.
    One(String),
    /// Several packages, installed at once.
    Several(#[schemars(length(min = 1))] Vec<String>),
}

/// `puppet apply`.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Puppet {
    /// The manifest beside the recipe.
    manifest: String,
    /// The folder of modules beside the recipe.
    modules: Option<String>,
    /// Hiera's configuration beside the recipe. Its data goes along: its whole folder, or `data` beside the recipe.
    hiera: Option<String>,
    /// Facts for the manifest.
    #[schemars(extend("propertyNames" = { "pattern": "^[a-z][a-z0-9_]*$" }))]
    facts: Option<BTreeMap<String, String>>,
    /// Installs the agent when it is missing.
    #[schemars(extend("default" = false))]
    install: Option<bool>,
}

/// `chef-client --local-mode`.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Chef {
    /// The folder of cookbooks beside the recipe. In a folder of its own, all that is in that goes along: roles, data bags.
    cookbooks: String,
    /// What to run: `recipe[storefront::default]`.
    #[schemars(length(min = 1))]
    run_list: Vec<String>,
    /// The node's attributes.
    attributes: Option<Map<String, Value>>,
    /// Installs the client when it is missing.
    #[schemars(extend("default" = false))]
    install: Option<bool>,
}

/// `ansible-playbook` with a local connection.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Ansible {
    /// The playbook beside the recipe. In a folder of its own, all that is in it goes along.
    playbook: String,
    /// The folder of roles beside the recipe.
    roles: Option<String>,
    /// Variables of the host.
    variables: Option<Map<String, Value>>,
    /// The `SecureString` parameter with the vault's password.
    vault_password: Option<Parameter>,
    /// Installs Ansible when it is missing.
    #[schemars(extend("default" = false))]
    install: Option<bool>,
}
