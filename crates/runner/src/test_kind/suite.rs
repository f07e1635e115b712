//! A JUnit file that a recipe's own suite wrote, of whatever framework: its cases.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use quick_xml::{
    Reader, XmlVersion,
    escape::resolve_predefined_entity,
    events::{BytesRef, BytesStart, Event},
};

use crate::mask::Mask;

/// How much of a failure's text is kept.
const DETAIL: usize = 4 * 1024;

/// One case of a suite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    pub name: String,
    pub passed: bool,
    pub milliseconds: u64,
    pub detail: String,
}

/// A case while it is read.
#[derive(Debug, Default)]
struct Draft {
    name: String,
    class: String,
    milliseconds: u64,
    /// What happened to it, in the file's own word; nothing when it passed.
    verdict: Option<Verdict>,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Skipped,
    Failed,
}

/// Letters of Windows-1252 from 0x80 to 0x9f, which are control characters in Latin-1 and never meant as such.
const WINDOWS: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}',
    '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// The text of a file, in the encoding that it begins with or declares. A letter that can't be read is no reason to
/// lose a suite's verdicts: it is shown as `\u{fffd}`.
pub fn decode(bytes: &[u8]) -> Result<String> {
    let wide = |bytes: &[u8], of: fn([u8; 2]) -> u16| {
        let letters: Vec<u16> = bytes.chunks_exact(2).map(|two| of([two[0], two[1]])).collect();
        String::from_utf16_lossy(&letters)
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => return Ok(wide(rest, u16::from_le_bytes)),
        [0xfe, 0xff, rest @ ..] => return Ok(wide(rest, u16::from_be_bytes)),
        [b'<', 0, ..] => return Ok(wide(bytes, u16::from_le_bytes)),
        [0, b'<', ..] => return Ok(wide(bytes, u16::from_be_bytes)),
        _ => {}
    }
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let first = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
    let declaration =
        first.strip_prefix("<?xml").and_then(|rest| rest.split_once("?>")).map(|(first, _)| first);
    let named = declaration.and_then(|text| text.split_once("encoding")).map(|(_, rest)| {
        rest.trim_start_matches([' ', '=', '"', '\'']).split(['"', '\'']).next().unwrap_or_default()
    });
    match named.map(str::to_ascii_lowercase).as_deref() {
        None | Some("utf-8" | "utf8" | "us-ascii" | "ascii") => {
            Ok(String::from_utf8_lossy(bytes).into_owned())
        }
        Some("iso-8859-1" | "iso8859-1" | "latin1" | "latin-1" | "windows-1252" | "cp1252") => {
            let letter = |byte: &u8| match byte {
                0x80..=0x9f => WINDOWS[usize::from(byte - 0x80)],
                byte => char::from(*byte),
            };
            Ok(bytes.iter().map(letter).collect())
        }
        Some(other) => bail!("its encoding is {other}: write it in UTF-8, UTF-16 or ISO-8859-1"),
    }
}

/// Reads the cases; a file that is broken, has none, or counts more failures than it tells is an error.
pub fn parse(text: &str, mask: &Mask) -> Result<Vec<Case>> {
    let mut reader = Reader::from_str(text);
    let mut cases: Vec<Draft> = Vec::new();
    let mut open: Vec<Vec<u8>> = Vec::new();
    let mut current: Option<Draft> = None;
    let mut counted = 0;
    let mut told_of = 0;
    loop {
        match reader.read_event().with_context(|| format!("at byte {}", reader.error_position()))? {
            Event::Start(element) => {
                begin(&element, &mut current, &mut counted, &mut told_of)?;
                open.push(element.name().as_ref().to_vec());
            }
            Event::Empty(element) => {
                begin(&element, &mut current, &mut counted, &mut told_of)?;
                end(element.name().as_ref(), &mut current, &mut cases);
            }
            Event::End(element) => {
                open.pop();
                end(element.name().as_ref(), &mut current, &mut cases);
            }
            Event::Text(text) => told(&mut current, &open, &text.xml10_content()?),
            Event::CData(text) => told(&mut current, &open, &text.decode()?),
            Event::GeneralRef(reference) => told(&mut current, &open, &resolve(&reference)?),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            Event::Eof => break,
        }
    }
    if let Some(element) = open.last() {
        bail!("it ends in the middle of `{}`", String::from_utf8_lossy(element));
    }
    ensure!(!cases.is_empty(), "it has no test case");
    // A case can fail several times, and frameworks count either the failures or the cases.
    ensure!(counted <= told_of, "it counts {counted} failures, and its cases tell {told_of}");
    Ok(named(cases, mask))
}

fn begin(
    element: &BytesStart<'_>,
    current: &mut Option<Draft>,
    counted: &mut usize,
    told_of: &mut usize,
) -> Result<()> {
    match element.local_name().as_ref() {
        // A suite of suites counts what is in them: the largest count is the file's.
        b"testsuite" | b"testsuites" => {
            let count = |name| -> Result<usize> {
                Ok(attribute(element, name)?.and_then(|value| value.trim().parse().ok()).unwrap_or(0))
            };
            *counted = (*counted).max(count("failures")? + count("errors")?);
        }
        b"testcase" => {
            ensure!(current.is_none(), "a `testcase` in a `testcase`");
            *current = Some(Draft {
                name: attribute(element, "name")?.unwrap_or_default(),
                class: attribute(element, "classname")?.unwrap_or_default(),
                milliseconds: attribute(element, "time")?.map_or(0, |time| milliseconds(&time)),
                // As GoogleTest writes what it did not run.
                verdict: attribute(element, "status")?
                    .filter(|status| status == "notrun")
                    .map(|_| Verdict::Skipped),
                ..Draft::default()
            });
        }
        kind @ (b"failure" | b"error" | b"skipped") => {
            if let Some(case) = current {
                let verdict = if kind == b"skipped" { Verdict::Skipped } else { Verdict::Failed };
                case.verdict = case.verdict.max(Some(verdict));
                *told_of += usize::from(verdict == Verdict::Failed);
                if !case.text.is_empty() && !case.text.ends_with('\n') {
                    case.text.push('\n');
                }
                case.text.push_str(&attribute(element, "message")?.unwrap_or_default());
                case.text.push('\n');
            }
        }
        _ => {}
    }
    Ok(())
}

fn end(element: &[u8], current: &mut Option<Draft>, cases: &mut Vec<Draft>) {
    let local = element.rsplit(|byte| *byte == b':').next().unwrap_or(element);
    if local == b"testcase" {
        cases.extend(current.take());
    }
}

/// What a failure says; what the case printed beside it is not kept.
fn told(current: &mut Option<Draft>, open: &[Vec<u8>], text: &str) {
    let inside =
        open.last().is_some_and(|element| matches!(element.as_slice(), b"failure" | b"error" | b"skipped"));
    if let Some(case) = current.as_mut().filter(|case| inside && case.text.len() < DETAIL) {
        case.text.push_str(text);
    }
}

fn resolve(reference: &BytesRef<'_>) -> Result<String> {
    // Frameworks escape whatever a program printed; XML has no word for its bells and colours.
    match reference.resolve_char_ref() {
        Ok(Some(letter)) => return Ok(letter.to_string()),
        Ok(None) => {}
        Err(_) => return Ok("\u{fffd}".to_owned()),
    }
    let name = reference.decode()?;
    // Entities of the file's own are not followed: they could be endless.
    Ok(resolve_predefined_entity(&name).map_or_else(|| format!("&{name};"), str::to_owned))
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Result<Option<String>> {
    let Some(attribute) = element.try_get_attribute(name)? else { return Ok(None) };
    Ok(Some(match attribute.normalized_value(XmlVersion::default()) {
        Ok(value) => value.into_owned(),
        // With a reference to what XML has no word for, or to an entity of the file's own: as it is written.
        Err(_) => String::from_utf8_lossy(&attribute.value).into_owned(),
    }))
}

/// Seconds, with a comma for thousands as some frameworks write them.
fn milliseconds(time: &str) -> u64 {
    let seconds: f64 = time.replace(',', "").trim().parse().unwrap_or(0.0);
    // A cast from a float keeps within its bounds.
    (seconds * 1000.0) as u64
}

/// By their names, with their class where a name alone would mean several.
fn named(drafts: Vec<Draft>, mask: &Mask) -> Vec<Case> {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for draft in &drafts {
        *times.entry(draft.name.clone()).or_default() += 1;
    }
    let case = |draft: Draft| {
        let alone = draft.class.is_empty() || (times[&draft.name] == 1 && !draft.name.is_empty());
        let name = if alone { draft.name } else { format!("{}.{}", draft.class, draft.name) };
        let (passed, word) = match draft.verdict {
            None => (true, "passed"),
            Some(Verdict::Skipped) => (true, "skipped"),
            Some(Verdict::Failed) => (false, "failed"),
        };
        // What a terminal would obey instead of showing has no place in a report.
        let shown = |c: &char| !c.is_control() || matches!(c, '\n' | '\t');
        let text: String = mask.text(&draft.text).trim().chars().filter(shown).take(DETAIL).collect();
        let detail = if text.is_empty() { word.to_owned() } else { format!("{word}: {text}") };
        Case { name, passed, milliseconds: draft.milliseconds, detail }
    };
    drafts.into_iter().map(case).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As pytest writes it.
    const PYTEST: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<testsuites name="pytest tests"><testsuite name="pytest" errors="1" failures="1" skipped="1" tests="4" time="0.034">
<testcase classname="test_shop" name="test_home[a &lt; b]" time="1.5" />
<testcase classname="test_shop" name="test_cart" time="0.001"><failure message="assert 1 == 2">def test_cart():
&gt;  assert 1 == 2 &#38; more</failure><system-out>not kept</system-out></testcase>
<testcase classname="test_shop" name="test_pay" time="0.000"><skipped type="pytest.skip" message="later">x:1</skipped></testcase>
<testcase classname="test_shop" name="test_db" time="0.002"><error message="no database"><![CDATA[a <b> c]]></error></testcase>
</testsuite></testsuites>"#;

    #[test]
    fn failures_errors_and_skipped_cases_are_told_apart() {
        let cases = parse(PYTEST, &Mask::default()).unwrap();
        let seen: Vec<(&str, bool, u64, &str)> = cases
            .iter()
            .map(|case| (case.name.as_str(), case.passed, case.milliseconds, case.detail.as_str()))
            .collect();
        let expected = [
            ("test_home[a < b]", true, 1500, "passed"),
            ("test_cart", false, 1, "failed: assert 1 == 2\ndef test_cart():\n>  assert 1 == 2 & more"),
            ("test_pay", true, 0, "skipped: later\nx:1"),
            ("test_db", false, 2, "failed: no database\na <b> c"),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn cases_of_one_name_are_told_apart_by_their_class() {
        let text =
            r#"<testsuite><testcase classname="A" name="x"/><testcase classname="B" name="x"/></testsuite>"#;
        let names: Vec<String> =
            parse(text, &Mask::default()).unwrap().into_iter().map(|case| case.name).collect();
        assert_eq!(names, ["A.x", "B.x"]);
    }

    #[test]
    fn a_file_that_can_t_be_trusted_is_an_error() {
        for (text, words) in [
            ("", "no test case"),
            ("not XML", "no test case"),
            ("<testsuite><testcase name='a'/>", "in the middle of `testsuite`"),
            ("<testsuite><testcase name='a'></testsuite>", "at byte"),
            ("<testsuite failures='1'><testcase name='a'/></testsuite>", "counts 1 failures"),
            ("<testsuite errors='1'><testcase name='a'/></testsuite>", "counts 1 failures"),
            ("<testcase name='a'><testcase name='b'/></testcase>", "in a `testcase`"),
            ("<testsuite/>", "no test case"),
        ] {
            let error = format!("{:#}", parse(text, &Mask::default()).expect_err(text));
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn a_case_may_fail_several_times() {
        let text = "<testsuite failures='3'><testcase name='a'><failure message='one'>at 1</failure>\
            <error message='two'/><failure>at 3</failure></testcase><testcase name='b' status='notrun'/></testsuite>";
        let cases = parse(text, &Mask::default()).unwrap();
        assert_eq!(cases[0].detail, "failed: one\nat 1\ntwo\n\nat 3");
        assert!(cases[1].passed && cases[1].detail == "skipped", "{cases:?}");
    }

    #[test]
    fn what_xml_has_no_word_for_loses_no_verdict() {
        let text = "<testsuite><testcase name='a&#27;[1m' classname='&own;'><failure message='x&#0;y'>\u{1b}[31mred\u{7} \
            &#27;&#0;&#xFFFF; end</failure></testcase></testsuite>";
        let cases = parse(text, &Mask::default()).unwrap();
        assert!(!cases[0].passed && cases[0].detail.contains("[31mred"), "{cases:?}");
        assert!(cases[0].detail.ends_with("end") && !cases[0].detail.contains('\u{1b}'), "{cases:?}");
    }

    #[test]
    fn every_usual_encoding_is_read() {
        let text =
            |encoding: &str| format!("<?xml version=\"1.0\" encoding={encoding}?><testcase name=\"Größe\"/>");
        let wide = |text: &str, of: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(of).collect::<Vec<u8>>();
        let latin: Vec<u8> =
            text("'ISO-8859-1'").chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
        for bytes in [
            text("\"UTF-8\"").into_bytes(),
            [&b"\xef\xbb\xbf"[..], text("\"utf-8\"").as_bytes()].concat(),
            [&b"\xff\xfe"[..], &wide(&text("\"UTF-16\""), u16::to_le_bytes)].concat(),
            [&b"\xfe\xff"[..], &wide(&text("\"UTF-16\""), u16::to_be_bytes)].concat(),
            wide(&text("\"UTF-16\""), u16::to_le_bytes),
            latin,
        ] {
            let cases = parse(&decode(&bytes).unwrap(), &Mask::default()).unwrap();
            assert_eq!(cases[0].name, "Größe");
        }
        assert_eq!(decode(b"<?xml encoding='windows-1252'?>\x80").unwrap().chars().last(), Some('€'));
        assert_eq!(decode(b"<a>\xff</a>").unwrap(), "<a>\u{fffd}</a>");
        let error = decode(b"<?xml version='1.0' encoding='EBCDIC'?>").unwrap_err().to_string();
        assert!(error.contains("ebcdic") && error.contains("UTF-8"), "{error}");
    }

    #[test]
    fn entities_of_one_s_own_are_not_followed() {
        let text = "<!DOCTYPE x [<!ENTITY a 'boom'>]><testcase name='a'><failure>&a;</failure></testcase>";
        assert_eq!(parse(text, &Mask::default()).unwrap()[0].detail, "failed: &a;");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[<>/a&;'= \"\\-!\\[\\]CDATAtestcase]{0,80}") {
            let _ = parse(&text, &Mask::default());
        }
    }
}
