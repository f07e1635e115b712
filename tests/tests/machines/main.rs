//! The pipeline on local clouds with real machines. It needs root and what `make setup build` makes.
//!
//! Each test has a cloud of its own, and much of its time is spent waiting for machines: so they run beside each other.

mod end_to_end;
mod many;
mod provisioners;

use std::time::Duration;

/// How long to wait for what must come: no measure of speed, for other clouds' machines boot beside one's own.
const PATIENCE: Duration = Duration::from_secs(400);
