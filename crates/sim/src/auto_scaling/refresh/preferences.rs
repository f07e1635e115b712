//! How a refresh goes on.

use serde::{Deserialize, Serialize};

use super::super::{Group, checks::check_bounds, invalid};
use crate::Result;

/// What to do with instances that are protected from scale in, or on standby.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WhenFound {
    /// They are replaced (`Refresh`), or ended (`Terminate`).
    Replace,
    /// They stay.
    Ignore,
    /// Somebody has an hour to change it; then the refresh fails.
    Wait,
}

impl WhenFound {
    /// Reads the word for protected instances.
    pub fn for_protected(word: &str) -> Result<Self> {
        match word {
            "Refresh" => Ok(Self::Replace),
            "Ignore" => Ok(Self::Ignore),
            "Wait" => Ok(Self::Wait),
            _ => Err(invalid("ScaleInProtectedInstances is Refresh, Ignore or Wait.")),
        }
    }

    /// Reads the word for instances on standby.
    pub fn for_standby(word: &str) -> Result<Self> {
        match word {
            "Terminate" => Ok(Self::Replace),
            "Ignore" => Ok(Self::Ignore),
            "Wait" => Ok(Self::Wait),
            _ => Err(invalid("StandbyInstances is Terminate, Ignore or Wait.")),
        }
    }
}

/// What is asked of a refresh; what is none is as the API's defaults are, which differ from the console's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RefreshPreferences {
    /// So many per cent stay ready: 0 to 100.
    pub min_healthy: Option<u32>,
    /// So many per cent may be there: 100 to 200, at most 100 above the other.
    pub max_healthy: Option<u32>,
    /// After so many seconds in service a new instance counts as ready.
    pub warmup: Option<u32>,
    /// Whether instances stay that are as wanted.
    pub skip_matching: bool,
    /// Whether the group goes back by itself when the refresh fails.
    pub auto_rollback: bool,
    /// What to do with instances that are protected from scale in.
    pub protected: Option<WhenFound>,
    /// What to do with instances on standby.
    pub standby: Option<WhenFound>,
    /// At so many per cent it waits; the last one ends it, and only 100 replaces everything.
    pub checkpoints: Vec<u32>,
    /// How long it waits there, in seconds: 0 to 172,800.
    pub checkpoint_delay: Option<u32>,
    /// The names of alarms, at most 10.
    pub alarms: Vec<String>,
    /// How long it bakes, in seconds: 0 to 172,800.
    pub bake: Option<u32>,
}

/// How a refresh goes on, with every default filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preferences {
    /// So many per cent stay ready.
    pub min_healthy: u32,
    /// So many per cent may be there. None means 100, and that an instance goes when its replacement is launched if
    /// nothing else is possible; a number, 100 too, that its replacement is launched first.
    pub max_healthy: Option<u32>,
    /// After so many seconds in service a new instance counts as ready.
    pub warmup: u32,
    /// Whether instances stay that are as wanted.
    pub skip_matching: bool,
    /// Whether the group goes back by itself when the refresh fails.
    pub auto_rollback: bool,
    /// What to do with instances that are protected from scale in.
    pub protected: WhenFound,
    /// What to do with instances on standby.
    pub standby: WhenFound,
    /// At so many per cent it waits.
    pub checkpoints: Vec<u32>,
    /// How long it waits there, in seconds.
    pub checkpoint_delay: u32,
    /// The names of alarms.
    pub alarms: Vec<String>,
    /// How long it bakes, in seconds.
    pub bake: u32,
}

/// The longest wait, at a checkpoint or to bake, in seconds.
const LONGEST: u32 = 172_800;

impl RefreshPreferences {
    /// Fills in the defaults, which the group has in part.
    pub(super) fn resolve(&self, group: &Group) -> Result<Preferences> {
        check_bounds(self.min_healthy, self.max_healthy)?;
        if self.checkpoints.is_empty() && self.checkpoint_delay.is_some() {
            return Err(invalid("CheckpointPercentages must be specified with CheckpointDelay."));
        }
        if self.checkpoints.iter().any(|percent| !(1..=100).contains(percent))
            || self.checkpoints.windows(2).any(|pair| pair[0] >= pair[1])
        {
            let message =
                "CheckpointPercentages must be unique numbers between 1 and 100, in ascending order.";
            return Err(invalid(message));
        }
        if self.checkpoint_delay.is_some_and(|delay| delay > LONGEST) {
            return Err(invalid("CheckpointDelay is between 0 and 172800."));
        }
        if self.bake.is_some_and(|bake| bake > LONGEST) {
            return Err(invalid("BakeTime is between 0 and 172800."));
        }
        if self.alarms.len() > 10 {
            return Err(invalid("At most 10 alarms can be specified."));
        }
        let policy = group.maintenance;
        let (min_healthy, max_healthy) = match (self.min_healthy, policy) {
            (Some(min), _) => (min, self.max_healthy),
            (None, Some(policy)) => (policy.min_healthy, Some(policy.max_healthy)),
            (None, None) => (90, None),
        };
        Ok(Preferences {
            min_healthy,
            max_healthy,
            warmup: self.warmup.unwrap_or_else(|| group.warmup()),
            skip_matching: self.skip_matching,
            auto_rollback: self.auto_rollback,
            protected: self.protected.unwrap_or(WhenFound::Wait),
            standby: self.standby.unwrap_or(WhenFound::Wait),
            checkpoints: self.checkpoints.clone(),
            checkpoint_delay: self.checkpoint_delay.unwrap_or(3600),
            alarms: self.alarms.clone(),
            bake: self.bake.unwrap_or(0),
        })
    }
}
