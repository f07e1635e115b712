//! Volumes: every instance has one.

use ovenbird_world::{ApiError, ROOT_DEVICE};

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
            xml.text("status", "in-use");
            xml.text("createTime", time(volume.created));
            xml.list("attachmentSet", [()], |xml, ()| {
                xml.text("volumeId", &volume.id);
                xml.text("instanceId", &volume.instance);
                xml.text("device", ROOT_DEVICE);
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
