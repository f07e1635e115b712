//! Users and groups by name, as the machine itself knows them.
//!
//! By the machine's own programs: a static one can't ask the machine's name services, and a user may be in LDAP.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use nix::unistd::{Gid, Uid};
use ovenbird_core::domain::report::Exit;

use crate::{folder::Owner, machine::Machine, process::ask};

const ANSWER: Duration = Duration::from_secs(30);

/// The ids of `user` or `user:group`, each by name or number. What is not named stays as it is.
pub fn find(machine: &Machine, owner: Option<&str>) -> Result<Owner> {
    let Some(owner) = owner else { return Ok(Owner::default()) };
    let (name, group_name) = match owner.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (owner, None),
    };
    let user = Uid::from_raw(user(machine, name).with_context(|| format!("owner `{owner}`"))?);
    let group = group_name.map(|name| group(machine, name)).transpose();
    let group = group.with_context(|| format!("owner `{owner}`"))?.map(Gid::from_raw);
    Ok(Owner { user: Some(user), group })
}

fn user(machine: &Machine, name: &str) -> Result<u32> {
    let mut command = machine.command("id");
    // A name can't begin with `-`: the recipe's parser and `chown` alike refuse it.
    command.args(["-u", name]);
    let answer = ask(command, b"", ANSWER)?;
    match (&answer.exit, answer.text().trim().parse(), name.parse()) {
        (Exit::Status(0), Ok(id), _) => Ok(id),
        // A number that is nobody's name is an id, as for `chown`.
        (_, _, Ok(id)) => Ok(id),
        _ => bail!("the machine has no user `{name}` ({}): make it in a step before", answer.complaint()),
    }
}

fn group(machine: &Machine, name: &str) -> Result<u32> {
    let mut command = machine.command("getent");
    command.args(["group", name]);
    let answer = ask(command, b"", ANSWER)?;
    let text = match answer.exit {
        Exit::Status(0) => answer.text(),
        // Not every small base has it.
        Exit::Failed(_) => fs::read_to_string(machine.path("/etc/group")).context("read /etc/group")?,
        Exit::Status(_) | Exit::Signal(_) | Exit::TimedOut(_) | Exit::Skipped | Exit::Rebooted(_) => {
            String::new()
        }
    };
    let of = |line: &str| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
    };
    let found = text.lines().find_map(of).or_else(|| name.parse().ok());
    ensure!(found.is_some(), "the machine has no group `{name}`: make it in a step before");
    found.context("a group")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_found_and_others_told() {
        let root = tempfile::tempdir().unwrap();
        let machine = Machine::new(root.path().to_str().unwrap());
        let ids = |owner: &str| {
            let owner = find(&machine, Some(owner)).unwrap();
            (owner.user.map(Uid::as_raw), owner.group.map(Gid::as_raw))
        };
        assert_eq!(ids("root"), (Some(0), None));
        assert_eq!(ids("daemon:daemon"), (Some(1), Some(1)));
        assert_eq!(ids("54321:54322"), (Some(54321), Some(54322)));
        assert_eq!(find(&machine, None).unwrap(), Owner::default());
        for (owner, words) in
            [("no-such-user", "no user `no-such-user`"), ("root:no-such", "no group `no-such`")]
        {
            let error = format!("{:#}", find(&machine, Some(owner)).unwrap_err());
            assert!(error.contains(words) && error.contains(owner), "{error}");
        }
    }
}
