//! `ovenbird local logs`: what a function logged, and what a machine's console shows.

use std::{collections::BTreeSet, process::ExitCode, time::Duration};

use jiff::{SignedDuration, Timestamp};
use ovenbird_core::{Result, domain::id::InstanceId, ports::Builders as _};
use ovenbird_local::{LocalError, LogLine, Options, function_logs};
use serde::Serialize;

use crate::{follow::fresh, print_as_is, render, target::Target};

/// How often it is looked for more.
const LOOK: Duration = Duration::from_secs(1);

/// How far back is looked for lines that come late: several calls of a function write at once.
const LATE: SignedDuration = SignedDuration::from_secs(60);

/// What a machine's console shows.
#[derive(Debug, Serialize)]
struct Console<'a> {
    /// The machine's instance.
    instance: &'a InstanceId,
    /// The end of what its console shows.
    console: &'a str,
}

/// Prints a machine's console; with `follow`, also what comes.
pub async fn console(instance: &InstanceId, follow: bool, target: &Target, json: bool) -> Result<ExitCode> {
    let deployment = target.deployment().await?;
    let mut seen = deployment.cloud.console(instance).await?;
    print_as_is(json, &Console { instance, console: &seen }, seen.trim_end());
    if !follow {
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        tokio::time::sleep(LOOK).await;
        let now = deployment.cloud.console(instance).await?;
        for line in fresh(&seen, &now) {
            print_as_is(json, &Console { instance, console: line }, line);
        }
        seen = now;
    }
}

/// Prints what a function logged; with `follow`, also what comes.
pub async fn function(
    options: &Options,
    function: &str,
    since: SignedDuration,
    follow: bool,
    json: bool,
) -> Result<(), LocalError> {
    let lines = function_logs(options, function, Timestamp::now() - since).await?;
    let text: Vec<String> = lines.iter().map(line).collect();
    print_as_is(json, &lines, &text.join("\n"));
    let mut seen: BTreeSet<(Timestamp, String)> = lines.into_iter().map(|one| (one.at, one.line)).collect();
    if !follow {
        return Ok(());
    }
    loop {
        tokio::time::sleep(LOOK).await;
        let from = Timestamp::now() - LATE;
        seen.retain(|(at, _)| *at >= from);
        for one in function_logs(options, function, from).await? {
            if seen.insert((one.at, one.line.clone())) {
                print_as_is(json, &[&one], &line(&one));
            }
        }
    }
}

fn line(line: &LogLine) -> String {
    format!("{}  {}", render::moment(line.at), line.line)
}
