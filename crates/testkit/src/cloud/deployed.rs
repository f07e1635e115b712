//! What the stack was deployed with, and how much of Lambda it has.

use jiff::SignedDuration;
use ovenbird_core::domain::{id::Digest, retirement::Floors, signature::Signers};

use super::Cloud;

impl Cloud {
    /// Lets the stack retain at least so much.
    pub fn retain_at_least(&self, floors: Floors) {
        self.floors.set(floors);
    }

    /// Lets the stack have so many builders at the same time.
    pub fn have_at_most(&self, builders: u32) {
        self.most_builders.set(builders);
    }

    /// Lets Lambda start no function for so long, from so long after now on: others of the account run.
    pub fn keep_functions_busy(&self, after: SignedDuration, time: SignedDuration) {
        let from = self.now() + after;
        self.busy.set(Some((from, from + time)));
    }

    /// Whether Lambda starts no function now.
    pub(crate) fn functions_are_busy(&self) -> bool {
        self.busy.get().is_some_and(|(from, until)| (from..until).contains(&self.now()))
    }

    /// Lets bakes use no runner but these.
    pub fn allow_runners(&self, hashes: &[Digest]) {
        *self.runners.borrow_mut() = hashes.to_vec();
    }

    /// Lets bakes use no recipe that isn't signed by one of these; this can be said once.
    pub fn require_signers(&self, signers: Signers) {
        self.signers.set(signers).expect("nobody said it before");
    }
}
