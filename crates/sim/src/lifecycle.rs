//! What machines did, as their instances show it.

use jiff::Timestamp;
use ovenbird_core::domain::id::InstanceId;

use crate::{InstanceState, MachineEvent, Order, World};

/// What EC2 keeps of a console, in bytes.
const CONSOLE_LIMIT: usize = 64 * 1024;

impl World {
    pub(crate) fn booted(&mut self, _now: Timestamp, id: &InstanceId) {
        if let Some(instance) = self.instances.get_mut(id)
            && instance.state == InstanceState::Pending
        {
            instance.state = InstanceState::Running;
        }
    }

    /// Notes why an instance ends.
    pub(crate) fn end(&mut self, id: &InstanceId, code: &str, message: &str) {
        if let Some(instance) = self.instances.get_mut(id) {
            instance.state_reason = Some((code.to_owned(), format!("{code}: {message}")));
        }
    }

    pub(crate) fn boot_failed(&mut self, now: Timestamp, id: &InstanceId, reason: &str) {
        self.end(id, "Server.InternalError", reason);
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

    /// The machine boots again by itself. EC2 does not notice: its instance is running all the while, and only what ran
    /// in the machine has ended.
    pub(crate) fn rebooted(&mut self, now: Timestamp, id: &InstanceId) {
        self.end_commands(now, id);
        if let Some(instance) = self.instances.get_mut(id) {
            instance.agent_since = None;
        }
    }

    pub(crate) fn destroyed(&mut self, now: Timestamp, id: &InstanceId) {
        self.end_commands(now, id);
        if let Some(instance) = self.instances.get_mut(id) {
            instance.state = InstanceState::Terminated;
            instance.terminated.get_or_insert(now);
            instance.agent_since = None;
        }
        self.detach_volumes(id);
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
            self.apply(now, MachineEvent::Destroyed { instance: id });
        }
        self.fail_unfinished("The host was lost");
        self.orders.clear();
    }
}
