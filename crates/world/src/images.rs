//! Images and snapshots: make, look, deregister, delete.

use std::collections::BTreeMap;

use jiff::Timestamp;
use ovenbird_core::id::{AmiId, ImageName, InstanceId, SnapshotId, VolumeId};
use serde::{Deserialize, Serialize};

use crate::{
    ApiError, Disk, Filter, InstanceState, Layer, Order, Page, Paging, ROOT_DEVICE, Result, Tags, World,
    filters::{Filtered, matches},
    refuse_dry_run, tags,
};

/// EC2's states of an image, those that occur here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageState {
    /// Its snapshot is under way.
    Pending,
    /// It can be started.
    Available,
    /// Its snapshot failed.
    Failed,
}

impl ImageState {
    /// EC2's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Available => "available",
            Self::Failed => "failed",
        }
    }
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Its id.
    pub id: AmiId,
    /// Its name.
    pub name: String,
    /// What it is.
    pub description: String,
    /// The account it belongs to.
    pub owner: String,
    /// Its state.
    pub state: ImageState,
    /// Code and message of a failure.
    pub state_reason: Option<(String, String)>,
    /// When it was made.
    pub created: Timestamp,
    /// `x86_64` or `arm64`.
    pub architecture: String,
    /// Whether everybody may start it.
    pub public: bool,
    /// Its snapshot; none for a base, whose snapshot isn't shared.
    pub snapshot: Option<SnapshotId>,
    /// The root volume of its instances.
    #[serde(flatten)]
    pub disk: Disk,
    /// The instance it was made of.
    pub source_instance: Option<InstanceId>,
    /// Its layers, the lowest first.
    pub layers: Vec<Layer>,
    /// Its tags.
    pub tags: Tags,
}

/// The states of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotState {
    /// Under way.
    Pending,
    /// Whole.
    Completed,
    /// Failed.
    Error,
}

impl SnapshotState {
    /// EC2's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Completed => "completed",
            Self::Error => "error",
        }
    }
}

/// A snapshot of an instance's disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Its id.
    pub id: SnapshotId,
    /// Its state.
    pub state: SnapshotState,
    /// How far it is, in percent.
    pub progress: u8,
    /// When it began.
    pub started: Timestamp,
    /// The volume it was made of.
    pub volume: VolumeId,
    /// The volume's size in GiB.
    pub size: u32,
    /// The ARN of the key that it is encrypted with; none for one that isn't.
    #[serde(default)]
    pub kms_key: Option<String>,
    /// What the layer takes, in bytes.
    pub bytes: u64,
    /// What it is.
    pub description: String,
    /// The layers that it lies on, itself last: what an image of it boots from.
    pub layers: Vec<Layer>,
    /// Its tags.
    pub tags: Tags,
}

/// An image that everybody may start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseImage {
    /// Its name.
    pub name: String,
    /// Its owner's account.
    pub owner: String,
    /// What it is.
    pub description: String,
    /// `x86_64` or `arm64`.
    pub architecture: String,
}

/// The parameters of `CreateImage`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreateImage {
    /// Of which instance.
    pub instance: String,
    /// The image's name.
    pub name: String,
    /// What it is.
    pub description: Option<String>,
    /// Don't stop a running instance for it.
    pub no_reboot: bool,
    /// Tags by kind of resource: `image`, `snapshot`.
    pub tags: BTreeMap<String, Tags>,
    /// Only ask whether it would be done.
    pub dry_run: bool,
}

/// The parameters of `RegisterImage`, from a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegisterImage {
    /// The image's name.
    pub name: String,
    /// What it is.
    pub description: Option<String>,
    /// The root device's snapshot.
    pub snapshot: String,
    /// `x86_64` or `arm64`.
    pub architecture: Option<String>,
    /// Tags by kind of resource: `image`.
    pub tags: BTreeMap<String, Tags>,
    /// Only ask whether it would be done.
    pub dry_run: bool,
}

/// The parameters of `DescribeImages`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DescribeImages {
    /// These.
    pub ids: Vec<String>,
    /// Of these owners: `self`, `amazon` or an account.
    pub owners: Vec<String>,
    /// That pass these.
    pub filters: Vec<Filter>,
    /// On which page.
    pub paging: Paging,
}

impl World {
    /// Registers a base for everybody; one of the same name and owner is the same.
    pub fn register_base(&mut self, now: Timestamp, base: &BaseImage) -> AmiId {
        if let Some(known) =
            self.images.values().find(|image| image.name == base.name && image.owner == base.owner)
        {
            return known.id.clone();
        }
        let id = self.fresh(AmiId::parse, "ami");
        let image = Image {
            id: id.clone(),
            name: base.name.clone(),
            description: base.description.clone(),
            owner: base.owner.clone(),
            state: ImageState::Available,
            state_reason: None,
            created: now,
            architecture: base.architecture.clone(),
            public: true,
            snapshot: None,
            disk: Disk::new(8),
            source_instance: None,
            layers: vec![Layer::Base],
            tags: Tags::new(),
        };
        self.images.insert(id.clone(), image);
        id
    }

    /// Makes an image of an instance's disk.
    pub fn create_image(&mut self, now: Timestamp, request: &CreateImage) -> Result<AmiId> {
        self.check_name(&request.name)?;
        check_tags(&request.tags, &["image", "snapshot"])?;
        let instance = self.instance_mut(&request.instance)?.clone();
        match instance.state {
            InstanceState::Running | InstanceState::Stopped => {}
            InstanceState::Pending
            | InstanceState::Stopping
            | InstanceState::ShuttingDown
            | InstanceState::Terminated => {
                let message = format!(
                    "The instance '{}' is not in a valid state for this operation: it is {}.",
                    instance.id,
                    instance.state.as_str()
                );
                return Err(ApiError::new("IncorrectInstanceState", message));
            }
        }
        refuse_dry_run(request.dry_run)?;
        let snapshot = self.fresh(SnapshotId::parse, "snap");
        let id = self.fresh(AmiId::parse, "ami");
        let source = self.images.get(&instance.image);
        let architecture = source.map_or_else(|| "x86_64".to_owned(), |image| image.architecture.clone());
        let mut layers = instance.layers.clone();
        layers.push(Layer::Snapshot(snapshot.clone()));
        let disk =
            self.volumes.get(&instance.volume).map_or_else(|| Disk::new(8), |volume| volume.disk.clone());
        self.snapshots.insert(
            snapshot.clone(),
            Snapshot {
                id: snapshot.clone(),
                state: SnapshotState::Pending,
                progress: 0,
                started: now,
                volume: instance.volume.clone(),
                size: disk.size,
                kms_key: disk.kms_key.clone(),
                bytes: 0,
                description: format!("Created by CreateImage({}) for {id}", instance.id),
                layers: layers.clone(),
                tags: request.tags.get("snapshot").cloned().unwrap_or_default(),
            },
        );
        let image = Image {
            id: id.clone(),
            name: request.name.clone(),
            description: request.description.clone().unwrap_or_default(),
            owner: self.account.clone(),
            state: ImageState::Pending,
            state_reason: None,
            created: now,
            architecture,
            public: false,
            snapshot: Some(snapshot.clone()),
            disk,
            source_instance: Some(instance.id.clone()),
            layers,
            tags: request.tags.get("image").cloned().unwrap_or_default(),
        };
        self.images.insert(id.clone(), image);
        // From here on the instance's own disk lies on the snapshot.
        if let Some(instance) = self.instances.get_mut(&instance.id) {
            instance.layers.push(Layer::Snapshot(snapshot.clone()));
        }
        let reboot = instance.state == InstanceState::Running && !request.no_reboot;
        self.orders.push(Order::Freeze { instance: instance.id, snapshot, reboot });
        Ok(id)
    }

    /// Makes an image of a snapshot.
    pub fn register_image(&mut self, now: Timestamp, request: &RegisterImage) -> Result<AmiId> {
        self.check_name(&request.name)?;
        check_tags(&request.tags, &["image"])?;
        let snapshot = self.own_snapshot_mut(&request.snapshot)?.clone();
        if snapshot.state != SnapshotState::Completed {
            let message = format!("Snapshot '{}' is {}.", snapshot.id, snapshot.state.as_str());
            return Err(ApiError::new("IncorrectState", message));
        }
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
            source_instance: None,
            layers: snapshot.layers,
            tags: request.tags.get("image").cloned().unwrap_or_default(),
        };
        self.images.insert(id.clone(), image);
        Ok(id)
    }

    fn check_name(&self, name: &str) -> Result<()> {
        if let Err(error) = ImageName::parse(name) {
            return Err(ApiError::new("InvalidAMIName.Malformed", error.to_string()));
        }
        match self.images.values().find(|image| image.name == name && image.owner == self.account) {
            Some(taken) => {
                let message = format!("AMI name {name} is already in use by AMI {}", taken.id);
                Err(ApiError::new("InvalidAMIName.Duplicate", message))
            }
            None => Ok(()),
        }
    }

    /// Images by id, owner and filter.
    pub fn describe_images(&self, request: &DescribeImages) -> Result<Page<Image>> {
        for id in &request.ids {
            let parsed = AmiId::parse(id).map_err(|_| ApiError::malformed("InvalidAMIID.Malformed", id))?;
            if !self.images.contains_key(&parsed) {
                return Err(ApiError::no_image(id));
            }
        }
        let owned = |image: &Image| {
            request.owners.is_empty()
                || request.owners.iter().any(|owner| match owner.as_str() {
                    "self" => image.owner == self.account,
                    owner => image.owner == owner,
                })
        };
        let mut found = Vec::new();
        for image in self.images.values() {
            let named = request.ids.is_empty() || request.ids.iter().any(|id| id == image.id.as_str());
            // The filters are looked at for every image: a wrong one is wrong whatever else is asked.
            if matches(image, &request.filters)? && named && owned(image) {
                found.push(image.clone());
            }
        }
        request.paging.cut(found, 1, |image| image.id.to_string())
    }

    /// Takes an image out of use. Instances of it go on; its snapshots stay unless they shall go with it.
    pub fn deregister_image(&mut self, id: &str, delete_snapshots: bool, dry_run: bool) -> Result<()> {
        let image = self.own_image_mut(id)?.clone();
        refuse_dry_run(dry_run)?;
        self.images.remove(&image.id);
        if delete_snapshots
            && let Some(snapshot) = image.snapshot
            && self.delete_snapshot(snapshot.as_str(), false).is_err()
        {
            // A snapshot that other images share stays, as at AWS.
        }
        Ok(())
    }

    /// Snapshots of this account by id and filter.
    pub fn describe_snapshots(
        &mut self,
        ids: &[String],
        owners: &[String],
        filters: &[Filter],
        paging: &Paging,
    ) -> Result<Page<Snapshot>> {
        for id in ids {
            self.own_snapshot_mut(id)?;
        }
        let ours = owners.is_empty() || owners.iter().any(|owner| owner == "self" || *owner == self.account);
        let mut found = Vec::new();
        for snapshot in self.snapshots.values() {
            let named = ids.is_empty() || ids.iter().any(|id| id == snapshot.id.as_str());
            if matches(snapshot, filters)? && named && ours {
                found.push(snapshot.clone());
            }
        }
        paging.cut(found, 5, |snapshot| snapshot.id.to_string())
    }

    /// Deletes a snapshot that no image uses.
    ///
    /// Its layer stays on disk while something lies on it, as at EBS a deleted snapshot's blocks do.
    pub fn delete_snapshot(&mut self, id: &str, dry_run: bool) -> Result<()> {
        let snapshot = self.own_snapshot_mut(id)?.id.clone();
        if let Some(image) = self.images.values().find(|image| image.snapshot.as_ref() == Some(&snapshot)) {
            let message = format!("The snapshot {snapshot} is currently in use by {}", image.id);
            return Err(ApiError::new("InvalidSnapshot.InUse", message));
        }
        refuse_dry_run(dry_run)?;
        self.snapshots.remove(&snapshot);
        self.orders.push(Order::DropSnapshot { snapshot });
        Ok(())
    }

    /// Whether anything still lies on a layer: an image, a snapshot or an instance.
    pub fn is_layer_in_use(&self, snapshot: &SnapshotId) -> bool {
        let layer = Layer::Snapshot(snapshot.clone());
        let on_image = self.images.values().any(|image| image.layers.contains(&layer));
        let on_snapshot = self.snapshots.values().any(|one| one.layers.contains(&layer));
        let mut instances = self.instances.values().filter(|instance| instance.terminated.is_none());
        let on_instance = instances.any(|instance| instance.layers.contains(&layer));
        on_image || on_snapshot || on_instance
    }

    pub(crate) fn own_image_mut(&mut self, id: &str) -> Result<&mut Image> {
        let parsed = AmiId::parse(id).map_err(|_| ApiError::malformed("InvalidAMIID.Malformed", id))?;
        let account = self.account.clone();
        let image = self.images.get_mut(&parsed).ok_or_else(|| ApiError::no_image(id))?;
        if image.owner != account {
            return Err(ApiError::new("AuthFailure", format!("Not authorized for images:{id}")));
        }
        Ok(image)
    }

    pub(crate) fn own_snapshot_mut(&mut self, id: &str) -> Result<&mut Snapshot> {
        let parsed =
            SnapshotId::parse(id).map_err(|_| ApiError::malformed("InvalidSnapshotID.Malformed", id))?;
        self.snapshots.get_mut(&parsed).ok_or_else(|| ApiError::no_snapshot(id))
    }

    pub(crate) fn frozen(&mut self, _now: Timestamp, id: &SnapshotId, bytes: u64) {
        let Some(snapshot) = self.snapshots.get_mut(id) else { return };
        snapshot.state = SnapshotState::Completed;
        snapshot.progress = 100;
        snapshot.bytes = bytes;
        for image in self.images.values_mut().filter(|image| image.snapshot.as_ref() == Some(id)) {
            image.state = ImageState::Available;
        }
    }

    pub(crate) fn freeze_failed(&mut self, id: &SnapshotId, reason: &str) {
        let Some(snapshot) = self.snapshots.get_mut(id) else { return };
        snapshot.state = SnapshotState::Error;
        // There is no such layer: its instance's disk is as it was.
        for instance in self.instances.values_mut() {
            instance.layers.retain(|layer| *layer != Layer::Snapshot(id.clone()));
        }
        for image in self.images.values_mut().filter(|image| image.snapshot.as_ref() == Some(id)) {
            image.state = ImageState::Failed;
            image.state_reason =
                Some(("Server.InternalError".into(), format!("Server.InternalError: {reason}")));
        }
    }

    pub(crate) fn progressed(&mut self, id: &SnapshotId, percent: u8) {
        if let Some(snapshot) = self.snapshots.get_mut(id) {
            snapshot.progress = percent.min(100).max(snapshot.progress);
        }
    }

    pub(crate) fn fail_unfinished(&mut self, reason: &str) {
        let unfinished = self.snapshots.values().filter(|snapshot| snapshot.state == SnapshotState::Pending);
        let ids: Vec<SnapshotId> = unfinished.map(|snapshot| snapshot.id.clone()).collect();
        for id in ids {
            self.freeze_failed(&id, reason);
        }
    }
}

fn check_tags(given: &BTreeMap<String, Tags>, kinds: &[&str]) -> Result<()> {
    for (kind, own) in given {
        if !kinds.contains(&kind.as_str()) {
            return Err(ApiError::value(
                kind,
                "TagSpecification.ResourceType",
                "Not a resource of this call.",
            ));
        }
        tags::check(own)?;
    }
    Ok(())
}

impl Filtered for Image {
    fn field(&self, name: &str) -> Option<Vec<String>> {
        Some(vec![match name {
            "image-id" => self.id.to_string(),
            "name" => self.name.clone(),
            "description" => self.description.clone(),
            "state" => self.state.as_str().to_owned(),
            "architecture" => self.architecture.clone(),
            "is-public" => self.public.to_string(),
            "owner-id" => self.owner.clone(),
            "image-type" => "machine".to_owned(),
            "root-device-type" => "ebs".to_owned(),
            "root-device-name" => ROOT_DEVICE.to_owned(),
            "virtualization-type" => "hvm".to_owned(),
            "block-device-mapping.snapshot-id" => {
                self.snapshot.as_ref().map(ToString::to_string).unwrap_or_default()
            }
            "source-instance-id" => {
                self.source_instance.as_ref().map(ToString::to_string).unwrap_or_default()
            }
            _ => return None,
        }])
    }
    fn tags(&self) -> &Tags {
        &self.tags
    }
}

impl Filtered for Snapshot {
    fn field(&self, name: &str) -> Option<Vec<String>> {
        Some(vec![match name {
            "snapshot-id" => self.id.to_string(),
            "status" => self.state.as_str().to_owned(),
            "volume-id" => self.volume.to_string(),
            "description" => self.description.clone(),
            "progress" => format!("{}%", self.progress),
            "volume-size" => self.size.to_string(),
            _ => return None,
        }])
    }
    fn tags(&self) -> &Tags {
        &self.tags
    }
}
