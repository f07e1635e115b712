//! `[[test]]`: what must hold of the configured machine.

use std::time::Duration;

use super::name;
use crate::domain::recipe::{
    Http, Test, TestKind,
    reader::{Fields, Reader},
};

/// A test of a recipe whose tests may take so long together: `deadlines.validation`, where it was understood.
pub(super) fn test(
    reader: &mut Reader<'_>,
    mut test: Fields,
    index: usize,
    validation: Option<Duration>,
) -> Option<Test> {
    let word = test.choice?;
    let mut within = test.time("within");
    let kind = match word {
        "http" => test.table(word).and_then(|mut http| {
            if http.given("within") {
                if test.given("within") {
                    let problem = "`within` is given twice";
                    reader.wrong(&http.place("within"), problem, "Keep the one in `[[test]]`");
                }
                within = http.time("within");
            }
            request(reader, http)
        }),
        "command" => command(&mut test),
        "port" => test.number(word).map(|number| TestKind::Port { number }),
        "file" => test.table(word).and_then(|table| file(reader, table)),
        "service" => test.table(word).and_then(|table| service(reader, table, validation)),
        "process" => test.table(word).and_then(|table| process(reader, table, validation)),
        "package" => test.table(word).and_then(package),
        "user" => test.table(word).and_then(user),
        _ => None,
    };
    Some(Test { name: name(&mut test, index, word), kind: kind?, within: within? })
}

fn request(reader: &mut Reader<'_>, mut http: Fields) -> Option<TestKind> {
    let method = http.text("method")?;
    if http.given("body") && ["GET", "HEAD"].contains(&method.as_str()) {
        let problem = format!("a {method} request has no `body`");
        reader.wrong(&http.place("body"), problem, "Add `method = \"POST\"`");
    }
    let of_body = http.any_of(&["body-contains", "body-matches", "json"]);
    if let Some(key) = of_body.filter(|_| method == "HEAD") {
        let problem = format!("`{key}` can't hold: the answer to HEAD has no body");
        reader.wrong(&http.place(key), problem, "Use `method = \"GET\"`");
    }
    let body_matches = http.text("body-matches");
    // By the runner's own engine: what is accepted here works there.
    if let Some(Err(error)) = body_matches.as_deref().map(regex_lite::Regex::new) {
        let problem = format!("`body-matches` is no regular expression: {error}");
        let hint = "Write it in single quotes, so that `\\` is only a `\\`";
        reader.wrong(&http.place("body-matches"), problem, hint);
    }
    Some(TestKind::Http(Http {
        url: http.text("url")?,
        method,
        headers: http.map("headers").unwrap_or_default(),
        body: http.text("body"),
        status: http.number("status")?,
        body_contains: http.text("body-contains"),
        body_matches,
        json: http.json("json").unwrap_or_default(),
    }))
}

fn command(test: &mut Fields) -> Option<TestKind> {
    Some(TestKind::Command {
        run: test.text("command")?,
        exit: test.number("exit")?,
        stdout_contains: test.text("stdout-contains"),
        stderr_contains: test.text("stderr-contains"),
        junit: test.text("junit"),
    })
}

fn file(reader: &mut Reader<'_>, mut file: Fields) -> Option<TestKind> {
    let exists = file.flag("exists")?;
    if let Some(key) = file.any_of(&["contains", "mode", "owner"]).filter(|_| !exists) {
        let problem = format!("`{key}` can't hold of a file that shall not exist");
        reader.wrong(&file.place(key), problem, "Leave it or `exists = false` out");
    }
    let (contains, mode, owner) = (file.text("contains"), file.mode("mode"), file.text("owner"));
    Some(TestKind::File { path: file.text("path")?, exists, contains, mode, owner })
}

fn service(reader: &mut Reader<'_>, mut service: Fields, validation: Option<Duration>) -> Option<TestKind> {
    let running = service.flag("running")?;
    if service.given("for") && !running {
        let problem = "`for` can't hold of a service that shall not run";
        reader.wrong(&service.place("for"), problem, "Leave it or `running = false` out");
    }
    let settle = settle(reader, &mut service, validation)?;
    let enabled = service.flag("enabled");
    Some(TestKind::Service { name: service.text("name")?, running, enabled, settle })
}

fn process(reader: &mut Reader<'_>, mut process: Fields, validation: Option<Duration>) -> Option<TestKind> {
    let settle = settle(reader, &mut process, validation)?;
    Some(TestKind::Process { name: process.text("name")?, settle })
}

/// How long something must run. All tests together end after `validation`: a test that has to look on for longer fails
/// the bake at that deadline, without a word about the test.
fn settle(reader: &mut Reader<'_>, fields: &mut Fields, validation: Option<Duration>) -> Option<Duration> {
    let settle = fields.time("for")?;
    if let Some(validation) = validation.filter(|validation| fields.given("for") && settle >= *validation) {
        let problem = format!(
            "`for` is {} s, and all tests must end within `deadlines.validation`, which is {} s",
            settle.as_secs(),
            validation.as_secs()
        );
        reader.wrong(&fields.place("for"), problem, "Give less, or a longer `validation` in `[deadlines]`");
    }
    Some(settle)
}

fn package(mut package: Fields) -> Option<TestKind> {
    let version = package.text("version");
    Some(TestKind::Package { name: package.text("name")?, version })
}

fn user(mut user: Fields) -> Option<TestKind> {
    let (group, shell) = (user.text("group"), user.text("shell"));
    Some(TestKind::User { name: user.text("name")?, group, shell })
}
