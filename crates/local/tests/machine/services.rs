//! The runner's `service` step and test, with a real systemd: what starts and does not stay up is found out.

use std::{fs, path::PathBuf, time::Duration};

use ovenbird_core::domain::{
    id::BakeId,
    plan::Plan,
    recipe::{Action, Content, SETTLE, Step, Test, TestKind},
    report::{Exit, ProvisionReport, TestReport},
};
use ovenbird_local::machine::Layer;

use crate::{
    guest::Guest,
    lab::{Lab, PATIENCE},
};

/// The runner, as cargo built it beside this test.
fn runner() -> PathBuf {
    let own = std::env::current_exe().expect("a path");
    let built = own.ancestors().nth(2).expect("a target folder").join("ovenbird-runner");
    assert!(built.is_file(), "{} is missing: `cargo build -p ovenbird-runner`", built.display());
    built
}

fn step(name: &str, action: Action) -> Step {
    Step {
        name: name.into(),
        action,
        timeout: Duration::from_secs(60),
        environment: [].into(),
        secrets: [].into(),
        only_if: None,
        retries: 0,
        reboot: false,
    }
}

fn file(to: &str, text: &str, mode: u32) -> Step {
    let content = Content::Inline(text.into());
    step("file", Action::File { to: to.into(), content, mode, owner: None })
}

/// A machine with the runner in it.
struct Builder(Guest);

impl Builder {
    fn new(lab: &Lab) -> Self {
        let instance = lab.instance(vec![Layer::Base]);
        // Before it starts, its disk is a folder like any other.
        let to = lab.config(&instance).disk.join("upper/usr/local/bin");
        fs::create_dir_all(&to).expect("a folder");
        fs::copy(runner(), to.join("ovenbird-runner")).expect("the runner");
        let mut guest = lab.start(&instance);
        guest.online();
        Self(guest)
    }

    /// Runs a verb of the runner with a plan; gives the report that it left.
    fn run(&self, verb: &str, report: &str, steps: Vec<Step>, tests: Vec<Test>) -> String {
        let plan = Plan {
            bake: BakeId::parse("bake-1").expect("an id"),
            artifact: None,
            bundle: None,
            steps,
            tests,
            seal: Default::default(),
            ends: jiff::Timestamp::MAX,
            endpoint: None,
        };
        let plan = serde_json::to_string(&plan).expect("a plan");
        let folder = "/var/lib/ovenbird";
        self.0.exec(
            &format!(
                "rm -rf {folder}; mkdir -p {folder}/files; cat > {folder}/plan.json <<'PLAN'\n{plan}\nPLAN\n\
                 ovenbird-runner {verb} >&2"
            ),
            PATIENCE,
        );
        self.0.sh(&format!("cat {folder}/{report}"))
    }

    /// Starts a unit by a `service` step; how that step ended, and what it said.
    fn starts(&self, unit: &str, text: &str) -> (Exit, String) {
        let service = Action::Service { name: unit.into(), unit: None, enabled: false, started: true };
        let path = match unit.contains('.') {
            true => format!("/etc/systemd/system/{unit}"),
            false => format!("/etc/systemd/system/{unit}.service"),
        };
        let reload = step("reload", Action::Shell { run: "systemctl daemon-reload".into() });
        let steps = vec![file(&path, text, 0o644), reload, step("it", service)];
        let report: ProvisionReport =
            serde_json::from_str(&self.run("provision", "report.json", steps, Vec::new())).expect("a report");
        let last = report.steps.into_iter().last().expect("a step");
        assert_eq!(last.name, "it", "{last:?}");
        (last.exit, last.output_tail)
    }
}

fn service(lines: &str) -> String {
    format!("[Service]\n{lines}\n")
}

pub fn a_service_that_does_not_stay_up_fails_its_step_with_systemd_s_reason(lab: &Lab) {
    let builder = Builder::new(lab);
    builder.0.sh("printf '#!/bin/sh\\nsleep 60\\n' > /opt/not-executable; chmod 644 /opt/not-executable");
    let dies = "ExecStart=/bin/sh -c 'echo \"my reason\"; sleep 1; exit 7'";
    for (name, lines, reason, log) in [
        ("missing", "ExecStart=/opt/not-there\nRestart=on-failure", "203/EXEC", "No such file"),
        ("mode", "ExecStart=/opt/not-executable\nRestart=on-failure", "203/EXEC", "Permission denied"),
        ("atonce", "ExecStart=/bin/sh -c 'echo \"my reason\"; exit 7'", "status 7", "my reason"),
        ("afterone", dies, "status 7", "my reason"),
        ("endswell", "ExecStart=/bin/sh -c 'echo \"my reason\"'", "not active", "my reason"),
        ("each", &format!("{dies}\nRestart=always\nRestartSec=100ms"), "", "my reason"),
        ("seldom", &format!("{dies}\nRestart=always\nRestartSec=8"), "auto-restart", "my reason"),
    ] {
        let (exit, output) = builder.starts(name, &service(lines));
        let Exit::Failed(problem) = &exit else { panic!("{name} is well: {exit}\n{output}") };
        assert!(problem.contains(name) && problem.contains(reason), "{name}: no {reason:?} in {problem}");
        assert!(output.contains(log), "{name}: no {log:?} in {output}");
    }
    for (unit, text) in [
        ("simple", service("ExecStart=/bin/sleep 600")),
        ("forks", service("Type=forking\nExecStart=/bin/sh -c 'sleep 600 &'")),
        ("job", service("Type=oneshot\nExecStart=/bin/true")),
        ("remains", service("Type=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true")),
        (
            "later",
            format!("[Unit]\nAfter=job.service simple.service\n{}", service("ExecStart=/bin/sleep 600")),
        ),
        ("tick.timer", "[Timer]\nOnActiveSec=1h\nUnit=job.service\n".to_owned()),
        ("sock.socket", "[Socket]\nListenStream=/run/it.sock\nAccept=yes\n".to_owned()),
    ] {
        if unit == "sock.socket" {
            builder.0.sh("printf '[Service]\\nExecStart=/bin/cat\\n' > /etc/systemd/system/sock@.service");
        }
        let (exit, output) = builder.starts(unit, &text);
        assert_eq!(exit, Exit::Status(0), "{unit}: {output}");
    }
}

pub fn a_service_that_flaps_passes_no_test_however_often_it_is_tried(lab: &Lab) {
    let builder = Builder::new(lab);
    for (name, lines) in [
        ("each", "ExecStart=/bin/sh -c 'echo \"my reason\"; exec sleep 1'\nRestart=always\nRestartSec=100ms"),
        ("seldom", "ExecStart=/bin/sh -c 'echo \"my reason\"; exec sleep 1'\nRestart=always\nRestartSec=4"),
        ("slowly", "ExecStart=/bin/sh -c 'exec sleep 4'\nRestart=always\nRestartSec=100ms"),
        ("missing", "ExecStart=/opt/not-there\nRestart=always\nRestartSec=1\nStartLimitIntervalSec=0"),
        ("simple", "ExecStart=/bin/sleep 600"),
    ] {
        let script = format!("printf '%s' \"$1\" > /etc/systemd/system/{name}.service");
        builder.0.sh(&format!("set -- '{}'; {script}", service(&lines.replace('\'', r"'\''"))));
    }
    builder.0.sh("systemctl daemon-reload; systemctl start each seldom slowly missing simple");
    // By the time of the tests systemd has restarted all that it will.
    builder.0.sh("sleep 5");
    let test = |name: &str| Test {
        name: name.into(),
        kind: TestKind::Service { name: name.into(), running: true, enabled: None, settle: SETTLE },
        within: Duration::from_secs(7),
    };
    let tests = ["each", "seldom", "slowly", "missing", "simple"].map(test);
    let report = builder.run("test", "test-report.json", Vec::new(), tests.into());
    let report: TestReport = serde_json::from_str(&report).expect("a report");
    let passed: Vec<&str> =
        report.tests.iter().filter(|test| test.passed).map(|test| test.name.as_str()).collect();
    assert_eq!(passed, ["simple"], "{report:#?}");
    let units = report.units.join("\n");
    assert!(units.contains("203/EXEC") && units.contains("my reason"), "{units}");
}
