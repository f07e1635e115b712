//! What of the adapter is decided here and not by AWS.
//!
//! One program: each would link the SDK once more.

mod artifact;
mod ec2_codes;
mod launch;
mod references;
mod refusals;
mod upload;
