//! Who goes first when a group shrinks.

use std::collections::BTreeMap;

use ovenbird_core::domain::id::InstanceId;
use serde::{Deserialize, Serialize};

use super::{Group, Lifecycle, Member, invalid};
use crate::Result;

/// A rule for who goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TerminationPolicy {
    /// Who has the oldest version of the launch template, and of these the oldest.
    Default,
    /// Who was launched first.
    OldestInstance,
    /// Who was launched last.
    NewestInstance,
    /// Who has the oldest version of the launch template.
    OldestLaunchTemplate,
}

impl TerminationPolicy {
    /// Every one.
    pub const ALL: [Self; 4] =
        [Self::Default, Self::OldestInstance, Self::NewestInstance, Self::OldestLaunchTemplate];

    /// Auto Scaling's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "Default",
            Self::OldestInstance => "OldestInstance",
            Self::NewestInstance => "NewestInstance",
            Self::OldestLaunchTemplate => "OldestLaunchTemplate",
        }
    }

    /// Reads Auto Scaling's word. Those that the model doesn't know are refused.
    pub fn parse(word: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|policy| policy.as_str() == word);
        found.ok_or_else(|| invalid(format!("Unknown termination policy: {word}")))
    }

    /// Less goes first.
    fn compare(self, group: &Group, one: &Member, other: &Member) -> std::cmp::Ordering {
        // Another template than the group's is older than every version of it.
        let version = |member: &Member| {
            let own = group.configuration.templates().any(|template| {
                (template.id.is_some() && template.id == member.template.id)
                    || (template.name.is_some() && template.name == member.template.name)
            });
            let number = member.template.version.as_ref().and_then(|number| number.parse::<u64>().ok());
            if own { number.unwrap_or_default() } else { 0 }
        };
        match self {
            Self::OldestInstance => one.launched.cmp(&other.launched),
            Self::NewestInstance => other.launched.cmp(&one.launched),
            Self::OldestLaunchTemplate => version(one).cmp(&version(other)),
            Self::Default => {
                version(one).cmp(&version(other)).then_with(|| one.launched.cmp(&other.launched))
            }
        }
    }
}

impl Group {
    /// Who goes next when the group shrinks: of the fullest zone, who is unhealthy, and then as the policies say. None
    /// if everybody is protected.
    pub(super) fn next_to_go(&self) -> Option<InstanceId> {
        let unprotected =
            || self.members.iter().filter(|member| member.lifecycle.counts() && !member.protected);
        let mut zones: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.iter().filter(|member| member.lifecycle.counts()) {
            *zones.entry(&member.zone).or_default() += 1;
        }
        let size = |member: &Member| zones.get(member.zone.as_str()).copied().unwrap_or_default();
        let replaced = self.active_refresh().map(|refresh| &refresh.waiting);
        let order = |one: &&Member, other: &&Member| {
            // While a refresh is under way, what it wants to replace goes before what it made.
            let old = |member: &Member| replaced.is_some_and(|waiting| !waiting.contains(&member.instance));
            old(one)
                .cmp(&old(other))
                .then_with(|| size(other).cmp(&size(one)))
                .then_with(|| one.unhealthy.is_none().cmp(&other.unhealthy.is_none()))
                .then_with(|| {
                    let serves = |member: &Member| member.lifecycle == Lifecycle::InService;
                    let policies = self.termination_policies.iter();
                    let by_policy = policies.map(|policy| policy.compare(self, one, other));
                    by_policy
                        .fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
                        .then_with(|| serves(one).cmp(&serves(other)))
                })
        };
        unprotected().min_by(order).map(|member| member.instance.clone())
    }
}
