//! The command as a person types it, where there is no cloud.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

fn command(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ovenbird"));
    command.args(arguments).current_dir(home).env("OVENBIRD_HOME", home).stdin(Stdio::null());
    for name in ["OVENBIRD_LOCAL", "OVENBIRD_STACK", "AWS_PROFILE", "AWS_ENDPOINT_URL"] {
        command.env_remove(name);
    }
    // Nobody's account is asked: the key is none, and nothing listens where SSM would be.
    command
        .env("AWS_ACCESS_KEY_ID", "none")
        .env("AWS_SECRET_ACCESS_KEY", "none")
        .env("AWS_REGION", "us-east-1");
    command.env("AWS_CONFIG_FILE", "/dev/null").env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    command.env("AWS_ENDPOINT_URL_SSM", "http://127.0.0.1:1").env("AWS_MAX_ATTEMPTS", "1");
    command
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

#[test]
fn an_empty_endpoint_is_none_as_for_awss_own_tools() {
    let home = tempfile::tempdir().expect("a folder");
    let output = command(home.path(), &["list"]).env("AWS_ENDPOINT_URL", "").output().expect("ovenbird");
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(
        said(&output).contains("can't be reached") && !said(&output).contains("panicked"),
        "{}",
        said(&output)
    );
}

#[test]
fn a_profile_means_aws_whatever_the_environment_says() {
    let home = tempfile::tempdir().expect("a folder");
    let output = command(home.path(), &["list", "--profile", "nobody"]).env("OVENBIRD_LOCAL", "1").output();
    let output = output.expect("ovenbird");
    assert!(said(&output).contains("AWS"), "{}", said(&output));
    assert!(!said(&output).contains("no local cloud was ever started"), "{}", said(&output));
    let output =
        command(home.path(), &["list", "--profile", "nobody", "--local"]).output().expect("ovenbird");
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("pass one of them"), "{}", said(&output));
}

#[test]
fn shells_complete_it_and_man_shows_it() {
    let home = tempfile::tempdir().expect("a folder");
    for (arguments, words) in [
        (&["completions", "bash"][..], &["--no-promote", "lineage"][..]),
        (&["completions", "zsh"], &["#compdef ovenbird"]),
        (&["completions", "fish"], &["complete -c ovenbird"]),
        (&["man"], &[".TH ovenbird", ".SH \"ovenbird bake\"", "keep\\-builder"]),
    ] {
        let output = command(home.path(), arguments).output().expect("ovenbird");
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        for word in words {
            assert!(said(&output).contains(word), "{arguments:?}: no {word:?}");
        }
    }
}

#[test]
fn a_bake_without_a_name_is_of_the_recipe_that_is_here() {
    let home = tempfile::tempdir().expect("a folder");
    let output = command(home.path(), &["explain", "--local"]).output().expect("ovenbird");
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("no recipe.toml here"), "{}", said(&output));
    assert!(command(home.path(), &["recipe", "new", "--pipeline", "shop"]).status().expect("run").success());
    let output = command(home.path(), &["explain", "--local"]).output().expect("ovenbird");
    assert!(said(&output).contains("no local cloud was ever started"), "{}", said(&output));
}
