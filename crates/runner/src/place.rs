//! The place in the plan: which steps are done and which one is at work, on the disk, so that it outlives a boot.

use std::fs;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use ovenbird_core::domain::report::{Exit, Reboot, StepReport};
use serde::{Deserialize, Serialize};

use crate::{boots, machine::Machine};

const FILE: &str = "place.json";

/// How far the steps are.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Place {
    /// The boot in which this was written.
    boot: String,
    /// When the first step began.
    pub started: Timestamp,
    /// The steps that are done.
    pub steps: Vec<StepReport>,
    /// The step at work, or the last one that was.
    pub at: Option<At>,
    /// Whether that step is done, and the boot after it is due.
    boots: bool,
}

/// A step at work.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct At {
    /// Its place in the plan; none for what comes before the first.
    pub index: Option<usize>,
    /// Its name.
    pub name: String,
    /// Whether the machine may boot in it.
    pub reboot: bool,
}

impl At {
    /// The place of the step that follows.
    pub fn next(&self) -> usize {
        self.index.map_or(0, |index| index + 1)
    }
}

impl Place {
    /// Where an earlier boot left, or the beginning.
    pub fn find(machine: &Machine) -> Result<Self> {
        let path = machine.own(FILE);
        if !path.exists() {
            let boot = boots::this(machine);
            return Ok(Self { boot, started: Timestamp::now(), steps: Vec::new(), at: None, boots: false });
        }
        serde_json::from_slice(&fs::read(&path)?).context("the place in the plan is of another version")
    }

    /// Notes that a step begins.
    pub fn begin(&mut self, machine: &Machine, at: At) -> Result<()> {
        (self.at, self.boots, self.boot) = (Some(at), false, boots::this(machine));
        self.write(machine)
    }

    /// Notes that the step is done, and that the machine boots before the next one.
    pub fn boots(&mut self, machine: &Machine) -> Result<()> {
        self.boots = true;
        self.write(machine)
    }

    /// Whether the machine is to boot now, before anything else is done.
    pub fn is_due(&self, machine: &Machine) -> bool {
        self.boots && self.boot == boots::this(machine)
    }

    /// How the step ended at which the work stopped; none when it was done, and the machine booted after it as it should.
    pub fn after(&self, machine: &Machine) -> Option<Exit> {
        let booted = self.boot != boots::this(machine);
        let in_order = boots::ended_in_order(machine, &self.boot);
        match (booted, self.boots) {
            (true, true) => None,
            (true, false) if in_order && self.at.as_ref().is_some_and(|at| at.reboot) => {
                Some(Exit::Status(0))
            }
            (true, false) => Some(Exit::Rebooted(if in_order { Reboot::InOrder } else { Reboot::Unordered })),
            (false, _) => {
                Some(Exit::Failed("the runner was ended in this step, and started again".to_owned()))
            }
        }
    }

    fn write(&self, machine: &Machine) -> Result<()> {
        machine.write_kept(FILE, &serde_json::to_vec(self)?).context("note the place in the plan")
    }
}
