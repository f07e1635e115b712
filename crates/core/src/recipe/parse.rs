//! From the text of a recipe to the recipe, or to every mistake in it.

use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Component, Path},
    time::Duration,
};

use toml::de::{DeTable, DeValue};

use super::{
    Action, Base, Builder, Check, Content, Http, Placement, Promote, Recipe, RecipeErrors, Retain, Step,
    Test, Unit, Validate, Waits,
    reader::{Source, Table},
};
use crate::id::{ChannelName, IdError, PipelineName};

type Exists<'a> = Option<&'a dyn Fn(&Path) -> bool>;

const STEPS: &[&str] = &["shell", "script", "file", "service"];
const TESTS: &[&str] = &["http", "command", "port", "file"];

pub(super) fn recipe(name: &str, text: &str, exists: Exists<'_>) -> Result<Recipe, RecipeErrors> {
    let mut source = Source { name, text, errors: Vec::new() };
    let table = match DeTable::parse(text) {
        Ok(table) => table,
        Err(error) => {
            source.wrong(
                &error.span().unwrap_or(0..0),
                error.message().to_owned(),
                "Mend the TOML: https://toml.io",
            );
            return Err(RecipeErrors(source.errors));
        }
    };
    let mut root = Table::new("the recipe", 0..0, table.into_inner());
    let recipe = root_table(&mut source, &mut root, exists);
    root.finish(
        &mut source,
        &[
            "pipeline",
            "base",
            "builder",
            "artifact",
            "step",
            "test",
            "validate",
            "promote",
            "retain",
            "deadlines",
        ],
    );
    source.errors.sort_by_key(|error| (error.line, error.column));
    match recipe {
        Some(recipe) if source.errors.is_empty() => Ok(recipe),
        _ => Err(RecipeErrors(source.errors)),
    }
}

/// Reads every table even when one is wrong, so that all mistakes are shown at once.
fn root_table(source: &mut Source<'_>, root: &mut Table<'_>, exists: Exists<'_>) -> Option<Recipe> {
    let pipeline =
        root.need_text(source, "pipeline").and_then(|(text, at)| id(source, &at, PipelineName::parse(&text)));
    let base = base(source, root);
    let builder = builder(source, root);
    let artifact = artifact(source, root);
    let steps: Vec<Option<Step>> = root
        .tables(source, "step")
        .into_iter()
        .enumerate()
        .map(|(at, table)| step(source, table, at, exists))
        .collect();
    let tests: Vec<Option<Test>> = root
        .tables(source, "test")
        .into_iter()
        .enumerate()
        .map(|(at, table)| test(source, table, at))
        .collect();
    if tests.is_empty() {
        let hint = "Add a `[[test]]`: an image without a test is never promoted";
        source.wrong(&(0..0), "the recipe has no test", hint);
    }
    let validate = Validate {
        boot: root.table(source, "validate").is_some_and(|mut table| {
            let boot = table.flag(source, "boot", false);
            table.finish(source, &["boot"]);
            boot
        }),
    };
    let promote = promote(source, root);
    let retain = retain(source, root);
    let deadlines = deadlines(source, root);
    Some(Recipe {
        pipeline: pipeline?,
        base: base?,
        builder,
        artifact,
        steps: steps.into_iter().collect::<Option<_>>()?,
        tests: tests.into_iter().collect::<Option<_>>()?,
        validate,
        promote: promote?,
        retain,
        deadlines,
    })
}

fn base(source: &mut Source<'_>, root: &mut Table<'_>) -> Option<Base> {
    const KINDS: &[&str] = &["image", "parameter", "newest", "channel"];
    let Some(mut table) = root.table(source, "base") else {
        source.wrong(
            &(0..0),
            "the recipe lacks `[base]`",
            "Add `[base]` with one of `image`, `parameter`, `newest`, `channel`",
        );
        return None;
    };
    let named = KINDS.iter().filter(|kind| table.has(kind)).count();
    if named != 1 {
        let problem = if named == 0 { "`[base]` names no base" } else { "`[base]` names more than one base" };
        source.wrong(&table.span, problem, "Keep exactly one of `image`, `parameter`, `newest`, `channel`");
        return None;
    }
    let base = if table.has("image") {
        table.text(source, "image").and_then(|(text, at)| id(source, &at, text.parse())).map(Base::Image)
    } else if table.has("parameter") {
        table
            .text(source, "parameter")
            .and_then(|(text, at)| id(source, &at, text.parse()))
            .map(Base::Parameter)
    } else if table.has("channel") {
        table.text(source, "channel").and_then(|(text, at)| channel(source, &text, &at))
    } else {
        table.table(source, "newest").and_then(|mut newest| {
            let owner = newest.need_text(source, "owner");
            let name = newest.need_text(source, "name");
            newest.finish(source, &["owner", "name"]);
            Some(Base::Newest { owner: owner?.0, name: name?.0 })
        })
    };
    table.finish(source, KINDS);
    base
}

fn channel(source: &mut Source<'_>, text: &str, at: &Range<usize>) -> Option<Base> {
    let Some((pipeline, channel)) = text.split_once('/') else {
        source.wrong(
            at,
            format!("`{text}` is no channel of a pipeline"),
            "Write `channel = \"jvm-runtime/stable\"`",
        );
        return None;
    };
    let pipeline = id(source, at, PipelineName::parse(pipeline));
    let channel = id(source, at, ChannelName::parse(channel));
    Some(Base::Channel { pipeline: pipeline?, channel: channel? })
}

fn builder(source: &mut Source<'_>, root: &mut Table<'_>) -> Builder {
    // Small, current and cheap; the second is of another generation, where capacity is another.
    let default = || vec!["m7i.large".to_owned(), "m6i.large".to_owned()];
    let Some(mut table) = root.table(source, "builder") else {
        return Builder { instance_types: default(), ..Builder::default() };
    };
    let at = table.span.clone();
    let instance_types = table.texts(source, "instance-types").unwrap_or_else(default);
    let plain = |kind: &String| {
        kind.contains('.') && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b".-".contains(&b))
    };
    if instance_types.is_empty() || !instance_types.iter().all(plain) {
        source.wrong(
            &at,
            "`instance-types` names no instance types",
            "Write `instance-types = [\"c7i.large\"]`",
        );
    }
    let spot = table.flag(source, "spot", false);
    if spot {
        let hint =
            "Leave `spot` out: EC2 can't stop a one-time spot instance, and only a stopped builder is imaged";
        source.wrong(&at, "`spot = true` is not supported yet", hint);
    }
    table.finish(source, &["instance-types", "spot"]);
    Builder { instance_types, spot, ..Builder::default() }
}

fn artifact(source: &mut Source<'_>, root: &mut Table<'_>) -> Option<Placement> {
    let mut table = root.table(source, "artifact")?;
    if table.has("to") == table.has("unpack-to") {
        source.wrong(&table.span, "`[artifact]` needs exactly one place", "Keep one of `to` and `unpack-to`");
    }
    let to = table.text(source, "to").and_then(|found| absolute(source, found)).map(Placement::To);
    let unpack =
        table.text(source, "unpack-to").and_then(|found| absolute(source, found)).map(Placement::UnpackTo);
    table.finish(source, &["to", "unpack-to"]);
    to.or(unpack)
}

fn step(source: &mut Source<'_>, mut table: Table<'_>, index: usize, exists: Exists<'_>) -> Option<Step> {
    let kind = one_of(source, &table, STEPS)?;
    let at = table.span.clone();
    let name = table.text(source, "name").map_or_else(|| format!("{} {kind}", index + 1), |(name, _)| name);
    let timeout = table.time(source, "timeout", Duration::from_secs(600));
    let action = match kind {
        "shell" => table.text(source, "shell").map(|(run, _)| Action::Shell { run }),
        "script" => script(source, &mut table, exists),
        "file" => table.table(source, "file").and_then(|table| file(source, table, exists)),
        _ => table.table(source, "service").and_then(|table| service(source, table, &at)),
    };
    table.finish(source, &["name", "timeout", "shell", "script", "file", "service"]);
    Some(Step {
        name,
        action: action?,
        timeout,
        environment: BTreeMap::new(),
        secrets: BTreeMap::new(),
        only_if: None,
        retries: 0,
    })
}

/// `script = "setup.sh"` or `script = { source = "setup.sh", args = ["a"] }`.
fn script(source: &mut Source<'_>, table: &mut Table<'_>, exists: Exists<'_>) -> Option<Action> {
    let value = table.take("script")?;
    let at = value.span();
    let (found, args) = match value.into_inner() {
        DeValue::String(text) => ((text.into_owned(), at), Vec::new()),
        DeValue::Table(inner) => {
            let mut inner = Table::new("`script`", at, inner);
            let found = inner.need_text(source, "source");
            let args = inner.texts(source, "args").unwrap_or_default();
            inner.finish(source, &["source", "args"]);
            (found?, args)
        }
        other => {
            let problem = format!("`script` is {} and should be a path", other.type_str());
            source.wrong(&at, problem, "Write `script = \"setup.sh\"`");
            return None;
        }
    };
    beside(source, found, exists).map(|source| Action::Script { source, args, interpreter: Vec::new() })
}

fn file(source: &mut Source<'_>, mut table: Table<'_>, exists: Exists<'_>) -> Option<Action> {
    let to = table.need_text(source, "to").and_then(|found| absolute(source, found));
    if table.has("content") == table.has("source") {
        source.wrong(&table.span, "`file` needs exactly one content", "Keep one of `content` and `source`");
    }
    let inline = table.take("content").and_then(|value| match value.into_inner() {
        DeValue::String(text) => Some(Content::Inline(text.into_owned())),
        _ => None,
    });
    let beside =
        table.text(source, "source").and_then(|found| beside(source, found, exists)).map(Content::Source);
    let mode = match table.text(source, "mode") {
        None => 0o644,
        Some((text, at)) => {
            u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o7777).unwrap_or_else(|| {
                source.wrong(&at, "`mode` is no file mode", "Write it in octal: `mode = \"0644\"`");
                0o644
            })
        }
    };
    let owner = table.text(source, "owner").map(|(owner, _)| owner);
    table.finish(source, &["to", "content", "source", "mode", "owner"]);
    Some(Action::File { to: to?, content: inline.or(beside)?, mode, owner })
}

fn service(source: &mut Source<'_>, mut table: Table<'_>, at: &Range<usize>) -> Option<Action> {
    let name = table.need_text(source, "name").map(|(name, _)| name);
    let plain = |name: &String| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.@".contains(&b));
    if name.as_ref().is_some_and(|name| !plain(name)) {
        source.wrong(at, "`service` has a name that is no unit's", "Use letters, digits and `-_.@`");
    }
    let enabled = table.flag(source, "enabled", true);
    let started = table.flag(source, "started", true);
    let unit = table.table(source, "unit").and_then(|mut table| {
        let exec = table.need_text(source, "exec");
        let unit = Unit {
            exec: String::new(),
            user: table.text(source, "user").map(|(user, _)| user),
            working_directory: table.text(source, "working-directory").map(|(folder, _)| folder),
            environment: table.text_map(source, "environment"),
            after: table.texts(source, "after").unwrap_or_default(),
        };
        let lines = [Some(&unit.user), Some(&unit.working_directory)].into_iter().flatten().flatten();
        let texts = lines.chain(unit.environment.keys()).chain(unit.environment.values()).chain(&unit.after);
        let broken =
            texts.chain(exec.iter().map(|(exec, _)| exec)).any(|text| text.chars().any(char::is_control));
        if broken {
            source.wrong(
                &table.span,
                "`unit` has a line break or control character in a value",
                "Keep every value on one line",
            );
        }
        table.finish(source, &["exec", "user", "working-directory", "environment", "after"]);
        Some(Unit { exec: exec?.0, ..unit })
    });
    table.finish(source, &["name", "enabled", "started", "unit"]);
    Some(Action::Service { name: name?, unit, enabled, started })
}

fn test(source: &mut Source<'_>, mut table: Table<'_>, index: usize) -> Option<Test> {
    let kind = one_of(source, &table, TESTS)?;
    let name = table.text(source, "name").map_or_else(|| format!("{} {kind}", index + 1), |(name, _)| name);
    let mut within = table.time(source, "within", Duration::from_secs(30));
    let check = match kind {
        "http" => table.table(source, "http").and_then(|mut http| {
            let url = http.need_text(source, "url");
            let status =
                http.number(source, "status", 100..600).and_then(|status| u16::try_from(status).ok());
            let body_contains = http.text(source, "body-contains").map(|(text, _)| text);
            within = http.time(source, "within", within);
            http.finish(source, &["url", "status", "body-contains", "within"]);
            let (url, at) = url?;
            if !url.starts_with("http://") && !url.starts_with("https://") {
                source.wrong(&at, "`url` is no HTTP address", "Begin it with `http://127.0.0.1:`");
            }
            Some(Check::Http(Http {
                url,
                method: "GET".to_owned(),
                headers: BTreeMap::new(),
                body: None,
                status: status.unwrap_or(200),
                body_contains,
                body_matches: None,
                json: BTreeMap::new(),
            }))
        }),
        "command" => {
            let run = table.text(source, "command").map(|(run, _)| run);
            let exit =
                table.number(source, "exit", 0..256).and_then(|exit| i32::try_from(exit).ok()).unwrap_or(0);
            let stdout_contains = table.text(source, "stdout-contains").map(|(text, _)| text);
            run.map(|run| Check::Command { run, exit, stdout_contains, stderr_contains: None, junit: None })
        }
        "port" => {
            let number =
                table.number(source, "port", 1..65_536).and_then(|number| u16::try_from(number).ok());
            number.map(|number| Check::Port { number })
        }
        _ => table.table(source, "file").and_then(|mut file| {
            let path = file.need_text(source, "path").and_then(|found| absolute(source, found));
            let exists = file.flag(source, "exists", true);
            let contains = file.text(source, "contains").map(|(text, _)| text);
            file.finish(source, &["path", "exists", "contains"]);
            Some(Check::File { path: path?, exists, contains, mode: None, owner: None })
        }),
    };
    table.finish(source, &["name", "within", "http", "command", "exit", "stdout-contains", "port", "file"]);
    Some(Test { name, check: check?, within })
}

fn promote(source: &mut Source<'_>, root: &mut Table<'_>) -> Option<Promote> {
    let Some(mut table) = root.table(source, "promote") else {
        source.wrong(
            &(0..0),
            "the recipe lacks `[promote]`",
            "Add `[promote]` with `channel = \"production\"`",
        );
        return None;
    };
    let channel =
        table.need_text(source, "channel").and_then(|(text, at)| id(source, &at, ChannelName::parse(&text)));
    let parameter = table.text(source, "parameter").and_then(|(text, at)| id(source, &at, text.parse()));
    table.finish(source, &["channel", "parameter"]);
    Some(Promote { channel: channel?, parameter })
}

fn retain(source: &mut Source<'_>, root: &mut Table<'_>) -> Retain {
    let default = Retain { newest: 5, days: 30 };
    let Some(mut table) = root.table(source, "retain") else { return default };
    let mut number = |key, range, default| {
        table.number(source, key, range).and_then(|number| u32::try_from(number).ok()).unwrap_or(default)
    };
    let retain = Retain {
        newest: number("newest", 1..1_001, default.newest),
        days: number("days", 0..3_651, default.days),
    };
    table.finish(source, &["newest", "days"]);
    retain
}

fn deadlines(source: &mut Source<'_>, root: &mut Table<'_>) -> Waits {
    let minutes = |count: u64| Duration::from_secs(60 * count);
    let default =
        Waits { builder: minutes(30), validation: minutes(15), imaging: minutes(60), promotion: minutes(5) };
    let Some(mut table) = root.table(source, "deadlines") else { return default };
    let waits = Waits {
        builder: table.time(source, "builder", default.builder),
        validation: table.time(source, "validation", default.validation),
        imaging: table.time(source, "imaging", default.imaging),
        promotion: table.time(source, "promotion", default.promotion),
    };
    table.finish(source, &["builder", "validation", "imaging", "promotion"]);
    waits
}

/// The one kind that a step or test is of.
fn one_of(
    source: &mut Source<'_>,
    table: &Table<'_>,
    kinds: &'static [&'static str],
) -> Option<&'static str> {
    let mut named = kinds.iter().filter(|kind| table.has(kind));
    match (named.next(), named.next()) {
        (Some(kind), None) => Some(kind),
        (first, _) => {
            let what = &table.what;
            let problem = if first.is_none() {
                format!("{what} says nothing to do")
            } else {
                format!("{what} says two things to do")
            };
            source.wrong(&table.span, problem, format!("Give it exactly one of: {}", kinds.join(", ")));
            None
        }
    }
}

fn id<T>(source: &mut Source<'_>, at: &Range<usize>, parsed: Result<T, IdError>) -> Option<T> {
    parsed.map_err(|error| source.wrong(at, error.to_string(), format!("Use {}", error.rule))).ok()
}

/// A path on the machine: absolute, and not climbing.
fn absolute(source: &mut Source<'_>, (path, at): (String, Range<usize>)) -> Option<String> {
    let parts =
        Path::new(&path).components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if path.starts_with('/') && parts && !path.chars().any(char::is_control) {
        return Some(path);
    }
    source.wrong(
        &at,
        format!("`{}` is no absolute path", path.escape_debug()),
        "Begin it with `/`, without `..`",
    );
    None
}

/// A path beside the recipe: relative, not climbing, and there.
fn beside(source: &mut Source<'_>, (path, at): (String, Range<usize>), exists: Exists<'_>) -> Option<String> {
    let parts = Path::new(&path).components().all(|part| matches!(part, Component::Normal(_)));
    if !parts || path.chars().any(char::is_control) {
        let problem = format!("`{}` is no path beside the recipe", path.escape_debug());
        source.wrong(&at, problem, "Name a file in the recipe's folder, without `..`");
        return None;
    }
    if exists.is_some_and(|exists| !exists(Path::new(&path))) {
        source.wrong(
            &at,
            format!("there is no file `{path}` beside the recipe"),
            "Create it, or mend the path",
        );
        return None;
    }
    Some(path)
}
