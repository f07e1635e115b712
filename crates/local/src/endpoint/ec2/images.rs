//! Images: make, look, deregister.

use ovenbird_sim::{ApiError, CreateImage, DescribeImages, Image, ROOT_DEVICE, RegisterImage};

use super::{
    Call,
    shared::{disk, filters, new_volume, next_token, paging, tag_specifications, time},
};
use crate::{
    deploy::REGION,
    endpoint::{query_form::Params, xml_writer::Xml},
};

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
    let _ = params.choice("VirtualizationType", &["hvm"])?;
    let _ = params.parsed::<bool>("EnaSupport")?;
    let _ = params.choice("BootMode", &["legacy-bios", "uefi", "uefi-preferred"])?;
    let _ = params.choice("SriovNetSupport", &["simple"])?;
    let mut request = RegisterImage {
        name: params.required("Name")?.to_owned(),
        description: params.text("Description").map(str::to_owned),
        architecture: params.choice("Architecture", &["x86_64", "arm64"])?.map(str::to_owned),
        imdsv2: params.choice("ImdsSupport", &["v2.0"])?.is_some(),
        tags: tag_specifications(params)?,
        dry_run: params.flag("DryRun")?,
        ..RegisterImage::default()
    };
    read_mappings(params, &mut request)?;
    call.finish()?;
    let image = call.world(|world, now| world.register_image(now, &request))?;
    call.answer("RegisterImage", |xml| xml.text("imageId", image))
}

/// Reads the mappings into the request: the root's, whose disk is its snapshot's, and the others'.
fn read_mappings(params: &Params<'_>, request: &mut RegisterImage) -> Result<(), ApiError> {
    let root = params.text("RootDeviceName").unwrap_or(ROOT_DEVICE);
    for device in params.list("BlockDeviceMapping") {
        let (name, ebs) = (device.required("DeviceName")?, device.part("Ebs"));
        let (snapshot, volume) = (ebs.text("SnapshotId").map(str::to_owned), new_volume(&ebs)?);
        if volume.kms_key.is_some() {
            let message = "KmsKeyId is for launches alone: an image's volumes have their snapshots' keys.";
            return Err(ApiError::new("InvalidParameter", message));
        }
        if name == root {
            request.snapshot = snapshot.unwrap_or_default();
            request.delete_on_termination = volume.delete_on_termination;
        } else if request.devices.insert(name.to_owned(), (snapshot, volume)).is_some() {
            let message = format!("The device '{name}' is used in more than one block-device mapping");
            return Err(ApiError::new("InvalidBlockDeviceMapping", message));
        }
    }
    if request.snapshot.is_empty() {
        let message = format!("The root device {root} needs a snapshot.");
        return Err(ApiError::new("MissingParameter", message));
    }
    Ok(())
}

pub(super) fn describe_images(call: &Call<'_>) -> Result<String, ApiError> {
    let params = &call.params;
    let request = DescribeImages {
        ids: params.texts("ImageId"),
        owners: params.texts("Owner"),
        executable_by: params.texts("ExecutableBy"),
        filters: filters(params)?,
        include_disabled: params.flag("IncludeDisabled")?,
        paging: paging(params)?,
    };
    // All deprecated ones here are the caller's own, and of those they are shown, too.
    let _ = params.flag("IncludeDeprecated")?;
    call.finish_look()?;
    let page = call.look(|world| world.describe_images(&request))?;
    call.answer("DescribeImages", |xml| {
        xml.list("imagesSet", &page.items, image);
        next_token(xml, page.next_token.as_ref());
    })
}

fn image(xml: &mut Xml, image: &Image) {
    xml.text("imageId", &image.id);
    xml.text("imageLocation", image.location());
    xml.text("imageState", image.state.as_str());
    xml.text("imageOwnerId", &image.owner);
    xml.text("creationDate", time(image.created));
    xml.text("isPublic", image.is_public());
    xml.list("productCodes", [(); 0], |_, ()| {});
    xml.text("architecture", &image.architecture);
    xml.text("imageType", "machine");
    xml.text("name", &image.name);
    xml.text("description", &image.description);
    xml.text("rootDeviceType", "ebs");
    xml.text("rootDeviceName", ROOT_DEVICE);
    mappings(xml, image);
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
    if let Some(source) = &image.source_image {
        xml.text("sourceImageId", source);
        xml.text("sourceImageRegion", REGION);
    }
    xml.optional("deprecationTime", image.standing.deprecated.map(time).as_ref());
    xml.text("deregistrationProtection", image.standing.protection());
    xml.optional("imdsSupport", image.standing.imds_support());
}

/// The devices of an image's instances.
pub(super) fn mappings(xml: &mut Xml, image: &Image) {
    xml.list("blockDeviceMapping", image.mappings(), |xml, device| {
        xml.text("deviceName", &device.name);
        xml.part("ebs", |xml| {
            xml.optional("snapshotId", device.snapshot.as_ref());
            xml.text("volumeSize", device.disk.size);
            xml.text("deleteOnTermination", device.delete_on_termination);
            disk(xml, &device.disk);
        });
    });
}

pub(super) fn deregister_image(call: &Call<'_>) -> Result<String, ApiError> {
    let (id, dry_run) = (call.params.required("ImageId")?, call.params.flag("DryRun")?);
    let delete_snapshots = call.params.flag("DeleteAssociatedSnapshots")?;
    call.finish()?;
    call.world(|world, now| world.deregister_image(now, id, delete_snapshots, dry_run))?;
    call.done("DeregisterImage")
}
