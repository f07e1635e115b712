//! The JSON Schema of `recipe.toml`, made of the grammar: what editors complete, describe and check while one types.
//!
//! The parser stays the judge: it knows more than a schema can say, and the schema never refuses what it takes.

use serde_json::{Map, Value, json};

use super::grammar::{Judge, Key, Kind, Need, RECIPE, Rule, Table, Values};
use crate::domain::digest::sorted;

/// The schema. Draft 7 is what editors' TOML extensions know best.
pub(super) fn schema() -> Value {
    let mut schema = table(&RECIPE);
    schema["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    schema["title"] = "Ovenbird recipe".into();
    schema["description"] = sentence(RECIPE.doc).into();
    sorted(&schema)
}

fn table(table: &Table) -> Value {
    let keys: Map<String, Value> =
        table.keys.iter().map(|known| (known.name.to_owned(), key(known))).collect();
    let mut schema = json!({ "type": "object", "additionalProperties": false, "properties": keys });
    let needed = table.keys.iter().filter(|key| matches!(key.need, Need::Needed(_)));
    let needed: Vec<&str> = needed.map(|key| key.name).collect();
    if !needed.is_empty() {
        schema["required"] = needed.into();
    }
    if table.choice.is_some() {
        schema["oneOf"] = table.choices().map(|choice| json!({ "required": [choice] })).collect();
    }
    let owned = table.keys.iter().filter_map(|key| Some((key.name.to_owned(), json!([key.belongs_to?]))));
    let owned: Map<String, Value> = owned.collect();
    if !owned.is_empty() {
        schema["dependencies"] = owned.into();
    }
    if table.filled {
        schema["minProperties"] = 1.into();
    }
    schema
}

fn key(key: &Key) -> Value {
    let mut schema = value(&key.kind);
    let text = sentence(&key.text());
    schema["description"] = match key.need {
        Need::Absent(words) if !words.is_empty() => format!("{text} Without it: {words}.").into(),
        Need::Needed(_) | Need::Choice | Need::Default(_) | Need::Empty | Need::Absent(_) => text.into(),
    };
    if let Need::Default(toml) = key.need {
        schema["default"] = default(toml);
    }
    if let (Kind::Tables(_), Need::Needed(_)) = (&key.kind, &key.need) {
        schema["minItems"] = 1.into();
    }
    schema
}

/// A default as JSON.
fn default(toml: &str) -> Value {
    let table = toml::from_str::<Map<String, Value>>(&format!("value = {toml}"));
    table.ok().and_then(|mut table| table.remove("value")).unwrap_or_default()
}

fn value(kind: &Kind) -> Value {
    match kind {
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Number { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Time => json!({ "type": "string", "pattern": "^[0-9]+[smh]$" }),
        Kind::Text | Kind::AnyText | Kind::BesideFile | Kind::BesideFolder => json!({ "type": "string" }),
        Kind::Line(rule) => text(rule),
        Kind::List { items, filled } => list(items, *filled),
        Kind::Names(rule) => json!({ "anyOf": [text(rule), list(rule, true)] }),
        Kind::Program => {
            json!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
        }
        Kind::Map { names, values, filled, max } => {
            let values = match values {
                Values::Text => json!({ "type": "string" }),
                Values::Line(rule) => text(rule),
                Values::Json => true.into(),
            };
            let mut schema = json!({ "type": "object", "additionalProperties": values });
            if let Some(pattern) = names.pattern {
                schema["propertyNames"] = json!({ "pattern": pattern });
            }
            if filled.is_some() {
                schema["minProperties"] = 1.into();
            }
            if let Some(max) = max {
                schema["maxProperties"] = (*max).into();
            }
            schema
        }
        Kind::Table(of) => table(of),
        Kind::TableOr(main, of) => {
            let mut full = table(of);
            full["description"] = sentence(of.doc).into();
            let short = of.keys.iter().filter(|known| known.name == *main).map(key);
            json!({ "anyOf": short.chain([full]).collect::<Vec<_>>() })
        }
        Kind::Tables(of) => {
            let mut items = table(of);
            items["description"] = sentence(of.doc).into();
            json!({ "type": "array", "items": items })
        }
    }
}

fn text(rule: &Rule) -> Value {
    let mut schema = json!({ "type": "string" });
    if let Judge::Choice { of, .. } = rule.judge {
        schema["enum"] = of.into();
    }
    if let Some(pattern) = rule.pattern {
        schema["pattern"] = pattern.into();
    }
    schema
}

fn list(rule: &Rule, filled: bool) -> Value {
    let mut schema = json!({ "type": "array", "items": text(rule) });
    if filled {
        schema["minItems"] = 1.into();
    }
    schema
}

/// What the grammar says of a key, as an editor shows it.
fn sentence(doc: &str) -> String {
    let mut letters = doc.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}
