//! How often a command that waits asks AWS: the buckets of these calls are the whole account's.

use std::time::Duration;

use tokio::time::Instant;

/// Between two looks at first: what is there within a second is shown at once.
const LEAST: Duration = Duration::from_millis(200);

/// The pauses between looks. Each is a tenth of the time waited so far, so that a wait lasts a tenth longer at most.
#[derive(Debug)]
pub struct Pace {
    began: Instant,
    most: Duration,
}

impl Pace {
    /// Looks that begin now; between two of them is at most this long.
    pub fn up_to(most: Duration) -> Self {
        Self { began: Instant::now(), most }
    }

    /// Waits until the next look.
    pub async fn pause(&self) {
        tokio::time::sleep(pause(self.began.elapsed(), self.most)).await;
    }

    /// Begins anew: something happened, so more may happen soon.
    pub fn restart(&mut self) {
        self.began = Instant::now();
    }

    /// For how long it was waited.
    pub fn waited(&self) -> Duration {
        self.began.elapsed()
    }
}

fn pause(waited: Duration, most: Duration) -> Duration {
    (waited / 10).clamp(LEAST, most)
}

/// When something that is costly to ask is due again, within looks at a [`Pace`].
#[derive(Debug)]
pub struct Seldom {
    every: Duration,
    last: Duration,
}

impl Seldom {
    /// Something that is asked so often at most, and not at once.
    pub fn every(every: Duration) -> Self {
        Self { every, last: Duration::ZERO }
    }

    /// Whether it is due after so long a wait; then it counts as asked.
    pub fn is_due(&mut self, waited: Duration) -> bool {
        let due = waited >= self.last + self.every;
        if due {
            self.last = waited;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bake;

    /// How many looks there are in so long a wait, and how many of them also ask what is costly.
    fn looks(wait: Duration, most: Duration, every: Duration) -> (usize, usize) {
        let (mut waited, mut seldom, mut counts) = (Duration::ZERO, Seldom::every(every), (0, 0));
        while waited < wait {
            counts.0 += 1;
            counts.1 += usize::from(seldom.is_due(waited));
            waited += pause(waited, most);
        }
        counts
    }

    #[test]
    fn the_wait_for_an_upload_s_bake_takes_few_calls() {
        let (reads, lists) = looks(bake::PATIENCE, bake::LOOK, bake::LIST);
        assert!(reads <= 60, "{reads}");
        // Where the bucket is smallest it holds 100 and two a second are refilled, for everybody in the account.
        assert!((5..=30).contains(&lists), "{lists}");
    }

    #[test]
    fn what_is_there_soon_is_seen_soon_and_a_long_wait_is_cheap() {
        let seconds = Duration::from_secs;
        assert_eq!(looks(seconds(1), seconds(2), seconds(2)).0, 5);
        let (looks, _) = looks(seconds(1200), seconds(2), seconds(2));
        assert!(looks <= 640, "{looks}");
    }
}
