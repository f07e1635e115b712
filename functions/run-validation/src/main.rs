//! The run-validation Lambda.

fn main() {}
