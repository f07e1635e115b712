//! Measures the local cloud and prints each figure beside its goal: seconds, and the share of the goal it takes.

use std::{collections::BTreeMap, fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use ovenbird_core::domain::{
    bake::{Bake, Stage, Status},
    report::{ProvisionReport, TestReport},
};
use ovenbird_tests::{
    clients::{Local, repository, within},
    on_the_fly::{self, launched},
    packer, sample,
};

fn main() -> Result<()> {
    let port = std::env::var("OVENBIRD_PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(4566);
    let local = Local { port, home: None };
    local.ovenbird(&["local", "up"])?;
    let result = measure(&local);
    local.ovenbird(&["local", "down", "--yes"])?;
    result
}

fn measure(local: &Local) -> Result<()> {
    let fresh: f64 = memory(local)?.values().sum();
    local.ovenbird(&["recipe", "push", "examples/jvm-runtime"])?;
    let runtime = baked(local, &["jvm-runtime", "--force"])?;
    let war = sample::build(&["v1"])?.remove(0);
    local.ovenbird(&["recipe", "push", "examples/storefront"])?;
    let bake = baked(local, &["storefront", "--artifact", war.to_str().context("path")?])?;
    let again = baked(local, &["storefront"])?;
    ensure!(again.progress.reused, "the second bake did not reuse the image");
    let whole = whole(local, &war)?;

    println!("{:<44} {:>8} {:>8} {:>7}", "FIGURE", "SEEN", "GOAL", "RATIO");
    row("upload to promoted, s", total(&bake), 15.0);
    row("  of it: no machine, command or imaging, s", overhead(local, &bake)?, 3.0);
    row("  of it: image of the stopped machine, s", stage(&bake, Stage::Image), 0.5);
    row("unchanged artifact to promoted, s", total(&again), 3.0);
    println!("{:<44} {:>8.2}", "the same from Debian in one go, s", total(&whole));
    println!("{:<44} {:>8.2}", "its runtime alone, s", total(&runtime));
    row("RunInstances to user data done, s", user_data(local)?, 4.0);
    let ways = [on_the_fly::baked(&bake)?, on_the_fly::by_itself(local, &whole)?];
    // The first machine of an image reads its files from the disk; the second is the figure.
    on_the_fly::first_answer(local, &ways[0])?;
    let baked = on_the_fly::first_answer(local, &ways[0])?;
    row("machine of the image to HTTP 200, s", baked, 5.0);
    let by_itself = on_the_fly::first_answer(local, &ways[1])?;
    println!("{:<44} {by_itself:>8.2}", "machine that configures itself at boot, s");
    println!("{:<44} {:>8.1}", "  times as long as a machine of the image", by_itself / baked);
    let [of_image, of_base] =
        [on_the_fly::differing(local, &ways[0])?, on_the_fly::differing(local, &ways[1])?];
    println!("{:<44} {:>8}", "files that differ on 3 machines of the image", of_image.len());
    println!("{:<44} {:>8}", "  on 3 that configure themselves", of_base.len());
    for file in of_base.difference(&of_image) {
        println!("    only there: {file}");
    }
    row("local cloud idle, as it came up, MiB", fresh, 150.0);
    let used: f64 = within("the functions' end", Duration::from_secs(120), || {
        let memory = memory(local)?;
        ensure!(memory["functions"] == 0.0, "they still take {:.0} MiB", memory["functions"]);
        Ok(memory.values().sum())
    })?;
    row("local cloud idle, after bakes, MiB", used, 150.0);
    println!();
    if let Some(rows) = packer::beside_ours(local)? {
        println!("{:<60} {:>8}", "PACKER'S BAKE BESIDE OURS", "SECONDS");
        for (what, seconds) in rows {
            println!("{what:<60} {seconds:>8.1}");
        }
        println!();
    }
    for bake in [&runtime, &bake, &again, &whole] {
        println!("{}:", bake.spec.pipeline);
        for span in &bake.progress.timeline {
            println!(
                "  {:<12} {:>7.2} s",
                span.stage.as_str(),
                seconds(span.start, span.end.unwrap_or(span.start))
            );
        }
    }
    Ok(())
}

fn baked(local: &Local, arguments: &[&str]) -> Result<Bake> {
    let bake: Bake = serde_json::from_value(local.ovenbird_json(&[&["bake"], arguments].concat(), false)?)?;
    ensure!(bake.progress.status == Status::Promoted, "{:?}", bake.progress.failure);
    Ok(bake)
}

/// The application without a layer below it: what is saved by one is seen beside this.
fn whole(local: &Local, war: &Path) -> Result<Bake> {
    const BASE: &str = "channel = \"jvm-runtime/stable\"";
    let folder = std::env::temp_dir().join(format!("ovenbird-whole-{}", std::process::id()));
    let examples = repository().join("examples");
    let copied = Command::new("cp").arg("-r").arg(examples.join("jvm-runtime")).arg(&folder).status()?;
    ensure!(copied.success(), "cp: {copied}");
    let read = |name: &str| fs::read_to_string(examples.join(name).join("recipe.toml"));
    let (runtime, application) = (read("jvm-runtime")?, read("storefront")?);
    let base = runtime.lines().find(|line| line.starts_with("parameter = ")).context("no base")?;
    let step = runtime.split_once("[[step]]").and_then(|(_, rest)| rest.split_once("[[test]]"));
    let (step, _) = step.context("no step")?;
    let recipe = application
        .replace(BASE, base)
        .replace("pipeline = \"storefront\"", "pipeline = \"storefront-whole\"")
        .replace("/storefront/production", "/storefront-whole/production")
        .replacen("[[step]]", &format!("[[step]]{step}[[step]]"), 1);
    fs::write(folder.join("recipe.toml"), recipe)?;
    local.ovenbird(&["recipe", "push", folder.to_str().context("path")?])?;
    fs::remove_dir_all(&folder)?;
    baked(local, &["storefront-whole", "--artifact", war.to_str().context("path")?])
}

/// What each part of the local cloud takes, machines aside.
fn memory(local: &Local) -> Result<BTreeMap<String, f64>> {
    let status = local.ovenbird_json(&["local", "status"], false)?;
    Ok(serde_json::from_value(status["memory"].clone())?)
}

fn row(what: &str, seen: f64, goal: f64) {
    println!("{what:<44} {seen:>8.2} {goal:>8.1} {:>6.0}%", seen / goal * 100.0);
}

fn seconds(start: Timestamp, end: Timestamp) -> f64 {
    end.duration_since(start).as_secs_f64()
}

fn total(bake: &Bake) -> f64 {
    bake.progress.timeline.last().and_then(|span| span.end).map_or(0.0, |end| seconds(bake.spec.started, end))
}

fn stage(bake: &Bake, stage: Stage) -> f64 {
    let spans = bake.progress.timeline.iter().filter(|span| span.stage == stage);
    spans.map(|span| seconds(span.start, span.end.unwrap_or(span.start))).sum()
}

/// What is left of a bake when the machine's own work is taken out: its boot and steps, its tests, its seal, the image.
fn overhead(local: &Local, bake: &Bake) -> Result<f64> {
    let provision: ProvisionReport = report(local, bake, "provision.json")?;
    let test: TestReport = report(local, bake, "test.json")?;
    let builder = bake
        .progress
        .timeline
        .iter()
        .find(|span| span.stage == Stage::Builder)
        .context("no builder stage")?;
    let worked = seconds(builder.start, provision.ended)
        + seconds(test.started, test.ended)
        + stage(bake, Stage::Seal)
        + stage(bake, Stage::Image);
    Ok(total(bake) - worked)
}

fn report<R: serde::de::DeserializeOwned>(local: &Local, bake: &Bake, file: &str) -> Result<R> {
    let bucket = local.operator()?["bucket"].clone();
    let to = std::env::temp_dir().join(format!("ovenbird-bench-{}-{file}", std::process::id()));
    let key = format!("bakes/{}/{}/{file}", bake.spec.pipeline, bake.spec.id);
    local.aws(&["s3api", "get-object", "--bucket", &bucket, "--key", &key, to.to_str().context("path")?])?;
    let text = std::fs::read(&to)?;
    std::fs::remove_file(&to)?;
    Ok(serde_json::from_slice(&text)?)
}

fn user_data(local: &Local) -> Result<f64> {
    let bucket = local.operator()?["bucket"].clone();
    let url = local.presign("PUT", &bucket, "bench/user-data")?;
    let script = format!("#!/bin/sh\ndate +%s.%N | curl -fsS -T - '{url}'\n");
    let image = sample::base(local)?;
    let answer = local.aws(&[
        "ec2",
        "run-instances",
        "--image-id",
        &image,
        "--instance-type",
        "m7i.large",
        "--user-data",
        &script,
    ])?;
    let (id, start) = launched(&answer)?;
    let to = std::env::temp_dir().join(format!("ovenbird-bench-{}", std::process::id()));
    let path = to.to_str().context("path")?;
    let get = ["s3api", "get-object", "--bucket", &bucket, "--key", "bench/user-data", path];
    within("user data", Duration::from_secs(30), || local.aws(&get))?;
    let end: f64 = std::fs::read_to_string(&to)?.trim().parse()?;
    std::fs::remove_file(&to)?;
    local.aws(&["ec2", "terminate-instances", "--instance-ids", &id])?;
    Ok(end - start.as_duration().as_secs_f64())
}
