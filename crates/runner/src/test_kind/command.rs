//! `command`: how it ends and what it says; or a suite of its own, whose cases are told one by one.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, anyhow, ensure};
use ovenbird_core::domain::report::Exit;

use super::{Seen, contains, shown, suite};
use crate::{machine::Machine, mask::Mask, process};

/// A suite's file of more than this is out of order.
const LARGEST_FILE: u64 = 64 << 20;

/// What is asked of a command.
pub struct Asked<'a> {
    pub run: &'a str,
    pub exit: i32,
    pub stdout: Option<&'a str>,
    pub stderr: Option<&'a str>,
}

pub fn look(
    machine: &Machine,
    asked: &Asked<'_>,
    junit: Option<&str>,
    limit: Duration,
    mask: &Mask,
) -> Result<Seen> {
    let folder = machine.files()?;
    // A path of the machine, or one in the folder that the command runs in.
    let file = junit.map(|path| match path.starts_with('/') {
        true => machine.path(path),
        false => folder.join(path),
    });
    if let Some(file) = &file {
        // What an earlier run wrote says nothing of this one.
        crate::machine::remove(file).with_context(|| format!("remove {}", file.display()))?;
    }
    let mut command = machine.command("/bin/sh");
    command.args(["-c", asked.run]).current_dir(folder);
    let answer = process::ask(command, b"", limit)?;
    let judged = judge(&answer, asked, mask);
    match file {
        None => judged.map(Seen::This),
        Some(file) => Ok(cases(&file, judged, mask)),
    }
}

fn judge(answer: &process::Answer, asked: &Asked<'_>, mask: &Mask) -> Result<String> {
    let wanted = Exit::Status(asked.exit);
    let said = match shown(&answer.complaint_without(mask), mask) {
        said if said.is_empty() => said,
        said => format!(": {said}"),
    };
    ensure!(answer.exit == wanted, "{}, not {wanted}{said}", answer.exit);
    contains("its output", &answer.text(), asked.stdout, mask)?;
    let errors = String::from_utf8_lossy(&answer.stderr.bytes()).into_owned();
    contains("its error output", &errors, asked.stderr, mask)?;
    Ok(answer.exit.to_string())
}

/// The cases that the suite wrote. A failed case is told by itself; anything else that is wrong, beside them.
fn cases(file: &Path, judged: Result<String>, mask: &Mask) -> Seen {
    let problem = judged.as_ref().err().map(|problem| format!("{problem:#}"));
    match read(file, mask) {
        Ok(cases) => Seen::Cases(cases, problem),
        Err(error) => {
            let error = format!("{:#}", error.context(format!("the suite's file {}", file.display())));
            let problem = problem.map_or(error.clone(), |problem| format!("{error}; {problem}"));
            Seen::Cases(Vec::new(), Some(problem))
        }
    }
}

fn read(file: &Path, mask: &Mask) -> Result<Vec<suite::Case>> {
    let size = fs::metadata(file).context("it was not written")?.len();
    ensure!(size <= LARGEST_FILE, "it has {size} bytes, and {LARGEST_FILE} are read at most");
    let text = String::from_utf8(fs::read(file)?).map_err(|_| anyhow!("it is not UTF-8"))?;
    suite::parse(&text, mask)
}

#[cfg(test)]
mod tests {
    use super::super::testing::machine;
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn asked(run: &str) -> Asked<'_> {
        Asked { run, exit: 0, stdout: None, stderr: None }
    }

    fn plain(asked: &Asked<'_>) -> Result<String> {
        let (_root, machine) = machine();
        match look(&machine, asked, None, LONG, &Mask::default())? {
            Seen::This(seen) => Ok(seen),
            Seen::Cases(..) => unreachable!("no suite was asked for"),
        }
    }

    #[test]
    fn exit_and_both_outputs_are_judged_apart() {
        let run = "echo good; echo bad >&2; exit 3";
        let asked = |stdout, stderr, exit| Asked { run, exit, stdout, stderr };
        assert_eq!(plain(&asked(Some("good"), Some("bad"), 3)).unwrap(), "exit 3");
        assert_eq!(plain(&asked(None, None, 0)).unwrap_err().to_string(), "exit 3, not exit 0: bad");
        let error = plain(&asked(Some("bad"), None, 3)).unwrap_err().to_string();
        assert_eq!(error, "its output has no \"bad\": good");
        let error = plain(&asked(None, Some("good"), 3)).unwrap_err().to_string();
        assert_eq!(error, "its error output has no \"good\": bad");
    }

    fn suite_of(run: &str, file: &str) -> (Vec<suite::Case>, Option<String>) {
        let (_root, machine) = machine();
        fs::create_dir_all(machine.own("files")).unwrap();
        fs::write(machine.own("files/old.xml"), "<testsuite><testcase name=\"old\"/></testsuite>").unwrap();
        match look(&machine, &asked(run), Some(file), LONG, &Mask::default()).unwrap() {
            Seen::Cases(cases, problem) => (cases, problem),
            Seen::This(seen) => unreachable!("{seen}"),
        }
    }

    #[test]
    fn a_suite_s_cases_are_told() {
        let run = "printf '<testsuite><testcase name=\"a\"/><testcase name=\"b\"><failure/></testcase></testsuite>' > it.xml";
        let (cases, problem) = suite_of(run, "it.xml");
        assert_eq!(problem, None);
        assert_eq!(cases.iter().map(|case| case.passed).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn a_suite_that_ends_badly_fails_though_its_cases_passed() {
        let run = "printf '<testsuite><testcase name=\"a\"/></testsuite>' > it.xml; exit 2";
        let (cases, problem) = suite_of(run, "it.xml");
        assert!(cases[0].passed);
        assert!(problem.unwrap().contains("exit 2, not exit 0"));
    }

    #[test]
    fn a_suite_without_a_file_or_with_a_broken_or_an_old_one_fails() {
        for (run, file, words) in [
            ("true", "it.xml", "was not written"),
            ("true", "old.xml", "was not written"),
            ("printf '<testsuite><testcase name=\"a\">' > it.xml", "it.xml", "it.xml"),
            ("printf '\\377' > it.xml", "it.xml", "not UTF-8"),
            ("printf '<testsuite/>' > it.xml", "it.xml", "no test case"),
            ("exit 7", "it.xml", "exit 7"),
        ] {
            let (cases, problem) = suite_of(run, file);
            assert!(cases.is_empty(), "{run}");
            let problem = problem.unwrap();
            assert!(problem.contains(words), "{run}: {problem}");
        }
    }
}
