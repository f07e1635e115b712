//! What of an instance, an image and a snapshot can be changed after it was made.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    ApiError, AuthorizedKey, Instance, InstanceState, LaunchPermission, Order, Result, World,
    attachments::no_device, launch, refuse_dry_run,
};

/// The parameters of `ModifyInstanceAttribute`: what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModifyInstance {
    /// The type; only of a stopped instance.
    pub instance_type: Option<String>,
    /// The user data, decoded; only of a stopped instance.
    pub user_data: Option<Vec<u8>>,
    /// Whether it can't be terminated by a call.
    pub no_termination: Option<bool>,
    /// Whether it can't be stopped by a call.
    pub no_stop: Option<bool>,
    /// `stop` or `terminate`.
    pub shutdown_behavior: Option<String>,
    /// The ids of its security groups, which replace those that it has.
    pub security_groups: Option<Vec<String>>,
    /// By device, whether its volume goes with the instance.
    pub delete_on_termination: BTreeMap<String, bool>,
    /// Only ask whether it would be done.
    pub dry_run: bool,
}

impl World {
    /// Changes one attribute of an instance.
    pub fn modify_instance(&mut self, id: &str, change: &ModifyInstance) -> Result<()> {
        let mut instance = self.instance(id)?.clone();
        if matches!(instance.state, InstanceState::ShuttingDown | InstanceState::Terminated) {
            let message = format!("The instance {id} is {}.", instance.state.as_str());
            return Err(ApiError::new("IncorrectInstanceState", message));
        }
        if (change.instance_type.is_some() || change.user_data.is_some())
            && instance.state != InstanceState::Stopped
        {
            let message = format!("The instance '{id}' is not in the 'stopped' state.");
            return Err(ApiError::new("IncorrectInstanceState", message));
        }
        if let Some(kind) = &change.instance_type {
            launch::check_type(kind)?;
            instance.instance_type.clone_from(kind);
        }
        if let Some(data) = &change.user_data {
            launch::check_user_data(data)?;
            instance.user_data = Some(data.clone()).filter(|data| !data.is_empty());
        }
        match change.shutdown_behavior.as_deref() {
            None => {}
            Some("terminate") => instance.terminate_on_shutdown = true,
            Some("stop") if !instance.spot => instance.terminate_on_shutdown = false,
            Some(other) => {
                let problem = "Use stop or terminate; a spot instance is terminated.";
                return Err(ApiError::value(other, "InstanceInitiatedShutdownBehavior", problem));
            }
        }
        if let Some(groups) = &change.security_groups {
            if groups.is_empty() {
                return Err(ApiError::missing("GroupId"));
            }
            let found = self.describe_security_groups(groups, &[])?;
            if let Some(group) = found.iter().find(|group| group.vpc != instance.vpc) {
                let message =
                    format!("Security group {} and instance {id} belong to different networks.", group.id);
                return Err(ApiError::new("InvalidParameter", message));
            }
            instance.security_groups.clone_from(groups);
        }
        instance.no_termination = change.no_termination.unwrap_or(instance.no_termination);
        instance.no_stop = change.no_stop.unwrap_or(instance.no_stop);
        for device in change.delete_on_termination.keys() {
            if !self.volumes_of(&instance.id).iter().any(|volume| volume.device == *device) {
                return Err(no_device(&instance.id, device));
            }
        }
        refuse_dry_run(change.dry_run)?;
        for (device, goes) in &change.delete_on_termination {
            self.set_delete_on_termination(&instance.id, device, *goes)?;
        }
        self.instances.insert(instance.id.clone(), instance);
        Ok(())
    }

    /// Reboots running instances. EC2 shows them as running all the while.
    pub fn reboot_instances(&mut self, ids: &[String], dry_run: bool) -> Result<()> {
        if ids.is_empty() {
            return Err(ApiError::missing("InstanceId"));
        }
        let mut orders = Vec::new();
        for id in ids {
            let instance = self.instance(id)?;
            if instance.state != InstanceState::Running {
                let message =
                    format!("The instance '{id}' is {}: it can't be rebooted.", instance.state.as_str());
                return Err(ApiError::new("IncorrectInstanceState", message));
            }
            orders.push(Order::Reboot { instance: instance.id.clone() });
        }
        refuse_dry_run(dry_run)?;
        self.orders.extend(orders);
        Ok(())
    }

    /// Changes an image's text for people.
    pub fn describe_image_as(&mut self, id: &str, description: &str, dry_run: bool) -> Result<()> {
        let image = self.own_image_mut(id)?;
        refuse_dry_run(dry_run)?;
        description.clone_into(&mut image.description);
        Ok(())
    }

    /// Nobody but its owner may start an image from now on.
    pub fn reset_launch_permissions(&mut self, id: &str, dry_run: bool) -> Result<()> {
        let image = self.own_image_mut(id)?;
        refuse_dry_run(dry_run)?;
        image.standing.permissions.clear();
        Ok(())
    }

    /// Who may make volumes of a snapshot beside its owner.
    pub fn volume_permissions(&self, id: &str) -> Result<BTreeSet<LaunchPermission>> {
        Ok(self.own_snapshot(id)?.permissions.clone())
    }

    /// Lets others make volumes of a snapshot, or no more.
    pub fn modify_volume_permissions(
        &mut self,
        id: &str,
        add: &[LaunchPermission],
        remove: &[LaunchPermission],
        dry_run: bool,
    ) -> Result<()> {
        let snapshot = self.own_snapshot_mut(id)?;
        if snapshot.kms_key.is_some() && add.contains(&LaunchPermission::All) {
            let message = "Encrypted snapshots can't be shared with everybody.";
            return Err(ApiError::new("OperationNotPermitted", message));
        }
        refuse_dry_run(dry_run)?;
        snapshot.permissions.extend(add.iter().cloned());
        snapshot.permissions.retain(|one| !remove.contains(one));
        Ok(())
    }

    /// Nobody but its owner may make volumes of a snapshot from now on.
    pub fn reset_volume_permissions(&mut self, id: &str, dry_run: bool) -> Result<()> {
        let snapshot = self.own_snapshot_mut(id)?;
        refuse_dry_run(dry_run)?;
        snapshot.permissions.clear();
        Ok(())
    }
}

impl Instance {
    /// The key that its machine lets in.
    pub(crate) fn authorized_key(&self) -> Option<AuthorizedKey> {
        let (name, line) = (self.key_name.clone()?, self.public_key.clone()?);
        Some(AuthorizedKey { name, line })
    }

    /// The name in its network, once it has an address.
    pub fn private_dns_name(&self) -> Option<String> {
        let address = self.address.as_ref().filter(|_| self.state != InstanceState::Terminated)?;
        Some(format!("ip-{}.ec2.internal", address.replace('.', "-")))
    }

    /// The id of its network interface.
    pub fn interface_id(&self) -> String {
        format!("eni-{}", self.id.as_str().trim_start_matches("i-"))
    }

    /// The id of that interface's attachment.
    pub fn attachment_id(&self) -> String {
        format!("eni-attach-{}", self.id.as_str().trim_start_matches("i-"))
    }

    /// How its firmware starts it.
    pub fn boot_mode(&self) -> &'static str {
        if self.architecture == "arm64" { "uefi" } else { "legacy-bios" }
    }

    /// Whether its metadata service wants a session token, in EC2's word.
    pub fn http_tokens(&self) -> &'static str {
        if self.tokens_required { "required" } else { "optional" }
    }

    /// What a status check says, and of its reachability: a machine is reachable when it takes commands.
    pub fn check(&self) -> (&'static str, Option<&'static str>) {
        match (self.state, self.agent_since) {
            (InstanceState::Running, Some(_)) => ("ok", Some("passed")),
            (InstanceState::Running, None) => ("initializing", Some("initializing")),
            (
                InstanceState::Pending
                | InstanceState::Stopping
                | InstanceState::Stopped
                | InstanceState::ShuttingDown
                | InstanceState::Terminated,
                _,
            ) => ("not-applicable", None),
        }
    }
}
