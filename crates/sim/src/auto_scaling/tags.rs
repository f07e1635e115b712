//! Tags of groups.

use super::{Group, invalid};
use crate::{Result, World};

/// A tag of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupTag {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
    /// Whether new instances get it, too (`PropagateAtLaunch`).
    pub propagate: bool,
}

impl Group {
    pub(super) fn tag(&mut self, tag: &GroupTag) -> Result<()> {
        let fits = (1..=128).contains(&tag.key.chars().count()) && tag.value.chars().count() <= 256;
        if !fits || tag.key.starts_with("aws:") {
            return Err(invalid(format!("The tag '{}' is not valid.", tag.key)));
        }
        self.tags.insert(tag.key.clone(), tag.value.clone());
        if self.tags.len() > 50 {
            return Err(invalid("A group has at most 50 tags."));
        }
        if tag.propagate {
            self.propagated.insert(tag.key.clone());
        } else {
            self.propagated.remove(&tag.key);
        }
        Ok(())
    }

    /// Its tags, with whether new instances get them.
    pub fn group_tags(&self) -> impl Iterator<Item = GroupTag> {
        self.tags.iter().map(|(key, value)| GroupTag {
            key: key.clone(),
            value: value.clone(),
            propagate: self.propagated.contains(key),
        })
    }
}

impl World {
    /// Adds or changes tags of a group; its instances keep those that they have.
    pub fn create_or_update_group_tags(&mut self, group: &str, tags: &[GroupTag]) -> Result<()> {
        let mut changed = self.group_mut(group)?.clone();
        for tag in tags {
            changed.tag(tag)?;
        }
        *self.group_mut(group)? = changed;
        Ok(())
    }

    /// Removes tags of a group by key.
    pub fn delete_group_tags(&mut self, group: &str, keys: &[String]) -> Result<()> {
        let group = self.group_mut(group)?;
        group.tags.retain(|key, _| !keys.contains(key));
        group.propagated.retain(|key| !keys.contains(key));
        Ok(())
    }
}
