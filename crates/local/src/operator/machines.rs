//! What an operator does with one machine: a shell, its ports, and the notice that EC2 takes it back.

use std::{net::SocketAddr, process::Command};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{InstanceStatus, post, status};
use crate::{
    error::{LocalError, Result},
    machine,
    options::Options,
};

/// A loopback address that leads to a port of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    /// The instance whose port it is.
    pub instance: String,
    /// The port in the machine.
    pub port: u16,
    /// The address on loopback.
    pub address: SocketAddr,
}

/// A spot instance that is taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interrupted {
    /// The instance.
    pub instance: String,
    /// When it is terminated.
    pub at: Timestamp,
}

/// The first process of a machine that runs.
async fn process(options: &Options, instance: &str) -> Result<u32> {
    let known = status(options).await?.instances.into_iter().find(|known| known.instance == instance);
    let problem = match known {
        Some(InstanceStatus { process: Some(process), .. }) => return Ok(process),
        Some(known) => format!("is {}, and has no running machine", known.state),
        None => "isn't here".to_owned(),
    };
    Err(LocalError::NoMachine { instance: instance.to_owned(), problem })
}

/// A command as a machine's root would run it, on the caller's terminal; a login shell when none is given.
pub async fn shell(options: &Options, instance: &str, command: &[String]) -> Result<Command> {
    let mut shell = Command::new("/proc/self/exe");
    shell.args(machine::way_in(process(options, instance).await?, None)).current_dir("/");
    if command.is_empty() {
        // Not every base has bash.
        shell.args([
            "/bin/sh",
            "-c",
            "if command -v bash >/dev/null; then exec bash --login; fi; exec sh -l",
        ]);
    } else {
        shell.args(command);
    }
    Ok(shell)
}

/// Makes a machine's port reachable on loopback, at the port `here` or at a free one; asked again, the address is the same.
pub async fn open(options: &Options, instance: &str, port: u16, here: Option<u16>) -> Result<Forward> {
    let mut wish = serde_json::json!({"instance": instance, "port": port});
    // A supervisor that was started by an older command knows no such field.
    if let Some(here) = here {
        wish["here"] = here.into();
    }
    let answer = post(options, "forward", &wish).await;
    if matches!(answer, Err(LocalError::Refused { .. })) {
        // That no such machine runs is the usual reason, and says more than the refusal.
        process(options, instance).await?;
    }
    answer
}

/// Closes a port of a machine that was opened, or all of them; gives those that were open. Connections through them go on.
pub async fn close(options: &Options, instance: &str, port: Option<u16>) -> Result<Vec<Forward>> {
    let mut wish = serde_json::json!({"instance": instance});
    if let Some(port) = port {
        wish["port"] = port.into();
    }
    let answer = post(options, "close", &wish).await;
    if matches!(answer, Err(LocalError::Refused { .. })) {
        process(options, instance).await?;
    }
    answer
}

/// Takes a spot instance back, as EC2 does: its metadata service shows the notice now, and it is terminated after so many
/// seconds.
///
/// # Errors
/// When it is no spot instance, doesn't run, or has its notice already.
pub async fn interrupt(options: &Options, instance: &str, seconds: u32) -> Result<Interrupted> {
    let answer =
        post(options, "interrupt", &serde_json::json!({"instance": instance, "seconds": seconds})).await;
    match answer {
        // It says what is wrong with the instance.
        Err(LocalError::Refused { status: 409, body, .. }) => {
            Err(LocalError::NoMachine { instance: instance.to_owned(), problem: body })
        }
        answer => answer,
    }
}
