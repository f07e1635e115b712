//! `work`: stays on the builder, does what its mailbox orders, and says what it does.
//!
//! Each order is a program of its own (this one again), so that whatever it meets, somebody is left who can say so.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use jiff::Timestamp;
use ovenbird_core::domain::{
    mailbox::{EAGER_FOR, EAGER_LOOK, Heartbeat, LOOK, Order, Orders, Work},
    plan::{PLAN_HASH, Plan},
};
use serde::{Deserialize, Serialize};

use crate::{
    boots::{self, Told, Way},
    fetch, live,
    machine::Machine,
    mailbox::{Mailbox, secure},
    provision, seal, test,
};

/// How often a program at work is looked at: a short step costs its bake no second.
const GLANCE: Duration = Duration::from_millis(100);

/// How long a report is tried.
const TRIES: Duration = Duration::from_secs(120);

/// How long a last word is tried: systemd ends a program that goes on for longer than 90 s.
const LAST_TRIES: Duration = Duration::from_secs(20);

/// How much of an output a heartbeat shows.
const OUTPUT_BYTES: u64 = 2_048;
const OUTPUT_LINES: usize = 10;

/// The last order that was done, on the disk: the machine may boot again in between.
const DONE: &str = "done.json";

/// The order at work, with the boot in which it began, on the disk.
const AT_WORK: &str = "at-work.json";

/// Works until the machine is sealed, or its bake's time is over.
pub fn run(machine: &Machine) -> Result<bool> {
    // User data narrows the mask for what it fetches.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let Some(_alone) = boots::alone(machine)? else {
        println!("ovenbird: another runner is at work here");
        return Ok(true);
    };
    let told = Told::listen()?;
    let mut mailbox = Mailbox::open(machine)?;
    let plan = match fetch_plan(machine, &mailbox) {
        Ok(plan) => plan,
        Err(error) => {
            mailbox.say_failure(0, format!("{error:#}"), TRIES);
            return Err(error);
        }
    };
    let mut done = done(machine);
    let mut reported: Option<Instant> = None;
    loop {
        if Timestamp::now() > plan.ends {
            println!("ovenbird: the bake's time is over: the machine powers off");
            seal::power_off(machine)?;
            return Ok(false);
        }
        if told.to_end() {
            going(machine, &mut mailbox, done, None)?;
            return Ok(false);
        }
        match mailbox.orders() {
            Some(Orders { order: Order::Seal | Order::SealRunning, .. }) if done == 0 => {
                // EC2 boots a builder that was imaged while it ran, and cloud-init takes the sealed machine for a new one.
                println!("ovenbird: this machine was sealed before; nothing is left to do");
                return Ok(true);
            }
            Some(orders) if orders.generation > done => {
                match obey(machine, &mut mailbox, &plan, orders, &told)? {
                    Obeyed::Done => {}
                    Obeyed::GoesDown => return Ok(false),
                }
                match orders.order {
                    Order::Seal | Order::SealRunning => return Ok(true),
                    Order::Provision | Order::Test => {}
                }
                done = orders.generation;
                fs::write(machine.own(DONE), done.to_string()).context(DONE)?;
                reported = Some(Instant::now());
            }
            Some(_) | None => {}
        }
        mailbox.beat(done, None);
        mailbox.refresh(machine, &plan);
        let eager = reported.is_some_and(|at| at.elapsed() < EAGER_FOR.unsigned_abs());
        thread::sleep(if eager { EAGER_LOOK } else { LOOK }.unsigned_abs());
    }
}

/// What became of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Obeyed {
    /// It is done, and reported.
    Done,
    /// The machine goes down first.
    GoesDown,
}

/// The order at work.
#[derive(Debug, Serialize, Deserialize)]
struct AtWork {
    boot: String,
    generation: u32,
}

/// Says what ends this program, when that is not the work's own end.
fn going(machine: &Machine, mailbox: &mut Mailbox, generation: u32, work: Option<Work>) -> Result<()> {
    match boots::way(machine) {
        Way::On if seal::orders::has_systemd(machine) => {
            let problem = "something on the machine stopped the runner's unit, while the machine runs on";
            mailbox.say_failure(generation, problem.to_owned(), LAST_TRIES);
        }
        // Without systemd nobody says which of the two it is; a machine that is off is seen to be.
        Way::On | Way::Again => {
            boots::note_down(machine)?;
            mailbox.put(Heartbeat { generation, work, reboots: true, ..Heartbeat::default() }, LAST_TRIES);
        }
        // What it was at when it went, nobody else can tell.
        Way::Down => {
            boots::note_down(machine)?;
            mailbox.put(Heartbeat { generation, work, ..Heartbeat::default() }, LAST_TRIES);
        }
    }
    Ok(())
}

fn done(machine: &Machine) -> u32 {
    fs::read_to_string(machine.own(DONE)).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The plan that user data names, which nobody can change after the launch; what is in the bucket, somebody may.
fn fetch_plan(machine: &Machine, mailbox: &Mailbox) -> Result<Plan> {
    if !machine.own("plan.json").exists() {
        let text = fetch::get(&mailbox.urls.plan, TRIES).context("fetch the plan")?;
        machine.write_own("plan.json", text.as_bytes())?;
    }
    let named = fs::read_to_string(machine.own(PLAN_HASH));
    if machine.is_real() || named.is_ok() {
        let named = named.with_context(|| format!("user data left no {PLAN_HASH}"))?;
        let seen = fetch::sha256(&machine.own("plan.json"))?;
        ensure!(
            named.trim() == seen.as_str(),
            "the plan in the bucket has SHA-256 {seen}, and is not the one that the instance was launched for, {}",
            named.trim()
        );
    }
    let plan = machine.plan()?;
    secure(&plan, &mailbox.urls)?;
    Ok(plan)
}

/// Does what is ordered, and reports.
fn obey(
    machine: &Machine,
    mailbox: &mut Mailbox,
    plan: &Plan,
    orders: Orders,
    told: &Told,
) -> Result<Obeyed> {
    let Orders { generation, order } = orders;
    let verb: &[&str] = match order {
        Order::Provision => &["provision"],
        Order::Test => &["test"],
        Order::Seal => &["seal"],
        Order::SealRunning => &["seal", "--keep-running"],
    };
    if let Some(in_order) = interrupted(machine, generation)? {
        match order {
            // It knows its place, and says by itself of which step that is so.
            Order::Provision => {}
            Order::Test => {
                return test::interrupted(machine, plan, &mailbox.urls, in_order).map(|()| Obeyed::Done);
            }
            Order::Seal | Order::SealRunning => {
                return seal::interrupted(&mailbox.urls, in_order).map(|()| Obeyed::Done);
            }
        }
    }
    if order == Order::Provision || order == Order::Test {
        match boots::prepare(machine) {
            Ok(true) => {}
            Ok(false) => println!("ovenbird: nothing on this machine starts the runner after another boot"),
            Err(error) => println!("ovenbird: the runner would not be started after another boot: {error:#}"),
        }
    }
    live::forget(machine);
    let mut child = start(machine, verb)?;
    let started = Timestamp::now();
    let doing = || now_doing(machine, plan, order, started);
    let status = loop {
        if told.to_end() {
            going(machine, mailbox, generation, Some(doing()))?;
            return Ok(Obeyed::GoesDown);
        }
        if let Some(status) = child.try_wait()? {
            break status;
        }
        mailbox.beat(generation, Some(&doing));
        if !matches!(order, Order::Seal | Order::SealRunning) {
            mailbox.refresh(machine, plan);
        }
        if Timestamp::now() > plan.ends {
            // Its own time limit did not end it.
            let _ = child.kill();
        }
        thread::sleep(GLANCE);
    };
    if order == Order::Provision && status.code() == Some(i32::from(provision::BOOTS)) {
        let work = Some(doing());
        mailbox.put(Heartbeat { generation, work, reboots: true, ..Heartbeat::default() }, TRIES);
        if let Err(error) = boots::reboot(machine, told) {
            mailbox.say_failure(generation, format!("{error:#}"), TRIES);
            return Err(error);
        }
        return Ok(Obeyed::GoesDown);
    }
    let reported = match order {
        Order::Provision => provision::report(machine, &mailbox.urls),
        Order::Test => test::report(machine, &mailbox.urls),
        // It reported by itself, before it removed the place of the report.
        Order::Seal | Order::SealRunning => {
            if status.success() {
                return Ok(Obeyed::Done);
            }
            Err(anyhow!("the seal ended with {status} and could not report it"))
        }
    };
    if let Err(error) = reported {
        // Whoever ends everything on the machine may have ended that program a moment before this one.
        if status.signal().is_some() && told.to_end_soon() {
            going(machine, mailbox, generation, Some(doing()))?;
            return Ok(Obeyed::GoesDown);
        }
        let problem = format!("{} ended with {status}: {error:#}", verb[0]);
        mailbox.say_failure(generation, problem.clone(), TRIES);
        bail!("{problem}");
    }
    Ok(Obeyed::Done)
}

/// Notes that an order is at work. If it was so already, in an earlier boot, gives whether that boot ended in order.
fn interrupted(machine: &Machine, generation: u32) -> Result<Option<bool>> {
    let boot = boots::this(machine);
    let before = fs::read(machine.own(AT_WORK)).ok();
    let before: Option<AtWork> = before.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let cut = before.filter(|before| before.generation == generation && before.boot != boot);
    machine.write_kept(AT_WORK, &serde_json::to_vec(&AtWork { boot, generation })?)?;
    Ok(cut.map(|before| boots::ended_in_order(machine, &before.boot)))
}

fn start(machine: &Machine, verb: &[&str]) -> Result<Child> {
    let program = std::env::current_exe().context("find this program")?;
    let mut command = Command::new(program);
    command.args(verb).stdin(Stdio::null());
    if let Some(root) = machine.other_root() {
        command.arg("--root").arg(root);
    } else if let Ok(console) = File::options().write(true).open("/dev/console") {
        // What a step does is on the console, too: it is all that EC2 shows of a machine that hangs.
        command.stdout(console.try_clone()?).stderr(console);
    }
    command.spawn().with_context(|| format!("start {}", verb.join(" ")))
}

/// What the machine does, as far as its logs tell.
fn now_doing(machine: &Machine, plan: &Plan, order: Order, started: Timestamp) -> Work {
    let (what, of) = match order {
        Order::Provision => ("the recipe's files and the artifact", plan.steps.len()),
        Order::Test => ("tests", plan.tests.len()),
        Order::Seal | Order::SealRunning => ("seal", 1),
    };
    let mut work =
        Work { order, name: what.to_owned(), number: 0, of, since: started, output: String::new() };
    if order != Order::Provision {
        if let Some((now, log)) = live::now(machine) {
            (work.name, work.number, work.of, work.since) = (now.name, now.number, now.of, now.since);
            work.output = tail(&log).unwrap_or_default();
        }
        return work;
    }
    if let Some((index, path)) = newest_log(machine)
        && let Some(step) = plan.steps.get(index)
    {
        work.name.clone_from(&step.name);
        work.number = index + 1;
        work.output = tail(&path).unwrap_or_default();
        let began = fs::metadata(&path).and_then(|file| file.created().or_else(|_| file.modified()));
        work.since = began.ok().and_then(|time| Timestamp::try_from(time).ok()).unwrap_or(started);
    }
    work
}

/// The log of the step at work: `3.log`, or `3.2.log` of its second try.
fn newest_log(machine: &Machine) -> Option<(usize, PathBuf)> {
    let logs = fs::read_dir(machine.own("logs")).ok()?;
    let numbered = logs.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let mut numbers = name.strip_suffix(".log")?.split('.');
        let index: usize = numbers.next()?.parse().ok()?;
        let again: u32 = numbers.next().map_or(Some(1), |number| number.parse().ok())?;
        Some((index, again, entry.path()))
    });
    numbered.max().map(|(index, _, path)| (index, path))
}

/// The last lines of a log, which has no secrets.
fn tail(path: &PathBuf) -> Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(OUTPUT_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(OUTPUT_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(OUTPUT_LINES)..].join("\n"))
}
