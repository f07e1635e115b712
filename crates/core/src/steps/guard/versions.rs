//! Versions of launch templates that Ovenbird made, and that nothing launches by any more.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{Answer, Due, Fate, Guard, Purpose, Reason, kept};
use crate::{
    domain::{
        reference::{Kind, Reference},
        rollout::Template,
        template::Standing,
    },
    ports::{PrunePorts, Versions},
    steps::inventory::{self, Inventory},
};

impl<C: PrunePorts> Guard<'_, C> {
    /// Deletes the versions that alone name an image, unless one of them is of use again, or something else uses the
    /// image. EC2's own look knows no versions, so every version of their templates is read here.
    pub async fn delete_versions(&self, due: Due<'_>, versions: &[Template], now: Timestamp) -> Fate {
        let image = due.image.id.as_str();
        if !self.is_as_planned(&due).await? {
            return Ok(Some(kept(image, Reason::Changed, "")));
        }
        let inventory = Inventory::take(self.cloud, Versions::NewestAndDefault).await?.whole()?;
        let mut pins = inventory.pins.clone();
        pins.extend(inventory::pinned_by_rollouts(self.cloud).await?);
        let mut doomed: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        let templates: BTreeMap<&str, &str> =
            versions.iter().map(|one| (one.name.as_str(), one.id.as_str())).collect();
        for (name, id) in templates {
            let Ok(name) = name.parse() else { return Ok(Some(kept(image, Reason::Changed, ""))) };
            // Deleted meanwhile: its versions went with it.
            let Some(found) = self.cloud.every_version(&name).await? else { continue };
            if found.id != id {
                return Ok(Some(kept(image, Reason::Changed, name.as_str())));
            }
            for version in found.versions.iter().filter(|one| one.image.as_ref() == Some(&due.image.id)) {
                // How long ago it was superseded is in the plan already, and only grows.
                let standing = found.standing(version, &pins, SignedDuration::ZERO, now);
                let why = match standing {
                    Standing::Superseded(version) if versions.contains(&version) => {
                        doomed.entry(id).or_default().push(version.version);
                        continue;
                    }
                    Standing::Superseded(_) => "it is new".to_owned(),
                    Standing::Stays(why) => why,
                };
                let by = Reference::version(name.as_str(), version.number).id;
                let reason = Reason::Named(Kind::LaunchTemplate);
                return Ok(Some(kept(image, reason, &format!("{by}: {why}"))));
            }
        }
        let fresh = Guard { cloud: self.cloud, seen: Some(&inventory) };
        match fresh.ask_beside(due.image, due.bake, Purpose::Retirement(due.terms), without(versions)).await?
        {
            Answer::Stays(kept) => return Ok(Some(kept)),
            Answer::MayGo(_) => {}
        }
        for (template, versions) in doomed {
            self.cloud.delete_versions(template, &versions).await?;
        }
        Ok(None)
    }
}

/// By which ids versions are told as what names an image: ours, and EC2's own, which tells the template alone.
pub(super) fn without(versions: &[Template]) -> BTreeSet<String> {
    let ours = versions.iter().map(|one| Reference::version(&one.name, one.version).id);
    ours.chain(versions.iter().map(|one| one.id.clone())).collect()
}
