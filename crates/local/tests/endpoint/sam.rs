//! AWS's SAM CLI on the endpoint: the very template of the repository, deployed as to AWS, functions and all.

use std::{fs, path::Path};

use crate::cloud::{Cloud, options};

#[test]
fn sam_deploys_the_template_and_its_functions_run() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = tempfile::tempdir().expect("a folder");
    let Some(options) = options(folder.path()) else { return };
    let missing = [options.home.python().with_file_name("sam"), repository.join("build/prune/bootstrap")];
    if let Some(missing) = missing.iter().find(|path| !path.is_file()) {
        assert!(std::env::var_os("CI").is_none(), "{} is missing: `make setup build`", missing.display());
        eprintln!("SKIPPED: there is no {}; `make setup build` makes it", missing.display());
        return;
    }
    let cloud = Cloud::start(options);
    let mut sam = cloud.client("sam");
    sam.current_dir(&repository).env("SAM_CLI_TELEMETRY", "0").env("HOME", folder.path());
    sam.args(["deploy", "--stack-name", "by-sam", "--no-confirm-changeset", "--no-progressbar"]);
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
    sam.args(["--parameter-overrides", &format!("Architecture={architecture}")]);
    let output = sam.output().expect("sam");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");

    let stack = ["cloudformation", "describe-stacks", "--stack-name", "by-sam"];
    assert_eq!(cloud.aws(&[&stack[..], &["--query", "Stacks[0].StackStatus"]].concat()), "CREATE_COMPLETE");
    // What was zipped by SAM is a function that answers: with an error of ours, for it was given nothing.
    let answer = folder.path().join("answer");
    let answer = answer.to_str().expect("a path");
    let invoke = ["lambda", "invoke", "--function-name", "by-sam-poll-readiness", "--payload", "{}", answer];
    assert!(cloud.aws(&invoke).contains("Unhandled"));
    let answer: serde_json::Value =
        serde_json::from_slice(&fs::read(answer).expect("an answer")).expect("JSON");
    assert_eq!(answer["errorType"], "BadInput", "{answer}");
    cloud.down();
}
