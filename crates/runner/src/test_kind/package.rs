//! `package`: installed, in a version that begins as asked, says whichever database the machine has.

use anyhow::{Result, bail, ensure};
use ovenbird_core::domain::report::Exit;

use super::asked;
use crate::machine::Machine;

pub fn look(machine: &Machine, name: &str, version: Option<&str>) -> Result<String> {
    ensure!(!name.starts_with('-') && !name.is_empty(), "`{name}` is no name of a package");
    let mut known = false;
    let mut versions = Vec::new();
    for (program, words, read) in [
        ("dpkg-query", &["-W", "-f", "${Status}\t${Version}\n"][..], dpkg as fn(&str, &str) -> Vec<String>),
        ("rpm", &["-q", "--qf", "%{VERSION}-%{RELEASE}\n"], rpm),
        ("apk", &["list", "--installed"], apk),
    ] {
        if machine.program(program, &[]).is_some() {
            known = true;
            versions.extend(installed(machine, program, words, name, read)?);
        }
    }
    ensure!(known, "the machine has none of dpkg-query, rpm and apk");
    ensure!(!versions.is_empty(), "package {name} is not installed");
    let right = |seen: &&String| version.is_none_or(|wanted| begins(seen, wanted));
    match (versions.iter().find(right), version) {
        (Some(seen), _) => Ok(format!("package {name} is installed in version {seen}")),
        (None, wanted) => {
            bail!(
                "package {name} is installed in version {}, not {}",
                versions.join(", "),
                wanted.unwrap_or("any")
            )
        }
    }
}

fn installed(
    machine: &Machine,
    program: &str,
    words: &[&str],
    name: &str,
    read: fn(&str, &str) -> Vec<String>,
) -> Result<Vec<String>> {
    let answer = asked(machine, program, &[words, &[name]].concat())?;
    match answer.exit {
        Exit::Status(0) => Ok(read(&answer.text(), name)),
        // A package that it does not know.
        Exit::Status(_) => Ok(Vec::new()),
        exit
        @ (Exit::Signal(_) | Exit::TimedOut(_) | Exit::Failed(_) | Exit::Skipped | Exit::Rebooted(_)) => {
            bail!("{program}: {exit}")
        }
    }
}

/// A line for each architecture; a package that was removed leaves its configuration and another status.
fn dpkg(text: &str, _name: &str) -> Vec<String> {
    let version = |line: &str| line.strip_prefix("install ok installed\t").map(str::to_owned);
    text.lines().filter_map(version).collect()
}

/// A line for each version: of a kernel there may be several.
fn rpm(text: &str, _name: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// A line is `musl-1.2.4-r2 x86_64 {musl} (MIT) [installed]`.
fn apk(text: &str, name: &str) -> Vec<String> {
    let version = |line: &str| {
        let rest = line.split_whitespace().next()?.strip_prefix(name)?.strip_prefix('-')?;
        rest.starts_with(|c: char| c.is_ascii_digit()).then(|| rest.to_owned())
    };
    text.lines().filter_map(version).collect()
}

/// Whether a version begins as asked, with its epoch (`1:`) or without.
fn begins(seen: &str, wanted: &str) -> bool {
    let without = seen.split_once(':').map_or(seen, |(_, rest)| rest);
    seen.starts_with(wanted) || without.starts_with(wanted)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{machine, program};
    use super::*;

    fn judge(tool: &str, script: &str, version: Option<&str>) -> Result<String, String> {
        let (_root, machine) = machine();
        program(&machine, &format!("/usr/bin/{tool}"), script);
        look(&machine, "shop", version).map_err(|error| error.to_string())
    }

    #[test]
    fn debian_s_packages_are_judged() {
        let dpkg = "[ \"$1$2$4\" = -W-fshop ] || exit 9\nprintf 'install ok installed\\t1:2.10-3\\n'\n";
        assert!(judge("dpkg-query", dpkg, None).is_ok());
        assert!(judge("dpkg-query", dpkg, Some("2.1")).is_ok());
        assert!(judge("dpkg-query", dpkg, Some("1:2.10")).is_ok());
        let error = judge("dpkg-query", dpkg, Some("3")).unwrap_err();
        assert_eq!(error, "package shop is installed in version 1:2.10-3, not 3");
        let removed = "printf 'deinstall ok config-files\\t2.10\\n'\n";
        assert_eq!(judge("dpkg-query", removed, None).unwrap_err(), "package shop is not installed");
        assert_eq!(judge("dpkg-query", "exit 1\n", None).unwrap_err(), "package shop is not installed");
    }

    #[test]
    fn red_hat_s_packages_are_judged() {
        let rpm = "[ \"$1$2$4\" = -q--qfshop ] || exit 9\nprintf '5.14-1\\n6.1-2\\n'\n";
        assert!(judge("rpm", rpm, Some("6.1")).is_ok());
        assert!(judge("rpm", rpm, Some("4")).unwrap_err().contains("5.14-1, 6.1-2, not 4"));
    }

    #[test]
    fn alpine_s_packages_are_judged() {
        let apk = "[ \"$*\" = 'list --installed shop' ] || exit 9\n\
                   echo 'shop-1.2-r0 x86_64 {shop} (MIT) [installed]'\necho 'shop-doc-3-r0 x86_64 {shop} (MIT) [installed]'\n";
        assert!(judge("apk", apk, Some("1.2")).is_ok());
        assert!(judge("apk", apk, Some("3")).is_err());
        assert_eq!(judge("apk", "true\n", None).unwrap_err(), "package shop is not installed");
    }

    #[test]
    fn a_machine_without_a_database_is_told() {
        let (_root, machine) = machine();
        assert!(look(&machine, "shop", None).unwrap_err().to_string().contains("none of dpkg-query"));
        assert!(look(&machine, "--root=/x", None).unwrap_err().to_string().contains("no name"));
    }
}
