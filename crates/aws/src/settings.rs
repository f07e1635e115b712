//! What a function is told by its environment, read once at its start.

use ovenbird_core::{
    Error,
    domain::{
        id::{Digest, StackId},
        retirement::Floors,
        signature::Signers,
    },
};

/// The names of the things that `infra/template.yaml` makes.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The name of the DynamoDB table.
    pub table: String,
    /// The name of the S3 bucket.
    pub bucket: String,
    /// The stack whose functions these are.
    pub stack: StackId,
    /// The builders' instance profile; only launch-builder is told.
    pub builder_profile: Option<String>,
    /// The builders' security group; only launch-builder is told.
    pub builder_security_group: Option<String>,
    /// The builders' subnets; none means those of the default network.
    pub subnets: Vec<String>,
    /// The bake state machine: promote starts the bakes of children, and others look whether a bake's execution runs.
    pub bake_machine: Option<String>,
    /// The rollout state machine; only promote is told.
    pub rollout_machine: Option<String>,
    /// How many bakes may have a builder at the same time; launch-builder and poll-readiness are told.
    pub most_builders: Option<u32>,
    /// The hashes of the runners that bakes may use; none means any. Only launch-builder is told.
    pub runners: Vec<Digest>,
    /// Who must have signed the recipes that bakes use; none means nobody. Only launch-builder is told.
    pub signers: Signers,
    /// What the account retains of every pipeline; only prune is told.
    pub floors: Option<Floors>,
}

impl Settings {
    /// Reads `OVENBIRD_…` of the environment; a missing name is an error and never a default.
    pub fn from_env() -> Result<Self, Error> {
        Ok(Self {
            table: required("OVENBIRD_TABLE")?,
            bucket: required("OVENBIRD_BUCKET")?,
            stack: StackId::parse(&required(STACK)?)
                .map_err(|error| Error::bad_id("OVENBIRD_STACK_ID", &error))?,
            builder_profile: optional("OVENBIRD_BUILDER_PROFILE"),
            builder_security_group: optional("OVENBIRD_BUILDER_SECURITY_GROUP"),
            subnets: list("OVENBIRD_SUBNETS"),
            bake_machine: optional("OVENBIRD_BAKE_STATE_MACHINE"),
            rollout_machine: optional("OVENBIRD_ROLLOUT_STATE_MACHINE"),
            most_builders: number("OVENBIRD_MOST_BUILDERS")?,
            runners: runners()?,
            signers: signers()?,
            floors: floors()?,
        })
    }
}

const STACK: &str = "OVENBIRD_STACK_ID";

/// Both floors or none: with one alone, the other would be nothing without anybody having said so.
fn floors() -> Result<Option<Floors>, Error> {
    let (newest, days) = (number("OVENBIRD_RETAIN_NEWEST")?, number("OVENBIRD_RETAIN_DAYS")?);
    Ok(newest.zip(days).map(|(newest, days)| Floors { newest, days }))
}

/// Hashes with commas between them.
fn runners() -> Result<Vec<Digest>, Error> {
    const NAME: &str = "OVENBIRD_RUNNERS";
    let text = optional(NAME).unwrap_or_default();
    let hashes = text.split(',').map(str::trim).filter(|hash| !hash.is_empty());
    hashes.map(|hash| Digest::parse(hash).map_err(|error| Error::bad_id(NAME, &error))).collect()
}

/// Public keys with commas between them.
fn signers() -> Result<Signers, Error> {
    const NAME: &str = "OVENBIRD_RECIPE_SIGNERS";
    Signers::parse(&optional(NAME).unwrap_or_default()).map_err(|problem| {
        let fix = "Deploy with the second words of files as `~/.ssh/id_ed25519.pub` in the parameter `RecipeSigners`";
        Error::bad_input(format!("environment variable `{NAME}`"), problem, fix)
    })
}

fn number(name: &str) -> Result<Option<u32>, Error> {
    let Some(text) = optional(name) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        Error::bad_input(
            format!("environment variable `{name}`"),
            format!("is no number: `{text}`"),
            "Deploy with `infra/template.yaml`, which sets it",
        )
    })
}

fn optional(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Values with commas between them.
fn list(name: &str) -> Vec<String> {
    let text = optional(name).unwrap_or_default();
    text.split(',').map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned).collect()
}

fn required(name: &str) -> Result<String, Error> {
    optional(name).ok_or_else(|| {
        Error::bad_input(
            format!("environment variable `{name}`"),
            "is not set",
            "Deploy with `infra/template.yaml`, which sets it",
        )
    })
}
