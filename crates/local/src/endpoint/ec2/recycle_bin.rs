//! The Recycle Bin: look, and take out of it. Its rules are a service of their own.

use ovenbird_sim::{ApiError, Binned, Image, Snapshot};

use super::{
    Call,
    shared::{next_token, paging, time},
};
use crate::endpoint::xml_writer::Xml;

pub(super) fn list_images_in_recycle_bin(call: &Call<'_>) -> Result<String, ApiError> {
    let (ids, paging) = (call.params.texts("ImageId"), paging(&call.params)?);
    call.finish_look()?;
    let page = call.look(|world| world.list_images_in_recycle_bin(&ids, &paging))?;
    call.answer("ListImagesInRecycleBin", |xml| {
        xml.list("imageSet", &page.items, |xml, one: &Binned<Image>| {
            xml.text("imageId", &one.thing.id);
            xml.text("name", &one.thing.name);
            xml.text("description", &one.thing.description);
            times(xml, one);
        });
        next_token(xml, page.next_token.as_ref());
    })
}

pub(super) fn list_snapshots_in_recycle_bin(call: &Call<'_>) -> Result<String, ApiError> {
    let (ids, paging) = (call.params.texts("SnapshotId"), paging(&call.params)?);
    call.finish_look()?;
    let page = call.look(|world| world.list_snapshots_in_recycle_bin(&ids, &paging))?;
    call.answer("ListSnapshotsInRecycleBin", |xml| {
        xml.list("snapshotSet", &page.items, |xml, one: &Binned<Snapshot>| {
            xml.text("snapshotId", &one.thing.id);
            xml.text("volumeId", &one.thing.volume);
            xml.text("description", &one.thing.description);
            times(xml, one);
        });
        next_token(xml, page.next_token.as_ref());
    })
}

fn times<T>(xml: &mut Xml, one: &Binned<T>) {
    xml.text("recycleBinEnterTime", time(one.entered));
    xml.text("recycleBinExitTime", time(one.leaves));
}

pub(super) fn restore_image_from_recycle_bin(call: &Call<'_>) -> Result<String, ApiError> {
    let (id, dry_run) = (call.params.required("ImageId")?, call.params.flag("DryRun")?);
    call.finish()?;
    call.world(|world, _| world.restore_image_from_recycle_bin(id, dry_run))?;
    call.done("RestoreImageFromRecycleBin")
}

pub(super) fn restore_snapshot_from_recycle_bin(call: &Call<'_>) -> Result<String, ApiError> {
    let (id, dry_run) = (call.params.required("SnapshotId")?, call.params.flag("DryRun")?);
    call.finish()?;
    let (snapshot, account) = call.world(|world, now| {
        let snapshot = world.restore_snapshot_from_recycle_bin(now, id, dry_run)?;
        Ok((snapshot, world.account().to_owned()))
    })?;
    call.answer("RestoreSnapshotFromRecycleBin", |xml| {
        xml.text("snapshotId", &snapshot.id);
        xml.text("volumeId", &snapshot.volume);
        xml.text("status", snapshot.state.as_str());
        xml.text("startTime", time(snapshot.started));
        xml.text("progress", format!("{}%", snapshot.progress));
        xml.text("ownerId", account);
        xml.text("volumeSize", snapshot.size);
        xml.text("description", &snapshot.description);
        xml.text("encrypted", snapshot.kms_key.is_some());
    })
}
