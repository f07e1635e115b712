//! `provision`: runs the steps in order, and reports. A machine that was provisioned is not provisioned again.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use ovenbird_core::{
    plan::Plan,
    recipe::{Action, Content, Placement, Step, Unit},
    report::{Exit, ProvisionReport, StepReport},
};

use crate::{fetch, machine::Machine, process, unpack};

const REPORT: &str = "report.json";

/// Provisions; gives whether every step ended well.
pub fn run(machine: &Machine) -> Result<bool> {
    // User data narrows the mask for the plan; what the steps make is everybody's to read, as on any machine.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let plan = machine.plan()?;
    let path = machine.own(REPORT);
    if !path.exists() {
        let report = provision(machine, &plan);
        machine.write_report(REPORT, &report)?;
    }
    fetch::upload(&path, &plan.reports.provision).context("upload the report")?;
    let report: ProvisionReport = serde_json::from_slice(&fs::read(&path)?)?;
    Ok(report.failure().is_none())
}

fn provision(machine: &Machine, plan: &Plan) -> ProvisionReport {
    let started = now();
    let mut steps = Vec::new();
    let mut go = true;
    if plan.bundle.is_some() || plan.artifact.is_some() {
        go = record(&mut steps, "fetch", || files(machine, plan).map(|()| (Exit::Status(0), String::new())));
    }
    for (index, step) in plan.steps.iter().enumerate() {
        if !go {
            break;
        }
        go = record(&mut steps, &step.name, || self::step(machine, step, index));
    }
    ProvisionReport { started, ended: now(), steps }
}

/// Does one step, and notes how it went; gives whether the next may follow.
fn record(steps: &mut Vec<StepReport>, name: &str, work: impl FnOnce() -> Result<(Exit, String)>) -> bool {
    println!("ovenbird: step {name}");
    let start = Instant::now();
    let (exit, output_tail) =
        work().unwrap_or_else(|error| (Exit::Failed(format!("{error:#}")), String::new()));
    let milliseconds = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    let go = exit.is_success();
    if !go {
        println!("ovenbird: step {name}: {exit}\n{output_tail}");
    }
    steps.push(StepReport { name: name.to_owned(), exit, milliseconds, output_tail });
    go
}

/// Fetches the bundle and the artifact.
fn files(machine: &Machine, plan: &Plan) -> Result<()> {
    if let Some(bundle) = &plan.bundle {
        let archive = machine.own("bundle.tar.gz");
        fetch::download(bundle, &archive).context("fetch the recipe's files")?;
        unpack::unpack(&archive, &machine.own("files"))?;
    }
    match &plan.artifact {
        None => {}
        Some((download, Placement::To(path))) => {
            let to = machine.path(path);
            parent(&to)?;
            fetch::download(download, &to).context("fetch the artifact")?;
            fs::set_permissions(&to, fs::Permissions::from_mode(0o644))?;
        }
        Some((download, Placement::UnpackTo(path))) => {
            let archive = machine.own("artifact");
            fetch::download(download, &archive).context("fetch the artifact")?;
            unpack::unpack(&archive, &machine.path(path)).context("unpack the artifact")?;
            fs::remove_file(&archive)?;
        }
    }
    Ok(())
}

fn step(machine: &Machine, step: &Step, index: usize) -> Result<(Exit, String)> {
    let logs = machine.own("logs");
    fs::create_dir_all(&logs)?;
    let log = logs.join(format!("{index}.log"));
    let run = |command: &mut Command| process::run(command, &log, step.timeout);
    match &step.action {
        Action::Shell { run: script } => {
            run(command("/bin/sh").args(["-ec", script]).current_dir(files_folder(machine)?))
        }
        Action::Script { source, args, .. } => {
            let file = machine.own("files").join(source);
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755))
                .with_context(|| format!("script {source}"))?;
            run(command(&file).args(args).current_dir(files_folder(machine)?))
        }
        Action::File { to, content, mode, owner } => {
            let path = machine.path(to);
            write(machine, &path, content, *mode)?;
            match owner {
                Some(owner) => run(command("chown").arg("--").arg(owner).arg(&path)),
                None => Ok((Exit::Status(0), String::new())),
            }
        }
        Action::Service { name, unit, enabled, started } => {
            if let Some(unit) = unit {
                let path = machine.path(&format!("/etc/systemd/system/{name}.service"));
                write(machine, &path, &Content::Inline(unit_text(name, unit)), 0o644)?;
                let reloaded = run(command("systemctl").arg("daemon-reload"))?;
                if !reloaded.0.is_success() {
                    return Ok(reloaded);
                }
            }
            let enable = if *enabled { "enable" } else { "disable" };
            let done = run(command("systemctl").args([enable, "--", name]))?;
            if !done.0.is_success() || !started {
                return Ok(done);
            }
            run(command("systemctl").args(["restart", "--", name]))
        }
        Action::Package { .. } | Action::Puppet(_) | Action::Chef(_) | Action::Ansible(_) => {
            anyhow::bail!("this runner is too old for the step")
        }
    }
}

/// A program without the runner's own environment: a step sees the same on every base.
fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs([
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("HOME", "/root"),
        ("LANG", "C.UTF-8"),
        ("DEBIAN_FRONTEND", "noninteractive"),
    ]);
    command
}

fn files_folder(machine: &Machine) -> Result<std::path::PathBuf> {
    let folder = machine.own("files");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn write(machine: &Machine, path: &Path, content: &Content, mode: u32) -> Result<()> {
    let bytes = match content {
        Content::Inline(text) => text.clone().into_bytes(),
        Content::Source(source) => {
            fs::read(machine.own("files").join(source)).with_context(|| source.clone())?
        }
    };
    parent(path)?;
    fs::write(path, bytes).with_context(|| format!("write {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(())
}

fn parent(path: &Path) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
    }
    Ok(())
}

/// The unit's text; the recipe's parser has refused line breaks in every value.
fn unit_text(name: &str, unit: &Unit) -> String {
    let mut text = format!("[Unit]\nDescription={name}\n");
    for after in &unit.after {
        text.push_str(&format!("After={after}\nWants={after}\n"));
    }
    text.push_str(&format!("\n[Service]\nExecStart={}\nRestart=on-failure\n", unit.exec));
    if let Some(user) = &unit.user {
        text.push_str(&format!("User={user}\n"));
    }
    if let Some(folder) = &unit.working_directory {
        text.push_str(&format!("WorkingDirectory={folder}\n"));
    }
    for (key, value) in &unit.environment {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
        text.push_str(&format!("Environment=\"{key}={value}\"\n"));
    }
    text.push_str("\n[Install]\nWantedBy=multi-user.target\n");
    text
}

fn now() -> Timestamp {
    Timestamp::now()
}

/// A time limit for what the runner itself asks of the machine.
pub const OWN_TIMEOUT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn step_of(run: &str) -> Step {
        Step {
            name: run.into(),
            action: Action::Shell { run: run.into() },
            timeout: Duration::from_secs(10),
            environment: BTreeMap::new(),
            secrets: BTreeMap::new(),
            only_if: None,
            retries: 0,
        }
    }

    #[test]
    fn the_first_failure_stops_the_rest() {
        let root = tempfile::tempdir().unwrap();
        let machine = Machine::new(root.path().to_str().unwrap());
        let mut steps = Vec::new();
        for (index, one) in
            [step_of("echo one"), step_of("echo two; exit 4"), step_of("echo three")].iter().enumerate()
        {
            if !record(&mut steps, &one.name, || step(&machine, one, index)) {
                break;
            }
        }
        assert_eq!(steps.len(), 2);
        assert_eq!(steps[1].exit, Exit::Status(4));
        assert_eq!(steps[1].output_tail, "two");
    }

    #[test]
    fn an_environment_value_stays_one_value() {
        let environment = [("A".to_owned(), "x \"y\" 100%".to_owned())].into();
        let unit = Unit {
            exec: "/bin/true".into(),
            user: None,
            working_directory: None,
            environment,
            after: vec![],
        };
        assert!(unit_text("shop", &unit).contains("Environment=\"A=x \\\"y\\\" 100%%\"\n"));
    }
}
