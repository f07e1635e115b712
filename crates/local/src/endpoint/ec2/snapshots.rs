//! Snapshots: look, delete.

use ovenbird_sim::ApiError;

use super::{
    Call,
    shared::{encryption, filters, next_token, paging, time},
};

pub(super) fn describe_snapshots(call: &Call<'_>) -> Result<String, ApiError> {
    let params = &call.params;
    let (ids, owners) = (params.texts("SnapshotId"), params.texts("Owner"));
    let (filters, paging) = (filters(params)?, paging(params)?);
    // Here no snapshot is shared.
    let _ = params.texts("RestorableBy");
    call.finish_look()?;
    let (page, account) = call.look(|world| {
        Ok((world.describe_snapshots(&ids, &owners, &filters, &paging)?, world.account().to_owned()))
    })?;
    call.answer("DescribeSnapshots", |xml| {
        xml.list("snapshotSet", &page.items, |xml, snapshot| {
            xml.text("snapshotId", &snapshot.id);
            xml.text("volumeId", &snapshot.volume);
            xml.text("status", snapshot.state.as_str());
            xml.text("startTime", time(snapshot.started));
            xml.text("progress", format!("{}%", snapshot.progress));
            xml.text("ownerId", &account);
            xml.text("volumeSize", snapshot.size);
            xml.text("fullSnapshotSizeInBytes", snapshot.bytes);
            xml.text("description", &snapshot.description);
            encryption(xml, snapshot.kms_key.as_ref());
            xml.text("storageTier", "standard");
            xml.tags(&snapshot.tags);
        });
        next_token(xml, page.next_token.as_ref());
    })
}

pub(super) fn delete_snapshot(call: &Call<'_>) -> Result<String, ApiError> {
    let (id, dry_run) = (call.params.required("SnapshotId")?, call.params.flag("DryRun")?);
    call.finish()?;
    call.world(|world, _| world.delete_snapshot(id, dry_run))?;
    call.done("DeleteSnapshot")
}
