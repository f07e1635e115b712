//! The tests' report as JUnit XML, which every CI system reads.

use anyhow::Result;
use ovenbird_core::report::TestReport;
use quick_xml::{
    Writer,
    events::{BytesDecl, BytesText, Event},
};

/// Writes the report.
pub fn xml(suite: &str, report: &TestReport) -> Result<Vec<u8>> {
    let seconds = |milliseconds: u64| format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000);
    let failures = report.tests.iter().filter(|test| !test.passed).count().to_string();
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    writer
        .create_element("testsuite")
        .with_attributes([
            ("name", suite),
            ("tests", report.tests.len().to_string().as_str()),
            ("failures", failures.as_str()),
            ("timestamp", report.started.to_string().as_str()),
        ])
        .write_inner_content(|writer| {
            for test in &report.tests {
                let time = seconds(test.milliseconds);
                let case = writer.create_element("testcase").with_attributes([
                    ("name", test.name.as_str()),
                    ("classname", suite),
                    ("time", time.as_str()),
                ]);
                if test.passed {
                    case.write_empty()?;
                } else {
                    case.write_inner_content(|writer| {
                        let failure = writer.create_element("failure").with_attribute(("message", "failed"));
                        failure.write_text_content(BytesText::new(&test.detail)).map(drop)
                    })?;
                }
            }
            Ok(())
        })?;
    Ok(writer.into_inner())
}
