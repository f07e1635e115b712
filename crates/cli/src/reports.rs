//! `ovenbird logs` and `ovenbird tests`: what steps printed and what tests found, from the reports in the bucket.

use std::{fmt::Write as _, path::Path, time::Duration};

use jiff::Timestamp;
use ovenbird_core::{
    Error, Result,
    domain::{
        bake::{Bake, Status},
        mailbox::Heartbeat,
        plain::{plain, plain_line},
        report::{FETCH, ProvisionReport, StepReport, TestOutcome, TestReport},
    },
    ports::{Bucket as _, Role},
    store::{Ledger, Mailbox, keys},
};
use quick_xml::{
    Writer,
    events::{BytesDecl, BytesText, Event},
};
use serde::Serialize;

use crate::{
    follow::{fresh, role, title},
    print, print_as_is, render,
    target::Deployment,
};

/// How often a running bake's output is read.
const LOOK: Duration = Duration::from_secs(1);

/// What is kept of a bake's steps and tests.
#[derive(Debug, Default, Serialize)]
pub struct Reports {
    /// The steps; none before they have ended, or when the bake took an image that was there.
    pub provision: Option<ProvisionReport>,
    /// The tests on the builder.
    pub tests: Option<TestReport>,
    /// The tests on a fresh instance of the image.
    pub boot_tests: Option<TestReport>,
}

impl Reports {
    /// Reads them.
    pub async fn read(deployment: &Deployment, bake: &Bake) -> Result<Self> {
        let of = |role| Mailbox::new(&deployment.cloud, &bake.spec, role);
        Ok(Self {
            provision: of(Role::Builder).report(keys::PROVISION_REPORT).await?,
            tests: of(Role::Builder).report(keys::TEST_REPORT).await?,
            boot_tests: of(Role::Verifier).report(keys::TEST_REPORT).await?,
        })
    }

    /// The two sets of tests, each with where it ran.
    fn sets(&self) -> impl Iterator<Item = (&'static str, &TestReport)> {
        let sets = [("on the builder", &self.tests), ("on a fresh instance of the image", &self.boot_tests)];
        sets.into_iter().filter_map(|(place, report)| Some((place, report.as_ref()?)))
    }

    /// The steps with their times, without what they printed.
    pub fn steps_text(&self) -> String {
        let mut text = String::new();
        for step in self.provision.iter().flat_map(|report| &report.steps) {
            let _ = writeln!(
                text,
                "  {:>7.1} s  {}  {}",
                seconds(step.milliseconds),
                plain_line(&step.name),
                step.verdict()
            );
        }
        text
    }

    /// Every test with its outcome in a line.
    pub fn tests_summary(&self) -> String {
        let mut text = String::new();
        for (place, report) in self.sets() {
            let failed = report.tests.iter().filter(|test| !test.passed).count();
            let _ =
                writeln!(text, "\ntests {place}: {} passed, {failed} failed", report.tests.len() - failed);
            for test in &report.tests {
                let word = if test.passed { "ok" } else { "FAIL" };
                let time = seconds(test.milliseconds);
                let _ = writeln!(text, "  {word:<4} {time:>7.1} s  {}", plain_line(&test.name));
            }
        }
        text
    }

    /// Every test with its outcome, and then each that failed in full.
    pub fn tests_text(&self) -> String {
        format!("{}{}", self.tests_summary().trim_start(), self.failures_text())
    }

    /// Each test that failed, in full.
    pub fn failures_text(&self) -> String {
        let mut text = String::new();
        for (place, report) in self.sets() {
            for test in report.tests.iter().filter(|test| !test.passed) {
                let _ =
                    writeln!(text, "\nFAIL {} ({place})\n{}", plain_line(&test.name), indented(&test.detail));
            }
            if report.tests.iter().any(|test| !test.passed) {
                for unit in &report.units {
                    let _ = writeln!(text, "\n{}", indented(unit));
                }
            }
        }
        text
    }
}

fn indented(text: &str) -> String {
    text.trim_end().lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

fn seconds(milliseconds: u64) -> f64 {
    std::time::Duration::from_millis(milliseconds).as_secs_f64()
}

/// The tests of a bake, read for `ovenbird tests`.
pub async fn tests(deployment: &Deployment, bake: &Bake) -> Result<Reports> {
    let reports = Reports::read(deployment, bake).await?;
    if reports.sets().next().is_none() {
        let problem = match (bake.progress.status, bake.progress.reused) {
            (Status::Running, _) => "has no report of its tests yet",
            (_, true) => "ran no tests: it took an image that had passed them",
            (_, false) => "has no report of its tests: it ended before them, or long ago",
        };
        let fix = format!("See how it stands: `ovenbird show {}`", bake.spec.id);
        return Err(Error::bad_input(format!("bake `{}`", bake.spec.id), problem, fix));
    }
    Ok(reports)
}

/// One step's log, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Log<'r> {
    /// Its place, from 1; 0 is the artifact and the files beside the recipe.
    number: usize,
    #[serde(flatten)]
    step: &'r StepReport,
    /// All that it printed, where the kept log has it; else the last lines.
    output: &'r str,
}

/// Prints what the steps printed: of a bake whose steps have ended from the report, of a running one as it comes.
pub async fn logs(deployment: &Deployment, bake: &Bake, step: Option<&str>, json: bool) -> Result<()> {
    let id = &bake.spec.id;
    let refuse = |problem: String, fix: String| Err(Error::bad_input(format!("bake `{id}`"), problem, fix));
    let mut reports = Reports::read(deployment, bake).await?;
    if reports.provision.is_none() && bake.progress.status == Status::Running && !json {
        live(deployment, bake, step).await?;
        if step.is_none() {
            return Ok(());
        }
        reports = Reports::read(deployment, bake).await?;
    }
    let Some(report) = &reports.provision else {
        // Of a builder that died, this is what was heard last.
        let heartbeat = Mailbox::new(&deployment.cloud, &bake.spec, Role::Builder).heartbeat().await?;
        if let Some((Heartbeat { work: Some(work), .. }, at)) = heartbeat
            && !json
        {
            let text =
                format!("== {}, last heard of at {}\n{}", title(&work), render::moment(at), work.output);
            print_as_is(false, &(), &text);
            return Ok(());
        }
        let problem = if bake.progress.reused {
            "ran no steps: it took an image that was there"
        } else {
            "has no log: its builder never reported, or that was long ago"
        };
        return refuse(problem.into(), format!("See how it stands: `ovenbird show {id}`"));
    };
    let kept = match report.steps.iter().any(|step| step.log.is_some()) {
        true => {
            let mailbox = Mailbox::new(&deployment.cloud, &bake.spec, Role::Builder);
            deployment.cloud.text(&mailbox.key(keys::LOG)).await?.unwrap_or_default()
        }
        false => String::new(),
    };
    let output = |step: &'_ StepReport| step.log.and_then(|part| part.of(&kept));
    // Without an artifact and files beside the recipe, nothing comes before the first step.
    let first = usize::from(report.steps.first().is_none_or(|step| step.name != FETCH));
    let numbered: Vec<Log<'_>> = (first..)
        .zip(&report.steps)
        .map(|(number, step)| Log { number, step, output: output(step).unwrap_or(&step.output_tail) })
        .collect();
    let wanted: Vec<&Log<'_>> = match step {
        None => numbered.iter().collect(),
        Some(text) => {
            let named = |log: &&Log<'_>| log.step.name == text || text.parse() == Ok(log.number);
            let found: Vec<_> = numbered.iter().filter(named).collect();
            if found.is_empty() {
                let names: Vec<_> = numbered
                    .iter()
                    .map(|log| format!("{} `{}`", log.number, plain_line(&log.step.name)))
                    .collect();
                return refuse(format!("ran no step `{text}`"), format!("It ran {}", names.join(", ")));
            }
            found
        }
    };
    let mut text = String::new();
    for Log { number, step, output } in &wanted {
        let _ = writeln!(
            text,
            "== {number} {}: {}, {:.1} s\n{}",
            plain_line(&step.name),
            step.verdict(),
            seconds(step.milliseconds),
            output.trim_end()
        );
    }
    print_as_is(json, &wanted, text.trim_end());
    Ok(())
}

/// Prints what the step at work prints, as it comes, until the steps have ended.
async fn live(deployment: &Deployment, bake: &Bake, step: Option<&str>) -> Result<()> {
    let ledger = Ledger(&deployment.cloud);
    let mailbox = Mailbox::new(&deployment.cloud, &bake.spec, Role::Builder);
    let mut seen: Option<(usize, String)> = None;
    loop {
        if let Some((Heartbeat { work: Some(work), .. }, _)) = mailbox.heartbeat().await? {
            let wanted = step.is_none_or(|step| step == work.name || step.parse() == Ok(work.number));
            let before = seen.take().filter(|(number, _)| *number == work.number);
            if wanted {
                if before.is_none() {
                    print(false, &(), &format!("== {}", title(&work)));
                }
                let old = before.map(|(_, output)| output).unwrap_or_default();
                for line in fresh(&old, &work.output) {
                    print_as_is(false, &(), line);
                }
            }
            seen = Some((work.number, work.output));
        }
        let now = ledger.bake(&bake.spec.pipeline, &bake.spec.id).await?;
        let at_steps = now.is_some_and(|bake| {
            let going = bake.progress.status == Status::Running;
            going && (bake.progress.builder.is_none() || role(bake.progress.stage) == Some(Role::Builder))
        });
        let reported = mailbox.report::<ProvisionReport>(keys::PROVISION_REPORT).await?.is_some();
        if reported || !at_steps {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Writes a bake and its tests as JUnit XML.
///
/// A class is named after the pipeline and never after the bake, so that a CI service knows a test of one build again in
/// the next. The bake itself is a test, too: one that failed before its tests is a failure, and not an empty file.
pub fn write_junit(path: &Path, bake: &Bake, reports: &Reports) -> Result<()> {
    let text = junit(bake, reports).unwrap_or_else(|_| unreachable!("it is written to memory"));
    std::fs::write(path, text).map_err(|error| {
        let fix = "Name a file in a folder that is there and may be written";
        Error::bad_input(format!("file `{}`", path.display()), error.to_string(), fix)
    })
}

fn junit(bake: &Bake, reports: &Reports) -> std::io::Result<Vec<u8>> {
    let pipeline = bake.spec.pipeline.as_str();
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let started = bake.spec.started;
    let ended = bake.progress.ended().unwrap_or(started);
    let failure = bake.progress.failure.as_ref();
    let whole = TestOutcome {
        name: "bake".to_owned(),
        passed: failure.is_none(),
        milliseconds: u64::try_from(ended.duration_since(started).as_millis()).unwrap_or(0),
        detail: failure.map(|failure| format!("{}: {}", failure.error, failure.cause)).unwrap_or_default(),
    };
    let mut suites = vec![(pipeline.to_owned(), started, vec![&whole])];
    for (place, report) in [("tests", &reports.tests), ("boot", &reports.boot_tests)] {
        let Some(report) = report else { continue };
        suites.push((format!("{pipeline}.{place}"), report.started, report.tests.iter().collect()));
    }
    writer.create_element("testsuites").write_inner_content(|writer| {
        for (class, at, tests) in &suites {
            suite(writer, class, *at, tests)?;
        }
        Ok(())
    })?;
    let mut text = writer.into_inner();
    text.push(b'\n');
    Ok(text)
}

fn suite(
    writer: &mut Writer<Vec<u8>>,
    class: &str,
    at: Timestamp,
    tests: &[&TestOutcome],
) -> std::io::Result<()> {
    let failed = tests.iter().filter(|test| !test.passed).count();
    let time: u64 = tests.iter().map(|test| test.milliseconds).sum();
    let attributes = [
        ("name", class.to_owned()),
        ("tests", tests.len().to_string()),
        ("failures", failed.to_string()),
        ("timestamp", at.strftime("%Y-%m-%dT%H:%M:%S").to_string()),
        ("time", format!("{:.3}", seconds(time))),
    ];
    let attributes: Vec<_> = attributes.iter().map(|(name, value)| (*name, value.as_str())).collect();
    writer.create_element("testsuite").with_attributes(attributes).write_inner_content(|writer| {
        for test in tests {
            let (name, time) = (plain_line(&test.name), format!("{:.3}", seconds(test.milliseconds)));
            let attributes = [("classname", class), ("name", name.as_str()), ("time", time.as_str())];
            let case = writer.create_element("testcase").with_attributes(attributes);
            if test.passed {
                case.write_empty()?;
                continue;
            }
            case.write_inner_content(|writer| {
                // XML 1.0 has no control characters, not even as references.
                let detail = plain(&test.detail).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}");
                let first = detail.lines().find(|line| !line.trim().is_empty()).unwrap_or("failed").trim();
                let failure = writer.create_element("failure").with_attribute(("message", first));
                failure.write_text_content(BytesText::new(&detail)).map(drop)
            })?;
        }
        Ok(())
    })?;
    Ok(())
}
