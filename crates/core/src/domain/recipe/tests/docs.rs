//! `docs/recipe.md`: its tables are the grammar's, and what it shows works.

use std::fmt::Write as _;

use super::{
    grammar::{find, keep},
    *,
};
use crate::domain::recipe::{
    grammar::{Key, Kind, Need, RECIPE, Table},
    template::Filling,
};

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/recipe.md");
const BEGIN: &str = "<!-- keys of ";
const END: &str = "<!-- end of keys -->";

fn docs() -> String {
    std::fs::read_to_string(DOCS).unwrap()
}

/// The tables that a mark of the docs asks for: `<!-- keys of step.file -->`.
fn marks(docs: &str) -> Vec<&str> {
    docs.split(BEGIN).skip(1).map(|rest| rest.split_once(" -->").unwrap().0).collect()
}

#[test]
fn the_tables_of_the_docs_are_the_grammar_s() {
    let docs = docs();
    let asked: Vec<&str> = marks(&docs).iter().flat_map(|mark| mark.split(", ")).collect();
    let mut parts = docs.split(BEGIN);
    let mut text = parts.next().unwrap().to_owned();
    for part in parts {
        let (mark, rest) = part.split_once(" -->").unwrap();
        let after = rest.split_once(END).unwrap_or_else(|| panic!("no end of the keys of {mark}")).1;
        write!(text, "{BEGIN}{mark} -->\n{}{END}{after}", table(mark, &asked)).unwrap();
    }
    keep(DOCS, &docs, &text);
}

/// Each key has a row; but a kind of step or test has a section.
#[test]
fn the_docs_leave_no_table_out() {
    let docs = docs();
    let asked: Vec<&str> = marks(&docs).iter().flat_map(|mark| mark.split(", ")).collect();
    for key in RECIPE.keys {
        let own = key.kind.table().into_iter().flat_map(|table| {
            let listed = matches!(key.kind, Kind::Tables(_));
            table.keys.iter().filter(move |inner| listed && inner.kind.table().is_some())
        });
        let paths = own.map(|inner| format!("{}.{}", key.name, inner.name));
        for path in key.kind.table().map(|_| key.name.to_owned()).into_iter().chain(paths) {
            assert!(asked.contains(&path.as_str()), "no table has the keys of {path}");
        }
    }
    for list in ["step", "test"] {
        let section =
            docs.split(&format!("\n## `[[{list}]]`")).nth(1).unwrap().split("\n## ").next().unwrap();
        let headings: String = section.lines().filter(|line| line.starts_with("### ")).collect();
        for kind in find(list).unwrap().choices() {
            assert!(headings.contains(&format!("`{kind}`")), "no section is about the {list} `{kind}`");
        }
    }
}

fn table(mark: &str, asked: &[&str]) -> String {
    let mut rows = Vec::new();
    for path in mark.split(", ") {
        let prefix = match mark.contains(", ") {
            true => format!("{}.", path.rsplit('.').next().unwrap()),
            false => String::new(),
        };
        match find(path) {
            Some(table) => add(&mut rows, &prefix, path, table, asked),
            // What stands beside a kind that is no table.
            None => {
                let (list, kind) = path.split_once('.').unwrap();
                let keys = find(list).unwrap().keys.iter().filter(|key| key.belongs_to == Some(kind));
                rows.extend(keys.map(|key| row("", key, false)));
            }
        }
    }
    assert!(!rows.is_empty(), "{mark} has no keys");
    let defaults = rows.iter().any(|row| !row[2].is_empty());
    let mut text =
        if defaults { "| key | | default |\n|---|---|---|\n" } else { "| key | |\n|---|---|\n" }.to_owned();
    for [key, doc, default] in rows {
        match (defaults, default.as_str()) {
            (true, "") => writeln!(text, "| `{key}` | {doc} | |").unwrap(),
            (true, default) => writeln!(text, "| `{key}` | {doc} | {default} |").unwrap(),
            (false, _) => writeln!(text, "| `{key}` | {doc} |").unwrap(),
        }
    }
    text
}

fn add(rows: &mut Vec<[String; 3]>, prefix: &str, path: &str, table: &Table, asked: &[&str]) {
    let listed = ["step", "test"].contains(&path);
    for key in table.keys {
        if listed && (matches!(key.need, Need::Choice) || key.belongs_to.is_some()) {
            continue;
        }
        rows.push(row(prefix, key, path == "recipe"));
        let inner = if path == "recipe" { key.name.to_owned() } else { format!("{path}.{}", key.name) };
        if let Some(table) = key.kind.table().filter(|_| !asked.contains(&inner.as_str())) {
            add(rows, &format!("{prefix}{}.", key.name), &inner, table, asked);
        }
    }
}

fn row(prefix: &str, key: &Key, in_root: bool) -> [String; 3] {
    let default = match key.need {
        Need::Needed(_) => "needed".to_owned(),
        Need::Default(toml) => format!("`{toml}`"),
        Need::Empty => "see below".to_owned(),
        Need::Absent(words) => words.to_owned(),
        Need::Choice => String::new(),
    };
    [format!("{prefix}{}", key.shown(in_root)), key.text(), default]
}

#[test]
fn every_example_of_the_docs_is_a_recipe_s() {
    let docs = docs();
    let mut count = 0;
    let examples: Vec<&str> =
        docs.split("```toml\n").skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect();
    for (place, example) in examples.iter().enumerate() {
        // A template is a recipe with the values of the example after it, and those are none by themselves.
        if example.contains("${var.") {
            let filling = Filling::read("recipe.toml", examples[place + 1]).unwrap().expect("its values");
            parse(&filling.fill("template.toml", example).unwrap());
            continue;
        }
        if example.contains("\ntemplate = ") {
            continue;
        }
        // An example shows a part: the rest of a recipe is put around it.
        let mut text = (*example).to_owned();
        for (part, rest) in [
            ("[base]", "\n[base]\nimage = \"ami-0123456789abcdef0\"\n"),
            ("[promote]", "\n[promote]\nchannel = \"production\"\n"),
            ("[[test]]", "\n[[test]]\nport = 80\n"),
        ] {
            if !text.contains(part) {
                text.push_str(rest);
            }
        }
        if !text.contains("pipeline =") {
            text.insert_str(0, "pipeline = \"shop\"\n");
        }
        parse(&text);
        count += 1;
    }
    assert!(count > 15, "{count} examples");
}
