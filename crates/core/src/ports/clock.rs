//! Time, for the one function that waits by itself.

use jiff::{SignedDuration, Timestamp};

/// What the time is, and waiting. The tests answer with time of their own.
pub trait Clock {
    /// The moment.
    fn now(&self) -> Timestamp;
    /// Waits this long.
    async fn sleep(&self, time: SignedDuration);
}
