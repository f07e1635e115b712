//! The promote Lambda.

fn main() {}
