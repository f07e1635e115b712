//! Which versions of launch templates are superseded, of those that alone name an image.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Basis, Reason, Verdict};
use crate::{
    domain::{
        error::Result,
        id::TemplateName,
        reference::{Kind, Reference},
        template::Standing,
    },
    ports::PrunePorts,
    steps::inventory::{self, Inventory},
};

/// Says of each version that, with others of its kind alone, names an image how it stands.
///
/// Only the templates of such versions are looked at: mostly none.
pub(super) async fn standings(
    verdicts: &[Verdict],
    basis: &Basis,
    inventory: &Inventory,
    cloud: &impl PrunePorts,
    now: Timestamp,
) -> Result<BTreeMap<Reference, Standing>> {
    let mut standings = BTreeMap::new();
    let candidates: Vec<_> =
        verdicts.iter().filter_map(|verdict| Some((verdict, named_by_versions_alone(verdict)?))).collect();
    if candidates.is_empty() {
        return Ok(standings);
    }
    let mut pins = inventory.pins.clone();
    pins.extend(inventory::pinned_by_rollouts(cloud).await?);
    let mut templates = BTreeMap::new();
    for (verdict, versions) in candidates {
        let Some(retention) = basis.retention.get(&verdict.pipeline) else { continue };
        let age = retention.age.max(retention.soak);
        for (reference, template, number) in versions {
            // An account may have hundreds of templates, and mostly few of them are ours.
            if !inventory.ours.contains(&template) {
                standings.insert(reference, Standing::foreign());
                continue;
            }
            if !templates.contains_key(&template) {
                templates.insert(template.clone(), cloud.every_version(&template).await?);
            }
            let found = templates.get(&template).and_then(Option::as_ref);
            // It went since the inventory was taken: the next run sees that.
            let Some(found) = found else { continue };
            let Some(version) = found.version(number) else { continue };
            standings.insert(reference, found.standing(version, &pins, age, now));
        }
    }
    Ok(standings)
}

/// The versions that name an image, if nothing else keeps it.
fn named_by_versions_alone(verdict: &Verdict) -> Option<Vec<(Reference, TemplateName, u64)>> {
    let also = verdict.also.iter().map(|one| (one.reason, &one.by));
    std::iter::once((verdict.reason, &verdict.by))
        .chain(also)
        .map(|(reason, by)| {
            if reason != Reason::Named(Kind::LaunchTemplate) {
                return None;
            }
            let reference = Reference::new(Kind::LaunchTemplate, by);
            let (template, number) = reference.as_version()?;
            Some((reference, template, number))
        })
        .collect()
}
