//! How a local cloud is to be.

use std::path::PathBuf;

use ovenbird_sim::Validation;
use serde::{Deserialize, Serialize};

use crate::home::Home;

/// What carries out the world's orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Machines {
    /// Real machines. They need root.
    Real,
    /// Machines that only say that they run.
    Simulated,
}

/// The options of `up` and `serve`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Where everything is kept.
    pub home: Home,
    /// The endpoint's port on loopback.
    pub port: u16,
    /// The root of the repository whose `infra/template.yaml` is deployed; none deploys nothing.
    pub repository: Option<PathBuf>,
    /// The name of the stack.
    pub stack: String,
    /// What every Wait of a state machine is multiplied with: machines here boot in seconds.
    pub wait_scale: f64,
    /// What machines are.
    pub machines: Machines,
    /// How Systems Manager validates parameters that hold an image: a second here, minutes on AWS.
    pub parameters: Validation,
}

impl Options {
    /// The usual options: home from `OVENBIRD_HOME`, the repository around the current folder.
    pub fn new(port: u16) -> Self {
        Self {
            home: Home::from_env(),
            port,
            repository: repository(),
            stack: "ovenbird".into(),
            wait_scale: 0.1,
            machines: Machines::Real,
            parameters: Validation { shortest: 1, longest: 1, dropped: 0, seed: 0 },
        }
    }

    /// The endpoint, one and the same for machines, functions and clients.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// The repository around the current folder or, failing that, around this program.
fn repository() -> Option<PathBuf> {
    let starts = [std::env::current_dir().ok(), std::env::current_exe().ok()];
    let is_root = |folder: &&std::path::Path| folder.join("infra/template.yaml").is_file();
    starts.into_iter().flatten().find_map(|start| start.ancestors().find(is_root).map(PathBuf::from))
}
