//! Locks of snapshots: nobody deletes a locked one.
//!
//! Sources: the EBS user guide's page "Amazon EBS snapshot lock" and the references of `LockSnapshot`, `UnlockSnapshot` and
//! `DescribeLockedSnapshots`. By which code EC2 refuses to delete a locked snapshot is documented nowhere.

use jiff::{SignedDuration, Timestamp};
use ovenbird_core::domain::id::SnapshotId;
use serde::{Deserialize, Serialize};

use crate::{
    ApiError, Filter, Page, Paging, Result, Tags, World,
    filters::{Fields, Filtered, Filters, one},
    refuse_dry_run,
};

/// The lock of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotLock {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Whether nobody may lift it once it cools no more: EC2's mode `compliance`.
    pub compliance: bool,
    /// Since when.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// For so many days.
    pub days: i32,
    /// Until when a lock of mode `compliance` may be lifted.
    pub cools_until: Option<Timestamp>,
}

impl SnapshotLock {
    /// EC2's word for how it stands.
    pub fn state(&self, now: Timestamp) -> &'static str {
        let cools = self.cools_until.is_some_and(|until| now < until);
        match (now < self.until, self.compliance, cools) {
            (false, ..) => "expired",
            (true, false, _) => "governance",
            (true, true, true) => "compliance-cooloff",
            (true, true, false) => "compliance",
        }
    }
}

/// A lock, and how it stands at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedSnapshot {
    /// The lock.
    pub lock: SnapshotLock,
    /// EC2's word for how it stands.
    pub state: &'static str,
}

impl Filtered for LockedSnapshot {
    const FIELDS: Fields<Self> = &[("lock-state", |it, _| one(it.state))];
    const TAGGED: bool = false;

    fn tags(&self) -> Option<&Tags> {
        None
    }
}

/// For how long a snapshot is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasts {
    /// For so many days.
    Days(i32),
    /// Until a time, a day away at least.
    Until(Timestamp),
}

/// The parameters of `LockSnapshot`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockSnapshot {
    /// The snapshot's id.
    pub snapshot: String,
    /// Whether the mode is `compliance`, and not `governance`.
    pub compliance: bool,
    /// How long a lock of mode `compliance` may still be lifted, in hours.
    pub cool_off_hours: Option<i32>,
    /// For how long.
    pub lasts: Lasts,
    /// Only ask whether it would be done.
    pub dry_run: bool,
}

impl World {
    /// Locks a snapshot, or changes its lock.
    pub fn lock_snapshot(&mut self, now: Timestamp, request: &LockSnapshot) -> Result<SnapshotLock> {
        let snapshot = self.own_snapshot(&request.snapshot)?.id.clone();
        let (days, until) = match request.lasts {
            Lasts::Days(days) => {
                (days, now + SignedDuration::from_hours(24 * i64::from(days.clamp(0, 36_500))))
            }
            Lasts::Until(until) => {
                let hours = until.duration_since(now).as_hours();
                (i32::try_from(hours / 24).unwrap_or(i32::MAX), until)
            }
        };
        if !(1..=36_500).contains(&days) {
            return Err(ApiError::value(&days.to_string(), "LockDuration", "1 to 36500 days."));
        }
        if request.cool_off_hours.is_some_and(|hours| !request.compliance || !(1..=72).contains(&hours)) {
            let message = "CoolOffPeriod is 1 to 72 hours, and for the mode compliance alone.";
            return Err(ApiError::new("InvalidParameterCombination", message));
        }
        if let Some(old) = self.locks.get(&snapshot)
            && old.state(now) == "compliance"
            && (!request.compliance || until < old.until)
        {
            return Err(locked(&snapshot));
        }
        refuse_dry_run(request.dry_run)?;
        let cools = request.cool_off_hours.map(|hours| now + SignedDuration::from_hours(hours.into()));
        let lock = SnapshotLock {
            snapshot: snapshot.clone(),
            compliance: request.compliance,
            since: now,
            until,
            days,
            cools_until: cools,
        };
        self.locks.insert(snapshot, lock.clone());
        Ok(lock)
    }

    /// Lifts a lock.
    pub fn unlock_snapshot(&mut self, now: Timestamp, id: &str, dry_run: bool) -> Result<SnapshotId> {
        let snapshot = self.own_snapshot(id)?.id.clone();
        let lock = self.locks.get(&snapshot).filter(|lock| lock.state(now) != "expired");
        match lock.map(|lock| lock.state(now)) {
            None => {
                let message = format!("The snapshot {snapshot} is not locked.");
                return Err(ApiError::new("IncorrectState", message));
            }
            Some("compliance") => return Err(locked(&snapshot)),
            Some(_) => {}
        }
        refuse_dry_run(dry_run)?;
        self.locks.remove(&snapshot);
        Ok(snapshot)
    }

    /// The locks of snapshots, all or of those with these ids, and how each stands; those whose time is over, too.
    pub fn describe_locked_snapshots(
        &self,
        now: Timestamp,
        ids: &[String],
        filters: &[Filter],
        paging: &Paging,
    ) -> Result<Page<LockedSnapshot>> {
        let filters = Filters::<LockedSnapshot>::read(filters)?;
        let named =
            |lock: &&SnapshotLock| ids.is_empty() || ids.iter().any(|id| id == lock.snapshot.as_str());
        let found = self.locks.values().filter(named);
        let found = found.map(|lock| LockedSnapshot { lock: lock.clone(), state: lock.state(now) });
        let found = found.filter(|one| filters.pass(self, one));
        paging.cut(found, 5, |one: &LockedSnapshot| one.lock.snapshot.to_string())
    }

    /// Refuses what a lock forbids.
    pub(crate) fn check_lock(&self, now: Timestamp, snapshot: &SnapshotId) -> Result<()> {
        match self.locks.get(snapshot) {
            Some(lock) if lock.state(now) != "expired" => Err(locked(snapshot)),
            Some(_) | None => Ok(()),
        }
    }
}

fn locked(snapshot: &SnapshotId) -> ApiError {
    ApiError::new("OperationNotPermitted", format!("The snapshot {snapshot} is locked."))
}
