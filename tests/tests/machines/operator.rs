//! An operator's day: what is live, what a bake does, what it printed and found, and who pushed what.

mod stands;

use std::{
    fs,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use ovenbird_core::store::keys;
use ovenbird_tests::{
    clients::{repository, within},
    sample,
};
use serde_json::Value;

use self::stands::{another_home, completion, ports, standing};
use crate::{Cloud, PATIENCE};

/// What a terminal would obey: a title, a colour, and a text that turns.
const ORDERS: &str = r"\\033]0;gone\\007\\033[31mred\\033[0m \\342\\200\\256turned";

fn recipe(step: &str) -> String {
    format!(
        r#"
pipeline = "desk"
base.parameter = "/aws/service/debian/release/12/latest/amd64"
promote = {{ channel = "production", parameter = "/images/desk/production" }}
artifact.to = "/opt/desk"
test = [
    {{ name = "is there", command = "test -s /opt/desk" }},
    {{ name = "says so", command = "grep -q good /opt/desk", within = "1s" }},
]
[[step]]
name = "tells"
shell = "printf '{ORDERS}\\n'; {step}"
"#
    )
}

fn says(cloud: &Cloud, arguments: &[&str], status: i32) -> Result<String> {
    let (code, said) = cloud.local.ovenbird_says(arguments)?;
    ensure!(code == Some(status), "`ovenbird {}` ended with {code:?}: {said}", arguments.join(" "));
    let obeyed = said.contains(['\u{1b}', '\u{202e}', '\u{7}']);
    ensure!(!obeyed, "`ovenbird {}` said {said:?}", arguments.join(" "));
    Ok(said)
}

fn has(said: &str, words: &[&str]) -> Result<()> {
    let missing: Vec<_> = words.iter().filter(|word| !said.contains(**word)).collect();
    ensure!(missing.is_empty(), "no {missing:?} in {said}");
    Ok(())
}

#[test]
fn every_question_of_an_operator_has_an_answer() -> Result<()> {
    let Some(cloud) = Cloud::up("operator", 4687)? else { return Ok(()) };
    let folder = cloud.home.join("desk");
    fs::create_dir_all(&folder)?;
    let path = |name: &str| folder.join(name).display().to_string();
    let push = |step: &str, message: &str| -> Result<String> {
        fs::write(path("recipe.toml"), recipe(step))?;
        says(&cloud, &["recipe", "push", &path("recipe.toml"), "--message", message], 0)
    };
    let bake = |content: &str, options: &[&str], status: i32| -> Result<String> {
        fs::write(path("app"), content)?;
        says(&cloud, &[&["bake", "desk", "--artifact", &path("app")], options].concat(), status)
    };
    let queue = listen(&cloud)?;
    // A first version, that is shown while it is made.
    push("for i in 1 2 3 4; do echo line $i; sleep 1; done", "the first")?;
    has(&says(&cloud, &["status"], 0)?, &["desk/production"])?;
    let said = bake("good 1", &["--junit", &path("first.xml")], 0)?;
    has(&said, &["tells (1 of 1)", "line 2", "promoted ami-"])?;
    let xml = fs::read_to_string(path("first.xml"))?;
    has(&xml, &["classname=\"desk\" name=\"bake\"", "classname=\"desk.tests\" name=\"says so\""])?;
    has(&says(&cloud, &["logs", "desk"], 0)?, &["1 tells", "red \u{fffd}turned", "line 4"])?;
    let first = shown(&cloud, "desk@latest")?;
    let image = first["image"].as_str().context("an image")?.to_owned();

    terminals(&cloud, &path)?;
    documents(&cloud, &image)?;

    // One whose tests fail is not promoted, and each failure is there in full.
    let said = bake("bad", &["--junit", &path("second.xml")], 1)?;
    has(&said, &["FAIL says so", "failed in stage validation"])?;
    has(&fs::read_to_string(path("second.xml"))?, &["<failure message=", "failures=\"1\""])?;
    has(&says(&cloud, &["tests", "desk"], 0)?, &["ok ", "is there", "FAIL", "says so"])?;
    let said = says(&cloud, &["list", "--status", "failed"], 0)?;
    has(&said, &["TestsFailed"])?;
    ensure!(!said.contains("promoted"), "{said}");

    hears(&cloud, &queue, &["Image Baked", "Image Promoted", "Bake Failed"])?;

    // An artifact that is baked by hand starts no second bake, and one that isn't to be promoted is nobody's newest.
    let count = cloud.local.bakes("desk", 20)?.len();
    has(&bake("good 2", &["--no-promote"], 0)?, &["validated ami-"])?;
    ensure!(cloud.local.bakes("desk", 20)?.len() == count + 1, "its upload started another bake");
    let newest = shown(&cloud, "desk")?;
    ensure!(newest["artifact"]["key"] == "artifacts/desk/unpromoted/app", "{newest}");
    ensure!(newest["by"].as_str().is_some_and(|by| !by.is_empty()), "{newest}");
    has(&says(&cloud, &["explain", "desk"], 0)?, &["artifacts/desk/app"])?;

    // What is live, and what is wrong with it.
    let said = says(&cloud, &["status", "desk"], 0)?;
    has(&said, &[&image, "artifacts/desk/app", "TestsFailed", "the newest"])?;
    cloud.local.aws(&[
        "ssm",
        "put-parameter",
        "--overwrite",
        "--type",
        "String",
        "--name",
        "/images/desk/production",
        "--value",
        newest["image"].as_str().context("an image")?,
    ])?;
    // It is there when Systems Manager has looked at the image.
    let written = || -> Result<bool> {
        let read = cloud.local.aws(&["ssm", "get-parameter", "--name", "/images/desk/production"])?;
        Ok(read["Parameter"]["Value"] == newest["image"])
    };
    let begun = std::time::Instant::now();
    while !written()? {
        ensure!(begun.elapsed().as_secs() < 30, "the parameter never took the image");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    has(
        &says(&cloud, &["status"], 0)?,
        &["parameter /images/desk/production says", "and not the channel's image"],
    )?;
    has(&says(&cloud, &["show", &image], 0)?, &["exists", "current   in production", "trigger   upload"])?;
    let base = first["base"]["image"].as_str().context("a base")?;
    has(
        &says(&cloud, &["lineage", base, "--down", "--dot"], 0)?,
        &["digraph", &format!("\"{image}\" -> \"{base}\"")],
    )?;

    smallest(&cloud, &path("smallest"))?;
    large(&cloud, &path("large"))?;
    standing(&cloud, &image)?;
    ports(&cloud, &image)?;
    completion(&cloud, &image)?;
    another_home(&cloud)?;

    // Who pushed what; and a bake of a version that isn't current.
    push("exit 4", "it breaks")?;
    let history = cloud.local.ovenbird_json(&["recipe", "history", "desk"], false)?;
    ensure!(history[0]["message"] == "it breaks" && history[0]["current"] == true, "{history}");
    let old = history[1]["version"].as_str().context("a version")?[..9].to_owned();
    has(&says(&cloud, &["recipe", "diff", "desk"], 0)?, &["exit 4", "+shell", "-shell"])?;
    has(
        &says(&cloud, &["recipe", "pull", "desk", "--recipe", &old, "--to", &path("old")], 0)?,
        &["wrote version"],
    )?;
    has(&fs::read_to_string(folder.join("old/recipe.toml"))?, &["line $i"])?;
    has(
        &says(&cloud, &["bake", "desk", "--recipe", &old, "--key", "unpromoted/app"], 0)?,
        &["validated", "not promoted"],
    )?;

    // A recipe that isn't pushed is baked and not promoted; an older one is current again.
    fs::write(path("recipe.toml"), recipe("echo not pushed"))?;
    let here = folder.display().to_string();
    has(
        &says(&cloud, &["bake", "--recipe", &here, "--key", "unpromoted/app", "--label", "git=3f2a91c"], 0)?,
        &["validated", "not promoted"],
    )?;
    has(&says(&cloud, &["logs", "desk"], 0)?, &["not pushed"])?;
    let newest = shown(&cloud, "desk")?;
    ensure!(newest["options"]["labels"]["git"] == "3f2a91c", "{newest}");
    has(&says(&cloud, &["recipe", "revert", "desk"], 0)?, &[&old, "is current again"])?;
    let history = cloud.local.ovenbird_json(&["recipe", "history", "desk"], false)?;
    ensure!(history[0]["version"].as_str().is_some_and(|it| it.starts_with(&old)), "{history}");

    following(&cloud, &push, &path)
}

/// The smallest recipe of the docs is baked, on the base that there is here.
fn smallest(cloud: &Cloud, folder: &str) -> Result<()> {
    let docs = fs::read_to_string(repository().join("docs/recipe.md"))?;
    let shown = docs.split("The smallest recipe:\n\n```toml\n").nth(1).context("no smallest recipe")?;
    let (recipe, _) = shown.split_once("```").context("no end of it")?;
    let base = recipe.lines().find(|line| line.starts_with("parameter = ")).context("no base")?;
    let recipe = recipe
        .replace(base, &format!("parameter = \"{}\"", sample::BASE))
        .replace("\"storefront\"", "\"smallest\"");
    fs::create_dir_all(folder)?;
    fs::write(format!("{folder}/recipe.toml"), recipe)?;
    says(cloud, &["recipe", "push", folder], 0)?;
    has(&says(cloud, &["bake", "smallest"], 0)?, &["promoted ami-"])
}

/// A recipe that would fill the memory of whoever reads it is refused, up to the byte.
fn large(cloud: &Cloud, file: &str) -> Result<()> {
    let bucket = cloud.local.operator()?["bucket"].clone();
    let key = "recipes/large/current.json";
    let object = ["--bucket", bucket.as_str(), "--key", key];
    let most = keys::largest(key);
    // That one holds nothing but spaces is seen once it is read.
    for (bytes, status, word) in [(most, 255, "can't be read"), (most + 1, 1, "has more than 16 MiB")] {
        fs::write(file, vec![b' '; bytes])?;
        cloud.local.aws(&[&["s3api", "put-object", "--body", file][..], &object].concat())?;
        let said = says(cloud, &["recipe", "show", "large"], status)?;
        ensure!(said.contains(word), "{bytes} bytes: {said}");
    }
    cloud.local.aws(&[&["s3api", "delete-object"][..], &object].concat()).map(drop)
}

/// A queue to which EventBridge brings Ovenbird's events; gives its URL.
fn listen(cloud: &Cloud) -> Result<String> {
    let aws = |arguments: &[&str]| cloud.local.aws(arguments);
    let text = |value: &Value| value.as_str().map(str::to_owned).context("a text");
    let url = text(&aws(&["sqs", "create-queue", "--queue-name", "told"])?["QueueUrl"])?;
    let attributes =
        aws(&["sqs", "get-queue-attributes", "--queue-url", &url, "--attribute-names", "QueueArn"])?;
    let target = format!("Id=queue,Arn={}", text(&attributes["Attributes"]["QueueArn"])?);
    aws(&["events", "put-rule", "--name", "told", "--event-pattern", r#"{"source": ["ovenbird"]}"#])?;
    aws(&["events", "put-targets", "--rule", "told", "--targets", &target])?;
    Ok(url)
}

/// These events came, in whatever order, and each is as `docs/events.schema.json` has it.
fn hears(cloud: &Cloud, queue: &str, kinds: &[&str]) -> Result<()> {
    let path = ovenbird_tests::clients::repository().join("docs/events.schema.json");
    let schema: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
    let mut heard = std::collections::BTreeSet::new();
    within("the events", PATIENCE, || {
        let got = cloud.local.aws(&[
            "sqs",
            "receive-message",
            "--queue-url",
            queue,
            "--max-number-of-messages",
            "10",
        ])?;
        for message in got["Messages"].as_array().into_iter().flatten() {
            let event: Value = serde_json::from_str(message["Body"].as_str().context("a body")?)?;
            let kind = event["detail-type"].as_str().context("a kind")?.to_owned();
            conforms(&schema, &kind, &event["detail"])?;
            ensure!(event["detail"]["pipeline"] == "desk", "{event}");
            heard.insert(kind);
        }
        let missing: Vec<_> = kinds.iter().filter(|kind| !heard.contains(**kind)).collect();
        ensure!(missing.is_empty(), "no {missing:?} among {heard:?}");
        Ok(())
    })
}

/// Whether a value is as a schema has a document of it.
fn conforms(schema: &Value, document: &str, value: &Value) -> Result<()> {
    let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
    compiler.add_resource("schema.json", schema.clone()).map_err(|error| anyhow::anyhow!("{error}"))?;
    let pointer = document.replace(' ', "%20");
    let index = compiler
        .compile(&format!("schema.json#/documents/{pointer}"), &mut schemas)
        .map_err(|error| anyhow::anyhow!("{document}: {error:#}"))?;
    if let Err(error) = schemas.validate(value, index) {
        anyhow::bail!("`{document}` isn't as the docs have it: {error:#}\n{value:#}");
    }
    Ok(())
}

/// What is printed for people is no wider than their terminal, and loses nothing on a narrow one.
fn terminals(cloud: &Cloud, path: &dyn Fn(&str) -> String) -> Result<()> {
    let images = regex::Regex::new("ami-[0-9a-f]{17}")?;
    let orders = regex::Regex::new("\u{1b}\\[[0-9;?]*[A-Za-z]")?;
    let answered = ["list", "status", "status desk", "show desk", "explain desk", "channels", "history desk"];
    let more = [
        "recipe history desk",
        "pipeline list",
        "lineage desk",
        "prune --dry-run",
        "prune history",
        "local status",
        "local df",
        "local list",
        "doctor",
        "help",
        "bake --help",
    ];
    let refused = [("pipeline rename desk table", 1), ("show nobody", 1), ("rollback", 2)];
    let answered = answered.into_iter().chain(more).map(|question| (question, 0));
    for (question, exit) in answered.chain(refused) {
        let mut words = std::collections::BTreeSet::new();
        for columns in [60, 80, 200] {
            let log = path("question");
            let command = format!("stty cols {columns} rows 24; exec {} {question}", program()?);
            let status = Command::new("script")
                .args(["--quiet", "--return", "--command", &command, &log])
                .envs([("OVENBIRD_LOCAL", "1"), ("OVENBIRD_PORT", &cloud.local.port.to_string())])
                .env("OVENBIRD_HOME", &cloud.home)
                .current_dir(&cloud.home)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .status()?;
            ensure!(status.code() == Some(exit), "`{question}` at {columns} columns: {status}");
            let seen = fs::read_to_string(&log)?;
            let seen = orders.replace_all(&seen, "");
            let lines = seen.lines().map(str::trim_end).filter(|line| !line.starts_with("Script "));
            for line in lines.clone() {
                ensure!(line.chars().count() <= columns, "`{question}`, wider than {columns}: {line:?}");
            }
            // Images are told whole, at any width.
            let text: String = lines.collect();
            words.insert(images.find_iter(&text).map(|found| found.as_str().to_owned()).collect::<Vec<_>>());
        }
        ensure!(words.len() == 1, "`{question}` tells other images at another width: {words:?}");
    }
    Ok(())
}

/// What is printed for scripts is what `docs/json.schema.json` says, also when a command fails.
fn documents(cloud: &Cloud, image: &str) -> Result<()> {
    let path = ovenbird_tests::clients::repository().join("docs/json.schema.json");
    let schema: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
    for (arguments, document) in [
        (&["list"][..], "list"),
        (&["status"], "status"),
        (&["show", "desk"], "show"),
        (&["show", image], "show"),
        (&["channels"], "channels"),
        (&["explain", "desk"], "explain"),
        (&["lineage", image, "--down"], "lineage"),
        (&["logs", "desk"], "logs"),
        (&["tests", "desk"], "tests"),
        (&["prune", "--dry-run"], "prune"),
        (&["recipe", "history", "desk"], "recipe history"),
        (&["pipeline", "list"], "pipeline list"),
        (&["pipeline", "remove", "desk", "--dry-run"], "pipeline remove"),
        (&["local", "status"], "local status"),
        (&["local", "df"], "local df"),
        (&["local", "list"], "local list"),
        (&["local", "logs", "promote"], "local logs FUNCTION"),
        (&["show", "nobody"], "any, when it fails"),
        (&["local", "logs", "nobody"], "any, when it fails"),
    ] {
        let printed = cloud.local.ovenbird_json(arguments, true)?;
        conforms(&schema, document, &printed).with_context(|| format!("`{}`", arguments.join(" ")))?;
    }
    Ok(())
}

/// A bake that is started and left, taken up again, and given up.
fn following(
    cloud: &Cloud,
    push: &dyn Fn(&str, &str) -> Result<String>,
    path: &dyn Fn(&str) -> String,
) -> Result<()> {
    push(
        "for i in $(seq 60); do echo here is a long line that no narrow terminal can hold, number $i of 60; sleep 1; done",
        "slow",
    )?;
    let started = cloud.local.ovenbird_json(&["bake", "desk", "--detach"], false)?;
    let id = started["bake"].as_str().context("an id")?.to_owned();
    let part = &id[..id.len() - 8];
    has(&says(cloud, &["follow", part, "--timeout", "2s"], 4)?, &["is over", "goes on"])?;
    ensure!(shown(cloud, &id)?["status"] == "running", "following ended it");
    within("output", PATIENCE, || {
        let said = says(cloud, &["show", &id], 0)?;
        ensure!(said.contains("running"), "{said}");
        Ok(())
    })?;
    // At a terminal: no line is wider than it.
    for columns in [60, 80, 200] {
        let log = path(&format!("terminal-{columns}"));
        let command = format!("stty cols {columns} rows 24; exec {} follow desk --timeout 3s", program()?);
        let status = Command::new("script")
            .args(["--quiet", "--return", "--command", &command, &log])
            .envs([("OVENBIRD_LOCAL", "1"), ("OVENBIRD_PORT", &cloud.local.port.to_string())])
            .env("OVENBIRD_HOME", &cloud.home)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()?;
        ensure!(matches!(status.code(), Some(0 | 4)), "{status}");
        let seen = fs::read_to_string(&log)?;
        let drawn: Vec<String> = drawn(&seen);
        ensure!(drawn.iter().any(|line| line.contains("builder")), "{drawn:#?}");
        // A line that fills the terminal ends without a line break. Each row begins with our margin, unless one before
        // it was wider than the terminal and ran on into it.
        for line in &drawn {
            let line: Vec<char> = line.trim_end().chars().collect();
            let ran_on = line.chunks(columns).any(|row| row.iter().take(2).any(|c| *c != ' '));
            ensure!(!ran_on, "wider than {columns}: {:?}", line.iter().collect::<String>());
        }
    }
    // The cloud goes, and comes back without the bake: the follower is still there, and says what to do.
    let log = path("lost");
    let mut follower = Command::new(program()?)
        .args(["follow", &id])
        .envs([("OVENBIRD_LOCAL", "1"), ("OVENBIRD_PORT", &cloud.local.port.to_string())])
        .env("OVENBIRD_HOME", &cloud.home)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log)?)
        .spawn()?;
    let told = |words: &str| {
        within(words, PATIENCE, || {
            let said = fs::read_to_string(&log)?;
            ensure!(said.contains(words), "{said}");
            Ok(())
        })
    };
    told("builder")?;
    // Nobody is there to ask: what is under way is told, and goes on.
    has(
        &says(cloud, &["local", "down"], 2)?,
        &[&format!("bake {id}"), "desk builder", "nothing was stopped"],
    )?;
    ensure!(shown(cloud, &id)?["status"] == "running", "it was stopped without a question");
    cloud.local.ovenbird(&["local", "down", "--yes"])?;
    told("lost sight of it, still trying")?;
    cloud.local.ovenbird(&["local", "up"])?;
    let other = says(cloud, &["--stack", "other", "local", "up"], 1)?;
    has(&other, &["already, with the stack `ovenbird`", "`ovenbird --stack other local up`"])?;
    told("its execution ended without its clean-up")?;
    let status = follower.wait()?;
    ensure!(status.code() == Some(1), "{status}: {}", fs::read_to_string(&log)?);
    says(cloud, &["clean", &id, "--yes"], 0)?;
    has(&says(cloud, &["follow", &id], 1)?, &["failed in stage builder"])
}

/// The lines that a terminal was given to draw, without `script`'s own and without what is longer on purpose: what stays
/// may wrap, what is drawn again and again may not.
fn drawn(seen: &str) -> Vec<String> {
    let orders = regex::Regex::new("\u{1b}\\[[0-9;?]*[A-Za-z]").unwrap_or_else(|error| panic!("{error}"));
    let plain = orders.replace_all(seen, "\n");
    let lines = plain.split(['\n', '\r']).map(str::to_owned);
    let told = |line: &String| {
        line.starts_with("Script ")
            || line.starts_with("bake ")
            || line.starts_with("the time to follow")
            || line.contains("goes on")
            || line.contains("ovenbird ")
    };
    lines.filter(|line| !told(line)).collect()
}

fn shown(cloud: &Cloud, bake: &str) -> Result<Value> {
    cloud.local.ovenbird_json(&["show", bake], false)
}

fn program() -> Result<String> {
    let here = std::env::current_exe()?;
    let beside = here.ancestors().skip(1).take(2).map(|folder| folder.join("ovenbird"));
    let found = beside.into_iter().find(|path| path.is_file());
    Ok(found.map_or_else(|| "ovenbird".to_owned(), |path| path.display().to_string()))
}
