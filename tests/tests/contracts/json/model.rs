//! The shapes of documents, and how a reader and a program are told of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use serde_json::{Map, Value, json};

/// What JSON has in a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json {
    Text,
    Time,
    Number,
    Truth,
    Anything,
    OrNull(Box<Json>),
    List(Box<Json>),
    /// An object whose keys aren't known before.
    Map(Box<Json>),
    /// A shape by its name.
    Shape(String),
    Either(Vec<Json>),
    /// An object of one field, as an enum's variant with something in it is written.
    Tagged(String, Box<Json>),
    /// This text alone.
    Word(String),
}

impl Json {
    /// In words, with links to the shapes.
    pub fn text(&self) -> String {
        match self {
            Self::Text => "text".into(),
            Self::Time => "time".into(),
            Self::Number => "number".into(),
            Self::Truth => "true or false".into(),
            Self::Anything => "anything".into(),
            Self::OrNull(inner) => format!("{} or null", inner.text()),
            Self::List(inner) => format!("list of {}", inner.text()),
            Self::Map(inner) => format!("object: each value is {}", inner.text()),
            Self::Shape(name) => format!("[{name}](#{})", name.to_lowercase()),
            Self::Either(all) => all.iter().map(Self::text).collect::<Vec<_>>().join(" or "),
            Self::Tagged(key, inner) => format!("`{{\"{key}\": …}}` with {}", inner.text()),
            Self::Word(word) => format!("`\"{word}\"`"),
        }
    }

    fn schema(&self) -> Value {
        match self {
            Self::Text => json!({ "type": "string" }),
            Self::Time => json!({ "type": "string", "format": "date-time" }),
            Self::Number => json!({ "type": "number" }),
            Self::Truth => json!({ "type": "boolean" }),
            Self::Anything => json!({}),
            Self::OrNull(inner) => match inner.schema() {
                Value::Object(mut schema) if schema.get("type").is_some_and(Value::is_string) => {
                    schema.insert("type".into(), json!([schema["type"], "null"]));
                    Value::Object(schema)
                }
                schema => json!({ "anyOf": [schema, { "type": "null" }] }),
            },
            Self::List(inner) => json!({ "type": "array", "items": inner.schema() }),
            Self::Map(inner) => json!({ "type": "object", "additionalProperties": inner.schema() }),
            Self::Shape(name) => json!({ "$ref": format!("#/$defs/{name}") }),
            Self::Either(all) => json!({ "anyOf": all.iter().map(Self::schema).collect::<Vec<_>>() }),
            Self::Tagged(key, inner) => {
                json!({ "type": "object", "properties": { key: inner.schema() }, "required": [key] })
            }
            Self::Word(word) => json!({ "const": word }),
        }
    }
}

/// One field of an object.
#[derive(Debug, Clone)]
pub struct Field {
    pub name: String,
    pub json: Json,
    pub may_be_missing: bool,
    pub doc: String,
}

/// One kind of object, or of word.
#[derive(Debug, Clone)]
pub enum Shape {
    Object(Vec<Field>),
    /// Each with what it means.
    OneOf(Vec<(Json, String)>),
}

/// Every document, and the shapes in them.
#[derive(Debug, Default)]
pub struct Model {
    pub documents: Vec<(String, Json)>,
    pub shapes: BTreeMap<String, Shape>,
    /// Whose type a shape is, by the file that has it: two of one name would be mixed up.
    pub whose: BTreeMap<String, String>,
    /// What a shape is for.
    pub docs: BTreeMap<String, String>,
}

impl Model {
    /// A table of the commands.
    pub fn commands(&self) -> String {
        let mut text = "| command | what it prints |\n|---|---|\n".to_owned();
        for (command, json) in &self.documents {
            let _ = writeln!(text, "| `{command}` | {} |", json.text());
        }
        text
    }

    /// A table of each shape.
    pub fn tables(&self) -> String {
        let mut text = String::new();
        for (name, shape) in &self.shapes {
            let _ = write!(text, "### {name}\n\n{}\n\n", self.docs[name]);
            match shape {
                Shape::Object(fields) => {
                    text.push_str("| field | type | what it is |\n|---|---|---|\n");
                    for Field { name, json, may_be_missing, doc } in fields {
                        let missing = if *may_be_missing { ", may be missing" } else { "" };
                        let _ = writeln!(text, "| `{name}` | {}{missing} | {doc} |", json.text());
                    }
                }
                Shape::OneOf(all) => {
                    text.push_str("| value | what it means |\n|---|---|\n");
                    for (json, doc) in all {
                        let value = match json {
                            Json::Word(word) => format!("`{word}`"),
                            other => other.text(),
                        };
                        let _ = writeln!(text, "| {value} | {doc} |");
                    }
                }
            }
            text.push('\n');
        }
        text
    }

    /// Every row of these tables: a command with its document, `Bake.image` with its type, `Stage=seal` with none.
    pub fn rows(&self) -> BTreeMap<String, String> {
        let commands = self.documents.iter().map(|(command, json)| (command.clone(), json.text()));
        let mut rows: BTreeMap<_, _> = commands.collect();
        for (of, shape) in &self.shapes {
            match shape {
                Shape::Object(fields) => rows.extend(fields.iter().map(|field| {
                    let missing = if field.may_be_missing { ", may be missing" } else { "" };
                    (format!("{of}.{}", field.name), format!("{}{missing}", field.json.text()))
                })),
                Shape::OneOf(all) => {
                    let words = all.iter().filter_map(|(json, _)| match json {
                        Json::Word(word) => Some((format!("{of}={word}"), String::new())),
                        _ => None,
                    });
                    rows.extend(words);
                }
            }
        }
        rows
    }

    /// As JSON Schema, with the documents by their commands.
    pub fn schema(&self, title: &str) -> Value {
        let documents: Map<String, Value> =
            self.documents.iter().map(|(command, json)| (command.clone(), json.schema())).collect();
        let shapes: Map<String, Value> = self
            .shapes
            .iter()
            .map(|(name, shape)| {
                let schema = match shape {
                    Shape::Object(fields) => {
                        let properties: Map<String, Value> =
                            fields.iter().map(|field| (field.name.clone(), field.json.schema())).collect();
                        let always = fields.iter().filter(|field| !field.may_be_missing);
                        let required: BTreeSet<&String> = always.map(|field| &field.name).collect();
                        json!({ "type": "object", "properties": properties, "required": required })
                    }
                    Shape::OneOf(all) => {
                        json!({ "anyOf": all.iter().map(|(json, _)| json.schema()).collect::<Vec<_>>() })
                    }
                };
                (name.clone(), schema)
            })
            .collect();
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": title,
            "documents": documents,
            "$defs": shapes,
        })
    }
}
