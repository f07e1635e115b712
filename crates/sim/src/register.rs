//! `RegisterImage`: an image of snapshots.

use std::collections::BTreeMap;

use jiff::Timestamp;
use ovenbird_core::domain::id::AmiId;

use crate::{
    ApiError, Device, Disk, Image, ImageState, NewVolume, Result, SnapshotState, Standing, Tags, World,
    images::check_tags, refuse_dry_run,
};

/// The parameters of `RegisterImage`, from a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegisterImage {
    /// The image's name.
    pub name: String,
    /// A text for people.
    pub description: Option<String>,
    /// The root device's snapshot.
    pub snapshot: String,
    /// Whether the root volume goes with its instance; it does unless it is said otherwise.
    pub delete_on_termination: Option<bool>,
    /// The other devices by name: the snapshot of each, or what an empty one is.
    pub devices: BTreeMap<String, (Option<String>, NewVolume)>,
    /// `x86_64` or `arm64`.
    pub architecture: Option<String>,
    /// Whether its instances accept IMDSv2 alone, unless their launch says otherwise.
    pub imdsv2: bool,
    /// Tags by kind of resource: `image`.
    pub tags: BTreeMap<String, Tags>,
    /// Only ask whether it would be done.
    pub dry_run: bool,
}

impl World {
    /// Makes an image of a snapshot.
    pub fn register_image(&mut self, now: Timestamp, request: &RegisterImage) -> Result<AmiId> {
        self.check_name(&request.name)?;
        check_tags(&request.tags, &["image"])?;
        let snapshot = self.own_snapshot(&request.snapshot)?.clone();
        if snapshot.state != SnapshotState::Completed {
            let message = format!("Snapshot '{}' is {}.", snapshot.id, snapshot.state.as_str());
            return Err(ApiError::new("IncorrectState", message));
        }
        // A machine boots from what an instance's root disk was; of any other disk nothing was ever written.
        if snapshot.layers.is_empty() {
            let message = format!("Snapshot '{}' holds nothing to boot from.", snapshot.id);
            return Err(ApiError::new("InvalidBlockDeviceMapping", message));
        }
        let devices = self.registered_devices(&request.devices)?;
        refuse_dry_run(request.dry_run)?;
        let id = self.fresh(AmiId::parse, "ami");
        let image = Image {
            id: id.clone(),
            name: request.name.clone(),
            description: request.description.clone().unwrap_or_default(),
            owner: self.account.clone(),
            state: ImageState::Available,
            state_reason: None,
            created: now,
            architecture: request.architecture.clone().unwrap_or_else(|| "x86_64".into()),
            public: false,
            snapshot: Some(snapshot.id),
            disk: Disk { kms_key: snapshot.kms_key, ..Disk::new(snapshot.size) },
            delete_on_termination: request.delete_on_termination.unwrap_or(true),
            devices,
            source_instance: None,
            source_image: None,
            layers: snapshot.layers,
            tags: request.tags.get("image").cloned().unwrap_or_default(),
            standing: Standing { imdsv2: request.imdsv2, ..Standing::default() },
        };
        self.images.insert(id.clone(), image);
        Ok(id)
    }

    fn registered_devices(
        &self,
        asked: &BTreeMap<String, (Option<String>, NewVolume)>,
    ) -> Result<Vec<Device>> {
        let device = |(name, (snapshot, volume)): (&String, &(Option<String>, NewVolume))| {
            let Some(snapshot) = snapshot else { return self.new_device(name, volume) };
            let snapshot = self.own_snapshot(snapshot)?;
            let size = Some(volume.size.unwrap_or(snapshot.size).max(snapshot.size));
            let device = self.new_device(name, &NewVolume { size, ..volume.clone() })?;
            let disk = Disk { kms_key: snapshot.kms_key.clone().or(device.disk.kms_key), ..device.disk };
            Ok(Device { snapshot: Some(snapshot.id.clone()), disk, ..device })
        };
        asked.iter().map(device).collect()
    }
}
