//! `CopyImage`, `CopySnapshot` and `CreateSnapshot`.
//!
//! A copy holds no layer of its own: it lies on the layers of what it was copied from, which stay on disk while it is
//! there. There is one Region here, so a copy stays in it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use ovenbird_core::domain::id::{AmiId, SnapshotId, VolumeId};

use crate::{
    ApiError, Device, Image, ImageState, Instance, Layer, Order, ROOT_DEVICE, Result, Snapshot,
    SnapshotState, Standing, Tags, Volume, World, images::check_tags, refuse_dry_run,
};

/// How long a copy is under way: long enough for who doesn't wait to be seen.
const COPYING: SignedDuration = SignedDuration::from_secs(2);

/// The parameters of `CopyImage`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CopyImage {
    /// The copy's name.
    pub name: String,
    /// A text for people; none means that of the source.
    pub description: Option<String>,
    /// The id of the image to copy.
    pub source: String,
    /// The Region that it is in.
    pub source_region: String,
    /// Whether the copy's snapshots are encrypted, and with which key.
    pub encryption: (bool, Option<String>),
    /// Whether the source's own tags are copied, too.
    pub copies_tags: bool,
    /// Tags by kind of resource: `image`, `snapshot`.
    pub tags: BTreeMap<String, Tags>,
    /// The token that makes a repetition the same copy.
    pub client_token: Option<String>,
    /// Only ask whether it would be done.
    pub dry_run: bool,
}

/// The parameters of `CopySnapshot`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CopySnapshot {
    /// A text for people.
    pub description: Option<String>,
    /// The id of the snapshot to copy.
    pub source: String,
    /// The Region that it is in.
    pub source_region: String,
    /// Whether the copy is encrypted, and with which key.
    pub encryption: (bool, Option<String>),
    /// Tags by kind of resource: `snapshot`.
    pub tags: BTreeMap<String, Tags>,
    /// Only ask whether it would be done.
    pub dry_run: bool,
}

/// The parameters of `CreateSnapshot`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreateSnapshot {
    /// The id of the volume.
    pub volume: String,
    /// A text for people.
    pub description: Option<String>,
    /// Tags by kind of resource: `snapshot`.
    pub tags: BTreeMap<String, Tags>,
    /// Only ask whether it would be done.
    pub dry_run: bool,
}

/// The parameters of `CreateSnapshots`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreateSnapshots {
    /// The id of the instance.
    pub instance: String,
    /// Not of its root volume.
    pub without_root: bool,
    /// Not of the volumes with these ids.
    pub without: Vec<String>,
    /// A text for people.
    pub description: Option<String>,
    /// Whether each volume's own tags are copied, too.
    pub copies_tags: bool,
    /// Tags by kind of resource: `snapshot`.
    pub tags: BTreeMap<String, Tags>,
    /// Only ask whether it would be done.
    pub dry_run: bool,
}

impl World {
    /// Copies an image with its snapshots.
    pub fn copy_image(&mut self, now: Timestamp, request: &CopyImage) -> Result<AmiId> {
        let text = format!("{:?}", CopyImage { dry_run: false, ..request.clone() });
        if let Some(token) = &request.client_token
            && let Some((known, id)) = self.copy_tokens.get(token)
            && self.images.contains_key(id)
        {
            return if *known == text {
                Ok(id.clone())
            } else {
                let message = "The client token was already used with other parameters.";
                Err(ApiError::new("IdempotentParameterMismatch", message))
            };
        }
        check_tags(&request.tags, &["image", "snapshot"])?;
        self.check_region(&request.source_region)?;
        self.check_name(&request.name)?;
        let parsed = AmiId::parse(&request.source);
        let parsed = parsed.map_err(|_| ApiError::malformed("InvalidAMIID.Malformed", &request.source))?;
        let source = self.images.get(&parsed).ok_or_else(|| ApiError::no_image(&request.source))?.clone();
        if source.state != ImageState::Available {
            let message = format!("The AMI {} is {}.", source.id, source.state.as_str());
            return Err(ApiError::new("InvalidAMIID.Unavailable", message));
        }
        let key = self.copy_key(&request.encryption)?;
        refuse_dry_run(request.dry_run)?;
        let id = self.fresh(AmiId::parse, "ami");
        let description = format!("Copied for DestinationAmi {id} from SourceAmi {}.", source.id);
        let mut devices = Vec::new();
        for device in source.mappings() {
            let is_root = device.name == ROOT_DEVICE;
            if device.snapshot.is_none() && !is_root {
                devices.push(device);
                continue;
            }
            let layers = if is_root { source.layers.clone() } else { Vec::new() };
            let of = device.snapshot.as_ref().and_then(|id| self.snapshots.get(id));
            let bytes = of.map_or(0, |one| one.bytes);
            let kms_key = key.clone().or(device.disk.kms_key.clone());
            let copy = Snapshot {
                id: self.fresh(SnapshotId::parse, "snap"),
                state: SnapshotState::Pending,
                progress: 0,
                started: now,
                // As EC2 writes the volume of a copy: there is none.
                volume: volume_of_a_copy(),
                size: device.disk.size,
                kms_key: kms_key.clone(),
                bytes,
                description: description.clone(),
                layers,
                tags: request.tags.get("snapshot").cloned().unwrap_or_default(),
                copied: Some(now + COPYING),
                permissions: Default::default(),
            };
            let disk = crate::Disk { kms_key, ..device.disk };
            devices.push(Device { snapshot: Some(copy.id.clone()), disk, ..device });
            self.snapshots.insert(copy.id.clone(), copy);
        }
        let root = devices.remove(0);
        let mut tags = request.tags.get("image").cloned().unwrap_or_default();
        if request.copies_tags {
            let own = source.tags.iter().filter(|(key, _)| !key.starts_with("aws:"));
            own.for_each(|(key, value)| {
                tags.entry(key.clone()).or_insert_with(|| value.clone());
            });
        }
        let image = Image {
            id: id.clone(),
            name: request.name.clone(),
            description: request.description.clone().unwrap_or_else(|| source.description.clone()),
            owner: self.account.clone(),
            state: ImageState::Pending,
            created: now,
            public: false,
            snapshot: root.snapshot,
            disk: root.disk,
            devices,
            source_instance: None,
            source_image: Some(source.id.clone()),
            tags,
            standing: Standing { imdsv2: source.standing.imdsv2, ..Standing::default() },
            ..source
        };
        self.images.insert(id.clone(), image);
        if let Some(token) = &request.client_token {
            self.copy_tokens.insert(token.clone(), (text, id.clone()));
        }
        Ok(id)
    }

    /// Copies a snapshot.
    pub fn copy_snapshot(&mut self, now: Timestamp, request: &CopySnapshot) -> Result<SnapshotId> {
        check_tags(&request.tags, &["snapshot"])?;
        self.check_region(&request.source_region)?;
        let source = self.own_snapshot(&request.source)?.clone();
        if source.state != SnapshotState::Completed {
            let message = format!("Snapshot {} is {}.", source.id, source.state.as_str());
            return Err(ApiError::new("IncorrectState", message));
        }
        let key = self.copy_key(&request.encryption)?;
        refuse_dry_run(request.dry_run)?;
        let id = self.fresh(SnapshotId::parse, "snap");
        let copy = Snapshot {
            id: id.clone(),
            state: SnapshotState::Pending,
            progress: 0,
            started: now,
            volume: volume_of_a_copy(),
            kms_key: key.or(source.kms_key.clone()),
            description: request.description.clone().unwrap_or_default(),
            tags: request.tags.get("snapshot").cloned().unwrap_or_default(),
            copied: Some(now + COPYING),
            permissions: Default::default(),
            ..source
        };
        self.snapshots.insert(id.clone(), copy);
        Ok(id)
    }

    /// Makes a snapshot of a volume.
    pub fn create_snapshot(&mut self, now: Timestamp, request: &CreateSnapshot) -> Result<Snapshot> {
        check_tags(&request.tags, &["snapshot"])?;
        let volume = self.volume(&request.volume)?.clone();
        let instance = volume.instance.as_ref().filter(|_| volume.device == ROOT_DEVICE);
        let instance = instance.and_then(|id| self.instances.get(id)).cloned();
        if let Some(instance) = &instance {
            can_freeze(instance)?;
        }
        refuse_dry_run(request.dry_run)?;
        let id = self.fresh(SnapshotId::parse, "snap");
        let mut layers = Vec::new();
        let mut state = SnapshotState::Completed;
        if let Some(instance) = &instance {
            layers = instance.layers.clone();
            layers.push(Layer::Snapshot(id.clone()));
            state = SnapshotState::Pending;
            if let Some(own) = self.instances.get_mut(&instance.id) {
                own.layers.push(Layer::Snapshot(id.clone()));
            }
            let (instance, snapshot) = (instance.id.clone(), id.clone());
            self.orders.push(Order::Freeze { instance, snapshot, reboot: false });
        }
        let snapshot = new_snapshot(now, id, &volume, state, layers, request);
        self.snapshots.insert(snapshot.id.clone(), snapshot.clone());
        Ok(snapshot)
    }

    /// Makes a snapshot of each volume of an instance: of all or of none.
    pub fn create_snapshots(&mut self, now: Timestamp, request: &CreateSnapshots) -> Result<Vec<Snapshot>> {
        let instance = self.instance(&request.instance)?.id.clone();
        let all: Vec<_> = self.volumes_of(&instance).into_iter().cloned().collect();
        let wanted = |volume: &Volume| {
            let root = volume.device == ROOT_DEVICE;
            let named = request.without.iter().any(|id| id == volume.id.as_str());
            !(named || root && request.without_root)
        };
        let each = |volume: &Volume, dry_run| {
            let mut tags = request.tags.clone();
            if request.copies_tags {
                let own = tags.entry("snapshot".to_owned()).or_default();
                for (key, value) in volume.tags.iter().filter(|(key, _)| !key.starts_with("aws:")) {
                    own.entry(key.clone()).or_insert_with(|| value.clone());
                }
            }
            CreateSnapshot {
                volume: volume.id.to_string(),
                description: request.description.clone(),
                tags,
                dry_run,
            }
        };
        let volumes: Vec<_> = all.into_iter().filter(wanted).collect();
        for volume in &volumes {
            match self.create_snapshot(now, &each(volume, true)) {
                Err(error) if error.code == "DryRunOperation" => {}
                other => drop(other?),
            }
        }
        refuse_dry_run(request.dry_run)?;
        volumes.iter().map(|volume| self.create_snapshot(now, &each(volume, false))).collect()
    }

    /// Copies that are whole by now, and what came out of the Recycle Bin.
    pub(crate) fn finish_copies(&mut self, now: Timestamp) {
        let due = self.snapshots.values().filter(|one| {
            matches!(one.state, SnapshotState::Pending | SnapshotState::Recovering)
                && one.copied.is_some_and(|whole| whole <= now)
        });
        for (id, bytes) in due.map(|one| (one.id.clone(), one.bytes)).collect::<Vec<_>>() {
            self.frozen(now, &id, bytes);
        }
    }

    /// Whether a copy is under way.
    pub(crate) fn is_copying(&self) -> bool {
        let mut copies = self.snapshots.values().filter(|one| one.copied.is_some());
        copies.any(|one| matches!(one.state, SnapshotState::Pending | SnapshotState::Recovering))
    }

    fn check_region(&self, region: &str) -> Result<()> {
        if region == self.region {
            return Ok(());
        }
        let message = format!("Invalid source region: {region}. There is only {} here.", self.region);
        Err(ApiError::new("InvalidParameterValue", message))
    }

    fn copy_key(&self, (encrypted, key): &(bool, Option<String>)) -> Result<Option<String>> {
        match (encrypted, key) {
            (true, Some(key)) => self.key_arn(key).map(Some),
            (true, None) => self.key_arn("alias/aws/ebs").map(Some),
            (false, None) => Ok(None),
            (false, Some(_)) => {
                let message = "The parameter KmsKeyId requires the parameter Encrypted to be set.";
                Err(ApiError::new("InvalidParameterDependency", message))
            }
        }
    }
}

/// What EC2 says of a snapshot that was made of no volume of this account's.
pub(crate) fn volume_of_a_copy() -> VolumeId {
    VolumeId::parse("vol-ffffffff").unwrap_or_else(|_| unreachable!("it is an id"))
}

fn can_freeze(instance: &Instance) -> Result<()> {
    if instance.state.is_settled() {
        return Ok(());
    }
    let message = format!("The instance {} is {}.", instance.id, instance.state.as_str());
    Err(ApiError::new("IncorrectState", message))
}

fn new_snapshot(
    now: Timestamp,
    id: SnapshotId,
    volume: &Volume,
    state: SnapshotState,
    layers: Vec<Layer>,
    request: &CreateSnapshot,
) -> Snapshot {
    Snapshot {
        id,
        progress: if state == SnapshotState::Completed { 100 } else { 0 },
        state,
        started: now,
        volume: volume.id.clone(),
        size: volume.disk.size,
        kms_key: volume.disk.kms_key.clone(),
        bytes: 0,
        description: request.description.clone().unwrap_or_default(),
        layers,
        tags: request.tags.get("snapshot").cloned().unwrap_or_default(),
        copied: None,
        permissions: Default::default(),
    }
}
