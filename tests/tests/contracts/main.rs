//! What no compiler sees: the state machines' graphs, the template with its roles, the floors of core, the paths in texts.

mod floors;
mod guard;
mod infra;
mod paths;
mod policies;
mod port_actions;
mod state_machines;
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
