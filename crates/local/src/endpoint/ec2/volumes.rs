//! Volumes: look, delete.

use ovenbird_sim::ApiError;

use super::{
    Call,
    shared::{disk, filters, next_token, paging, time},
};

pub(super) fn describe_volumes(call: &Call<'_>) -> Result<String, ApiError> {
    let (ids, filters, paging) =
        (call.params.texts("VolumeId"), filters(&call.params)?, paging(&call.params)?);
    call.finish_look()?;
    let page = call.look(|world| world.describe_volumes(&ids, &filters, &paging))?;
    call.answer("DescribeVolumes", |xml| {
        xml.list("volumeSet", &page.items, |xml, volume| {
            xml.text("volumeId", &volume.id);
            xml.text("size", volume.disk.size);
            xml.text("snapshotId", volume.snapshot.as_ref().map(ToString::to_string).unwrap_or_default());
            xml.text("availabilityZone", &volume.zone);
            xml.text("status", volume.status());
            xml.text("createTime", time(volume.created));
            xml.list("attachmentSet", &volume.instance, |xml, instance| {
                xml.text("volumeId", &volume.id);
                xml.text("instanceId", instance);
                xml.text("device", &volume.device);
                xml.text("status", "attached");
                xml.text("attachTime", time(volume.created));
                xml.text("deleteOnTermination", volume.delete_on_termination);
            });
            xml.tags(&volume.tags);
            disk(xml, &volume.disk);
            xml.text("multiAttachEnabled", false);
        });
        next_token(xml, page.next_token.as_ref());
    })
}

pub(super) fn delete_volume(call: &Call<'_>) -> Result<String, ApiError> {
    let (id, dry_run) = (call.params.required("VolumeId")?, call.params.flag("DryRun")?);
    call.finish()?;
    call.world(|world, _| world.delete_volume(id, dry_run))?;
    call.done("DeleteVolume")
}
