//! Many triggers at once, layers, and tests of their own, on the local cloud with real machines.
//!
//! It is one test, because it is one cloud.

use std::{collections::BTreeSet, fs, thread, time::Instant};

use anyhow::{Context as _, Result, ensure};
use ovenbird_core::domain::{
    bake::{Bake, Status},
    id::AmiId,
};
use ovenbird_tests::clients::within;
use serde_json::Value;

use crate::{Cloud, PATIENCE, large::large_object};

const PORT: u16 = 14_666;

/// As many machines at once as a development machine bears: each boots a whole Debian.
const ARTIFACTS: usize = 20;

#[test]
fn many_triggers_and_layers_on_real_machines() -> Result<()> {
    let Some(cloud) = Cloud::up("many", PORT)? else { return Ok(()) };
    fifty_uploads(&cloud)?;
    other_tests(&cloud)?;
    twenty_artifacts(&cloud)?;
    none_waits_for_another(&cloud)?;
    layers(&cloud)?;
    imported(&cloud)?;
    kept_builder(&cloud)?;
    large_object(&cloud)
}

const DEBIAN: &str = "newest = { owner = \"136693071363\", name = \"debian-12-amd64-*\" }";

/// A recipe that is baked in seconds: a file from beside it, and a test.
fn recipe(pipeline: &str, base: &str, rest: &str) -> String {
    format!(
        "pipeline = \"{pipeline}\"\n[base]\n{base}\n[promote]\nchannel = \"stable\"\n\
         [[step]]\nfile = {{ to = \"/opt/{pipeline}\", source = \"content\" }}\n\
         [[test]]\nname = \"there\"\nfile = {{ path = \"/opt/{pipeline}\" }}\n{rest}"
    )
}

const WITH_ARTIFACT: &str = "[artifact]\nto = \"/opt/app\"\n";

impl Cloud {
    fn push(&self, pipeline: &str, content: &str, recipe: &str) -> Result<()> {
        let folder = self.home.join("recipes").join(pipeline);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("content"), content)?;
        fs::write(folder.join("recipe.toml"), recipe)?;
        self.local.ovenbird(&["recipe", "push", folder.to_str().context("path")?])
    }

    fn bake(&self, arguments: &[&str]) -> Result<Bake> {
        let arguments = [&["bake"], arguments].concat();
        Ok(serde_json::from_value(self.local.ovenbird_json(&arguments, true)?)?)
    }

    /// A pipeline's bakes, once there are so many and all have ended.
    fn ended(&self, pipeline: &str, count: usize) -> Result<Vec<Bake>> {
        within("the bakes", PATIENCE, || {
            let bakes = self.local.bakes(pipeline, 200)?;
            let ended = bakes.iter().filter(|bake| bake.progress.status != Status::Running).count();
            let triggers: Vec<&str> = bakes.iter().map(|bake| bake.spec.trigger.as_str()).collect();
            ensure!(bakes.len() == count && ended == count, "{ended} of {count} ended: {triggers:?}");
            Ok(bakes)
        })
    }

    /// Uploads at once, each in a thread of its own; gives the time of the last.
    fn upload_at_once(&self, keys: &[String], body: impl Fn(usize) -> String) -> Result<Instant> {
        thread::scope(|scope| {
            let uploads: Vec<_> = keys
                .iter()
                .enumerate()
                .map(|(number, key)| {
                    let body = body(number);
                    scope.spawn(move || self.local.put(self.bucket(), key, body.as_bytes()))
                })
                .collect();
            uploads.into_iter().try_for_each(|upload| match upload.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })?;
        Ok(Instant::now())
    }

    /// Waits until the executions of these bakes have succeeded.
    fn succeeded(&self, bakes: &[Bake]) -> Result<()> {
        let machine = self.machine("bake");
        let list =
            ["stepfunctions", "list-executions", "--status-filter", "SUCCEEDED", "--state-machine-arn"];
        within("their executions", PATIENCE, || {
            let answer = self.local.aws(&[&list[..], &[machine]].concat())?;
            let all = answer["executions"].as_array().context("no executions")?;
            let ended: BTreeSet<&str> = all.iter().filter_map(|one| one["name"].as_str()).collect();
            let missing: Vec<&str> =
                bakes.iter().map(|bake| bake.spec.id.as_str()).filter(|name| !ended.contains(name)).collect();
            ensure!(missing.is_empty(), "not succeeded: {missing:?}");
            Ok(())
        })
    }

    /// Instances that carry a bake's tag and are alive.
    fn alive(&self) -> Result<Vec<String>> {
        let filter = "Name=tag-key,Values=ovenbird:bake";
        let alive = "Name=instance-state-name,Values=pending,running,stopping,stopped";
        let answer = self.local.aws(&["ec2", "describe-instances", "--filters", filter, alive])?;
        let found = answer["Reservations"].as_array().context("no reservations")?.iter();
        Ok(found
            .map(|one| one["Instances"][0]["InstanceId"].as_str().unwrap_or_default().to_owned())
            .collect())
    }
}

/// One builder, one image, and fifty executions that succeed with it.
fn fifty_uploads(cloud: &Cloud) -> Result<()> {
    cloud.push("crowd", "1", &recipe("crowd", DEBIAN, WITH_ARTIFACT))?;
    let start = cloud.upload_at_once(&vec!["artifacts/crowd/app".to_owned(); 50], |_| "v1".into())?;
    let bakes = cloud.ended("crowd", 50)?;
    eprintln!("50 uploads of one artifact: all ended after {:.1} s", start.elapsed().as_secs_f64());
    let builders = bakes.iter().filter(|bake| bake.progress.builder.is_some()).count();
    let images: BTreeSet<Option<&AmiId>> = bakes.iter().map(|bake| bake.progress.image.as_ref()).collect();
    ensure!((builders, images.len()) == (1, 1), "{builders} builders, images {images:?}");
    let promoted = bakes.iter().filter(|bake| bake.progress.status == Status::Promoted).count();
    ensure!(promoted == 50, "{promoted} promoted");
    cloud.succeeded(&bakes)?;
    ensure!(cloud.alive()?.is_empty());
    Ok(())
}

/// The image of the crowd is kept when only its tests change; an image that fails them is not promoted, and stays.
fn other_tests(cloud: &Cloud) -> Result<()> {
    let before = cloud.bake(&["crowd"])?;
    let more = |test: &str| format!("{WITH_ARTIFACT}[[test]]\nname = \"more\"\n{test}\n");
    cloud.push("crowd", "1", &recipe("crowd", DEBIAN, &more("command = \"test -s /opt/app\"")))?;
    let explained = cloud.local.ovenbird_json(&["explain", "crowd"], false)?;
    let changed = |explained: &Value| -> Vec<String> {
        let lines = explained["inputs"].as_array().into_iter().flatten();
        lines.filter(|line| line["changed"] == true).map(|line| line["input"].to_string()).collect()
    };
    ensure!(changed(&explained) == ["\"tests\""] && explained["same_image"] == true, "{explained}");
    let start = Instant::now();
    let kept = cloud.bake(&["crowd"])?;
    eprintln!("only the tests changed: {:.1} s", start.elapsed().as_secs_f64());
    ensure!(
        kept.progress.status == Status::Promoted && kept.progress.image == before.progress.image,
        "{:?}",
        kept.progress.failure
    );
    ensure!(
        kept.progress.builder.is_none()
            && kept.progress.booted.is_some()
            && kept.progress.tests_passed == Some(2)
    );

    cloud.push(
        "crowd",
        "1",
        &recipe("crowd", DEBIAN, &more("command = \"test -s /opt/none\"\nwithin = \"1s\"")),
    )?;
    let failed = cloud.bake(&["crowd"])?;
    let failure = failed.progress.failure.context("it did not fail")?;
    ensure!(failure.error == "TestsFailed" && failure.cause.contains("more"), "{failure:?}");
    cloud.push("crowd", "1", &recipe("crowd", DEBIAN, WITH_ARTIFACT))?;
    let again = cloud.bake(&["crowd"])?;
    ensure!(
        again.progress.reused
            && again.progress.booted.is_none()
            && again.progress.image == before.progress.image,
        "the image stays what it was"
    );
    Ok(())
}

/// The channel ends at the newest; none fails; those that ended after a newer one say so.
fn twenty_artifacts(cloud: &Cloud) -> Result<()> {
    cloud.push("queue", "1", &recipe("queue", DEBIAN, WITH_ARTIFACT))?;
    let keys: Vec<String> = (0..ARTIFACTS).map(|number| format!("artifacts/queue/app-{number:02}")).collect();
    let start = cloud.upload_at_once(&keys, |number| format!("v{number}"))?;
    let bakes = cloud.ended("queue", ARTIFACTS)?;
    eprintln!("{ARTIFACTS} artifacts at once: all ended after {:.1} s", start.elapsed().as_secs_f64());
    let count = |status| bakes.iter().filter(|bake| bake.progress.status == status).count();
    let (promoted, superseded) = (count(Status::Promoted), count(Status::Superseded));
    eprintln!("{promoted} promoted, {superseded} superseded");
    ensure!(
        promoted + superseded == ARTIFACTS,
        "{:?}",
        bakes.iter().filter_map(|bake| bake.progress.failure.as_ref()).next()
    );
    // Uploads of one second are told apart by it alone.
    let told = |bake: &&Bake| bake.spec.artifact.as_ref().is_some_and(|one| !one.sequencer.is_empty());
    ensure!(bakes.iter().filter(told).count() == ARTIFACTS, "artifacts without a sequencer");
    let newest = bakes.iter().max_by(|a, b| a.spec.order().compare(&b.spec.order())).context("no bake")?;
    ensure!(newest.progress.status == Status::Promoted, "the newest is {:?}", newest.progress.status);
    // Whoever bakes on the channel now gets the newest.
    let on_it = recipe("queue-child", "channel = \"queue/stable\"", "");
    cloud.push("queue-child", "1", &on_it)?;
    let child = cloud.bake(&["queue-child"])?;
    ensure!(
        Some(&child.spec.base.image) == newest.progress.image.as_ref(),
        "the channel is at {}",
        child.spec.base.image
    );
    ensure!(cloud.alive()?.is_empty());
    Ok(())
}

/// Bakes of as many pipelines as the stack has builders: each stays at its step until all the others are at theirs.
fn none_waits_for_another(cloud: &Cloud) -> Result<()> {
    let pipelines: Vec<String> = (0..ARTIFACTS).map(|number| format!("each-{number:02}")).collect();
    let waits = "[[step]]\nshell = \"touch /run/here; until [ -e /run/go ]; do sleep 0.2; done\"\n";
    for pipeline in &pipelines {
        cloud.push(pipeline, "1", &recipe(pipeline, DEBIAN, waits))?;
    }
    let start = Instant::now();
    for pipeline in &pipelines {
        cloud.local.ovenbird(&["bake", pipeline, "--detach"])?;
    }
    let mut waiting = BTreeSet::new();
    within("all at their step at the same time", PATIENCE, || {
        for pipeline in &pipelines {
            let bake = cloud.local.bakes(pipeline, 1)?.into_iter().next().context("no bake yet")?;
            ensure!(bake.progress.status == Status::Running, "{pipeline}: {:?}", bake.progress.failure);
            let builder = bake.progress.builder.with_context(|| format!("{pipeline} waits for its turn"))?;
            let here = ["local", "shell", builder.as_str(), "--", "test", "-e", "/run/here"];
            ensure!(cloud.local.ovenbird_says(&here)?.0 == Some(0), "{pipeline} is not there yet");
            waiting.insert(builder);
        }
        Ok(())
    })?;
    ensure!(waiting.len() == ARTIFACTS, "{waiting:?}");
    eprintln!("{ARTIFACTS} bakes at once: all at their step after {:.1} s", start.elapsed().as_secs_f64());
    for builder in &waiting {
        cloud.local.ovenbird(&["local", "shell", builder.as_str(), "--", "touch", "/run/go"])?;
    }
    for pipeline in &pipelines {
        let bake = cloud.ended(pipeline, 1)?.remove(0);
        ensure!(bake.progress.status == Status::Promoted, "{pipeline}: {:?}", bake.progress.failure);
    }
    eprintln!("{ARTIFACTS} bakes at once: all promoted after {:.1} s", start.elapsed().as_secs_f64());
    ensure!(cloud.alive()?.is_empty());
    Ok(())
}

/// One byte of a file of the runtime, and the application on it is baked anew; its lineage is told.
fn layers(cloud: &Cloud) -> Result<()> {
    cloud.push("runtime", "1", &recipe("runtime", DEBIAN, ""))?;
    cloud.push("shop", "1", &recipe("shop", "channel = \"runtime/stable\"", WITH_ARTIFACT))?;
    let circle = cloud.push("runtime", "1", &recipe("runtime", "channel = \"shop/stable\"", ""));
    ensure!(circle.is_err(), "a circle was taken");
    cloud.push("runtime", "1", &recipe("runtime", DEBIAN, ""))?;
    let first = cloud.bake(&["runtime"])?;
    ensure!(first.progress.status == Status::Promoted, "{:?}", first.progress.failure);
    // Its children are looked for once it is promoted: an artifact that comes in between would start two bakes.
    cloud.succeeded(std::slice::from_ref(&first))?;
    ensure!(cloud.local.ovenbird_json(&["list", "shop"], false)?.as_array().is_some_and(Vec::is_empty));
    cloud.local.put(cloud.bucket(), "artifacts/shop/app", b"v1")?;
    let shop = cloud.ended("shop", 1)?.remove(0);
    ensure!(Some(&shop.spec.base.image) == first.progress.image.as_ref(), "{:?}", shop.spec.base);

    cloud.push("runtime", "2", &recipe("runtime", DEBIAN, ""))?;
    let explained = cloud.local.ovenbird_json(&["explain", "runtime"], false)?;
    ensure!(explained.to_string().contains("`content` has another content"), "{explained}");
    let start = Instant::now();
    let second = cloud.bake(&["runtime"])?;
    ensure!(
        second.progress.status == Status::Promoted && second.progress.image != first.progress.image,
        "{:?}",
        second.progress.failure
    );
    let shop = cloud.ended("shop", 2)?.remove(0);
    eprintln!(
        "a byte of the runtime, to the application promoted on it: {:.1} s",
        start.elapsed().as_secs_f64()
    );
    ensure!(
        shop.spec.trigger == "cascade" && shop.progress.status == Status::Promoted,
        "{:?}",
        shop.progress.failure
    );
    ensure!(Some(&shop.spec.base.image) == second.progress.image.as_ref());
    ensure!(
        shop.spec
            .cascade
            .as_ref()
            .is_some_and(|parent| parent.bake == second.spec.id && parent.generation == 2)
    );
    let explained =
        cloud.local.ovenbird_json(&["explain", "shop", "--bake", shop.spec.id.as_str()], false)?;
    ensure!(
        explained["inputs"][0]["changed"] == true && explained["inputs"][4]["changed"] == false,
        "{explained}"
    );

    let image = shop.progress.image.context("no image")?;
    let links = cloud.local.ovenbird_json(&["lineage", image.as_str()], false)?;
    let pipelines: Vec<Option<&str>> = links["lineage"]
        .as_array()
        .context("no links")?
        .iter()
        .map(|link| link["pipeline"].as_str())
        .collect();
    ensure!(pipelines == [Some("shop"), Some("runtime"), None], "{links}");
    ensure!(
        links["lineage"][2]["name"].as_str().is_some_and(|name| name.starts_with("debian-12")),
        "{links}"
    );
    cloud.local.ovenbird(&["show", shop.spec.id.as_str()])?;
    cloud.local.ovenbird(&["explain", "shop"])
}

/// A root file system becomes an image, and a bake's base; what can't be one is told, and leaves nothing.
fn imported(cloud: &Cloud) -> Result<()> {
    let bases = fs::read_dir(cloud.home.join("base"))?.flatten().map(|entry| entry.path());
    let base =
        bases.into_iter().find(|path| path.is_dir() && path.extension().is_none()).context("no base")?;
    let import =
        |root: &str, name: &str| cloud.local.ovenbird_says(&["local", "import", root, "--name", name]);
    let start = Instant::now();
    let (status, said) = import(base.to_str().context("path")?, "elsewhere")?;
    ensure!(status == Some(0) && said.contains("name = \"elsewhere\""), "{said}");
    eprintln!("a root file system was imported in {:.1} s", start.elapsed().as_secs_f64());
    let on_it = "newest = { owner = \"self\", name = \"elsewhere\" }";
    cloud.push("on-imported", "1", &recipe("on-imported", on_it, ""))?;
    let bake = cloud.bake(&["on-imported"])?;
    ensure!(bake.progress.status == Status::Promoted, "{:?}", bake.progress.failure);
    ensure!(said.contains(bake.spec.base.image.as_str()), "{} is not in {said}", bake.spec.base.image);

    let container = cloud.home.join("container");
    fs::create_dir_all(container.join("bin"))?;
    let container = container.to_str().context("path")?;
    for (root, name, words) in [
        (container, "container", "it has neither `/sbin/init` nor systemd"),
        ("/nowhere/root.tar", "nothing", "No such file"),
        (base.to_str().context("path")?, "elsewhere", "AMI name elsewhere is already in use"),
    ] {
        let (status, said) = import(root, name)?;
        ensure!(status == Some(1) && said.contains(words), "no {words:?} in {said}");
    }
    let left = fs::read_dir(cloud.home.join("run/imports"))?.count();
    ensure!(left == 0, "{left} roots are left");
    Ok(())
}

/// A failed bake leaves its builder when that was asked for, says how to get in, and `clean` removes it.
fn kept_builder(cloud: &Cloud) -> Result<()> {
    cloud.push("broken", "1", &recipe("broken", DEBIAN, "[[step]]\nshell = \"echo it broke; exit 3\"\n"))?;
    let failed = cloud.bake(&["broken", "--keep-builder"])?;
    let (failure, builder) =
        (failed.progress.failure.context("it did not fail")?, failed.progress.builder.context("no builder")?);
    ensure!(failure.error == "StepFailed", "{failure:?}");
    let way_in = format!("`aws ssm start-session --target {builder}`");
    ensure!(failure.cause.contains(&way_in) && failure.cause.contains("until 20"), "{}", failure.cause);
    ensure!(cloud.alive()? == [builder.as_str()]);
    let look = ["--document-name", "AWS-RunShellScript", "--instance-ids", builder.as_str()];
    let sent = cloud
        .local
        .aws(&[&["ssm", "send-command", "--parameters", "commands=cat /opt/broken"], &look[..]].concat())?;
    ensure!(sent["Command"]["CommandId"].is_string(), "nobody can look at it: {sent}");
    let shell = ["local", "shell", builder.as_str(), "--", "sh", "-c", "cat /opt/broken; hostname; exit 7"];
    let said = cloud.local.ovenbird_says(&shell)?;
    ensure!(said.0 == Some(7) && said.1.starts_with("1ip-"), "{said:?}");
    for arguments in [&["local", "shell", "i-nobody"][..], &["open", "i-nobody", "80"]] {
        let said = cloud.local.ovenbird_says(arguments)?;
        ensure!(said.0 == Some(1) && said.1.contains("instance `i-nobody` isn't here"), "{said:?}");
    }
    cloud.local.ovenbird(&["clean", failed.spec.id.as_str()])?;
    ensure!(cloud.alive()? == [builder.as_str()], "it was removed before anybody agreed");
    cloud.local.ovenbird(&["clean", failed.spec.id.as_str(), "--yes"])?;
    within("the builder gone", PATIENCE, || {
        let alive = cloud.alive()?;
        ensure!(alive.is_empty(), "{alive:?}");
        Ok(())
    })
}
