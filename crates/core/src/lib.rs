//! The domain and the steps of a bake, behind ports; no SDK and no I/O.

pub mod artifact;
pub mod bake;
pub mod digest;
pub mod error;
pub mod explain;
pub mod functions;
pub mod id;
pub mod inputs;
pub mod keys;
pub mod launch;
pub mod ledger;
pub mod lineage;
pub mod plan;
pub mod ports;
pub mod pushed;
pub mod recipe;
pub mod report;
pub mod steps;
pub mod trigger;

pub use error::{Error, Result};
