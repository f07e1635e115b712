//! `seal`: makes the machine an image. Nothing stays that is this machine's own, or ours.
//!
//! `list` is what is a machine's own, as data. `plan` looks it up on the machine before anything is changed, `hands` carry
//! the plan out, by descriptors (`folder`) and never through a link or into somebody else's file system (`mounts`). `logs`
//! knows a log from data, `edit` changes files of which only a part is the machine's own. `last_word` does it once more when
//! the machine goes down, `table` only tells what would be done.
//!
//! The seal reports that it is whole, and only then is the machine an image. It powers off then, or runs on until EC2 takes it down for the image. What its services write until
//! they are stopped goes when it goes down.

mod edit;
mod folder;
mod globs;
mod hands;
pub mod last_word;
mod left;
mod list;
mod logs;
mod mounts;
pub mod orders;
mod packages;
mod plan;
mod rule;
mod table;
#[cfg(test)]
mod tests;

pub use self::orders::power_off;

use std::{fs, io::Write as _, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;
use nix::fcntl::{Flock, FlockArg};
use ovenbird_core::domain::{
    mailbox::Urls,
    plan::{FOLDER, PresignedUrl},
    recipe::Seal,
    report::SealReport,
};

use self::{
    hands::Hands,
    plan::{Plan, Scope, Site},
};
use crate::{
    boots, fetch, live,
    machine::{Machine, create_parents},
    openrc,
};

/// How long the report is tried: a network that is away for a moment costs no bake. A failure is told once.
const TRIES: Duration = Duration::from_secs(120);
const ONE_TRY: Duration = Duration::ZERO;

/// How many parts a seal has, as a heartbeat tells them.
const PARTS: usize = 3;

/// So many of what stays are named in an error.
const NAMED: usize = 20;

/// What becomes of the machine once it is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It powers off, a moment after the seal has answered.
    PowerOff,
    /// It runs on, as a spot instance must: EC2 can't stop it, and takes it down for the image by itself.
    KeepRunning,
}

/// Where the seals of one machine wait for each other: a command may be delivered twice.
const LOCK: &str = "/run/ovenbird-seal.lock";

/// Seals, and reports.
pub fn run(machine: &Machine, then: Then) -> Result<()> {
    let _lock = lock(machine)?;
    if !machine.own("").exists() {
        println!("ovenbird: this machine is sealed already; nothing is left to do");
        return Ok(());
    }
    if !machine.own("plan.json").exists() {
        // The program is the last to go. Without it this is no builder: a local cloud keeps its home in a folder of this name.
        ensure!(
            machine.own(plan::PROGRAM).is_file(),
            "{FOLDER} has neither a plan nor the runner: this machine is no builder, and nothing was removed"
        );
        // All else was removed before the plan was, and with it the place of the report.
        let site = Site::new(machine, &Seal::default())?;
        let mut hands = Hands::working(&site, true);
        for target in Plan::ours() {
            hands.do_it(&target);
        }
        bail!("the plan is gone: a seal was interrupted before it could report");
    }
    let plan = machine.plan()?;
    let url = machine.urls()?.seal;
    if let Err(error) = seal(machine, &plan.seal, then) {
        // It is said here, too, in case that the command's own answer is lost; more than try we can't.
        let _ = report(&url, Some(format!("{error:#}")), ONE_TRY);
        return Err(error);
    }
    // The order is what makes the report worth something: a builder that is found stopped is imaged if it is there.
    // Everything is removed by now, or an error has said otherwise; and it is on the disk, for whoever stops the
    // machine by force from here on takes what is there. The URL was read from the plan before that was removed, and
    // goes to `curl` by a pipe: nothing that knows it is on the disk any more, and nothing writes it there again.
    // What services write until they are stopped is removed by the last word, which knows no secret.
    report(&url, None, TRIES).context("the machine is sealed, but could not report it")?;
    if then == Then::PowerOff {
        orders::power_off(machine)?;
    }
    Ok(())
}

/// Tells what the seal would do here, and changes nothing.
pub fn dry_run(machine: &Machine) -> Result<bool> {
    let table = table::dry_run(machine)?;
    std::io::stdout().write_all(table.as_bytes())?;
    Ok(true)
}

fn lock(machine: &Machine) -> Result<Flock<fs::File>> {
    let path = machine.path(LOCK);
    create_parents(&path)?;
    let file = fs::File::create(&path).with_context(|| format!("open {LOCK}"))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| error).context("wait for another seal")
}

/// Says that a seal was cut off: what it had removed by then, and what services wrote since, nobody knows.
pub fn interrupted(urls: &Urls, in_order: bool) -> Result<()> {
    report(&urls.seal, Some(boots::told(in_order, "in the middle of its seal")), TRIES)
}

fn report(url: &PresignedUrl, problem: Option<String>, tries: Duration) -> Result<()> {
    fetch::put(url, &serde_json::to_string(&SealReport { ended: Timestamp::now(), problem })?, tries)
}

fn seal(machine: &Machine, seal: &Seal, then: Then) -> Result<()> {
    let part = |name: &str, number| live::say(machine, name, number, PARTS);
    part("wait until no package is being installed", 1);
    let _held = packages::settle(machine, packages::PATIENCE)?;
    part("look up what is the machine's own", 2);
    let site = Site::new(machine, seal)?;
    let scope = if then == Then::KeepRunning { Scope::Early } else { Scope::Whole };
    let plan = Plan::new(&site, seal, scope)?;
    let hopeless = plan.left.iter().filter(|left| left.fails_at_once());
    whole(hopeless.map(|left| format!("{}: {}", left.path.display(), left.why)))
        .context("nothing was removed")?;
    if orders::has_systemd(machine) {
        last_word::prepare(machine)?;
        orders::quiet_the_journal(machine);
    }
    part("remove it", 3);
    carry_out(&site, &plan)?;
    // Its notes are of the services that were there before.
    if let Err(error) = openrc::note_services(machine) {
        println!("ovenbird: {error:#}");
    }
    to_disk(machine);
    Ok(())
}

/// Does what the plan says. What resists is named; it is an error if it is a secret.
fn carry_out(site: &Site<'_>, plan: &Plan) -> Result<()> {
    let mut hands = Hands::working(site, true);
    // Ovenbird's own folder is the last: while it is there a second try can still run, and knows where to report.
    let (ours, others): (Vec<_>, Vec<_>) =
        plan.targets.iter().partition(|target| std::ptr::eq(target.rule, &raw const list::OURS));
    for target in others {
        hands.do_it(target);
    }
    for stubborn in hands.stubborn.iter().filter(|stubborn| !stubborn.rule.secret) {
        let stays = format!("{} stays: {}", stubborn.path.display(), stubborn.why);
        println!("ovenbird: {stays}");
        live::line(site.machine, &stays);
    }
    let resists = hands.stubborn.iter().filter(|stubborn| stubborn.rule.secret);
    let resists = resists.map(|stubborn| format!("{}: {}", stubborn.path.display(), stubborn.why));
    let left = plan.left.iter().filter(|left| left.fails(site.machine));
    whole(resists.chain(left.map(|left| format!("{}: {}", left.path.display(), left.why))))?;
    for target in ours {
        hands.do_it(target);
    }
    let ours = hands.stubborn.iter().filter(|stubborn| std::ptr::eq(stubborn.rule, &raw const list::OURS));
    whole(ours.map(|stubborn| format!("{}: {}", stubborn.path.display(), stubborn.why)))
}

/// An error that names what no image may have.
fn whole(stays: impl Iterator<Item = String>) -> Result<()> {
    let stays: Vec<String> = stays.collect();
    let more = stays.len().saturating_sub(NAMED);
    let mut named = stays[..stays.len() - more].join("\n");
    if more > 0 {
        named.push_str(&format!("\nand {more} more"));
    }
    ensure!(
        stays.is_empty(),
        "these stay, and no image may have them; let a step remove them, or name them in `seal.keep`:\n{named}"
    );
    Ok(())
}

/// Has all that was removed be so on the disk, too.
fn to_disk(machine: &Machine) {
    // A test's folder may be gone from the memory alone; the disk of whoever tests is none of ours to wait for.
    if machine.is_real() {
        nix::unistd::sync();
    }
}
