//! The filters of images.

use super::{Fields, Filtered, any, at, no, none, one, yes};
use crate::{Image, ROOT_DEVICE, Tags};

impl Filtered for Image {
    const FIELDS: Fields<Self> = &[
        ("architecture", |it, _| one(&it.architecture)),
        ("block-device-mapping.delete-on-termination", |it, _| {
            it.mappings().map(|device| device.delete_on_termination.to_string()).collect()
        }),
        ("block-device-mapping.device-name", |it, _| it.mappings().map(|device| device.name).collect()),
        ("block-device-mapping.encrypted", |it, _| {
            it.mappings().map(|device| device.disk.kms_key.is_some().to_string()).collect()
        }),
        ("block-device-mapping.snapshot-id", |it, _| it.snapshots().map(ToString::to_string).collect()),
        ("block-device-mapping.volume-size", |it, _| {
            it.mappings().map(|device| device.disk.size.to_string()).collect()
        }),
        ("block-device-mapping.volume-type", |it, _| it.mappings().map(|device| device.disk.kind).collect()),
        ("boot-mode", none),
        ("creation-date", |it, _| at(it.created)),
        ("description", |it, _| one(&it.description)),
        ("ena-support", yes),
        ("free-tier-eligible", no),
        ("hypervisor", |_, _| one("xen")),
        ("image-allowed", yes),
        ("image-id", |it, _| one(&it.id)),
        ("image-type", |_, _| one("machine")),
        ("image-watermark.source-image-creation-time", none),
        ("image-watermark.source-image-id", none),
        ("image-watermark.source-image-region", none),
        ("image-watermark.watermark-creation-time", none),
        ("image-watermark.watermark-key", none),
        ("instance-type-specification.supported-instance-type", none),
        ("instance-type-specification.unsupported-instance-type", none),
        ("is-public", |it, _| one(it.is_public())),
        ("kernel-id", none),
        ("manifest-location", |it, _| one(it.location())),
        ("name", |it, _| one(&it.name)),
        // Only Amazon's own publishers have one.
        ("owner-alias", none),
        ("owner-id", |it, _| one(&it.owner)),
        // Only Windows has one.
        ("platform", none),
        ("product-code", none),
        ("product-code.type", none),
        ("public-ssm-parameter-name", none),
        ("ramdisk-id", none),
        ("root-device-name", |_, _| one(ROOT_DEVICE)),
        ("root-device-type", |_, _| one("ebs")),
        ("source-image-id", |it, _| any(it.source_image.as_ref())),
        ("source-image-region", |it, world| any(it.source_image.as_ref().map(|_| &world.region))),
        ("source-instance-id", |it, _| any(it.source_instance.as_ref())),
        ("sriov-net-support", none),
        ("state", |it, _| one(it.state.as_str())),
        ("state-reason-code", |it, _| any(it.state_reason.as_ref().map(|(code, _)| code))),
        ("state-reason-message", |it, _| any(it.state_reason.as_ref().map(|(_, message)| message))),
        ("virtualization-type", |_, _| one("hvm")),
    ];

    fn tags(&self) -> Option<&Tags> {
        Some(&self.tags)
    }
}
