//! What Ovenbird decides, behind ports: no SDK and no I/O.
//!
//! It has floors, and each uses only those below it:
//!
//! | floor | what is there |
//! |---|---|
//! | [`functions`] | the six functions: input parsed, step called, answer written |
//! | [`views`] | what operators read |
//! | [`ops`] | what operators do |
//! | [`steps`] | what the functions do |
//! | [`store`] | the table and the bucket with their meaning: every write is conditional |
//! | [`ports`] | what is asked of the outside world |
//! | [`domain`] | types and pure decisions |

// A match that names every variant makes the compiler show each place that a new one must be thought of in: a stage, a
// state of EC2's, a kind of step, an error.
#![deny(clippy::wildcard_enum_match_arm)]

pub mod domain;
pub mod functions;
pub mod ops;
pub mod ports;
pub mod steps;
pub mod store;
pub mod views;

pub use domain::error::{Error, Result};
