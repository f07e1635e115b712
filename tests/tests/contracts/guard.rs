//! One place destroys: whoever called these ports elsewhere would destroy without asking.

use std::{fs, path::Path};

use ovenbird_tests::clients::repository;

/// The ports' methods that destroy.
const DESTROY: [&str; 4] = [".terminate(", ".deregister(", ".delete_snapshot(", ".delete_volume("];

fn calls(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            calls(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let lines = text.lines().filter(|line| DESTROY.iter().any(|method| line.contains(method)));
            found.extend(lines.map(|line| format!("{}: {}", path.display(), line.trim())));
        }
    }
}

#[test]
fn nothing_but_the_guard_destroys() {
    let mut found = Vec::new();
    for folder in ["crates/core/src", "crates/cli/src", "functions"] {
        calls(&repository().join(folder), &mut found);
    }
    let (guard, others): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|call| call.contains("steps/guard.rs: "));
    for method in DESTROY {
        assert!(guard.iter().any(|call| call.contains(method)), "the guard doesn't call {method}");
    }
    let past_it: Vec<_> = others.iter().filter(|call| !call.contains("guard.")).collect();
    assert!(past_it.is_empty(), "{past_it:?}");
}
