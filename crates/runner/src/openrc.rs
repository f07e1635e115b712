//! `OpenRC`, which begins a machine without systemd: Alpine's, and others'.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use ovenbird_core::domain::plan::FOLDER;

use crate::{
    machine::{Machine, create_parents},
    process,
};

/// What starts the runner at a boot.
pub const SCRIPT: &str = "/etc/init.d/ovenbird-resume";
pub const WANTED: &str = "/etc/runlevels/default/ovenbird-resume";

/// How long it may take to note which service needs which.
const ANSWER: Duration = Duration::from_secs(60);

/// Whether `OpenRC` brought this machine up.
pub fn is_at_work(machine: &Machine) -> bool {
    machine.path("/run/openrc/softlevel").is_file()
}

/// Has the runner started at each later boot.
pub fn prepare(machine: &Machine) -> Result<()> {
    let (script, wanted) = (machine.path(SCRIPT), machine.path(WANTED));
    create_parents(&script)?;
    create_parents(&wanted)?;
    fs::write(&script, text()).with_context(|| format!("write {SCRIPT}"))?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    if fs::symlink_metadata(&wanted).is_err() {
        symlink(SCRIPT, &wanted).with_context(|| format!("write {WANTED}"))?;
    }
    note_services(machine)
}

/// It comes last, so that a step finds what starts at a boot. It starts the runner as the user data does, in a session of its own: what `OpenRC` itself can say of a program in the
/// background differs from base to base.
fn text() -> String {
    format!(
        "#!/sbin/openrc-run\ndescription=\"Ovenbird works on this machine\"\n\ndepend() {{\n\tafter *\n}}\n\n\
         start() {{\n\tsetsid {FOLDER}/ovenbird-runner work </dev/null >/dev/console 2>&1 &\n}}\n"
    )
}

/// Has `OpenRC` look at all services anew.
///
/// It keeps what it saw for the next boot, and looks again when a script is newer, by the second: a service that a fast
/// step set up in the second of the boot would start on no instance.
pub fn note_services(machine: &Machine) -> Result<()> {
    let Some(program) = machine.program("rc-update", &[]).filter(|_| is_at_work(machine)) else {
        return Ok(());
    };
    let mut command = machine.command(program);
    command.arg("--update");
    let answer = process::ask(command, b"", ANSWER)?;
    ensure!(answer.exit.is_success(), "rc-update --update: {}: {}", answer.exit, answer.complaint());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openrc_is_told_of_every_change_and_nothing_else_is() {
        let root = tempfile::tempdir().unwrap();
        let machine = Machine::new(root.path().to_str().unwrap());
        let (draft, program) = (root.path().join("draft"), machine.path("/sbin/rc-update"));
        create_parents(&program).unwrap();
        // It sees the link that is already there, as OpenRC does.
        let script = format!(
            "#!/bin/sh\nls {} >> {}/calls\n",
            machine.path("/etc/runlevels/default").display(),
            root.path().display()
        );
        fs::write(&draft, script).unwrap();
        let installed =
            std::process::Command::new("install").args(["-m", "755"]).args([&draft, &program]).status();
        assert!(installed.unwrap().success());
        note_services(&machine).unwrap();
        assert!(!root.path().join("calls").exists());
        create_parents(&machine.path("/run/openrc/softlevel")).unwrap();
        fs::write(machine.path("/run/openrc/softlevel"), "default\n").unwrap();
        prepare(&machine).unwrap();
        // Again, as after a boot.
        prepare(&machine).unwrap();
        assert_eq!(
            fs::read_to_string(root.path().join("calls")).unwrap(),
            "ovenbird-resume\novenbird-resume\n"
        );
        assert_eq!(fs::read_link(machine.path(WANTED)).unwrap().to_str(), Some(SCRIPT));
        assert_eq!(fs::metadata(machine.path(SCRIPT)).unwrap().permissions().mode() & 0o777, 0o755);
    }
}
