//! Snapshots: look, share, delete.

use ovenbird_sim::{ApiError, Snapshot};

use super::{
    Call,
    image_stages::{changed_permissions, permission},
    shared::{encryption, filters, next_token, paging, time},
};
use crate::endpoint::xml_writer::Xml;

pub(super) fn describe_snapshots(call: &Call<'_>) -> Result<String, ApiError> {
    let params = &call.params;
    let (ids, owners) = (params.texts("SnapshotId"), params.texts("Owner"));
    let (filters, paging) = (filters(params)?, paging(params)?);
    let restorable = params.texts("RestorableBy");
    call.finish_look()?;
    let (page, account) = call.look(|world| {
        Ok((
            world.describe_snapshots(&ids, &owners, &restorable, &filters, &paging)?,
            world.account().to_owned(),
        ))
    })?;
    call.answer("DescribeSnapshots", |xml| {
        xml.list("snapshotSet", &page.items, |xml, one| snapshot(xml, one, &account));
        next_token(xml, page.next_token.as_ref());
    })
}

/// A snapshot as `CreateSnapshot` and `DescribeSnapshots` show it.
pub(super) fn snapshot(xml: &mut Xml, snapshot: &Snapshot, account: &str) {
    xml.text("snapshotId", &snapshot.id);
    xml.text("volumeId", &snapshot.volume);
    xml.text("status", snapshot.state.as_str());
    xml.text("startTime", time(snapshot.started));
    xml.text("progress", format!("{}%", snapshot.progress));
    xml.text("ownerId", account);
    xml.text("volumeSize", snapshot.size);
    xml.text("fullSnapshotSizeInBytes", snapshot.bytes);
    xml.text("description", &snapshot.description);
    encryption(xml, snapshot.kms_key.as_ref());
    xml.text("storageTier", "standard");
    xml.tags(&snapshot.tags);
}

const ATTRIBUTES: &[&str] = &["createVolumePermission", "productCodes"];

pub(super) fn describe_snapshot_attribute(call: &Call<'_>) -> Result<String, ApiError> {
    let id = call.params.required("SnapshotId")?;
    call.params.required("Attribute")?;
    let attribute = call.params.choice("Attribute", ATTRIBUTES)?;
    call.finish_look()?;
    let permissions = call.look(|world| world.volume_permissions(id))?;
    call.answer("DescribeSnapshotAttribute", |xml| {
        xml.text("snapshotId", id);
        match attribute {
            Some("productCodes") => xml.list("productCodes", [(); 0], |_, ()| {}),
            _ => xml.list("createVolumePermission", &permissions, permission),
        }
    })
}

pub(super) fn modify_snapshot_attribute(call: &Call<'_>) -> Result<String, ApiError> {
    let params = &call.params;
    let (id, dry_run) = (params.required("SnapshotId")?, params.flag("DryRun")?);
    params.choice("Attribute", &["createVolumePermission"])?;
    let (add, remove) = changed_permissions(params, "CreateVolumePermission")?;
    call.finish()?;
    if add.is_empty() && remove.is_empty() {
        return Err(ApiError::new("MissingParameter", "CreateVolumePermission is needed."));
    }
    call.world(|world, _| world.modify_volume_permissions(id, &add, &remove, dry_run))?;
    call.done("ModifySnapshotAttribute")
}

pub(super) fn reset_snapshot_attribute(call: &Call<'_>) -> Result<String, ApiError> {
    let (id, dry_run) = (call.params.required("SnapshotId")?, call.params.flag("DryRun")?);
    call.params.required("Attribute")?;
    call.params.choice("Attribute", &["createVolumePermission"])?;
    call.finish()?;
    call.world(|world, _| world.reset_volume_permissions(id, dry_run))?;
    call.done("ResetSnapshotAttribute")
}

pub(super) fn delete_snapshot(call: &Call<'_>) -> Result<String, ApiError> {
    let (id, dry_run) = (call.params.required("SnapshotId")?, call.params.flag("DryRun")?);
    call.finish()?;
    call.world(|world, now| world.delete_snapshot(now, id, dry_run))?;
    call.done("DeleteSnapshot")
}
