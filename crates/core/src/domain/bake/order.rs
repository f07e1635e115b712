//! Which of two bakes of a pipeline is the newer one.

use std::cmp::Ordering;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The age of what a bake delivers. Of two bakes of a pipeline, the newer one wins a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The artifact's key and version; none for a pipeline without artifacts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<String>,
    /// When the artifact was uploaded; without one, when the bake started.
    pub uploaded: Timestamp,
    /// S3's sequencer: it decides between uploads of the same second.
    #[serde(default)]
    pub sequencer: String,
    /// When the bake started: it decides between bakes of one artifact.
    pub started: Timestamp,
}

impl Order {
    /// Compares two bakes of one pipeline by the age of what they deliver.
    pub fn compare(&self, other: &Self) -> Ordering {
        if self.artifact.is_some() && self.artifact == other.artifact {
            return self.started.cmp(&other.started);
        }
        // Sequencers are hexadecimal numbers of unequal length: AWS says to pad the shorter with zeros on the right.
        let width = self.sequencer.len().max(other.sequencer.len());
        let padded = |sequencer: &str| format!("{sequencer:0<width$}");
        self.uploaded
            .cmp(&other.uploaded)
            .then_with(|| padded(&self.sequencer).cmp(&padded(&other.sequencer)))
            .then_with(|| self.started.cmp(&other.started))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(artifact: &str, uploaded: i64, sequencer: &str, started: i64) -> Order {
        let at = |second| Timestamp::from_second(second).unwrap();
        Order {
            artifact: Some(artifact.into()),
            uploaded: at(uploaded),
            sequencer: sequencer.into(),
            started: at(started),
        }
    }

    #[test]
    fn the_newest_upload_wins_whatever_the_start() {
        let (old, new) = (order("a", 10, "", 99), order("b", 11, "", 50));
        assert_eq!(old.compare(&new), Ordering::Less);
    }

    #[test]
    fn the_sequencer_decides_within_a_second() {
        let (old, new) = (order("a", 10, "0055AED6", 99), order("b", 10, "0055AED6DCD90281E5", 50));
        assert_eq!(old.compare(&new), Ordering::Less);
    }

    #[test]
    fn bakes_of_one_artifact_are_ordered_by_their_start() {
        let (old, new) = (order("a", 10, "FF", 50), order("a", 10, "", 99));
        assert_eq!(old.compare(&new), Ordering::Less);
    }
}
