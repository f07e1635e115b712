//! `user`: it exists, is in a group, has a shell, as the machine's own name services tell.

use anyhow::{Result, bail, ensure};
use ovenbird_core::domain::report::Exit;

use super::asked;
use crate::machine::Machine;

pub fn look(machine: &Machine, name: &str, group: Option<&str>, shell: Option<&str>) -> Result<String> {
    let answer = asked(machine, "getent", &["passwd", name])?;
    match &answer.exit {
        Exit::Status(0) => {}
        Exit::Status(2) => bail!("there is no user {name}"),
        exit @ (Exit::Status(_)
        | Exit::Signal(_)
        | Exit::TimedOut(_)
        | Exit::Failed(_)
        | Exit::Skipped
        | Exit::Rebooted(_)) => {
            bail!("getent: {exit} {}", answer.complaint())
        }
    }
    let text = answer.text();
    let fields: Vec<&str> = text.lines().next().unwrap_or_default().split(':').collect();
    let [seen_name, .., seen_shell] = fields[..] else { bail!("getent printed {text:?}") };
    // It also takes a number for a name.
    ensure!(seen_name == name, "there is no user {name}");
    if let Some(shell) = shell {
        ensure!(seen_shell == shell, "user {name} has shell {seen_shell}, not {shell}");
    }
    if let Some(group) = group {
        let answer = asked(machine, "id", &["-nG", name])?;
        ensure!(answer.exit == Exit::Status(0), "id: {}", answer.complaint());
        let groups = answer.text();
        ensure!(
            groups.split_whitespace().any(|seen| seen == group),
            "user {name} is in {}, not in {group}",
            groups.trim()
        );
    }
    Ok(format!("user {name} is as it should be"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The host's own users: every Linux has these.
    fn judge(name: &str, group: Option<&str>, shell: Option<&str>) -> Result<String, String> {
        look(&Machine::new("/"), name, group, shell).map_err(|error| error.to_string())
    }

    #[test]
    fn a_user_is_judged_by_all_that_is_asked() {
        assert!(judge("root", Some("root"), None).is_ok());
        assert_eq!(judge("no-such-user", None, None).unwrap_err(), "there is no user no-such-user");
        assert_eq!(judge("0", None, None).unwrap_err(), "there is no user 0");
        assert!(judge("root", None, Some("/bin/no")).unwrap_err().ends_with("not /bin/no"));
        assert!(judge("daemon", Some("root"), None).unwrap_err().ends_with("not in root"));
    }
}
