//! What the model asks of the machines, and what they report.

use ovenbird_core::domain::id::{CommandId, InstanceId, SnapshotId};
use serde::{Deserialize, Serialize};

use crate::AuthorizedKey;

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
    /// The id of the image it was started from.
    pub image: String,
    /// The instance type: `c7i.large`.
    pub instance_type: String,
    /// The availability zone: `us-east-1a`.
    pub zone: String,
    /// The name of its instance profile.
    pub profile: Option<String>,
    /// Whether its metadata service wants a session token (IMDSv2).
    pub tokens_required: bool,
    /// Whether it is a spot instance.
    pub spot: bool,
    /// The key that it lets in.
    pub key: Option<AuthorizedKey>,
}

/// An order to the machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Start a machine; its disk is new unless it was stopped before.
    Boot {
        /// The instance that gets the machine.
        instance: InstanceId,
        /// The layers of its image, the lowest first.
        layers: Vec<Layer>,
        /// What cloud-init runs.
        user_data: Option<Vec<u8>>,
        /// What its metadata service tells it.
        facts: MachineFacts,
    },
    /// Shut a machine down; its disk is kept.
    PowerOff {
        /// The instance whose machine it is.
        instance: InstanceId,
    },
    /// Let a machine boot again; its disk is kept.
    Reboot {
        /// The instance whose machine it is.
        instance: InstanceId,
    },
    /// End a machine, and delete its disk.
    Destroy {
        /// The instance whose machine it is.
        instance: InstanceId,
    },
    /// Make a snapshot of a machine's own disk.
    Freeze {
        /// The instance whose disk it is.
        instance: InstanceId,
        /// The snapshot that is to hold it.
        snapshot: SnapshotId,
        /// Whether to stop a running machine for it, and start it again.
        reboot: bool,
    },
    /// Delete a snapshot's layer.
    DropSnapshot {
        /// The snapshot whose layer goes.
        snapshot: SnapshotId,
    },
    /// Run a shell script in a machine.
    Run {
        /// The instance in whose machine it runs, as root.
        instance: InstanceId,
        /// The id by which its end is reported.
        command: CommandId,
        /// The text, for `sh`.
        script: String,
        /// How long it may run, in seconds.
        timeout_seconds: u64,
    },
    /// End a command.
    Cancel {
        /// The instance in whose machine it runs.
        instance: InstanceId,
        /// The command to end.
        command: CommandId,
    },
}

/// What the machines report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MachineEvent {
    /// A machine's init runs.
    Booted {
        /// The instance whose machine it is.
        instance: InstanceId,
    },
    /// A machine could not be started.
    BootFailed {
        /// The instance that has no machine now.
        instance: InstanceId,
        /// The text that EC2's state reason shows.
        reason: String,
    },
    /// A machine's init ended: by order, or by itself.
    PoweredOff {
        /// The instance whose machine ended.
        instance: InstanceId,
    },
    /// A machine's init ended and begins anew: somebody in it called for a reboot.
    Rebooted {
        /// The instance whose machine boots again.
        instance: InstanceId,
    },
    /// A machine and its disk are gone.
    Destroyed {
        /// The instance whose machine is gone.
        instance: InstanceId,
    },
    /// A machine takes commands.
    AgentOnline {
        /// The instance whose machine it is.
        instance: InstanceId,
    },
    /// What a machine's console showed last.
    Console {
        /// The instance whose machine it is.
        instance: InstanceId,
        /// The end of what was printed, at most 64 KiB.
        text: String,
    },
    /// A snapshot is complete.
    Frozen {
        /// The snapshot that was asked for.
        snapshot: SnapshotId,
        /// What its layer takes, in bytes.
        bytes: u64,
    },
    /// A snapshot could not be made.
    FreezeFailed {
        /// The snapshot that was asked for.
        snapshot: SnapshotId,
        /// The text that its state message shows.
        reason: String,
    },
    /// A snapshot is under way.
    SnapshotProgress {
        /// The snapshot that was asked for.
        snapshot: SnapshotId,
        /// How far it is, in percent.
        percent: u8,
    },
    /// A command began.
    CommandStarted {
        /// The instance in whose machine it runs.
        instance: InstanceId,
        /// The command that began.
        command: CommandId,
    },
    /// A command ended, by itself or because its time was over.
    CommandEnded {
        /// The instance in whose machine it ran.
        instance: InstanceId,
        /// The command that ended.
        command: CommandId,
        /// Its exit status; -1 when it could not be started.
        exit: i32,
        /// What it wrote to standard output.
        stdout: String,
        /// What it wrote to standard error.
        stderr: String,
        /// Whether it was ended because its time was over.
        timed_out: bool,
    },
    /// Every machine is gone, and with it whatever was under way.
    HostLost,
}
