//! The snapshot Lambda.

fn main() {}
