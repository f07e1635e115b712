//! Parameters of data type `aws:ec2:image`, as Systems Manager writes them: it answers at once, and looks at the image after
//! that. Where the values are kept is the caller's business.
//!
//! By AWS's documentation of native parameter support for AMI ids, a write that is being validated is in no answer yet, and
//! another write of the same parameter is refused until then. A value that is found wrong is dropped without a word. How long
//! it takes, and the code of the refusal, are documented nowhere.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use ovenbird_core::domain::digest;
use serde::{Deserialize, Serialize};

use crate::{ApiError, Result};

/// How the validation of such writes goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validation {
    /// How long it takes at least, in seconds.
    pub shortest: u32,
    /// How long it takes at most, in seconds.
    pub longest: u32,
    /// Of a thousand writes that name a good image, so many are dropped all the same.
    pub dropped: u32,
    /// What decides which, and how long each takes: the same seed, the same writes, the same answers.
    pub seed: u64,
}

impl Validation {
    /// Each write is there when it is answered.
    pub const AT_ONCE: Self = Self { shortest: 0, longest: 0, dropped: 0, seed: 0 };
}

#[derive(Debug, Clone)]
struct Pending {
    value: String,
    until: Timestamp,
    is_dropped: bool,
}

/// The writes that are being validated.
#[derive(Debug, Clone)]
pub struct ImageParameters {
    validation: Validation,
    pending: BTreeMap<String, Pending>,
    writes: u64,
}

impl ImageParameters {
    /// None yet.
    pub fn new(validation: Validation) -> Self {
        Self { validation, pending: BTreeMap::new(), writes: 0 }
    }

    /// From now on validation goes so; what is under way goes on as it began.
    pub fn validate(&mut self, validation: Validation) {
        self.validation = validation;
    }

    /// Takes a write. Its value is not the parameter's before [`ImageParameters::take_valid`] gives it.
    ///
    /// # Errors
    /// `ValidationException` while an earlier write of the parameter is being validated. Take what is due first.
    pub fn put(&mut self, now: Timestamp, name: &str, value: &str) -> Result<()> {
        if self.pending.contains_key(name) {
            let message = format!(
                "The parameter {name} can't be written: validation of its data type aws:ec2:image is still in process"
            );
            return Err(ApiError::new("ValidationException", message));
        }
        self.writes += 1;
        let Validation { shortest, longest, dropped, seed } = self.validation;
        let random = |what: &str| {
            let text = format!("{seed}/{}/{name}/{what}", self.writes);
            u32::from_str_radix(&digest::sha256(text.as_bytes()).as_str()[..8], 16).unwrap_or_default()
        };
        let seconds = shortest + random("seconds") % (longest.saturating_sub(shortest) + 1);
        let pending = Pending {
            value: value.to_owned(),
            until: now + SignedDuration::from_secs(seconds.into()),
            is_dropped: random("dropped") % 1000 < dropped,
        };
        self.pending.insert(name.to_owned(), pending);
        Ok(())
    }

    /// Whether a write of this parameter is being validated.
    pub fn is_validating(&self, name: &str) -> bool {
        self.pending.contains_key(name)
    }

    /// The writes whose validation is over and found the image: each parameter with its new value. The others are forgotten.
    pub fn take_valid(
        &mut self,
        now: Timestamp,
        is_available: impl Fn(&str) -> bool,
    ) -> Vec<(String, String)> {
        let due: Vec<String> =
            self.pending.iter().filter(|(_, one)| one.until <= now).map(|(name, _)| name.clone()).collect();
        let taken = due.into_iter().filter_map(|name| Some((self.pending.remove(&name)?, name)));
        taken
            .filter(|(write, _)| !write.is_dropped && is_available(&write.value))
            .map(|(write, name)| (name, write.value))
            .collect()
    }
}
