//! Volumes that no launch made: made alone, attached, detached.
//!
//! They are there on record alone, as every volume but the root: no machine sees them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use ovenbird_core::domain::id::{InstanceId, VolumeId};

use crate::{
    ApiError, Instance, NewVolume, ROOT_DEVICE, Result, SnapshotState, Tags, Volume, World,
    images::check_tags, refuse_dry_run,
};

/// The parameters of `CreateVolume`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreateVolume {
    /// The zone that it is to be in.
    pub zone: String,
    /// The snapshot that it is made from.
    pub snapshot: Option<String>,
    /// Its size, type and key.
    pub volume: NewVolume,
    /// Tags by kind of resource: `volume`.
    pub tags: BTreeMap<String, Tags>,
    /// The token that makes a repetition the same volume.
    pub client_token: Option<String>,
    /// Only ask whether it would be done.
    pub dry_run: bool,
}

impl World {
    /// Makes a volume that is attached to nothing.
    pub fn create_volume(&mut self, now: Timestamp, request: &CreateVolume) -> Result<Volume> {
        let text = format!("{:?}", CreateVolume { dry_run: false, ..request.clone() });
        if let Some((known, id)) =
            request.client_token.as_ref().and_then(|token| self.volume_tokens.get(token))
            && let Some(volume) = self.volumes.get(id)
        {
            return if *known == text {
                Ok(volume.clone())
            } else {
                let message = "The client token was already used with other parameters.";
                Err(ApiError::new("IdempotentParameterMismatch", message))
            };
        }
        check_tags(&request.tags, &["volume"])?;
        if !self.describe_availability_zones().contains(&request.zone) {
            let message = format!("The zone '{}' does not exist.", request.zone);
            return Err(ApiError::new("InvalidZone.NotFound", message));
        }
        let snapshot = request.snapshot.as_deref().map(|id| self.own_snapshot(id)).transpose()?;
        if let Some(snapshot) = snapshot.filter(|one| one.state != SnapshotState::Completed) {
            let message = format!("Snapshot {} is {}.", snapshot.id, snapshot.state.as_str());
            return Err(ApiError::new("IncorrectState", message));
        }
        let size = request.volume.size.or(snapshot.map(|one| one.size));
        if let Some(snapshot) = snapshot.filter(|one| size.is_some_and(|size| size < one.size)) {
            let problem = format!("A volume of {} has {} GiB or more.", snapshot.id, snapshot.size);
            return Err(ApiError::value(&size.unwrap_or_default().to_string(), "size", &problem));
        }
        // Without a word about it, EC2 makes a gp2 volume.
        let kind = Some(request.volume.kind.clone().unwrap_or_else(|| "gp2".into()));
        let device = self.new_device("/dev/sdf", &NewVolume { size, kind, ..request.volume.clone() })?;
        let mut disk = device.disk;
        disk.kms_key = disk.kms_key.or(snapshot.and_then(|one| one.kms_key.clone()));
        let snapshot = snapshot.map(|one| one.id.clone());
        refuse_dry_run(request.dry_run)?;
        let volume = Volume {
            id: self.fresh(VolumeId::parse, "vol"),
            device: String::new(),
            instance: None,
            snapshot,
            disk,
            zone: request.zone.clone(),
            created: now,
            attached_at: None,
            delete_on_termination: false,
            tags: request.tags.get("volume").cloned().unwrap_or_default(),
        };
        self.volumes.insert(volume.id.clone(), volume.clone());
        if let Some(token) = &request.client_token {
            self.volume_tokens.insert(token.clone(), (text, volume.id.clone()));
        }
        Ok(volume)
    }

    /// Attaches a volume to an instance of its zone.
    pub fn attach_volume(
        &mut self,
        now: Timestamp,
        (id, instance, device): (&str, &str, &str),
        dry_run: bool,
    ) -> Result<Volume> {
        let volume = self.volume(id)?.clone();
        let instance = self.instance(instance)?.clone();
        if let Some(attached) = &volume.instance {
            let message = format!("{id} is already attached to {attached}");
            return Err(ApiError::new("VolumeInUse", message));
        }
        can_change_volumes(&instance)?;
        if instance.zone != volume.zone {
            let message = format!(
                "The volume '{id}' is not in the same availability zone as instance '{}'",
                instance.id
            );
            return Err(ApiError::new("InvalidVolume.ZoneMismatch", message));
        }
        self.new_device(device, &NewVolume { size: Some(1), ..NewVolume::default() })?;
        if self.volumes_of(&instance.id).iter().any(|one| one.device == device) {
            let problem = format!("Attachment point {device} is already in use");
            return Err(ApiError::value(device, "unixDevice", &problem));
        }
        refuse_dry_run(dry_run)?;
        let attached = Volume {
            device: device.to_owned(),
            instance: Some(instance.id),
            attached_at: Some(now),
            delete_on_termination: false,
            ..volume
        };
        self.volumes.insert(attached.id.clone(), attached.clone());
        Ok(attached)
    }

    /// Detaches a volume; gives it as it was.
    pub fn detach_volume(
        &mut self,
        id: &str,
        instance: Option<&str>,
        device: Option<&str>,
        dry_run: bool,
    ) -> Result<Volume> {
        let volume = self.volume(id)?.clone();
        let unattached =
            || ApiError::new("IncorrectState", format!("Volume '{id}' is in the 'available' state."));
        let attached = volume.instance.clone().ok_or_else(unattached)?;
        let other = instance.is_some_and(|one| one != attached.as_str());
        if other || device.is_some_and(|one| one != volume.device) {
            let message = format!(
                "The volume '{id}' is not attached to instance '{attached}' as device '{}'",
                volume.device
            );
            return Err(ApiError::new("InvalidAttachment.NotFound", message));
        }
        // A machine here is its root disk: it can't be without it, and no other can have it.
        if volume.device == ROOT_DEVICE {
            let message = format!("Unable to detach root volume '{id}' from instance '{attached}'");
            return Err(ApiError::new("OperationNotPermitted", message));
        }
        refuse_dry_run(dry_run)?;
        if let Some(own) = self.volumes.get_mut(&volume.id) {
            (own.instance, own.device, own.attached_at) = (None, String::new(), None);
        }
        Ok(volume)
    }

    /// Whether a device's volume goes with its instance.
    pub(crate) fn set_delete_on_termination(
        &mut self,
        instance: &InstanceId,
        device: &str,
        goes: bool,
    ) -> Result<()> {
        let meant = |one: &Volume| one.instance.as_ref() == Some(instance) && one.device == device;
        let volume = self.volumes.find_mut(meant).ok_or_else(|| no_device(instance, device))?;
        volume.delete_on_termination = goes;
        Ok(())
    }
}

pub(crate) fn no_device(instance: &InstanceId, device: &str) -> ApiError {
    let message = format!("No device is currently mapped at {device} of {instance}");
    ApiError::new("InvalidInstanceAttributeValue", message)
}

fn can_change_volumes(instance: &Instance) -> Result<()> {
    if instance.state.is_settled() {
        return Ok(());
    }
    let message = format!("Instance '{}' is not 'running'.", instance.id);
    Err(ApiError::new("IncorrectState", message))
}
