//! The other strategy: machines of the base that configure themselves as they boot, by the same runner and plan that made the
//! image. What baking buys is the time, and that all machines are the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use ovenbird_core::{
    domain::{bake::Bake, plan::FOLDER},
    store::keys,
};
use serde_json::Value;

use crate::clients::{Local, get, within};

/// The port at which the application answers.
const PORT: u16 = 8080;

/// How many machines of each kind are compared.
const ALIKE: usize = 3;

/// A way to have a machine that serves.
#[derive(Debug, Clone)]
pub struct Way {
    /// What the machine starts from.
    image: String,
    /// Commands that it runs as it boots.
    script: String,
}

/// Machines of the image that a bake made.
///
/// # Errors
/// When the bake made none.
pub fn baked(bake: &Bake) -> Result<Way> {
    let image = bake.progress.image.as_ref().context("no image")?.to_string();
    Ok(Way { image, script: String::new() })
}

/// Machines of the bake's base that configure themselves as its builder did.
///
/// # Errors
/// When the local cloud doesn't say where the runner and the plan are.
pub fn by_itself(local: &Local, bake: &Bake) -> Result<Way> {
    let bucket = local.operator()?["bucket"].clone();
    let inputs = &bake.spec.inputs;
    let runner = local.presign("GET", &bucket, &keys::runner(&inputs.architecture, &inputs.runner))?;
    let plan = format!("bakes/{}/{}/plan.json", bake.spec.pipeline, bake.spec.id);
    let plan = local.presign("GET", &bucket, &plan)?;
    let script = format!(
        "set -eu\numask 077\nmkdir -p {FOLDER}\ncd {FOLDER}\ncurl -fsS -o ovenbird-runner '{runner}'\n\
         chmod 700 ovenbird-runner\ncurl -fsS -o plan.json '{plan}'\n./ovenbird-runner provision\n"
    );
    Ok(Way { image: bake.spec.base.image.to_string(), script })
}

/// Seconds from the launch of a machine to its first HTTP 200.
///
/// # Errors
/// When it doesn't answer in two minutes.
pub fn first_answer(local: &Local, way: &Way) -> Result<f64> {
    let (id, start) = launch(local, &way.image, &way.script)?;
    let address = within("the forward", Duration::from_secs(20), || local.forward(&id, PORT))?;
    within("HTTP 200", Duration::from_secs(120), || get(&address))?;
    let seen = Timestamp::now().duration_since(start).as_secs_f64();
    terminate(local, &id)?;
    Ok(seen)
}

/// The files that are not the same on three machines, or not on all of them.
///
/// A machine's own things, such as its keys and logs, differ in any case.
///
/// # Errors
/// When a machine doesn't say what it has in two minutes.
pub fn differing(local: &Local, way: &Way) -> Result<BTreeSet<String>> {
    let bucket = local.operator()?["bucket"].clone();
    let mut contents: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for number in 0..ALIKE {
        let key = format!("bench/files-{number}");
        local.aws(&["s3api", "delete-object", "--bucket", &bucket, "--key", &key])?;
        let url = local.presign("PUT", &bucket, &key)?;
        // Ovenbird's own folder is no part of what is served, and the rest is made anew by each boot.
        let list = format!(
            "cd /\nfind . -xdev -type f ! -path '.{FOLDER}/*' ! -path './tmp/*' ! -path './run/*' -exec sha256sum {{}} + \
             > /run/files\ncurl -fsS -T /run/files '{url}'\n"
        );
        let (id, _) = launch(local, &way.image, &format!("{}{list}", way.script))?;
        let to = std::env::temp_dir().join(format!("ovenbird-files-{}", std::process::id()));
        let path = to.to_str().context("path")?;
        let get = ["s3api", "get-object", "--bucket", &bucket, "--key", &key, path];
        within("the machine's files", Duration::from_secs(120), || local.aws(&get))?;
        let files = fs::read_to_string(&to)?;
        fs::remove_file(&to)?;
        terminate(local, &id)?;
        ensure!(files.lines().count() > 1_000, "{} files only", files.lines().count());
        for line in files.lines() {
            let (hash, file) = line.split_once("  ").with_context(|| line.to_owned())?;
            contents.entry(file.to_owned()).or_default().insert(hash.to_owned());
            *times.entry(file.to_owned()).or_default() += 1;
        }
    }
    contents.retain(|file, hashes| hashes.len() > 1 || times[file] < ALIKE);
    Ok(contents.into_keys().collect())
}

fn launch(local: &Local, image: &str, script: &str) -> Result<(String, Timestamp)> {
    let script = format!("#!/bin/sh\n{script}");
    let launch = ["ec2", "run-instances", "--instance-type", "m7i.large", "--image-id", image, "--user-data"];
    launched(&local.aws(&[&launch[..], &[script.as_str()]].concat())?)
}

/// The machine that was launched, and when.
///
/// # Errors
/// When the answer has none.
pub fn launched(answer: &Value) -> Result<(String, Timestamp)> {
    let instance = &answer["Instances"][0];
    let id = instance["InstanceId"].as_str().context("no instance")?.to_owned();
    let time = instance["LaunchTime"].as_str().context("no launch time")?;
    Ok((id, time.parse()?))
}

fn terminate(local: &Local, id: &str) -> Result<()> {
    local.aws(&["ec2", "terminate-instances", "--instance-ids", id])?;
    Ok(())
}
