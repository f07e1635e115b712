//! What operators read: questions about bakes and images, answered from the records.

pub mod bake;
pub mod channel;
pub mod doctor;
pub mod error;
pub mod explain;
pub mod fleet;
pub mod lineage;
pub mod parts;
pub mod rollout;
pub mod status;
pub mod worries;

use jiff::Timestamp;

/// The time between two moments, in its largest unit: `12 s`, `3 min`, `5 h`, `2 d`.
pub fn age(from: Timestamp, to: Timestamp) -> String {
    let seconds = to.duration_since(from).as_secs().max(0);
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}
