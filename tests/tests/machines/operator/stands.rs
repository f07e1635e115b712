//! What is held, what is open and what a shell completes.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use ovenbird_tests::clients::within;

use super::{has, program, says};
use crate::{Cloud, PATIENCE};

/// A channel that is held takes nothing, and everybody is told: who looks, who deploys, and who goes back.
pub(super) fn standing(cloud: &Cloud, image: &str) -> Result<()> {
    says(cloud, &["hold", "desk", "--why", "incident 7"], 0)?;
    has(
        &says(cloud, &["status"], 0)?,
        &["desk/production: held by", "incident 7", "`ovenbird release desk"],
    )?;
    has(&says(cloud, &["status", "desk"], 0)?, &["stands    held by"])?;
    // It was to be promoted: a script that deploys must not take it for done.
    has(&says(cloud, &["bake", "desk", "--key", "app", "--force"], 1)?, &["TestsFailed"])?;
    has(
        &says(cloud, &["bake", "desk", "--key", "unpromoted/app"], 3)?,
        &["not promoted", "holds channel desk/production: incident 7"],
    )?;
    says(cloud, &["release", "desk"], 0)?;
    says(cloud, &["bake", "desk", "--key", "unpromoted/app"], 0)?;
    has(&says(cloud, &["history", "desk"], 0)?, &["unpromoted/app (", image])?;
    // Nobody is there to ask.
    let said = says(cloud, &["rollback", "desk"], 1)?;
    has(&said, &["there is no terminal to ask on", "Pass `--yes`"])?;
    let said = says(cloud, &["rollback", "desk", "--yes", "--why", "it was worse"], 0)?;
    has(&said, &["begins", "desk/production is held", "`ovenbird release desk"])?;
    within("the image before", PATIENCE, || {
        let said = says(cloud, &["channels", "desk"], 0)?;
        ensure!(said.contains(image) && !said.contains("is brought to"), "{said}");
        Ok(())
    })?;
    // There was nothing before that one: it doesn't go to what was left just now.
    has(
        &says(cloud, &["rollback", "desk", "--yes"], 1)?,
        &["has no image before this one", "--image IMAGE"],
    )?;
    says(cloud, &["release", "desk"], 0).map(drop)
}

/// A machine's port is opened, listed and closed.
pub(super) fn ports(cloud: &Cloud, image: &str) -> Result<()> {
    let launched = cloud.local.aws(&["ec2", "run-instances", "--image-id", image])?;
    let id = launched["Instances"][0]["InstanceId"].as_str().context("an instance")?.to_owned();
    within("a shell", PATIENCE, || {
        has(&says(cloud, &["local", "shell", &id, "cat", "/opt/desk"], 0)?, &["good 1"])
    })?;
    within("its port", PATIENCE, || {
        cloud.local.ovenbird_json(&["local", "open", &id, "18731:22"], false).map(drop)
    })?;
    // Which machine runs from which image.
    has(&says(cloud, &["fleet"], 0)?, &[image, "current", "desk/production", "app"])?;
    let fleet = cloud.local.ovenbird_json(&["fleet", "desk"], false)?;
    ensure!(fleet[0]["instances"][0] == id && fleet[0]["standing"] == "current", "{fleet}");
    says(cloud, &["local", "open", &id, "80"], 0)?;
    has(
        &says(cloud, &["local", "open", "--list"], 0)?,
        &[&format!("127.0.0.1:18731 leads to {id} port 22"), &format!("leads to {id} port 80")],
    )?;
    has(&says(cloud, &["local", "status"], 0)?, &["127.0.0.1:18731 leads to"])?;
    let connects = || std::net::TcpStream::connect("127.0.0.1:18731").is_ok();
    ensure!(connects(), "nothing listens");
    has(&says(cloud, &["local", "open", &id, "22", "--close"], 0)?, &["closed 127.0.0.1:18731"])?;
    within("its end", PATIENCE, || {
        ensure!(!connects(), "it is still open");
        Ok(())
    })?;
    let said = says(cloud, &["local", "open", "--list"], 0)?;
    ensure!(!said.contains("18731") && said.contains("port 80"), "{said}");
    says(cloud, &["local", "open", &id, "--close"], 0)?;
    has(&says(cloud, &["local", "open", "--list"], 0)?, &["no port is open"])?;
    has(&says(cloud, &["local", "open", &id, "--close"], 1)?, &["nothing of", "was open"])?;
    cloud.local.aws(&["ec2", "terminate-instances", "--instance-ids", &id]).map(drop)
}

/// A local cloud at this port that has another home is somebody else's, also for who has its key in the environment.
pub(super) fn another_home(cloud: &Cloud) -> Result<()> {
    let variables = cloud.local.ovenbird_json(&["local", "env"], false)?;
    let mut command = Command::new(program()?);
    for (name, value) in variables.as_object().context("variables")? {
        command.env(name, value.as_str().context("a text")?);
    }
    let output = command
        .args(["local", "up"])
        .env("OVENBIRD_PORT", cloud.local.port.to_string())
        .env("OVENBIRD_HOME", cloud.home.join("another"))
        .current_dir(ovenbird_tests::clients::repository())
        .output()?;
    let said = String::from_utf8([output.stdout, output.stderr].concat())?;
    ensure!(output.status.code() == Some(1) && said.contains("is taken by"), "{:?}: {said}", output.status);
    Ok(())
}

/// A shell is told what there is in the account that the line talks to.
pub(super) fn completion(cloud: &Cloud, image: &str) -> Result<()> {
    let completed = |words: &[&str]| -> Result<Vec<String>> {
        let output = Command::new(program()?)
            .args([&["--", "ovenbird"], words].concat())
            .envs([("OVENBIRD_COMPLETE", "bash"), ("_CLAP_IFS", "\n")])
            .env("_CLAP_COMPLETE_INDEX", words.len().to_string())
            .env("OVENBIRD_PORT", cloud.local.port.to_string())
            .env("OVENBIRD_HOME", &cloud.home)
            .env_remove("OVENBIRD_LOCAL")
            .stdin(Stdio::null())
            .output()?;
        ensure!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
    };
    ensure!(completed(&["--local", "status", "d"])? == ["desk"], "no pipeline");
    ensure!(completed(&["--local", "promote", "desk", "--channel", "p"])? == ["production"], "no channel");
    let bakes = completed(&["--local", "show", "desk-"])?;
    ensure!(!bakes.is_empty() && bakes.iter().all(|bake| bake.starts_with("desk-")), "{bakes:?}");
    let shown = cloud.local.ovenbird_json(&["show", &bakes[0]], false)?;
    ensure!(shown["pipeline"] == "desk", "{shown}");
    // Nothing runs, and without `--local` nobody's account is asked for long.
    ensure!(completed(&["--local", "cancel", "desk-"])?.is_empty(), "a bake that has ended");
    let instances = completed(&["local", "shell", "i-"])?;
    let running = cloud.local.ovenbird_json(&["local", "status"], false)?;
    let known = |id: &String| running.to_string().contains(id.as_str());
    ensure!(instances.iter().all(known), "{instances:?} of {running}, on {image}");
    Ok(())
}
