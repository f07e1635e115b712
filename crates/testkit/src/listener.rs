//! Whoever hears what the steps log while no test listens.
//!
//! `tracing` asks once of each place that logs whether anybody wants to hear of it, and keeps the answer. With several tests
//! at once, a place that is asked just before one of them begins to listen would be silent for good.

use std::sync::Once;

use tracing::{
    Event, Metadata, Subscriber,
    span::{Attributes, Id, Record},
    subscriber::{Interest, set_global_default},
};

/// It wants to be asked each time, and always says no.
struct Nobody;

impl Subscriber for Nobody {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, _: &Metadata<'_>) -> bool {
        false
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Lets every place that logs ask each time. It must be called before the first of them is reached.
pub(crate) fn ask_each_time() {
    static ONCE: Once = Once::new();
    // A program that has a listener of its own keeps it.
    ONCE.call_once(|| drop(set_global_default(Nobody)));
}
