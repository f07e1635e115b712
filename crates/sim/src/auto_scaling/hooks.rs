//! Lifecycle hooks: a group waits before an instance comes into service, and before it goes.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Group, Member, invalid};
use crate::{ApiError, Result, World};

/// When a hook waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transition {
    /// Before an instance comes into service.
    #[serde(rename = "autoscaling:EC2_INSTANCE_LAUNCHING")]
    Launching,
    /// Before an instance is terminated.
    #[serde(rename = "autoscaling:EC2_INSTANCE_TERMINATING")]
    Terminating,
}

impl Transition {
    /// Auto Scaling's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Launching => "autoscaling:EC2_INSTANCE_LAUNCHING",
            Self::Terminating => "autoscaling:EC2_INSTANCE_TERMINATING",
        }
    }
}

/// How the wait of a hook ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ActionResult {
    /// It goes on.
    Continue,
    /// A new instance is terminated; one that ends anyhow goes on without its other hooks.
    Abandon,
}

impl ActionResult {
    /// Auto Scaling's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Continue => "CONTINUE",
            Self::Abandon => "ABANDON",
        }
    }
}

/// A lifecycle hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Its name, unique in its group.
    pub name: String,
    /// When it waits.
    pub transition: Transition,
    /// How long it waits without a heartbeat, in seconds: 30 to 7,200.
    pub heartbeat_timeout: u32,
    /// How the wait ends when nobody ends it.
    pub default_result: ActionResult,
    /// What is told with every notification.
    pub metadata: Option<String>,
}

impl Hook {
    /// A hook with Auto Scaling's defaults: an hour, then `ABANDON`.
    pub fn new(name: &str, transition: Transition) -> Self {
        Self {
            name: name.to_owned(),
            transition,
            heartbeat_timeout: 3600,
            default_result: ActionResult::Abandon,
            metadata: None,
        }
    }

    /// Whatever heartbeats come, it waits no longer than 48 hours, nor 100 times its timeout.
    fn longest(&self) -> SignedDuration {
        SignedDuration::from_hours(48).min(self.heartbeat() * 100)
    }

    fn heartbeat(&self) -> SignedDuration {
        SignedDuration::from_secs(i64::from(self.heartbeat_timeout))
    }
}

/// A hook that waits, or waited, for an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookWait {
    /// The hook's name.
    pub hook: String,
    /// The token that names this wait.
    pub token: String,
    /// Since when.
    pub since: Timestamp,
    /// Without a heartbeat, until then.
    pub deadline: Timestamp,
    /// In any case, until then.
    pub last_deadline: Timestamp,
    /// How it ended, and whether by its time.
    pub result: Option<(ActionResult, bool)>,
}

impl Group {
    pub(super) fn put_hook(&mut self, hook: Hook) -> Result<()> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_/".contains(&b);
        if hook.name.is_empty() || hook.name.len() > 255 || !hook.name.bytes().all(plain) {
            return Err(invalid("A hook's name has 1 to 255 letters, digits, and - _ /."));
        }
        if !(30..=7200).contains(&hook.heartbeat_timeout) {
            return Err(invalid("HeartbeatTimeout is between 30 and 7200 seconds."));
        }
        if self.hooks.len() >= 50 && !self.hooks.contains_key(&hook.name) {
            return Err(ApiError::new("LimitExceeded", "A group has at most 50 lifecycle hooks."));
        }
        self.hooks.insert(hook.name.clone(), hook);
        Ok(())
    }
}

impl World {
    /// Makes a hook, or changes one. Waits that have begun go on as they are.
    pub fn put_lifecycle_hook(&mut self, group: &str, hook: Hook) -> Result<()> {
        self.group_mut(group)?.put_hook(hook)
    }

    /// Deletes a hook. Waits that have begun are abandoned.
    pub fn delete_lifecycle_hook(&mut self, group: &str, name: &str) -> Result<()> {
        let group = self.group_mut(group)?;
        if group.hooks.remove(name).is_none() {
            return Err(invalid(format!("No Lifecycle Hook found with name {name}")));
        }
        for wait in group.members.iter_mut().flat_map(|member| &mut member.waits) {
            if wait.hook == name {
                wait.result.get_or_insert((ActionResult::Abandon, false));
            }
        }
        Ok(())
    }

    /// Ends a wait, named by its token or by its instance.
    pub fn complete_lifecycle_action(
        &mut self,
        group: &str,
        hook: &str,
        token: Option<&str>,
        instance: Option<&str>,
        result: ActionResult,
    ) -> Result<()> {
        self.open_wait(group, hook, token, instance)?.result = Some((result, false));
        Ok(())
    }

    /// Makes a wait last its hook's timeout from now on, up to its end.
    pub fn record_lifecycle_action_heartbeat(
        &mut self,
        now: Timestamp,
        group: &str,
        hook: &str,
        token: Option<&str>,
        instance: Option<&str>,
    ) -> Result<()> {
        let unknown = || invalid(format!("No Lifecycle Hook found with name {hook}"));
        let heartbeat = self.group_mut(group)?.hooks.get(hook).ok_or_else(unknown)?.heartbeat();
        let wait = self.open_wait(group, hook, token, instance)?;
        wait.deadline = (now + heartbeat).min(wait.last_deadline);
        Ok(())
    }

    fn open_wait(
        &mut self,
        group: &str,
        hook: &str,
        token: Option<&str>,
        instance: Option<&str>,
    ) -> Result<&mut HookWait> {
        let group = self.scaling.groups.get_mut(group).ok_or_else(|| super::no_group(group))?;
        if token.is_none() && instance.is_none() {
            return Err(invalid("Either LifecycleActionToken or InstanceId is needed."));
        }
        let id = instance.or(token).unwrap_or_default();
        let message = format!("No active Lifecycle Action found with ID {id}");
        let of = group
            .members
            .iter_mut()
            .filter(|member| instance.is_none_or(|instance| member.instance.as_str() == instance));
        let mut waits = of.flat_map(|member| &mut member.waits);
        waits
            .find(|wait| {
                wait.hook == hook && wait.result.is_none() && token.is_none_or(|token| wait.token == token)
            })
            .ok_or_else(|| invalid(message))
    }

    /// Begins the waits of an instance's hooks; says whether there are any.
    pub(super) fn begin_waits(
        &mut self,
        now: Timestamp,
        group: &Group,
        member: &mut Member,
        transition: Transition,
    ) -> bool {
        member.waits.clear();
        for hook in group.hooks.values().filter(|hook| hook.transition == transition) {
            let last_deadline = now + hook.longest();
            member.waits.push(HookWait {
                hook: hook.name.clone(),
                token: self.scaling_id("lifecycle-action"),
                since: now,
                deadline: (now + hook.heartbeat()).min(last_deadline),
                last_deadline,
                result: None,
            });
        }
        !member.waits.is_empty()
    }
}

/// How the waits of an instance ended, if they did; those whose time is over end as their hook says.
pub(super) fn waited(now: Timestamp, group: &Group, member: &mut Member) -> Option<(ActionResult, bool)> {
    for wait in &mut member.waits {
        if wait.result.is_none() && now >= wait.deadline {
            let hook = group.hooks.get(&wait.hook);
            let default = hook.map_or(ActionResult::Abandon, |hook| hook.default_result);
            wait.result = Some((default, true));
        }
    }
    let abandoned = member
        .waits
        .iter()
        .find_map(|wait| wait.result.filter(|(result, _)| *result == ActionResult::Abandon));
    let all = member.waits.iter().all(|wait| wait.result.is_some());
    abandoned.or(all.then_some((ActionResult::Continue, false)))
}
