//! The tests' report as JUnit XML, which every CI system reads.

use anyhow::Result;
use ovenbird_core::domain::report::TestReport;
use quick_xml::{
    Writer,
    events::{BytesDecl, BytesText, Event},
};

/// So many letters of a failure are its message.
const MESSAGE: usize = 200;

/// The class of every case. One that changed with the bake would make each case a new one to whoever keeps their history.
const CLASS: &str = "ovenbird";

/// Writes the report.
pub fn xml(suite: &str, report: &TestReport) -> Result<Vec<u8>> {
    let seconds = |milliseconds: u64| format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000);
    let failures = report.tests.iter().filter(|test| !test.passed).count().to_string();
    let time = seconds(report.tests.iter().map(|test| test.milliseconds).sum());
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    writer
        .create_element("testsuite")
        .with_attributes([
            ("name", suite),
            ("tests", report.tests.len().to_string().as_str()),
            ("failures", failures.as_str()),
            ("errors", "0"),
            ("skipped", "0"),
            ("time", time.as_str()),
            ("timestamp", report.started.to_string().as_str()),
        ])
        .write_inner_content(|writer| {
            for test in &report.tests {
                let (name, time) = (allowed(&test.name), seconds(test.milliseconds));
                let case = writer.create_element("testcase").with_attributes([
                    ("name", name.as_str()),
                    ("classname", CLASS),
                    ("time", time.as_str()),
                ]);
                if test.passed {
                    case.write_empty()?;
                } else {
                    case.write_inner_content(|writer| {
                        // Most readers show the message alone, and the text on demand.
                        let detail = allowed(&test.detail);
                        let message: String =
                            detail.lines().next().unwrap_or_default().chars().take(MESSAGE).collect();
                        let failure =
                            writer.create_element("failure").with_attribute(("message", message.as_str()));
                        failure.write_text_content(BytesText::new(&detail)).map(drop)
                    })?;
                }
            }
            Ok(())
        })?;
    Ok(writer.into_inner())
}

/// What XML can carry: a program's colours and bells are no part of it, not even escaped.
fn allowed(text: &str) -> String {
    let plain = |c: &char| !c.is_control() || matches!(c, '\t' | '\n' | '\r');
    text.chars().filter(plain).filter(|c| !matches!(c, '\u{fffe}' | '\u{ffff}')).collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use ovenbird_core::domain::report::TestOutcome;

    use super::*;
    use crate::{mask::Mask, test_kind::suite};

    #[test]
    fn a_case_is_the_same_one_in_every_bake() {
        let now = Timestamp::UNIX_EPOCH;
        let of = |bake: &str| {
            let test =
                TestOutcome { name: "a".into(), passed: false, milliseconds: 1, detail: "no\nmore".into() };
            let report = TestReport { started: now, ended: now, tests: vec![test], units: Vec::new() };
            let xml = String::from_utf8(xml(bake, &report).unwrap()).unwrap();
            assert!(xml.contains("message=\"no\"") && xml.contains(bake), "{xml}");
            xml.lines().find(|line| line.contains("<testcase")).unwrap().to_owned()
        };
        assert_eq!(of("bake-1"), of("bake-2"));
    }

    #[test]
    fn what_is_written_can_be_read_whatever_was_printed() {
        let detail = "\u{1b}[31mred\u{7}\u{0} & <b> ]]> \"x\"\n\u{ffff}".to_owned();
        let test = |name: &str, passed| TestOutcome {
            name: name.into(),
            passed,
            milliseconds: 1250,
            detail: detail.clone(),
        };
        let now = Timestamp::UNIX_EPOCH;
        let tests = vec![test("good \u{8}", true), test("bad \"<&>\"", false)];
        let xml = xml("bake", &TestReport { started: now, ended: now, tests, units: Vec::new() }).unwrap();
        let cases = suite::parse(&String::from_utf8(xml).unwrap(), &Mask::default()).unwrap();
        let names: Vec<(&str, bool, u64)> =
            cases.iter().map(|case| (case.name.as_str(), case.passed, case.milliseconds)).collect();
        assert_eq!(names, [("good ", true, 1250), ("bad \"<&>\"", false, 1250)]);
        assert!(cases[1].detail.contains("[31mred & <b> ]]> \"x\""), "{}", cases[1].detail);
    }
}
