//! `service`: a systemd unit from fields, enabled and started as asked.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use ovenbird_core::domain::{
    recipe::{SETTLE, Unit},
    report::Exit,
};

use super::{Try, file};
use crate::{
    quiet,
    systemd::{self, Stand},
};

/// How often a service that was started is looked at.
const LOOK: Duration = Duration::from_millis(200);

pub fn act(
    this: &mut Try<'_>,
    name: &str,
    unit: Option<&Unit>,
    enabled: bool,
    started: bool,
) -> Result<Exit> {
    systemd::wanted(this.machine, name)?;
    if let Some(unit) = unit {
        let text = text(name, unit, systemd::version(this.machine)?)?;
        file::write(this, &format!("/etc/systemd/system/{name}.service"), text)?;
        let exit = order(this, &["daemon-reload"])?;
        if !exit.is_success() {
            return Ok(exit);
        }
    }
    quiet::release(this.machine, name)?;
    let exit = order(this, &[if enabled { "enable" } else { "disable" }, "--", name])?;
    if !exit.is_success() || !started {
        return Ok(exit);
    }
    let mut exit = order(this, &["restart", "--", name])?;
    if exit.is_success() {
        exit = stays(this, name)?;
    } else if let Exit::Status(_) = exit {
        exit = Exit::Failed(format!("systemctl restart: {exit}; {}", told(this, name)));
    } else {
        let told = told(this, name);
        this.kept.push(format!("{told}\n").as_bytes())?;
    }
    if !exit.is_success() {
        // systemctl itself only says where to look, and soon nobody can.
        this.kept.push(systemd::log(this.machine, name, this.mask).as_bytes())?;
    }
    Ok(exit)
}

fn told(this: &Try<'_>, name: &str) -> String {
    match systemd::Unit::look(this.machine, name) {
        Ok(unit) => unit.told(),
        Err(error) => format!("{error:#}"),
    }
}

fn order(this: &mut Try<'_>, words: &[&str]) -> Result<Exit> {
    let mut command = this.command("systemctl")?;
    command.args(words);
    this.run(command)
}

/// Looks until the service has run on for a while. That systemd has started it says nothing: for most types it has
/// when it made the process, before the program was even found.
///
/// A socket, a timer, a target and a service of `Type=oneshot` that remains have no process, and are active; one of
/// `Type=oneshot` that does not remain has ended well by now, and is done.
fn stays(this: &mut Try<'_>, name: &str) -> Result<Exit> {
    let mut known: Option<(systemd::Run, Instant)> = None;
    loop {
        let unit = systemd::Unit::look(this.machine, name)?;
        let seen = unit.run();
        match (unit.stand(), &known) {
            (Stand::Done, _) => return Ok(Exit::Status(0)),
            (Stand::Down, _) => return Ok(Exit::Failed(unit.told_unlike("active"))),
            (Stand::Active, Some((run, _))) if *run != seen => {
                return Ok(Exit::Failed(format!(
                    "{name} was restarted, it does not stay up: {}",
                    unit.told()
                )));
            }
            (Stand::Active, Some((_, since))) if since.elapsed() >= SETTLE => return Ok(Exit::Status(0)),
            (Stand::Active, Some(_)) => {}
            (Stand::Active, None) => known = Some((seen, Instant::now())),
            // Somebody else has it stopped or started just now.
            (Stand::Between, _) => {}
        }
        if this.left().is_zero() {
            this.kept.push(format!("{}\n", unit.told()).as_bytes())?;
            return Ok(Exit::TimedOut(this.step.timeout.as_secs()));
        }
        thread::sleep(LOOK);
    }
}

/// From this version on a service has started only when its program was executed (`Type=exec`). Before, it has when
/// systemd made the process.
const EXEC: u32 = 240;

/// From this version on systemd can make a user for a service, with a folder that keeps its data.
const DYNAMIC_USER: u32 = 235;

/// A service of nobody's: a user that exists while it runs, and what such a user has no need for. It can't write to the
/// system, nor gain rights by a program of another's, nor see other services' temporary files. It may listen on any
/// port, and write in four folders of its own: `/var/lib/NAME`, `/var/cache/NAME`, `/var/log/NAME` and `/run/NAME`.
const OWN_USER: &str = "DynamicUser=yes
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictSUIDSGID=yes
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
";

/// The unit's text; the recipe's parser has refused line breaks in every value.
fn text(name: &str, unit: &Unit, version: u32) -> Result<String> {
    let mut text = format!("[Unit]\nDescription={name}\n");
    for after in &unit.after {
        text.push_str(&format!("After={after}\nWants={after}\n"));
    }
    text.push_str(&format!("\n[Service]\nExecStart={}\nRestart=on-failure\n", unit.exec));
    if version >= EXEC {
        text.push_str("Type=exec\n");
    }
    match &unit.user {
        Some(user) => text.push_str(&format!("User={user}\n")),
        None => {
            // An older one would pass over what it doesn't know, and run it as root.
            ensure!(
                version >= DYNAMIC_USER,
                "the machine's systemd {version} can't make a user for a service: give its `unit` a `user` that a step \
                 before makes, or `user = \"root\"`"
            );
            text.push_str(OWN_USER);
            // As a folder's name, systemd takes fewer letters than in a unit's.
            if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
                for kind in ["State", "Cache", "Logs", "Runtime"] {
                    text.push_str(&format!("{kind}Directory={name}\n"));
                }
            }
        }
    }
    if let Some(folder) = &unit.working_directory {
        text.push_str(&format!("WorkingDirectory={folder}\n"));
    }
    for (key, value) in &unit.environment {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
        text.push_str(&format!("Environment=\"{key}={value}\"\n"));
    }
    text.push_str("\n[Install]\nWantedBy=multi-user.target\n");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use ovenbird_core::domain::recipe::Action;

    use super::super::testing::Stage;
    use super::*;

    fn unit() -> Unit {
        Unit {
            exec: "/bin/true".into(),
            user: None,
            working_directory: None,
            environment: [("A".to_owned(), "x \"y\" 100%".to_owned())].into(),
            after: vec!["network.target".into()],
        }
    }

    #[test]
    fn an_environment_value_stays_one_value() {
        assert!(text("shop", &unit(), 252).unwrap().contains("Environment=\"A=x \\\"y\\\" 100%%\"\n"));
    }

    #[test]
    fn a_service_is_not_root_s_unless_the_recipe_says_so() {
        let own = text("shop", &unit(), 252).unwrap();
        for line in [
            "DynamicUser=yes",
            "NoNewPrivileges=yes",
            "ProtectSystem=strict",
            "StateDirectory=shop",
            "Type=exec",
        ] {
            assert!(own.lines().any(|written| written == line), "no {line}: {own}");
        }
        assert!(!own.contains("User=root"));
        let root = text("shop", &Unit { user: Some("root".into()), ..unit() }, 219).unwrap();
        assert!(
            root.contains("\nUser=root\n") && !root.contains("DynamicUser") && !root.contains("Type="),
            "{root}"
        );
        let error = text("shop", &unit(), 219).unwrap_err().to_string();
        assert!(error.contains("systemd 219") && error.contains("`user = \"root\"`"), "{error}");
        assert!(!text("shop@:1", &unit(), 252).unwrap().contains("StateDirectory"));
    }

    /// systemd itself finds nothing wrong with the unit.
    #[test]
    fn systemd_knows_every_word_of_a_unit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.service");
        fs::write(&path, text("shop", &unit(), 252).unwrap()).unwrap();
        let Ok(output) = std::process::Command::new("systemd-analyze").arg("verify").arg(&path).output()
        else {
            return println!("SKIPPED: no systemd-analyze");
        };
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("shop.service:"), "{said}");
    }

    /// A systemctl that takes orders, and then shows one state after the other, the last one for ever.
    fn systemd(stage: &Stage, states: &[&str]) {
        let mut script = "[ \"$1\" != --version ] || { echo 'systemd 252 (252.1)'; echo +PAM; exit 0; }\n\
            [ \"$1\" = show ] || { echo \"$@\"; exit 0; }\n\
            n=$(cat $ROOT/n 2>/dev/null || echo 0); echo $((n + 1)) > $ROOT/n\ncase $n in\n"
            .to_owned();
        for (number, state) in states.iter().enumerate() {
            let number = if number + 1 == states.len() { "*".to_owned() } else { number.to_string() };
            script.push_str(&format!("{number}) printf '%b' '{state}';;\n"));
        }
        script.push_str("esac\n");
        stage.program("usr/bin/systemctl", &script);
        stage.program("usr/bin/journalctl", "echo \"journalctl $*\"\n");
    }

    fn service(unit: Option<Unit>, enabled: bool, started: bool) -> Action {
        Action::Service { name: "shop".into(), unit, enabled, started }
    }

    const RUNS: &str =
        "Type=simple\\nActiveState=active\\nSubState=running\\nResult=success\\nMainPID=7\\nNRestarts=0\\n";
    const DEAD: &str = "Type=simple\\nActiveState=failed\\nSubState=failed\\nResult=exit-code\\nMainPID=0\\n\
        ExecMainCode=1\\nExecMainStatus=203\\nNRestarts=5\\n";

    #[test]
    fn the_unit_is_written_enabled_and_started_in_this_order() {
        let stage = Stage::new();
        systemd(&stage, &[RUNS]);
        let (exit, output) = stage.act(service(Some(unit()), true, true));
        assert_eq!(
            (exit, output.as_str()),
            (Exit::Status(0), "daemon-reload\nenable -- shop\nrestart -- shop")
        );
        let written = fs::read_to_string(stage.machine.path("/etc/systemd/system/shop.service")).unwrap();
        assert_eq!(written, text("shop", &unit(), 252).unwrap());
        assert_eq!(stage.act(service(None, false, false)).1, "disable -- shop");
    }

    #[test]
    fn a_service_that_was_started_and_does_not_stay_up_fails_the_step_with_systemd_s_reason() {
        let again = RUNS.replace("MainPID=7", "MainPID=8");
        let waits = "Type=simple\\nActiveState=activating\\nSubState=auto-restart\\nResult=exit-code\\n\
            ExecMainCode=2\\nExecMainStatus=9\\n";
        let ended = "Type=simple\\nActiveState=inactive\\nSubState=dead\\nResult=success\\nExecMainCode=1\\n\
            ExecMainStatus=0\\n";
        let left_out = "Type=simple\\nActiveState=inactive\\nSubState=dead\\nResult=success\\nConditionResult=no\\n\
            ConditionTimestampMonotonic=5\\n";
        for (states, words) in [
            (
                &[RUNS, DEAD][..],
                "shop is failed, not active: result exit-code, its main process ended with status 203/EXEC",
            ),
            (&[RUNS, &again], "shop was restarted, it does not stay up"),
            (
                &[RUNS, waits],
                "shop is activating (auto-restart), not active: result exit-code, its main process was killed by signal 9",
            ),
            (&[ended], "shop is inactive (dead), not active: its main process ended with status 0"),
            (&[left_out], "a condition in its unit file does not hold"),
            (&["LoadState=not-found\\nActiveState=inactive\\n"], "there is no such unit"),
        ] {
            let stage = Stage::new();
            systemd(&stage, states);
            let (exit, output) = stage.act(service(None, true, true));
            assert!(matches!(&exit, Exit::Failed(problem) if problem.contains(words)), "{words}: {exit}");
            let log = "journalctl --boot --no-pager --quiet --lines=20 _SYSTEMD_UNIT=shop.service + UNIT=shop.service";
            assert!(output.ends_with(log), "{output}");
        }
    }

    #[test]
    fn a_base_without_systemd_is_told_what_to_write_instead() {
        let stage = Stage::new();
        let action = Action::Service { name: "shop".into(), unit: None, enabled: true, started: true };
        let (exit, _) = stage.act(action);
        assert!(exit.to_string().contains("`rc-update add shop; rc-service shop restart`"), "{exit}");
    }

    #[test]
    fn a_job_that_is_done_and_a_unit_without_a_process_are_no_failure() {
        for state in [
            // Of Type=oneshot: ended, forgotten since, and remaining.
            "Type=oneshot\\nActiveState=inactive\\nSubState=dead\\nResult=success\\nExecMainCode=1\\nExecMainStatus=0\\n",
            "Type=oneshot\\nActiveState=inactive\\nResult=success\\nConditionResult=no\\nConditionTimestampMonotonic=0\\n",
            "Type=oneshot\\nActiveState=active\\nSubState=exited\\nResult=success\\nMainPID=0\\n",
            // A daemon whose main process systemd could not guess, a socket, and an old systemd.
            "Type=forking\\nActiveState=active\\nSubState=running\\nMainPID=0\\nActiveEnterTimestampMonotonic=9\\n",
            "ActiveState=active\\nSubState=listening\\nActiveEnterTimestampMonotonic=9\\n",
            "Type=simple\\nActiveState=active\\nSubState=running\\nMainPID=7\\nExecMainStartTimestampMonotonic=9\\n",
        ] {
            let stage = Stage::new();
            systemd(&stage, &[state]);
            assert_eq!(stage.act(service(None, true, true)).0, Exit::Status(0), "{state}");
        }
    }

    #[test]
    fn an_order_that_fails_is_the_step_s_failure_and_a_start_that_fails_tells_why() {
        let stage = Stage::new();
        stage.program("usr/bin/systemctl", "echo \"$1\"; test \"$1\" != enable\n");
        let (exit, output) = stage.act(service(None, true, true));
        assert_eq!((exit, output.as_str()), (Exit::Status(1), "enable"));
        stage.program(
            "usr/bin/systemctl",
            &format!("[ $1 != show ] || printf '%b' '{DEAD}'; test \"$1\" != restart\n"),
        );
        let (exit, _) = stage.act(service(None, true, true));
        let Exit::Failed(problem) = exit else { panic!("{exit}") };
        assert!(
            problem.starts_with("systemctl restart: exit 1; shop is failed: result exit-code"),
            "{problem}"
        );
    }
}
