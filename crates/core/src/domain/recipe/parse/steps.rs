//! `[[step]]`: what a step does and how it is run.

use std::{collections::BTreeMap, time::Duration};

use toml::de::DeValue;

use super::{
    Look, one_of, provisioners,
    words::{
        OWNER, PACKAGE, Rule, SERVICE, USER, VARIABLE, Wanted, absolute, absolute_file, beside, mode, named,
        secrets, word, words,
    },
};
use crate::domain::recipe::{
    Action, Content, Step, Unit,
    mistake::Source,
    reader::{Table, Text, Value, as_text, as_texts, on_one_line, wrong_type},
};

pub(in crate::domain::recipe) const KINDS: &[&str] =
    &["shell", "script", "file", "service", "package", "puppet", "chef", "ansible"];
const COMMON: &[&str] = &["name", "timeout", "environment", "secrets", "only-if", "retries"];

const UNIT: Rule = Rule {
    what: "a unit",
    rule: "its whole name: `network-online.target`",
    valid: |text| (SERVICE.valid)(text) && text.contains('.'),
};

pub(super) fn step(
    source: &mut Source<'_>,
    mut table: Table<'_>,
    index: usize,
    look: Option<Look<'_>>,
) -> Option<Step> {
    table.know(COMMON);
    let (kind, mut table) = one_of(source, table, KINDS, ("says nothing to do", "says two things to do"))?;
    let name = name(source, &mut table, index, kind);
    let timeout = table.time(source, "timeout").unwrap_or(Duration::from_secs(600));
    let (environment, secrets) = variables(source, &mut table, kind);
    let only_if = table.text(source, "only-if").map(Text::into_inner);
    let retries = table.number(source, "retries", 0..11).unwrap_or(0);
    let action = match kind {
        "shell" => table.text(source, "shell").map(|run| Action::Shell { run: run.into_inner() }),
        "script" => table.table_or(source, "script", "source").and_then(|table| script(source, table, look)),
        "file" => table.table(source, "file").and_then(|table| file(source, table, look)),
        "service" => table.table_or(source, "service", "name").and_then(|table| service(source, table)),
        "package" => table.take("package").and_then(|value| package(source, value)),
        "puppet" => table.table(source, "puppet").and_then(|t| provisioners::puppet(source, t, look)),
        "chef" => table.table(source, "chef").and_then(|t| provisioners::chef(source, t, look)),
        _ => table.table(source, "ansible").and_then(|t| provisioners::ansible(source, t, look)),
    };
    table.finish(source);
    Some(Step { name, action: action?, timeout, environment, secrets, only_if, retries })
}

/// The given name, or the place in the list with the kind: `2 service`.
pub(super) fn name(source: &mut Source<'_>, table: &mut Table<'_>, index: usize, kind: &str) -> String {
    match table.line(source, "name") {
        Some(name) if name.get_ref().chars().count() > 80 => {
            source.wrong(&name.span(), "`name` is longer than 80 characters", "Shorten it");
            name.into_inner()
        }
        Some(name) => name.into_inner(),
        None => format!("{} {kind}", index + 1),
    }
}

type Variables = (BTreeMap<String, String>, BTreeMap<String, crate::domain::id::ParameterName>);

/// The environment: plain values, and secrets by the parameters that hold them.
fn variables(source: &mut Source<'_>, table: &mut Table<'_>, kind: &str) -> Variables {
    for key in ["environment", "secrets"] {
        // A value that nothing reads is a mistake, not a wish granted in silence.
        if table.has(key) && ["file", "service"].contains(&kind) {
            let hint = match kind {
                "service" => "Give the service its own by `unit = { environment = { … } }`",
                _ => "Leave it out, or write the file in a `shell` step",
            };
            source.wrong(&table.place(key), format!("a `{kind}` step reads no `{key}`"), hint);
        }
    }
    let secrets_at = table.place("secrets");
    let environment = named(source, table, "environment", &VARIABLE, false);
    let secrets = secrets(source, table);
    for name in secrets.keys().filter(|name| environment.contains_key(*name)) {
        let problem = format!("`{name}` is in `environment` and in `secrets`");
        source.wrong(&secrets_at, problem, "Keep it in one of the two");
    }
    (environment, secrets)
}

/// `script = "setup.sh"` or `script = { source = "setup.sh", args = ["a"], interpreter = "python3 -u" }`.
fn script(source: &mut Source<'_>, mut table: Table<'_>, look: Option<Look<'_>>) -> Option<Action> {
    let path = table.need_line(source, "source").and_then(|t| beside(source, t, look, Wanted::File));
    let args = table.texts(source, "args").unwrap_or_default().into_iter().map(Text::into_inner).collect();
    let interpreter = match table.take("interpreter") {
        None => Some(Vec::new()),
        Some(value) => interpreter(source, value),
    };
    table.finish(source);
    Some(Action::Script { source: path?, args, interpreter: interpreter? })
}

/// A program and its arguments: a list as it is, a text by its spaces.
fn interpreter(source: &mut Source<'_>, value: Value<'_>) -> Option<Vec<String>> {
    const KEY: &str = "interpreter";
    let at = value.span();
    let list: Vec<String> = if matches!(value.get_ref(), DeValue::Array(_)) {
        as_texts(source, KEY, value)?.into_iter().map(Text::into_inner).collect()
    } else {
        let text = as_text(source, KEY, value).and_then(|text| on_one_line(source, KEY, text))?;
        if text.get_ref().contains(['"', '\'', '\\']) {
            let hint = "Write a list: `interpreter = [\"python3\", \"-c\", \"…\"]`";
            source.wrong(&at, "`interpreter` is split at spaces, whatever the quotes", hint);
            return None;
        }
        text.get_ref().split_whitespace().map(str::to_owned).collect()
    };
    if list.first().is_none_or(|program| program.trim().is_empty()) {
        source.wrong(&at, "`interpreter` names no program", "Write `interpreter = \"python3 -u\"`");
        return None;
    }
    Some(list)
}

fn file(source: &mut Source<'_>, mut table: Table<'_>, look: Option<Look<'_>>) -> Option<Action> {
    let to = table.need_line(source, "to").and_then(|path| absolute_file(source, path));
    if table.has("content") == table.has("source") {
        source.wrong(&table.span, "`file` needs exactly one content", "Keep one of `content` and `source`");
    }
    // Any text, an empty one too.
    let inline = table.take("content").and_then(|value| {
        let span = value.span();
        match value.into_inner() {
            DeValue::String(text) => Some(Content::Inline(text.into_owned())),
            other => wrong_type(source, &span, "content", "a text in quotes", &other),
        }
    });
    let path = table.line(source, "source").and_then(|t| beside(source, t, look, Wanted::File));
    let mode = mode(source, &mut table).unwrap_or(0o644);
    let owner = table.line(source, "owner").and_then(|owner| word(source, owner, &OWNER));
    table.finish(source);
    Some(Action::File { to: to?, content: inline.or(path.map(Content::Source))?, mode, owner })
}

fn service(source: &mut Source<'_>, mut table: Table<'_>) -> Option<Action> {
    let name = table.need_line(source, "name").and_then(|text| {
        let (at, name) = (text.span(), word(source, text, &SERVICE)?);
        if name.ends_with(".service") {
            source.wrong(&at, "`name` ends with `.service`", "Leave `.service` out");
        }
        Some(name)
    });
    let enabled = table.flag(source, "enabled").unwrap_or(true);
    let started = table.flag(source, "started").unwrap_or(true);
    let has_unit = table.has("unit");
    let unit = table.table(source, "unit").and_then(|table| unit(source, table));
    table.finish(source);
    if has_unit && unit.is_none() {
        return None;
    }
    Some(Action::Service { name: name?, unit, enabled, started })
}

fn unit(source: &mut Source<'_>, mut table: Table<'_>) -> Option<Unit> {
    let exec = table.need_line(source, "exec");
    if let Some(exec) = exec.as_ref().filter(|exec| exec.get_ref().ends_with('\\')) {
        source.wrong(&exec.span(), "`exec` ends with `\\`, which joins it to the next line", "Leave it out");
    }
    let user = table.line(source, "user").and_then(|user| word(source, user, &USER));
    let folder = table.line(source, "working-directory").and_then(|path| absolute(source, path));
    let environment = named(source, &mut table, "environment", &VARIABLE, true);
    let after = table.texts(source, "after").unwrap_or_default();
    let after = words(source, after, &UNIT);
    table.finish(source);
    Some(Unit { exec: exec?.into_inner(), user, working_directory: folder, environment, after })
}

/// `package = "nginx"` or `package = ["nginx", "curl"]`.
fn package(source: &mut Source<'_>, value: Value<'_>) -> Option<Action> {
    let at = value.span();
    let texts = match value.get_ref() {
        DeValue::Array(_) => as_texts(source, "package", value)?,
        DeValue::String(_) => vec![as_text(source, "package", value)?],
        other => {
            return wrong_type(source, &at, "package", "a text in quotes or a list of such", other);
        }
    };
    if texts.is_empty() {
        source.wrong(&at, "`package` names no package", "Write `package = \"nginx\"`");
    }
    Some(Action::Package { names: words(source, texts, &PACKAGE) })
}
