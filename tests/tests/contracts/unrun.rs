//! No test stands where `cargo test` doesn't look.

use std::{fs, path::Path};

use ovenbird_tests::clients::repository;

use crate::sources;

/// The folders of the crates, and whether each keeps its library or its programs out of `cargo test`.
fn crates() -> Vec<(String, bool)> {
    let mut found = vec!["tests".to_owned()];
    for folder in ["crates", "functions"] {
        let entries = fs::read_dir(repository().join(folder)).expect("a folder");
        found.extend(entries.map(|entry| {
            let name = entry.expect("an entry").file_name();
            Path::new(folder).join(name).display().to_string()
        }));
    }
    let kept_out = |folder: &str| {
        let manifest = fs::read_to_string(repository().join(folder).join("Cargo.toml")).expect("a manifest");
        manifest.lines().any(|line| line.trim() == "test = false")
    };
    found.into_iter().map(|folder| (folder.clone(), kept_out(&folder))).collect()
}

#[test]
fn a_crate_whose_sources_are_not_tested_has_no_test_in_them() {
    let untested: Vec<_> = crates().into_iter().filter(|(_, kept_out)| *kept_out).collect();
    assert!(untested.iter().any(|(folder, _)| folder == "crates/aws"), "{untested:?}");
    for (folder, _) in untested {
        for file in sources(format!("{folder}/src")) {
            let text = fs::read_to_string(&file).expect("text");
            assert!(!text.contains("#[test]"), "{} has a test that `cargo test` never runs", file.display());
        }
    }
}
