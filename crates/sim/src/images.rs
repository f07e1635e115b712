//! Images: make, look, deregister.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use ovenbird_core::domain::id::{AmiId, ImageName, InstanceId, SnapshotId};
use serde::{Deserialize, Serialize};

use crate::{
    ApiError, Device, Disk, Filter, InstanceState, LaunchPermission, Layer, Order, Page, Paging, ROOT_DEVICE,
    Result, Snapshot, SnapshotState, Standing, Tags, World, filters::Filters, refuse_dry_run, tags,
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
    /// Its owner disabled it: nothing starts from it until it is enabled again.
    Disabled,
}

impl ImageState {
    /// EC2's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Available => "available",
            Self::Failed => "failed",
            Self::Disabled => "disabled",
        }
    }
}

/// An image as EC2 keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The id that EC2 gave it: `ami-…`.
    pub id: AmiId,
    /// The name, unique among the images of its owner.
    pub name: String,
    /// The text that its maker gave it; may be empty.
    pub description: String,
    /// The account it belongs to.
    pub owner: String,
    /// Whether instances can be started from it.
    pub state: ImageState,
    /// Code and message of a failure.
    pub state_reason: Option<(String, String)>,
    /// When it was made.
    pub created: Timestamp,
    /// `x86_64` or `arm64`.
    pub architecture: String,
    /// Whether its publisher lets everybody start it.
    pub public: bool,
    /// Its snapshot; none for a base, whose snapshot isn't shared.
    pub snapshot: Option<SnapshotId>,
    /// The root volume of its instances.
    #[serde(flatten)]
    pub disk: Disk,
    /// Whether that volume goes with its instance.
    #[serde(default = "yes")]
    pub delete_on_termination: bool,
    /// The other volumes of its instances.
    #[serde(default)]
    pub devices: Vec<Device>,
    /// The instance it was made of.
    pub source_instance: Option<InstanceId>,
    /// The image it was copied from.
    #[serde(default)]
    pub source_image: Option<AmiId>,
    /// Its layers, the lowest first.
    pub layers: Vec<Layer>,
    /// Its tags: at most 50.
    pub tags: Tags,
    /// What came after it was made.
    #[serde(default)]
    pub standing: Standing,
}

fn yes() -> bool {
    true
}

impl Image {
    /// Every volume that a launch of it makes, the root first.
    pub fn mappings(&self) -> impl Iterator<Item = Device> {
        let root = Device {
            name: ROOT_DEVICE.to_owned(),
            snapshot: self.snapshot.clone(),
            disk: self.disk.clone(),
            delete_on_termination: self.delete_on_termination,
        };
        std::iter::once(root).chain(self.devices.iter().cloned())
    }

    /// Whether everybody may start it.
    pub fn is_public(&self) -> bool {
        self.public || self.standing.permissions.contains(&LaunchPermission::All)
    }

    /// Its owner and name, as EC2 shows where it is.
    pub fn location(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// Its snapshots, the root's first.
    pub fn snapshots(&self) -> impl Iterator<Item = &SnapshotId> {
        self.snapshot.iter().chain(self.devices.iter().filter_map(|device| device.snapshot.as_ref()))
    }
}

/// An image that everybody may start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseImage {
    /// The name that it is published under.
    pub name: String,
    /// Its owner's account.
    pub owner: String,
    /// The text that its publisher gave it; may be empty.
    pub description: String,
    /// `x86_64` or `arm64`.
    pub architecture: String,
    /// Whether the root volume of its instances goes with them.
    pub delete_on_termination: bool,
    /// The other volumes of its instances.
    pub devices: Vec<Device>,
}

impl BaseImage {
    /// Debian 12 as Debian publishes it on AWS, by its account and its way to name images: a recipe's `newest` that
    /// finds it there finds it here, too.
    pub fn debian_12(version: &str, architecture: &str) -> Self {
        // Debian's own word for it.
        let debian = if architecture == "x86_64" { "amd64" } else { architecture };
        Self {
            name: format!("debian-12-{debian}-{version}"),
            owner: "136693071363".to_owned(),
            description: String::new(),
            architecture: architecture.to_owned(),
            delete_on_termination: true,
            devices: Vec::new(),
        }
    }
}

/// The parameters of `CreateImage`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreateImage {
    /// The id of the instance that the image is made of.
    pub instance: String,
    /// The image's name.
    pub name: String,
    /// A text for people.
    pub description: Option<String>,
    /// Don't stop a running instance for it.
    pub no_reboot: bool,
    /// Tags by kind of resource: `image`, `snapshot`.
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
    /// That these may start: `all`, `self` or an account.
    pub executable_by: Vec<String>,
    /// That pass these.
    pub filters: Vec<Filter>,
    /// Disabled ones, too.
    pub include_disabled: bool,
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
            delete_on_termination: base.delete_on_termination,
            devices: base.devices.clone(),
            source_instance: None,
            source_image: None,
            layers: vec![Layer::Base],
            tags: Tags::new(),
            standing: Standing::default(),
        };
        self.images.insert(id.clone(), image);
        id
    }

    /// Makes an image of an instance's disk.
    pub fn create_image(&mut self, now: Timestamp, request: &CreateImage) -> Result<AmiId> {
        self.check_name(&request.name)?;
        check_tags(&request.tags, &["image", "snapshot"])?;
        let instance = self.instance(&request.instance)?.clone();
        if !instance.state.is_settled() {
            let message = format!(
                "The instance '{}' is not in a valid state for this operation: it is {}.",
                instance.id,
                instance.state.as_str()
            );
            return Err(ApiError::new("IncorrectInstanceState", message));
        }
        refuse_dry_run(request.dry_run)?;
        let snapshot = self.fresh(SnapshotId::parse, "snap");
        let id = self.fresh(AmiId::parse, "ami");
        let source = self.images.get(&instance.image);
        let architecture = source.map_or_else(|| "x86_64".to_owned(), |image| image.architecture.clone());
        let imdsv2 = source.is_some_and(|image| image.standing.imdsv2);
        let mut layers = instance.layers.clone();
        layers.push(Layer::Snapshot(snapshot.clone()));
        let root = self.volumes.get(&instance.volume);
        let disk = root.map_or_else(|| Disk::new(8), |volume| volume.disk.clone());
        let delete_on_termination = root.is_none_or(|volume| volume.delete_on_termination);
        let devices = self.freeze_other_volumes(now, &instance.id, &id, request.tags.get("snapshot"));
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
                copied: None,
                permissions: BTreeSet::new(),
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
            delete_on_termination,
            devices,
            source_instance: Some(instance.id.clone()),
            source_image: None,
            layers,
            tags: request.tags.get("image").cloned().unwrap_or_default(),
            // An image has it of the image that its instance was launched from.
            standing: Standing { imdsv2, ..Standing::default() },
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

    /// The devices beside the root, with a snapshot of each volume. Nobody ever wrote to one: its snapshot is whole
    /// at once, and no layer lies on it.
    fn freeze_other_volumes(
        &mut self,
        now: Timestamp,
        instance: &InstanceId,
        image: &AmiId,
        tags: Option<&Tags>,
    ) -> Vec<Device> {
        let others: Vec<_> = self.volumes_of(instance).into_iter().cloned().collect();
        let mut devices = Vec::new();
        for volume in others.into_iter().filter(|volume| volume.device != ROOT_DEVICE) {
            let id = self.fresh(SnapshotId::parse, "snap");
            let snapshot = Snapshot {
                id: id.clone(),
                state: SnapshotState::Completed,
                progress: 100,
                started: now,
                volume: volume.id,
                size: volume.disk.size,
                kms_key: volume.disk.kms_key.clone(),
                bytes: 0,
                description: format!("Created by CreateImage({instance}) for {image}"),
                layers: Vec::new(),
                tags: tags.cloned().unwrap_or_default(),
                copied: None,
                permissions: BTreeSet::new(),
            };
            self.snapshots.insert(id.clone(), snapshot);
            devices.push(Device {
                name: volume.device,
                snapshot: Some(id),
                disk: volume.disk,
                delete_on_termination: volume.delete_on_termination,
            });
        }
        devices
    }

    pub(crate) fn check_name(&self, name: &str) -> Result<()> {
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
        let filters = Filters::<Image>::read(&request.filters)?;
        let mut named = BTreeMap::new();
        for id in &request.ids {
            let parsed = AmiId::parse(id).map_err(|_| ApiError::malformed("InvalidAMIID.Malformed", id))?;
            let image = self.images.get(&parsed).ok_or_else(|| ApiError::no_image(id))?;
            named.insert(parsed, image);
        }
        let owned = |image: &Image| {
            request.owners.is_empty()
                || request.owners.iter().any(|owner| match owner.as_str() {
                    "self" => image.owner == self.account,
                    owner => image.owner == owner,
                })
        };
        let startable = |image: &Image| {
            let permissions = &image.standing.permissions;
            request.executable_by.is_empty()
                || request.executable_by.iter().any(|one| match one.as_str() {
                    "all" => image.is_public(),
                    "self" => permissions.contains(&LaunchPermission::User(self.account.clone())),
                    account => permissions.contains(&LaunchPermission::User(account.to_owned())),
                })
        };
        // Of those that are named no other is looked at: there may be thousands.
        let all = request.ids.is_empty().then(|| self.images.paged(&request.paging)).into_iter().flatten();
        let found = named.into_values().chain(all);
        let shown = |image: &Image| request.include_disabled || image.state != ImageState::Disabled;
        let found = found
            .filter(|image| owned(image) && startable(image) && shown(image) && filters.pass(self, image));
        Ok(request.paging.cut(found, 1, |image| image.id.to_string())?.cloned())
    }

    /// Takes an image out of use. Instances of it go on; its snapshots stay unless they shall go with it. The Recycle Bin
    /// may keep it.
    pub fn deregister_image(
        &mut self,
        now: Timestamp,
        id: &str,
        delete_snapshots: bool,
        dry_run: bool,
    ) -> Result<()> {
        let image = self.own_image_mut(id)?.clone();
        let cools = image.standing.cools_until.filter(|until| now < *until);
        if image.standing.protected || cools.is_some() {
            let until = cools.map(|until| format!(" until {until:.0}")).unwrap_or_default();
            let message = format!("The image {} is protected against deregistration{until}.", image.id);
            return Err(ApiError::new("OperationNotPermitted", message));
        }
        refuse_dry_run(dry_run)?;
        self.images.remove(&image.id);
        for snapshot in image.snapshots().filter(|_| delete_snapshots) {
            // A snapshot that other images share stays, as at AWS, and a locked one.
            let _ = self.delete_snapshot(now, snapshot.as_str(), false);
        }
        self.bin_image(now, image);
        Ok(())
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
}

pub(crate) fn check_tags(given: &BTreeMap<String, Tags>, kinds: &[&str]) -> Result<()> {
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
