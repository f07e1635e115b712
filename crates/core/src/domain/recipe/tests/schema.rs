//! The schema that editors use: as published, and never stricter than the parser.

use std::fs;

use boon::{Compiler, SchemaIndex, Schemas};

use super::{grammar::keep, *};

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
    let published = fs::read_to_string(PUBLISHED).unwrap_or_default();
    keep(PUBLISHED, &published, &format!("{:#}\n", Recipe::schema()));
}

#[test]
fn what_the_schema_can_tell_it_refuses() {
    let judge = Judge::new();
    judge.judge(FULL).unwrap();
    judge.judge(WHOLE).unwrap();
    for (good, bad) in [
        ("pipeline = \"storefront\"", "pipeline = \"Store front\""),
        ("instance-types = [", "instnce-types = ["),
        ("port = 8080", "port = 80800"),
        ("port = 8080", "port = 8080\ncommand = \"true\""),
        ("port = 8080", "port = 8080\nexit = 1"),
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
