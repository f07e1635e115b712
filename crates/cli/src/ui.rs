//! `ovenbird ui`: the page, served on loopback or written into a folder.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;
use jiff::Timestamp;
use ovenbird_aws::{Cloud, workflow::Newest};
use ovenbird_core::{
    Error, Result,
    domain::id::BakeId,
    views::{doctor::Checkup, status::Fleet},
};
use ovenbird_ui::{Account, Options, PruneRun, Server};

use crate::{
    doctor, print, show,
    target::{Deployment, Target},
};

/// Show everything on a local page in a browser
#[derive(Debug, Args)]
pub struct UiArgs {
    /// Let the page change things; each change is asked about first
    #[arg(long, conflicts_with = "export")]
    allow_changes: bool,
    /// Where to listen: an address of this machine alone, with a port or 0 for a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0", conflicts_with = "export")]
    listen: SocketAddr,
    /// Write the pages into this folder and serve nothing
    #[arg(long, value_name = "FOLDER")]
    export: Option<PathBuf>,
}

/// The account, as the page asks it.
#[derive(Debug)]
struct Operator(Deployment, Target);

impl Account for Operator {
    type Cloud = Cloud;

    fn cloud(&self) -> &Cloud {
        &self.0.cloud
    }

    async fn fleet(&self) -> Result<Fleet> {
        self.0.cloud.fleet().await
    }

    async fn caller(&self) -> Result<String> {
        self.0.cloud.caller().await
    }

    async fn starter(&self, bake: &BakeId) -> Result<Option<String>> {
        show::starter(&self.0, bake).await
    }

    async fn prune_runs(&self, most: u8) -> Result<Vec<PruneRun>> {
        let runs = self.0.cloud.newest_executions(&self.0.prune_machine, most.into()).await?;
        let run = |one: Newest| PruneRun { name: one.name, started: one.started, succeeded: one.succeeded };
        Ok(runs.into_iter().map(run).collect())
    }

    async fn start_prune(&self, run: &BakeId, input: &serde_json::Value) -> Result<()> {
        self.0.cloud.start(&self.0.prune_machine, run, &input.to_string()).await
    }

    async fn checkup(&self, now: Timestamp) -> Result<Checkup> {
        doctor::run(&self.1, now).await
    }

    async fn failed(&self) -> Result<Vec<(BakeId, Timestamp)>> {
        self.0.cloud.failed_executions(&self.0.bake_machine).await
    }
}

/// Serves the page until Ctrl-C, or writes it.
pub async fn run(args: &UiArgs, target: &Target, json: bool) -> Result<()> {
    let account = Operator(target.deployment().await?, target.clone());
    let reach = if target.local { "ovenbird local up" } else { "aws sts get-caller-identity" }.to_owned();
    let (command, place) = (command(target), target.place());
    let options = Options { changes: args.allow_changes, command, place, reach };
    if let Some(folder) = &args.export {
        let written = ovenbird_ui::export(account, folder, &options, Timestamp::now()).await;
        let pages = written.map_err(|error| {
            Error::bad_input(
                format!("folder `{}`", folder.display()),
                format!("can't be written: {error}"),
                "Name a folder that you may write to",
            )
        })?;
        let index = folder.join("index.html");
        print(
            json,
            &serde_json::json!({ "index": index, "pages": pages }),
            &format!("{pages} pages; begin with {}", index.display()),
        );
        return Ok(());
    }
    let failed = |error: std::io::Error| {
        let fix = "Listen elsewhere: `ovenbird ui --listen 127.0.0.1:0`";
        Error::bad_input(format!("address {}", args.listen), error.to_string(), fix)
    };
    let server = Server::bind(args.listen, options).await.map_err(failed)?;
    let address = server.address().await;
    print(json, &serde_json::json!({ "address": address }), &address);
    crate::tell!("Open it in a browser of this machine; it works once. Ctrl-C ends the page.");
    let stop = async {
        // Without a handler, Ctrl-C ends the command at once, and that is well, too.
        let _ = tokio::signal::ctrl_c().await;
    };
    server.serve(account, stop).await.map_err(failed)
}

/// How a command is called that talks to the same account.
fn command(target: &Target) -> String {
    let mut command = "ovenbird".to_owned();
    if target.local {
        command += " --local";
    }
    if target.local && target.port != Target::PORT {
        command += &format!(" --port {}", target.port);
    }
    if let Some(profile) = &target.profile {
        command += &format!(" --profile '{}'", profile.replace('\'', "'\\''"));
    }
    if let Some(region) = &target.region {
        command += &format!(" --region '{}'", region.replace('\'', "'\\''"));
    }
    if target.stack != Target::STACK {
        command += &format!(" --stack {}", target.stack);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_on_the_page_talk_to_the_account_that_the_page_shows() {
        let target = |local, port, profile: Option<&str>, stack: &str| {
            let (profile, stack) = (profile.map(Into::into), stack.into());
            let (region, context, pipeline, chosen) = (None, None, None, None);
            command(&Target { local, port, profile, region, stack, context, pipeline, chosen })
        };
        assert_eq!(target(false, 4566, None, "ovenbird"), "ovenbird");
        assert_eq!(target(true, 4600, None, "ovenbird"), "ovenbird --local --port 4600");
        assert_eq!(target(false, 4566, Some("a b'c"), "two"), "ovenbird --profile 'a b'\\''c' --stack two");
    }
}
