//! A volume as EC2 describes it.

use aws_sdk_ec2::types;
use ovenbird_core::{
    Result,
    domain::id::{InstanceId, VolumeId},
    ports::{Volume, VolumeState},
};

use crate::{errors::unreadable, instances::tags};

/// The volume in domain words.
pub(crate) fn volume(volume: &types::Volume) -> Result<Volume> {
    let bad = |what: String| unreadable("ec2:DescribeVolumes", volume.volume_id().unwrap_or("?"), what);
    let state = match volume.state() {
        Some(types::VolumeState::Creating) => VolumeState::Creating,
        Some(types::VolumeState::Available) => VolumeState::Available,
        Some(types::VolumeState::InUse) => VolumeState::InUse,
        Some(types::VolumeState::Deleting | types::VolumeState::Deleted) => VolumeState::Deleting,
        Some(types::VolumeState::Error) => VolumeState::Error,
        other => return Err(bad(format!("state {other:?}"))),
    };
    let attached = volume.attachments().iter().find_map(types::VolumeAttachment::instance_id);
    Ok(Volume {
        id: VolumeId::parse(volume.volume_id().unwrap_or_default())
            .map_err(|error| bad(error.to_string()))?,
        state,
        attached: attached.map(InstanceId::parse).transpose().map_err(|error| bad(error.to_string()))?,
        tags: tags(volume.tags()),
    })
}
