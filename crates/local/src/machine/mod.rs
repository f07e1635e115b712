//! Real machines: namespaces and overlayfs over a Debian base, with systemd as init and cloud-init in it.
//!
//! A machine is this program started again as `machine-init` (see [`init`]), which becomes the machine's first
//! process. Everything it has lives in its own namespaces, so that it ends with that process, and that process
//! ends with the supervisor.

mod address;
pub mod cgroup;
mod disk;
mod exec;
mod forward;
mod imds;
pub mod init;
mod lifecycle;
mod output;
mod spawn;

pub(crate) use self::{
    address::mac,
    forward::{listen_std, serve_inside},
    spawn::spawn,
};
pub use self::{
    address::{Addresses, GATEWAY},
    disk::{Disks, Layer},
    exec::{Inside, Outcome, exec, way_in},
    forward::{forward, reach},
    imds::{Identity, Metadata},
    lifecycle::{Machine, MachineConfig, Notice},
};
