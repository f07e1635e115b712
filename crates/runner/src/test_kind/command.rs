//! `command`: how it ends and what it says; or a suite of its own, whose cases are told one by one.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use nix::{fcntl::OFlag, unistd::geteuid};
use ovenbird_core::domain::report::Exit;

use super::{Seen, contains, shown, suite};
use crate::{live::Copy, machine::Machine, mask::Mask, process};

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
        clear(file)?;
    }
    let mut command = machine.command("/bin/sh");
    command.args(["-c", asked.run]).current_dir(folder);
    let answer = process::ask_shown(command, limit, || Copy::of_now(machine, mask))?;
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

/// What an earlier run wrote says nothing of this one. A folder is somebody's, and is not removed for a slip in a name.
fn clear(file: &Path) -> Result<()> {
    let shown = || format!("`junit` names {}", file.display());
    match fs::symlink_metadata(file) {
        Ok(there) if there.is_dir() => bail!("{}, which is a folder: name a file", shown()),
        // Of a link, the link itself.
        Ok(_) => fs::remove_file(file).with_context(shown),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(shown),
    }
}

/// Reads what the suite wrote. The file may lie where others write, as in `/tmp`: what they put there is not the suite's.
fn read(file: &Path, mask: &Mask) -> Result<Vec<suite::Case>> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
        .open(file)
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => anyhow!("it was not written"),
            _ => anyhow!("it is a link, or can't be read: {error}"),
        })?;
    let there = opened.metadata()?;
    ensure!(there.is_file(), "it is no plain file");
    let folder = fs::metadata(file.parent().unwrap_or(Path::new("/")))?;
    ensure!(
        [geteuid().as_raw(), folder.uid()].contains(&there.uid()),
        "it belongs to user {}, and any user may have put it into that folder: name a path beside the recipe's files, as in \
         `junit = \"suite.xml\"`, or one in a folder of that user's",
        there.uid()
    );
    let size = there.len();
    ensure!(size <= LARGEST_FILE, "it has {size} bytes, and {LARGEST_FILE} are read at most");
    let mut bytes = Vec::new();
    opened.take(LARGEST_FILE).read_to_end(&mut bytes)?;
    suite::parse(&suite::decode(&bytes)?, mask)
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
            ("printf '\\377' > it.xml", "it.xml", "no test case"),
            ("ln -s old.xml it.xml", "it.xml", "it is a link"),
            ("mkfifo it.xml", "it.xml", "no plain file"),
            ("printf '<testsuite/>' > it.xml", "it.xml", "no test case"),
            ("exit 7", "it.xml", "exit 7"),
        ] {
            let (cases, problem) = suite_of(run, file);
            assert!(cases.is_empty(), "{run}");
            let problem = problem.unwrap();
            assert!(problem.contains(words), "{run}: {problem}");
        }
    }

    #[test]
    fn a_folder_is_not_removed_for_a_slip_in_a_name() {
        let (_root, machine) = machine();
        fs::create_dir_all(machine.own("files/reports/kept")).unwrap();
        let error = look(&machine, &asked("true"), Some("reports"), LONG, &Mask::default()).err().unwrap();
        assert!(error.to_string().contains("is a folder"), "{error}");
        assert!(machine.own("files/reports/kept").exists());
    }

    /// The application waits in a folder that everybody writes to, and puts a report of its own there.
    #[test]
    fn a_report_of_another_user_s_is_not_believed() {
        if !geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none(), "this test needs root");
            return println!("SKIPPED: it needs root");
        }
        let good = "printf '<testsuite><testcase name=\"a\"/></testsuite>' > it.xml; chown 65534 it.xml";
        let (cases, problem) = suite_of(good, "it.xml");
        assert!(cases.is_empty() && problem.unwrap().contains("belongs to user 65534"));
        // Who owns the folder was chosen by the recipe.
        let (cases, problem) = suite_of(&format!("{good}; chown 65534 ."), "it.xml");
        assert_eq!((cases.len(), problem), (1, None));
    }
}
