//! Locks of snapshots.

use jiff::Timestamp;
use ovenbird_sim::{ApiError, Lasts, LockSnapshot, SnapshotLock};

use super::{
    Call,
    shared::{filters, next_token, paging, time},
};
use crate::endpoint::xml_writer::Xml;

pub(super) fn lock_snapshot(call: &Call<'_>) -> Result<String, ApiError> {
    let params = &call.params;
    params.required("LockMode")?;
    let mode = params.choice("LockMode", &["compliance", "governance"])?;
    let (days, until) =
        (params.parsed::<i32>("LockDuration")?, params.parsed::<Timestamp>("ExpirationDate")?);
    let request = LockSnapshot {
        snapshot: params.required("SnapshotId")?.to_owned(),
        compliance: mode == Some("compliance"),
        cool_off_hours: params.parsed("CoolOffPeriod")?,
        lasts: match (days, until) {
            (Some(days), None) => Lasts::Days(days),
            (None, Some(until)) => Lasts::Until(until),
            _ => {
                let message = "A lock has a LockDuration or an ExpirationDate.";
                return Err(ApiError::new("InvalidParameterCombination", message));
            }
        },
        dry_run: params.flag("DryRun")?,
    };
    call.finish()?;
    let (made, state) = call.world(|world, now| {
        let made = world.lock_snapshot(now, &request)?;
        let state = made.state(now);
        Ok((made, state))
    })?;
    call.answer("LockSnapshot", |xml| lock(xml, &made, state))
}

pub(super) fn unlock_snapshot(call: &Call<'_>) -> Result<String, ApiError> {
    let (id, dry_run) = (call.params.required("SnapshotId")?, call.params.flag("DryRun")?);
    call.finish()?;
    let snapshot = call.world(|world, now| world.unlock_snapshot(now, id, dry_run))?;
    call.answer("UnlockSnapshot", |xml| xml.text("snapshotId", snapshot))
}

pub(super) fn describe_locked_snapshots(call: &Call<'_>) -> Result<String, ApiError> {
    let (ids, filters) = (call.params.texts("SnapshotId"), filters(&call.params)?);
    let paging = paging(&call.params)?;
    call.finish_look()?;
    let (page, account) = call.world(|world, now| {
        Ok((world.describe_locked_snapshots(now, &ids, &filters, &paging)?, world.account().to_owned()))
    })?;
    call.answer("DescribeLockedSnapshots", |xml| {
        xml.list("snapshotSet", &page.items, |xml, one| {
            xml.text("ownerId", &account);
            lock(xml, &one.lock, one.state);
        });
        next_token(xml, page.next_token.as_ref());
    })
}

fn lock(xml: &mut Xml, lock: &SnapshotLock, state: &str) {
    xml.text("snapshotId", &lock.snapshot);
    xml.text("lockState", state);
    xml.text("lockDuration", lock.days);
    xml.text("lockCreatedOn", time(lock.since));
    xml.text("lockDurationStartTime", time(lock.since));
    xml.text("lockExpiresOn", time(lock.until));
    xml.optional("coolOffPeriodExpiresOn", lock.cools_until.map(time).as_ref());
}
