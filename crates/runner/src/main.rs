//! The program that works on the builder: provision, test, seal.

fn main() {}
