//! `provision`: runs the steps in order. A machine that was provisioned is not provisioned again, and one that boots in
//! between goes on where it was.

use std::{
    fs::{self, File},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use jiff::Timestamp;
use ovenbird_core::domain::{
    mailbox::Urls,
    plan::{FOLDER, Plan},
    recipe::Step,
    report::{Exit, FETCH, ProvisionReport, StepReport},
};

use crate::{
    artifact, boots, fetch, files,
    folder::Owner,
    logs,
    machine::{Machine, remove},
    mask::Mask,
    output::Output,
    place::{At, Place},
    process, quiet,
    secrets::Secrets,
    shield,
    step::{self, Try, Unlocked},
    unpack::{self, Target},
};

const REPORT: &str = "report.json";

/// How long after a failed try the next one follows: a second, then twice as long each time.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long a machine that goes down may take to end this program.
const GOING: Duration = Duration::from_secs(180);

const NO_WAY_BACK: &str = "`reboot = true`: nothing on this machine could go on after the boot, for it has neither \
    systemd nor OpenRC nor /etc/cron.d";

/// The exit status that says that the machine is to boot again before the next step.
pub const BOOTS: u8 = 75;

/// How provisioning ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provisioned {
    /// Every step ended well, or one did not.
    Done(bool),
    /// A step is done after which the machine is to boot again; then the next one follows.
    Boots,
}

/// Provisions.
pub fn run(machine: &Machine) -> Result<Provisioned> {
    // User data narrows the mask for the plan; what the steps make is everybody's to read, as on any machine.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    files::open_way(machine).context("open the way to the recipe's files")?;
    let plan = machine.plan()?;
    let path = machine.own(REPORT);
    if !path.exists() {
        let Some(report) = provision(machine, &plan)? else { return Ok(Provisioned::Boots) };
        machine.write_report(REPORT, &report)?;
        files::open_way(machine)?;
    }
    let report: ProvisionReport = serde_json::from_slice(&fs::read(&path)?)?;
    Ok(Provisioned::Done(report.failure().is_none()))
}

/// Leaves the steps' report in the mailbox.
pub fn report(machine: &Machine, urls: &Urls) -> Result<()> {
    if let (Some(url), true) = (&urls.log, machine.own(logs::FILE).exists())
        && let Err(error) = fetch::upload(&machine.own(logs::FILE), url)
    {
        // The report has the end of each step's output.
        println!("ovenbird: the log of all steps could not be left in the bucket: {error:#}");
    }
    fetch::upload(&machine.own(REPORT), &urls.provision).context("upload the steps' report")
}

/// Runs the steps, from the first or from where an earlier boot left; none when the machine is to boot again first.
fn provision(machine: &Machine, plan: &Plan) -> Result<Option<ProvisionReport>> {
    let mut place = Place::find(machine)?;
    if place.is_due(machine) {
        return Ok(None);
    }
    let mut secrets = Secrets::new(plan.endpoint.clone());
    let mut go = true;
    let fetches = plan.bundle.is_some() || plan.artifact.is_some();
    if place.at.is_some() {
        go = go_on(machine, plan, &mut secrets, &mut place);
    } else if fetches {
        place.begin(machine, At { index: None, name: FETCH.to_owned(), reboot: false })?;
        go = record(&mut place.steps, FETCH, || match fetch_all(machine, plan) {
            Ok(said) => Done { output_tail: said, ..Done::once(Ok(Exit::Status(0))) },
            Err(error) => Done::once(Err(error)),
        });
    }
    if let Err(error) = shield::begin(machine) {
        println!("ovenbird: every user of this machine may ask its metadata service: {error:#}");
    }
    if let Err(error) = quiet::begin(machine) {
        // The steps wait for locks by themselves; they only have less time then.
        println!("ovenbird: the machine's own updates could not be held back: {error:#}");
    }
    let next = place.at.as_ref().map_or(0, At::next);
    for (index, step) in plan.steps.iter().enumerate().skip(next) {
        if !go {
            break;
        }
        place.begin(machine, At { index: Some(index), name: step.name.clone(), reboot: step.reboot })?;
        go = record(&mut place.steps, &step.name, || {
            match step.reboot && !boots::prepare(machine).unwrap_or(false) {
                true => Done::once(Err(anyhow!(NO_WAY_BACK))),
                false => self::step(machine, &mut secrets, step, index),
            }
        });
        let ran = place.steps.last().is_some_and(|done| done.exit != Exit::Skipped);
        if go && ran && step.reboot {
            place.boots(machine)?;
            return Ok(None);
        }
        if ran && boots::way(machine) != boots::Way::On {
            // The step had the machine shut down, and did not wait for it. That ends this program; after the boot it is
            // told of this step, and not of the one that would follow.
            thread::sleep(GOING);
        }
    }
    let first = usize::from(place.steps.first().is_some_and(|step| step.name == FETCH) && fetches);
    if let Err(error) = logs::keep(machine, &mut place.steps, first) {
        println!("ovenbird: the log of all steps: {error:#}");
    }
    Ok(Some(ProvisionReport { started: place.started, ended: Timestamp::now(), steps: place.steps }))
}

/// Goes on after a boot; gives whether the next step may follow.
fn go_on(machine: &Machine, plan: &Plan, secrets: &mut Secrets, place: &mut Place) -> bool {
    let Some(at) = place.at.clone() else { return true };
    let known = plan.steps.iter().take(at.next()).flat_map(Step::parameters);
    for parameter in known {
        // What earlier steps left on the machine is hidden as before.
        if let Err(error) = secrets.read(parameter).context("secrets are read again to hide them") {
            return record(&mut place.steps, &at.name, || Done::once(Err(error)));
        }
    }
    let index = at.index.unwrap_or_default();
    match place.after(machine) {
        None => {
            println!("ovenbird: the machine booted after step {}, and goes on", at.name);
            true
        }
        Some(exit) => record(&mut place.steps, &at.name, || Done {
            exit,
            tries: 1,
            output_tail: at.index.map(|_| last_log(machine, index)).unwrap_or_default(),
        }),
    }
}

/// What the last try of a step printed before the machine went down. Its log has no secrets.
fn last_log(machine: &Machine, index: usize) -> String {
    let mut kept = Output::new(Mask::default(), None);
    let bytes = logs::of_step(machine, index).pop().and_then(|(_, path)| fs::read(path).ok());
    match bytes.filter(|bytes| kept.push(bytes).is_ok() && kept.flush().is_ok()) {
        Some(_) => kept.last_lines(),
        None => String::new(),
    }
}

/// How a step went.
struct Done {
    exit: Exit,
    tries: u32,
    output_tail: String,
}

impl Done {
    /// What the runner did by itself, in one try.
    fn once(exit: Result<Exit>) -> Self {
        Self { exit: failed(exit), tries: 1, output_tail: String::new() }
    }
}

fn failed(exit: Result<Exit>) -> Exit {
    exit.unwrap_or_else(|error| Exit::Failed(format!("{error:#}")))
}

/// Does one step, and notes how it went; gives whether the next may follow.
fn record(steps: &mut Vec<StepReport>, name: &str, work: impl FnOnce() -> Done) -> bool {
    println!("ovenbird: step {name}");
    let start = Instant::now();
    let Done { exit, tries, output_tail } = work();
    let milliseconds = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    let step = StepReport { name: name.to_owned(), exit, tries, milliseconds, output_tail, log: None };
    // What the runner itself has to say of a step that went well is for the reader of the console, too.
    if step.exit != Exit::Status(0) || (name == FETCH && !step.output_tail.is_empty()) {
        println!("ovenbird: step {name}: {}\n{}", step.verdict(), step.output_tail);
    }
    let go = step.exit.is_success();
    steps.push(step);
    go
}

/// Fetches the bundle and the artifact; gives what there is to say about them.
fn fetch_all(machine: &Machine, plan: &Plan) -> Result<String> {
    fetch_files(machine, plan)?;
    match &plan.artifact {
        Some((download, placement)) => artifact::place(machine, download, placement),
        None => Ok(String::new()),
    }
}

/// Fetches the recipe's files; a fresh instance of the image has none, and its tests may need them.
pub fn fetch_files(machine: &Machine, plan: &Plan) -> Result<()> {
    let Some(bundle) = &plan.bundle else { return Ok(()) };
    let (archive, folder) = (machine.own("bundle.tar.gz"), machine.own("files"));
    fetch::download(&bundle.archive, &archive).context("fetch the recipe's files")?;
    // What an earlier try left is no part of the recipe.
    remove(&folder).with_context(|| format!("empty {}", folder.display()))?;
    let path = Path::new(FOLDER).join("files");
    let target = Target { root: &machine.path("/"), folder: &path, owner: Owner::default() };
    unpack::unpack(&archive, &target).context("unpack the recipe's files")?;
    files::check(&folder, &bundle.files).inspect_err(|_| {
        // A second try must not take what was refused for files that are there already.
        let _ = remove(&folder);
    })
}

/// Does one step, and hides every secret in what is told of it.
fn step(machine: &Machine, secrets: &mut Secrets, step: &Step, index: usize) -> Done {
    let Done { exit, tries, output_tail } = tries(machine, secrets, step, index);
    let mask = secrets.mask();
    let exit = match exit {
        Exit::Failed(problem) => Exit::Failed(mask.text(&problem)),
        exit
        @ (Exit::Status(_) | Exit::Signal(_) | Exit::TimedOut(_) | Exit::Skipped | Exit::Rebooted(_)) => exit,
    };
    Done { exit, tries, output_tail: mask.text(&output_tail) }
}

/// Does one step: only if its condition holds, and again while it fails and may be tried again.
fn tries(machine: &Machine, secrets: &mut Secrets, step: &Step, index: usize) -> Done {
    match holds(machine, step, secrets.mask()) {
        Ok(None) => {}
        Ok(Some(seen)) => return Done { exit: Exit::Skipped, tries: 0, output_tail: seen },
        Err(error) => return Done::once(Err(error)),
    }
    let unlocked = match Unlocked::read(secrets, step) {
        Ok(unlocked) => unlocked,
        Err(error) => return Done::once(Err(error)),
    };
    let mask = secrets.mask();
    let mut pause = PAUSE;
    let mut tries = 0;
    loop {
        tries += 1;
        let (exit, output_tail) = one_try(machine, step, &unlocked, mask, (index, tries));
        if exit.is_success() || tries > step.retries {
            return Done { exit, tries, output_tail };
        }
        let told = mask.text(&exit.to_string());
        println!("ovenbird: step {}: {told}; it is tried again in {} s", step.name, pause.as_secs());
        thread::sleep(pause);
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

/// Whether the step's condition holds: none, or what was seen instead.
fn holds(machine: &Machine, step: &Step, mask: &Mask) -> Result<Option<String>> {
    let Some(condition) = &step.only_if else { return Ok(None) };
    let mut kept = Output::new(mask.clone(), None);
    let mut command = machine.command("/bin/sh");
    command.args(["-c", condition]).envs(&step.environment).current_dir(machine.files()?);
    match process::run(command, &mut kept, step.timeout)? {
        Exit::Status(0) => Ok(None),
        Exit::Status(status) => Ok(Some(format!("only-if: exit {status}\n{}", kept.last_lines()))),
        // It said neither yes nor no.
        exit
        @ (Exit::Signal(_) | Exit::TimedOut(_) | Exit::Failed(_) | Exit::Skipped | Exit::Rebooted(_)) => {
            anyhow::bail!("only-if: {exit}\n{}", kept.last_lines())
        }
    }
}

fn one_try(
    machine: &Machine,
    step: &Step,
    unlocked: &Unlocked,
    mask: &Mask,
    (index, number): (usize, u32),
) -> (Exit, String) {
    let name = logs::of_try(index, number);
    let log = machine.own_folder("logs").and_then(|_| Ok(File::create(machine.own(&name))?));
    let mut kept = match log {
        Ok(log) => Output::new(mask.clone(), Some(log)),
        Err(error) => return (failed(Err(error.context(name))), String::new()),
    };
    let exit = failed(step::act(&mut Try::begin(machine, step, unlocked, mask, &mut kept)));
    let finished = kept.finish().context(name).map(|()| Exit::Status(0));
    let exit = match (exit, finished) {
        (exit, Err(error)) if exit.is_success() => failed(Err(error)),
        (exit, _) => exit,
    };
    (exit, kept.last_lines())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ovenbird_core::domain::recipe::Action;

    use super::*;

    fn shell(run: &str) -> Step {
        Step {
            name: run.into(),
            action: Action::Shell { run: run.into() },
            timeout: Duration::from_secs(10),
            environment: BTreeMap::new(),
            secrets: BTreeMap::new(),
            only_if: None,
            retries: 0,
            reboot: false,
        }
    }

    fn run(steps: &[Step]) -> (tempfile::TempDir, Vec<StepReport>) {
        let root = tempfile::tempdir().unwrap();
        let machine = Machine::new(root.path().to_str().unwrap());
        let mut secrets = Secrets::new(None);
        let mut reports = Vec::new();
        for (index, one) in steps.iter().enumerate() {
            if !record(&mut reports, &one.name, || step(&machine, &mut secrets, one, index)) {
                break;
            }
        }
        (root, reports)
    }

    #[test]
    fn the_first_failure_stops_the_rest() {
        let (_root, steps) = run(&[shell("echo one"), shell("echo two; exit 4"), shell("echo three")]);
        assert_eq!(steps.len(), 2);
        assert_eq!((&steps[1].exit, steps[1].tries), (&Exit::Status(4), 1));
        assert_eq!(steps[1].output_tail, "two");
    }

    #[test]
    fn a_step_whose_condition_does_not_hold_is_left_out() {
        let one = Step {
            only_if: Some("echo no; test -n \"$WANTED\"".into()),
            environment: [("MARK".to_owned(), "here".to_owned())].into(),
            ..shell("echo did it for $MARK")
        };
        let mut two = one.clone();
        two.environment.insert("WANTED".into(), "yes".into());
        let (_root, steps) = run(&[one, two]);
        assert_eq!((&steps[0].exit, steps[0].tries), (&Exit::Skipped, 0));
        assert_eq!(steps[0].output_tail, "only-if: exit 1\nno");
        assert_eq!((&steps[1].exit, steps[1].output_tail.as_str()), (&Exit::Status(0), "did it for here"));
    }

    #[test]
    fn a_condition_that_says_neither_yes_nor_no_fails_the_step() {
        let step = Step { only_if: Some("kill -9 $$".into()), ..shell("true") };
        let (_root, steps) = run(&[step]);
        assert_eq!(steps[0].exit, Exit::Failed("only-if: killed by signal 9\n".into()));
    }

    #[test]
    fn a_failed_step_is_tried_again_with_its_whole_time() {
        let flaky = "n=$(cat n 2>/dev/null || echo 0); echo $((n + 1)) > n; sleep 1.8; test $n -ge 1";
        let step = Step { retries: 3, timeout: Duration::from_secs(3), ..shell(flaky) };
        let (root, steps) = run(&[step]);
        assert_eq!((&steps[0].exit, steps[0].tries), (&Exit::Status(0), 2));
        let logs = root.path().join("var/lib/ovenbird/logs");
        assert!(logs.join("0.log").exists() && logs.join("0.2.log").exists());
    }

    #[test]
    fn tries_come_to_an_end() {
        let (_root, steps) = run(&[Step { retries: 1, ..shell("exit 9") }]);
        assert_eq!(steps[0].verdict(), "exit 9, tried 2 times");
    }
}
