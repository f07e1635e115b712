//! Volumes: what a launch may ask of them, which there are, and what becomes of them.

use jiff::Timestamp;
use ovenbird_core::domain::id::{InstanceId, SnapshotId, VolumeId};
use serde::{Deserialize, Serialize};

use crate::{
    ApiError, Filter, Image, Page, Paging, Result, RunInstances, Tags, World, filters::Filters,
    refuse_dry_run,
};

/// The device that every root volume is.
pub const ROOT_DEVICE: &str = "/dev/xvda";

/// What a volume is, and an image of it hands on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Its size in GiB.
    pub size: u32,
    /// Its type.
    #[serde(default = "general_purpose")]
    pub kind: String,
    /// Its operations per second, where they were asked for.
    #[serde(default)]
    pub iops: Option<u32>,
    /// The ARN of the key that it is encrypted with; none for one that isn't.
    #[serde(default)]
    pub kms_key: Option<String>,
}

fn general_purpose() -> String {
    "gp3".to_owned()
}

impl Disk {
    /// A plain one.
    pub fn new(size: u32) -> Self {
        Self { size, kind: general_purpose(), iops: None, kms_key: None }
    }
}

/// A volume that a launch makes: one of an image's mappings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its name: `/dev/xvda`.
    pub name: String,
    /// The snapshot that the volume is made from; none for an empty one, and for a base, whose snapshot isn't shared.
    #[serde(default)]
    pub snapshot: Option<SnapshotId>,
    /// What the volume is.
    #[serde(flatten)]
    pub disk: Disk,
    /// Whether the volume goes with its instance.
    pub delete_on_termination: bool,
}

impl Device {
    /// An empty second disk that outlives its instance, as EC2 has it where nothing else is said.
    pub fn empty(name: &str, size: u32) -> Self {
        Self { name: name.to_owned(), snapshot: None, disk: Disk::new(size), delete_on_termination: false }
    }
}

/// A volume. The root disk is a machine's own; any other is there on record alone, and no machine sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// The id that EC2 gave it: `vol-…`.
    pub id: VolumeId,
    /// The device that it is of its instance.
    #[serde(default = "root_device")]
    pub device: String,
    /// The instance it is attached to; none once that is gone.
    pub instance: Option<InstanceId>,
    /// The snapshot it was made from.
    pub snapshot: Option<SnapshotId>,
    /// Its size, kind and speed.
    #[serde(flatten)]
    pub disk: Disk,
    /// The availability zone that it is in.
    pub zone: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it was attached; none where that was when it was made, or it is attached to nothing.
    #[serde(default)]
    pub attached_at: Option<Timestamp>,
    /// Whether it goes with its instance.
    pub delete_on_termination: bool,
    /// Its tags: at most 50.
    pub tags: Tags,
}

fn root_device() -> String {
    ROOT_DEVICE.to_owned()
}

impl Volume {
    /// When it was attached, if it is.
    pub fn attached(&self) -> Timestamp {
        self.attached_at.unwrap_or(self.created)
    }

    /// EC2's word for its state.
    pub fn status(&self) -> &'static str {
        if self.instance.is_some() { "in-use" } else { "available" }
    }
}

/// What a launch asks of a volume; what it doesn't say is as the image has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewVolume {
    /// The size in GiB.
    pub size: Option<u32>,
    /// The type.
    pub kind: Option<String>,
    /// Operations per second.
    pub iops: Option<u32>,
    /// Whether it is encrypted.
    pub encrypted: Option<bool>,
    /// With which key: an id, an alias or an ARN.
    pub kms_key: Option<String>,
    /// Whether it goes with the instance.
    pub delete_on_termination: Option<bool>,
}

/// What EC2 allows of a type of volume.
struct Kind {
    name: &'static str,
    sizes: std::ops::RangeInclusive<u32>,
    iops: Iops,
}

/// What EC2 allows of a type's operations per second.
enum Iops {
    /// They can't be chosen.
    None,
    /// They may be chosen in this range, so many for each GiB at most.
    May(std::ops::RangeInclusive<u32>, u32),
    /// They must be.
    Must(std::ops::RangeInclusive<u32>, u32),
}

/// The types that can be a root volume.
const KINDS: &[Kind] = &[
    Kind { name: "standard", sizes: 1..=1_024, iops: Iops::None },
    Kind { name: "gp2", sizes: 1..=16_384, iops: Iops::None },
    Kind { name: "gp3", sizes: 1..=65_536, iops: Iops::May(3_000..=80_000, 500) },
    Kind { name: "io1", sizes: 4..=16_384, iops: Iops::Must(100..=64_000, 50) },
    Kind { name: "io2", sizes: 4..=65_536, iops: Iops::Must(100..=256_000, 1_000) },
];

impl World {
    /// The volumes that a launch from an image makes, the root first, or why it can't.
    pub(crate) fn devices(&self, image: &Image, request: &RunInstances) -> Result<Vec<Device>> {
        let unasked = NewVolume::default();
        let mut made = Vec::new();
        for device in image.mappings() {
            let asked = match device.name.as_str() {
                ROOT_DEVICE => &request.volume,
                name => request.devices.get(name).unwrap_or(&unasked),
            };
            made.push(self.device(device, asked)?);
        }
        for (name, asked) in &request.devices {
            if !made.iter().any(|device| device.name == *name) {
                made.push(self.new_device(name, asked)?);
            }
        }
        Ok(made)
    }

    /// A disk that comes of no image: an empty one.
    pub(crate) fn new_device(&self, name: &str, asked: &NewVolume) -> Result<Device> {
        let plain = name.strip_prefix("/dev/").is_some_and(|rest| {
            (3..=32).contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_alphanumeric())
        });
        if !plain {
            let message = format!("Invalid device name {name}");
            return Err(ApiError::new("InvalidBlockDeviceMapping", message));
        }
        let size = asked.size.ok_or_else(|| ApiError::missing("size or snapshotId"))?;
        self.device(Device::empty(name, size), asked)
    }

    /// A device as the launch wants it.
    fn device(&self, device: Device, asked: &NewVolume) -> Result<Device> {
        let disk = self.disk(&device, asked)?;
        let delete_on_termination = asked.delete_on_termination.unwrap_or(device.delete_on_termination);
        Ok(Device { disk, delete_on_termination, ..device })
    }

    fn disk(&self, device: &Device, asked: &NewVolume) -> Result<Disk> {
        let size = asked.size.unwrap_or(device.disk.size);
        if size < device.disk.size {
            let snapshot = device.snapshot.as_ref().map_or_else(|| "snap-…".to_owned(), ToString::to_string);
            let message = format!(
                "Volume of size {size}GB is smaller than snapshot '{snapshot}', expect size >= {}GB",
                device.disk.size
            );
            return Err(ApiError::new("InvalidBlockDeviceMapping", message));
        }
        let kind = asked.kind.clone().unwrap_or_else(|| device.disk.kind.clone());
        // Operations per second are of the image's type, and go with it.
        let iops = asked.iops.or(device.disk.iops.filter(|_| asked.kind.is_none()));
        check_kind(&kind, size, iops)?;
        if asked.kms_key.is_some() && asked.encrypted != Some(true) {
            let message = "The parameter KmsKeyId requires the parameter Encrypted to be set.";
            return Err(ApiError::new("InvalidParameterDependency", message));
        }
        if asked.encrypted == Some(false) && device.disk.kms_key.is_some() {
            let message = "An encrypted snapshot can't become an unencrypted volume.";
            return Err(ApiError::new("InvalidBlockDeviceMapping", message));
        }
        let kms_key = match (&asked.kms_key, asked.encrypted) {
            (Some(key), _) => Some(self.key_arn(key)?),
            (None, Some(true)) if device.disk.kms_key.is_none() => Some(self.key_arn("alias/aws/ebs")?),
            (None, _) => device.disk.kms_key.clone(),
        };
        Ok(Disk { size, kind, iops, kms_key })
    }

    /// A key's ARN. Whether there is such a key is not this model's to know.
    pub(crate) fn key_arn(&self, key: &str) -> Result<String> {
        let plain = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_/".contains(&b))
        };
        let arn = |rest: String| Ok(format!("arn:aws:kms:{}:{}:{rest}", self.region, self.account));
        match key.strip_prefix("alias/") {
            Some(name) if plain(name) => arn(key.to_owned()),
            None if key.starts_with("arn:aws:kms:") => Ok(key.to_owned()),
            None if plain(key) && !key.contains('/') => arn(format!("key/{key}")),
            Some(_) | None => {
                Err(ApiError::value(key, "KmsKeyId", "It is a key's id, an alias or the ARN of either."))
            }
        }
    }

    /// Volumes by id, by filter, or all.
    pub fn describe_volumes(
        &self,
        ids: &[String],
        filters: &[Filter],
        paging: &Paging,
    ) -> Result<Page<Volume>> {
        let filters = Filters::<Volume>::read(filters)?;
        for id in ids {
            self.volume(id)?;
        }
        let named = |volume: &&Volume| ids.is_empty() || ids.iter().any(|id| id == volume.id.as_str());
        let found = self.volumes.paged(paging).filter(named).filter(|volume| filters.pass(self, volume));
        paging.cut(found.cloned(), 5, |volume| volume.id.to_string())
    }

    /// Deletes a volume that is attached to nothing.
    pub fn delete_volume(&mut self, id: &str, dry_run: bool) -> Result<()> {
        let volume = self.volume(id)?;
        if let Some(instance) = &volume.instance {
            let message = format!("Volume {id} is currently attached to {instance}");
            return Err(ApiError::new("VolumeInUse", message));
        }
        let id = volume.id.clone();
        refuse_dry_run(dry_run)?;
        self.volumes.remove(&id);
        Ok(())
    }

    /// Lets a volume outlive its instance, as somebody's `ModifyInstanceAttribute` does.
    pub fn keep_volume(&mut self, id: &str) -> Result<()> {
        let id = self.volume(id)?.id.clone();
        if let Some(volume) = self.volumes.get_mut(&id) {
            volume.delete_on_termination = false;
        }
        Ok(())
    }

    /// An instance's volumes, its root disk first.
    pub fn volumes_of(&self, instance: &InstanceId) -> Vec<&Volume> {
        let mut own: Vec<_> =
            self.volumes.values().filter(|volume| volume.instance.as_ref() == Some(instance)).collect();
        own.sort_by_key(|volume| (volume.device != ROOT_DEVICE, &volume.device));
        own
    }

    /// The instance is gone: so are its volumes, but for those that shall stay.
    pub(crate) fn detach_volumes(&mut self, instance: &InstanceId) {
        let own = |volume: &Volume| volume.instance.as_ref() == Some(instance);
        self.volumes.retain(|_, volume| !own(volume) || !volume.delete_on_termination);
        for volume in self.volumes.filter_mut(own) {
            (volume.instance, volume.attached_at) = (None, None);
        }
    }

    pub(crate) fn volume(&self, id: &str) -> Result<&Volume> {
        let malformed = |_| ApiError::value(id, "volume", "Expected: 'vol-...'.");
        let parsed = VolumeId::parse(id).map_err(malformed)?;
        self.volumes.get(&parsed).ok_or_else(|| ApiError::no_volume(id))
    }
}

fn check_kind(name: &str, size: u32, iops: Option<u32>) -> Result<()> {
    let kind = KINDS
        .iter()
        .find(|kind| kind.name == name)
        .ok_or_else(|| ApiError::value(name, "volumeType", "It can't be the type of a root volume."))?;
    if !kind.sizes.contains(&size) {
        let (least, most) = (kind.sizes.start(), kind.sizes.end());
        let problem = format!("A volume of type {name} has {least} to {most} GiB.");
        return Err(ApiError::value(&size.to_string(), "volumeSize", &problem));
    }
    let (range, ratio) = match (&kind.iops, iops) {
        (Iops::None | Iops::May(..), None) => return Ok(()),
        (Iops::None, Some(_)) => {
            let message = format!("The parameter iops is not supported for {name} volumes.");
            return Err(ApiError::new("InvalidParameterCombination", message));
        }
        (Iops::Must(..), None) => {
            let message = format!("The parameter iops must be specified for {name} volumes.");
            return Err(ApiError::new("MissingParameter", message));
        }
        (Iops::May(range, ratio) | Iops::Must(range, ratio), Some(_)) => (range, *ratio),
    };
    let iops = iops.unwrap_or_default();
    if !range.contains(&iops) {
        let problem = format!("A volume of type {name} has {} to {} IOPS.", range.start(), range.end());
        return Err(ApiError::value(&iops.to_string(), "iops", &problem));
    }
    // Every volume may have the least that its type has.
    if iops > *range.start() && iops > size.saturating_mul(ratio) {
        let message = format!("Iops to volume size ratio is too high; maximum is {ratio}");
        return Err(ApiError::new("InvalidParameterValue", message));
    }
    Ok(())
}
