//! Time as the machine that runs the function tells it.

use jiff::{SignedDuration, Timestamp};
use ovenbird_core::ports::Clock;

use crate::Cloud;

impl Clock for Cloud {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep(&self, time: SignedDuration) {
        // Less than nothing is nothing.
        tokio::time::sleep(time.try_into().unwrap_or_default()).await;
    }
}
