//! The adapters for core's ports on the AWS SDK, and `serve()` for the Lambdas.
//!
//! This is the only crate that names the SDK. An adapter translates AWS's answers into domain words, and only
//! those error codes that need a decision into their own error; it decides nothing itself.

mod balancers;
pub mod bucket;
mod caller;
mod clock;
pub mod cloud;
pub mod ec2_codes;
pub mod errors;
mod groups;
pub mod images;
pub mod instances;
pub mod launch;
#[cfg(feature = "operator")]
mod operator;
pub mod parameters;
mod recycle_bin;
mod references;
mod retirement;
pub mod serve;
pub mod settings;
pub mod table;
mod templates;
mod traffic;
pub mod upload;
pub mod volumes;
pub mod workflow;

pub use cloud::{Access, Cloud, LocalCloud};
pub use ovenbird_core as core;
