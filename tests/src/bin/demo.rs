//! The main job, watched: an artifact goes in, a tested image comes out, machines serve from it, and the next
//! version takes over. It ends with success only if every line of it was seen.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use ovenbird_core::{
    domain::{bake::Bake, id::BakeId},
    steps::prune::Plan,
};
use ovenbird_tests::{
    clients::{Local, get, repository, within},
    fleet::Fleet,
    health::overhead,
    load::{Counts, Load},
    sample,
};
use serde_json::Value;

const PIPELINE: &str = "storefront";
const PARAMETER: &str = "/images/storefront/production";

fn main() -> Result<()> {
    let port = std::env::var("OVENBIRD_PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(4566);
    let local = Local { port, home: None };
    let keep = std::env::var("KEEP").is_ok_and(|keep| keep == "1");
    say("The local cloud");
    local.ovenbird(&["local", "up"])?;
    let result = main_job(&local);
    if keep {
        println!("\nThe local cloud stays up (KEEP=1): `ovenbird --local list`, `ovenbird local down`");
    } else {
        say("Down again");
        local.ovenbird(&["local", "down", "--yes"])?;
    }
    result?;
    println!("\nEverything above was seen to happen.");
    Ok(())
}

fn main_job(local: &Local) -> Result<()> {
    say("The runtime: Debian with OpenJDK and Tomcat, by Puppet");
    local.ovenbird(&["recipe", "push", "examples/jvm-runtime"])?;
    local.ovenbird(&["bake", "jvm-runtime"])?;

    say("The recipe of the application, which stands on the runtime");
    local.ovenbird(&["recipe", "push", "examples/storefront"])?;
    let wars = sample::build(&["v1", "v2", "v3"])?;

    let first = deploy(local, &wars[0], "v1")?;
    let old = serve(local, "v1", 2)?;
    let second = deploy(local, &wars[1], "v2")?;
    let new = serve(local, "v2", 2)?;

    let third = deploy(local, &wars[2], "v3")?;
    let newest = serve(local, "v3", 2)?;

    say("The machines of v1 and v2 go");
    terminate(local, &old)?;
    terminate(local, &new)?;

    say("Prune: first the plan, which destroys nothing");
    let plan = pruned(local, &["prune", "--dry-run"])?;
    ensure!(!plan.acted, "a dry run acted");
    say("Then the image of v1 is retired; that of v2 stays, because the channel goes back to it");
    let image = first.progress.image.clone().context("no image of v1")?;
    // A run takes a tenth of all images at most, the oldest first: those of demos before this one go before v1's.
    let mut runs = 0;
    let plan = loop {
        let Pruned { plan, .. } = pruned(local, &["prune", "--yes"])?;
        for verdict in &plan.retire {
            println!("  retired {}: {}", verdict.image, verdict.reason);
        }
        if plan.retire.iter().any(|verdict| verdict.image == image) {
            break plan;
        }
        runs += 1;
        ensure!(runs < 50 && !plan.retire.is_empty(), "{image} was not retired: {plan:?}");
    };
    for verdict in plan.keep.iter().filter(|verdict| verdict.pipeline.as_str() == PIPELINE) {
        println!("  kept {}: {}", verdict.image, verdict.reason);
    }
    let gone = local.aws(&["ec2", "describe-images", "--owners", "self"])?;
    ensure!(!gone.to_string().contains(image.as_str()), "{image} is still there");
    let status = local.ovenbird_json(&["local", "status"], false)?;
    for snapshot in &first.progress.snapshots {
        let layers = Path::new(status["home"].as_str().context("no home")?).join("snapshots");
        ensure!(!layers.join(snapshot.as_str()).exists(), "the layer of {snapshot} is still on the disk");
    }
    println!("  its layer left the disk");

    say("Where the seconds went");
    for (version, bake) in [("v1", &first), ("v2", &second), ("v3", &third)] {
        println!("{version}: {}", bake.spec.id);
        local.ovenbird(&["show", bake.spec.id.as_str()])?;
    }

    say("What v3 was made on");
    local.ovenbird(&["lineage", third.spec.id.as_str()])?;
    terminate(local, &newest)?;
    a_fleet_follows(local)
}

/// What lets the group follow the channel, quickly enough to be watched.
const FOLLOWS: &str = r#"
launch-templates = ["FLEET"]
groups = ["FLEET"]

[rollout]
stages = ["1 instance", "100%"]
watch = "10s"
soak = "20s"
healthy-within = "60s"
"#;

/// The watch of the first stage, and the soak after the last.
const WATCHED: Duration = Duration::from_secs(30);

/// Requests a second.
const RATE: u32 = 240;

/// A group of machines goes to the next version under load; a bad version comes back by itself.
fn a_fleet_follows(local: &Local) -> Result<()> {
    say("A group of 3 machines of v3 starts behind a load balancer");
    let image = parameter(local)?;
    let start = Instant::now();
    // A demo that was stopped may have left one of another name.
    let name = format!("storefront-{}", std::process::id());
    let fleet = Fleet::make(local, &name, 3, &image, 8080)?;
    println!(
        "  {:>6.1} s  3 machines are healthy at http://{}/",
        start.elapsed().as_secs_f64(),
        fleet.address
    );
    let recipe = std::fs::read_to_string(repository().join("examples/storefront/recipe.toml"))?;
    let promoted = format!("parameter = \"{PARAMETER}\"\n");
    ensure!(recipe.contains(&promoted), "the sample recipe promotes to another parameter");
    let folder = std::env::temp_dir().join(format!("ovenbird-fleet-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let recipe = recipe.replace(&promoted, &format!("{promoted}{}", FOLLOWS.replace("FLEET", &name)));
    std::fs::write(folder.join("recipe.toml"), recipe)?;
    local.ovenbird(&["recipe", "push", folder.to_str().context("temporary folder")?])?;
    std::fs::remove_dir_all(&folder)?;

    let good = sample::build(&["v4"])?.remove(0);
    let counts = rolled_out(local, &fleet, &good, "v4", 0)?;
    check(&counts, &["storefront v3", "storefront v4"])?;
    fleet.healthy(3)?;
    let now = parameter(local)?;
    ensure!(fleet.images()?.iter().all(|one| *one == now) && now != image, "not every machine is of v4");
    println!("  every machine runs v4, and the channel, the template and the parameter say so");

    let counts =
        rolled_out(local, &fleet, &sample::broken("v5")?, "v5, which answers 500 to everybody else,", 1)?;
    check(&counts, &["storefront v4"])?;
    fleet.healthy(3)?;
    ensure!(parameter(local)? == now, "the parameter names another image");
    ensure!(fleet.images()?.iter().all(|one| *one == now), "not every machine is of v4 again");
    println!("  all is as before");
    local.ovenbird(&["history", PIPELINE])?;
    fleet.remove()
}

/// Uploads a version while requests come in, and watches its rollout to the end.
fn rolled_out(local: &Local, fleet: &Fleet<'_>, war: &Path, version: &str, exit: i32) -> Result<Counts> {
    let load = Load::start(&fleet.address, RATE)?;
    let key = version.split(',').next().unwrap_or(version);
    let bake = deploy_as(local, war, (version, key), "validated")?;
    let rollout = bake.progress.rollout.context("no rollout")?;
    say(&format!("{key} comes to the machines by rollout {rollout}, {RATE} requests a second meanwhile"));
    let watch = fleet.watch();
    let status = local.ovenbird_shows(&["rollout", PIPELINE, "--watch"])?;
    ensure!(status == Some(exit), "the rollout ended with status {status:?}");
    let (counts, lives) = (load.stop()?, watch.stop()?);
    println!("  {counts}");
    if exit == 0 {
        let ended = local.ovenbird_json(&["rollout", PIPELINE], false)?;
        let overhead = overhead(&ended, &lives, WATCHED)?;
        println!(
            "  beyond the machines' boots, the watch and the soak, it took {overhead:.1} s (goal: 10 s)"
        );
    }
    Ok(counts)
}

/// Nothing was lost, and only these versions answered.
fn check(counts: &Counts, versions: &[&str]) -> Result<()> {
    ensure!(counts.lost.is_empty(), "{counts}; the first lost: {:?}", counts.lost.first());
    ensure!(counts.rate() >= 200.0, "too little was asked: {counts}");
    let seen: Vec<&str> = counts.answers.keys().map(|body| body.trim()).collect();
    ensure!(seen == versions, "{counts}, not of {versions:?}");
    Ok(())
}

fn parameter(local: &Local) -> Result<String> {
    let answer = local.aws(&["ssm", "get-parameter", "--name", PARAMETER])?;
    Ok(answer.pointer("/Parameter/Value").and_then(Value::as_str).context("no parameter")?.to_owned())
}

/// What `ovenbird prune --json` says.
#[derive(serde::Deserialize)]
struct Pruned {
    acted: bool,
    #[serde(flatten)]
    plan: Plan,
}

fn pruned(local: &Local, arguments: &[&str]) -> Result<Pruned> {
    serde_json::from_value(local.ovenbird_json(arguments, false)?).context("what prune says")
}

/// Uploads the artifact by plain S3 `PutObject`, and waits for the bake that the upload started.
fn deploy(local: &Local, war: &Path, version: &str) -> Result<Bake> {
    deploy_as(local, war, (version, version), "promoted")
}

fn deploy_as(local: &Local, war: &Path, (said, version): (&str, &str), ends: &str) -> Result<Bake> {
    say(&format!("{said} is uploaded"));
    let bucket = local.operator()?["bucket"].clone();
    let key = format!("artifacts/{PIPELINE}/storefront-{version}.war");
    let bakes = || local.bakes(PIPELINE, 20);
    // A demo before this one uploaded the same key.
    let known: Vec<BakeId> = bakes()?.into_iter().map(|bake| bake.spec.id).collect();
    let start = Instant::now();
    let body = war.to_str().context("temporary folder")?;
    local.aws(&["s3api", "put-object", "--bucket", &bucket, "--key", &key, "--body", body])?;
    let mut shown = 0;
    let bake = within("the bake", Duration::from_secs(180), || {
        let bake = bakes()?.into_iter().find(|bake| {
            !known.contains(&bake.spec.id)
                && bake.spec.artifact.as_ref().is_some_and(|one| one.key.as_str() == key)
        });
        let bake = bake.context("no bake yet")?;
        for span in bake.progress.timeline.iter().skip(shown) {
            println!("  {:>6.1} s  {}", start.elapsed().as_secs_f64(), span.stage.as_str());
        }
        shown = bake.progress.timeline.len();
        ensure!(bake.progress.status.as_str() != "running", "still running");
        Ok(bake)
    })?;
    ensure!(bake.progress.status.as_str() == ends, "{:?}", bake.progress.failure);
    let image = bake.progress.image.clone().context("no image")?;
    println!("  {:>6.1} s  {ends} {image}", start.elapsed().as_secs_f64());
    Ok(bake)
}

/// Starts machines from the promoted image, as an Auto Scaling group would, and sees them answer.
fn serve(local: &Local, version: &str, count: usize) -> Result<Vec<String>> {
    say(&format!("{count} machines start from the promoted image"));
    let image = parameter(local)?;
    let start = Instant::now();
    let count_text = count.to_string();
    let launched = local.aws(&[
        "ec2",
        "run-instances",
        "--image-id",
        &image,
        "--count",
        &count_text,
        "--instance-type",
        "m7i.large",
    ])?;
    let instances = launched["Instances"].as_array().context("no instances")?;
    let ids: Vec<String> =
        instances.iter().filter_map(|one| Some(one["InstanceId"].as_str()?.to_owned())).collect();
    ensure!(ids.len() == count, "{launched}");
    for id in &ids {
        let page = within("HTTP 200", Duration::from_secs(60), || get(&local.forward(id, 8080)?))?;
        println!("  {:>6.1} s  {id}: {}", start.elapsed().as_secs_f64(), page.trim());
        ensure!(page.trim() == format!("storefront {version}"), "{id} answered {page:?}");
    }
    Ok(ids)
}

fn terminate(local: &Local, ids: &[String]) -> Result<()> {
    let mut arguments = vec!["ec2", "terminate-instances", "--instance-ids"];
    arguments.extend(ids.iter().map(String::as_str));
    local.aws(&arguments)?;
    within("terminated", Duration::from_secs(30), || {
        let mut arguments = vec!["ec2", "describe-instances", "--instance-ids"];
        arguments.extend(ids.iter().map(String::as_str));
        let text = local.aws(&arguments)?.to_string();
        ensure!(text.matches("\"terminated\"").count() == ids.len(), "{text}");
        Ok(())
    })
}

fn say(what: &str) {
    println!("\n── {what}");
    // Lines of a child and ours keep their order on a pipe.
    let _ = std::io::Write::flush(&mut std::io::stdout());
}
