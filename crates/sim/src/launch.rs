//! `RunInstances`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use ovenbird_core::domain::id::{AmiId, InstanceId, VolumeId};
use serde::{Deserialize, Serialize};

use crate::{
    ApiError, AuthorizedKey, Device, ImageState, Instance, InstanceState, NewVolume, Order, ROOT_DEVICE,
    Result, SecurityGroup, Subnet, Tags, Volume, World,
    capacity::{self, Lack},
    orders::MachineFacts,
    refuse_dry_run, tags,
};

/// EC2's limit for user data, decoded.
const USER_DATA_LIMIT: usize = 16 * 1024;

/// A launch that a client token stands for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Launch {
    request: String,
    instances: Vec<InstanceId>,
}

/// The parameters of `RunInstances`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunInstances {
    /// The id of the image to start from.
    pub image: String,
    /// The instance type; none means EC2's default, `m1.small`.
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
    /// The name of the key pair whose public half its machines let in.
    pub key_name: Option<String>,
    /// Whether they can't be terminated by a call.
    pub no_termination: bool,
    /// Whether they can't be stopped by a call.
    pub no_stop: bool,
    /// Security groups; none means the default one.
    pub security_groups: Vec<String>,
    /// The subnet; none means one of the default network's.
    pub subnet: Option<String>,
    /// `required` or `optional`.
    pub http_tokens: Option<String>,
    /// `stop` or `terminate`.
    pub shutdown_behavior: Option<String>,
    /// The root volume.
    pub volume: NewVolume,
    /// The other volumes by device: the image's, and new ones.
    pub devices: BTreeMap<String, NewVolume>,
    /// Whether a spot instance is asked for, once: it is never stopped, and gone when EC2 takes it back.
    pub spot: bool,
    /// Only ask whether it would be done.
    pub dry_run: bool,
}

/// A launch that EC2 takes.
struct Checked {
    image: AmiId,
    instance_type: String,
    subnet: Subnet,
    groups: Vec<String>,
    devices: Vec<Device>,
    lack: Option<Lack>,
    key: Option<AuthorizedKey>,
}

impl World {
    /// Launches instances, all of one reservation.
    pub fn run_instances(&mut self, now: Timestamp, request: &RunInstances) -> Result<Vec<Instance>> {
        self.forget_terminated(now);
        let text = format!("{:?}", RunInstances { dry_run: false, ..request.clone() });
        if let Some(token) = &request.client_token
            && let Some(known) = self.known_launch(token, &text)?
        {
            return Ok(known);
        }
        let checked = self.check_launch(request)?;
        let reservation = format!("r-{}", &self.next_id("reservation")[..17]);
        let mut launched = Vec::new();
        for index in 0..usize::try_from(request.max_count).unwrap_or(0) {
            launched.push(self.launch(now, request, &checked, &reservation, index));
        }
        if let Some(token) = &request.client_token {
            let instances = launched.iter().map(|instance| instance.id.clone()).collect();
            self.tokens.insert(token.clone(), Launch { request: text, instances });
        }
        Ok(launched)
    }

    /// The instances that a token stands for already.
    fn known_launch(&self, token: &str, text: &str) -> Result<Option<Vec<Instance>>> {
        if token.len() > 64 || !token.is_ascii() {
            let problem = "A token has at most 64 ASCII characters.";
            return Err(ApiError::value(token, "ClientToken", problem));
        }
        let Some(launch) = self.tokens.get(token) else { return Ok(None) };
        if launch.request != text {
            let message = "The client token was already used with other parameters.";
            return Err(ApiError::new("IdempotentParameterMismatch", message));
        }
        let known: Vec<_> =
            launch.instances.iter().filter_map(|id| self.instances.get(id)).cloned().collect();
        // A launch whose instances are forgotten is forgotten, too.
        Ok(Some(known).filter(|known| !known.is_empty()))
    }

    /// Makes one instance; gives it as the launch answers it.
    fn launch(
        &mut self,
        now: Timestamp,
        request: &RunInstances,
        checked: &Checked,
        reservation: &str,
        launch_index: usize,
    ) -> Instance {
        let Checked { image, instance_type, subnet, groups, devices, lack, key: _ } = checked;
        let id = self.fresh(InstanceId::parse, "i");
        let volume = self.fresh(VolumeId::parse, "vol");
        let image = &self.images[image];
        let instance = Instance {
            id: id.clone(),
            reservation: reservation.to_owned(),
            image: image.id.clone(),
            instance_type: instance_type.clone(),
            architecture: image.architecture.clone(),
            state: InstanceState::Pending,
            state_reason: None,
            launched: now,
            terminated: None,
            subnet: subnet.id.clone(),
            vpc: subnet.vpc.clone(),
            zone: subnet.zone.clone(),
            security_groups: groups.clone(),
            profile: request.profile.clone(),
            key_name: request.key_name.clone(),
            public_key: checked.key.as_ref().map(|key| key.line.clone()),
            no_termination: request.no_termination,
            no_stop: request.no_stop,
            user_data: request.user_data.clone(),
            tokens_required: match request.http_tokens.as_deref() {
                Some(tokens) => tokens == "required",
                // The account's own default says nothing here.
                None => image.standing.imdsv2,
            },
            terminate_on_shutdown: request.shutdown_behavior.as_deref() == Some("terminate"),
            spot: request.spot,
            volume: volume.clone(),
            address: None,
            client_token: request.client_token.clone(),
            launch_index,
            tags: request.tags.get("instance").cloned().unwrap_or_default(),
            agent_since: None,
            console: String::new(),
            layers: image.layers.clone(),
        };
        for device in devices {
            let is_root = device.name == ROOT_DEVICE;
            let made = Volume {
                id: if is_root { volume.clone() } else { self.fresh(VolumeId::parse, "vol") },
                device: device.name.clone(),
                instance: Some(id.clone()),
                snapshot: device.snapshot.clone(),
                disk: device.disk.clone(),
                zone: subnet.zone.clone(),
                created: now,
                attached_at: None,
                delete_on_termination: device.delete_on_termination,
                tags: request.tags.get("volume").cloned().unwrap_or_default(),
            };
            self.volumes.insert(made.id.clone(), made);
        }
        self.instances.insert(id.clone(), instance.clone());
        match lack {
            None => self.order_boot(&instance),
            // The answer says `pending`; who looks next sees what became of it.
            Some(_) => {
                self.end(&id, "Server.InsufficientInstanceCapacity", "Insufficient capacity for the launch");
                self.destroyed(now, &id);
            }
        }
        instance
    }

    fn check_launch(&self, request: &RunInstances) -> Result<Checked> {
        let malformed = |_| ApiError::malformed("InvalidAMIID.Malformed", &request.image);
        let id = AmiId::parse(&request.image).map_err(malformed)?;
        let image = self.images.get(&id).ok_or_else(|| ApiError::no_image(&request.image))?;
        match image.state {
            ImageState::Available => {}
            ImageState::Pending | ImageState::Failed | ImageState::Disabled => {
                let message = format!("The AMI ID '{id}' is currently {}", image.state.as_str());
                return Err(ApiError::new("InvalidAMIID.Unavailable", message));
            }
        }
        check_values(request)?;
        let key = request.key_name.as_deref().map(|name| self.authorized_key(name)).transpose()?;
        let devices = self.devices(image, request)?;
        let groups = self.describe_security_groups(&request.security_groups, &[])?;
        // Without a word about it, the default network's own default group.
        let own = |group: &SecurityGroup| {
            let default = group.name == "default" && group.vpc == self.default_vpc();
            !request.security_groups.is_empty() || default
        };
        let groups: Vec<_> = groups.into_iter().filter(own).collect();
        let subnets = match &request.subnet {
            Some(id) => self.describe_subnets(std::slice::from_ref(id), &[])?,
            None => self.subnets.clone(),
        };
        let first = subnets.first().ok_or_else(|| ApiError::missing("SubnetId"))?;
        if let Some(group) = groups.iter().find(|group| group.vpc != first.vpc) {
            let message =
                format!("Security group {} and subnet {} belong to different networks.", group.id, first.id);
            return Err(ApiError::new("InvalidParameter", message));
        }
        refuse_dry_run(request.dry_run)?;
        let instance_type = request.instance_type.clone().unwrap_or_else(|| "m1.small".into());
        let lack = |subnet: &Subnet| self.lack(&instance_type, &subnet.zone, request.spot);
        // Who names no subnet leaves it to EC2 to find a zone that has what it takes.
        let subnet = subnets.iter().find(|subnet| lack(subnet).is_none()).unwrap_or(first).clone();
        let lack = lack(&subnet);
        if let Some(refusal) = lack.and_then(|lack| capacity::refusal(lack, &instance_type, &subnet)) {
            return Err(refusal);
        }
        let groups = groups.into_iter().map(|group| group.id).collect();
        Ok(Checked { image: id, instance_type, subnet, groups, devices, lack, key })
    }

    pub(crate) fn order_boot(&mut self, instance: &Instance) {
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
                spot: instance.spot,
                key: instance.authorized_key(),
            },
        });
    }
}

/// Refuses what is no instance type. Every type that reads like one can be had.
pub(crate) fn check_type(kind: &str) -> Result<()> {
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if kind.split_once('.').is_some_and(|(family, size)| plain(family) && plain(size)) {
        return Ok(());
    }
    Err(ApiError::value(kind, "InstanceType", "Unknown instance type."))
}

/// Refuses user data that EC2 doesn't take.
pub(crate) fn check_user_data(data: &[u8]) -> Result<()> {
    if data.len() > USER_DATA_LIMIT {
        return Err(ApiError::new("InvalidParameterValue", "User data is limited to 16384 bytes"));
    }
    Ok(())
}

/// What can be judged of a launch without a look at anything else.
fn check_values(request: &RunInstances) -> Result<()> {
    if request.min_count < 1 || request.max_count < request.min_count {
        let count = request.min_count.to_string();
        return Err(ApiError::value(&count, "MinCount", "MinCount is 1 to MaxCount."));
    }
    if request.max_count > 100 {
        let message = "You have requested more instances than your current instance limit allows.";
        return Err(ApiError::new("InstanceLimitExceeded", message));
    }
    if let Some(kind) = &request.instance_type {
        check_type(kind)?;
    }
    if let Some(data) = &request.user_data {
        check_user_data(data)?;
    }
    for (parameter, value, allowed) in [
        ("HttpTokens", &request.http_tokens, ["required", "optional"]),
        ("InstanceInitiatedShutdownBehavior", &request.shutdown_behavior, ["stop", "terminate"]),
    ] {
        if let Some(value) = value
            && !allowed.contains(&value.as_str())
        {
            let problem = format!("Use {} or {}.", allowed[0], allowed[1]);
            return Err(ApiError::value(value, parameter, &problem));
        }
    }
    if request.spot && request.shutdown_behavior.as_deref() == Some("stop") {
        let message = "A one-time spot instance can't be stopped.";
        return Err(ApiError::new("InvalidParameterCombination", message));
    }
    for (kind, own) in &request.tags {
        if !matches!(kind.as_str(), "instance" | "volume" | "network-interface" | "spot-instances-request") {
            let parameter = "TagSpecification.ResourceType";
            return Err(ApiError::value(kind, parameter, "Not a resource of a launch."));
        }
        tags::check(own)?;
    }
    Ok(())
}
