//! The pipeline on local clouds with real machines. It needs root and what `make setup build` makes.
//!
//! Each test has a cloud of its own, and much of its time is spent waiting for machines: so they run beside each other.

mod access;
mod attributes;
mod blue_green;
mod boots;
#[expect(dead_code, reason = "the tests of crates/ui use the rest of it")]
#[path = "../../../crates/ui/tests/page/chromium.rs"]
mod chromium;
mod end_to_end;
mod large;
mod lost;
mod many_at_once;
mod operator;
mod other_bases;
mod page;
mod provisioners;
mod rollout;
mod sealed_layer;
mod shop;
mod stopped;
mod verdicts;

use std::{ops::Deref, time::Duration};

use anyhow::{Context as _, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use ovenbird_tests::test_cloud::TestCloud;

/// How long to wait for what must come: no measure of speed, for other clouds' machines boot beside one's own.
const PATIENCE: Duration = Duration::from_secs(400);

/// A cloud of a test's own.
struct Cloud(TestCloud);

impl Cloud {
    /// Starts it; none when something is missing for it.
    fn up(name: &str, port: u16) -> Result<Option<Self>> {
        Ok(TestCloud::up(name, port)?.map(Self))
    }

    /// Kills it with all that it started.
    fn kill(&self) -> Result<()> {
        let status = self.local.ovenbird_json(&["local", "status"], false)?;
        let pid = Pid::from_raw(i32::try_from(status["pid"].as_i64().context("no pid")?)?);
        Ok(kill(pid, Signal::SIGKILL)?)
    }
}

impl Deref for Cloud {
    type Target = TestCloud;

    fn deref(&self) -> &TestCloud {
        &self.0
    }
}
