//! What tests alone use, linked into no product: an account in memory with faults on demand, simulated machines, and
//! the state machines walked with the real steps.

mod cloud;
pub mod latency;
mod listener;
pub mod rehearsal;
mod simulated;
pub mod walk;

pub use self::{
    cloud::{Call, Cloud, Death, Fault, Fitness},
    simulated::{Pace, Script, SimulatedHardware, Work, mailbox},
};
