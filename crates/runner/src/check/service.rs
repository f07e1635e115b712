//! `service`: it runs or does not, and starts at boot or does not, in systemd's words.

use anyhow::{Result, ensure};
use ovenbird_core::report::Exit;

use super::asked;
use crate::machine::Machine;

/// What `is-enabled` says of a unit that starts at boot; a `static` one starts only when another wants it.
const AT_BOOT: [&str; 3] = ["enabled", "alias", "generated"];

pub fn look(machine: &Machine, name: &str, running: bool, enabled: Option<bool>) -> Result<String> {
    let state = systemctl(machine, "is-active", name)?;
    // One that is still starting runs not yet; one that failed does not run, and that is not what was asked for.
    let right = if running { state == "active" } else { state == "inactive" };
    ensure!(right, "{name} is {state}, not {}", if running { "active" } else { "inactive" });
    let Some(enabled) = enabled else { return Ok(format!("{name} is {state}")) };
    let boot = systemctl(machine, "is-enabled", name)?;
    let word = if enabled { "enabled" } else { "disabled" };
    ensure!(AT_BOOT.contains(&boot.as_str()) == enabled, "{name} is {boot}, not {word}");
    Ok(format!("{name} is {state} and {boot}"))
}

fn systemctl(machine: &Machine, verb: &str, name: &str) -> Result<String> {
    let answer = asked(machine, "systemctl", &[verb, "--", name])?;
    // Its exit status only repeats the word; an older systemd says nothing of a unit that isn't there.
    let word = answer.text().trim().to_owned();
    let started = !matches!(answer.exit, Exit::Failed(_) | Exit::TimedOut(_));
    ensure!(started && !word.is_empty(), "systemctl {verb} {name}: {}: {}", answer.exit, answer.complaint());
    Ok(word)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{machine, program};
    use super::*;

    /// Takes exactly the words of systemctl, and says what it was made with.
    fn judge(active: &str, at_boot: &str, running: bool, enabled: Option<bool>) -> Result<String, String> {
        let (_root, machine) = machine();
        let script = format!(
            "case \"$*\" in 'is-active -- shop') echo {active}; test {active} = active;;\n\
             'is-enabled -- shop') echo {at_boot};; *) exit 9;; esac\n"
        );
        program(&machine, "/usr/bin/systemctl", &script);
        look(&machine, "shop", running, enabled).map_err(|error| error.to_string())
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
