//! `test`: runs every test, each until it passes or its time is over, and reports.

use std::{fs, time::Instant};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use ovenbird_core::report::{TestOutcome, TestReport};

use crate::{check, fetch, junit, machine::Machine, provision};

const REPORT: &str = "test-report.json";

/// Tests; gives whether all passed.
pub fn run(machine: &Machine) -> Result<bool> {
    let plan = machine.plan()?;
    if !machine.own("files").exists() {
        provision::fetch_files(machine, &plan)?;
    }
    let started = Timestamp::now();
    let mut tests: Vec<TestOutcome> = Vec::new();
    for test in &plan.tests {
        let start = Instant::now();
        let outcomes = check::outcomes(machine, test);
        println!("ovenbird: test {} ({} ms)", test.name, start.elapsed().as_millis());
        for outcome in &outcomes {
            let verdict = if outcome.passed { "passed" } else { "FAILED" };
            println!("  {verdict} {}: {}", outcome.name, outcome.detail);
        }
        tests.extend(outcomes);
    }
    let report = TestReport { started, ended: Timestamp::now(), tests };
    let path = machine.write_report(REPORT, &report)?;
    let xml = machine.own("junit.xml");
    fs::write(&xml, junit::xml(plan.bake.as_str(), &report)?)?;
    fetch::upload(&xml, &plan.reports.junit).context("upload the JUnit report")?;
    // Last: its presence says that everything else is there.
    fetch::upload(&path, &plan.reports.test).context("upload the report")?;
    Ok(report.tests.iter().all(|test| test.passed))
}
