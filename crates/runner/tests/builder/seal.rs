//! The seal as the builder runs it: what it reports, and when.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    process::{Child, Command, Output},
    time::Duration,
};

use ovenbird_core::domain::report::SealReport;

use super::cloud::World;

fn report(world: &World) -> SealReport {
    serde_json::from_str(&world.object("seal.json")).unwrap()
}

/// A machine that was worked on, with what an image must not have.
fn used() -> World {
    let world = World::new();
    use_again(&world);
    world
}

fn use_again(world: &World) {
    for (path, text) in [
        ("etc/ssh/ssh_host_rsa_key", "secret"),
        ("var/lib/cloud/instance/user-data.txt", "url"),
        ("var/lib/amazon/ssm/Vault/Store/RegistrationKey", "secret"),
        ("root/.bash_history", "typed"),
    ] {
        let path = world.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
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
    fs::remove_dir_all(world.root.path().join("var/lib/cloud")).unwrap();
    fs::write(world.root.path().join("var/lib/cloud"), "").unwrap();
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

#[test]
fn a_machine_that_is_no_builder_is_not_sealed() {
    let world = used();
    // The home of a local cloud has the same name.
    for path in ["state/world.redb", "base/debian/etc/os-release"] {
        fs::create_dir_all(world.own(path).parent().unwrap()).unwrap();
        fs::write(world.own(path), "somebody's").unwrap();
    }
    let seal = || world.command("seal").output().unwrap();
    let output = seal();
    assert_eq!(output.status.code(), Some(255), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("this machine is no builder"), "{output:?}");
    assert_eq!(fs::read_to_string(world.own("state/world.redb")).unwrap(), "somebody's");
    assert!(world.own("base/debian/etc/os-release").exists());
    // What an interrupted seal left has the program, and goes.
    fs::write(world.own("ovenbird-runner"), "").unwrap();
    assert!(String::from_utf8_lossy(&seal().stderr).contains("the plan is gone"));
    assert!(!world.own("").exists());
}

/// Programs of systemd 219, which refuse what came later, and note what they were asked.
fn systemd_219(world: &World) {
    fs::create_dir_all(world.root.path().join("run/systemd/system")).unwrap();
    let noted = world.root.path().join("orders");
    let only = |known: &str| {
        format!(
            "echo \"$(basename \"$0\") $*\" >> {}\nfor word; do case $word in {known}) ;; -*) echo \"unrecognized option $word\" >&2; exit 1;; esac; done\n",
            noted.display()
        )
    };
    let known = "--on-active=*|--timer-property=*|--unit=*|--property=*|--description=*|--scope|--remain-after-exit|--quiet";
    world.program("usr/bin/systemd-run", &only(known));
    let known = "--version|--signal=*|--kill-who=*|--no-block|--no-pager|--quiet|--";
    world.program(
        "usr/bin/systemctl",
        &format!("{}[ \"$1\" != --version ] || echo systemd 219\n", only(known)),
    );
    world.program("usr/bin/journalctl", &only("--vacuum-time=*|--vacuum-size=*|--flush"));
}

fn orders(world: &World) -> Vec<String> {
    let text = fs::read_to_string(world.root.path().join("orders")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn the_oldest_systemd_seals_and_powers_off() {
    let world = used();
    systemd_219(&world);
    let output = world.run("seal", &world.plan(vec![]));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(report(&world).problem, None);
    assert_eq!(
        orders(&world),
        [
            "systemctl daemon-reload",
            "systemctl start ovenbird-last-word.service",
            "systemctl --version",
            "systemd-run --on-active=300ms --timer-property=AccuracySec=10ms systemctl poweroff",
        ]
    );
}

#[test]
fn a_newer_journal_is_told_to_keep_to_memory_and_a_spot_builder_runs_on() {
    let world = used();
    systemd_219(&world);
    world.program("usr/bin/systemctl", "[ \"$1\" != --version ] || echo 'systemd 252 (252.39-1~deb12u1)'\n");
    world.program(
        "usr/bin/journalctl",
        &format!("echo \"journalctl $*\" >> {}\n", world.root.path().join("orders").display()),
    );
    let output = world.run("seal --keep-running", &world.plan(vec![]));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(orders(&world), ["journalctl --relinquish-var"]);
}

#[test]
fn a_machine_without_systemd_powers_off_in_its_own_way() {
    let world = used();
    let output = world.run("seal", &world.plan(vec![]));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(orders(&world), ["poweroff"]);
}

/// A program that waits for a signal, and does not outlive a test that failed before.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = (self.0.kill(), self.0.wait());
    }
}

/// The unit that stays for the last word, as systemd runs it.
#[test]
fn what_was_written_since_the_seal_goes_when_the_machine_goes_down() {
    let world = used();
    systemd_219(&world);
    let root = world.root.path().to_owned();
    // `systemctl start` starts what the unit says, and waits until it is ready.
    let socket = root.join("notify");
    let ready = UnixDatagram::bind(&socket).unwrap();
    ready.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut plan = world.plan(vec![]);
    plan.seal.keep = vec!["/root/.bash_history".into()];
    fs::create_dir_all(world.own("")).unwrap();
    fs::write(world.own("plan.json"), serde_json::to_vec(&plan).unwrap()).unwrap();
    let program = world.own("ovenbird-runner");
    let copied = Command::new("install")
        .args(["-m", "700", env!("CARGO_BIN_EXE_ovenbird-runner")])
        .arg(&program)
        .status();
    assert!(copied.unwrap().success());
    let mut last_word = Ended(
        Command::new(&program)
            .args(["seal", "--last-word", "--root", root.to_str().unwrap()])
            .env("NOTIFY_SOCKET", &socket)
            .spawn()
            .unwrap(),
    );
    let mut said = [0; 64];
    let length = ready.recv(&mut said).unwrap();
    assert_eq!(&said[..length], b"READY=1");

    assert!(world.run("seal --keep-running", &plan).status.success());
    assert!(
        root.join("var/lib/amazon/ssm/Vault/Store/RegistrationKey").exists(),
        "the agent still has to answer"
    );
    assert!(!program.exists());
    use_again(&world);
    let private = root.join("tmp/systemd-private-1-shop.service-2/tmp/x");
    fs::create_dir_all(private.parent().unwrap()).unwrap();
    fs::write(&private, "secret").unwrap();
    let unit = fs::read_to_string(root.join("run/systemd/system/ovenbird-last-word.service")).unwrap();
    assert!(unit.contains("Type=notify\n") && unit.contains("ovenbird-runner' seal --last-word"), "{unit}");

    let pid = nix::unistd::Pid::from_raw(last_word.0.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(last_word.0.wait().unwrap().success());
    for path in [
        "etc/ssh/ssh_host_rsa_key",
        "var/lib/cloud/instance/user-data.txt",
        "var/lib/amazon/ssm/Vault/Store/RegistrationKey",
        "var/lib/ovenbird",
        // Its service is stopped by then.
        "tmp/systemd-private-1-shop.service-2",
    ] {
        assert!(!root.join(path).exists(), "{path}");
    }
    assert!(root.join("root/.bash_history").exists(), "the recipe keeps it");
}

/// Runs a script with the runner and the machine's root as its arguments, in mounts of its own; none without root.
fn in_mounts(world: &World, script: &str) -> Option<Output> {
    if !nix::unistd::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "only root can mount");
        println!("SKIPPED: only root can mount");
        return None;
    }
    let text = format!("set -e; runner=$1 root=$2; cd \"$root\"\n{script}");
    let mut command = Command::new("unshare");
    command
        .args(["-m", "sh", "-c", &text, "sh", env!("CARGO_BIN_EXE_ovenbird-runner")])
        .arg(world.root.path());
    Some(command.output().unwrap())
}

#[test]
fn nothing_that_is_mounted_is_entered() {
    let world = used();
    let root = world.root.path();
    for (path, text) in [
        ("opt/app/app.jar", "jar"),
        ("opt/app/a.log", "data"),
        ("opt/file", "data"),
        ("var/log/bound.log", "a log"),
        ("tmp/other", "x"),
    ] {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), text).unwrap();
    }
    fs::create_dir_all(world.own("")).unwrap();
    world.prepare(&world.plan(vec![]));
    let script = "mkdir -p tmp/app tmp/deep/memory var/log/bound
        mount --bind opt/app tmp/app
        mount --bind opt/app var/log/bound
        mount --bind opt/file var/log/bound.log
        mount -t tmpfs tmpfs tmp/deep/memory
        echo kept > tmp/deep/memory/file
        \"$runner\" seal --dry-run --root \"$root\"
        \"$runner\" seal --root \"$root\"
        cat tmp/deep/memory/file";
    let Some(output) = in_mounts(&world, script) else { return };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    assert!(said.ends_with("kept\n"), "{said}");
    for line in [
        "  /var/log/bound  (something is mounted there)",
        "  /var/log/bound.log  (something is mounted there)",
        "  /tmp/app  (something is mounted there)",
        "  /tmp/deep/memory  (something is mounted there)",
        "ovenbird: /tmp/app stays: something is mounted there",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }
    for (path, text) in [("opt/app/app.jar", "jar"), ("opt/app/a.log", "data"), ("opt/file", "data")] {
        assert_eq!(fs::read_to_string(root.join(path)).unwrap(), text, "{path}");
    }
    assert!(!root.join("tmp/other").exists());
    assert_eq!(report(&world).problem, None);
}

#[test]
fn a_secret_under_a_mount_ends_the_seal_before_anything_is_removed() {
    let world = used();
    fs::create_dir_all(world.own("")).unwrap();
    world.prepare(&world.plan(vec![]));
    let script = "mkdir -p opt/cloud; cp -a var/lib/cloud/. opt/cloud; mount --bind opt/cloud var/lib/cloud
        ! \"$runner\" seal --root \"$root\"";
    let Some(output) = in_mounts(&world, script) else { return };
    assert!(output.status.success(), "{output:?}");
    let problem = report(&world).problem.unwrap();
    assert!(
        problem.contains("nothing was removed")
            && problem.contains("/var/lib/cloud: something is mounted there"),
        "{problem}"
    );
    assert!(world.root.path().join("etc/ssh/ssh_host_rsa_key").exists());
}

#[test]
fn a_machine_whose_packages_are_not_whole_is_no_image() {
    let world = used();
    fs::create_dir_all(world.root.path().join("var/lib/dpkg")).unwrap();
    fs::write(world.root.path().join("var/lib/dpkg/status"), "").unwrap();
    world.program(
        "usr/bin/dpkg",
        "echo 'The following packages are only half configured:'; echo ' nginx  A server'\n",
    );
    let output = world.run("seal", &world.plan(vec![]));
    assert_eq!(output.status.code(), Some(255), "{output:?}");
    assert!(report(&world).problem.unwrap().contains("nginx"));
    assert!(world.root.path().join("etc/ssh/ssh_host_rsa_key").exists());
}
