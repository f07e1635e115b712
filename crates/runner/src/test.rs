//! `test`: runs every test, each until it passes or its time is over, and reports.

use std::{fs, time::Instant};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use ovenbird_core::domain::{
    mailbox::Urls,
    plan::Plan,
    recipe::{Action, Step, TestKind},
    report::{FETCH, TestOutcome, TestReport},
};

use crate::{
    boots, fetch, files, junit, live, machine::Machine, provision, secrets::Secrets, systemd, test_kind,
};

const REPORT: &str = "test-report.json";
const JUNIT: &str = "junit.xml";

/// Tests; gives whether all passed.
pub fn run(machine: &Machine) -> Result<bool> {
    let plan = machine.plan()?;
    // A fresh instance of the image has the folder as user data made it.
    files::open_way(machine).context("open the way to the recipe's files")?;
    let started = Timestamp::now();
    let mut tests: Vec<TestOutcome> = Vec::new();
    let fetched = match machine.own("files").exists() {
        true => Ok(()),
        false => provision::fetch_files(machine, &plan),
    };
    let mut secrets = Secrets::new(plan.endpoint.clone());
    let fetched = fetched.and_then(|()| learn(&mut secrets, &plan));
    let mask = secrets.mask();
    if let Err(problem) = &fetched {
        let detail = format!("{problem:#}");
        println!("ovenbird: {FETCH}: {detail}");
        tests.push(TestOutcome { name: FETCH.into(), passed: false, milliseconds: 0, detail });
    }
    for (number, test) in plan.tests.iter().enumerate().filter(|_| fetched.is_ok()) {
        let start = Instant::now();
        live::say(machine, &test.name, number + 1, plan.tests.len());
        let outcomes = test_kind::outcomes(machine, test, mask);
        println!("ovenbird: test {} ({} ms)", test.name, start.elapsed().as_millis());
        for outcome in &outcomes {
            let verdict = if outcome.passed { "passed" } else { "FAILED" };
            println!("  {verdict} {}: {}", outcome.name, outcome.detail);
        }
        tests.extend(outcomes);
    }
    let mut units = Vec::new();
    if fetched.is_ok() && !tests.iter().all(|test| test.passed) {
        // What a test saw ("connection refused") is seldom the reason; why a service died is, and soon nobody can
        // look.
        units = systemd::report(machine, &services(&plan), mask);
        units.iter().for_each(|unit| println!("ovenbird: {unit}"));
    }
    let report = TestReport { started, ended: Timestamp::now(), tests, units };
    machine.write_report(REPORT, &report)?;
    fs::write(machine.own(JUNIT), junit::xml(plan.bake.as_str(), &report)?)?;
    files::open_way(machine)?;
    Ok(report.tests.iter().all(|test| test.passed))
}

/// Says that no test can be trusted, because the machine booted while they ran.
pub fn interrupted(machine: &Machine, plan: &Plan, urls: &Urls, in_order: bool) -> Result<()> {
    let now = Timestamp::now();
    let detail = boots::told(in_order, "while the tests ran");
    let test = TestOutcome { name: "the machine stays up".into(), passed: false, milliseconds: 0, detail };
    let report = TestReport { started: now, ended: now, tests: vec![test], units: Vec::new() };
    machine.write_report(REPORT, &report)?;
    fs::write(machine.own(JUNIT), junit::xml(plan.bake.as_str(), &report)?)?;
    self::report(machine, urls)
}

/// Leaves the tests' reports in the mailbox.
pub fn report(machine: &Machine, urls: &Urls) -> Result<()> {
    fetch::upload(&machine.own(JUNIT), &urls.junit).context("upload the JUnit report")?;
    // Last: its presence says that everything else is there.
    fetch::upload(&machine.own(REPORT), &urls.test).context("upload the tests' report")
}

/// Reads the steps' secrets again, so that they are hidden where a test finds one that a step left on the machine. Without
/// that, no test is run: what it prints is in the bake's record, in a mail, and at the operator's terminal.
fn learn(secrets: &mut Secrets, plan: &Plan) -> Result<()> {
    for parameter in plan.steps.iter().flat_map(Step::parameters) {
        secrets.read(parameter).context("secrets are read again to hide them in what tests print")?;
    }
    Ok(())
}

/// The services that the recipe names, in its steps and in its tests.
fn services(plan: &Plan) -> Vec<&str> {
    let steps = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Service { name, .. } => Some(name.as_str()),
        Action::Shell { .. }
        | Action::Script { .. }
        | Action::File { .. }
        | Action::Package { .. }
        | Action::Puppet(_)
        | Action::Chef(_)
        | Action::Ansible(_) => None,
    });
    let tests = plan.tests.iter().filter_map(|test| match &test.kind {
        TestKind::Service { name, .. } => Some(name.as_str()),
        TestKind::Http(_)
        | TestKind::Command { .. }
        | TestKind::Port { .. }
        | TestKind::File { .. }
        | TestKind::Process { .. }
        | TestKind::Package { .. }
        | TestKind::User { .. } => None,
    });
    steps.chain(tests).collect()
}
