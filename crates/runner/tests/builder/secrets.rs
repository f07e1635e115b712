//! Secrets are read with the machine's own role, reach the step that asked for them, and nothing else.

use std::time::Duration;

use super::cloud::{SECRET_KEY, SESSION_TOKEN, World, parameter, shell, step};
use ovenbird_core::domain::{
    digest::sha256,
    plan::Plan,
    recipe::{Action, Ansible, Step, Test, TestKind},
    report::{Exit, ProvisionReport},
};

/// What a shell, a configuration file or JSON could trip over.
const SECRET: &str = "hunter2 \"quoted\" \\ $HOME 'x' €";

fn with_secret(name: &str, run: &str) -> Step {
    Step { secrets: [("PASSWORD".to_owned(), parameter("/shop/password"))].into(), ..shell(name, run) }
}

fn provision(world: &World, plan: &Plan) -> (ProvisionReport, String) {
    let output = world.run("provision", plan);
    let console =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let report: ProvisionReport = serde_json::from_str(&world.object("provision.json")).unwrap();
    assert_eq!(output.status.success(), report.failure().is_none(), "{console}");
    (report, console)
}

#[test]
fn a_secret_reaches_its_step_and_is_hidden_everywhere_else() {
    let world = World::new();
    world.state.lock().unwrap().parameters.insert("/shop/password".into(), SECRET.into());
    // The step has the very value; it prints it whole, within a line, to both outputs, and after a lot.
    let run = format!(
        "test \"$(printf %s \"$PASSWORD\" | sha256sum)\" = '{}  -'\necho \"[$PASSWORD]\"\necho \"$PASSWORD\" >&2\n\
         seq 200000\nprintf 'last %s' \"$PASSWORD\"\n",
        sha256(SECRET.as_bytes())
    );
    let steps = vec![
        with_secret("uses it", &run),
        with_secret("is the same", "test -n \"$PASSWORD\""),
        shell("has none", "test -z \"$PASSWORD\""),
        with_secret("fails with it", "echo \"can't log in with $PASSWORD\"; exit 3"),
    ];
    let (report, console) = provision(&world, &world.plan(steps));
    let ends: Vec<&Exit> = report.steps.iter().map(|step| &step.exit).collect();
    assert_eq!(ends, [&Exit::Status(0), &Exit::Status(0), &Exit::Status(0), &Exit::Status(3)]);
    assert!(report.steps[0].output_tail.ends_with("\n200000\nlast •••"), "{}", report.steps[0].output_tail);
    assert_eq!(report.steps[3].output_tail, "can't log in with •••");
    assert!(console.contains("can't log in with •••"), "{console}");
    assert!(!console.contains("hunter2"), "{console}");
    // Neither the secret nor what it was read with is in any file of the machine, nor was in any argument.
    for text in ["hunter2", SECRET_KEY, SESSION_TOKEN] {
        assert_eq!(world.files_with(text), [] as [std::path::PathBuf; 0], "{text}");
    }
    let log = std::fs::read_to_string(world.own("logs/0.log")).unwrap();
    assert!(log.starts_with("[•••]\n•••\n1\n"), "{log}");
    // Each is read once.
    assert_eq!(world.state.lock().unwrap().asked, ["/shop/password"]);
}

/// One step leaves it on the machine; others and the tests find it there, and print it.
#[test]
fn a_secret_is_hidden_in_later_steps_conditions_and_tests() {
    let world = World::new();
    world.state.lock().unwrap().parameters.insert("/shop/password".into(), SECRET.into());
    let conf = world.root.path().join("conf");
    let cat = format!("cat {}", conf.display());
    let steps = vec![
        with_secret("leaves it", &format!("printf 'password=%s\\n' \"$PASSWORD\" > {}", conf.display())),
        shell("prints it", &cat),
        Step { only_if: Some(format!("{cat}; false")), ..shell("is left out", "true") },
        Step { only_if: Some(format!("{cat}; kill -9 $$")), ..shell("fails", "true") },
    ];
    let mut plan = world.plan(steps);
    let command = |run: String, junit: Option<&str>| TestKind::Command {
        run,
        exit: 0,
        stdout_contains: None,
        stderr_contains: None,
        junit: junit.map(str::to_owned),
    };
    // The second is cut within the secret.
    let suite = format!(
        "echo '<testsuite><testcase name=\"a\"><failure><![CDATA['\"$({cat})\"']]></failure></testcase></testsuite>' > s.xml"
    );
    let kinds = [
        command(format!("{cat} >&2; exit 1"), None),
        command(format!("printf '%0385d' 0 >&2; {cat} >&2; exit 1"), None),
        command(suite, Some("s.xml")),
        TestKind::File {
            path: "/conf".into(),
            exists: true,
            contains: Some("nothing".into()),
            mode: None,
            owner: None,
        },
    ];
    let test =
        |(number, kind)| Test { name: format!("test {number}"), kind, within: Duration::from_millis(1) };
    plan.tests = kinds.into_iter().enumerate().map(test).collect();
    let (report, mut console) = provision(&world, &plan);
    assert_eq!(report.steps.len(), 4, "{console}");
    assert_eq!(report.steps[1].output_tail, "password=•••");
    assert_eq!(report.steps[2].output_tail, "only-if: exit 1\npassword=•••");
    let output = world.run("test", &plan);
    console.push_str(&String::from_utf8_lossy(&output.stdout));
    for object in ["provision.json", "test.json", "junit.xml"] {
        let text = world.object(object);
        assert!(text.contains("•••") && !text.contains("hunter2"), "{object}: {text}");
    }
    assert!(!console.contains("hunter2"), "{console}");
    // Where the recipe itself wrote it, and nowhere else.
    let mut files = world.files_with("hunter2");
    files.sort();
    let mut own = [conf, world.own("files/s.xml")];
    own.sort();
    assert_eq!(files, own);
}

#[test]
fn a_secret_that_can_t_be_hidden_is_refused() {
    let world = World::new();
    world.state.lock().unwrap().parameters.insert("/shop/password".into(), "1234\n".into());
    let (report, console) = provision(&world, &world.plan(vec![with_secret("it", "echo $PASSWORD")]));
    let exit = report.steps[0].exit.to_string();
    assert!(exit.contains("secret `/shop/password` has 4 characters") && exit.contains("longer"), "{exit}");
    assert!(!console.contains("1234"), "{console}");
}

/// Who can't read the steps' secrets can't hide them either.
#[test]
fn no_test_is_run_when_secrets_can_t_be_hidden() {
    let world = World::new();
    world.state.lock().unwrap().no_role = Some(404);
    let mut plan = world.plan(vec![with_secret("it", "true")]);
    plan.tests = vec![Test {
        name: "it".into(),
        kind: TestKind::Port { number: 1 },
        within: Duration::from_millis(1),
    }];
    assert_eq!(world.run("test", &plan).status.code(), Some(1));
    let report = world.object("test.json");
    assert!(report.contains("secrets are read again to hide them") && !report.contains("\"it\""), "{report}");
}

#[test]
fn a_vault_s_password_is_in_no_report_and_on_no_disk() {
    let world = World::new();
    world.state.lock().unwrap().parameters.insert("/shop/vault".into(), SECRET.into());
    std::fs::create_dir_all(world.own("files")).unwrap();
    std::fs::write(world.own("files/site.yml"), "").unwrap();
    let script = "while [ \"$1\" != --vault-password-file ]; do shift; done\ncat \"$2\"; exit 2\n";
    world.program("usr/bin/ansible-playbook", script);
    let ansible = Ansible {
        playbook: "site.yml".into(),
        roles: None,
        variables: serde_json::Map::new(),
        vault_password: Some(parameter("/shop/vault")),
        install: false,
        full: false,
    };
    let (report, console) = provision(&world, &world.plan(vec![step("ansible", Action::Ansible(ansible))]));
    assert_eq!(report.steps[0].exit, Exit::Failed("exit 2: tasks failed".into()));
    assert_eq!(report.steps[0].output_tail, "•••");
    assert!(!console.contains("hunter2") && world.files_with("hunter2").is_empty(), "{console}");
}

#[test]
fn a_busy_store_is_asked_again() {
    let world = World::new();
    world.state.lock().unwrap().parameters.insert("/shop/password".into(), SECRET.into());
    world.state.lock().unwrap().throttled = 2;
    let (report, _) = provision(&world, &world.plan(vec![with_secret("it", "test -n \"$PASSWORD\"")]));
    assert_eq!(report.steps[0].exit, Exit::Status(0));
}

#[test]
fn a_step_that_is_left_out_asks_for_no_secret() {
    let world = World::new();
    let step = Step { only_if: Some("false".into()), ..with_secret("it", "true") };
    let (report, _) = provision(&world, &world.plan(vec![step]));
    assert_eq!(report.steps[0].exit, Exit::Skipped);
    assert!(world.state.lock().unwrap().asked.is_empty());
}

#[test]
fn what_stands_in_the_way_of_a_secret_is_told() {
    type Way = fn(&mut super::cloud::State);
    let ways: [(Way, &[&str]); 4] = [
        (|_| (), &["secret `/shop/password`", "no such parameter in eu-west-1", "put-parameter"]),
        (|state| state.no_role = Some(404), &["has no instance profile"]),
        (|state| state.denied.push("/shop/password".into()), &["role `builder-role`", "ssm:GetParameter"]),
        (|state| state.throttled = 100, &["4 tries", "ThrottlingException"]),
    ];
    for (way, words) in ways {
        let world = World::new();
        way(&mut world.state.lock().unwrap());
        let (report, _) = provision(&world, &world.plan(vec![with_secret("it", "true")]));
        let exit = report.steps[0].exit.to_string();
        assert!(!report.steps[0].exit.is_success());
        for word in words {
            assert!(exit.contains(word), "no {word:?} in {exit}");
        }
    }
}
