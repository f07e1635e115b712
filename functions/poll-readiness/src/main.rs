//! The poll-readiness Lambda.

fn main() {}
