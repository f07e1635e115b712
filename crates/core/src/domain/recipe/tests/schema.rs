//! The schema that editors use: as published, and never stricter than the parser.

use std::{env, fs};

use boon::{Compiler, SchemaIndex, Schemas};

use super::*;

/// The file that the repository publishes.
const PUBLISHED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/recipe.schema.json");

/// Judges a recipe's text by the schema.
pub(super) struct Judge(Schemas, SchemaIndex);

impl Judge {
    pub(super) fn new() -> Self {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource("recipe.schema.json", Recipe::schema()).unwrap();
        let index = compiler.compile("recipe.schema.json", &mut schemas).unwrap();
        Self(schemas, index)
    }

    pub(super) fn judge(&self, text: &str) -> Result<(), String> {
        let value: Value = toml::from_str(text).map_err(|error| error.to_string())?;
        self.0.validate(&value, self.1).map_err(|error| format!("{error:#}"))
    }
}

#[test]
fn the_published_schema_is_up_to_date() {
    let schema = format!("{:#}\n", Recipe::schema());
    if env::var_os("OVENBIRD_WRITE_SCHEMA").is_some() {
        fs::write(PUBLISHED, &schema).unwrap();
    }
    let published = fs::read_to_string(PUBLISHED).unwrap_or_default();
    assert!(
        published == schema,
        "run `OVENBIRD_WRITE_SCHEMA=1 cargo test -p ovenbird-core published_schema`"
    );
}

/// Every key of every table, as `Table.key`.
pub(super) fn keys(schema: &Value) -> Vec<String> {
    let tables = schema["definitions"].as_object().unwrap().iter();
    let tables = tables.map(|(name, table)| (name.as_str(), table)).chain([("Recipe", schema)]);
    tables
        .filter_map(|(name, table)| Some((name, table["properties"].as_object()?)))
        .flat_map(|(name, keys)| keys.keys().map(move |key| format!("{name}.{key}")))
        .collect()
}

#[test]
fn schema_and_parser_know_the_same_keys() {
    let judge = Judge::new();
    judge.judge(FULL).unwrap();
    for key in keys(&Recipe::schema()) {
        let word = key.split_once('.').unwrap().1;
        // Three of `[base]`'s four can't stand in one recipe with the fourth.
        let base = ["Base.image", "Base.parameter", "Base.channel", "Artifact.to"].contains(&key.as_str());
        let used = FULL.contains(&format!("{word} = ")) || FULL.contains(&format!("{word}]"));
        assert!(used || base, "{key} is in the schema and in no recipe");
    }
}

#[test]
fn what_the_schema_can_tell_it_refuses() {
    let judge = Judge::new();
    judge.judge(WHOLE).unwrap();
    for (good, bad) in [
        ("pipeline = \"storefront\"", "pipeline = \"Store front\""),
        ("instance-types = [", "instnce-types = ["),
        ("port = 8080", "port = 80800"),
        ("port = 8080", "port = 8080\ncommand = \"true\""),
        ("port = 8080", ""),
        ("shell = \"useradd --system storefront\"", "package = []"),
        ("within = \"60s\"", "within = \"a minute\""),
        ("channel = \"production\"", ""),
    ] {
        let text = WHOLE.replace(good, bad);
        assert!(judge.judge(&text).is_err(), "{bad}");
        assert!(Recipe::parse_pushed(&text).is_err(), "{bad}");
    }
}
