//! `[[test]]`: what must hold of the configured machine.

use std::{collections::BTreeMap, time::Duration};

use super::{
    one_of, steps,
    words::{
        HEADER, OWNER, PACKAGE, POINTER, Rule, SERVICE, USER, VERSION, absolute, absolute_file, mode, named,
        word,
    },
};
use crate::domain::recipe::{
    Http, SETTLE, Test, TestKind,
    mistake::{Source, quoted},
    reader::{Table, Text, as_json},
};

pub(in crate::domain::recipe) const KINDS: &[&str] =
    &["http", "command", "port", "file", "service", "process", "package", "user"];

/// What stands beside `command` and belongs to it.
pub(in crate::domain::recipe) const OF_COMMAND: &[&str] =
    &["exit", "stdout-contains", "stderr-contains", "junit"];

pub(in crate::domain::recipe) const METHODS: &[&str] =
    &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

const PROCESS: Rule = Rule {
    what: "a name of a process",
    rule: "its program's name without the folder",
    valid: |text| text.len() <= 255 && !text.contains('/'),
};

pub(super) fn test(source: &mut Source<'_>, mut table: Table<'_>, index: usize) -> Option<Test> {
    table.know(&["name", "within"]);
    let says = ("asserts nothing", "asserts two things");
    let (kind, mut table) = one_of(source, table, KINDS, says)?;
    let name = steps::name(source, &mut table, index, kind);
    let mut within = table.time(source, "within");
    let asserted = match kind {
        "http" => table.table(source, "http").and_then(|table| http(source, table, &mut within)),
        "command" => command(source, &mut table),
        "port" => {
            let number = table.number(source, "port", 1..65_536);
            number.and_then(|number| u16::try_from(number).ok()).map(|number| TestKind::Port { number })
        }
        "file" => table.table(source, "file").and_then(|table| file(source, table)),
        "service" => table.table_or(source, "service", "name").and_then(|table| service(source, table)),
        "process" => table.table_or(source, "process", "name").and_then(|table| process(source, table)),
        "package" => table.table_or(source, "package", "name").and_then(|table| package(source, table)),
        _ => table.table_or(source, "user", "name").and_then(|table| user(source, table)),
    };
    for key in OF_COMMAND.iter().filter(|_| kind != "command") {
        if table.has(key) {
            let problem = format!("`{key}` belongs to `command`, and this test is of `{kind}`");
            source.wrong(&table.place(key), problem, "Leave it out, or make a test of its own");
            let _ = table.take(key);
        }
    }
    table.finish(source);
    Some(Test { name, kind: asserted?, within: within.unwrap_or(Duration::from_secs(30)) })
}

fn http(source: &mut Source<'_>, mut table: Table<'_>, within: &mut Option<Duration>) -> Option<TestKind> {
    let url = table.need_line(source, "url");
    if let Some(url) = &url {
        let text = url.get_ref();
        let rest = ["http://", "https://"].iter().find_map(|scheme| text.strip_prefix(scheme));
        if !rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '['))
            || text.contains(char::is_whitespace)
        {
            let hint = "Begin it with `http://127.0.0.1:`, and write a space as `%20`";
            source.wrong(&url.span(), "`url` is no HTTP address", hint);
        }
    }
    let method = table.line(source, "method");
    if let Some(method) = method.as_ref().filter(|method| !METHODS.contains(&method.get_ref().as_str())) {
        let problem = format!("{} is no method", quoted(method.get_ref()));
        source.wrong(&method.span(), problem, format!("Use {}", METHODS.join(", ")));
    }
    let method = method.map_or_else(|| "GET".to_owned(), Text::into_inner);
    let headers = named(source, &mut table, "headers", &HEADER, true);
    let body_at = table.place("body");
    let body = table.text(source, "body").map(Text::into_inner);
    if body.is_some() && ["GET", "HEAD"].contains(&method.as_str()) {
        source.wrong(&body_at, format!("a {method} request has no `body`"), "Add `method = \"POST\"`");
    }
    let asserts_body = ["body-contains", "body-matches", "json"].into_iter().find(|key| table.has(key));
    if let Some(key) = asserts_body.filter(|_| method == "HEAD") {
        let problem = format!("`{key}` can't hold: the answer to HEAD has no body");
        source.wrong(&table.place(key), problem, "Use `method = \"GET\"`");
    }
    let status = table.number(source, "status", 100..600).and_then(|status| u16::try_from(status).ok());
    let body_contains = table.text(source, "body-contains").map(Text::into_inner);
    let body_matches = table.text(source, "body-matches").and_then(|text| {
        // By the runner's own engine: what is accepted here works there.
        match regex_lite::Regex::new(text.get_ref()) {
            Ok(_) => Some(text.into_inner()),
            Err(error) => {
                let problem = format!("`body-matches` is no regular expression: {error}");
                source.wrong(&text.span(), problem, "Write it in single quotes, so that `\\` is only a `\\`");
                None
            }
        }
    });
    let json = pointers(source, &mut table);
    let within_at = table.place("within");
    if let Some(inner) = table.time(source, "within") {
        if within.is_some() {
            source.wrong(&within_at, "`within` is given twice", "Keep the one in `[[test]]`");
        }
        *within = Some(inner);
    }
    table.finish(source);
    Some(TestKind::Http(Http {
        url: url?.into_inner(),
        method,
        headers,
        body,
        status: status.unwrap_or(200),
        body_contains,
        body_matches,
        json,
    }))
}

/// `json = { "/status" = "UP" }`: values that must be at these places of the answer.
fn pointers(source: &mut Source<'_>, table: &mut Table<'_>) -> BTreeMap<String, serde_json::Value> {
    let at = table.place("json");
    let Some(table) = table.table(source, "json") else { return BTreeMap::new() };
    let mut any = false;
    let pairs = table.rest().filter_map(|(pointer, value)| {
        any = true;
        let pointer = word(source, pointer, &POINTER);
        Some((pointer?, as_json(source, "json", value)?))
    });
    let pairs = pairs.collect();
    if !any {
        source.wrong(&at, "`json` asserts nothing", "Write `json = { \"/status\" = \"UP\" }`");
    }
    pairs
}

fn command(source: &mut Source<'_>, table: &mut Table<'_>) -> Option<TestKind> {
    let run = table.text(source, "command").map(Text::into_inner);
    let exit = table.number(source, "exit", 0..256).and_then(|exit| i32::try_from(exit).ok()).unwrap_or(0);
    let stdout_contains = table.text(source, "stdout-contains").map(Text::into_inner);
    let stderr_contains = table.text(source, "stderr-contains").map(Text::into_inner);
    let junit = table.line(source, "junit").and_then(|path| absolute_file(source, path));
    Some(TestKind::Command { run: run?, exit, stdout_contains, stderr_contains, junit })
}

fn file(source: &mut Source<'_>, mut table: Table<'_>) -> Option<TestKind> {
    let path = table.need_line(source, "path").and_then(|path| absolute(source, path));
    let exists = table.flag(source, "exists").unwrap_or(true);
    let more = ["contains", "mode", "owner"].into_iter().find(|key| table.has(key));
    if let Some(key) = more.filter(|_| !exists) {
        let problem = format!("`{key}` can't hold of a file that shall not exist");
        source.wrong(&table.place(key), problem, "Leave it or `exists = false` out");
    }
    let contains = table.text(source, "contains").map(Text::into_inner);
    let mode = mode(source, &mut table);
    let owner = table.line(source, "owner").and_then(|owner| word(source, owner, &OWNER));
    table.finish(source);
    Some(TestKind::File { path: path?, exists, contains, mode, owner })
}

fn service(source: &mut Source<'_>, mut table: Table<'_>) -> Option<TestKind> {
    let name = table.need_line(source, "name").and_then(|name| word(source, name, &SERVICE));
    let running = table.flag(source, "running").unwrap_or(true);
    let enabled = table.flag(source, "enabled");
    let at = table.place("for");
    let settle = table.time(source, "for");
    if settle.is_some() && !running {
        let problem = "`for` can't hold of a service that shall not run";
        source.wrong(&at, problem, "Leave it or `running = false` out");
    }
    table.finish(source);
    Some(TestKind::Service { name: name?, running, enabled, settle: settle.unwrap_or(SETTLE) })
}

fn process(source: &mut Source<'_>, mut table: Table<'_>) -> Option<TestKind> {
    let name = table.need_line(source, "name").and_then(|name| word(source, name, &PROCESS));
    let settle = table.time(source, "for");
    table.finish(source);
    Some(TestKind::Process { name: name?, settle: settle.unwrap_or(SETTLE) })
}

fn package(source: &mut Source<'_>, mut table: Table<'_>) -> Option<TestKind> {
    let name = table.need_line(source, "name").and_then(|name| word(source, name, &PACKAGE));
    let version = table.line(source, "version").and_then(|version| word(source, version, &VERSION));
    table.finish(source);
    Some(TestKind::Package { name: name?, version })
}

fn user(source: &mut Source<'_>, mut table: Table<'_>) -> Option<TestKind> {
    let name = table.need_line(source, "name").and_then(|name| word(source, name, &USER));
    let group = table.line(source, "group").and_then(|group| word(source, group, &USER));
    let shell = table.line(source, "shell").and_then(|shell| absolute_file(source, shell));
    table.finish(source);
    Some(TestKind::User { name: name?, group, shell })
}
