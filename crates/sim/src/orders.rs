//! What the model asks of the machines, and what they report.

use ovenbird_core::domain::id::{CommandId, InstanceId, SnapshotId};
use serde::{Deserialize, Serialize};

/// What lies below a machine's own disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// The base's root file system.
    Base,
    /// A snapshot of a machine's disk.
    Snapshot(SnapshotId),
}

/// What a machine may know of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineFacts {
    /// Its image.
    pub image: String,
    /// Its type.
    pub instance_type: String,
    /// Its zone.
    pub zone: String,
    /// The name of its instance profile.
    pub profile: Option<String>,
    /// Whether its metadata service wants a session token (IMDSv2).
    pub tokens_required: bool,
}

/// An order to the machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Start a machine; its disk is new unless it was stopped before.
    Boot {
        /// Which.
        instance: InstanceId,
        /// The layers of its image, the lowest first.
        layers: Vec<Layer>,
        /// What cloud-init runs.
        user_data: Option<Vec<u8>>,
        /// What it may know.
        facts: MachineFacts,
    },
    /// Shut a machine down; its disk is kept.
    PowerOff {
        /// Which.
        instance: InstanceId,
    },
    /// End a machine, and delete its disk.
    Destroy {
        /// Which.
        instance: InstanceId,
    },
    /// Make a snapshot of a machine's own disk.
    Freeze {
        /// Which machine.
        instance: InstanceId,
        /// As which snapshot.
        snapshot: SnapshotId,
        /// Whether to stop a running machine for it, and start it again.
        reboot: bool,
    },
    /// Delete a snapshot's layer.
    DropSnapshot {
        /// Which.
        snapshot: SnapshotId,
    },
    /// Run a shell script in a machine.
    Run {
        /// Where.
        instance: InstanceId,
        /// As which command.
        command: CommandId,
        /// The script.
        script: String,
        /// How long it may take.
        timeout_seconds: u64,
    },
    /// End a command.
    Cancel {
        /// Where.
        instance: InstanceId,
        /// Which.
        command: CommandId,
    },
}

/// What the machines report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MachineEvent {
    /// A machine's init runs.
    Booted {
        /// Which.
        instance: InstanceId,
    },
    /// A machine could not be started.
    BootFailed {
        /// Which.
        instance: InstanceId,
        /// Why.
        reason: String,
    },
    /// A machine's init ended: by order, or by itself.
    PoweredOff {
        /// Which.
        instance: InstanceId,
    },
    /// A machine and its disk are gone.
    Destroyed {
        /// Which.
        instance: InstanceId,
    },
    /// A machine takes commands.
    AgentOnline {
        /// Which.
        instance: InstanceId,
    },
    /// What a machine's console showed last.
    Console {
        /// Which.
        instance: InstanceId,
        /// The text.
        text: String,
    },
    /// A snapshot is complete.
    Frozen {
        /// Which.
        snapshot: SnapshotId,
        /// Its size.
        bytes: u64,
    },
    /// A snapshot could not be made.
    FreezeFailed {
        /// Which.
        snapshot: SnapshotId,
        /// Why.
        reason: String,
    },
    /// A snapshot is under way.
    SnapshotProgress {
        /// Which.
        snapshot: SnapshotId,
        /// How far.
        percent: u8,
    },
    /// A command began.
    CommandStarted {
        /// Where.
        instance: InstanceId,
        /// Which.
        command: CommandId,
    },
    /// A command ended.
    CommandEnded {
        /// Where.
        instance: InstanceId,
        /// Which.
        command: CommandId,
        /// Its exit status.
        exit: i32,
        /// Its output.
        stdout: String,
        /// Its errors.
        stderr: String,
        /// Whether its time was over.
        timed_out: bool,
    },
    /// Every machine is gone, and with it whatever was under way.
    HostLost,
}
