//! `[[test]]` as it is written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::{Mode, Time, exactly_one};

/// Keys that stand beside `command` and say nothing without it.
fn of_command() -> Map<String, Value> {
    crate::domain::recipe::parse::OF_COMMAND
        .iter()
        .map(|key| ((*key).to_owned(), json!(["command"])))
        .collect()
}

/// One test: exactly one of `http`, `command`, `port`, `file`, `service`, `process`, `package`, `user`.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(extend("oneOf" = exactly_one(crate::domain::recipe::parse::TESTS)))]
#[schemars(extend("dependencies" = of_command()))]
pub(super) struct Test {
    /// What reports call it.
    name: Option<String>,
    /// It is tried again until it passes or this time is over.
    #[schemars(extend("default" = "30s"))]
    within: Option<Time>,
    /// A URL answers.
    http: Option<Http>,
    /// A shell command ends as it should.
    command: Option<String>,
    /// With `command`: its exit status.
    #[schemars(range(max = 255), extend("default" = 0))]
    exit: Option<u32>,
    /// With `command`: its output has this text in it.
    stdout_contains: Option<String>,
    /// With `command`: its errors have this text in them.
    stderr_contains: Option<String>,
    /// With `command`: the JUnit file that it writes, a suite whose cases are reported one by one.
    #[schemars(regex(pattern = "^/"))]
    junit: Option<String>,
    /// Something listens on this TCP port.
    #[schemars(range(min = 1, max = 65_535))]
    port: Option<u32>,
    /// A file is there, or is not.
    file: Option<FileTest>,
    /// A systemd service runs, or does not.
    service: Option<ServiceTestOrName>,
    /// A process of this name runs: its program's name without the folder.
    process: Option<ProcessTestOrName>,
    /// A package is installed.
    package: Option<PackageTestOrName>,
    /// A user exists.
    user: Option<UserTestOrName>,
}

/// A request, and what its answer must be.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Http {
    /// The URL: `http://127.0.0.1:8080/healthz`.
    #[schemars(regex(pattern = "^https?://[^\\s]+$"))]
    url: String,
    /// The method.
    #[schemars(extend("enum" = crate::domain::recipe::parse::METHODS, "default" = "GET"))]
    method: Option<String>,
    /// The request's headers.
    headers: Option<BTreeMap<String, String>>,
    /// The request's body.
    body: Option<String>,
    /// The answer's status.
    #[schemars(range(min = 100, max = 599), extend("default" = 200))]
    status: Option<u32>,
    /// The answer's body has this text in it.
    body_contains: Option<String>,
    /// The answer's body matches this regular expression.
    body_matches: Option<String>,
    /// The answer is JSON with these values at these pointers: `{ "/status" = "UP" }`.
    #[schemars(extend("minProperties" = 1, "propertyNames" = { "pattern": "^(/|$)" }))]
    json: Option<Map<String, Value>>,
    /// It is tried again until it passes or this time is over.
    #[schemars(extend("default" = "30s"))]
    within: Option<Time>,
}

/// A file that is there, or is not.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct FileTest {
    /// Its path on the machine.
    #[schemars(regex(pattern = "^/"))]
    path: String,
    /// Whether it shall be there.
    #[schemars(extend("default" = true))]
    exists: Option<bool>,
    /// It has this text in it.
    contains: Option<String>,
    /// Its permission bits in octal.
    mode: Option<Mode>,
    /// Its owner: `user` or `user:group`.
    owner: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum ServiceTestOrName {
    /// The service's name: it runs.
    Name(String),
    /// The service in full.
    Service(ServiceTest),
}

/// A systemd service.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct ServiceTest {
    /// Its name.
    name: String,
    /// Whether it shall run.
    #[schemars(extend("default" = true))]
    running: Option<bool>,
    /// Whether it shall start at boot; left out, either will do.
    enabled: Option<bool>,
    /// How long it must run without ending or being restarted.
    #[schemars(rename = "for", extend("default" = "2s"))]
    settle: Option<Time>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum ProcessTestOrName {
    /// The program's name without the folder: it runs.
    Name(#[schemars(regex(pattern = "^[^/]+$"))] String),
    /// The process in full.
    Process(ProcessTest),
}

/// A process that runs.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct ProcessTest {
    /// Its program's name without the folder.
    #[schemars(regex(pattern = "^[^/]+$"))]
    name: String,
    /// How long one and the same must run.
    #[schemars(rename = "for", extend("default" = "2s"))]
    settle: Option<Time>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum PackageTestOrName {
    /// The package's name.
    Name(String),
    /// The package with its version.
    Package(PackageTest),
}

/// A package that is installed.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct PackageTest {
    /// Its name.
    name: String,
    /// Its version begins with this.
    version: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum UserTestOrName {
    /// The user's name.
    Name(String),
    /// The user with group and shell.
    User(UserTest),
}

/// A user that exists.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct UserTest {
    /// Its name.
    name: String,
    /// It is in this group.
    group: Option<String>,
    /// Its shell.
    #[schemars(regex(pattern = "^/"))]
    shell: Option<String>,
}
