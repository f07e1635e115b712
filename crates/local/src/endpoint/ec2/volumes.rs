//! Volumes: make, attach, detach, look, delete.

use ovenbird_sim::{ApiError, CreateVolume, NewVolume, Volume, World, zone_id};

use super::{
    Call,
    shared::{disk, filters, next_token, paging, tag_specifications, time},
};
use crate::endpoint::xml_writer::Xml;

pub(super) fn describe_volumes(call: &Call<'_>) -> Result<String, ApiError> {
    let (ids, filters, paging) =
        (call.params.texts("VolumeId"), filters(&call.params)?, paging(&call.params)?);
    call.finish_look()?;
    let page = call.look(|world| world.describe_volumes(&ids, &filters, &paging))?;
    call.answer("DescribeVolumes", |xml| {
        xml.list("volumeSet", &page.items, volume);
        next_token(xml, page.next_token.as_ref());
    })
}

pub(super) fn delete_volume(call: &Call<'_>) -> Result<String, ApiError> {
    let (id, dry_run) = (call.params.required("VolumeId")?, call.params.flag("DryRun")?);
    call.finish()?;
    call.world(|world, _| world.delete_volume(id, dry_run))?;
    call.done("DeleteVolume")
}

/// A volume as `CreateVolume` and `DescribeVolumes` show it.
fn volume(xml: &mut Xml, volume: &Volume) {
    xml.text("volumeId", &volume.id);
    xml.text("size", volume.disk.size);
    xml.text("snapshotId", volume.snapshot.as_ref().map(ToString::to_string).unwrap_or_default());
    xml.text("availabilityZone", &volume.zone);
    xml.text("availabilityZoneId", zone_id(&volume.zone));
    xml.text("status", volume.status());
    xml.text("createTime", time(volume.created));
    let attached = volume.instance.as_ref().map(|_| volume);
    xml.list("attachmentSet", attached, |xml, volume| attachment(xml, volume, "attached"));
    xml.tags(&volume.tags);
    disk(xml, &volume.disk);
    xml.text("multiAttachEnabled", false);
    xml.text("fastRestored", false);
}

fn attachment(xml: &mut Xml, volume: &Volume, status: &str) {
    xml.text("volumeId", &volume.id);
    xml.optional("instanceId", volume.instance.as_ref());
    xml.text("device", &volume.device);
    xml.text("status", status);
    xml.text("attachTime", time(volume.attached()));
    xml.text("deleteOnTermination", volume.delete_on_termination);
}

pub(super) fn create_volume(call: &Call<'_>) -> Result<String, ApiError> {
    let params = &call.params;
    if params.flag("MultiAttachEnabled")? {
        let problem = "A volume here is one instance's at a time.";
        return Err(ApiError::value("true", "MultiAttachEnabled", problem));
    }
    // A local disk is as fast as its host's.
    let _ = (params.parsed::<u32>("Throughput")?, params.parsed::<u32>("VolumeInitializationRate")?);
    let zone = match (params.text("AvailabilityZone"), params.text("AvailabilityZoneId")) {
        (Some(zone), None) => zone.to_owned(),
        (None, Some(id)) => {
            let zones = call.look(World::describe_availability_zones);
            let unknown =
                || ApiError::new("InvalidZone.NotFound", format!("The zone '{id}' does not exist."));
            zones.into_iter().find(|zone| zone_id(zone) == id).ok_or_else(unknown)?
        }
        (None, None) => params.required("AvailabilityZone")?.to_owned(),
        (Some(_), Some(_)) => {
            let message = "AvailabilityZone can't be used together with AvailabilityZoneId.";
            return Err(ApiError::new("InvalidParameterCombination", message));
        }
    };
    let request = CreateVolume {
        zone,
        snapshot: params.text("SnapshotId").map(str::to_owned),
        volume: NewVolume {
            size: params.parsed("Size")?,
            kind: params.text("VolumeType").map(str::to_owned),
            iops: params.parsed("Iops")?,
            encrypted: params.parsed("Encrypted")?,
            kms_key: params.text("KmsKeyId").map(str::to_owned),
            delete_on_termination: None,
        },
        tags: tag_specifications(params)?,
        client_token: params.text("ClientToken").map(str::to_owned),
        dry_run: params.flag("DryRun")?,
    };
    call.finish()?;
    let made = call.world(|world, now| world.create_volume(now, &request))?;
    call.answer("CreateVolume", |xml| volume(xml, &made))
}

pub(super) fn attach_volume(call: &Call<'_>) -> Result<String, ApiError> {
    let params = &call.params;
    let (volume, instance) = (params.required("VolumeId")?, params.required("InstanceId")?);
    let (device, dry_run) = (params.required("Device")?, params.flag("DryRun")?);
    call.finish()?;
    let attached = call.world(|world, now| world.attach_volume(now, (volume, instance, device), dry_run))?;
    call.answer("AttachVolume", |xml| attachment(xml, &attached, "attached"))
}

pub(super) fn detach_volume(call: &Call<'_>) -> Result<String, ApiError> {
    let params = &call.params;
    let (volume, instance) = (params.required("VolumeId")?, params.text("InstanceId"));
    let (device, dry_run) = (params.text("Device"), params.flag("DryRun")?);
    // No machine holds it.
    let _ = params.flag("Force")?;
    call.finish()?;
    let was = call.world(|world, _| world.detach_volume(volume, instance, device, dry_run))?;
    call.answer("DetachVolume", |xml| attachment(xml, &was, "detached"))
}
