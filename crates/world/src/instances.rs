//! Instances and their volumes: launch, look, stop, start, terminate.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use ovenbird_core::id::{AmiId, InstanceId, SnapshotId, VolumeId};
use serde::{Deserialize, Serialize};

use crate::{
    ApiError, Filter, ImageState, Layer, News, Order, Page, Paging, Result, Tags, World,
    filters::{Filtered, matches},
    orders::MachineFacts,
    refuse_dry_run, tags,
};

/// A terminated instance is shown this long.
const SHOWN: SignedDuration = SignedDuration::from_hours(1);

/// EC2's limit for user data, decoded.
const USER_DATA_LIMIT: usize = 16 * 1024;

/// What EC2 keeps of a console, in bytes.
const CONSOLE_LIMIT: usize = 64 * 1024;

/// EC2's states of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstanceState {
    /// Starting.
    Pending,
    /// Up.
    Running,
    /// Being stopped.
    Stopping,
    /// Stopped.
    Stopped,
    /// Being terminated.
    ShuttingDown,
    /// Gone.
    Terminated,
}

impl InstanceState {
    /// EC2's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::ShuttingDown => "shutting-down",
            Self::Terminated => "terminated",
        }
    }

    /// EC2's number.
    pub fn code(self) -> u16 {
        match self {
            Self::Pending => 0,
            Self::Running => 16,
            Self::ShuttingDown => 32,
            Self::Terminated => 48,
            Self::Stopping => 64,
            Self::Stopped => 80,
        }
    }
}

/// An instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// The launch it came with.
    pub reservation: String,
    /// Its image.
    pub image: AmiId,
    /// Its type.
    pub instance_type: String,
    /// Its state.
    pub state: InstanceState,
    /// Code and message of the state's reason.
    pub state_reason: Option<(String, String)>,
    /// When it was launched.
    pub launched: Timestamp,
    /// When it was terminated.
    pub terminated: Option<Timestamp>,
    /// Its subnet.
    pub subnet: String,
    /// Its network.
    pub vpc: String,
    /// Its zone.
    pub zone: String,
    /// Its security groups.
    pub security_groups: Vec<String>,
    /// The name of its instance profile.
    pub profile: Option<String>,
    /// Its user data.
    pub user_data: Option<Vec<u8>>,
    /// Whether its metadata service wants a session token.
    pub tokens_required: bool,
    /// Whether it is terminated when it powers itself off.
    pub terminate_on_shutdown: bool,
    /// Whether it is a spot instance.
    pub spot: bool,
    /// Its root volume.
    pub volume: VolumeId,
    /// Its address, once its machine has one.
    pub address: Option<String>,
    /// The token it was launched with.
    pub client_token: Option<String>,
    /// Its place in its launch.
    pub launch_index: usize,
    /// Its tags.
    pub tags: Tags,
    /// Since when its SSM agent answers; none while it doesn't.
    pub agent_since: Option<Timestamp>,
    /// What its console showed last.
    #[serde(default)]
    pub console: String,
    /// What its own disk lies on: its image's layers, and a snapshot for each time it was imaged.
    pub layers: Vec<Layer>,
}

/// A volume: every instance has one, its root disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its id.
    pub id: VolumeId,
    /// The instance it is attached to.
    pub instance: InstanceId,
    /// The snapshot it was made from.
    pub snapshot: Option<SnapshotId>,
    /// Its size in GiB.
    pub size: u32,
    /// Its zone.
    pub zone: String,
    /// When it was made.
    pub created: Timestamp,
    /// Whether it goes with its instance.
    pub delete_on_termination: bool,
    /// Its tags.
    pub tags: Tags,
}

/// A launch that a client token stands for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Launch {
    request: String,
    instances: Vec<InstanceId>,
}

/// The parameters of `RunInstances`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunInstances {
    /// The image.
    pub image: String,
    /// The type.
    pub instance_type: Option<String>,
    /// At least so many.
    pub min_count: i64,
    /// At most so many.
    pub max_count: i64,
    /// The user data, decoded.
    pub user_data: Option<Vec<u8>>,
    /// The token that makes a repetition the same launch.
    pub client_token: Option<String>,
    /// Tags by kind of resource: `instance`, `volume`.
    pub tags: BTreeMap<String, Tags>,
    /// The name of the instance profile.
    pub profile: Option<String>,
    /// Security groups; none means the default one.
    pub security_groups: Vec<String>,
    /// The subnet; none means one of the default network's.
    pub subnet: Option<String>,
    /// `required` or `optional`.
    pub http_tokens: Option<String>,
    /// `stop` or `terminate`.
    pub shutdown_behavior: Option<String>,
    /// The size of the root volume in GiB.
    pub volume_size: Option<u32>,
    /// Whether the root volume goes with the instance.
    pub delete_on_termination: Option<bool>,
    /// Whether a spot instance is asked for.
    pub spot: bool,
    /// Only ask whether it would be done.
    pub dry_run: bool,
}

/// What a stop, start or termination did to an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateChange {
    /// Which.
    pub instance: InstanceId,
    /// Its state before.
    pub previous: InstanceState,
    /// Its state now.
    pub current: InstanceState,
}

impl World {
    /// Launches instances, all of one reservation.
    pub fn run_instances(&mut self, now: Timestamp, request: &RunInstances) -> Result<Vec<Instance>> {
        let text = format!("{:?}", RunInstances { dry_run: false, ..request.clone() });
        if let Some(token) = &request.client_token {
            if token.len() > 64 || !token.is_ascii() {
                return Err(ApiError::value(
                    token,
                    "ClientToken",
                    "A token has at most 64 ASCII characters.",
                ));
            }
            if let Some(launch) = self.tokens.get(token) {
                if launch.request != text {
                    let message = "The client token was already used with other parameters.";
                    return Err(ApiError::new("IdempotentParameterMismatch", message));
                }
                let known: Vec<_> =
                    launch.instances.iter().filter_map(|id| self.instances.get(id)).cloned().collect();
                // A launch whose instances are forgotten is forgotten, too.
                if !known.is_empty() {
                    return Ok(known);
                }
            }
        }
        let (image, subnet, groups) = self.check_launch(request)?;
        refuse_dry_run(request.dry_run)?;
        let reservation = format!("r-{}", &self.next_id("reservation")[..17]);
        let mut launched = Vec::new();
        for index in 0..usize::try_from(request.max_count).unwrap_or(0) {
            let id = self.fresh(InstanceId::parse, "i");
            let volume = self.fresh(VolumeId::parse, "vol");
            let instance = Instance {
                id: id.clone(),
                reservation: reservation.clone(),
                image: image.clone(),
                instance_type: request.instance_type.clone().unwrap_or_else(|| "m1.small".into()),
                state: InstanceState::Pending,
                state_reason: None,
                launched: now,
                terminated: None,
                subnet: subnet.id.clone(),
                vpc: subnet.vpc.clone(),
                zone: subnet.zone.clone(),
                security_groups: groups.clone(),
                profile: request.profile.clone(),
                user_data: request.user_data.clone(),
                tokens_required: request.http_tokens.as_deref() == Some("required"),
                terminate_on_shutdown: request.shutdown_behavior.as_deref() == Some("terminate"),
                spot: request.spot,
                volume: volume.clone(),
                address: None,
                client_token: request.client_token.clone(),
                launch_index: index,
                tags: request.tags.get("instance").cloned().unwrap_or_default(),
                agent_since: None,
                console: String::new(),
                layers: self.images[&image].layers.clone(),
            };
            let image = &self.images[&image];
            let size = request.volume_size.unwrap_or(image.size).max(image.size);
            self.volumes.insert(
                volume.clone(),
                Volume {
                    id: volume,
                    instance: id.clone(),
                    snapshot: image.snapshot.clone(),
                    size,
                    zone: subnet.zone.clone(),
                    created: now,
                    delete_on_termination: request.delete_on_termination.unwrap_or(true),
                    tags: request.tags.get("volume").cloned().unwrap_or_default(),
                },
            );
            self.order_boot(&instance);
            self.instances.insert(id, instance.clone());
            launched.push(instance);
        }
        if let Some(token) = &request.client_token {
            let instances = launched.iter().map(|instance| instance.id.clone()).collect();
            self.tokens.insert(token.clone(), Launch { request: text, instances });
        }
        Ok(launched)
    }

    fn check_launch(&self, request: &RunInstances) -> Result<(AmiId, crate::Subnet, Vec<String>)> {
        let malformed = |_| ApiError::malformed("InvalidAMIID.Malformed", &request.image);
        let image = AmiId::parse(&request.image).map_err(malformed)?;
        let found = self.images.get(&image).ok_or_else(|| ApiError::no_image(&request.image))?;
        match found.state {
            ImageState::Available => {}
            ImageState::Pending | ImageState::Failed => {
                let message = format!("The AMI ID '{image}' is currently {}", found.state.as_str());
                return Err(ApiError::new("InvalidAMIID.Unavailable", message));
            }
        }
        if request.min_count < 1 || request.max_count < request.min_count {
            return Err(ApiError::value(
                &request.min_count.to_string(),
                "MinCount",
                "MinCount is 1 to MaxCount.",
            ));
        }
        if request.max_count > 100 {
            let message = "You have requested more instances than your current instance limit allows.";
            return Err(ApiError::new("InstanceLimitExceeded", message));
        }
        if let Some(kind) = &request.instance_type {
            let plain =
                |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            if !kind.split_once('.').is_some_and(|(family, size)| plain(family) && plain(size)) {
                return Err(ApiError::value(kind, "InstanceType", "Unknown instance type."));
            }
        }
        if request.user_data.as_ref().is_some_and(|data| data.len() > USER_DATA_LIMIT) {
            let message = "User data is limited to 16384 bytes";
            return Err(ApiError::new("InvalidParameterValue", message));
        }
        for (parameter, value, allowed) in [
            ("HttpTokens", &request.http_tokens, ["required", "optional"]),
            ("InstanceInitiatedShutdownBehavior", &request.shutdown_behavior, ["stop", "terminate"]),
        ] {
            if let Some(value) = value
                && !allowed.contains(&value.as_str())
            {
                return Err(ApiError::value(
                    value,
                    parameter,
                    &format!("Use {} or {}.", allowed[0], allowed[1]),
                ));
            }
        }
        if request.spot && request.shutdown_behavior.as_deref() == Some("stop") {
            let message = "A one-time spot instance can't be stopped.";
            return Err(ApiError::new("InvalidParameterCombination", message));
        }
        for (kind, own) in &request.tags {
            if !matches!(
                kind.as_str(),
                "instance" | "volume" | "network-interface" | "spot-instances-request"
            ) {
                return Err(ApiError::value(
                    kind,
                    "TagSpecification.ResourceType",
                    "Not a resource of a launch.",
                ));
            }
            tags::check(own)?;
        }
        let subnet = match &request.subnet {
            Some(id) => self.describe_subnets(std::slice::from_ref(id), &[])?,
            None => self.subnets.clone(),
        };
        let subnet = subnet.into_iter().next().ok_or_else(|| ApiError::missing("SubnetId"))?;
        let groups = self.describe_security_groups(&request.security_groups, &[])?;
        let groups = groups.into_iter().map(|group| group.id);
        let groups =
            if request.security_groups.is_empty() { groups.take(1).collect() } else { groups.collect() };
        Ok((image, subnet, groups))
    }

    fn order_boot(&mut self, instance: &Instance) {
        self.orders.push(Order::Boot {
            instance: instance.id.clone(),
            layers: instance.layers.clone(),
            user_data: instance.user_data.clone(),
            facts: MachineFacts {
                image: instance.image.to_string(),
                instance_type: instance.instance_type.clone(),
                zone: instance.zone.clone(),
                profile: instance.profile.clone(),
                tokens_required: instance.tokens_required,
            },
        });
    }

    /// Instances by id, by filter, or all.
    pub fn describe_instances(
        &mut self,
        now: Timestamp,
        ids: &[String],
        filters: &[Filter],
        paging: &Paging,
    ) -> Result<Page<Instance>> {
        if !ids.is_empty() && paging.max_results.is_some() {
            let message = "The parameter instancesSet cannot be used with the parameter maxResults";
            return Err(ApiError::new("InvalidParameterCombination", message));
        }
        self.forget_terminated(now);
        for id in ids {
            self.instance_mut(id)?;
        }
        let mut found = Vec::new();
        for instance in self.instances.values() {
            if (ids.is_empty() || ids.iter().any(|id| id == instance.id.as_str()))
                && matches(instance, filters)?
            {
                found.push(instance.clone());
            }
        }
        paging.cut(found, 5, |instance| instance.id.to_string())
    }

    /// Volumes by id, by filter, or all.
    pub fn describe_volumes(
        &self,
        ids: &[String],
        filters: &[Filter],
        paging: &Paging,
    ) -> Result<Page<Volume>> {
        for id in ids {
            if !self.volumes.keys().any(|volume| volume.as_str() == id) {
                return Err(ApiError::new(
                    "InvalidVolume.NotFound",
                    format!("The volume '{id}' does not exist."),
                ));
            }
        }
        let mut found = Vec::new();
        for volume in self.volumes.values() {
            if (ids.is_empty() || ids.iter().any(|id| id == volume.id.as_str())) && matches(volume, filters)?
            {
                found.push(volume.clone());
            }
        }
        paging.cut(found, 5, |volume| volume.id.to_string())
    }

    /// Stops running instances; one that is stopped stays so.
    pub fn stop_instances(&mut self, ids: &[String], dry_run: bool) -> Result<Vec<StateChange>> {
        self.change(ids, dry_run, |instance, orders| match instance.state {
            InstanceState::Running | InstanceState::Pending if instance.spot => {
                let message =
                    "You can't stop the Spot Instance because it is associated with a one-time request.";
                Err(ApiError::new("UnsupportedOperation", message))
            }
            InstanceState::Running | InstanceState::Pending => {
                instance.state = InstanceState::Stopping;
                instance.agent_since = None;
                let reason = "Client.UserInitiatedShutdown";
                instance.state_reason = Some((reason.into(), format!("{reason}: User initiated shutdown")));
                orders.push(Order::PowerOff { instance: instance.id.clone() });
                Ok(())
            }
            InstanceState::Stopping | InstanceState::Stopped => Ok(()),
            InstanceState::ShuttingDown | InstanceState::Terminated => Err(wrong_state(instance, "stopped")),
        })
    }

    /// Starts stopped instances; one that runs goes on.
    pub fn start_instances(&mut self, ids: &[String], dry_run: bool) -> Result<Vec<StateChange>> {
        let changes = self.change(ids, dry_run, |instance, _| match instance.state {
            InstanceState::Stopped => {
                instance.state = InstanceState::Pending;
                instance.state_reason = None;
                Ok(())
            }
            InstanceState::Pending | InstanceState::Running => Ok(()),
            InstanceState::Stopping | InstanceState::ShuttingDown | InstanceState::Terminated => {
                Err(wrong_state(instance, "started"))
            }
        })?;
        for change in &changes {
            if change.previous == InstanceState::Stopped {
                let instance = self.instances[&change.instance].clone();
                self.order_boot(&instance);
            }
        }
        Ok(changes)
    }

    /// Terminates instances; one that is terminated stays so.
    pub fn terminate_instances(&mut self, ids: &[String], dry_run: bool) -> Result<Vec<StateChange>> {
        self.change(ids, dry_run, |instance, orders| {
            match instance.state {
                InstanceState::ShuttingDown | InstanceState::Terminated => {}
                InstanceState::Pending
                | InstanceState::Running
                | InstanceState::Stopping
                | InstanceState::Stopped => {
                    instance.state = InstanceState::ShuttingDown;
                    instance.agent_since = None;
                    let reason = "Client.UserInitiatedShutdown";
                    instance.state_reason =
                        Some((reason.into(), format!("{reason}: User initiated shutdown")));
                    orders.push(Order::Destroy { instance: instance.id.clone() });
                }
            }
            Ok(())
        })
    }

    /// What an instance's console showed last.
    pub fn get_console_output(&mut self, id: &str) -> Result<(InstanceId, String)> {
        self.instance_mut(id).map(|instance| (instance.id.clone(), instance.console.clone()))
    }

    fn change(
        &mut self,
        ids: &[String],
        dry_run: bool,
        apply: impl Fn(&mut Instance, &mut Vec<Order>) -> Result<()>,
    ) -> Result<Vec<StateChange>> {
        if ids.is_empty() {
            return Err(ApiError::missing("InstanceId"));
        }
        // All or none: an unknown or unfit instance leaves the others as they are.
        let mut changed = Vec::new();
        let mut orders = Vec::new();
        for id in ids {
            let mut instance = self.instance_mut(id)?.clone();
            let previous = instance.state;
            apply(&mut instance, &mut orders)?;
            changed.push((instance, previous));
        }
        refuse_dry_run(dry_run)?;
        self.orders.extend(orders);
        let mut changes = Vec::new();
        for (instance, previous) in changed {
            changes.push(StateChange { instance: instance.id.clone(), previous, current: instance.state });
            self.instances.insert(instance.id.clone(), instance);
        }
        Ok(changes)
    }

    pub(crate) fn instance_mut(&mut self, id: &str) -> Result<&mut Instance> {
        let parsed =
            InstanceId::parse(id).map_err(|_| ApiError::malformed("InvalidInstanceID.Malformed", id))?;
        self.instances.get_mut(&parsed).ok_or_else(|| ApiError::no_instance(id))
    }

    /// An id of a kind that is not yet taken.
    pub(crate) fn fresh<I, E: std::fmt::Debug>(
        &mut self,
        parse: impl Fn(&str) -> Result<I, E>,
        prefix: &str,
    ) -> I {
        let id = format!("{prefix}-{}", &self.next_id(prefix)[..17]);
        parse(&id).unwrap_or_else(|error| unreachable!("{id} is an id by construction: {error:?}"))
    }

    fn forget_terminated(&mut self, now: Timestamp) {
        self.instances
            .retain(|_, instance| instance.terminated.is_none_or(|at| now.duration_since(at) < SHOWN));
    }

    pub(crate) fn booted(&mut self, _now: Timestamp, id: &InstanceId) {
        if let Some(instance) = self.instances.get_mut(id)
            && instance.state == InstanceState::Pending
        {
            instance.state = InstanceState::Running;
        }
    }

    pub(crate) fn boot_failed(&mut self, now: Timestamp, id: &InstanceId, reason: &str) {
        if let Some(instance) = self.instances.get_mut(id) {
            instance.state_reason =
                Some(("Server.InternalError".into(), format!("Server.InternalError: {reason}")));
        }
        self.destroyed(now, id);
        self.orders.push(Order::Destroy { instance: id.clone() });
    }

    /// The machine's init ended: as ordered, or because the machine powered itself off.
    pub(crate) fn powered_off(&mut self, now: Timestamp, id: &InstanceId) {
        self.end_commands(now, id);
        let Some(instance) = self.instances.get_mut(id) else { return };
        instance.agent_since = None;
        match instance.state {
            InstanceState::Stopping => instance.state = InstanceState::Stopped,
            InstanceState::Pending | InstanceState::Running => {
                let reason = "Client.InstanceInitiatedShutdown";
                instance.state_reason =
                    Some((reason.into(), format!("{reason}: Instance initiated shutdown")));
                if instance.terminate_on_shutdown || instance.spot {
                    instance.state = InstanceState::ShuttingDown;
                    self.orders.push(Order::Destroy { instance: id.clone() });
                } else {
                    instance.state = InstanceState::Stopped;
                }
            }
            InstanceState::Stopped | InstanceState::ShuttingDown | InstanceState::Terminated => {}
        }
    }

    pub(crate) fn destroyed(&mut self, now: Timestamp, id: &InstanceId) {
        self.end_commands(now, id);
        if let Some(instance) = self.instances.get_mut(id) {
            instance.state = InstanceState::Terminated;
            instance.terminated.get_or_insert(now);
            instance.agent_since = None;
        }
        self.volumes.retain(|_, volume| volume.instance != *id || !volume.delete_on_termination);
    }

    pub(crate) fn agent_online(&mut self, now: Timestamp, id: &InstanceId) {
        if let Some(instance) = self.instances.get_mut(id)
            && instance.state == InstanceState::Running
            // Without a profile the agent has no credentials, and never registers.
            && instance.profile.is_some()
        {
            instance.agent_since = Some(now);
        }
    }

    pub(crate) fn console(&mut self, id: &InstanceId, mut text: String) {
        if let Some(instance) = self.instances.get_mut(id) {
            while text.len() > CONSOLE_LIMIT {
                text.remove(0);
            }
            instance.console = text;
        }
    }

    /// Tells an instance's address, which the machines choose.
    pub fn set_address(&mut self, id: &InstanceId, address: &str) {
        if let Some(instance) = self.instances.get_mut(id) {
            instance.address = Some(address.to_owned());
        }
    }

    /// The machines are gone with their host: nothing of them can come back.
    pub(crate) fn host_lost(&mut self, now: Timestamp) {
        let ids: Vec<InstanceId> = self.instances.keys().cloned().collect();
        for id in ids {
            if let Some(instance) = self.instances.get_mut(&id)
                && instance.state != InstanceState::Terminated
            {
                let reason = "Server.InternalError";
                instance.state_reason = Some((reason.into(), format!("{reason}: The host was lost")));
            }
            self.hear(now, News::Destroyed { instance: id });
        }
        self.fail_unfinished("The host was lost");
        self.orders.clear();
    }
}

fn wrong_state(instance: &Instance, wanted: &str) -> ApiError {
    let message = format!(
        "The instance '{}' is not in a state from which it can be {wanted}: it is {}.",
        instance.id,
        instance.state.as_str()
    );
    ApiError::new("IncorrectInstanceState", message)
}

impl Filtered for Instance {
    fn field(&self, name: &str) -> Option<Vec<String>> {
        Some(vec![match name {
            "instance-id" => self.id.to_string(),
            "instance-state-name" => self.state.as_str().to_owned(),
            "instance-state-code" => self.state.code().to_string(),
            "instance-type" => self.instance_type.clone(),
            "image-id" => self.image.to_string(),
            "vpc-id" => self.vpc.clone(),
            "subnet-id" => self.subnet.clone(),
            "availability-zone" => self.zone.clone(),
            "reservation-id" => self.reservation.clone(),
            "client-token" => self.client_token.clone().unwrap_or_default(),
            "private-ip-address" => self.address.clone().unwrap_or_default(),
            "instance-lifecycle" => if self.spot { "spot" } else { "scheduled" }.to_owned(),
            "iam-instance-profile.arn" => self.profile.clone().unwrap_or_default(),
            "instance.group-id" | "group-id" => return Some(self.security_groups.clone()),
            "architecture" => "x86_64".to_owned(),
            _ => return None,
        }])
    }
    fn tags(&self) -> &Tags {
        &self.tags
    }
}

impl Filtered for Volume {
    fn field(&self, name: &str) -> Option<Vec<String>> {
        Some(vec![match name {
            "volume-id" => self.id.to_string(),
            "attachment.instance-id" => self.instance.to_string(),
            "availability-zone" => self.zone.clone(),
            "snapshot-id" => self.snapshot.as_ref().map(ToString::to_string).unwrap_or_default(),
            "size" => self.size.to_string(),
            "status" => "in-use".to_owned(),
            _ => return None,
        }])
    }
    fn tags(&self) -> &Tags {
        &self.tags
    }
}
