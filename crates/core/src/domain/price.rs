//! What a month of a snapshot costs: AWS's price as data, with its date and Region.

use serde::{Deserialize, Serialize};

/// What a GB of a snapshot in the standard tier costs for a month, in US dollars.
///
/// In other Regions it is up to about half as much more; nobody is charged by this number, it says an order of magnitude.
pub const SNAPSHOT_GB_MONTH: f64 = 0.05;

/// Of which Region and when that is the price.
pub const PRICED: &str = "us-east-1 in November 2026";

/// EBS counts in powers of two.
const GB: f64 = 1_073_741_824.0;

/// How much room snapshots take at most, and what that costs at most.
///
/// A snapshot shares blocks with others of its lineage, and those stay. So the full sizes are an upper bound, and the
/// truth is often far below it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtMost {
    /// The full sizes of all snapshots, in bytes.
    pub bytes: u64,
    /// Of how many snapshots EC2 didn't say the size.
    pub unknown: usize,
}

impl AtMost {
    /// Counts one snapshot more.
    pub fn add(&mut self, bytes: Option<u64>) {
        match bytes {
            Some(bytes) => self.bytes = self.bytes.saturating_add(bytes),
            None => self.unknown += 1,
        }
    }

    /// In GB.
    #[expect(clippy::cast_precision_loss, reason = "a bound for people, with one digit after the point")]
    pub fn gb(self) -> f64 {
        self.bytes as f64 / GB
    }

    /// In US dollars a month.
    pub fn dollars(self) -> f64 {
        self.gb() * SNAPSHOT_GB_MONTH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_add_up_and_what_is_not_known_is_said() {
        let mut all = AtMost::default();
        for bytes in [Some(8 << 30), None, Some(2 << 30)] {
            all.add(bytes);
        }
        assert_eq!((all.gb(), all.unknown), (10.0, 1));
        assert!((all.dollars() - 0.5).abs() < 1e-9);
    }
}
