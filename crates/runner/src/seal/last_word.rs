//! The last word: what is written after the seal goes when the machine goes down.
//!
//! Services write until they are stopped. So the runner itself stays in memory as a unit that is stopped after nearly all
//! others, and then carries the whole list out once more, by the same code. Nothing newer than systemd 219 is used.

use std::{
    fs,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
};

use anyhow::{Context as _, Result};
use nix::sys::signal::{SigSet, Signal};
use ovenbird_core::domain::plan::{FOLDER, quote};

use super::{
    hands::Hands,
    orders,
    plan::{Plan, Scope, Site},
};
use crate::machine::{Machine, create_parents};

/// Where systemd looks for units of this boot only: nothing of it is in the image.
const UNITS: &str = "/run/systemd/system";
const NAME: &str = "ovenbird-last-word.service";

/// Sets the unit up and waits until it is ready: the program that it runs is removed soon.
pub fn prepare(machine: &Machine) -> Result<()> {
    let path = machine.path(UNITS).join(NAME);
    create_parents(&path)?;
    fs::write(&path, unit(machine)).with_context(|| format!("write {NAME}"))?;
    orders::systemctl(machine, &["daemon-reload"])?;
    orders::systemctl(machine, &["start", NAME])
}

/// Units are stopped in the reverse order of their start, and this one starts before nearly all others.
///
/// A shell starts the program: where `SELinux` is enforced, systemd may start what is in `/bin` alone, and a shell may start
/// the rest.
fn unit(machine: &Machine) -> String {
    let root = machine.path("/");
    let program = quote(&format!("{FOLDER}/ovenbird-runner"));
    let command = match machine.is_real() {
        true => format!("exec {program} seal --last-word"),
        false => format!("exec {program} seal --last-word --root {}", quote(&root.to_string_lossy())),
    };
    // systemd would take `%` for a specifier, and `$` for a variable.
    let command = command.replace('%', "%%").replace('$', "$$");
    format!(
        "[Unit]\nDescription=What was written since the seal goes\nDefaultDependencies=no\n\
         Conflicts=shutdown.target\nAfter=local-fs.target systemd-remount-fs.service\n\
         Before=sysinit.target systemd-random-seed.service systemd-update-utmp.service auditd.service \
         shutdown.target\nRequiresMountsFor=/etc /var /home /root\n\n\
         [Service]\nType=notify\nNotifyAccess=main\nExecStart=/bin/sh -c \"{command}\"\nTimeoutStartSec=60\n\
         TimeoutStopSec=300\n"
    )
}

/// Waits until the machine goes down, and then seals it once more.
pub fn run(machine: &Machine) -> Result<bool> {
    // Before it is said that this is ready: a signal that comes at once must not end it.
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.thread_block().context("hold signals back")?;
    let seal = machine.plan()?.seal;
    notify("READY=1").context("tell systemd that this is ready")?;
    signals.wait().context("wait until the machine goes down")?;
    let site = Site::new(machine, &seal)?;
    let plan = Plan::new(&site, &seal, Scope::Whole)?;
    let mut hands = Hands::working(&site, false);
    for target in &plan.targets {
        hands.do_it(target);
    }
    for stubborn in &hands.stubborn {
        eprintln!("ovenbird: {} stays: {}", stubborn.path.display(), stubborn.why);
    }
    super::to_disk(machine);
    Ok(hands.stubborn.is_empty())
}

/// Says something to systemd, where it listens.
fn notify(text: &str) -> Result<()> {
    let Some(address) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let bytes = address.as_encoded_bytes();
    let address = match bytes.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(&address)?,
    };
    UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What systemd 219 knows, and this unit uses.
    const KNOWN: &[&str] = &[
        "Description",
        "DefaultDependencies",
        "Conflicts",
        "After",
        "Before",
        "RequiresMountsFor",
        "Type",
        "NotifyAccess",
        "ExecStart",
        "TimeoutStartSec",
        "TimeoutStopSec",
    ];

    #[test]
    fn the_unit_is_one_that_systemd_219_knows() {
        let unit = unit(&Machine::new("/"));
        for line in unit.lines().filter(|line| !line.is_empty() && !line.starts_with('[')) {
            let (key, _) = line.split_once('=').unwrap();
            assert!(KNOWN.contains(&key), "{line}");
        }
        assert!(
            unit.contains("-c \"exec '/var/lib/ovenbird/ovenbird-runner' seal --last-word\"\n"),
            "{unit}"
        );
    }
}
