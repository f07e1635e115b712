//! Deploys the very template of the repository to the local endpoint.
//!
//! It does what `sam package` and `sam deploy` do, without them: packs the functions, puts them into a bucket, and
//! hands the template to CloudFormation.

mod api;
mod package;
mod program;
mod runner;
mod stack;

use std::{fs, path::Path};

use ovenbird_core::domain::digest;
use serde::{Deserialize, Serialize};

use crate::{
    error::{LocalError, Result},
    home::{Home, write_whole},
    http_client::Link,
    options::Options,
};

pub(crate) use self::api::Api;
use self::{package::Package, program::Programs, stack::Stack};

/// The bucket that carries the functions from here to Lambda.
const PACKAGES: &str = "ovenbird-local-packages";

/// The Region of everything local.
pub(crate) const REGION: &str = "us-east-1";

/// What was deployed last.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Deployed {
    fingerprint: String,
}

/// Deploys what changed; gives a note on what was done.
pub(crate) async fn deploy(options: &Options, repository: &Path, ministack: &Link) -> Result<String> {
    let api = Api::new(ministack.clone());
    let template = repository.join("infra/template.yaml");
    let package = Package::read(&template)?;
    let runner = runner::find(repository);
    let fingerprint = fingerprint(options, &package, runner.as_deref())?;
    let stack = Stack { api: &api, name: &options.stack };
    let before = stack.status().await?;
    let programs = Programs::new(options.home.functions());
    let names = package.programs()?;
    if before.as_deref().is_some_and(stack::is_whole)
        && deployed(&options.home) == Some(fingerprint.clone())
        && names.iter().all(|name| programs.has(name))
    {
        return Ok("unchanged".to_owned());
    }
    if let Some(status) = before.filter(|status| !stack::is_whole(status)) {
        tracing::warn!("stack `{}` is {status}: it is deleted and made anew", options.stack);
        stack.delete().await?;
    }
    let url = package.upload(&api, PACKAGES, &programs).await?;
    stack.deploy(&url, &[("Architecture", architecture())]).await?;
    programs.keep_only(&names).map_err(LocalError::io("delete the programs of an earlier build"))?;
    let functions = stack.resources("AWS::Lambda::Function").await?;
    let bucket = stack.output("Bucket").await?;
    match &runner {
        Some(runner) => runner::upload(&api, &bucket, architecture(), runner).await?,
        None => tracing::warn!("there is no build/ovenbird-runner: no builder can work"),
    }
    remember(&options.home, fingerprint)?;
    Ok(format!("{} functions, bucket {bucket}", functions.len()))
}

/// The machines' architecture, in the words of EC2 and Lambda.
pub(crate) fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" }
}

/// A hash over everything that decides what is deployed.
fn fingerprint(options: &Options, package: &Package, runner: Option<&Path>) -> Result<String> {
    let runner = runner.map(package::stamp).transpose()?.unwrap_or_default();
    let text = format!("{} {} {runner}\n{}", options.stack, options.endpoint(), package.fingerprint()?);
    Ok(digest::sha256(text.as_bytes()).to_string())
}

fn deployed(home: &Home) -> Option<String> {
    let text = fs::read_to_string(home.deployed()).ok()?;
    serde_json::from_str::<Deployed>(&text).ok().map(|deployed| deployed.fingerprint)
}

fn remember(home: &Home, fingerprint: String) -> Result<()> {
    let text = serde_json::to_vec(&Deployed { fingerprint })
        .unwrap_or_else(|_| unreachable!("it has string keys only"));
    write_whole(&home.deployed(), &text).map_err(LocalError::io("remember what was deployed"))
}
