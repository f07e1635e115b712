//! The scenarios once more, with answers that show what was made and removed only after a while.

use ovenbird_sim::Consistency;
use ovenbird_testkit::walk::scenarios::{Pairs, Run, SCENARIOS, Scenario};

/// What a name ends with where answers lag: `walk "(lagging)"` walks these alone.
const LAGGING: &str = " (lagging)";

/// Those in which something is made or removed, each in another way. What else there is waits for reports, or brings machines
/// to an image: no look of theirs depends on what was just made.
const WALKED: &[&str] = &[
    "an upload, baked and promoted",
    "a launch template that follows",
    "an unchanged artifact, reused",
    "a failing test",
    "tests on a fresh instance too",
    "twins",
    "only the tests changed",
    "only the tests changed, and the image fails",
    "a failing step, and the builder kept",
    "the scheduled prune retires an image",
    "prune deletes the versions of old rollouts, then retires their images",
    "the scheduled prune beside a bake",
    "two people take an image out of the Recycle Bin, seconds apart",
];

/// These with answers that lag, each by a seed of its own.
///
/// Pairs are left out: what a second fault does to a clean-up is the same.
pub fn scenarios() -> impl Iterator<Item = Scenario> {
    (1..).zip(WALKED).map(|(seed, walked)| {
        let scenario = SCENARIOS.iter().find(|one| one.name == *walked).expect("a scenario of that name");
        // A walk makes a handful of these, and ends with its program.
        let name = Box::leak(format!("{walked}{LAGGING}").into_boxed_str());
        // The bake beside prune is as every other one.
        let beside_a_bake = matches!(scenario.runs, [(_, Run::Upload(_)), (_, Run::Prune)]);
        let only = if beside_a_bake { &["run-1/"] } else { scenario.only };
        Scenario { name, only, consistency: Consistency::Lagging { seed }, pairs: Pairs::None, ..*scenario }
    })
}
