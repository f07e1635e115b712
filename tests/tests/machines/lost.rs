//! Builders that are lost in the middle of a step: taken back by EC2, terminated past us, or with a runner that died.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use ovenbird_core::{
    domain::{bake::Status, mailbox::Heartbeat, plan::UNIT},
    ports::Role,
    store::keys,
};
use ovenbird_tests::clients::within;

use crate::{Cloud, PATIENCE, end_to_end::GOOD};

/// How long a bake may run on after its builder was lost: the silence after which it is given up is 45 s, and what is
/// at work looks each ten seconds.
const NOTICED: Duration = Duration::from_secs(60);

/// The step in which they are lost, by its name.
const STEP: &str = "1 shell";

/// How a builder is lost, and what its bake says then.
struct Way {
    pipeline: &'static str,
    lose: fn(&Cloud, &str) -> Result<()>,
    error: &'static str,
    words: &'static [&'static str],
}

const WAYS: [Way; 3] = [
    Way {
        pipeline: "taken-back",
        lose: taken_back,
        error: "BuilderLost",
        words: &["EC2 takes the spot capacity back: it will terminate the instance at", "`spot = false`"],
    },
    Way {
        pipeline: "terminated",
        lose: |cloud, id| cloud.local.aws(&["ec2", "terminate-instances", "--instance-ids", id]).map(drop),
        error: "BuilderLost",
        words: &["Client.UserInitiatedShutdown", "was at `1 shell`"],
    },
    Way { pipeline: "silent", lose: runner_dies, error: "BuilderSilent", words: &["was at `1 shell`"] },
];

/// Each ends its bake within a minute or so, with what happened, and nothing is left. All are lost at once.
pub fn lost(cloud: &Cloud) -> Result<()> {
    let before = cloud.left()?;
    let long = GOOD.replace("echo hello >", "sleep 300; echo hello >");
    for way in &WAYS {
        cloud.push_steps(way.pipeline, &format!("[builder]\nspot = true\n{long}"))?;
        cloud.upload(&format!("artifacts/{}/one", way.pipeline), "1")?;
    }
    let mut since = Vec::new();
    for way in &WAYS {
        let id = within("the step at work", PATIENCE, || at_work(cloud, way.pipeline))?;
        (way.lose)(cloud, &id)?;
        since.push(Instant::now());
    }
    for (way, since) in WAYS.iter().zip(since) {
        let bake = cloud.next_ended(way.pipeline, 0)?;
        let took = since.elapsed();
        eprintln!("{}: the bake ended after {:.0} s", way.pipeline, took.as_secs_f64());
        ensure!(bake.progress.status == Status::Failed && took < NOTICED, "{took:?}: {bake:?}");
        let failure = bake.progress.failure.context("it did not fail")?;
        ensure!(failure.error == way.error, "{failure:?}");
        for words in way.words {
            ensure!(failure.cause.contains(words), "no `{words}` in {}", failure.cause);
        }
    }
    within("nothing left of them", PATIENCE, || {
        let left = cloud.left()?;
        ensure!(left == before, "{left:?}, not {before:?}");
        Ok(())
    })
}

/// The builder whose first step is at work, by its heartbeat.
fn at_work(cloud: &Cloud, pipeline: &str) -> Result<String> {
    let bake = cloud.local.bakes(pipeline, 1)?.into_iter().next().context("no bake yet")?;
    let key = keys::of_instance(&bake.spec.pipeline, &bake.spec.id, Role::Builder, keys::PROGRESS);
    let file = cloud.home.join("progress.json");
    let to = file.to_str().context("path")?;
    cloud.local.aws(&["s3api", "get-object", "--bucket", cloud.bucket(), "--key", &key, to])?;
    let heartbeat: Heartbeat = serde_json::from_slice(&fs::read(&file)?)?;
    let work = heartbeat.work.context("not at work yet")?;
    ensure!(work.name == STEP, "at {}", work.name);
    bake.progress.builder.map(|id| id.to_string()).context("no builder")
}

/// EC2's notice. A second one is refused, and so is one for a machine on demand.
fn taken_back(cloud: &Cloud, id: &str) -> Result<()> {
    cloud.local.ovenbird(&["local", "interrupt", id])?;
    let again = cloud.local.ovenbird_says(&["local", "interrupt", id])?;
    ensure!(again.0 == Some(1) && again.1.contains("has such a notice already"), "{again:?}");
    Ok(())
}

/// The runner is killed; the machine runs on.
fn runner_dies(cloud: &Cloud, id: &str) -> Result<()> {
    cloud.local.ovenbird(&["local", "shell", id, "--", "systemctl", "kill", "--signal=KILL", UNIT])
}
