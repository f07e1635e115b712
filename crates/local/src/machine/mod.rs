//! Real machines: namespaces and overlayfs over a Debian base, with systemd as init and cloud-init in it.
//!
//! A machine is this program started again as `machine-init` (see [`init`]), which becomes the machine's first
//! process. Everything it has lives in its own namespaces, so that it ends with that process, and that process
//! ends with the supervisor.

mod address;
mod cable;
pub mod cgroup;
mod confine;
mod disk;
pub mod enter;
mod exec;
mod forward;
mod ids;
mod imds;
pub mod init;
mod lifecycle;
mod limits;
mod output;
pub mod probe;
mod root;
mod spawn;
mod user_namespace;

pub(crate) use self::{
    address::mac,
    forward::{listen_std, run_inside, serve_inside},
    spawn::spawn,
};
pub use self::{
    address::{Addresses, GATEWAY},
    disk::{Disks, Layer},
    enter::way_in,
    exec::{Inside, Outcome, exec},
    forward::{forward, reach},
    imds::{Identity, Interruption, Metadata},
    lifecycle::{Machine, MachineConfig, Notice},
    limits::{remove as remove_groups, remove_ending as remove_ending_groups},
};
