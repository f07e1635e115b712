//! Bakes that end before their time: by a person, or past us.

use anyhow::{Context as _, Result, ensure};
use ovenbird_core::domain::bake::Bake;
use ovenbird_tests::clients::within;

use crate::{Cloud, PATIENCE, end_to_end::GOOD};

/// A bake that a person cancels, or whose execution is stopped, leaves nothing and holds nobody up.
pub fn stopped(cloud: &Cloud) -> Result<()> {
    let before = cloud.left()?;
    let channel = cloud.parameter("probe")?;
    cloud.push_steps("probe", &GOOD.replace("echo hello >", "sleep 60; echo hello >"))?;
    let running = |known: &[Bake]| {
        within("a builder at work", PATIENCE, || {
            let bakes = cloud.local.bakes("probe", 20)?;
            let new = bakes.into_iter().find(|bake| known.iter().all(|one| one.spec.id != bake.spec.id));
            let bake = new.context("no bake yet")?;
            ensure!(bake.progress.builder.is_some(), "no builder yet");
            Ok(bake)
        })
    };
    let gone = |bake: &Bake| {
        within("nothing left of it", PATIENCE, || {
            let left = cloud.left()?;
            ensure!(left == before, "{} left {left:?}, not {before:?}", bake.spec.id);
            let shown = cloud.local.ovenbird_json(&["show", bake.spec.id.as_str()], false)?;
            ensure!(shown["status"] == "cancelled", "{shown}");
            Ok(shown)
        })
    };
    let list = |cloud: &Cloud| -> Result<Vec<Bake>> { cloud.local.bakes("probe", 20) };

    let known = list(cloud)?;
    cloud.upload("artifacts/probe/cancelled", "c")?;
    let bake = running(&known)?;
    // What is at work is not cleaned up after.
    let said = cloud.local.ovenbird_says(&["clean", bake.spec.id.as_str(), "--yes"])?;
    ensure!(said.0 == Some(1) && said.1.contains("ovenbird cancel"), "{said:?}");
    cloud.local.ovenbird(&["cancel", bake.spec.id.as_str()])?;
    let shown = gone(&bake)?;
    ensure!(
        shown["failure"]["cause"].as_str().is_some_and(|cause| cause.starts_with("Cancelled by")),
        "{shown}"
    );
    let said = cloud.local.ovenbird_says(&["cancel", bake.spec.id.as_str()])?;
    ensure!(said.0 == Some(1) && said.1.contains("has ended already"), "{said:?}");

    // Stopped past us: an event starts the clean-up.
    let known = list(cloud)?;
    cloud.upload("artifacts/probe/stopped", "s")?;
    let bake = running(&known)?;
    let arn = cloud.machine("bake").replace(":stateMachine:", ":execution:");
    let arn = format!("{arn}:{}", bake.spec.id);
    cloud.local.aws(&["stepfunctions", "stop-execution", "--execution-arn", &arn])?;
    gone(&bake)?;
    ensure!(cloud.parameter("probe")? == channel);

    // Nothing is destroyed before somebody agreed.
    let said = cloud.local.ovenbird_says(&["prune", "--dry-run"])?;
    ensure!(said.0 == Some(0), "{said:?}");
    cloud.push_steps("probe", GOOD)
}
