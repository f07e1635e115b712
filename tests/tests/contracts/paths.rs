//! What documents and comments name is there: a file that moves takes every mention of it along.

use std::{fs, path::PathBuf};

use ovenbird_tests::clients::repository;

use crate::sources;

/// A mention begins with one of the repository's folders…
const FOLDERS: &[&str] =
    &[".cargo", ".ci", "crates", "docs", "examples", "functions", "infra", "statemachine", "tests", "tools"];
/// …or, short, with one of `crates/core/src`. What is said of recipes' code may name their tests.
const FLOORS: &[&str] = &["domain", "functions", "ports", "steps", "store", "views"];

/// Whether a text in backticks that looks like a path of ours names nothing.
fn is_missing(mention: &str) -> bool {
    let path = mention.split(['*', '…', '<']).next().unwrap_or_default();
    let path = path.split("NAME").next().unwrap_or_default().trim_end_matches('/');
    let Some((first, _)) = path.split_once('/') else { return false };
    if path.contains(char::is_whitespace) {
        return false;
    }
    let exists = |root: PathBuf| root.join(path).exists() || root.join(format!("{path}.rs")).exists();
    let whole = FOLDERS.contains(&first);
    let short = FLOORS.contains(&first);
    (whole || short)
        && !(whole && exists(repository()))
        && !(first == "tests" && exists(repository().join("crates/core/src/domain/recipe")))
        && !(short && exists(repository().join("crates/core/src")))
}

/// Every text in backticks of one line.
fn mentions(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// The targets of a line's links within the repository, without their anchors.
fn links(line: &str) -> impl Iterator<Item = &str> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    targets.filter(|target| !target.contains("://")).filter_map(|target| target.split('#').next())
}

fn documents() -> Vec<PathBuf> {
    let folders = ["", "docs", "docs/decisions", "infra", "statemachine", "examples"];
    let entries = folders.map(|folder| fs::read_dir(repository().join(folder)).expect(folder));
    let paths = entries.into_iter().flatten().map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

#[test]
fn the_files_that_documents_name_are_there() {
    let mut wrong = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).expect("text");
        let folder = document.parent().expect("a folder");
        for line in text.lines() {
            let lost = links(line).filter(|target| !folder.join(target).exists());
            wrong.extend(
                mentions(line)
                    .filter(|text| is_missing(text))
                    .chain(lost)
                    .map(|text| format!("{}: {text}", document.display())),
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_files_that_comments_name_are_there() {
    let mut wrong = Vec::new();
    for file in ["crates", "functions", "tests"].iter().flat_map(sources) {
        let text = fs::read_to_string(&file).expect("text");
        let comments = text.lines().filter(|line| line.trim_start().starts_with("//"));
        let lost = comments.flat_map(mentions).filter(|text| is_missing(text));
        wrong.extend(lost.map(|text| format!("{}: {text}", file.display())));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_mention_of_what_is_gone_is_seen() {
    for gone in ["tests/no-such-file", "steps/no_such_step", "crates/core/src/no_such.rs"] {
        assert!(is_missing(gone), "{gone}");
    }
    for fine in [
        "docs/recipe.md",
        "steps/guard",
        "tools/*.txt",
        "docs/NAME.md",
        "functions/decision",
        "artifacts/x",
        "a b",
    ] {
        assert!(!is_missing(fine), "{fine}");
    }
    assert_eq!(links("[a](docs/x.md#y), [b](https://z)").collect::<Vec<_>>(), ["docs/x.md"]);
}
