//! The prune Lambda.

fn main() {}
