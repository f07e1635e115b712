//! What is built and installed is what was chosen: versions and hashes, and nothing that floats.

use std::{collections::BTreeMap, fs};

use ovenbird_tests::clients::repository;

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).expect(path)
}

/// The requirements of a file, without comments, each with its hashes on its line.
fn requirements(path: &str) -> Vec<String> {
    let text = read(path).replace("\\\n", " ");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

/// `boto3-stubs[s3]==1.0 ; python_version < '3.11' --hash=…` as its name and its version.
fn pin(line: &str) -> (String, String) {
    let (name, rest) = line.split_once("==").unwrap_or_else(|| panic!("not pinned: {line}"));
    let version = rest.split_whitespace().next().unwrap_or_default();
    (name.split('[').next().unwrap_or_default().trim().to_lowercase(), version.to_owned())
}

#[test]
fn every_python_package_is_pinned_with_its_hashes() {
    let mut seen = BTreeMap::<String, Vec<String>>::new();
    for file in ["local", "tests", "release", "lint", "custodian"] {
        let locked = requirements(&format!("tools/locked/{file}.txt"));
        for line in &locked {
            let (name, version) = pin(line);
            assert!(line.contains("--hash=sha256:"), "{file}: {name} has no hash");
            seen.entry(name).or_default().push(version);
        }
        let pins: Vec<_> = locked.iter().map(|line| pin(line)).collect();
        for wanted in requirements(&format!("tools/{file}.txt")) {
            assert!(pins.contains(&pin(&wanted)), "{wanted}: make tools/locked anew with tools/lock");
        }
    }
    assert!(seen.len() > 50, "{}", seen.len());
    let setup = read("tools/setup");
    // Each call of pip, with the line that it goes on in.
    let setup = setup.replace("\\\n", " ");
    for line in setup.lines().filter(|line| line.contains("/pip\" install")) {
        assert!(
            line.contains("--require-hashes --only-binary :all:") || line.contains("\"${arguments[@]}\""),
            "{line}"
        );
    }
    assert!(setup.contains("arguments=(--require-hashes --only-binary :all:)"), "pip takes anything");
}

#[test]
fn every_build_takes_the_lock_file_as_it_is() {
    let makefile = read("Makefile").replace("\\\n", " ");
    let mut checked = 0;
    for line in makefile.lines().filter(|line| line.starts_with('\t')) {
        for verb in ["build", "check", "clippy", "run", "test", "lambda build", "install"] {
            let Some((_, arguments)) = line.split_once(&format!("cargo {verb} ")) else { continue };
            checked += 1;
            assert!(arguments.contains("--locked"), "{line}");
        }
    }
    assert!(checked > 8, "{checked}");
}
