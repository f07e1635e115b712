//! What no compiler sees: the state machines' graphs, the template with its roles, the floors of core, the paths in texts.

mod events;
mod floors;
mod guard;
mod infra;
mod json;
mod paths;
mod people;
mod policies;
mod port_actions;
mod state_machines;
mod steps;
mod supply;
mod unrun;

use std::path::{Path, PathBuf};

use ovenbird_tests::clients::repository;

/// Every Rust file below a folder of the repository, in order.
fn sources(folder: impl AsRef<Path>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(repository().join(folder)).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Checks that a document has, in its place for it, what was made from the code; with `OVENBIRD_UPDATE=1`, writes that.
#[track_caller]
fn generated(document: &str, mark: &str, made: &str) {
    let path = repository().join(document);
    let text = std::fs::read_to_string(&path).expect("a document");
    let (begin, end) = (format!("<!-- {mark} -->\n"), "<!-- end -->");
    let (head, rest) = text.split_once(&begin).expect("a place for what is made");
    let (there, tail) = rest.split_once(end).expect("an end of the place");
    if std::env::var_os("OVENBIRD_UPDATE").is_some() {
        std::fs::write(&path, format!("{head}{begin}{made}{end}{tail}"))
            .expect("a document that can be written");
    } else {
        let fix = "OVENBIRD_UPDATE=1 cargo test -p ovenbird-tests --test contracts";
        assert!(there == made, "{document} is old: {fix}");
    }
}
