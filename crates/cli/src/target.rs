//! Which cloud a command talks to: the local one or an AWS account, chosen explicitly.

use std::io::IsTerminal as _;

use clap::Args;
use ovenbird_aws::{Access, Cloud, LocalCloud, settings::Settings};
use ovenbird_core::{
    Error, Result,
    domain::{
        id::{ParameterName, PipelineName, StackId},
        signature::Signers,
    },
    ports::Parameters as _,
    views::doctor::Deployed,
};
#[cfg(all(feature = "local", target_os = "linux"))]
use ovenbird_local::{Credentials, Home, LocalError, Options};
use serde::Deserialize;

/// Where the help has the options that every command has, so that its own are seen first.
pub const HEADING: &str = "Options of every command";

/// The options that every command talking to a cloud has.
#[derive(Debug, Clone, Args)]
pub struct Target {
    /// Talk to the local cloud (`ovenbird local up`) and not to AWS
    #[arg(long, global = true, help_heading = HEADING, env = "OVENBIRD_LOCAL", value_parser = clap::builder::FalseyValueParser::new(), num_args = 0)]
    pub local: bool,
    /// The port of the local cloud
    #[arg(long, global = true, help_heading = HEADING, default_value_t = Target::PORT, env = "OVENBIRD_PORT")]
    pub port: u16,
    /// The profile of your AWS configuration
    #[arg(long, global = true, help_heading = HEADING)]
    pub profile: Option<String>,
    /// The Region (default: as AWS's own tools choose it)
    #[arg(long, global = true, help_heading = HEADING)]
    pub region: Option<String>,
    /// The name of the CloudFormation stack
    #[arg(long, global = true, help_heading = HEADING, default_value = Target::STACK, env = "OVENBIRD_STACK")]
    pub stack: String,
    /// A context of ovenbird.toml, which says all of this (default: the one that the file has as its own)
    #[arg(long, global = true, help_heading = HEADING, value_name = "NAME", env = "OVENBIRD_CONTEXT", add = crate::complete::contexts())]
    pub context: Option<String>,
    /// The pipeline that a command means which names none, as the folder's file says.
    #[arg(skip)]
    pub pipeline: Option<PipelineName>,
    /// What chose the account, if that was neither typed nor in the environment.
    #[arg(skip)]
    pub chosen: Option<String>,
}

/// What the stack tells operators of itself, in the parameter `/<stack>/operator`.
#[derive(Debug, Deserialize)]
struct Operator {
    bucket: String,
    table: String,
    bake: String,
    /// An older stack has none.
    #[serde(default)]
    rollout: Option<String>,
    prune: String,
    /// The stack's id; an older stack doesn't say.
    #[serde(default)]
    stack: Option<StackId>,
    /// Below which path builders may read parameters; an older stack doesn't say.
    #[serde(default)]
    secrets: Option<String>,
    /// Its version; an older stack says none of these.
    #[serde(default)]
    version: Option<String>,
    /// The topic that tells of failures.
    #[serde(default)]
    topic: Option<String>,
    /// The builders' network; empty means the default one.
    #[serde(default)]
    vpc: String,
    /// The builders' subnets, with commas between them.
    #[serde(default)]
    subnets: String,
    /// Whether builders with an unencrypted disk are refused: `true` or `false`.
    #[serde(default)]
    encrypted: String,
    /// ARNs of the KMS keys that volumes may be encrypted with, with commas between them.
    #[serde(default)]
    keys: String,
    /// The public keys of those who must have signed recipes, with commas between them.
    #[serde(default)]
    signers: String,
}

/// A cloud with Ovenbird deployed.
#[derive(Debug)]
pub struct Deployment {
    /// The adapters.
    pub cloud: Cloud,
    /// The bake state machine.
    pub bake_machine: String,
    /// The prune state machine.
    pub prune_machine: String,
    /// Below which path builders may read parameters, as `/ovenbird/secrets/`.
    pub secrets: Option<String>,
}

impl Target {
    /// The port of the local cloud, if none is given.
    pub const PORT: u16 = 4566;

    /// The name of the stack, if none is given.
    pub const STACK: &str = "ovenbird";

    /// Finds the stack.
    pub async fn deployment(&self) -> Result<Deployment> {
        let (cloud, settings, local) = self.account().await?;
        let operator = self.operator(&cloud).await?;
        let cloud = self.cloud(&operator, settings, local.as_ref()).await;
        let Operator { bake: bake_machine, prune: prune_machine, secrets, .. } = operator;
        Ok(Deployment { cloud, bake_machine, prune_machine, secrets })
    }

    /// The account, and what the stack in it says of itself, or why it doesn't.
    pub async fn examined(&self) -> Result<(Cloud, Result<Deployed>)> {
        let (cloud, settings, local) = self.account().await?;
        let operator = match self.operator(&cloud).await {
            Ok(operator) => operator,
            Err(error) => return Ok((cloud, Err(error))),
        };
        let cloud = self.cloud(&operator, settings, local.as_ref()).await;
        let name = self.parameter()?;
        // Who may not list parameters doesn't learn when it was: nothing else hangs on it.
        let kinds = cloud.kinds(&[name.clone()].into()).await.unwrap_or_default();
        let list = |text: &str| {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            items.map(str::to_owned).collect::<Vec<_>>()
        };
        let deployed = Deployed {
            version: operator.version,
            bucket: operator.bucket,
            bake_machine: operator.bake,
            rollout_machine: operator.rollout,
            prune_machine: operator.prune,
            topic: operator.topic,
            vpc: Some(operator.vpc).filter(|vpc| !vpc.is_empty()),
            subnets: list(&operator.subnets),
            encrypted_only: operator.encrypted == "true",
            keys: list(&operator.keys),
            secrets: operator.secrets,
            since: kinds.get(&name).map(|kind| kind.written),
        };
        Ok((cloud, Ok(deployed)))
    }

    /// The account, before a stack is found in it.
    async fn account(&self) -> Result<(Cloud, Settings, Option<LocalCloud>)> {
        let settings = Settings {
            table: String::new(),
            bucket: String::new(),
            stack: StackId::parse(&self.stack).map_err(|error| Error::bad_id("--stack", &error))?,
            builder_profile: None,
            most_builders: None,
            runners: Vec::new(),
            signers: Signers::default(),
            floors: None,
            builder_security_group: None,
            subnets: Vec::new(),
            bake_machine: None,
            rollout_machine: None,
        };
        let local = self.local.then(|| self.local_cloud()).transpose()?;
        self.tell_context();
        let cloud = Cloud::with(settings.clone(), self.access(local.as_ref())).await;
        Ok((cloud, settings, local))
    }

    /// The name of the parameter in which the stack says where its things are.
    fn parameter(&self) -> Result<ParameterName> {
        let name = format!("/{}/operator", self.stack);
        ParameterName::parse(&name).map_err(|error| Error::bad_id("--stack", &error))
    }

    async fn operator(&self, cloud: &Cloud) -> Result<Operator> {
        let name = self.parameter()?;
        let fix = if self.local {
            "Start the local cloud: `ovenbird local up`"
        } else {
            "Deploy it (README, \"On AWS\"), choose it with `--stack` and `--profile`, or pass `--local`"
        };
        let missing = |problem: String| Error::bad_input(format!("stack `{}`", self.stack), problem, fix);
        let text = cloud.parameter(&name).await.map_err(|error| self.unasked(error, missing))?;
        let text = text.ok_or_else(|| missing("is not deployed in this account and Region".into()))?;
        serde_json::from_str(&text)
            .map_err(|source| Error::Corrupt { what: format!("parameter `{name}`"), source })
    }

    /// The cloud with the names of the stack's things.
    async fn cloud(&self, operator: &Operator, mut settings: Settings, local: Option<&LocalCloud>) -> Cloud {
        settings.bucket.clone_from(&operator.bucket);
        settings.table.clone_from(&operator.table);
        settings.bake_machine = Some(operator.bake.clone());
        settings.rollout_machine.clone_from(&operator.rollout);
        // What can't be read, launch-builder can't read either, and says so.
        settings.signers = Signers::parse(&operator.signers).unwrap_or_default();
        if let Some(stack) = &operator.stack {
            settings.stack = stack.clone();
        }
        Cloud::with(settings, self.access(local)).await
    }

    fn access<'t>(&'t self, local: Option<&'t LocalCloud>) -> Access<'t> {
        match local {
            Some(local) => Access::Local(local),
            None => Access::Aws { profile: self.profile.as_deref(), region: self.region.as_deref() },
        }
    }

    /// Tells a person once which account a file chose for them.
    fn tell_context(&self) {
        static TOLD: std::sync::Once = std::sync::Once::new();
        if let Some(chosen) = self.chosen.as_ref().filter(|_| std::io::stderr().is_terminal()) {
            TOLD.call_once(|| crate::tell!("{chosen}: {}", self.place()));
        }
    }

    /// The account in words.
    pub fn place(&self) -> String {
        if self.local {
            return format!("local cloud, port {}, stack {}", self.port, self.stack);
        }
        let mut place = "AWS".to_owned();
        for (word, value) in [("profile", &self.profile), ("Region", &self.region)] {
            if let Some(value) = value {
                place += &format!(", {word} {value}");
            }
        }
        place + &format!(", stack {}", self.stack)
    }

    /// The local cloud, with the key that it gave its operator.
    #[cfg(all(feature = "local", target_os = "linux"))]
    fn local_cloud(&self) -> Result<LocalCloud> {
        let bad = |error: LocalError| Error::bad_input("the local cloud", error.to_string(), error.hint());
        let Credentials { access_key, secret, .. } = Credentials::of(&Home::from_env()).map_err(bad)?;
        Ok(LocalCloud { endpoint: Options::new(self.port).endpoint(), access_key, secret })
    }

    /// It needs Linux, and the feature `local`.
    #[cfg(not(all(feature = "local", target_os = "linux")))]
    #[expect(clippy::unused_self, reason = "as it is where the local cloud is")]
    fn local_cloud(&self) -> Result<LocalCloud> {
        Err(Error::bad_input(
            "`--local`",
            "needs the local cloud, and this `ovenbird` was built without it",
            "Use an `ovenbird` for Linux, built with the feature `local`, which is on by default; or leave `--local` out",
        ))
    }

    /// Why the stack could not be asked: what most often keeps an answer away is no fault of the stack.
    fn unasked(&self, error: Error, missing: impl Fn(String) -> Error) -> Error {
        match error.no_answer() {
            Some(_) if self.local => missing(format!("no local cloud answers on port {}", self.port)),
            Some(message) => Error::bad_input(
                "AWS",
                format!("can't be reached: {message}"),
                "Check network, Region and credentials: `aws sts get-caller-identity`; or pass `--local`",
            ),
            None => missing(format!("can't be found: {}", error.chain())),
        }
    }
}
