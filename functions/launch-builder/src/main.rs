//! The launch-builder Lambda.

fn main() {}
