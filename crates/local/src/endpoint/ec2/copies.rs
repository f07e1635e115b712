//! Copies of images and snapshots, and snapshots of volumes.

use ovenbird_sim::{ApiError, CopyImage, CopySnapshot, CreateSnapshot, CreateSnapshots};

use super::{
    Call,
    shared::{tag_specifications, time},
    snapshots::snapshot,
};
use crate::endpoint::query_form::Params;

pub(super) fn copy_image(call: &Call<'_>) -> Result<String, ApiError> {
    let params = &call.params;
    // A copy here is as fast as it is.
    let _ = params.parsed::<u32>("SnapshotCopyCompletionDurationMinutes")?;
    let request = CopyImage {
        name: params.required("Name")?.to_owned(),
        description: params.text("Description").map(str::to_owned),
        source: params.required("SourceImageId")?.to_owned(),
        source_region: params.required("SourceRegion")?.to_owned(),
        encryption: encryption(params)?,
        copies_tags: params.flag("CopyImageTags")?,
        tags: tag_specifications(params)?,
        client_token: params.text("ClientToken").map(str::to_owned),
        dry_run: params.flag("DryRun")?,
    };
    call.finish()?;
    let image = call.world(|world, now| world.copy_image(now, &request))?;
    call.answer("CopyImage", |xml| xml.text("imageId", image))
}

pub(super) fn copy_snapshot(call: &Call<'_>) -> Result<String, ApiError> {
    let params = &call.params;
    let _ = params.parsed::<u32>("CompletionDurationMinutes")?;
    // The SDKs sign a second request into the first one; here both are one account's.
    let _ = params.text("PresignedUrl");
    let region = params.text("DestinationRegion");
    if let Some(other) = region.filter(|region| call.look(|world| world.region() != *region)) {
        return Err(ApiError::value(other, "DestinationRegion", "The local cloud has one Region."));
    }
    let request = CopySnapshot {
        description: params.text("Description").map(str::to_owned),
        source: params.required("SourceSnapshotId")?.to_owned(),
        source_region: params.required("SourceRegion")?.to_owned(),
        encryption: encryption(params)?,
        tags: tag_specifications(params)?,
        dry_run: params.flag("DryRun")?,
    };
    call.finish()?;
    let copy = call.world(|world, now| world.copy_snapshot(now, &request))?;
    call.answer("CopySnapshot", |xml| {
        xml.text("snapshotId", copy);
        xml.tags(request.tags.get("snapshot").into_iter().flatten());
    })
}

pub(super) fn create_snapshot(call: &Call<'_>) -> Result<String, ApiError> {
    let params = &call.params;
    let _ = params.choice("Location", &["regional"])?;
    let request = CreateSnapshot {
        volume: params.required("VolumeId")?.to_owned(),
        description: params.text("Description").map(str::to_owned),
        tags: tag_specifications(params)?,
        dry_run: params.flag("DryRun")?,
    };
    call.finish()?;
    let made = call.world(|world, now| world.create_snapshot(now, &request))?;
    let account = call.look(|world| world.account().to_owned());
    call.answer("CreateSnapshot", |xml| snapshot(xml, &made, &account))
}

pub(super) fn create_snapshots(call: &Call<'_>) -> Result<String, ApiError> {
    let params = &call.params;
    let of = params.part("InstanceSpecification");
    let _ = params.choice("Location", &["regional"])?;
    let request = CreateSnapshots {
        instance: of.required("InstanceId")?.to_owned(),
        without_root: of.flag("ExcludeBootVolume")?,
        without: of.texts("ExcludeDataVolumeId"),
        description: params.text("Description").map(str::to_owned),
        copies_tags: params.choice("CopyTagsFromSource", &["volume"])?.is_some(),
        tags: tag_specifications(params)?,
        dry_run: params.flag("DryRun")?,
    };
    call.finish()?;
    let made = call.world(|world, now| world.create_snapshots(now, &request))?;
    let account = call.look(|world| world.account().to_owned());
    call.answer("CreateSnapshots", |xml| {
        xml.list("snapshotSet", &made, |xml, one| {
            xml.text("snapshotId", &one.id);
            xml.text("volumeId", &one.volume);
            xml.text("state", one.state.as_str());
            xml.text("startTime", time(one.started));
            xml.text("progress", format!("{}%", one.progress));
            xml.text("ownerId", &account);
            xml.text("volumeSize", one.size);
            xml.text("description", &one.description);
            xml.text("encrypted", one.kms_key.is_some());
            xml.tags(&one.tags);
        });
    })
}

fn encryption(params: &Params<'_>) -> Result<(bool, Option<String>), ApiError> {
    Ok((params.flag("Encrypted")?, params.text("KmsKeyId").map(str::to_owned)))
}
