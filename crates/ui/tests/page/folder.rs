//! The pages in a folder.

use std::{collections::BTreeSet, fs, path::Path};

use ovenbird_ui::{Options, export};

use crate::account::{Desk, large, usual};

fn written(desk: impl FnOnce() -> Desk) -> (tempfile::TempDir, usize) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let pages = runtime.block_on(async {
        let desk = desk();
        let now = desk.cloud.now();
        let options = Options {
            changes: true,
            command: "ovenbird".into(),
            place: "a test".into(),
            reach: String::new(),
        };
        export(desk, &path, &options, now).await.unwrap()
    });
    (folder, pages)
}

fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

#[test]
fn every_link_of_the_folder_leads_to_a_file_in_it() {
    let (folder, pages) = written(usual);
    let mut found = Vec::new();
    files(folder.path(), &mut found);
    let html: Vec<_> = found.iter().filter(|path| path.extension().is_some_and(|it| it == "html")).collect();
    assert_eq!(html.len(), pages);
    let mut led_to = BTreeSet::from([folder.path().join("index.html")]);
    for file in &html {
        let text = fs::read_to_string(file).unwrap();
        let links = text.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
        for link in links.filter(|link| !link.starts_with('#') && !link.starts_with("data:")) {
            let target = file.parent().unwrap().join(link).canonicalize();
            let target = target.unwrap_or_else(|_| panic!("{} leads to {link}", file.display()));
            assert!(target.starts_with(folder.path().canonicalize().unwrap()), "{link}");
            led_to.insert(target);
        }
    }
    let lost: Vec<_> = html.iter().filter(|file| !led_to.contains(**file)).collect();
    assert_eq!(lost, Vec::<&&std::path::PathBuf>::new(), "nothing leads there");
}

#[test]
fn a_copy_has_no_script_and_changes_nothing() {
    let (folder, _) = written(usual);
    let mut found = Vec::new();
    files(folder.path(), &mut found);
    for file in found.iter().filter(|path| path.extension().is_some_and(|it| it == "html")) {
        let text = fs::read_to_string(file).unwrap();
        for word in ["<script", "<form", "http-equiv=\"refresh\"", "class=\"act\"", "--allow-changes"] {
            assert!(!text.contains(word), "{} has {word}", file.display());
        }
        assert!(text.contains("default-src 'none'") && text.contains("This is a copy"));
    }
}

/// Nobody looks at a copy again.
#[test]
fn a_copy_leaves_no_parameter_for_later() {
    let (folder, _) = written(|| large(25));
    let text = fs::read_to_string(folder.path().join("index.html")).unwrap();
    assert!(text.contains("service-024/stable") && !text.contains("still to be read"), "{text}");
}
