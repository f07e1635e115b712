//! Images: make, look, deregister.

use ovenbird_world::{ApiError, CreateImage, DescribeImages, Image, ROOT_DEVICE, RegisterImage};

use super::{
    Call,
    shared::{disk, filters, next_token, paging, tag_specifications, time},
};
use crate::front::{form::Params, xml_out::Xml};

pub(super) fn create_image(call: &Call<'_>) -> Result<String, ApiError> {
    let params = &call.params;
    let request = CreateImage {
        instance: params.required("InstanceId")?.to_owned(),
        name: params.required("Name")?.to_owned(),
        description: params.text("Description").map(str::to_owned),
        no_reboot: params.flag("NoReboot")?,
        tags: tag_specifications(params)?,
        dry_run: params.flag("DryRun")?,
    };
    call.finish()?;
    let image = call.world(|world, now| world.create_image(now, &request))?;
    call.answer("CreateImage", |xml| xml.text("imageId", image))
}

pub(super) fn register_image(call: &Call<'_>) -> Result<String, ApiError> {
    let params = &call.params;
    // They have one value each for a machine here.
    for name in ["VirtualizationType", "EnaSupport", "BootMode", "ImdsSupport", "SriovNetSupport"] {
        let _ = params.text(name);
    }
    let root = params.text("RootDeviceName").unwrap_or(ROOT_DEVICE);
    let request = RegisterImage {
        name: params.required("Name")?.to_owned(),
        description: params.text("Description").map(str::to_owned),
        snapshot: root_snapshot(params, root)?,
        architecture: params.text("Architecture").map(str::to_owned),
        tags: tag_specifications(params)?,
        dry_run: params.flag("DryRun")?,
    };
    call.finish()?;
    let image = call.world(|world, now| world.register_image(now, &request))?;
    call.answer("RegisterImage", |xml| xml.text("imageId", image))
}

fn root_snapshot(params: &Params<'_>, root: &str) -> Result<String, ApiError> {
    let mut snapshot = None;
    for device in params.list("BlockDeviceMapping") {
        let (name, ebs) = (device.required("DeviceName")?, device.part("Ebs"));
        for ignored in ["VolumeType", "VolumeSize", "DeleteOnTermination", "Iops", "Throughput", "Encrypted"]
        {
            let _ = ebs.text(ignored);
        }
        if name != root {
            let message = format!("A local machine has one disk, {root}; {name} can't be had.");
            return Err(ApiError::new("InvalidBlockDeviceMapping", message));
        }
        snapshot = ebs.text("SnapshotId").map(str::to_owned);
    }
    let missing = || ApiError::new("MissingParameter", format!("The root device {root} needs a snapshot."));
    snapshot.ok_or_else(missing)
}

pub(super) fn describe_images(call: &Call<'_>) -> Result<String, ApiError> {
    let params = &call.params;
    let request = DescribeImages {
        ids: params.texts("ImageId"),
        owners: params.texts("Owner"),
        filters: filters(params)?,
        paging: paging(params)?,
    };
    // Here, who may see an image may start it, and none is deprecated or disabled.
    let _ = params.texts("ExecutableBy");
    let _ = (params.flag("IncludeDeprecated")?, params.flag("IncludeDisabled")?);
    call.finish_look()?;
    let page = call.look(|world| world.describe_images(&request))?;
    call.answer("DescribeImages", |xml| {
        xml.list("imagesSet", &page.items, image);
        next_token(xml, page.next_token.as_ref());
    })
}

fn image(xml: &mut Xml, image: &Image) {
    xml.text("imageId", &image.id);
    xml.text("imageLocation", format!("{}/{}", image.owner, image.name));
    xml.text("imageState", image.state.as_str());
    xml.text("imageOwnerId", &image.owner);
    xml.text("creationDate", time(image.created));
    xml.text("isPublic", image.public);
    xml.list("productCodes", [(); 0], |_, ()| {});
    xml.text("architecture", &image.architecture);
    xml.text("imageType", "machine");
    xml.text("name", &image.name);
    xml.text("description", &image.description);
    xml.text("rootDeviceType", "ebs");
    xml.text("rootDeviceName", ROOT_DEVICE);
    xml.list("blockDeviceMapping", [()], |xml, ()| {
        xml.text("deviceName", ROOT_DEVICE);
        xml.part("ebs", |xml| {
            xml.optional("snapshotId", image.snapshot.as_ref());
            xml.text("volumeSize", image.disk.size);
            xml.text("deleteOnTermination", true);
            disk(xml, &image.disk);
        });
    });
    xml.text("virtualizationType", "hvm");
    xml.tags(&image.tags);
    if let Some((code, message)) = &image.state_reason {
        xml.part("stateReason", |xml| {
            xml.text("code", code);
            xml.text("message", message);
        });
    }
    xml.text("hypervisor", "xen");
    xml.text("enaSupport", true);
    xml.text("platformDetails", "Linux/UNIX");
    xml.text("usageOperation", "RunInstances");
    xml.optional("sourceInstanceId", image.source_instance.as_ref());
}

pub(super) fn deregister_image(call: &Call<'_>) -> Result<String, ApiError> {
    let (id, dry_run) = (call.params.required("ImageId")?, call.params.flag("DryRun")?);
    let delete_snapshots = call.params.flag("DeleteAssociatedSnapshots")?;
    call.finish()?;
    call.world(|world, _| world.deregister_image(id, delete_snapshots, dry_run))?;
    call.done("DeregisterImage")
}
