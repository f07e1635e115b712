//! What `--json` prints is a promise: `docs/json.md` and `docs/json.schema.json` are made of the types that are printed.
//!
//! Within a version, fields are added; none goes, is renamed, or gets another type. There is one naming (`snake_case`), and
//! what there is none of is `null` and not missing.

pub(super) mod model;
pub(super) mod types;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use ovenbird_tests::clients::repository;
use regex::Regex;
use serde_json::{Value, json};

use self::{
    model::{Json, Model, Shape},
    types::Types,
};
use super::generated;

/// What each command prints.
const DOCUMENTS: &[(&str, &str)] = &[
    ("bake", "BakeView"),
    ("bake --children", "Vec<BakeView>"),
    ("bake --detach", "Detached"),
    ("cancel", "BakeView"),
    ("channels", "Vec<ChannelView>"),
    ("clean", "Pruned"),
    ("doctor", "Checkup"),
    ("explain", "Explanation"),
    ("fleet", "Vec<OnImage>"),
    ("follow", "BakeView"),
    ("follow --children", "Vec<BakeView>"),
    ("history", "Vec<ChannelView>"),
    ("hold", "ChannelView"),
    ("lineage", "Lineage"),
    ("list", "Vec<RowView>"),
    ("local df", "DiskUse"),
    ("local down", "Downed"),
    ("local env", "BTreeMap<String, String>"),
    ("local import", "Imported"),
    ("local interrupt", "Interrupted"),
    ("local list", "Vec<RunningCloud>"),
    ("local logs", "Vec<String>"),
    ("local logs FUNCTION", "Vec<LogLine>"),
    ("local logs INSTANCE", "Console"),
    ("local open", "LocalForward"),
    ("local open --close", "Vec<LocalForward>"),
    ("local open --list", "Vec<LocalForward>"),
    ("local reset", "ResetPlan"),
    ("local status", "LocalStatus"),
    ("local up", "LocalStatus"),
    ("logs", "Vec<Log>"),
    ("open", "LocalForward"),
    ("pipeline limits", "LimitsView"),
    ("pipeline list", "Vec<PipelineRow>"),
    ("pipeline pause", "PipelineRow"),
    ("pipeline remove", "RemovalView"),
    ("pipeline rename", "RenamePlan"),
    ("pipeline resume", "PipelineRow"),
    ("promote", "Asked"),
    ("promote --dry-run", "PromotionPlan"),
    ("prune", "Pruned"),
    ("prune explain", "Verdict"),
    ("prune history", "Vec<Past>"),
    ("prune undo", "Verdict"),
    ("recipe check", "Checked"),
    ("recipe diff", "Difference"),
    ("recipe history", "Vec<Version>"),
    ("recipe list", "Vec<Version>"),
    ("recipe new", "Written"),
    ("recipe pull", "Pulled"),
    ("recipe push", "Pushed"),
    ("recipe revert", "Reverted"),
    ("recipe show", "ShownRecipe"),
    ("release", "ChannelView"),
    ("rollback", "Asked"),
    ("rollback --dry-run", "PromotionPlan"),
    ("rollout", "RolloutView"),
    ("runner push", "RunnerPointer"),
    ("show", "ShowView"),
    ("status", "Vec<PipelineStatus>"),
    ("tests", "Reports"),
    ("any, when it fails", "Failed"),
];

/// What prints no document: a text that another program reads, or nothing.
const NO_DOCUMENT: &[&str] = &["completions", "local serve", "local shell", "man", "recipe schema", "ui"];

/// The version that the command prints.
fn version() -> u64 {
    let text = fs::read_to_string(repository().join("crates/cli/src/command.rs")).expect("the commands");
    let found = Regex::new(r"(?m)^const JSON: u8 = (\d+);").expect("a pattern");
    found.captures(&text).expect("the version")[1].parse().expect("a number")
}

fn model() -> Model {
    let types = Types::read(&["crates/core/src", "crates/cli/src", "crates/local/src"]);
    let mut model = Model::default();
    for (command, printed) in DOCUMENTS {
        let parsed = syn::parse_str(printed).expect("a type");
        let json = types.json(&parsed, None, &mut model);
        model.documents.push(((*command).to_owned(), json));
    }
    model
}

#[test]
fn the_documents_of_json_are_what_docs_say_and_nothing_of_a_version_goes() {
    let model = model();
    let made = (format!("Version {}\n\n{}", version(), model.commands()), model.tables());
    let path = repository().join("docs/json.md");
    let before = fs::read_to_string(&path).expect("docs/json.md");
    let broken = broken(&before, version(), &model.rows());
    assert!(
        broken.is_empty(),
        "scripts read what is gone or has another type now; keep it, or make it a version of its own (`JSON` in \
         crates/cli/src/command.rs): {broken:#?}"
    );
    generated("docs/json.md", "documents", &made.0);
    generated("docs/json.md", "types", &made.1);
    let title = format!("What `ovenbird --json` prints, version {}", version());
    let schema = format!("{}\n", serde_json::to_string_pretty(&model.schema(&title)).expect("a schema"));
    let path = repository().join("docs/json.schema.json");
    if std::env::var_os("OVENBIRD_UPDATE").is_some() {
        fs::write(&path, &schema).expect("a schema that can be written");
    }
    assert_eq!(
        fs::read_to_string(&path).unwrap_or_default(),
        schema,
        "docs/json.schema.json is old: OVENBIRD_UPDATE=1 cargo test -p ovenbird-tests --test contracts"
    );
}

/// What a text of the documents promises, and the types no longer keep: `Bake.image: text or null`.
pub(super) fn broken(docs: &str, version: u64, now: &BTreeMap<String, String>) -> Vec<String> {
    let promised = Regex::new(r"(?m)^Version (\d+)$").expect("a pattern");
    let Some(promised) = promised.captures(docs).map(|found| found[1].parse::<u64>().expect("a number"))
    else {
        return Vec::new();
    };
    if promised < version {
        return Vec::new();
    }
    let mut of = String::new();
    let mut gone = Vec::new();
    for line in docs.lines() {
        if let Some(name) = line.strip_prefix("### ") {
            of = name.to_owned();
        }
        let cells: Vec<&str> = line.split(" | ").collect();
        let Some(field) = cells[0].strip_prefix("| `").and_then(|cell| cell.strip_suffix('`')) else {
            continue;
        };
        let (key, kind) = if of.is_empty() {
            (field.to_owned(), cells[1].trim_end_matches(" |").to_owned())
        } else if cells.len() > 2 {
            (format!("{of}.{field}"), cells[1].to_owned())
        } else {
            (format!("{of}={field}"), String::new())
        };
        // A command that is there no more, or prints something else, is one, too. What is always there now breaks nobody.
        let always = kind.strip_suffix(", may be missing").unwrap_or(&kind);
        if now.get(&key).is_none_or(|now| *now != kind && now != always) {
            gone.push(format!("{key}: {kind}"));
        }
    }
    gone
}

#[test]
fn what_breaks_scripts_is_seen() {
    let docs = "Version 1\n\n| command | what it prints |\n|---|---|\n| `show` | [Bake](#bake) |\n\n### Bake\n\n| field | type | what it is |\n|---|---|---|\n| `bake` | text | id |\n| `image` | text or null | it |\n\n### Stage\n\n| value | what it means |\n|---|---|\n| `seal` | it is sealed |\n";
    let now = |rows: &[(&str, &str)]| -> BTreeMap<String, String> {
        rows.iter().map(|(key, kind)| ((*key).to_owned(), (*kind).to_owned())).collect()
    };
    let same = [
        ("show", "[Bake](#bake)"),
        ("Bake.bake", "text"),
        ("Bake.image", "text or null"),
        ("Stage=seal", ""),
    ];
    assert!(broken(docs, 1, &now(&same)).is_empty());
    assert!(broken(docs, 1, &now(&[&same[..], &[("Bake.new", "text")]].concat())).is_empty());
    assert_eq!(broken(docs, 1, &now(&same[..3])), ["Stage=seal: "]);
    assert_eq!(broken(docs, 1, &now(&same[1..])), ["show: [Bake](#bake)"]);
    let changed =
        [("show", "[Bake](#bake)"), ("Bake.bake", "text"), ("Bake.image", "text"), ("Stage=seal", "")];
    assert_eq!(broken(docs, 1, &now(&changed)), ["Bake.image: text or null"]);
    assert!(broken(docs, 2, &now(&changed)).is_empty());
    let missing = docs.replace("| text or null |", "| text or null, may be missing |");
    assert!(broken(&missing, 1, &now(&same)).is_empty());
    let mut goes = now(&same);
    goes.insert("Bake.image".to_owned(), "text or null, may be missing".to_owned());
    assert_eq!(broken(docs, 1, &goes), ["Bake.image: text or null"]);
}

#[test]
fn names_are_of_one_kind_and_nothing_is_missing_where_there_is_none() {
    let model = model();
    let name = Regex::new("^[a-z][a-z0-9_]*$").expect("a pattern");
    for (of, shape) in &model.shapes {
        let Shape::Object(fields) = shape else { continue };
        for field in fields {
            assert!(name.is_match(&field.name), "`{}` of `{of}` isn't in snake_case", field.name);
            assert!(!field.doc.is_empty(), "`{}` of `{of}` has no doc", field.name);
            assert!(
                !field.may_be_missing,
                "`{}` of `{of}` is missing where there is none: print null or an empty list",
                field.name
            );
        }
    }
}

#[test]
fn every_command_has_a_document() {
    let types = Types::read(&["crates/cli/src"]);
    let mut typed = BTreeSet::new();
    for (before, of) in [
        ("", "Command"),
        ("local ", "LocalCommand"),
        ("pipeline ", "PipelineCommand"),
        ("prune ", "What"),
        ("recipe ", "RecipeCommand"),
        ("runner ", "RunnerCommand"),
    ] {
        typed.extend(types.variants(of).into_iter().map(|word| format!("{before}{word}")));
    }
    for group in ["local", "pipeline", "recipe", "runner"] {
        assert!(typed.remove(group), "no command `{group}`");
    }
    let known: BTreeSet<String> = DOCUMENTS
        .iter()
        .map(|(command, _)| *command)
        .chain(NO_DOCUMENT.iter().copied())
        // Options and arguments make another document of the same command.
        .map(|command| {
            let words = command.split(' ').take_while(|word| word.chars().all(char::is_lowercase));
            words.collect::<Vec<_>>().join(" ")
        })
        .filter(|command| !command.is_empty())
        .collect();
    assert_eq!(typed, known);
}

#[test]
fn the_schema_takes_an_error_and_refuses_one_without_a_hint() {
    let schema = model().schema("What `ovenbird --json` prints");
    assert_eq!(schema["$defs"]["Error"]["required"], json!(["causes", "hint", "message", "name"]));
    assert_eq!(schema["$defs"]["Bake"]["properties"]["image"]["type"], json!(["string", "null"]));
    assert_eq!(schema["documents"]["list"]["items"]["anyOf"].as_array().map(Vec::len), Some(2));
    assert_eq!(schema["documents"]["show"], json!({ "$ref": "#/$defs/Show" }));
    let _: &Value = &schema;
    assert_eq!(Json::Text.text(), "text");
}
