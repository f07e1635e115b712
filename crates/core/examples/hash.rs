//! How fast an artifact is hashed: `cargo run --release -p ovenbird-core --example hash`.

use std::{process::ExitCode, time::Instant};

use ovenbird_core::domain::digest::Hash;

/// A piece as S3's bodies bring it.
const PIECE: usize = 64 << 10;
/// So many bytes are hashed.
const BYTES: usize = 2 << 30;

#[expect(clippy::print_stdout, clippy::cast_precision_loss, reason = "a program for people, and megabytes")]
#[expect(clippy::disallowed_methods, reason = "it measures real time")]
fn main() -> ExitCode {
    let piece = vec![0x5a; PIECE];
    let (mut hash, begun) = (Hash::default(), Instant::now());
    for _ in 0..BYTES / PIECE {
        hash.update(&piece);
    }
    let digest = hash.finish();
    let rate = BYTES as f64 / begun.elapsed().as_secs_f64() / 1e6;
    println!("{rate:.0} MB/s ({digest})");
    ExitCode::SUCCESS
}
