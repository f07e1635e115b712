//! The seal as the builder runs it: what it reports, and when.

use std::fs;

use ovenbird_core::domain::report::SealReport;

use super::cloud::World;

fn report(world: &World) -> SealReport {
    serde_json::from_str(&world.object("seal.json")).unwrap()
}

/// A machine that was worked on, with what an image must not have.
fn used() -> World {
    let world = World::new();
    for (path, text) in
        [("etc/ssh/ssh_host_rsa_key", "secret"), ("var/lib/cloud/instance/user-data.txt", "url")]
    {
        let path = world.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    world
}

#[test]
fn the_report_of_the_seal_comes_last_and_leaves_no_trace() {
    for arguments in ["seal", "seal --keep-running"] {
        let world = used();
        let output = world.run(arguments, &world.plan(vec![]));
        assert!(output.status.success(), "{output:?}");
        assert_eq!(report(&world).problem, None);
        // Everything was gone when it came, and nothing came back with it.
        assert!(!world.state.lock().unwrap().unsealed["seal.json"]);
        assert!(!world.own("").exists());
        assert!(!world.root.path().join("etc/ssh/ssh_host_rsa_key").exists());
        assert_eq!(world.files_with("X-Amz-Signature"), Vec::<std::path::PathBuf>::new());
    }
}

#[test]
fn a_seal_that_fails_half_way_says_so_and_is_no_whole_one() {
    let world = used();
    // A file in the place of the folder that is to be emptied.
    fs::remove_dir_all(world.root.path().join("etc/ssh")).unwrap();
    fs::write(world.root.path().join("etc/ssh"), "").unwrap();
    let output = world.run("seal", &world.plan(vec![]));
    assert_eq!(output.status.code(), Some(255), "{output:?}");
    assert!(report(&world).problem.is_some());
}

#[test]
fn a_report_that_the_bucket_is_too_busy_for_is_tried_again() {
    let world = used();
    world.state.lock().unwrap().busy = 2;
    let output = world.run("seal", &world.plan(vec![]));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(report(&world).problem, None);
}

#[test]
fn a_seal_that_can_t_report_fails_in_words() {
    let world = used();
    world.state.lock().unwrap().takes_nothing = true;
    let output = world.run("seal", &world.plan(vec![]));
    assert_eq!(output.status.code(), Some(255));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("could not report") && said.contains("403"), "{said}");
    assert!(!said.contains("X-Amz-Signature"), "{said}");
    assert!(world.state.lock().unwrap().objects.is_empty());
}

#[test]
fn a_seal_that_is_delivered_twice_is_one() {
    let world = used();
    let plan = world.plan(vec![]);
    assert!(world.run("seal", &plan).status.success());
    fs::remove_dir_all(world.own("")).ok();
    let first = report(&world);
    let program = env!("CARGO_BIN_EXE_ovenbird-runner");
    let root = world.root.path().to_str().unwrap();
    let again = std::process::Command::new(program).args(["seal", "--root", root]).output().unwrap();
    assert!(again.status.success(), "{again:?}");
    assert_eq!(report(&world), first);
}
