//! The local cloud: the world served over HTTP, with real machines.
//!
//! One endpoint on loopback answers as AWS. EC2, Auto Scaling, Elastic Load Balancing and SSM's commands are
//! [`ovenbird_sim`], carried out by [`machine`]; everything else is MiniStack, a child process. [`serve`] is the
//! process that holds it all;
//! [`up`], [`down`], [`status`], [`reset`], [`open`] and [`shell`] are what an operator does with it.

mod around;
mod auth;
mod balancer;
pub mod base_image;
mod deploy;
mod endpoint;
mod error;
mod function_logs;
mod groups;
mod hardware;
mod health_checks;
mod home;
mod http_client;
mod import;
pub mod machine;
mod memory;
mod ministack;
pub mod network;
mod operator;
mod options;
mod progress;
mod requirements;
mod reset;
mod root_settings;
mod state;
mod store;
mod supervisor;
mod xml;

use std::process::ExitCode;

pub use self::{
    around::{RunningCloud, running},
    auth::{Clock, Credentials, Gate, Holder, Keys, PROFILE},
    endpoint::{Control, Endpoint, Writes, machine_router, operations, router},
    error::{LocalError, Result},
    function_logs::{LogLine, function_logs},
    hardware::{Hardware, Simulated},
    home::Home,
    http_client::Link,
    import::{Imported, import},
    operator::{
        Forward, InstanceStatus, Interrupted, Memory, Status, close, down, interrupt, logs_path, open, shell,
        status, up,
    },
    options::{Machines, Options},
    progress::{Event, Stage},
    reset::{DiskUse, ResetFolder, ResetImage, ResetPlan, disk_use, reset},
    state::CloudState,
    store::Store,
    supervisor::serve,
};

/// The first process of a machine, a command in one, and the holder of the network are this program again.
///
/// Call it before anything else of `main`: it answers for the hidden commands `machine-init`, `machine-enter`,
/// `machine-probe` and `cloud-net`, and gives none for every other command line.
pub fn hidden_main() -> Option<ExitCode> {
    match std::env::args().nth(1)?.as_str() {
        "machine-init" => Some(machine::init::main()),
        "machine-enter" => Some(machine::enter::main()),
        "machine-probe" => Some(machine::probe::main()),
        "cloud-net" => Some(network::main()),
        _ => None,
    }
}
