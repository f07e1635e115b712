//! `test`: runs every test, each until it passes or its time is over, and reports.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use ovenbird_core::{
    recipe::{Check, Test},
    report::{TestOutcome, TestReport},
};

use crate::{fetch, junit, machine::Machine, process};

const REPORT: &str = "test-report.json";

/// How long after a failed try the next one follows.
const PAUSE: Duration = Duration::from_millis(100);

/// Tests; gives whether all passed.
pub fn run(machine: &Machine) -> Result<bool> {
    let plan = machine.plan()?;
    fs::create_dir_all(machine.own("logs"))?;
    let started = Timestamp::now();
    let tests: Vec<TestOutcome> = plan.tests.iter().map(|test| outcome(machine, test)).collect();
    let report = TestReport { started, ended: Timestamp::now(), tests };
    for test in &report.tests {
        let verdict = if test.passed { "passed" } else { "FAILED" };
        println!("{verdict} {} ({} ms)", test.name, test.milliseconds);
        if !test.passed {
            println!("  {}", test.detail);
        }
    }
    let path = machine.write_report(REPORT, &report)?;
    let xml = machine.own("junit.xml");
    fs::write(&xml, junit::xml(plan.bake.as_str(), &report)?)?;
    fetch::upload(&xml, &plan.reports.junit).context("upload the JUnit report")?;
    // Last: its presence says that everything else is there.
    fetch::upload(&path, &plan.reports.test).context("upload the report")?;
    Ok(report.tests.iter().all(|test| test.passed))
}

fn outcome(machine: &Machine, test: &Test) -> TestOutcome {
    let start = Instant::now();
    let (passed, detail) = loop {
        match check(machine, &test.check, test.within.saturating_sub(start.elapsed())) {
            Ok(seen) => break (true, seen),
            Err(problem) if start.elapsed() >= test.within => break (false, format!("{problem:#}")),
            Err(_) => thread::sleep(PAUSE),
        }
    };
    let milliseconds = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    TestOutcome { name: test.name.clone(), passed, milliseconds, detail }
}

/// One try: what was seen, or what was wrong with it.
fn check(machine: &Machine, check: &Check, left: Duration) -> Result<String> {
    let limit = left.max(Duration::from_secs(1));
    match check {
        Check::Http(request) => {
            http(machine, &request.url, request.status, request.body_contains.as_deref(), limit)
        }
        Check::Command { run, exit, stdout_contains, .. } => {
            let log = machine.own("logs/test.log");
            let (seen, output) = process::run(Command::new("/bin/sh").args(["-c", run]), &log, limit)?;
            let status = ovenbird_core::report::Exit::Status(*exit);
            anyhow::ensure!(seen == status, "{seen}, not {status}: {output}");
            contains("its output", &output, stdout_contains.as_deref())?;
            Ok(seen.to_string())
        }
        Check::Port { number } => {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, *number));
            TcpStream::connect_timeout(&address, limit.min(Duration::from_secs(5)))
                .with_context(|| format!("nothing listens on port {number}"))?;
            Ok(format!("port {number} is open"))
        }
        Check::File { path, exists, contains: text, .. } => {
            let file = machine.path(path);
            anyhow::ensure!(file.exists() == *exists, "{path} is {}there", if *exists { "not " } else { "" });
            if let Some(text) = text {
                let content = fs::read(&file).with_context(|| format!("read {path}"))?;
                contains(path, &String::from_utf8_lossy(&content), Some(text))?;
            }
            Ok(format!("{path} is as it should be"))
        }
        Check::Service { .. } | Check::Process { .. } | Check::Package { .. } | Check::User { .. } => {
            anyhow::bail!("this runner is too old for the test")
        }
    }
}

/// By the machine's own `curl`, for the reasons that `fetch` gives. The URL is an argument and never a shell's word.
fn http(machine: &Machine, url: &str, status: u16, body: Option<&str>, limit: Duration) -> Result<String> {
    let file = machine.own("logs/body");
    let seconds = limit.as_secs().clamp(1, 30).to_string();
    let output = Command::new("curl")
        .args(["-sS", "--globoff", "--max-time", &seconds, "-w", "%{http_code}", "-o"])
        .arg(&file)
        .args(["--", url])
        .output()
        .context("the base has no `curl`; add it to the base image")?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    let seen = String::from_utf8_lossy(&output.stdout).into_owned();
    anyhow::ensure!(seen == status.to_string(), "{url} answered {seen}, not {status}");
    if body.is_some() {
        let text = fs::read(&file).context("no body")?;
        contains("the body", &String::from_utf8_lossy(&text), body)?;
    }
    Ok(format!("{url} answered {seen}"))
}

fn contains(what: &str, text: &str, wanted: Option<&str>) -> Result<()> {
    let shown: String = text.chars().take(400).collect();
    anyhow::ensure!(wanted.is_none_or(|wanted| text.contains(wanted)), "{what} has no {wanted:?}: {shown}");
    Ok(())
}
