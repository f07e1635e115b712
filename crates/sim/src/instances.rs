//! Instances: look, stop, start, terminate.

use jiff::{SignedDuration, Timestamp};
use ovenbird_core::domain::id::{AmiId, InstanceId, VolumeId};
use serde::{Deserialize, Serialize};

use crate::{
    ApiError, Filter, Layer, Order, Page, Paging, Result, Tags, World,
    filters::{Filters, InstanceStatus, NetworkInterface},
    refuse_dry_run,
};

/// A terminated instance is shown this long.
const SHOWN: SignedDuration = SignedDuration::from_hours(1);

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

    /// Whether it runs or is stopped, and is on no way between: only then may its disks be frozen or changed.
    pub(crate) fn is_settled(self) -> bool {
        match self {
            Self::Running | Self::Stopped => true,
            Self::Pending | Self::Stopping | Self::ShuttingDown | Self::Terminated => false,
        }
    }
}

fn x86_64() -> String {
    "x86_64".to_owned()
}

/// An instance as EC2 keeps it. A terminated one stays for an hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// The id that EC2 gave it: `i-…`.
    pub id: InstanceId,
    /// The launch it came with.
    pub reservation: String,
    /// The image it was started from; that may be deregistered by now.
    pub image: AmiId,
    /// The instance type: `c7i.large`.
    pub instance_type: String,
    /// Its image's architecture: `x86_64` or `arm64`. A world saved by an older version had `x86_64` alone.
    #[serde(default = "x86_64")]
    pub architecture: String,
    /// Where it is between launch and termination.
    pub state: InstanceState,
    /// Code and message of the state's reason.
    pub state_reason: Option<(String, String)>,
    /// When it was launched.
    pub launched: Timestamp,
    /// When it was terminated.
    pub terminated: Option<Timestamp>,
    /// The id of the subnet.
    pub subnet: String,
    /// The id of the subnet's network.
    pub vpc: String,
    /// The availability zone of the subnet.
    pub zone: String,
    /// The ids of its security groups.
    pub security_groups: Vec<String>,
    /// The name of its instance profile.
    pub profile: Option<String>,
    /// The name of the key pair that it was launched with.
    #[serde(default)]
    pub key_name: Option<String>,
    /// The line for `authorized_keys` that its metadata service tells.
    #[serde(default)]
    pub public_key: Option<String>,
    /// Whether it can't be terminated by a call.
    #[serde(default)]
    pub no_termination: bool,
    /// Whether it can't be stopped by a call.
    #[serde(default)]
    pub no_stop: bool,
    /// What cloud-init was given, decoded.
    #[serde(with = "crate::base64")]
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
    /// Its tags: at most 50.
    pub tags: Tags,
    /// Since when its SSM agent answers; none while it doesn't.
    pub agent_since: Option<Timestamp>,
    /// What its console showed last; its machine ends with the process, and so does this.
    #[serde(skip)]
    pub console: String,
    /// What its own disk lies on: its image's layers, and a snapshot for each time it was imaged.
    pub layers: Vec<Layer>,
}

/// What a stop, start or termination did to an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateChange {
    /// The instance that was asked to change.
    pub instance: InstanceId,
    /// Its state before.
    pub previous: InstanceState,
    /// Its state now.
    pub current: InstanceState,
}

impl World {
    /// Instances by id, by filter, or all.
    pub fn describe_instances(
        &self,
        now: Timestamp,
        ids: &[String],
        filters: &[Filter],
        paging: &Paging,
    ) -> Result<Page<Instance>> {
        let filters = Filters::<Instance>::read(filters)?;
        if !ids.is_empty() && paging.max_results.is_some() {
            let message = "The parameter instancesSet cannot be used with the parameter maxResults";
            return Err(ApiError::new("InvalidParameterCombination", message));
        }
        for id in ids {
            if !is_shown(self.instance(id)?, now) {
                return Err(ApiError::no_instance(id));
            }
        }
        let named = |instance: &Instance| ids.is_empty() || ids.iter().any(|id| id == instance.id.as_str());
        let found = self.instances.paged(paging);
        let found = found.filter(|one| is_shown(one, now) && named(one) && filters.pass(self, one));
        Ok(paging.cut(found, 5, |instance| instance.id.to_string())?.cloned())
    }

    /// Instances with their checks by id and filter: those that run, or all.
    pub fn describe_instance_status(
        &self,
        now: Timestamp,
        ids: &[String],
        filters: &[Filter],
        all: bool,
        paging: &Paging,
    ) -> Result<Page<Instance>> {
        let filters = Filters::<InstanceStatus>::read(filters)?;
        let everything = self.describe_instances(now, ids, &[], &Paging::default())?.items;
        let shown = everything.into_iter().filter(|one| all || one.state == InstanceState::Running);
        let found = shown.map(InstanceStatus).filter(|one| filters.pass(self, one)).map(|one| one.0);
        paging.cut(found, 5, |instance| instance.id.to_string())
    }

    /// Network interfaces by id and filter, each as the instance that it is of: those that aren't terminated have one.
    pub fn describe_network_interfaces(
        &self,
        ids: &[String],
        filters: &[Filter],
        paging: &Paging,
    ) -> Result<Page<Instance>> {
        let filters = Filters::<NetworkInterface>::read(filters)?;
        let all: Vec<_> = self.live_instances().cloned().map(NetworkInterface).collect();
        if let Some(unknown) = ids.iter().find(|id| !all.iter().any(|one| one.0.interface_id() == **id)) {
            let message = format!("The networkInterface ID '{unknown}' does not exist");
            return Err(ApiError::new("InvalidNetworkInterfaceID.NotFound", message));
        }
        let named = |one: &NetworkInterface| ids.is_empty() || ids.contains(&one.0.interface_id());
        let found = all.into_iter().filter(|one| named(one) && filters.pass(self, one)).map(|one| one.0);
        paging.cut(found, 5, |instance| instance.id.to_string())
    }

    /// The ARN of an instance's profile.
    pub fn profile_arn(&self, instance: &Instance) -> Option<String> {
        let name = instance.profile.as_ref()?;
        Some(format!("arn:aws:iam::{}:instance-profile/{name}", self.account))
    }

    /// Stops running instances; one that is stopped stays so.
    pub fn stop_instances(&mut self, ids: &[String], dry_run: bool) -> Result<Vec<StateChange>> {
        self.change(ids, dry_run, |instance, orders| match instance.state {
            InstanceState::Running | InstanceState::Pending if instance.spot => {
                let message = format!(
                    "You can't stop the Spot Instance '{}' because it is associated with a one-time Spot Instance request. You can only stop Spot Instances associated with persistent Spot Instance requests.",
                    instance.id
                );
                Err(ApiError::new("UnsupportedOperation", message))
            }
            InstanceState::Running | InstanceState::Pending if instance.no_stop => {
                Err(protected(instance, "stopped", "disableApiStop"))
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
            if instance.no_termination {
                return Err(protected(instance, "terminated", "disableApiTermination"));
            }
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

    /// EC2 takes a spot instance's capacity back.
    pub fn interrupt_spot(&mut self, id: &str) -> Result<()> {
        let instance = self.instance_mut(id)?;
        let id = instance.id.clone();
        if !instance.spot || !matches!(instance.state, InstanceState::Pending | InstanceState::Running) {
            return Err(wrong_state(instance, "interrupted"));
        }
        instance.state = InstanceState::ShuttingDown;
        instance.agent_since = None;
        self.end(&id, "Server.SpotInstanceTermination", "Spot instance termination");
        self.orders.push(Order::Destroy { instance: id });
        Ok(())
    }

    /// What an instance's console showed last.
    pub fn get_console_output(&self, id: &str) -> Result<(InstanceId, String)> {
        self.instance(id).map(|instance| (instance.id.clone(), instance.console.clone()))
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

    /// An instance by its id, while EC2 knows it.
    pub fn instance(&self, id: &str) -> Result<&Instance> {
        self.instances.get(&parsed(id)?).ok_or_else(|| ApiError::no_instance(id))
    }

    pub(crate) fn instance_mut(&mut self, id: &str) -> Result<&mut Instance> {
        self.instances.get_mut(&parsed(id)?).ok_or_else(|| ApiError::no_instance(id))
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

    pub(crate) fn forget_terminated(&mut self, now: Timestamp) {
        self.instances.retain(|_, instance| is_shown(instance, now));
    }
}

fn parsed(id: &str) -> Result<InstanceId> {
    InstanceId::parse(id).map_err(|_| ApiError::malformed("InvalidInstanceID.Malformed", id))
}

/// A terminated instance is, for a while.
fn is_shown(instance: &Instance, now: Timestamp) -> bool {
    instance.terminated.is_none_or(|at| now.duration_since(at) < SHOWN)
}

fn protected(instance: &Instance, what: &str, attribute: &str) -> ApiError {
    let message = format!(
        "The instance '{}' may not be {what}. Modify its '{attribute}' instance attribute and try again.",
        instance.id
    );
    ApiError::new("OperationNotPermitted", message)
}

fn wrong_state(instance: &Instance, wanted: &str) -> ApiError {
    let message = format!(
        "The instance '{}' is not in a state from which it can be {wanted}: it is {}.",
        instance.id,
        instance.state.as_str()
    );
    ApiError::new("IncorrectInstanceState", message)
}
