//! The verbs as the builder runs them: everything comes by URL, and every report goes by URL.

use std::{fs, io::Write as _, os::unix::fs::PermissionsExt as _, time::Duration};

use super::cloud::{World, shell, step};
use ovenbird_core::{
    domain::{
        digest::sha256,
        plan::{Bundle, Download, PresignedUrl},
        recipe::{Action, Artifact, Content, Placement, Test, TestKind},
        report::{Exit, ProvisionReport, TestReport},
    },
    store::recipes::{FileFacts, files_digest},
};

pub fn upload(world: &World, name: &str, bytes: Vec<u8>) -> Download {
    let sha256 = sha256(&bytes);
    world.state.lock().unwrap().objects.insert(name.into(), bytes);
    Download { url: PresignedUrl::new(format!("{}/bucket/{name}", world.url)), sha256 }
}

/// A recipe's files, as they are pushed.
pub fn upload_files(world: &World, files: &[(&str, &str)]) -> Bundle {
    let facts = |text: &str| FileFacts { sha256: sha256(text.as_bytes()), mode: 0o644 };
    let digest = files_digest(&files.iter().map(|(name, text)| ((*name).to_owned(), facts(text))).collect());
    Bundle { archive: upload(world, "bundle", bundle(files)), files: digest }
}

pub fn bundle(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (name, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

fn command(run: &str, junit: Option<&str>) -> TestKind {
    TestKind::Command {
        run: run.into(),
        exit: 0,
        stdout_contains: None,
        stderr_contains: None,
        junit: junit.map(str::to_owned),
    }
}

fn test(name: &str, kind: TestKind) -> Test {
    Test { name: name.into(), kind, within: Duration::ZERO }
}

#[test]
fn a_war_is_unpacked_and_steps_have_the_recipe_s_files() {
    let world = World::new();
    let mut war = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    war.start_file("WEB-INF/web.xml", zip::write::SimpleFileOptions::default()).unwrap();
    war.write_all(b"<web-app/>").unwrap();
    let war = upload(&world, "shop.war", war.finish().unwrap().into_inner());
    let mut plan = world.plan(vec![
        shell("reads", "cat conf/app.conf"),
        step(
            "writes",
            Action::File {
                to: "/etc/app.conf".into(),
                content: Content::Source("conf/app.conf".into()),
                mode: 0o600,
                owner: None,
            },
        ),
    ]);
    plan.artifact = Some((war, artifact(Placement::UnpackTo("/opt/shop".into()))));
    plan.bundle = Some(upload_files(&world, &[("conf/app.conf", "port = 1")]));
    let output = world.run("provision", &plan);
    assert!(output.status.success(), "{output:?}");
    let report: ProvisionReport = serde_json::from_str(&world.object("provision.json")).unwrap();
    assert_eq!(
        report.steps.iter().map(|step| step.name.as_str()).collect::<Vec<_>>(),
        ["fetch", "reads", "writes"]
    );
    assert_eq!(report.steps[1].output_tail, "port = 1");
    assert_eq!(fs::read(world.root.path().join("opt/shop/WEB-INF/web.xml")).unwrap(), b"<web-app/>");
    assert_eq!(fs::read(world.root.path().join("etc/app.conf")).unwrap(), b"port = 1");
    // The seal leaves nothing of it.
    assert!(world.run("seal", &plan).status.success());
    assert!(!world.own("").exists());
}

/// Whoever may write the recipe's folder in the bucket can put another bundle there, with its own SHA-256 beside it.
#[test]
fn files_that_are_not_those_that_were_pushed_stop_everything() {
    let pushed = [("setup.sh", "echo good"), ("conf/app.conf", "port = 1")];
    let others: [(&str, Vec<u8>); 4] = [
        ("another content", bundle(&[("setup.sh", "echo evil"), ("conf/app.conf", "port = 1")])),
        ("one file more", bundle(&[pushed[0], pushed[1], ("more", "")])),
        ("one file less", bundle(&[pushed[0]])),
        ("another path", bundle(&[pushed[0], ("conf/app.conf2", "port = 1")])),
    ];
    for (what, bytes) in others {
        let world = World::new();
        let mut plan = world.plan(vec![shell("never", "true")]);
        plan.tests = vec![test("never", command("true", None))];
        let files = upload_files(&world, &pushed).files;
        plan.bundle = Some(Bundle { archive: upload(&world, "bundle", bytes), files });
        assert!(!world.run("provision", &plan).status.success(), "{what}");
        let report: ProvisionReport = serde_json::from_str(&world.object("provision.json")).unwrap();
        let [fetch] = &report.steps[..] else { panic!("{what}: {report:?}") };
        assert_eq!(fetch.name, "fetch");
        let wrong =
            |problem: &str| problem.contains("not what was pushed") && problem.contains("should have");
        assert!(matches!(&fetch.exit, Exit::Failed(problem) if wrong(problem)), "{what}: {fetch:?}");
        // A fresh instance of the image says so in its tests' report.
        assert_eq!(world.run("test", &plan).status.code(), Some(1));
        let report: TestReport = serde_json::from_str(&world.object("test.json")).unwrap();
        let [fetch] = &report.tests[..] else { panic!("{what}: {report:?}") };
        assert!(!fetch.passed && wrong(&fetch.detail), "{what}: {fetch:?}");
    }
}

#[test]
fn a_file_that_became_executable_on_its_way_is_not_what_was_pushed() {
    let world = World::new();
    let mut plan = world.plan(vec![]);
    let mut bundle = upload_files(&world, &[("setup.sh", "true")]);
    let facts = FileFacts { sha256: sha256(b"true"), mode: 0o755 };
    bundle.files = files_digest(&[("setup.sh".to_owned(), facts)].into());
    plan.bundle = Some(bundle);
    assert!(!world.run("provision", &plan).status.success());
}

#[test]
fn an_artifact_that_is_not_what_was_uploaded_stops_everything() {
    let world = World::new();
    let mut plan = world.plan(vec![shell("never", "true")]);
    let mut download = upload(&world, "app", b"one".to_vec());
    download.sha256 = sha256(b"another");
    plan.artifact = Some((download, artifact(Placement::To("/opt/app".into()))));
    assert!(!world.run("provision", &plan).status.success());
    let report: ProvisionReport = serde_json::from_str(&world.object("provision.json")).unwrap();
    let [fetch] = &report.steps[..] else { panic!("{report:?}") };
    assert!(matches!(&fetch.exit, Exit::Failed(problem) if problem.contains("SHA-256")), "{fetch:?}");
}

fn artifact(place: Placement) -> Artifact {
    Artifact { place, mode: None, owner: None, names: None }
}

#[test]
fn a_program_that_was_uploaded_can_be_run_and_that_is_said() {
    let world = World::new();
    let path = world.root.path().join("opt/app");
    let mut plan = world.plan(vec![shell("runs it", &path.display().to_string())]);
    let download = upload(&world, "app", b"#!/bin/sh\necho it runs\n".to_vec());
    plan.artifact = Some((download, artifact(Placement::To("/opt/app".into()))));
    let output = world.run("provision", &plan);
    let report: ProvisionReport = serde_json::from_str(&world.object("provision.json")).unwrap();
    assert!(output.status.success(), "{report:?}");
    assert!(report.steps[0].output_tail.contains("its mode is 0755"), "{report:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("its mode is 0755"), "{output:?}");
    assert_eq!(report.steps[1].output_tail, "it runs");
}

/// As `docs/recipe.md` tells it.
#[test]
fn what_a_step_finds_around_it_is_this() {
    let world = World::new();
    let report = "env | sort | grep -v -e ^PWD= -e ^_= -e ^SHLVL= -e ^OLDPWD=; pwd; umask; test -t 0 || echo no terminal";
    let output = world.run("provision", &world.plan(vec![shell("looks", report)]));
    assert!(output.status.success(), "{output:?}");
    let report: ProvisionReport = serde_json::from_str(&world.object("provision.json")).unwrap();
    let lines: Vec<&str> = report.steps[0].output_tail.lines().collect();
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert!(lines[3].starts_with("PATH=") && lines[3].ends_with(path), "{lines:?}");
    let files = world.own("files").display().to_string();
    let expected = [
        "DEBIAN_FRONTEND=noninteractive",
        "HOME=/root",
        "LANG=C.UTF-8",
        lines[3],
        &files,
        "0022",
        "no terminal",
    ];
    assert_eq!(lines, expected);
    let docs = include_str!("../../../../docs/recipe.md");
    for word in
        [path, "`DEBIAN_FRONTEND=noninteractive`", "`HOME=/root`", "`LANG=C.UTF-8`", "`APT_CONFIG`", "`0022`"]
    {
        assert!(docs.contains(word), "docs/recipe.md says nothing of {word}");
    }
}

/// The folder is as user data makes it, closed to others. A step that gives its rights up gets to the recipe's files by
/// every way that it could take, and to nothing else.
#[test]
fn another_user_reaches_the_recipe_s_files_and_nothing_else() {
    if !nix::unistd::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "this test needs root");
        return println!("SKIPPED: it needs root");
    }
    let world = World::new();
    fs::set_permissions(world.root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir_all(world.own("")).unwrap();
    fs::set_permissions(world.own(""), fs::Permissions::from_mode(0o700)).unwrap();
    let other = "setpriv --reuid 65534 --regid 65534 --clear-groups";
    let run = format!(
        "here=$PWD\n{other} sh -ec \"sh $here/deep/in/it.sh; cd $here/..; cd $here; cat deep/in/it.sh\""
    );
    let looks = format!("{other} sh -ec 'cat ../plan.json || cat ../report.json || ls .. || ls ../logs'");
    let mut plan = world.plan(vec![shell("as another", &run)]);
    plan.bundle = Some(upload_files(&world, &[("deep/in/it.sh", "echo reached\n")]));
    plan.tests = vec![test("looks", command(&looks, None))];
    let output = world.run("provision", &plan);
    let report: ProvisionReport = serde_json::from_str(&world.object("provision.json")).unwrap();
    assert!(output.status.success(), "{report:?}");
    assert_eq!(report.steps[1].output_tail, "reached\necho reached");
    assert_eq!(world.run("test", &plan).status.code(), Some(1));
    let detail = world.object("test.json");
    assert_eq!(detail.matches("Permission denied").count(), 4, "{detail}");
}

/// On a fresh instance there is no file of the recipe until the tests fetch them.
#[test]
fn every_test_runs_and_every_case_of_a_suite_is_reported() {
    let world = World::new();
    let suite = "cat > it.xml <<'X'\n<testsuite><testcase name=\"good\" time=\"0.5\"/>\
                 <testcase name=\"bad\"><error message=\"oops\"/></testcase></testsuite>\nX\n";
    let mut plan = world.plan(vec![]);
    plan.bundle = Some(upload_files(&world, &[("suite.sh", suite)]));
    plan.tests = vec![
        test("fails", command("echo no >&2; exit 1", None)),
        test("suite", command("sh suite.sh", Some("it.xml"))),
        test("hangs", command("sleep 600", None)),
        test("passes", command("test -e suite.sh", None)),
    ];
    let output = world.run("test", &plan);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report: TestReport = serde_json::from_str(&world.object("test.json")).unwrap();
    let seen: Vec<(&str, bool, &str)> =
        report.tests.iter().map(|test| (test.name.as_str(), test.passed, test.detail.as_str())).collect();
    let expected = [
        ("fails", false, "exit 1, not exit 0: no"),
        ("suite: good", true, "passed"),
        ("suite: bad", false, "failed: oops"),
        ("hangs", false, "timed out after 1 s, not exit 0"),
        ("passes", true, "exit 0"),
    ];
    assert_eq!(seen, expected);
    let xml = world.object("junit.xml");
    assert!(xml.contains("tests=\"5\" failures=\"3\"") && xml.contains("name=\"suite: bad\""), "{xml}");
}
