//! Which cloud a command talks to: the local one or an AWS account, chosen explicitly.

use clap::Args;
use ovenbird_aws::{Cloud, LocalCloud, errors::NO_ANSWER, settings::Settings};
use ovenbird_core::{
    Error, Result,
    domain::id::{ParameterName, StackId},
    ports::Parameters as _,
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
    /// The name of the CloudFormation stack
    #[arg(long, global = true, help_heading = HEADING, default_value = Target::STACK, env = "OVENBIRD_STACK")]
    pub stack: String,
}

/// What the stack tells operators of itself, in the parameter `/<stack>/operator`.
#[derive(Debug, Deserialize)]
struct Operator {
    bucket: String,
    table: String,
    bake: String,
    /// A stack of before has none.
    #[serde(default)]
    rollout: Option<String>,
    prune: String,
    /// The stack's id; a stack of before doesn't say.
    #[serde(default)]
    stack: Option<StackId>,
    /// Below which path builders may read parameters; a stack of before doesn't say.
    #[serde(default)]
    secrets: Option<String>,
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
        let mut settings = Settings {
            table: String::new(),
            bucket: String::new(),
            stack: StackId::parse(&self.stack).map_err(|error| Error::bad_id("--stack", &error))?,
            builder_profile: None,
            most_builders: None,
            runners: Vec::new(),
            floors: None,
            builder_security_group: None,
            subnet: None,
            bake_machine: None,
            rollout_machine: None,
        };
        let local = self.local.then(|| self.local_cloud()).transpose()?;
        let cloud = Cloud::with(settings.clone(), self.profile.as_deref(), local.as_ref()).await;
        let name = format!("/{}/operator", self.stack);
        let name = ParameterName::parse(&name).map_err(|error| Error::bad_id("--stack", &error))?;
        let fix = if self.local {
            "Start the local cloud: `ovenbird local up`"
        } else {
            "Deploy it (README, \"On AWS\"), choose it with `--stack` and `--profile`, or pass `--local`"
        };
        let missing = |problem: String| Error::bad_input(format!("stack `{}`", self.stack), problem, fix);
        let text = cloud.parameter(&name).await.map_err(|error| self.unasked(error, missing))?;
        let text = text.ok_or_else(|| missing("is not deployed in this account and Region".into()))?;
        let operator: Operator = serde_json::from_str(&text)
            .map_err(|source| Error::Corrupt { what: format!("parameter `{name}`"), source })?;
        settings.bucket = operator.bucket;
        settings.table = operator.table;
        settings.bake_machine = Some(operator.bake.clone());
        settings.rollout_machine.clone_from(&operator.rollout);
        if let Some(stack) = operator.stack {
            settings.stack = stack;
        }
        let cloud = Cloud::with(settings, self.profile.as_deref(), local.as_ref()).await;
        let Operator { bake: bake_machine, prune: prune_machine, secrets, .. } = operator;
        Ok(Deployment { cloud, bake_machine, prune_machine, secrets })
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
        let silent = match &error {
            Error::Throttled { source: Some(source), .. } => match &**source {
                Error::Aws { code, message, .. } if code == NO_ANSWER => Some(message),
                _ => None,
            },
            _ => None,
        };
        match silent {
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
