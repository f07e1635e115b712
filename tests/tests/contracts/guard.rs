//! One place destroys: whoever called these ports elsewhere would destroy without asking.

use std::fs;

use super::sources;

/// The ports' methods that destroy, or take an image out of use.
const DESTROY: [&str; 7] = [
    ".terminate(",
    ".deregister(",
    ".delete_snapshot(",
    ".delete_volume(",
    ".delete_versions(",
    ".disable(",
    ".unprotect(",
];

#[test]
fn nothing_but_the_guard_destroys() {
    let files = ["crates/core/src", "crates/cli/src", "functions"].into_iter().flat_map(sources);
    let found: Vec<String> = files
        .flat_map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let lines = text.lines().filter(|line| DESTROY.iter().any(|method| line.contains(method)));
            lines.map(|line| format!("{}: {}", path.display(), line.trim())).collect::<Vec<_>>()
        })
        .collect();
    let (guard, others): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|call| call.contains("steps/guard.rs: ") || call.contains("steps/guard/"));
    for method in DESTROY {
        assert!(guard.iter().any(|call| call.contains(method)), "the guard doesn't call {method}");
    }
    let past_it: Vec<_> = others.iter().filter(|call| !call.contains("guard.")).collect();
    assert!(past_it.is_empty(), "{past_it:?}");
}
