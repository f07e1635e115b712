//! Clean slate of pipelines that stand on others: a promotion starts their bakes, and a push is known to its base.

use ovenbird_core::{
    domain::bake::Bake,
    store::{Channel, Child},
};
use ovenbird_testkit::{Cloud, walk::machine::End};

use super::slate::{Ends, decode};

/// Promotions that didn't start the bakes of those that stand on them.
pub fn childless(cloud: &Cloud, bakes: &[Bake], channels: &[Channel], ends: &Ends) -> Vec<String> {
    let mut found = Vec::new();
    for channel in channels {
        let children: Vec<Child> = decode(cloud, &format!("CHILD#{}#", channel.name));
        let moved = bakes.iter().filter(|bake| channel.moved_by(&bake.spec.id).is_some());
        for bake in moved.filter(|bake| matches!(ends.get(bake.spec.id.as_str()), Some(End::Succeeded(_)))) {
            for child in children.iter().filter(|child| !child.left) {
                let started = bake.progress.children.iter().find(|one| one.pipeline == child.pipeline);
                let ran = started
                    .is_some_and(|one| one.bake.as_ref().is_none_or(|bake| ends.contains_key(bake.as_str())));
                if !ran {
                    found
                        .push(format!("bake {} did not start {}: {started:?}", bake.spec.id, child.pipeline));
                }
            }
        }
    }
    found
}

/// A push whose execution ended well, and of which the moves of the base start nothing.
pub fn unregistered(cloud: &Cloud, ends: &Ends) -> Vec<String> {
    let said = |end: &End| {
        let why = if let End::Succeeded(output) = end { output["why"].as_str() } else { None };
        why.is_some_and(|why| why.ends_with("is registered"))
    };
    let children: Vec<String> = decode::<Child>(cloud, "CHILD#")
        .into_iter()
        .filter(|one| !one.left)
        .map(|one| one.pipeline.to_string())
        .collect();
    let names = ends.iter().filter(|(_, end)| said(end)).map(|(name, _)| name);
    let lost = names.filter(|_| !children.iter().any(|one| one == "storefront"));
    lost.map(|name| format!("execution {name} registered a push, and its base does not know it")).collect()
}
