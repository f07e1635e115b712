//! The list itself, and the docs that show it.

use std::fs;

use super::{GOES, ID};
use crate::seal::list;

#[test]
fn the_list_is_sound() {
    let paths: Vec<&str> = list::RULES.iter().flat_map(|rule| rule.paths).copied().collect();
    for path in &paths {
        assert!(path.starts_with('/') || path.starts_with("~/"), "{path}");
        assert!(!path.contains("..") && !path.contains("**") && !path.ends_with('/'), "{path}");
        let first = path.trim_start_matches('~').split('/').nth(1).unwrap();
        assert!(!first.contains('*'), "{path}");
    }
    let mut unique = paths.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), paths.len(), "a path is there twice");
    // What must not stay is the first to go: a seal that is stopped by force leaves the least of it.
    let last = list::RULES.iter().rposition(|rule| rule.secret).unwrap();
    assert!(list::RULES[..last].iter().all(|rule| rule.secret));
    assert!(list::RULES.iter().all(|rule| !rule.why.is_empty() && !rule.source.is_empty()));
    assert!(GOES.iter().any(|path| path.contains(ID)));
}

/// `docs/recipe.md` shows the list: written by `OVENBIRD_UPDATE=1 cargo test -p ovenbird-runner seal`.
#[test]
fn the_docs_have_the_list() {
    const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/recipe.md");
    const BEGIN: &str = "<!-- list of the seal -->\n";
    const END: &str = "<!-- end of the list -->";
    let docs = fs::read_to_string(DOCS).unwrap();
    let (before, rest) = docs.split_once(BEGIN).unwrap();
    let after = rest.split_once(END).unwrap().1;
    let mut table =
        String::from("| what | where | what happens | why | who says so, too |\n|---|---|---|---|---|\n");
    for rule in list::RULES {
        let paths: Vec<String> = rule.paths.iter().map(|path| format!("`{path}`")).collect();
        let secret = if rule.secret { " 🔑" } else { "" };
        let fate = rule.fate.told();
        table.push_str(&format!(
            "| {}{secret} | {} | {fate} | {} | {} |\n",
            rule.what,
            paths.join(", "),
            rule.why,
            rule.source
        ));
    }
    let new = format!("{before}{BEGIN}{table}{END}{after}");
    if std::env::var_os("OVENBIRD_UPDATE").is_some() {
        fs::write(DOCS, new).unwrap();
    } else {
        assert!(new == docs, "{DOCS} is old: run `OVENBIRD_UPDATE=1 cargo test -p ovenbird-runner seal`");
    }
}
