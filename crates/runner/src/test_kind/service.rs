//! `service`: it runs or does not, and starts at boot or does not, in systemd's words.

use anyhow::{Result, ensure};
use ovenbird_core::domain::report::Exit;

use super::{
    asked,
    settle::{Look, Settle},
};
use crate::{
    machine::Machine,
    systemd::{self, Stand, Unit},
};

/// What `is-enabled` says of a unit that starts at boot; a `static` one starts only when another wants it.
const AT_BOOT: [&str; 3] = ["enabled", "alias", "generated"];

/// What is asked of a service.
pub struct Asked<'a> {
    pub name: &'a str,
    pub running: bool,
    pub enabled: Option<bool>,
}

pub fn look(machine: &Machine, wanted: &Asked<'_>, settle: &mut Settle) -> Result<String> {
    let Asked { name, running, enabled } = *wanted;
    systemd::wanted(machine, name)?;
    let state = if running { runs(machine, name, settle)? } else { rests(machine, name)? };
    let Some(enabled) = enabled else { return Ok(format!("{name} is {state}")) };
    let boot = at_boot(machine, name)?;
    let word = if enabled { "enabled" } else { "disabled" };
    ensure!(AT_BOOT.contains(&boot.as_str()) == enabled, "{name} is {boot}, not {word}");
    Ok(format!("{name} is {state} and {boot}"))
}

/// A unit of `Type=simple` is active for a moment at each of its restarts, even where its program isn't there: it
/// runs only when one run of it lasts.
fn runs(machine: &Machine, name: &str, settle: &mut Settle) -> Result<String> {
    let look = |settle: &mut Settle| {
        let unit = Unit::look(machine, name)?;
        if unit.was_restarted() {
            settle.suspect();
        }
        Ok(match unit.stand() {
            Stand::Active => {
                let run = unit.run();
                let lasted = run.lasted();
                Look::Runs(run, lasted)
            }
            Stand::Done | Stand::Between | Stand::Down => Look::Not(unit.told_unlike("active")),
        })
    };
    settle.watch(name, look, |known, seen| *known == seen)?;
    Ok("active".to_owned())
}

/// One that failed does not run, and that is not what was asked for.
fn rests(machine: &Machine, name: &str) -> Result<String> {
    let unit = Unit::look(machine, name)?;
    ensure!(unit.state() == "inactive", "{}", unit.told_unlike("inactive"));
    Ok("inactive".to_owned())
}

fn at_boot(machine: &Machine, name: &str) -> Result<String> {
    let answer = asked(machine, "systemctl", &["is-enabled", "--", name])?;
    // Its exit status only repeats the word; an older systemd says nothing of a unit that isn't there.
    let word = answer.text().trim().to_owned();
    let started = !matches!(answer.exit, Exit::Failed(_) | Exit::TimedOut(_));
    ensure!(
        started && !word.is_empty(),
        "systemctl is-enabled {name}: {}: {}",
        answer.exit,
        answer.complaint()
    );
    Ok(word)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::testing::{machine, program};
    use super::*;

    /// A systemctl that shows one state after the other, and then the last one for ever.
    fn watch(states: &[&str], settle: &mut Settle) -> Result<String> {
        let (_root, machine) = machine();
        let mut script = format!(
            "n=$(cat {0} 2>/dev/null || echo 0); echo $((n + 1)) > {0}\ncase $n in\n",
            machine.path("/n").display()
        );
        for (number, state) in states.iter().enumerate() {
            let number = if number + 1 == states.len() { "*".to_owned() } else { number.to_string() };
            script.push_str(&format!("{number}) printf '%b' '{state}';;\n"));
        }
        script.push_str("esac\n");
        program(&machine, "/usr/bin/systemctl", &script);
        look(&machine, &Asked { name: "shop", running: true, enabled: None }, settle)
    }

    fn settle(milliseconds: u64) -> Settle {
        Settle::new(Duration::from_millis(milliseconds))
    }

    const RUNS: &str = "ActiveState=active\\nSubState=running\\nMainPID=7\\nNRestarts=0\\n";
    const WAITS: &str = "ActiveState=activating\\nSubState=auto-restart\\nMainPID=0\\nResult=exit-code\\n\
        ExecMainCode=1\\nExecMainStatus=203\\nNRestarts=1\\n";

    #[test]
    fn a_service_that_is_active_only_for_a_moment_does_not_run() {
        let error = watch(&[RUNS, WAITS], &mut settle(2000)).unwrap_err().to_string();
        for part in ["shop is activating (auto-restart), not active", "203/EXEC", "after it ran for 0."] {
            assert!(error.contains(part), "no {part:?} in {error}");
        }
    }

    #[test]
    fn a_service_that_was_restarted_between_two_looks_does_not_run() {
        for other in [RUNS.replace("MainPID=7", "MainPID=8"), RUNS.replace("NRestarts=0", "NRestarts=1")] {
            let mut settle = settle(2000);
            let error = watch(&[RUNS, &other], &mut settle).unwrap_err().to_string();
            assert!(error.contains("shop was restarted"), "{error}");
            // One that is seen to be restarted has to run longer from then on: a try may hit a lucky moment.
            assert!(settle.needed() > Duration::from_secs(10), "{settle:?}");
        }
    }

    #[test]
    fn an_old_systemd_that_counts_no_restarts_tells_them_by_the_start() {
        let run =
            |start| format!("ActiveState=active\\nMainPID=7\\nExecMainStartTimestampMonotonic={start}\\n");
        // Both are long ago or in the future: what counts is that they differ.
        let ahead = u64::MAX / 4;
        let error = watch(&[&run(ahead), &run(ahead + 1)], &mut settle(2000)).unwrap_err().to_string();
        assert!(error.contains("shop was restarted"), "{error}");
    }

    #[test]
    fn a_service_that_has_run_long_enough_is_not_waited_for() {
        let start = Instant::now();
        let state = format!("{RUNS}ExecMainStartTimestampMonotonic=1\\nActiveEnterTimestampMonotonic=2\\n");
        assert_eq!(watch(&[&state], &mut settle(3000)).unwrap(), "shop is active");
        assert!(start.elapsed() < Duration::from_secs(2));
        let start = Instant::now();
        assert_eq!(watch(&[RUNS], &mut settle(500)).unwrap(), "shop is active");
        assert!(start.elapsed() >= Duration::from_millis(500), "{:?}", start.elapsed());
    }

    /// Takes exactly the words of systemctl, and says what it was made with.
    fn judge(active: &str, at_boot: &str, running: bool, enabled: Option<bool>) -> Result<String, String> {
        let (_root, machine) = machine();
        let script = format!(
            "case \"$*\" in 'show --property='*' -- shop') echo ActiveState={active};;\n\
             'is-enabled -- shop') echo {at_boot};; *) exit 9;; esac\n"
        );
        program(&machine, "/usr/bin/systemctl", &script);
        let wanted = Asked { name: "shop", running, enabled };
        look(&machine, &wanted, &mut settle(0)).map_err(|error| error.to_string())
    }

    #[test]
    fn what_systemd_says_is_judged() {
        assert!(judge("active", "enabled", true, None).is_ok());
        assert!(judge("active", "enabled", true, Some(true)).is_ok());
        assert!(judge("inactive", "disabled", false, Some(false)).is_ok());
        assert!(judge("inactive", "static", false, Some(false)).is_ok());
        assert_eq!(judge("failed", "enabled", true, None).unwrap_err(), "shop is failed, not active");
        assert_eq!(judge("failed", "enabled", false, None).unwrap_err(), "shop is failed, not inactive");
        assert_eq!(judge("activating", "enabled", true, None).unwrap_err(), "shop is activating, not active");
        assert_eq!(judge("active", "static", true, Some(true)).unwrap_err(), "shop is static, not enabled");
        assert_eq!(
            judge("active", "enabled", true, Some(false)).unwrap_err(),
            "shop is enabled, not disabled"
        );
    }
}
