//! The pipeline on the local cloud with real machines: every trigger, every way to fail, and a killed supervisor.
//!
//! It is one test, because it is one cloud.

use std::{fs, path::Path, process::Command, time::Instant};

use anyhow::{Context as _, Result, ensure};
use ovenbird_core::domain::bake::{Bake, Status};
use ovenbird_testkit::walk::cost::{is_landmark, way_of};
use ovenbird_tests::{clients::within, mailbox::Mailbox};
use serde_json::Value;

use crate::{
    Cloud, PATIENCE, access::nobody_else_is_answered, attributes::attributes, lost::lost, stopped::stopped,
};

const PORT: u16 = 14_566;

#[test]
fn the_pipeline_works_on_real_machines() -> Result<()> {
    let Some(cloud) = Cloud::up("end-to-end", PORT)? else { return Ok(()) };
    triggers(&cloud)?;
    failures(&cloud)?;
    bad_input(&cloud)?;
    schedule(&cloud)?;
    stopped(&cloud)?;
    spot(&cloud)?;
    lost(&cloud)?;
    nobody_else_is_answered(&cloud)?;
    killed(&cloud)
}

impl Cloud {
    /// Pushes a recipe of a pipeline, made of these steps and tests.
    pub fn push_steps(&self, pipeline: &str, body: &str) -> Result<()> {
        let folder = self.home.join("recipes").join(pipeline);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("setup.sh"), "#!/bin/sh\necho \"$1\" > /opt/by-script\n")?;
        let recipe = format!(
            "pipeline = \"{pipeline}\"\n[base]\nnewest = {{ owner = \"136693071363\", name = \"debian-12-amd64-*\" }}\n\
             [artifact]\nto = \"/opt/app\"\n[promote]\nchannel = \"live\"\nparameter = \"/images/{pipeline}/live\"\n\
             [retain]\nnewest = 1\ndays = 0\nsoak = 0\n{body}"
        );
        fs::write(folder.join("recipe.toml"), recipe)?;
        self.local.ovenbird(&["recipe", "push", folder.to_str().context("path")?])
    }

    pub fn upload(&self, key: &str, content: &str) -> Result<()> {
        let file = self.home.join("artifact");
        fs::write(&file, content)?;
        let file = file.to_str().context("path")?;
        self.local
            .aws(&["s3api", "put-object", "--bucket", self.bucket(), "--key", key, "--body", file])
            .map(drop)
    }

    /// The executions of the bake machine that ended well, by name.
    fn ended_well(&self) -> Result<Vec<String>> {
        let arguments = ["--status-filter", "SUCCEEDED", "--state-machine-arn", self.machine("bake")];
        let answer = self.local.aws(&[&["stepfunctions", "list-executions"], &arguments[..]].concat())?;
        let names = answer["executions"].as_array().context("no list")?.iter();
        Ok(names.filter_map(|one| one["name"].as_str().map(str::to_owned)).collect())
    }

    /// Waits for the newest bake of a pipeline to end, if it isn't one of those known.
    pub fn next_ended(&self, pipeline: &str, known: usize) -> Result<Bake> {
        within("the bake", PATIENCE, || {
            let bakes = self.local.bakes(pipeline, 20)?;
            ensure!(bakes.len() > known, "no bake yet");
            let bake = bakes.into_iter().next().context("no bake")?;
            ensure!(bake.progress.status != Status::Running, "in stage {}", bake.progress.stage);
            Ok(bake)
        })
    }

    /// Whether MiniStack's engine took an execution the way on which the walk takes this scenario.
    fn goes_as_walked(&self, machine: &str, execution: &str, scenario: &str) -> Result<()> {
        let arn = self.machine(machine).replace(":stateMachine:", ":execution:");
        let arn = format!("{arn}:{execution}");
        let look = ["stepfunctions", "get-execution-history", "--execution-arn", &arn];
        // The record says how a bake ended a moment before its execution ends.
        let history = within("the execution's end", PATIENCE, || {
            let history = self.local.aws(&look)?;
            let last = history.pointer("/events").and_then(Value::as_array).and_then(|events| events.last());
            let ended = ["ExecutionSucceeded", "ExecutionFailed"];
            ensure!(last.is_some_and(|event| ended.contains(&event["type"].as_str().unwrap_or_default())));
            Ok(history)
        })?;
        let events = history["events"].as_array().context("no events")?.iter();
        let mut way: Vec<&str> = Vec::new();
        for name in events.filter_map(|event| event.pointer("/stateEnteredEventDetails/name")?.as_str()) {
            if !way.contains(&name) {
                way.push(name);
            }
        }
        way.retain(|state| is_landmark(state));
        let walked = way_of(scenario);
        ensure!(way == walked, "{scenario}: MiniStack went {way:?}, the walk {walked:?}");
        Ok(())
    }

    /// Every instance, image and snapshot that carries a bake's tag and isn't gone.
    pub fn left(&self) -> Result<Vec<String>> {
        let tag = "Name=tag-key,Values=ovenbird:bake";
        let alive = "Name=instance-state-name,Values=pending,running,stopping,stopped";
        let instances = self.local.aws(&["ec2", "describe-instances", "--filters", tag, alive])?;
        let reservations = instances["Reservations"].as_array().context("no reservations")?;
        let mut left: Vec<String> =
            reservations.iter().map(|one| one["Instances"][0]["InstanceId"].to_string()).collect();
        let (key, kinds) = ("Name=key,Values=ovenbird:bake", "Name=resource-type,Values=image,snapshot");
        let tagged = self.local.aws(&["ec2", "describe-tags", "--filters", key, kinds])?;
        left.extend(
            tagged["Tags"].as_array().context("no tags")?.iter().map(|tag| tag["ResourceId"].to_string()),
        );
        Ok(left)
    }

    pub fn parameter(&self, pipeline: &str) -> Result<String> {
        let name = format!("/images/{pipeline}/live");
        let answer = self.local.aws(&["ssm", "get-parameter", "--name", &name])?;
        Ok(answer["Parameter"]["Value"].as_str().context("no value")?.to_owned())
    }
}

pub const GOOD: &str = r#"
[[step]]
shell = "echo hello > /opt/by-shell"
[[step]]
script = { source = "setup.sh", args = ["a b; c"] }
[[step]]
file = { to = "/opt/by-file", content = "hello\n", mode = "0600" }
[[test]]
command = "cat /opt/by-script"
stdout-contains = "a b; c"
[[test]]
file = { path = "/opt/by-file", contains = "hello" }
"#;

/// The upload's event, a hand with and without a key; a fresh machine of the image has everything and no trace of us.
fn triggers(cloud: &Cloud) -> Result<()> {
    cloud.push_steps("probe", GOOD)?;
    cloud.upload("artifacts/probe/one", "1")?;
    let one = cloud.next_ended("probe", 0)?;
    ensure!(
        one.progress.status == Status::Promoted && one.spec.trigger == "upload",
        "{:?}",
        one.progress.failure
    );
    let image = one.progress.image.clone().context("no image")?;
    ensure!(cloud.parameter("probe")? == image.as_str());
    attributes(cloud, image.as_str())?;
    cloud.goes_as_walked("bake", one.spec.id.as_str(), "an upload, baked and promoted")?;

    // The same inputs again, by hand and with the key: the image is there already.
    for arguments in [&["bake", "probe"][..], &["bake", "probe", "--key", "artifacts/probe/one"]] {
        let start = Instant::now();
        let again: Bake = serde_json::from_value(cloud.local.ovenbird_json(arguments, false)?)?;
        ensure!(
            again.progress.reused
                && again.progress.image == Some(image.clone())
                && again.spec.trigger == "manual"
        );
        cloud.goes_as_walked("bake", again.spec.id.as_str(), "an unchanged artifact, reused")?;
        eprintln!("reuse in {:.1} s", start.elapsed().as_secs_f64());
    }

    let file = cloud.home.join("artifact-two");
    fs::write(&file, "2")?;
    let two =
        cloud.local.ovenbird_json(&["bake", "probe", "--artifact", file.to_str().context("path")?], false)?;
    let two: Bake = serde_json::from_value(two)?;
    ensure!(two.progress.status == Status::Promoted && two.spec.trigger == "upload" && !two.progress.reused);
    // A third: the image of the second is what the channel goes back to, and only that of the first may be retired.
    fs::write(&file, "three")?;
    let three =
        cloud.local.ovenbird_json(&["bake", "probe", "--artifact", file.to_str().context("path")?], false)?;
    let three: Bake = serde_json::from_value(three)?;
    ensure!(three.progress.status == Status::Promoted, "{:?}", three.progress.failure);

    sealed(cloud, image.as_str())
}

/// A machine from the image: the artifact is there, the builder's traces are not.
fn sealed(cloud: &Cloud, image: &str) -> Result<()> {
    let profile = "Name=ovenbird-builder-us-east-1";
    let arguments = [
        "ec2",
        "run-instances",
        "--image-id",
        image,
        "--instance-type",
        "t3.micro",
        "--iam-instance-profile",
        profile,
    ];
    let launched = cloud.local.aws(&arguments)?;
    ensure!(launched["Instances"][0]["MetadataOptions"]["HttpTokens"] == "required", "{launched}");
    let id = launched["Instances"][0]["InstanceId"].as_str().context("no instance")?.to_owned();
    let script = "commands=cat /opt/app /opt/by-shell; ls /var/lib/ovenbird 2>&1; \
                  grep -rl X-Amz-Signature /var/lib /var/log /root /etc 2>/dev/null";
    let send = [
        "ssm",
        "send-command",
        "--document-name",
        "AWS-RunShellScript",
        "--instance-ids",
        &id,
        "--parameters",
        script,
    ];
    let sent = within("the agent", PATIENCE, || cloud.local.aws(&send))?;
    let command = sent["Command"]["CommandId"].as_str().context("no command")?.to_owned();
    let look = ["ssm", "get-command-invocation", "--command-id", &command, "--instance-id", &id];
    let output = within("the command", PATIENCE, || {
        let answer = cloud.local.aws(&look)?;
        ensure!(answer["Status"] == "Success" || answer["Status"] == "Failed", "{answer}");
        Ok(answer["StandardOutputContent"].as_str().unwrap_or_default().to_owned())
    })?;
    ensure!(output.starts_with("1hello\n") && output.contains("No such file"), "{output}");
    ensure!(output.lines().count() == 2, "a trace is left: {output}");
    cloud.local.aws(&["ec2", "terminate-instances", "--instance-ids", &id]).map(drop)
}

/// Each ends FAILED with a cause that says where and why, leaves nothing, and the channel as it was; and the topic's
/// subscribers hear of it.
fn failures(cloud: &Cloud) -> Result<()> {
    let channel = cloud.parameter("probe")?;
    let before = cloud.left()?;
    let mailbox = Mailbox::subscribe(&cloud.local)?;
    let mut told = Vec::new();
    let step = GOOD.replace("echo hello > /opt/by-shell", "echo it broke here; exit 7");
    // With another step, too: an image that is there already is only tested anew when its tests change.
    let test = GOOD
        .replace("echo hello", "echo hello again")
        .replace("a b; c\"\n[[test]]", "something else\"\nwithin = \"1s\"\n[[test]]");
    let never =
        format!("{}[deadlines]\nbuilder = \"4s\"\n", GOOD.replace("echo hello", "sleep 30; echo hello"));
    for (scenario, body, error, stage, words) in [
        ("a failing step", &step, "StepFailed", "builder", &["1 shell", "exit 7", "it broke here"][..]),
        ("a failing test", &test, "TestsFailed", "validation", &["1 of 2 tests failed", "something else"]),
        (
            "a builder that is never heard of",
            &never,
            "DeadlinePassed",
            "builder",
            &["deadline of 4 s", "hint:"],
        ),
    ] {
        cloud.push_steps("probe", body)?;
        let bake: Bake = serde_json::from_value(cloud.local.ovenbird_json(&["bake", "probe"], true)?)?;
        cloud.goes_as_walked("bake", bake.spec.id.as_str(), scenario)?;
        let failure = bake.progress.failure.context("it did not fail")?;
        ensure!(failure.error == error && failure.stage.as_str() == stage, "{failure:?}");
        for word in words {
            ensure!(failure.cause.contains(word), "no {word:?} in {}", failure.cause);
        }
        within("nothing left", PATIENCE, || {
            let left = cloud.left()?;
            ensure!(left == before, "{error} left {left:?}, not {before:?}");
            Ok(())
        })?;
        ensure!(cloud.parameter("probe")? == channel, "{error} moved the channel");
        let id = bake.spec.id;
        mailbox.hear(&format!("Ovenbird: pipeline probe: bake {id} failed in stage {stage}: {error}: "))?;
        told.push(id);
    }
    // Step Functions tells of each, too. By now whatever was to come of the first ones has come.
    for bake in told {
        let heard = mailbox.of(bake.as_str())?;
        ensure!(heard.len() == 1, "not once: {heard:?}");
        ensure!(heard[0].ends_with(&format!("More of it: ovenbird show {bake}")), "{heard:?}");
    }
    cloud.push_steps("probe", GOOD)
}

/// Clear errors before anything starts.
fn bad_input(cloud: &Cloud) -> Result<()> {
    let machine = cloud.machine("bake");
    let before = cloud.left()?;
    for (number, (input, words)) in [
        (r#"{"pipeline": "nobody"}"#, "no recipe for pipeline `nobody`"),
        (r#"{"artifact": "artifacts/probe/../x"}"#, "climbing"),
        (r#"{"artifact": "elsewhere/x"}"#, "outside `artifacts/`"),
        (r#"{"artifact": "artifacts/probe/none"}"#, "is not there"),
        (r#"{"pipelin": "probe"}"#, "unknown field `pipelin`"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("bad-{number}");
        let arguments = [
            "stepfunctions",
            "start-execution",
            "--state-machine-arn",
            machine,
            "--name",
            &name,
            "--input",
            input,
        ];
        let arn = cloud.local.aws(&arguments)?["executionArn"].as_str().context("no execution")?.to_owned();
        let ended = within("the execution", PATIENCE, || {
            let answer =
                cloud.local.aws(&["stepfunctions", "describe-execution", "--execution-arn", &arn])?;
            ensure!(answer["status"] != "RUNNING");
            Ok(answer)
        })?;
        ensure!(ended["status"] == "FAILED", "{ended}");
        let cause = ended["cause"].as_str().unwrap_or_default();
        ensure!(cause.contains(words) && cause.contains("hint: "), "{input}: {cause}");
    }
    // They failed before they had a record, and are found all the same.
    for (arguments, status, words) in [
        (&["show", "bad-0"][..], 1, "no recipe for pipeline `nobody`"),
        (&["show", "bad-"], 1, "is not on record"),
        (&["list"], 0, "NoRecipe (failed before it had a record)"),
        (&["list", "nobody", "--status", "failed"], 0, "bad-0"),
        (&["list", "nothing"], 1, "no recipe for pipeline `nothing`"),
        (&["show", "bad-none"], 1, "is not on record"),
        (&["bake", "probe", "--artifact", "none.jar"], 1, "artifact `none.jar`: No such file"),
    ] {
        let said = cloud.local.ovenbird_says(arguments)?;
        ensure!(said.0 == Some(status) && said.1.contains(words), "{arguments:?}: {said:?}");
    }
    // An empty artifact, by upload.
    cloud.upload("artifacts/probe/empty", "")?;
    // A folder, as S3's console makes one: its execution ends well, and there is no bake of it.
    let well = cloud.ended_well()?;
    cloud.upload("artifacts/probe/folder/", "")?;
    let folder = within("the folder's execution", PATIENCE, || {
        cloud.ended_well()?.into_iter().find(|name| !well.contains(name)).context("none ended well yet")
    })?;
    let said = cloud.local.ovenbird_says(&["show", &folder])?;
    ensure!(said.0 == Some(1) && said.1.contains("is not on record"), "{said:?}");
    ensure!(cloud.left()? == before);
    Ok(())
}

/// The schedule starts the prune state machine, which retires the image that nothing refers to.
fn schedule(cloud: &Cloud) -> Result<()> {
    let machine = cloud.machine("prune");
    let schedules = cloud.local.aws(&["scheduler", "list-schedules"])?;
    let name = schedules["Schedules"][0]["Name"].as_str().context("no schedule")?.to_owned();
    let schedule = cloud.local.aws(&["scheduler", "get-schedule", "--name", &name])?;
    let target = schedule["Target"].to_string();
    let update = [
        "scheduler",
        "update-schedule",
        "--name",
        &name,
        "--schedule-expression",
        "rate(1 minute)",
        "--flexible-time-window",
        "Mode=OFF",
        "--target",
        &target,
    ];
    cloud.local.aws(&update)?;
    within("a scheduled prune", PATIENCE, || {
        let list = [
            "stepfunctions",
            "list-executions",
            "--state-machine-arn",
            machine,
            "--status-filter",
            "SUCCEEDED",
        ];
        let answer = cloud.local.aws(&list)?;
        let name = answer.pointer("/executions/0/name").and_then(Value::as_str).context("none yet")?;
        cloud.goes_as_walked("prune", name, "the scheduled prune retires an image")
    })?;
    within("the old image retired", PATIENCE, || {
        let images = cloud.local.aws(&["ec2", "describe-images", "--owners", "self"])?;
        let ids: Vec<&Value> =
            images["Images"].as_array().context("no images")?.iter().map(|one| &one["ImageId"]).collect();
        // The channel's own, and the one that it goes back to.
        ensure!(ids.len() == 2, "{ids:?}");
        ensure!(ids.contains(&&Value::String(cloud.parameter("probe")?)), "{ids:?}");
        Ok(())
    })
}

/// A spot builder can't be stopped: it is sealed running, and EC2 takes it down for the image and boots it again.
fn spot(cloud: &Cloud) -> Result<()> {
    let builder = "[builder]\nspot = true\nvolume = { gib = 20, kms-key = \"alias/aws/ebs\" }\n\
                   tags = { team = \"shop\" }\n";
    cloud.push_steps("spot", &format!("{builder}{GOOD}"))?;
    cloud.upload("artifacts/spot/one", "1")?;
    let bake = cloud.next_ended("spot", 0)?;
    ensure!(bake.progress.status == Status::Promoted, "{:?}", bake.progress.failure);
    cloud.goes_as_walked("bake", bake.spec.id.as_str(), "a spot builder, imaged running")?;
    let id = bake.progress.builder.context("no builder")?;
    let shown = cloud.local.aws(&["ec2", "describe-instances", "--instance-ids", id.as_str()])?;
    ensure!(
        shown.pointer("/Reservations/0/Instances/0/InstanceLifecycle") == Some(&"spot".into()),
        "{shown}"
    );
    let image = bake.progress.image.context("no image")?;
    let shown = cloud.local.aws(&["ec2", "describe-images", "--image-ids", image.as_str()])?;
    let disk = &shown["Images"][0]["BlockDeviceMappings"][0]["Ebs"];
    ensure!(disk["VolumeSize"] == 20 && disk["Encrypted"] == true, "{shown}");
    let tags = shown["Images"][0]["Tags"].as_array().context("no tags")?;
    ensure!(tags.iter().any(|tag| tag["Key"] == "team" && tag["Value"] == "shop"), "{shown}");
    sealed(cloud, image.as_str())
}

/// SIGKILL in the middle of a bake: no process, no mount; afterwards the cloud comes up with its images.
fn killed(cloud: &Cloud) -> Result<()> {
    let image = cloud.parameter("probe")?;
    cloud.upload("artifacts/probe/three", "3")?;
    within("a builder", PATIENCE, || {
        let running = ["ec2", "describe-instances", "--filters", "Name=instance-state-name,Values=running"];
        let answer = cloud.local.aws(&running)?;
        ensure!(answer["Reservations"].as_array().is_some_and(|all| !all.is_empty()), "none yet");
        Ok(())
    })?;
    cloud.kill()?;
    within("no process and no mount", PATIENCE, || {
        let processes = processes(&cloud.home)?;
        ensure!(processes.is_empty(), "still there: {processes:?}");
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let home = cloud.home.to_str().context("path")?;
        ensure!(!mounts.contains(home), "still mounted: {mounts}");
        Ok(())
    })?;
    cloud.local.ovenbird(&["local", "up"])?;
    let images = cloud.local.aws(&["ec2", "describe-images", "--image-ids", &image])?;
    ensure!(images["Images"][0]["State"] == "available", "{images}");
    let by_parameter = "resolve:ssm:/images/probe/live";
    let launched = cloud.local.aws(&[
        "ec2",
        "run-instances",
        "--image-id",
        by_parameter,
        "--instance-type",
        "t3.micro",
    ])?;
    ensure!(launched["Instances"][0]["ImageId"] == image.as_str(), "{launched}");
    let id = launched["Instances"][0]["InstanceId"].as_str().context("no instance")?.to_owned();
    cloud.local.aws(&["ec2", "wait", "instance-running", "--instance-ids", &id])?;
    cloud.local.ovenbird(&["local", "down", "--yes"])?;
    ensure!(processes(&cloud.home)?.is_empty());
    Ok(())
}

/// Processes whose command line or root is of this home.
fn processes(home: &Path) -> Result<Vec<String>> {
    let output = Command::new("ps").args(["-eo", "pid,args", "--no-headers"]).output()?;
    let text = String::from_utf8(output.stdout)?;
    let home = home.to_str().context("path")?;
    Ok(text.lines().filter(|line| line.contains(home)).map(str::to_owned).collect())
}
