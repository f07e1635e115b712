//! `ovenbird local` where no local cloud runs.

use std::{
    fs,
    io::Write as _,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
    path::Path,
    process::{Command, Output, Stdio},
};

fn ovenbird(home: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ovenbird"));
    command.args(arguments).env("OVENBIRD_HOME", home).stdin(Stdio::null());
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("OVENBIRD_LOCAL").output().expect("ovenbird")
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

/// A home as a local cloud leaves it; gives the file that stands for an image's disk.
fn used(home: &Path) -> std::path::PathBuf {
    let disk = home.join("snapshots/snap-1/disk");
    fs::create_dir_all(disk.parent().expect("a folder")).expect("made");
    fs::write(&disk, vec![1; 3 << 20]).expect("written");
    fs::create_dir_all(home.join("base/debian")).expect("made");
    disk
}

#[test]
fn a_reset_destroys_nothing_before_somebody_agreed() {
    let home = tempfile::tempdir().expect("a folder");
    let disk = used(home.path());
    let asked = ovenbird(home.path(), &["local", "reset"]);
    assert_eq!(asked.status.code(), Some(2), "{}", said(&asked));
    assert!(disk.exists(), "it was destroyed without a question");
    for words in ["snapshots (", "MiB): the disks of images", "--yes"] {
        assert!(said(&asked).contains(words), "no {words:?} in {}", said(&asked));
    }
    // A world that can't be read is a reason for a reset.
    fs::create_dir(home.path().join("state")).expect("made");
    for world in ["world.json", "world.redb"] {
        fs::write(home.path().join("state").join(world), "{").expect("written");
        let dry = ovenbird(home.path(), &["local", "reset", "--dry-run"]);
        assert!(dry.status.success() && said(&dry).contains("can't be read"), "{}", said(&dry));
    }
    assert!(disk.exists(), "a dry run destroyed it");
    let both = ovenbird(home.path(), &["local", "reset", "--dry-run", "--yes"]);
    assert_eq!(both.status.code(), Some(2), "{}", said(&both));
    assert!(disk.exists());

    let done = ovenbird(home.path(), &["local", "reset", "--yes", "--json"]);
    assert!(done.status.success(), "{}", said(&done));
    let plan: serde_json::Value = serde_json::from_slice(&done.stdout).expect("JSON");
    assert!(plan["folders"][1]["bytes"].as_u64().is_some_and(|bytes| bytes >= 3 << 20), "{plan}");
    assert!(!disk.exists() && home.path().join("base/debian").exists());
    let again = ovenbird(home.path(), &["local", "reset"]);
    assert!(again.status.success() && said(&again).contains("nothing to destroy"), "{}", said(&again));
}

#[test]
fn without_a_key_it_is_said_how_to_get_one() {
    let home = tempfile::tempdir().expect("a folder");
    for arguments in [&["local", "env"][..], &["local", "status"], &["--local", "list"]] {
        let output = ovenbird(home.path(), arguments);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains("no local cloud was ever started"), "{}", said(&output));
        assert!(said(&output).contains("`ovenbird local up`"), "{}", said(&output));
    }
}

/// At a terminal it asks, and takes only a yes for a yes.
#[test]
fn a_reset_at_a_terminal_does_what_is_answered() {
    let home = tempfile::tempdir().expect("a folder");
    let disk = used(home.path());
    // `script` gives it a terminal, as a person has one.
    let answer = |text: &str| {
        let command = format!("{} local reset", env!("CARGO_BIN_EXE_ovenbird"));
        let mut script = Command::new("script");
        script
            .args(["--quiet", "--return", "--command", &command, "/dev/null"])
            .env("OVENBIRD_HOME", home.path());
        let mut script = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script");
        let mut stdin = script.stdin.take().expect("its input");
        stdin.write_all(text.as_bytes()).expect("answered");
        let output = script.wait_with_output().expect("it ends");
        drop(stdin);
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    for no in ["\n", "n\n", "perhaps\n"] {
        let (status, said) = answer(no);
        assert!(said.contains("Destroy this? [y/N]") && said.contains("nothing was destroyed"), "{said}");
        assert_eq!(status, Some(1), "{said}");
        assert!(disk.exists(), "{no:?} was taken for a yes");
    }
    let (status, said) = answer("y\n");
    assert_eq!(status, Some(0), "{said}");
    assert!(!disk.exists(), "{said}");
}

#[test]
fn a_port_that_is_taken_is_told_with_who_has_it_also_when_that_one_says_nothing() {
    let home = tempfile::tempdir().expect("a folder");
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("its address").port().to_string();
    let repository = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let up = ["local", "up", "--port", &port, "--repository", repository];
    let begun = std::time::Instant::now();
    // With a key, as a local cloud of before left one, it asks whoever listens there.
    fs::create_dir(home.path().join("aws")).expect("made");
    let key = "[default]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = secret\n";
    fs::write(home.path().join("aws/credentials"), key).expect("written");
    let output = ovenbird(home.path(), &up);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains(&format!("port {port} is taken by ")), "{}", said(&output));
    assert!(said(&output).contains(&format!("(process {})", std::process::id())), "{}", said(&output));
    assert!(
        begun.elapsed() < std::time::Duration::from_secs(20),
        "it waited for a program that says nothing"
    );
}

#[test]
fn without_a_stack_to_deploy_up_is_no_success() {
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().display().to_string();
    let output = ovenbird(home.path(), &["local", "up", "--repository", &folder]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("no infra/template.yaml"), "{}", said(&output));
}

#[test]
fn another_user_is_told_whose_cloud_it_is() {
    if fs::metadata("/proc/self").expect("this process").uid() != 0 {
        assert!(std::env::var_os("CI").is_none(), "this needs root");
        println!("skipped: only root can become another user");
        return;
    }
    let home = tempfile::tempdir().expect("a folder");
    let program = home.path().join("ovenbird");
    fs::copy(env!("CARGO_BIN_EXE_ovenbird"), &program).expect("a copy that others may run");
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).expect("others may look");
    let cloud = home.path().join("cloud");
    fs::create_dir(&cloud).expect("a folder");
    fs::set_permissions(&cloud, fs::Permissions::from_mode(0o700)).expect("others may not look");
    let output = Command::new(&program)
        .args(["local", "shell", "i-0123456789abcdef0"])
        .env("OVENBIRD_HOME", &cloud)
        .uid(65_534)
        .gid(65_534)
        .output()
        .expect("ovenbird");
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for words in ["belongs to another user", "sudo"] {
        assert!(said.contains(words), "no {words:?} in {said}");
    }
}
