//! Boots in the middle of a bake, on real machines: asked for, made by a step, by nobody; and a machine that powers off.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use ovenbird_core::domain::bake::{Bake, Status};

use crate::Cloud;

const PORT: u16 = 14_577;

/// What a boot changes is noted by each step; the kernel is the host's, so the first process is looked at.
const BOOTS: &str = r#"
[[step]]
name = "before"
shell = "stat -c %Y /proc/1 > /opt/boots; echo one >> /opt/steps"
[[step]]
name = "asks for it"
shell = "echo two >> /opt/steps"
reboot = true
[[step]]
name = "does it"
shell = "echo three >> /opt/steps; systemctl reboot; sleep 60"
reboot = true
[[step]]
name = "after"
shell = "echo four >> /opt/steps; systemctl is-active ovenbird-resume"
[[test]]
command = "cat /opt/steps | tr '\\n' ' '"
stdout-contains = "one two three four "
[[test]]
command = "test $(stat -c %Y /proc/1) -gt $(cat /opt/boots)"
"#;

#[test]
fn a_bake_goes_on_after_a_boot_that_it_asked_for_and_fails_at_any_other() -> Result<()> {
    let Some(cloud) = Cloud::up("boots", PORT)? else { return Ok(()) };
    let bake = |body: &str| -> Result<(Bake, f64)> {
        cloud.push_steps("boots", body)?;
        cloud.upload("artifacts/boots/app", body)?;
        let start = Instant::now();
        let arguments = ["bake", "boots", "--key", "artifacts/boots/app"];
        let bake = serde_json::from_value(cloud.local.ovenbird_json(&arguments, true)?)?;
        Ok((bake, start.elapsed().as_secs_f64()))
    };
    let (gone_on, seconds) = bake(BOOTS)?;
    ensure!(gone_on.progress.status == Status::Promoted, "{:?}", gone_on.progress.failure);
    eprintln!("two boots in the middle of a bake: promoted after {seconds:.1} s");
    let body =
        |step: &str| format!("[[step]]\nname = \"it\"\nshell = \"{step}\"\n[[test]]\ncommand = \"true\"\n");
    for (step, error, words) in [
        (
            "echo new kernel; systemctl reboot; sleep 60",
            "StepFailed",
            &["`it`", "reboot = true", "new kernel"][..],
        ),
        ("systemctl poweroff; sleep 60", "BuilderLost", &["it was at `it`", "powered it off"]),
    ] {
        let (failed, seconds) = bake(&body(step))?;
        let failure = failed.progress.failure.context("it did not fail")?;
        ensure!(failure.error == error, "{failure:?}");
        for word in words {
            ensure!(failure.cause.contains(word), "no {word:?} in {}", failure.cause);
        }
        ensure!(seconds < 60.0, "{error} after {seconds} s");
        eprintln!("`{step}`: {error} after {seconds:.1} s");
    }
    Ok(())
}
