//! How long AWS takes for its answers, drawn from a table. It rests on what the table rests on, which is inferred for the
//! most part.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

/// The table.
pub const TABLE: &str = include_str!("latency/table.tsv");

/// Random numbers that are the same for the same seed (`SplitMix64`).
#[derive(Debug, Clone)]
struct Chance(u64);

impl Chance {
    /// Between 0 and 1.
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The table's figures in seconds: p50 and p99 by name.
///
/// # Panics
/// When a row is not four fields, or doesn't say what it rests on.
pub fn table() -> BTreeMap<&'static str, (f64, f64)> {
    let rows = TABLE.lines().filter(|line| !line.starts_with('#')).skip(1);
    rows.map(|row| {
        let fields: Vec<&str> = row.split('\t').collect();
        assert!(fields.len() == 4 && !fields[3].is_empty(), "each figure says what it rests on: {row}");
        (fields[0], (fields[1].parse().unwrap(), fields[2].parse().unwrap()))
    })
    .collect()
}

/// Draws times from the table, always the same ones for the same seed.
#[derive(Debug, Clone)]
pub struct Latency {
    chance: Chance,
    table: BTreeMap<&'static str, (f64, f64)>,
    /// The functions that Lambda has an instance of.
    warm: BTreeSet<String>,
}

impl Latency {
    /// Nothing was drawn yet, and no function is warm.
    pub fn new(seed: u64) -> Self {
        Self { chance: Chance(seed), table: table(), warm: BTreeSet::new() }
    }

    /// Between 0 and 1.
    pub fn unit(&mut self) -> f64 {
        self.chance.unit()
    }

    /// A time by its name in the table.
    pub fn draw(&mut self, name: &str) -> SignedDuration {
        let (p50, p99) =
            *self.table.get(name).unwrap_or_else(|| panic!("the table of latencies has no `{name}`"));
        let chance = &mut self.chance;
        // Box and Muller's way to a normal distribution, of which 2.326 is the 99th percentile.
        let normal =
            (-2.0 * (1.0 - chance.unit()).ln()).sqrt() * (std::f64::consts::TAU * chance.unit()).cos();
        SignedDuration::from_secs_f64(p50 * ((p99 / p50).ln() / 2.326 * normal).exp())
    }

    /// How long the answer to a call takes, by its IAM action.
    pub fn answer(&mut self, action: &str) -> SignedDuration {
        match action {
            // The table has both as a whole, from the call to the runner and to the finished image.
            "ec2:RunInstances" | "ec2:CreateImage" => SignedDuration::ZERO,
            _ => self.draw(action.split(':').next().unwrap_or_default()),
        }
    }

    /// How long it takes until a function begins to work.
    pub fn start_of(&mut self, function: &str) -> SignedDuration {
        if self.warm.insert(function.to_owned()) { self.draw("cold") } else { SignedDuration::ZERO }
    }
}
