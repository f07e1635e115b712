//! EC2, Auto Scaling, Elastic Load Balancing and SSM's commands as one pure, strict model with a given clock.
//!
//! The model does no I/O: [`World::take_orders`] gives what machines must do, and
//! [`World::apply`] takes what they did.
//! The local cloud carries the orders out for real, tests with simulated machines in virtual time. It is
//! stricter than AWS where it differs, never laxer.

pub mod alarms;
mod attachments;
mod attributes;
pub mod auto_scaling;
mod base64;
mod capacity;
mod commands;
mod consistency;
mod copies;
mod error;
mod filters;
mod image_parameters;
mod image_stages;
mod images;
mod imports;
mod instance_types;
mod instances;
mod kept;
mod key_pairs;
mod launch;
pub mod launch_templates;
mod lifecycle;
pub mod load_balancing;
mod network;
mod orders;
mod paging;
mod recycle_bin;
mod register;
pub mod security_groups;
mod served;
mod snapshot_locks;
mod snapshots;
mod table;
mod tags;
mod volumes;

use std::collections::BTreeMap;

use jiff::Timestamp;
use ovenbird_core::domain::{
    digest,
    id::{AmiId, CommandId, InstanceId, SnapshotId, VolumeId},
};
use serde::{Deserialize, Serialize};

use self::table::Table;
pub use self::{
    attachments::CreateVolume,
    attributes::ModifyInstance,
    capacity::{Lack, Shortage},
    commands::{Command, CommandStatus, InstanceInformation, Invocation, SendCommand},
    consistency::{Asked, Consistency, Past},
    copies::{CopyImage, CopySnapshot, CreateSnapshot, CreateSnapshots},
    error::ApiError,
    filters::{Filter, time_text},
    image_parameters::{ImageParameters, Validation},
    image_stages::{LaunchPermission, Standing},
    images::{BaseImage, CreateImage, DescribeImages, Image, ImageState},
    imports::ImportDisk,
    instance_types::InstanceType,
    instances::{Instance, InstanceState, StateChange},
    kept::Change,
    key_pairs::{AuthorizedKey, KeyPair, NewKeyPair},
    launch::RunInstances,
    network::{Subnet, Vpc, zone_id},
    orders::{Layer, MachineEvent, MachineFacts, Order},
    paging::{Page, Paging},
    recycle_bin::{BinKind, BinRule, BinTag, Binned},
    register::RegisterImage,
    security_groups::SecurityGroup,
    served::filters,
    snapshot_locks::{Lasts, LockSnapshot, LockedSnapshot, SnapshotLock},
    snapshots::{Snapshot, SnapshotState},
    tags::TagDescription,
    volumes::{Device, Disk, NewVolume, ROOT_DEVICE, Volume},
};

/// The tags of a resource.
pub type Tags = BTreeMap<String, String>;

/// The result of an API operation.
pub type Result<T, E = ApiError> = std::result::Result<T, E>;

/// One account in one Region.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct World {
    account: String,
    region: String,
    /// How many ids were given out; they are derived from it, so that a run can be repeated to the letter.
    sequence: u64,
    #[serde(default)]
    instances: Table<InstanceId, Instance>,
    #[serde(default)]
    volumes: Table<VolumeId, Volume>,
    #[serde(default)]
    images: Table<AmiId, Image>,
    #[serde(default)]
    snapshots: Table<SnapshotId, Snapshot>,
    #[serde(default)]
    commands: Table<CommandId, Command>,
    #[serde(default)]
    tokens: Table<String, launch::Launch>,
    /// What `CopyImage` with a token was asked for, and what it made.
    #[serde(default)]
    copy_tokens: Table<String, (String, AmiId)>,
    /// The same of `CreateVolume`.
    #[serde(default)]
    volume_tokens: Table<String, (String, VolumeId)>,
    #[serde(default)]
    key_pairs: Table<String, KeyPair>,
    #[serde(default)]
    shortages: Vec<Shortage>,
    vpcs: Vec<Vpc>,
    subnets: Vec<Subnet>,
    #[serde(default)]
    security_groups: Table<String, SecurityGroup>,
    #[serde(default)]
    templates: launch_templates::LaunchTemplates,
    /// What `resolve:ssm:` and a parameter's name stand for.
    #[serde(default)]
    image_parameters: Table<String, String>,
    #[serde(default)]
    balancing: load_balancing::LoadBalancing,
    #[serde(default)]
    alarms: Table<String, alarms::Alarm>,
    #[serde(default)]
    scaling: auto_scaling::AutoScaling,
    #[serde(default)]
    recycle_bin: recycle_bin::RecycleBin,
    #[serde(default)]
    locks: Table<SnapshotId, SnapshotLock>,
    #[serde(skip)]
    orders: Vec<Order>,
}

impl World {
    /// An account with a default network and nothing in it.
    pub fn new(account: &str, region: &str) -> Self {
        let (vpcs, subnets, security_groups) = network::default(account, region);
        Self {
            account: account.to_owned(),
            region: region.to_owned(),
            sequence: 0,
            instances: Table::default(),
            volumes: Table::default(),
            images: Table::default(),
            snapshots: Table::default(),
            commands: Table::default(),
            tokens: Table::default(),
            copy_tokens: Table::default(),
            volume_tokens: Table::default(),
            key_pairs: Table::default(),
            shortages: Vec::new(),
            vpcs,
            subnets,
            security_groups: security_groups.into(),
            templates: launch_templates::LaunchTemplates::default(),
            image_parameters: Table::default(),
            balancing: load_balancing::LoadBalancing::default(),
            alarms: Table::default(),
            scaling: auto_scaling::AutoScaling::default(),
            recycle_bin: recycle_bin::RecycleBin::default(),
            locks: Table::default(),
            orders: Vec::new(),
        }
    }

    /// The number of the account, twelve digits.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The Region that everything is in.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Every instance that EC2 still shows.
    pub fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.instances.values()
    }

    /// The instances that aren't terminated.
    pub fn live_instances(&self) -> impl Iterator<Item = &Instance> {
        self.instances.values().filter(|instance| instance.state != InstanceState::Terminated)
    }

    /// Every volume.
    pub fn volumes(&self) -> impl Iterator<Item = &Volume> {
        self.volumes.values()
    }

    /// An image, whoever owns it.
    pub fn image(&self, id: &AmiId) -> Option<&Image> {
        self.images.get(id)
    }

    /// Every image of this account.
    pub fn own_images(&self) -> impl Iterator<Item = &Image> {
        self.images.values().filter(|image| image.owner == self.account)
    }

    /// Every snapshot of this account.
    pub fn snapshots(&self) -> impl Iterator<Item = &Snapshot> {
        self.snapshots.values()
    }

    /// What is there, one line each.
    pub fn dump(&self) -> String {
        let instances =
            self.live_instances().map(|one| format!("{} {:?} of {}", one.id, one.state, one.image));
        let volumes = self.volumes().map(|one| match &one.instance {
            Some(instance) => format!("{} of {instance}", one.id),
            None => format!("{} of nothing", one.id),
        });
        let images = self.own_images().map(|one| format!("{} {:?} {}", one.id, one.state, one.name));
        let snapshots = self.snapshots().map(|one| format!("{} {:?}", one.id, one.state));
        instances.chain(volumes).chain(images).chain(snapshots).map(|line| line + "\n").collect()
    }

    /// What the machines must do now, in this order; asked again, what came since.
    pub fn take_orders(&mut self) -> Vec<Order> {
        std::mem::take(&mut self.orders)
    }

    /// What time and machines bring about: load balancers become active, drained targets go, Auto Scaling groups launch,
    /// check, replace, scale and refresh.
    ///
    /// Whoever holds the clock calls it again and again; a second is often enough. Twice at one time is once.
    pub fn tick(&mut self, now: Timestamp) {
        self.forget_terminated(now);
        self.finish_copies(now);
        self.empty_bin(now);
        self.tick_load_balancing(now);
        self.tick_auto_scaling(now);
    }

    /// Whether there is anything that time brings about: a group, a load balancer with its targets, a copy.
    pub fn needs_ticks(&self) -> bool {
        self.auto_scaling_groups().next().is_some() || self.has_load_balancing() || self.is_copying()
    }

    /// What the machines did.
    pub fn apply(&mut self, now: Timestamp, event: MachineEvent) {
        match event {
            MachineEvent::Booted { instance } => self.booted(now, &instance),
            MachineEvent::BootFailed { instance, reason } => self.boot_failed(now, &instance, &reason),
            MachineEvent::Rebooted { instance } => self.rebooted(now, &instance),
            MachineEvent::PoweredOff { instance } => self.powered_off(now, &instance),
            MachineEvent::Destroyed { instance } => self.destroyed(now, &instance),
            MachineEvent::AgentOnline { instance } => self.agent_online(now, &instance),
            MachineEvent::Console { instance, text } => self.console(&instance, text),
            MachineEvent::Frozen { snapshot, bytes } => self.frozen(now, &snapshot, bytes),
            MachineEvent::FreezeFailed { snapshot, reason } => self.freeze_failed(&snapshot, &reason),
            MachineEvent::SnapshotProgress { snapshot, percent } => self.progressed(&snapshot, percent),
            MachineEvent::CommandStarted { instance, command } => self.command_started(&instance, &command),
            MachineEvent::CommandEnded { instance, command, exit, stdout, stderr, timed_out } => {
                let end = commands::CommandEnd { exit, stdout, stderr, timed_out };
                self.command_ended(now, &instance, &command, end);
            }
            MachineEvent::HostLost => self.host_lost(now),
        }
    }

    /// The next id's random-looking part.
    fn next_id(&mut self, kind: &str) -> String {
        self.sequence += 1;
        let seed = format!("{}/{}/{kind}/{}", self.account, self.region, self.sequence);
        digest::sha256(seed.as_bytes()).as_str().to_owned()
    }
}

/// What the caller asked not to be done: AWS answers that it could have been.
fn refuse_dry_run(dry_run: bool) -> Result<()> {
    if dry_run { Err(ApiError::dry_run()) } else { Ok(()) }
}
